//! A command that fails has added nothing to its group: neither rows nor entries.

use engine::Batch;
use terms::Rejection;

use crate::log::DraftMark;
use crate::write::entries::GroupEntries;
use crate::write::transaction::Transaction;

/// What a group writes, up to the last command that has not failed.
pub(crate) struct Kept {
    pub(crate) batch: Batch,
    /// The entries.
    mark: DraftMark,
    /// Subjects that are erased.
    erased: usize,
}

impl Kept {
    /// Of a group with these entries, and nothing else yet.
    pub(crate) fn new(entries: &GroupEntries<'_>) -> Self {
        Self { batch: Batch::new(), mark: entries.mark(), erased: 0 }
    }
}

impl Transaction<'_> {
    /// Keeps what was done so far, whatever comes after it.
    pub(super) fn keep_done(&mut self) {
        self.kept.batch.append(std::mem::take(&mut self.batch));
        (self.kept.mark, self.kept.erased) = (self.entries.mark(), self.erased.len());
    }

    /// Takes back what a command that has failed has added: no row goes without its entry.
    pub(super) fn take_back(&mut self) -> Result<(), Rejection> {
        self.batch = Batch::new();
        self.erased.truncate(self.kept.erased);
        Ok(self.entries.back_to(self.kept.mark)?)
    }
}
