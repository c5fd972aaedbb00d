//! The contract that every engine keeps.

use std::fmt;

use crate::{Batch, Error, Order, Page, ScanLimit, Span, Value};

/// Who may write, and how far the log has come. A writer commits against the head it knows; if the
/// store has another, nothing happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Head {
    /// Grows by every opening. A writer of an older term has been replaced.
    pub term: u64,
    /// The number of entries in the placement log.
    pub size: u64,
}

/// An ordered store of bytes with one writer.
///
/// The methods block, on purpose: the committer is a thread of its own, and reads come from
/// threads that may block. Never call them on an async runtime's own threads.
///
/// **Durability.** When [`commit`](Engine::commit) returns `Ok`, the whole batch and the new head
/// are on stable storage: they survive a kill and a power cut. After any other outcome, and after
/// a crash, either all of the batch is there or nothing of it.
///
/// **Reads** see only durable commits, and each call sees one moment: never half of a batch, never
/// a batch that could still be lost. A read of what is being committed waits for that commit.
///
/// **Failure.** After a failed write or flush the engine is poisoned: it answers every later call
/// with [`Error::Poisoned`], because nobody knows what the disk holds. Open it again, best in a new
/// process: what is stuck in this one may hold the folder until it ends. An engine never answers
/// with a value other than the one stored: what does not read back is [`Error::Damaged`]. Neither
/// that nor a read that the system refuses poisons: everything else is served on.
///
/// **Concurrency.** Reads run beside each other and beside a commit. Commits wait for each other.
pub trait Engine: Send + Sync + fmt::Debug + 'static {
    /// The values of `keys`, in the order of `keys`, all from one moment; `None` where there is
    /// none.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Damaged`], [`Error::Io`].
    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Value>>, Error>;

    /// The first rows of `span` in `order`, up to `limit`, all from one moment.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Damaged`], [`Error::Io`].
    fn scan(&self, span: &Span, order: Order, limit: ScanLimit) -> Result<Page, Error>;

    /// Applies `batch` and sets the head to (`expected.term`, `next_size`), if the head is
    /// `expected`: one atomic step, durable when it returns. It is never cancelled.
    ///
    /// # Errors
    /// Nothing has changed after [`Error::HeadMoved`], [`Error::Full`], [`Error::TooLarge`],
    /// [`Error::EmptyKey`], [`Error::Shrinks`], [`Error::Io`], [`Error::Damaged`] (what the commit
    /// had to read first, or what keeps the engine from writing at all while it reads on) and
    /// [`Error::Poisoned`]. After [`Error::Unknown`] the batch may be there or not, as a whole; the engine is poisoned.
    fn commit(&self, batch: Batch, expected: Head, next_size: u64) -> Result<(), Error>;

    /// This opening's term and the log's durable size.
    ///
    /// # Errors
    /// [`Error::HeadMoved`] when another writer has taken a later term; [`Error::Poisoned`].
    fn head(&self) -> Result<Head, Error>;

    /// Its name: `sled`, `fjall`, `memory`.
    fn kind(&self) -> &'static str;

    /// Bytes that the engine may take on its disk for a while, without any commit, to rewrite what it
    /// holds. Whoever keeps a reserve free keeps this beside it.
    fn work_bytes(&self) -> u64 {
        0
    }

    /// Durable commits of this opening whose head could not be noted beside the store: until one
    /// is noted again, the next opening would not see that they are missing.
    fn notes_failed(&self) -> u64 {
        0
    }
}

/// What every engine checks before it touches anything.
pub(crate) fn check_commit(batch: &Batch, expected: Head, next_size: u64) -> Result<(), Error> {
    if next_size < expected.size {
        return Err(Error::Shrinks { from: expected.size, to: next_size });
    }
    batch.check()
}
