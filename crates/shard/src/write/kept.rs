//! What a group writes, up to the last command that has not failed: one that fails adds nothing to it,
//! neither rows nor entries.

use engine::Batch;

use crate::Error;
use crate::log::DraftMark;
use crate::write::entries::GroupEntries;

/// What was done so far.
pub(crate) struct Kept {
    pub(crate) batch: Batch,
    /// The entries.
    mark: DraftMark,
    /// Subjects that are erased.
    pub(crate) erased: usize,
}

impl Kept {
    /// Of a group with these entries, and nothing else yet.
    pub(crate) fn new(entries: &GroupEntries<'_>) -> Self {
        Self { batch: Batch::new(), mark: entries.mark(), erased: 0 }
    }

    /// Keeps a command's rows, and the entries and erasures up to now.
    pub(crate) fn keep(&mut self, rows: Batch, entries: &GroupEntries<'_>, erased: usize) {
        self.batch.append(rows);
        (self.mark, self.erased) = (entries.mark(), erased);
    }

    /// Takes back the entries that came after what is kept.
    pub(crate) fn take_back(&self, entries: &mut GroupEntries<'_>) -> Result<(), Error> {
        entries.back_to(self.mark)
    }
}
