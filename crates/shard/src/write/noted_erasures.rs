//! Erasures are named outside the store, too, before they are acknowledged; and what that file names
//! is erased again in a store that was restored.

use std::collections::VecDeque;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use engine::{Batch, Order, ScanLimit};
use link::ops::metrics::Gauge;
use terms::{Collection, Reason, RegionId, Rejection};
use tokio::time::{Instant, sleep};

use crate::Error;
use crate::log::erasure_file;
use crate::log::erasure_file::{KnownErasure, What};
use crate::node::Node;
use crate::reply::{Arrived, ArrivedState, Outcome, ReplySlot};
use crate::store::erasure::CollectionErasing;
use crate::store::keys;
use crate::store::keys::Owner;
use crate::store::moving::Arriving;
use crate::store::subject::{Status, Subject, SubjectRow};
use crate::store::tombstone::Tombstone;
use crate::store::types::{CommitAt, SubjectTag};
use crate::write::command::{Action, Arrive, ArriveStep, Erase, Errand, Op, Request};
use crate::write::committer;
use crate::write::committer::{Committer, Queue};
use crate::write::erased_uploads;
use crate::write::expiry::own;
use crate::write::list_numbers::ListChanges;
use crate::write::queue_share::Room;
use crate::write::transaction::Done;

/// The name of a fact on the operators' page.
const ERASURES: &str = "erasures";
/// Why a subject is erased once more, for the log.
pub(super) const AGAIN: &str = "it was erased before, and a restore brought it back";
/// Time in which one commit of that must have begun.
const WITHIN: Duration = Duration::from_secs(60);
/// Time between two attempts to note what could not be noted.
const AGAIN_EVERY: Duration = Duration::from_secs(1);

/// Tries again to note erasures for as long as the file outside the store lacks one. Never done.
pub(crate) async fn tend(node: Arc<Node>, queue: Queue) {
    loop {
        sleep(AGAIN_EVERY).await;
        if node.health.holds(ERASURES) {
            queue.submit_errand(Errand::NoteErasures);
        }
    }
}

impl Committer {
    /// Refuses erasures for as long as the file outside the store lacks one that was done.
    pub(super) fn refuse_unnoted(&mut self, ops: &mut VecDeque<(Op, Room)>) {
        let erases = |(op, _): &(Op, Room)| op.action.is_noted();
        if !ops.iter().any(erases) || self.note_erasures() {
            return;
        }
        for (op, room) in std::mem::take(ops) {
            if op.action.is_noted() {
                let problem = "erasures cannot be noted outside the store";
                op.reply.send(Rejection::new(Reason::RegionUnavailable).problem(problem).into());
            } else {
                ops.push_back((op, room));
            }
        }
    }

    /// Drops erased subjects from memory, notes them, and answers. If they cannot be noted, no answer
    /// says that they are erased.
    pub(super) fn answer_noted(
        &mut self,
        erased: &[SubjectTag],
        answers: Vec<(ReplySlot, Done)>,
        rooms: Vec<Room>,
    ) {
        erased.iter().for_each(|tag| drop(self.node.subjects.remove(tag)));
        if erased.is_empty() || self.note_erasures() {
            self.answer(answers, rooms);
        }
    }

    pub(super) fn note_erasures(&mut self) -> bool {
        let (node, erasures) = (&self.node, &mut self.erasures);
        let noted = erasures.catch_up(&*node.engine, &*node.entropy);
        node.health.hold(ERASURES, noted.is_err());
        match &noted {
            Ok(()) => node.health.unset_fact(ERASURES),
            Err(error) => {
                node.health.set_fact(ERASURES, error.to_string());
                if let Some(unsaid) = node.troubles.allow(node.clock.now()) {
                    tracing::error!(%error, unsaid, "an erasure cannot be noted: none is acknowledged");
                }
            }
        }
        noted.is_ok()
    }

    /// Erases what was erased before, or had moved away, if the store has it. Whether it had. A
    /// collection is erased, and a subject that has moved, only if that was done after `since`: what came
    /// later may be in the store.
    pub(crate) fn erase_again(
        &mut self,
        known: &KnownErasure,
        since: CommitAt,
    ) -> Result<bool, Error> {
        let node = Arc::clone(&self.node);
        let damaged = || Error::Damaged("subjects");
        let (_, tag) = keys::of_subject(&known.row).ok_or_else(damaged)?;
        let (collection, by, moved) = match &known.what {
            What::Subject(row) => {
                let stone = Tombstone::of_row(row, tag, &node.namer)?;
                // One that had moved away may have come back before the backup.
                if stone.moved.is_some() && known.entry < since {
                    return Ok(false);
                }
                (None, stone.by, stone.moved)
            }
            What::Returned | What::Taken(_) => return Ok(false),
            What::Collection(..) if known.entry < since => return Ok(false),
            What::Collection(collection, by) => (Some(collection.clone()), *by, None),
        };
        let Some(row) = node.engine.get_many(&[&known.row])?.pop().flatten() else {
            return self.bury_again(known).map(|()| false);
        };
        let Some(owner) = Subject::owner_of(&row, tag, node.subject_keys())? else {
            return Ok(false);
        };
        if let Some(collection) = &collection {
            let SubjectRow::Kept(subject) = node.open_subject(&owner, &row)? else {
                return Ok(false);
            };
            if let Some(CollectionErasing { collection: of, .. }) = &subject.erasing
                && of != collection
            {
                // One at a time: that had begun before the backup.
                self.erase_known(&owner, Some(of.clone()), None, None)?;
            }
            if subject.standing(collection).is_none() {
                return self.bury_again(known).map(|()| false);
            }
        }
        let request = Request { id: by.request_id, fingerprint: by.fingerprint };
        self.erase_known(&owner, collection, Some(request), moved)?;
        Ok(true)
    }

    /// Keeps a subject from being created that was created and erased after the backup, and takes away
    /// the uploads from which it, or a collection of it, was created. The file has it already: that is
    /// how it is known.
    fn bury_again(&mut self, known: &KnownErasure) -> Result<(), Error> {
        let (prefix, tag) = keys::of_subject(&known.row).ok_or(Error::Damaged("subjects"))?;
        let mut batch = Batch::new();
        let uploads = match &known.what {
            What::Returned | What::Taken(_) => return Ok(()),
            What::Collection(collection, _) => {
                keys::uploads_of(prefix, Some(self.node.namer.collection_tag(collection)))
            }
            What::Subject(tombstone) => {
                let stone = Tombstone::of_row(tombstone, tag, &self.node.namer)?;
                batch.put(known.row.clone(), tombstone.clone());
                if stone.moved.is_some() {
                    erasure_file::list_moved(&mut batch, known.entry, &known.row, tombstone);
                } else {
                    erasure_file::list(&mut batch, known.entry, &known.row, None);
                }
                keys::uploads_of(prefix, None)
            }
        };
        erased_uploads::discard_all(&*self.node.engine, &uploads, &mut batch)?;
        if !self.commit_unlogged(batch, &ListChanges::default(), &mut [])? {
            return Err(not_erased("the store took no commit"));
        }
        Ok(())
    }

    /// Erases a subject or a collection of it, in as many commits as that takes.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are treated alike")]
    fn erase_known(
        &mut self,
        owner: &Owner,
        collection: Option<Collection>,
        request: Option<Request>,
        moved: Option<RegionId>,
    ) -> Result<(), Error> {
        let node = Arc::clone(&self.node);
        loop {
            let action = Action::Erase(Box::new(Erase {
                owner: owner.clone(),
                collection: collection.clone(),
                request,
                reason: AGAIN.to_owned(),
                deadline: None,
                ground: None,
                arose: None,
                validate_only: false,
                again: true,
                moved: moved.clone(),
                opening: node.random()?,
            }));
            match self.done_now(action)? {
                Outcome::Written(written) if written.unfinished => {}
                Outcome::Written(_) => return Ok(()),
                Outcome::Rejected(fault) => return Err(not_erased(&fault.to_string())),
                _ => return Err(not_erased("it was not answered")),
            }
        }
    }

    /// Erases all that was arriving from other regions, after a restore or a recovery: what has ended since
    /// must not stay, and whatever goes on is copied again by its source. One of which a row does not read
    /// back is left, unseen: a damaged row must not keep the shard from starting. Returns how many it has
    /// erased and left. Any other fault is an error, and the next attempt goes on.
    pub(crate) fn forget_arrivals(&mut self) -> Result<(u64, u64), Error> {
        let (node, mut forgotten, mut left) = (Arc::clone(&self.node), 0, 0);
        let (mut span, limit) = (keys::all_arriving(), ScanLimit { rows: 256, bytes: 1 << 20 });
        loop {
            let page = node.engine.scan(&span, Order::Ascending, limit)?;
            let Some((last, _)) = page.rows.last() else { return Ok((forgotten, left)) };
            span.from = [last.as_slice(), &[0]].concat();
            for (key, _) in &page.rows {
                let erased = match arrival(&node, key) {
                    Ok(Some((owner, here))) => self.forget_arrival(&owner, &here)?,
                    Ok(None) => continue,
                    Err(Error::Damaged(_) | Error::Engine(engine::Error::Damaged { .. })) => false,
                    Err(error) => return Err(error),
                };
                forgotten += u64::from(erased);
                left += u64::from(!erased);
            }
        }
    }

    /// Whether it is erased: false, if a row of it does not read back.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are treated alike")]
    fn forget_arrival(&mut self, owner: &Owner, here: &Arriving) -> Result<bool, Error> {
        loop {
            let (owner, from, move_id) = (owner.clone(), here.from.clone(), here.move_id);
            let (opening, bytes, step) = (self.node.random()?, 512, ArriveStep::Forget);
            let arrive = Arrive { owner, from, move_id, opening, bytes, step };
            match self.done_now(Action::Arrive(Box::new(arrive)))? {
                Outcome::Arrived(Arrived { state: ArrivedState::None, .. }) => return Ok(true),
                Outcome::Arrived(_) => {}
                Outcome::Rejected(fault) if fault.reason == Reason::StoredDataDamaged => {
                    return Ok(false);
                }
                Outcome::Rejected(fault) => return Err(not_erased(&fault.to_string())),
                _ => return Err(not_erased("it was not answered")),
            }
        }
    }

    /// Does what no caller asks for, before the shard serves.
    fn done_now(&mut self, action: Action) -> Result<Outcome, Error> {
        let (queue, _) = committer::queue(Gauge::default());
        let queue = queue.of_session();
        let room = queue.admit(action.bytes()).ok_or_else(|| not_erased("no room"))?;
        let (sender, answer) = mpsc::channel();
        let reply = ReplySlot::new(move |outcome, _| drop(sender.send(outcome)));
        let deadline = Instant::now() + WITHIN;
        let asker = own(&self.node, &action);
        let op = Op { reply, deadline, asker, map_epoch: None, action };
        self.commit(&mut VecDeque::from([(op, room)]), false)?;
        answer.recv().map_err(|_| not_erased("it was not answered"))
    }
}

/// The subject of a row that says that it arrives. None: it does no more.
fn arrival(node: &Node, arriving: &[u8]) -> Result<Option<(Owner, Arriving)>, Error> {
    let key = keys::of_moving(arriving).ok_or(Error::Damaged("subjects"))?.to_vec();
    let (_, tag) = keys::of_subject(&key).ok_or(Error::Damaged("subjects"))?;
    let Some(row) = node.engine.get_many(&[&key])?.pop().flatten() else { return Ok(None) };
    let Some(owner) = Subject::owner_of(&row, tag, node.subject_keys())? else { return Ok(None) };
    Ok(match node.open_subject(&owner, &row)? {
        SubjectRow::Kept(Subject { status: Status::Arriving(here), .. }) => Some((owner, *here)),
        SubjectRow::Kept(_) | SubjectRow::Erased(_) => None,
    })
}

pub(super) fn not_erased(why: &str) -> Error {
    Error::NotErasedAgain(why.to_owned())
}
