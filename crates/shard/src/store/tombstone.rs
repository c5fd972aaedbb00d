//! What is left of a subject that was erased, or has moved to another region: enough to refuse late
//! retries, and to answer the own ones of the erasure or the move, and nothing that names anyone.
//!
//! The row: `01`, `00`, incarnation (4 bytes), the records that went (8 bytes), what is remembered of
//! the request (68 bytes), the region to which it has moved with its length (nothing: it was erased), a
//! tag over all of it and the subject's tag (16 bytes).

use terms::RegionId;

use crate::Error;
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keys::KeyLayout;
use crate::store::types::{Incarnation, Recent, SubjectTag, TAG_BYTES, TombstoneTag};

/// The format of a subject's row, kept or erased.
pub(super) const FORMAT: u8 = 1;
/// The kind of a tombstone.
pub(super) const ERASED: u8 = 0;
const DAMAGED: Error = Error::Damaged("subjects");

/// The tombstone of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tombstone {
    /// Of the subject that was here.
    pub(crate) incarnation: Incarnation,
    /// Live records that went with it.
    pub(crate) records: u64,
    /// The request that erased or moved it, its minute, and the ERASE or MOVE_OUT entry.
    pub(crate) by: Recent,
    /// Where it is now. None: it was erased.
    pub(crate) moved: Option<RegionId>,
}

impl Tombstone {
    fn text(&self) -> Writer {
        let mut text = Writer::with_capacity(96);
        text.u32(self.incarnation.0).u64(self.records);
        self.by.write(&mut text);
        if let Some(to) = &self.moved {
            text.text(to.as_str());
        }
        text
    }

    /// The row as it is stored.
    pub(crate) fn row(&self, subject: SubjectTag, layout: &KeyLayout) -> Vec<u8> {
        let text = self.text();
        let tag = layout.tombstone(subject, &text.0);
        let mut row = Writer::with_capacity(128);
        row.u8(FORMAT).u8(ERASED).fixed(&text.0).fixed(&tag.0);
        row.0
    }

    /// Reads a row, which must be the tombstone of this subject.
    pub(crate) fn of_row(
        row: &[u8],
        subject: SubjectTag,
        layout: &KeyLayout,
    ) -> Result<Self, Error> {
        let mut row = Reader::new(row);
        row.format(FORMAT)?;
        if row.u8()? == ERASED { Self::read(&mut row, subject, layout) } else { Err(DAMAGED) }
    }

    /// Reads what follows the kind of a row, which must be of this subject.
    pub(super) fn read(
        row: &mut Reader<'_>,
        subject: SubjectTag,
        layout: &KeyLayout,
    ) -> Result<Self, Error> {
        let incarnation = Incarnation(row.u32()?);
        let (records, by) = (row.u64()?, Recent::read(row)?);
        let moved = if row.rest().len() > TAG_BYTES {
            Some(RegionId::parse(row.text()?).map_err(|_| Malformed)?)
        } else {
            None
        };
        let tag = TombstoneTag(row.array()?);
        row.end()?;
        let read = Self { incarnation, records, by, moved };
        if layout.tombstone(subject, &read.text().0) == tag { Ok(read) } else { Err(DAMAGED) }
    }
}
