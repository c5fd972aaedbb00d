//! Moves from here that are given up, and what of them is in the other region: it is erased there, whatever
//! becomes of the subject meanwhile. A row for each such copy outlives the subject's own.

use engine::{Order, ScanLimit};
use ledger::entry::{Detail as Said, Kind};
use terms::{Detail, Reason, RegionId, Rejection};

use crate::Error;
use crate::policy::asker::Asker;
use crate::policy::subject_status;
use crate::reply::Written;
use crate::store::keys;
use crate::store::keys::Owner;
use crate::store::left_copy::LeftCopy;
use crate::store::moving::{GivenUp, Move};
use crate::store::subject::{Status, Subject};
use crate::store::types::Minute;
use crate::write::command::{Depart, Erase};
use crate::write::departures::replayed;
use crate::write::move_command::GiveUp;
use crate::write::transaction::{Done, Known, Transaction};

/// Regions that may have copies of one subject that are still to be erased.
const COPIES_MAX: usize = 16;

impl Transaction<'_> {
    /// Gives a move up: the subject is served as before.
    pub(super) fn give_up(
        &mut self,
        asker: &Asker,
        depart: &Depart,
        why: &GiveUp,
        subject: &Subject,
    ) -> Result<Done, Rejection> {
        let owner = &depart.owner;
        let Some(of) = given_up_move(subject, why.move_id)? else { return Ok(replayed()) };
        let mut entry = self.entries.about_subject(Kind::MoveOut, asker);
        entry.say(Said::Count(0));
        entry.say(Said::Reason(why.reason.clone()));
        let index = self.entries.next_index();
        let receipt = self.append_about(owner, None, &depart.opening, entry)?;
        let mut after = Subject::clone(subject);
        after.status = of.blocked.map_or(Status::Live, Status::Blocked);
        after.given_up = Some(given_up(&of, self.entries.minute(), why.refused));
        self.change_due(owner, None, after.due());
        self.batch.delete(keys::moving(&owner.row()));
        self.leave_copy(owner, &of)?;
        self.keep(owner, after)?;
        // Copies that went because of it come back.
        self.tell_mirrors(owner)?;
        self.node.moves.end(owner.tag);
        self.node.moves.ordered.notify_one();
        let (origin, receipt) = (Some(self.entries.own_origin()), Some(receipt));
        Ok(Done::written(Written { index, origin, receipt, ..Default::default() }))
    }

    /// Has the other region erase what it has of a move.
    pub(super) fn leave_copy(&mut self, owner: &Owner, of: &Move) -> Result<(), Rejection> {
        let copy = LeftCopy { owner: owner.clone(), to: of.to.clone(), move_id: of.request_id };
        let (key, row) = copy.row(self.node.subject_keys(), self.node.random()?);
        self.batch.put(key, row);
        Ok(())
    }

    /// The regions that are still to erase what they have of a subject. An erasure waits for them.
    pub(super) fn copies_of(&self, owner: &Owner) -> Result<Vec<RegionId>, Rejection> {
        let limit = ScanLimit { rows: COPIES_MAX, bytes: 1 << 20 };
        let span = keys::left_copies(&owner.row());
        let page = self.node.engine.scan(&span, Order::Ascending, limit).map_err(Error::from)?;
        let regions = page.rows.iter().map(|(_, row)| LeftCopy::region_of(row));
        Ok(regions.collect::<Result<_, _>>()?)
    }

    /// Refuses a move to a region that has not erased yet what an earlier one left there. One to another
    /// region does not wait for that.
    pub(super) fn nothing_left_at(&self, owner: &Owner, to: &RegionId) -> Result<(), Rejection> {
        let left = self.copies_of(owner)?;
        if left.len() < COPIES_MAX && !left.contains(to) {
            return Ok(());
        }
        let fault = Rejection::new(Reason::SubjectMoving).field("subject.id");
        Err(fault.problem("the other region still erases what an earlier move left"))
    }

    /// The other region has erased what it had. The subject may be gone from here since.
    pub(super) fn dropped(&mut self, owner: &Owner, move_id: [u8; 16]) -> Result<Done, Rejection> {
        self.batch.delete(keys::left_copy(&owner.row(), &move_id));
        let Some(Known::Kept(subject)) = self.known_subject(owner)? else {
            return Ok(Done::written(Written::default()));
        };
        let mut after = Subject::clone(&subject);
        if let Some(given_up) = &mut after.given_up
            && given_up.request_id == move_id
        {
            given_up.dropped = true;
            self.keep(owner, after)?;
        }
        Ok(Done::written(Written::default()))
    }

    /// Ends a move of a subject that is erased though it moves, after a restore: the other region erases
    /// what has been copied. One that was given away is served there.
    pub(super) fn forget_move(
        &mut self,
        erase: &Erase,
        subject: &Subject,
    ) -> Result<(), Rejection> {
        if let Some(of) = left_behind(&subject.status, erase.moved.as_ref()) {
            self.leave_copy(&erase.owner, of)?;
        }
        if subject.status.moving().is_some() {
            self.batch.delete(keys::moving(&erase.owner.row()));
        }
        Ok(())
    }
}

/// The move of which another region may have a copy that it does not serve. `moved`: where the subject is
/// served since.
fn left_behind<'a>(status: &'a Status, moved: Option<&RegionId>) -> Option<&'a Move> {
    match status {
        Status::Moving(of) if moved != Some(&of.to) => Some(of),
        Status::Moving(_)
        | Status::Live
        | Status::Blocked(_)
        | Status::Left(_)
        | Status::Erasing(_)
        | Status::Arriving(_) => None,
    }
}

/// The move that is to be given up. None: that was done.
fn given_up_move(subject: &Subject, move_id: Option<[u8; 16]>) -> Result<Option<Move>, Rejection> {
    let meant = |id: [u8; 16]| move_id.is_none_or(|meant| meant == id);
    if let Status::Left(left) = &subject.status
        && meant(left.of.request_id)
    {
        let fault = Rejection::new(Reason::SubjectMoved).field("subject.id");
        let fault = fault.problem("was given away already: the move can no longer be given up");
        return Err(fault.with(Detail::Region, &left.of.to));
    }
    if let Status::Moving(of) = &subject.status
        && meant(of.request_id)
    {
        return Ok(Some(Move::clone(of)));
    }
    if subject.given_up.as_ref().is_some_and(|of| meant(of.request_id)) {
        return Ok(None);
    }
    Err(subject_status::no_move("has no such move from here that goes on"))
}

/// What is kept of a move that ends without one.
fn given_up(of: &Move, ended: Minute, refused: Option<Reason>) -> GivenUp {
    GivenUp {
        to: of.to.clone(),
        request_id: of.request_id,
        fingerprint: of.fingerprint,
        began: of.began,
        ended,
        refused,
        dropped: false,
    }
}

#[cfg(test)]
mod tests {
    use atlas::Findings;

    use super::*;
    use crate::store::aead::NONCE_BYTES;
    use crate::store::types::Fingerprint;
    use crate::testing;

    #[test]
    fn a_copy_is_left_wherever_the_subject_did_not_move_to() {
        let region = |name| RegionId::parse(name).unwrap();
        let moving = Status::Moving(Box::new(Move {
            to: region("eu-fra"),
            request_id: [1; 16],
            fingerprint: Fingerprint([2; 16]),
            began: Minute(3),
            reason: "the person has moved".to_owned(),
            heads: 0,
            findings: Findings::new(),
            bases: Vec::new(),
            blocked: None,
            shared: false,
        }));
        assert!(left_behind(&moving, None).is_some());
        assert!(left_behind(&moving, Some(&region("kz-ala"))).is_some());
        assert!(left_behind(&moving, Some(&region("eu-fra"))).is_none());
        assert!(left_behind(&Status::Live, None).is_none());
    }

    #[test]
    fn a_row_opens_in_its_place_only_and_names_no_person() {
        let folder = tempfile::tempdir().unwrap();
        let node = testing::node(folder.path(), &engine::Disk::new(1));
        let owner = testing::address(&node, "anna").owner;
        let other = testing::address(&node, "boris").owner;
        let to = RegionId::parse("eu-fra").unwrap();
        let copy = LeftCopy { owner: owner.clone(), to: to.clone(), move_id: [7; 16] };
        let (key, row) = copy.row(node.subject_keys(), [1; NONCE_BYTES]);
        assert!(!row.windows(4).any(|part| part == b"anna"));
        assert_eq!(LeftCopy::region_of(&row).unwrap(), to);
        let read = LeftCopy::open(&key, &row, node.subject_keys()).unwrap();
        assert!(read.owner.subject == owner.subject && read.owner.tag == owner.tag);
        assert_eq!((read.to, read.move_id), (to, [7; 16]));
        for at in [keys::left_copy(&other.row(), &[7; 16]), keys::left_copy(&owner.row(), &[8; 16])]
        {
            assert!(LeftCopy::open(&at, &row, node.subject_keys()).is_err());
        }
    }
}
