//! What a store knows of slots that move between it and another shard of its region. All that is known of
//! such a move is in one row at each end, so both go on after a crash.
//!
//! A row under `3c`, of a slot that goes from here: `01`; its state (1 byte); whether it is ordered once
//! more after it was given up; the id of the move; since which minute; the other shard. Of one that was
//! given away, what adopts it there: the log and index of the entry, its opening, the digest of its rows,
//! and how many live records it has.
//!
//! A row under `3d`, of a slot that comes to here, by its move: `01`; its state; the other shard; the log
//! and index of the entry with which it began. Of one that arrives, the key of the row that came last. Of
//! one that was given away there, the same as above. The row of a move that has ended stays, so that a late
//! step begins none.
//!
//! A row under `3e` is a row that has come and is not in its place yet.

use engine::{Key, Span};
use terms::{ShardId, Slot, SlotSet};

use crate::Error;
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::types::Minute;

const FORMAT: u8 = 1;
const GOING: u8 = 0x3c;
const COMING: u8 = 0x3d;
const CAME: u8 = 0x3e;
/// The rows of a slot that travel, by what their keys begin with before the slot, in this order: a
/// subject's own row comes before the heads of its records.
const TRAVEL: [&[u8]; 9] =
    [&[0x10], &[0x11], &[0x12], &[0x13], &[0x14], &[0x15], &[0x16], &[0x17], &[0x35, 0x10]];
/// Rows whose people stay, likewise: what other regions and this one owe each other names this shard.
const STAY: [&[u8]; 7] =
    [&[0x34, 0x10], &[0x36, 0x10], &[0x37, 0x10], &[0x38, 0x10], &[0x60], &[0x61], &[0x62]];

/// The id of the move of one slot.
pub(crate) type SlotMoveId = [u8; 16];

/// What gives a slot away, and what adopts it: both logs commit to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handover {
    /// The log of the entry that gives it away.
    pub(crate) origin: String,
    pub(crate) index: u64,
    pub(crate) opening: [u8; 32],
    /// Of all rows of the slot.
    pub(crate) digest: [u8; 32],
    /// Live records.
    pub(crate) live: u64,
}

impl Handover {
    fn write(&self, row: &mut Writer) {
        row.text(&self.origin).u64(self.index).fixed(&self.opening).fixed(&self.digest);
        row.u64(self.live);
    }

    fn read(row: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (origin, index) = (row.text()?.to_owned(), row.u64()?);
        let (opening, digest) = (row.array()?, row.array()?);
        Ok(Self { origin, index, opening, digest, live: row.u64()? })
    }
}

/// How far a slot is that goes from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GoingState {
    /// It is served as ever.
    Ordered,
    /// It is read and not written.
    Frozen,
    /// The other shard has it, or is about to: nothing of it is served here.
    Left(Handover),
    /// The move was given up. It is served as ever, and the other shard is to discard what it has.
    GivenUp,
}

/// A slot that goes from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Going {
    pub(crate) to: ShardId,
    pub(crate) move_id: SlotMoveId,
    pub(crate) since: Minute,
    /// Once it was given up, it is ordered again.
    pub(crate) again: bool,
    pub(crate) state: GoingState,
}

impl Going {
    /// The key of its row.
    pub(crate) fn key(slot: Slot) -> Key {
        of_slot(&[GOING], slot)
    }

    /// The row as it is stored.
    pub(crate) fn row(&self) -> Vec<u8> {
        let Self { to, move_id, since, again, state } = self;
        let mut row = Writer::with_capacity(192);
        let code = match state {
            GoingState::Ordered => 0,
            GoingState::Frozen => 1,
            GoingState::Left(_) => 2,
            GoingState::GivenUp => 3,
        };
        row.u8(FORMAT).u8(code).u8(u8::from(*again)).fixed(move_id).u32(since.0);
        row.text(to.as_str());
        if let GoingState::Left(handover) = state {
            handover.write(&mut row);
        }
        row.0
    }

    /// Reads a stored row.
    pub(crate) fn read(row: &[u8]) -> Result<Self, Error> {
        let mut row = Reader::new(row);
        row.format(FORMAT)?;
        let (code, again, move_id) = (row.u8()?, row.u8()? == 1, row.array()?);
        let (since, to) = (Minute(row.u32()?), shard(&mut row)?);
        let state = match code {
            0 => GoingState::Ordered,
            1 => GoingState::Frozen,
            2 => GoingState::Left(Handover::read(&mut row)?),
            3 => GoingState::GivenUp,
            _ => return Err(Malformed.into()),
        };
        row.end()?;
        Ok(Self { to, move_id, since, again, state })
    }
}

/// How far a slot is that comes to here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ComingState {
    /// Its rows come. The key of the last one.
    Staging(Key),
    /// The other shard has given it away, and its rows are put in their places.
    Installing(Handover),
    /// It is served here, or was.
    Adopted,
    /// What has come is discarded, or was.
    Dropped,
}

/// A slot that comes to here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Coming {
    pub(crate) from: ShardId,
    /// The log of the entry with which it began.
    pub(crate) origin: String,
    pub(crate) index: u64,
    pub(crate) state: ComingState,
}

impl Coming {
    /// The key of its row.
    pub(crate) fn key(slot: Slot, move_id: &SlotMoveId) -> Key {
        [of_slot(&[COMING], slot).as_slice(), move_id].concat()
    }

    /// All such rows of a slot.
    pub(crate) fn all_of(slot: Slot) -> Span {
        Span::prefix(&of_slot(&[COMING], slot))
    }

    /// All such rows.
    pub(crate) fn all() -> Span {
        Span::prefix(&[COMING])
    }

    /// The slot and the move of such a row.
    pub(crate) fn of_key(key: &[u8]) -> Option<(Slot, SlotMoveId)> {
        let (slot, move_id) = key.get(1..)?.split_first_chunk()?;
        Some((Slot::new(u16::from_be_bytes(*slot))?, move_id.try_into().ok()?))
    }

    /// The row as it is stored.
    pub(crate) fn row(&self) -> Vec<u8> {
        let Self { from, origin, index, state } = self;
        let mut row = Writer::with_capacity(192);
        let code = match state {
            ComingState::Staging(_) => 0,
            ComingState::Installing(_) => 1,
            ComingState::Adopted => 2,
            ComingState::Dropped => 3,
        };
        row.u8(FORMAT).u8(code).text(from.as_str()).text(origin).u64(*index);
        match state {
            ComingState::Staging(after) => drop(row.bytes(after)),
            ComingState::Installing(handover) => handover.write(&mut row),
            ComingState::Adopted | ComingState::Dropped => {}
        }
        row.0
    }

    /// Reads a stored row.
    pub(crate) fn read(row: &[u8]) -> Result<Self, Error> {
        let mut row = Reader::new(row);
        row.format(FORMAT)?;
        let (code, from) = (row.u8()?, shard(&mut row)?);
        let (origin, index) = (row.text()?.to_owned(), row.u64()?);
        let state = match code {
            0 => ComingState::Staging(row.bytes()?.to_vec()),
            1 => ComingState::Installing(Handover::read(&mut row)?),
            2 => ComingState::Adopted,
            3 => ComingState::Dropped,
            _ => return Err(Malformed.into()),
        };
        row.end()?;
        Ok(Self { from, origin, index, state })
    }
}

/// All rows under `3c`.
pub(crate) fn all_going() -> Span {
    Span::prefix(&[GOING])
}

/// The slot of a row under `3c`.
pub(crate) fn slot_of_going(key: &[u8]) -> Option<Slot> {
    key.get(1..)?.try_into().ok().map(u16::from_be_bytes).and_then(Slot::new)
}

/// The rows of a slot that travel, in their order.
pub(crate) fn travelling(slot: Slot) -> impl Iterator<Item = Span> {
    TRAVEL.iter().map(move |front| Span::prefix(&of_slot(front, slot)))
}

/// The rows of a slot that keep it from moving.
pub(crate) fn staying(slot: Slot) -> impl Iterator<Item = Span> {
    STAY.iter().map(move |front| Span::prefix(&of_slot(front, slot)))
}

/// Whether it is the key of a row of that slot that travels.
pub(crate) fn travels(key: &[u8], slot: Slot) -> bool {
    TRAVEL.iter().any(|front| key.starts_with(&of_slot(front, slot)))
}

/// Where a row of that key lies until it is put in its place.
pub(crate) fn came(key: &[u8]) -> Key {
    [&[CAME], key].concat()
}

/// The key of the row that such a row will be.
pub(crate) fn of_came(key: &[u8]) -> Option<&[u8]> {
    key.strip_prefix(&[CAME])
}

/// The rows of a slot that have come, in their order.
pub(crate) fn all_came(slot: Slot) -> impl Iterator<Item = Span> {
    TRAVEL.iter().map(move |front| Span::prefix(&of_slot(&[&[CAME], *front].concat(), slot)))
}

/// What an operator sees of slots that move.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SlotsOnTheWay {
    /// Owned here, and read and not written.
    pub(crate) frozen: SlotSet,
    /// Given away: the other shard has them, or is about to.
    pub(crate) left: SlotSet,
    /// Their rows come.
    pub(crate) staging: SlotSet,
    /// Their rows are put in their places.
    pub(crate) installing: SlotSet,
}

fn of_slot(front: &[u8], slot: Slot) -> Key {
    [front, &slot.number().to_be_bytes()].concat()
}

fn shard(row: &mut Reader<'_>) -> Result<ShardId, Malformed> {
    ShardId::parse(row.text()?).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_slots_that_move_read_back_and_nothing_else_does() {
        let slot = Slot::new(700).unwrap();
        let handover = Handover {
            origin: "sample/ru-msk/s1/1".to_owned(),
            index: 7,
            opening: [1; 32],
            digest: [2; 32],
            live: 9,
        };
        let (to, move_id, since) = (ShardId::parse("s2").unwrap(), [5; 16], Minute(77));
        let left = GoingState::Left(handover.clone());
        for state in [GoingState::Ordered, GoingState::Frozen, left, GoingState::GivenUp] {
            let going = Going { to: to.clone(), move_id, since, again: true, state };
            let row = going.row();
            assert_eq!(Going::read(&row).ok(), Some(going));
            assert!(Going::read(&row[..row.len() - 1]).is_err());
            assert!(Going::read(&[&row[..], &[0]].concat()).is_err());
        }
        let (staging, installing) =
            (ComingState::Staging(vec![0x10, 3]), ComingState::Installing(handover));
        for state in [staging, installing, ComingState::Adopted, ComingState::Dropped] {
            let origin = "sample/ru-msk/s2/1".to_owned();
            let coming = Coming { from: to.clone(), origin, index: 3, state };
            let row = coming.row();
            assert_eq!(Coming::read(&row).ok(), Some(coming));
            assert!(Coming::read(&row[..row.len() - 1]).is_err());
        }
        assert_eq!(slot_of_going(&Going::key(slot)), Some(slot));
        assert_eq!(Coming::of_key(&Coming::key(slot, &move_id)), Some((slot, move_id)));
        let next = Slot::new(701).unwrap();
        for span in travelling(slot) {
            assert!(travels(&span.from, slot) && !travels(&span.from, next));
            assert_eq!(of_came(&came(&span.from)), Some(&span.from[..]));
        }
    }
}
