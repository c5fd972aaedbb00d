//! Removes rows of the change feed that are older than any collection keeps them.

use std::sync::Arc;
use std::time::Duration;

use engine::{Key, Order, ScanLimit};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::Error;
use crate::node::Node;
use crate::store::types::Minute;
use crate::store::{feed, keys};
use crate::write::command::Errand;
use crate::write::committer::Queue;

/// Time between two looks for rows that are due.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Rows that are removed together.
const AT_ONCE: usize = 256;
/// Bytes of rows that one look reads.
const BYTES_AT_ONCE: usize = 4 << 20;

/// Removes what is due, again and again. Never done.
pub(crate) async fn sweep(node: Arc<Node>, queue: Queue) {
    loop {
        sleep(LOOK_EVERY).await;
        while some(&node, &queue).await {}
    }
}

/// Removes some rows. False: there are no more just now, or the queue is full.
async fn some(node: &Arc<Node>, queue: &Queue) -> bool {
    let shared = Arc::clone(node);
    let due = match tokio::task::spawn_blocking(move || due(&shared)).await {
        Ok(Ok(due)) if !due.is_empty() => due,
        Ok(Ok(_)) | Err(_) => return false,
        Ok(Err(error)) => {
            if let Some(unsaid) = node.troubles.allow(node.clock.now()) {
                tracing::error!(%error, unsaid, "the change feed cannot be swept");
            }
            return false;
        }
    };
    let more = due.len() == AT_ONCE;
    let (sender, done) = oneshot::channel();
    queue.submit_errand(Errand::SweepFeed(due, sender));
    done.await.is_ok() && more
}

/// The next rows that are due. Blocks its thread.
///
/// Rows lie in the order of their commits, and a shard's time never falls. So one that does not say its
/// time is as old as the next one that does, or older: it is read on until there is one that does.
pub(super) fn due(node: &Node) -> Result<Vec<Key>, Error> {
    let map = node.map();
    let kept = map.collections().filter_map(atlas::CollectionRules::feed).max();
    let kept = kept.map_or(0, atlas::Lifetime::minutes);
    let oldest = Minute::of(node.now()).0.saturating_sub(kept);
    let limit = ScanLimit { rows: AT_ONCE, bytes: BYTES_AT_ONCE };
    let mut span = keys::feed_rows();
    let (mut due, mut damaged, mut rows_damaged) = (Vec::new(), Vec::new(), 0_u64);
    'pages: while due.is_empty() {
        let page = node.engine.scan(&span, Order::Ascending, limit)?;
        let Some((last, _)) = page.rows.last() else { break };
        span.from = [last.as_slice(), &[0]].concat();
        for (key, row) in page.rows {
            match feed::minute_of(&row) {
                Ok(minute) if minute.0 >= oldest => break 'pages,
                Ok(_) => {
                    due.append(&mut damaged);
                    due.push(key);
                }
                Err(_) => {
                    rows_damaged += 1;
                    // More are not removed together, and come again with the next look.
                    if damaged.len() < AT_ONCE {
                        damaged.push(key);
                    }
                }
            }
        }
    }
    due.truncate(AT_ONCE);
    if rows_damaged > 0
        && let Some(unsaid) = node.troubles.allow(node.clock.now())
    {
        let rows = rows_damaged;
        tracing::error!(rows, unsaid, "rows of the change feed cannot be read");
    }
    Ok(due)
}
