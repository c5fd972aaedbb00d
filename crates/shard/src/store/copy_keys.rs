//! The keys of rows about copies: at the home, what another region has or is to be told; at the mirror, the
//! copies. Those of the mirror have prefixes of their own, so nothing takes a copy for a record whose home
//! is here.

use engine::{Key, Span};
use terms::{Collection, RegionId, Slot};

use crate::store::aead::binding;
use crate::store::codec::{Reader, Writer};
use crate::store::keys::{KeyLayout, Owner};
use crate::store::types::TAG_BYTES;

const DUE: u8 = 0x20;
const MARK: u8 = 0x38;
const TELL: u8 = 0x39;
const SET: u8 = 0x60;
const RECORD: u8 = 0x61;
const BODY: u8 = 0x62;
/// The row that says that the store was restored or recovered: what was dropped since may be back, so all
/// copies in it go.
pub(crate) const RESTORED: &[u8] = &[0x63];
/// The row that says that the store was restored or recovered, and other regions may have copies of which it
/// does not know: they are asked.
pub(crate) const RESTORED_HOME: &[u8] = &[0x64];
/// The value of either row: the format alone.
pub(crate) const RESTORED_ROW: &[u8] = &[1];
/// Bytes of the key of a subject's own row.
const SUBJECT_BYTES: usize = 20;

/// The copies of one collection of a subject between two regions, by a keyed hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SetTag(pub(crate) [u8; TAG_BYTES]);

impl KeyLayout {
    /// The copies of a collection that another region has of this one, or this one of it.
    pub(crate) fn copy_set(&self, collection: &Collection, other: &RegionId) -> SetTag {
        let text = binding("copies", &[collection.as_str(), other.as_str()], None);
        SetTag(self.index_tag(&text))
    }
}

/// The row that says that another region has copies of a collection of the subject.
pub(crate) fn mark(owner: &Owner, tag: SetTag) -> Key {
    [&[MARK], owner.row().as_slice(), &tag.0].concat()
}

/// All such rows of a subject.
pub(crate) fn marks_of(owner: &Owner) -> Span {
    Span::prefix(&[&[MARK], owner.row().as_slice()].concat())
}

/// All such rows, after the one at `from`.
pub(crate) fn all_marks(from: Option<&[u8]>) -> Span {
    after(MARK, from)
}

/// The row that says that a region is to be told of what that mark says.
pub(crate) fn tell(mirror: &RegionId, mark: &[u8]) -> Key {
    [of_region(TELL, mirror).as_slice(), mark.get(1..).unwrap_or_default()].concat()
}

/// All such rows of one region, after the one at `from`.
pub(crate) fn tells(mirror: &RegionId, from: Option<&[u8]>) -> Span {
    within(&of_region(TELL, mirror), from)
}

/// The mark of which such a row speaks.
pub(crate) fn mark_of_tell(key: &[u8]) -> Option<Key> {
    let rest = key.get(key.len().checked_sub(SUBJECT_BYTES + TAG_BYTES)?..)?;
    Some([&[MARK], rest].concat())
}

/// What the people of a slot are due in these regions: copies, and to be told.
pub(crate) fn owed_of_slot(regions: &[RegionId], slot: Slot) -> impl Iterator<Item = Span> {
    regions.iter().flat_map(move |region| {
        [DUE, TELL].map(|kind| {
            let of_subjects = [&[0x10][..], &slot.number().to_be_bytes()].concat();
            Span::prefix(&[of_region(kind, region), of_subjects].concat())
        })
    })
}

/// The copies that are due to one region, after the row at `from`.
pub(crate) fn copies_due(mirror: &RegionId, from: Option<&[u8]>) -> Span {
    within(&of_region(DUE, mirror), from)
}

/// The key of the record's head of such a row.
pub(crate) fn record_of_due(key: &[u8]) -> Option<&[u8]> {
    let mut rest = Reader::new(key.get(1..)?);
    rest.text().ok()?;
    Some(rest.rest())
}

/// Where rows begin that say what a region is due, or is to be told: copies, then the rest.
pub(crate) fn all_due() -> [Span; 2] {
    [Span::prefix(&[DUE]), Span::prefix(&[TELL])]
}

/// The region of such a row, and the first key past all of its rows.
pub(crate) fn region_of_due(key: &[u8]) -> Option<(RegionId, Key)> {
    let kind = *key.first()?;
    let region = RegionId::parse(Reader::new(key.get(1..)?).text().ok()?).ok()?;
    let past = Span::prefix(&of_region(kind, &region)).until;
    Some((region, past))
}

/// The row of the copies of a collection of a subject.
pub(crate) fn set(owner: &Owner, tag: SetTag) -> Key {
    let row = owner.row();
    let subject = row.get(1..SUBJECT_BYTES - 1).unwrap_or_default();
    [&[SET], subject, &tag.0].concat()
}

/// Whether it may be the key of such a row.
pub(crate) fn is_set(key: &[u8]) -> bool {
    key.first() == Some(&SET)
}

/// All such rows, after the one at `from`.
pub(crate) fn sets(from: Option<&[u8]>) -> Span {
    after(SET, from)
}

/// The row of the head of a copy. `record`: the key that its head would have as a record of this region.
pub(crate) fn copy(set: &[u8], record: &[u8]) -> Key {
    let tag = record.last_chunk::<TAG_BYTES>().map_or(&[][..], |tag| &tag[..]);
    [&[RECORD], set.get(1..).unwrap_or_default(), tag].concat()
}

/// The row of the body of a copy, by that of its head.
pub(crate) fn copied_body(head: &[u8]) -> Key {
    [&[BODY], head.get(1..).unwrap_or_default()].concat()
}

/// The rows of all copies of a set: of their heads, and of their bodies.
pub(crate) fn copies(set: &[u8]) -> [Span; 2] {
    [RECORD, BODY].map(|kind| Span::prefix(&[&[kind], set.get(1..).unwrap_or_default()].concat()))
}

fn of_region(kind: u8, region: &RegionId) -> Key {
    let mut key = Writer::with_capacity(64);
    key.u8(kind).text(region.as_str());
    key.0
}

fn after(kind: u8, from: Option<&[u8]>) -> Span {
    within(&[kind], from)
}

fn within(prefix: &[u8], from: Option<&[u8]>) -> Span {
    let mut span = Span::prefix(prefix);
    if let Some(from) = from {
        span.from = [from, &[0]].concat();
    }
    span
}
