//! The head of a store.

/// Who may write, and how far the log has come. A writer commits against the head it knows; if the
/// store has another, nothing happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Head {
    /// Grows by every opening. A writer of an older term has been replaced.
    pub term: u64,
    /// The number of entries in the placement log.
    pub size: u64,
}
