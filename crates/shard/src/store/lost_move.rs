//! What is known of a move by which a subject was taken from another region, where a restore or a recovery
//! has lost that: the file of erasures says it, and what was done to the subject since.

use terms::Collection;

use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::moving::Taken;
use crate::store::subject::Subject;
use crate::store::types::Recent;

/// A move to here that was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LostMove {
    /// Live records that came.
    pub(crate) live: u64,
    /// What both logs commit to.
    pub(crate) commitment: [u8; 32],
    /// The subject was erased since, or has moved on: it does not come once more.
    pub(crate) gone: bool,
    /// Collections that were erased since, each with the request.
    pub(crate) erased: Vec<(Collection, Recent)>,
}

impl LostMove {
    /// One to whose subject nothing was done yet.
    pub(crate) const fn new(taken: &Taken) -> Self {
        let Taken { live, commitment, .. } = *taken;
        Self { live, commitment, gone: false, erased: Vec::new() }
    }

    /// A collection was erased after it.
    pub(crate) fn erase(&mut self, collection: &Collection, by: Recent) {
        self.erased.retain(|(before, _)| before != collection);
        self.erased.push((collection.clone(), by));
    }

    /// Whether that collection was erased after it.
    pub(crate) fn has_erased(&self, collection: &Collection) -> bool {
        self.erased.iter().any(|(erased, _)| erased == collection)
    }

    /// A collection that is still to be erased, of a subject that has come once more.
    pub(crate) fn next_erased(&self, subject: &Subject) -> Option<&(Collection, Recent)> {
        self.erased.iter().find(|(collection, _)| subject.standing(collection).is_some())
    }

    /// Writes it.
    pub(crate) fn write(&self, row: &mut Writer) {
        row.u64(self.live).fixed(&self.commitment).u8(u8::from(self.gone));
        for (collection, by) in &self.erased {
            row.text(collection.as_str());
            by.write(row);
        }
    }

    /// Reads the same, up to the end of the row.
    pub(crate) fn read(row: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (live, commitment, gone) = (row.u64()?, row.array()?, row.u8()? == 1);
        let mut erased = Vec::new();
        while !row.is_at_end() {
            let collection = Collection::parse(row.text()?).map_err(|_| Malformed)?;
            erased.push((collection, Recent::read(row)?));
        }
        Ok(Self { live, commitment, gone, erased })
    }
}
