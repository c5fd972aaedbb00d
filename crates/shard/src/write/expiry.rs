//! Deletes records whose time has come, and does what is due about subjects. They are not read any more from that moment on, whether this
//! has got to them or not; and each deletion is an operation among those of callers, in the same
//! commits, at a pace that leaves the queue to them.

use std::sync::Arc;
use std::time::Duration;

use engine::{Key, Order, ScanLimit};
use ledger::entry::Role;
use terms::TenantId;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::Error;
use crate::node::Node;
use crate::policy::asker::{Asker, Stands};
use crate::policy::subject_status::admit;
use crate::reply::ReplySlot;
use crate::store::damage::read_rows;
use crate::store::keys;
use crate::store::principal::Principal;
use crate::store::record::{Address, Stored};
use crate::store::subject::{Subject, SubjectRow};
use crate::store::types::Minute;
use crate::write::command::{Action, Op};
use crate::write::committer::Queue;
use crate::write::due_subjects;
use crate::write::due_subjects::{AT_ONCE, Due};

/// Time between two looks for records whose time has come.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time in which a deletion must have begun.
const WITHIN: Duration = Duration::from_secs(60);

/// Deletes what has expired, again and again. Never done.
pub(crate) async fn sweep(node: Arc<Node>, queue: Queue) {
    loop {
        sleep(LOOK_EVERY).await;
        let mut after = None;
        // What could not be deleted is passed over, and comes again with the next look.
        while let Some(last) = some(&node, &queue, after.take(), due).await {
            after = Some(last);
        }
        while let Some(last) = some(&node, &queue, after.take(), due_subjects::due).await {
            after = Some(last);
        }
    }
}

/// Does some, and gives the last row that it has looked at. `None`: there are no more just now.
async fn some(
    node: &Arc<Node>,
    queue: &Queue,
    after: Option<Key>,
    due: fn(&Node, Option<&[u8]>) -> Result<Due, Error>,
) -> Option<Key> {
    let shared = Arc::clone(node);
    let due = tokio::task::spawn_blocking(move || due(&shared, after.as_deref())).await;
    let (due, last) = match due {
        Ok(Ok(due)) => due,
        Ok(Err(error)) => {
            if let Some(unsaid) = node.troubles.allow(node.clock.now()) {
                tracing::error!(%error, unsaid, "what is due cannot be looked up");
            }
            return None;
        }
        Err(_) => return None,
    };
    let last = last?;
    // Its part of the queue, as long as it has something to do.
    let queue = queue.of_session();
    let (sender, mut answered) = mpsc::channel::<()>(1);
    for action in due {
        // The queue is full: those who call go first.
        let room = queue.admit(action.bytes())?;
        let asker = own(node, &action);
        let sender = sender.clone();
        let op = Op {
            // Dropped with its answer, it says that it is answered.
            reply: ReplySlot::new(move |_, _| drop(sender)),
            deadline: Instant::now() + WITHIN,
            asker,
            map_epoch: None,
            action,
        };
        queue.submit(op, room);
    }
    drop(sender);
    while answered.recv().await.is_some() {}
    Some(last)
}

/// The shard itself, where no caller asks.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others are treated alike")]
pub(crate) fn own(node: &Node, action: &Action) -> Asker {
    let owner = match action {
        Action::TakeCopy(copy) => Some(&copy.owner),
        _ => action.owner(),
    };
    let tenant = owner.map(|owner| owner.tenant.clone());
    own_of(node, tenant.expect("what is due is about a subject"))
}

/// The same about a subject of that tenant.
pub(crate) fn own_of(node: &Node, tenant: TenantId) -> Asker {
    let log = node.growing.load();
    let who = Principal::new(&log, Some(tenant.clone()), node.shard.as_str(), Role::Shard, None);
    Asker {
        tenant,
        who: Arc::new(who),
        stands: Stands { gateway: node.territory, caller: Some(node.territory) },
    }
}

/// The next records whose time has come, and the last row that was looked at. Blocks its thread.
fn due(node: &Node, after: Option<&[u8]>) -> Result<Due, Error> {
    let now = node.now();
    let limit = ScanLimit { rows: AT_ONCE, bytes: 1 << 20 };
    let span = keys::expiring(after, Minute::of(now));
    let page = node.engine.scan(&span, Order::Ascending, limit)?;
    let Some((last, _)) = page.rows.last() else { return Ok((Vec::new(), None)) };
    let mut wanted = Vec::with_capacity(page.rows.len() * 2);
    for (key, _) in &page.rows {
        // A key that names no record is passed over.
        let Some(record) = keys::of_due(key) else { continue };
        let Some((subject, _)) = keys::of_subject(record) else { continue };
        wanted.push(keys::subject_row(subject));
        wanted.push(record.to_vec());
    }
    let rows = read_rows(&*node.engine, &wanted)?;
    let (mut due, mut damaged) = (Vec::new(), page.rows.len() - wanted.len() / 2);
    for (record, rows) in wanted.iter().skip(1).step_by(2).zip(rows.chunks(2)) {
        match rows {
            [Ok(Some(subject)), Ok(Some(head))] => match address(node, record, subject, head) {
                Ok(Some(address)) => due.push(Action::Expire(Box::new(address))),
                Ok(None) => {}
                Err(_) => damaged += 1,
            },
            [Ok(_), Ok(_)] => {}
            _ => damaged += 1,
        }
    }
    due_subjects::say_damaged(node, damaged);
    Ok((due, Some(last.clone())))
}

/// Whose record it is, if its time has come.
fn address(
    node: &Node,
    record: &[u8],
    subject: &[u8],
    head: &[u8],
) -> Result<Option<Address>, Error> {
    let damaged = || Error::Damaged("records");
    let (_, tag) = keys::of_subject(record).ok_or_else(damaged)?;
    let Some(owner) = Subject::owner_of(subject, tag, node.subject_keys())? else {
        return Ok(None);
    };
    let SubjectRow::Kept(subject) = node.open_subject(&owner, subject)? else { return Ok(None) };
    // One that is not written is not expired either: its records come again with a later look.
    if admit(&subject, node.now()).is_err() {
        return Ok(None);
    }
    let (address, head) = Stored::read(head)
        .and_then(|stored| stored.named(&owner, record, &node.region, subject.key_of(record)?))
        .map_err(|_| damaged())?;
    Ok(head.has_expired(node.now()).then_some(address))
}
