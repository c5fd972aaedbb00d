//! Deletes the chunks of attachments that are gone: replaced, deleted, expired or discarded. They
//! cannot be opened any more; this gives back their room, a few MiB in each commit.

use std::sync::Arc;
use std::time::Duration;

use engine::{Key, Order, ScanLimit};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::Error;
use crate::node::Node;
use crate::store::{attachment, keys};
use crate::write::command::Errand;
use crate::write::committer::Queue;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Chunks that are deleted together.
const AT_ONCE: usize = 8;

/// Deletes what is left, again and again. Never done.
pub(crate) async fn sweep(node: Arc<Node>, queue: Queue) {
    loop {
        sleep(LOOK_EVERY).await;
        while let Some(rows) = next(&node).await {
            if !delete(&queue, &rows).await {
                break;
            }
        }
    }
}

/// The rows of the next attachment that is gone; the last is the one that says so.
async fn next(node: &Arc<Node>) -> Option<Vec<Key>> {
    let shared = Arc::clone(node);
    match tokio::task::spawn_blocking(move || rows(&shared)).await {
        Ok(Ok(rows)) => rows,
        Ok(Err(error)) => {
            if let Some(unsaid) = node.troubles.allow(node.clock.now()) {
                tracing::error!(%error, unsaid, "chunks that are gone cannot be looked up");
            }
            None
        }
        Err(_) => None,
    }
}

pub(super) fn rows(node: &Node) -> Result<Option<Vec<Key>>, Error> {
    let limit = ScanLimit { rows: 1, bytes: 1 << 10 };
    let mut span = keys::all_gone();
    loop {
        let page = node.engine.scan(&span, Order::Ascending, limit)?;
        let Some((key, row)) = page.rows.into_iter().next() else { return Ok(None) };
        if let Ok(mut rows) = attachment::gone_rows(&key, &row) {
            rows.push(key);
            return Ok(Some(rows));
        }
        // It stays, and keeps no other attachment's room from being given back.
        if let Some(unsaid) = node.troubles.allow(node.clock.now()) {
            tracing::error!(
                unsaid,
                "a row of an attachment that is gone is damaged: its chunks stay"
            );
        }
        span.from = key;
        span.from.push(0);
    }
}

/// Deletes them. False: the queue is full, or gone; the rest comes later.
async fn delete(queue: &Queue, rows: &[Key]) -> bool {
    for some in rows.chunks(AT_ONCE) {
        let (sender, done) = oneshot::channel();
        queue.submit_errand(Errand::Clear(some.to_vec(), sender));
        if done.await.is_err() {
            return false;
        }
    }
    true
}
