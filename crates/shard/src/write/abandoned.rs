//! Discards uploads to which nothing was added for a long time. Each is an operation among those of
//! callers, as an expiry is.

use std::sync::Arc;
use std::time::Duration;

use engine::{Key, Order};
use terms::limits::UPLOAD_HOURS_MAX;
use tokio::time::{Instant, sleep};

use crate::Error;
use crate::node::Node;
use crate::reply::ReplySlot;
use crate::store::attachment::{self, Upload, UploadFront};
use crate::store::damage::read_rows;
use crate::store::keys;
use crate::store::record::Address;
use crate::store::subject::{Subject, SubjectRow};
use crate::store::types::Minute;
use crate::write::command::{Action, Basis, Op, UploadStep, What};
use crate::write::committer::Queue;
use crate::write::expiry::own;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Time in which a discarding must have begun.
const WITHIN: Duration = Duration::from_secs(60);

/// Discards what was abandoned, again and again. Never done.
pub(crate) async fn sweep(node: Arc<Node>, queue: Queue) {
    loop {
        sleep(LOOK_EVERY).await;
        let shared = Arc::clone(&node);
        let found = tokio::task::spawn_blocking(move || abandoned(&shared)).await;
        match found {
            Ok(Ok(Look { found, damaged })) => {
                if damaged > 0
                    && let Some(unsaid) = node.troubles.allow(node.clock.now())
                {
                    let uploads = damaged;
                    tracing::error!(uploads, unsaid, "uploads do not open, and are not discarded");
                }
                found.into_iter().for_each(|one| discard(&node, &queue, one));
            }
            Ok(Err(error)) => {
                if let Some(unsaid) = node.troubles.allow(node.clock.now()) {
                    tracing::error!(%error, unsaid, "abandoned uploads cannot be looked up");
                }
            }
            Err(_) => {}
        }
    }
}

/// An upload that no caller continues.
pub(crate) struct Abandoned {
    pub(crate) address: Address,
    row: Key,
    idle_since: Minute,
}

fn discard(node: &Node, queue: &Queue, abandoned: Abandoned) {
    let Abandoned { address, row, idle_since } = abandoned;
    let what = What::Discard { idle_since: Some(idle_since), because: None };
    let step = UploadStep { address, row, basis: Basis::NONE, what };
    let action = Action::Upload(Box::new(step));
    let queue = queue.of_session();
    // The queue is full: those who call go first, and it comes again with the next look.
    let Some(room) = queue.admit(action.bytes()) else { return };
    let asker = own(node, &action);
    let (reply, deadline) = (ReplySlot::new(|_, _| ()), Instant::now() + WITHIN);
    queue.submit(Op { reply, deadline, asker, map_epoch: None, action }, room);
}

/// What a look at all uploads has found.
pub(crate) struct Look {
    pub(crate) found: Vec<Abandoned>,
    /// Rows that do not open. They stay, and keep no other upload from being discarded.
    pub(crate) damaged: u64,
}

/// The uploads to which nothing was added for too long. Blocks its thread.
pub(crate) fn abandoned(node: &Node) -> Result<Look, Error> {
    let idle_since = Minute::of(node.now()).minus_hours(UPLOAD_HOURS_MAX);
    let page = node.engine.scan(&keys::uploads(), Order::Ascending, attachment::ALL_UPLOADS)?;
    let mut look = Look { found: Vec::new(), damaged: 0 };
    for (row, stored) in page.rows {
        match UploadFront::read(&stored) {
            Ok(front) if front.minute >= idle_since => continue,
            Ok(_) => {}
            Err(_) => {
                look.damaged += 1;
                continue;
            }
        }
        match address(node, &row, &stored) {
            Ok(Some(address)) => look.found.push(Abandoned { address, row, idle_since }),
            Ok(None) => {}
            // The store cannot be read: that says nothing of this upload.
            Err(error @ Error::Engine(_)) => return Err(error),
            Err(_) => look.damaged += 1,
        }
    }
    Ok(look)
}

/// Which record an upload is for. None: it has no stand-in, and its subject is gone. What deleted that
/// deletes this.
fn address(node: &Node, row: &[u8], stored: &[u8]) -> Result<Option<Address>, Error> {
    let damaged = || Error::Damaged("uploads");
    let head = keys::uploaded_record(row).ok_or_else(damaged)?;
    let (prefix, tag) = keys::of_subject(&head).ok_or_else(damaged)?;
    let rows = read_rows(&*node.engine, &[keys::subject_row(prefix)])?;
    let subject = rows.into_iter().next().and_then(Result::ok).flatten();
    let stand_in = attachment::stand_in(stored).map_err(|_| damaged())?;
    let Some(named) = stand_in.or(subject.as_deref()) else { return Ok(None) };
    let Some(owner) = Subject::owner_of(named, tag, node.subject_keys())? else {
        return Ok(None);
    };
    let subject = subject.map(|row| node.open_subject(&owner, &row)).transpose()?;
    let subject = match subject {
        Some(SubjectRow::Kept(subject)) => Some(subject),
        // One with a stand-in opens all the same.
        Some(SubjectRow::Erased(_)) | None => None,
    };
    let (keys, subject) = (node.subject_keys(), subject.as_ref());
    let opened = Upload::open(stored, row, &head, &owner, keys, subject);
    Ok(opened.map_err(|_| damaged())?.map(|(address, _)| address))
}
