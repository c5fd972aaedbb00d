//! What a group writes, up to the last command that has not failed: one that fails adds nothing to it,
//! neither rows nor entries.

use engine::Batch;

use crate::Error;
use crate::log::DraftMark;
use crate::write::entries::GroupEntries;
use crate::write::list_numbers::ListChanges;

/// What was done so far.
pub(crate) struct Kept {
    pub(crate) batch: Batch,
    /// How the lists of collections change.
    pub(crate) listed: ListChanges,
    /// The same of the command in hand.
    pub(crate) in_hand: ListChanges,
    /// The entries.
    mark: DraftMark,
    /// Subjects that are erased.
    pub(crate) erased: usize,
    /// There is a step of the move of a slot.
    pub(crate) slots_changed: bool,
}

impl Kept {
    /// Of a group with these entries, and nothing else yet.
    pub(crate) fn new(entries: &GroupEntries<'_>) -> Self {
        let (listed, in_hand) = (ListChanges::default(), ListChanges::default());
        let (batch, mark) = (Batch::new(), entries.mark());
        Self { batch, listed, in_hand, mark, erased: 0, slots_changed: false }
    }

    /// Keeps a command's rows and changes to lists, and the entries and erasures up to now.
    pub(crate) fn keep(&mut self, rows: Batch, entries: &GroupEntries<'_>, erased: usize) {
        self.batch.append(rows);
        self.listed.append(std::mem::take(&mut self.in_hand));
        (self.mark, self.erased) = (entries.mark(), erased);
    }

    /// Takes back the changes to lists, and the entries, that came after what is kept.
    pub(crate) fn take_back(&mut self, entries: &mut GroupEntries<'_>) -> Result<(), Error> {
        self.in_hand = ListChanges::default();
        entries.back_to(self.mark)
    }
}
