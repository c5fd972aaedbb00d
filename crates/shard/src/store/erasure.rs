//! What a subject's row keeps of erasures: of one that goes on, and of those of its collections that are
//! done, so that a retry is known.
//!
//! Records that are gone remember no requests. So the erasure of a collection notes each of the last day's
//! requests in a row of its own, and a late retry of one of them brings nothing back.

use terms::Collection;

use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::types::{Fingerprint, Minute, Recent};

/// The format of a row that notes a request: it is the whole value.
pub(crate) const GONE_FORMAT: u8 = 1;

/// An erasure that takes more than one commit, so that whatever happens it is gone on with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Erasure {
    pub(crate) request_id: [u8; 16],
    pub(crate) fingerprint: Fingerprint,
    /// When it began.
    pub(crate) began: Minute,
    /// Live records that it has destroyed so far.
    pub(crate) records: u64,
    pub(crate) reason: String,
    pub(crate) deadline: Option<Minute>,
}

impl Erasure {
    pub(super) fn write(&self, state: &mut Writer) {
        state.fixed(&self.request_id).fixed(&self.fingerprint.0);
        state.u32(self.began.0).u64(self.records).text(&self.reason);
        state.u32(self.deadline.map_or(0, |minute| minute.0));
    }

    pub(super) fn read(state: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            request_id: state.array()?,
            fingerprint: Fingerprint(state.array()?),
            began: Minute(state.u32()?),
            records: state.u64()?,
            reason: state.text()?.to_owned(),
            deadline: Some(state.u32()?).filter(|minute| *minute > 0).map(Minute),
        })
    }
}

/// An erasure of a collection that takes more than one commit.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CollectionErasing {
    pub(crate) collection: Collection,
    pub(crate) erasure: Erasure,
}

impl CollectionErasing {
    pub(super) fn write(&self, row: &mut Writer) {
        row.text(self.collection.as_str());
        self.erasure.write(row);
    }

    pub(super) fn read(row: &mut Reader<'_>) -> Result<Self, Malformed> {
        let collection = Collection::parse(row.text()?).map_err(|_| Malformed)?;
        Ok(Self { collection, erasure: Erasure::read(row)? })
    }
}

/// A collection that was erased, by its last erasure.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CollectionErased {
    pub(crate) collection: Collection,
    /// Live records that were erased.
    pub(crate) records: u64,
    /// The request, its minute, and its ERASE entry.
    pub(crate) by: Recent,
}

impl CollectionErased {
    pub(super) fn write(&self, row: &mut Writer) {
        row.text(self.collection.as_str()).u64(self.records);
        self.by.write(row);
    }

    pub(super) fn read(row: &mut Reader<'_>) -> Result<Self, Malformed> {
        let collection = Collection::parse(row.text()?).map_err(|_| Malformed)?;
        Ok(Self { collection, records: row.u64()?, by: Recent::read(row)? })
    }
}
