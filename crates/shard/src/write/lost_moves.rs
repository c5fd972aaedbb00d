//! Moves to here that a restore or a recovery has lost, while their source may still keep what it gave
//! away: it would copy the subject once more. The file of erasures says which moves these are, and what was
//! done to their subjects since.
//!
//! A subject that was erased since, or has moved on, does not come once more: the source is told again, by
//! an entry of the log, that it was taken. Of any other, all that was given away comes, so that it is
//! compared with what the source's log commits to; then the collections that were erased since are erased
//! again, one after another, and only then is the subject served.

use std::collections::{BTreeMap, HashMap};

use engine::{Batch, Key};
use ledger::entry::Entry;
use terms::{Collection, Rejection};

use crate::Error;
use crate::log::erasure_file::{KnownErasure, What};
use crate::store::keys;
use crate::store::keys::Owner;
use crate::store::lost_move::LostMove;
use crate::store::moving::Arriving;
use crate::store::subject::{Status, Subject};
use crate::store::types::Recent;
use crate::write::command::{Erase, Request};
use crate::write::committer::Committer;
use crate::write::expiry::own_of;
use crate::write::list_numbers::ListChanges;
use crate::write::move_command::Ended;
use crate::write::noted_erasures::{AGAIN, not_erased};
use crate::write::transaction::{Done, Known, Transaction};

/// Bytes of rows that one commit writes.
const COMMIT_BYTES: usize = 1 << 20;

impl Committer {
    /// Notes which moves to here the store does not know any more, of those that are known.
    pub(crate) fn note_lost_moves(&mut self, known: &[KnownErasure]) -> Result<(), Error> {
        let mut batch = Batch::new();
        for (key, lost) in lost_moves(known) {
            let row = match self.node.engine.get_many(&[&key]) {
                Err(engine::Error::Damaged { .. }) => None,
                rows => rows?.pop().flatten(),
            };
            // One that does not read back says nothing.
            let ended = row.and_then(|row| Ended::read(&row).ok());
            if matches!(ended, Some(Ended::Adopted(_))) {
                continue;
            }
            batch.put(key, Ended::Lost(Box::new(lost)).row());
            if batch.bytes() >= COMMIT_BYTES {
                self.commit_lost(std::mem::take(&mut batch))?;
            }
        }
        self.commit_lost(batch)
    }

    fn commit_lost(&mut self, batch: Batch) -> Result<(), Error> {
        if self.commit_unlogged(batch, &ListChanges::default(), &mut [])? {
            return Ok(());
        }
        Err(not_erased("the store took no commit"))
    }
}

impl Transaction<'_> {
    /// What is known of the move that arrives, if it was lost.
    pub(super) fn lost(
        &self,
        owner: &Owner,
        here: &Arriving,
    ) -> Result<Option<Box<LostMove>>, Rejection> {
        match self.ended(owner, &here.from, here.move_id)? {
            Some(Ended::Lost(lost)) => Ok(Some(lost)),
            Some(Ended::GivenUp | Ended::Adopted(_)) | None => Ok(None),
        }
    }

    /// Erases a collection of what has arrived, as much as one commit takes. `digest`: of all that had.
    pub(super) fn erase_arrived(
        &mut self,
        owner: &Owner,
        subject: &Subject,
        here: Arriving,
        digest: [u8; 32],
        erased: &(Collection, Recent),
    ) -> Result<Done, Rejection> {
        let (collection, by) = erased;
        let here = Arriving { proven: Some(here.proven.unwrap_or(digest)), ..here };
        let mut after = Subject::clone(subject);
        // An earlier erasure of it, by whichever request, is not this one.
        let others = subject.all_erased().iter().filter(|one| one.collection != *collection);
        after.was_erased(others.cloned().collect());
        after.status = Status::Arriving(Box::new(here.clone()));
        self.keep(owner, after)?;
        let erase = Erase {
            owner: owner.clone(),
            collection: Some(collection.clone()),
            request: Some(Request { id: by.request_id, fingerprint: by.fingerprint }),
            reason: AGAIN.to_owned(),
            deadline: None,
            ground: None,
            arose: None,
            validate_only: false,
            again: true,
            moved: None,
            opening: self.node.random()?,
        };
        let asker = self.entries.known(own_of(self.node, owner.tenant.clone()));
        self.erase_collection(&asker, &erase, collection)?;
        self.staging(&here)
    }
}

/// Whether a move was lost whose subject is gone from here since, and that entry is of it. One that was erased
/// here never comes back, whenever that was.
pub(super) fn is_gone(ended: Option<&Ended>, known: Option<&Known>, said: &Entry) -> bool {
    let erased = matches!(known, Some(Known::Erased(stone)) if stone.moved.is_none());
    match ended {
        Some(Ended::Lost(lost)) => {
            (lost.gone || erased) && said.commitment == Some(lost.commitment)
        }
        Some(Ended::GivenUp | Ended::Adopted(_)) | None => false,
    }
}

/// The moves to here of which something is known, by the keys of their rows: what the last of them has
/// brought, and what was done to it since the first.
fn lost_moves(known: &[KnownErasure]) -> BTreeMap<Key, LostMove> {
    let mut subjects = HashMap::<&[u8], BTreeMap<Key, LostMove>>::new();
    for KnownErasure { row, what, .. } in known {
        if let What::Taken(taken) = what {
            let key = keys::move_ended(row, &taken.from, &taken.move_id);
            let moves = subjects.entry(row).or_default();
            let taken_again = |lost: &mut LostMove| lost.gone &= !taken.returned;
            moves.entry(key).and_modify(taken_again).or_insert_with(|| LostMove::new(taken));
            continue;
        }
        for lost in subjects.get_mut(row.as_slice()).into_iter().flat_map(BTreeMap::values_mut) {
            match what {
                What::Subject(_) => lost.gone = true,
                What::Collection(collection, by) => lost.erase(collection, *by),
                What::Returned | What::Taken(_) => {}
            }
        }
    }
    subjects.into_values().flatten().collect()
}

#[cfg(test)]
mod tests {
    use terms::RegionId;

    use super::*;
    use crate::store::moving::Taken;
    use crate::store::types::{CommitAt, EntryAt, Fingerprint, LogId, LogIndex, Minute};
    use crate::store::types::{Period, Version};

    fn taken(move_id: u8, returned: bool) -> What {
        let from = RegionId::parse("ru-msk").unwrap();
        let (move_id, commitment) = ([move_id; 16], [move_id; 32]);
        What::Taken(Taken { from, move_id, live: 1, commitment, returned })
    }

    fn erased(collection: &str, request: u8) -> What {
        let entry = EntryAt { log: LogId([1; 8]), index: LogIndex(1), first: LogIndex(1) };
        let by = Recent {
            request_id: [request; 16],
            fingerprint: Fingerprint([2; 16]),
            minute: Minute(3),
            version: Version::NONE,
            entry,
        };
        What::Collection(Collection::parse(collection).unwrap(), by)
    }

    /// What is known of each move of one subject: whether it is gone, and the requests that erased.
    fn of(all: Vec<What>) -> Vec<(bool, Vec<u8>)> {
        let known = (0..).zip(all).map(|(index, what)| {
            let entry = CommitAt { period: Period(1), index };
            KnownErasure { entry, row: vec![0x10, 1], what }
        });
        let known: Vec<_> = known.collect();
        let moves = lost_moves(&known).into_values();
        moves
            .map(|lost| {
                let mut row = crate::store::codec::Writer::with_capacity(64);
                lost.write(&mut row);
                let read = LostMove::read(&mut crate::store::codec::Reader::new(&row.0));
                assert!(read == Ok(lost.clone()));
                (lost.gone, lost.erased.iter().map(|(_, by)| by.request_id[0]).collect())
            })
            .collect()
    }

    #[test]
    fn what_was_done_after_a_move_counts_and_what_was_done_before_does_not() {
        let gone = || What::Subject(vec![1]);
        assert!(of(vec![erased("profiles", 1), gone()]).is_empty());
        assert_eq!(of(vec![erased("profiles", 1), taken(7, false)]), [(false, vec![])]);
        // By collection, the last one.
        let some = vec![
            taken(7, false),
            erased("profiles", 1),
            erased("messages", 2),
            erased("profiles", 3),
        ];
        assert_eq!(of(some), [(false, vec![2, 3])]);
        assert_eq!(of(vec![taken(7, false), gone()]), [(true, vec![])]);
        // One that has moved on and came back by another move is gone of the first one.
        let back = vec![taken(7, false), erased("profiles", 1), gone(), taken(8, true)];
        assert_eq!(of(back), [(true, vec![1]), (false, vec![])]);
        // The first time that it was taken counts, if it was taken twice.
        let twice = vec![taken(7, false), erased("profiles", 1), taken(7, false)];
        assert_eq!(of(twice), [(false, vec![1])]);
        assert_eq!(of(vec![taken(7, true), gone(), taken(7, true)]), [(false, vec![])]);
        assert_eq!(of(vec![taken(7, false), gone(), taken(7, false)]), [(true, vec![])]);
    }
}
