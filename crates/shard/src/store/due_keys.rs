//! The keys of rows that say that something is due: a record expires, a subject's block ends, a subject
//! moves, or another region is to erase what it has of one.

use engine::{Key, Span};
use terms::{RegionId, Slot};

use crate::store::codec::Writer;
use crate::store::types::Minute;

/// The row that says that the record at `row` expires in that minute.
pub(crate) fn expires(minute: Minute, row: &[u8]) -> Key {
    due(RECORD_DUE, minute, row)
}

/// The rows of records that expire in that minute or earlier, after the one at `from`; `None`: all.
pub(crate) fn expiring(from: Option<&[u8]>, minute: Minute) -> Span {
    all_due(RECORD_DUE, from, minute)
}

/// The row that says that something is to be done in that minute about the subject at `row`.
pub(crate) fn subject_due(minute: Minute, row: &[u8]) -> Key {
    due(SUBJECT_DUE, minute, row)
}

/// The rows of subjects for which something is due in that minute or earlier, as
/// [`expiring`].
pub(crate) fn subjects_due(from: Option<&[u8]>, minute: Minute) -> Span {
    all_due(SUBJECT_DUE, from, minute)
}

/// The rows of all subjects for which something is due, now or later.
pub(crate) fn all_subjects_due() -> Span {
    Span::prefix(&[SUBJECT_DUE])
}

/// The row of a subject, or of a record's head, for which something is due.
pub(crate) fn of_due(key: &[u8]) -> Option<&[u8]> {
    key.get(5..)
}

/// The row that says that the subject at `row` moves from here.
pub(crate) fn moving(row: &[u8]) -> Key {
    [&[MOVING], row].concat()
}

/// All such rows, after the one at `from`.
pub(crate) fn all_moving(from: Option<&[u8]>) -> Span {
    let from = from.map_or_else(|| vec![MOVING], |from| [from, &[0]].concat());
    Span { from, until: vec![MOVING + 1] }
}

/// The subject's row of such a row.
pub(crate) fn of_moving(key: &[u8]) -> Option<&[u8]> {
    key.get(1..)
}

/// The row that says that `mirror` is due a copy of the record at `row`. One for each record and
/// mirror, however often the record changes before it is copied.
pub(crate) fn copy_due(mirror: &RegionId, row: &[u8]) -> Key {
    let mut key = Writer::with_capacity(64);
    key.u8(0x20).text(mirror.as_str()).fixed(row);
    key.0
}

/// The slot of the subject at `row`.
pub(crate) fn slot_of(row: &[u8]) -> Option<Slot> {
    Slot::new(u16::from_be_bytes(*row.get(1..)?.first_chunk()?))
}

/// The row that says that the subject at `row` arrives here.
pub(crate) fn arriving(row: &[u8]) -> Key {
    [&[ARRIVING], row].concat()
}

/// All such rows. [`of_moving`] has the subject's row.
pub(crate) fn all_arriving() -> Span {
    Span::prefix(&[ARRIVING])
}

/// The row that says that a move to here of the subject at `row` has ended. Two regions may name theirs
/// alike.
pub(crate) fn move_ended(row: &[u8], from: &RegionId, move_id: &[u8; 16]) -> Key {
    [&[MOVE_ENDED], row, move_id, from.as_str().as_bytes()].concat()
}

/// The row that says that what of the subject at `row` is in another region, after a move that was given
/// up, is to be erased there.
pub(crate) fn left_copy(row: &[u8], move_id: &[u8; 16]) -> Key {
    [&[LEFT_COPY], row, move_id].concat()
}

/// All such rows of the subject at `row`.
pub(crate) fn left_copies(row: &[u8]) -> Span {
    Span::prefix(&[&[LEFT_COPY], row].concat())
}

/// All such rows, after the one at `from`.
pub(crate) fn all_left_copies(from: Option<&[u8]>) -> Span {
    let from = from.map_or_else(|| vec![LEFT_COPY], |from| [from, &[0]].concat());
    Span { from, until: vec![LEFT_COPY + 1] }
}

/// Whether it is such a row.
pub(crate) fn is_left_copy(key: &[u8]) -> bool {
    key.first() == Some(&LEFT_COPY)
}

/// The subject's row of such a row, and the move.
pub(crate) fn of_left_copy(key: &[u8]) -> Option<(&[u8], [u8; 16])> {
    let (row, move_id) = key.get(1..)?.split_last_chunk()?;
    Some((row, *move_id))
}

const RECORD_DUE: u8 = 0x31;
const SUBJECT_DUE: u8 = 0x32;
const MOVING: u8 = 0x34;
const MOVE_ENDED: u8 = 0x35;
const LEFT_COPY: u8 = 0x36;
const ARRIVING: u8 = 0x37;

fn due(prefix: u8, minute: Minute, row: &[u8]) -> Key {
    let mut key = Writer::with_capacity(64);
    key.u8(prefix).u32(minute.0).fixed(row);
    key.0
}

fn all_due(prefix: u8, from: Option<&[u8]>, minute: Minute) -> Span {
    let mut from = from.map_or_else(|| vec![prefix], <[u8]>::to_vec);
    if from.len() > 1 {
        from.push(0);
    }
    Span { from, until: due(prefix, Minute(minute.0.saturating_add(1)), &[]) }
}
