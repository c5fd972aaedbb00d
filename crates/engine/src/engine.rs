//! The contract that every engine keeps.

use std::fmt;
use std::path::Path;

use crate::{Batch, Error, Head, Order, Page, ScanLimit, Span, Value};

/// The room of a store, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What may still be written.
    pub free: u64,
    /// Free or not, all that there is.
    pub total: u64,
    /// What must be free for a commit: below it, a commit is refused with [`Error::Full`].
    pub commit_min: u64,
    /// What the engine may take for a while, without any commit, to rewrite what it holds. A reserve
    /// of free bytes has to hold this as well.
    pub work: u64,
}

/// One moment of a store: its durable commits when the view was opened, whatever is committed
/// later. Its calls answer [`Error::Poisoned`] once the engine is.
///
/// A view never makes a commit wait. What it costs while it is open differs: sled keeps the rows
/// that commits have replaced since, and gives an old view up with [`Error::ViewExpired`] when they
/// take too much memory; fjall keeps replaced rows on the disk. So close it soon.
pub trait View {
    /// The values of `keys`, in the order of `keys`; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Damaged`], [`Error::Io`], [`Error::ViewExpired`].
    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Value>>, Error>;

    /// The first rows of `span` in `order`, up to `limit`. Go on from the last key of the page: the
    /// pages of one view fit together.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Damaged`], [`Error::Io`], [`Error::ViewExpired`].
    fn scan(&self, span: &Span, order: Order, limit: ScanLimit) -> Result<Page, Error>;
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
/// **Reads** go through a [`View`] and see only durable commits: never half of a batch, never a
/// batch that could still be lost. They do not wait for the commit that is being made.
///
/// **Failure.** After a failed write or flush the engine is poisoned: it answers every later call
/// with [`Error::Poisoned`], because it is not known what the disk holds. An engine that can be
/// opened again in the process does so in [`reopen`](Engine::reopen); any other needs a new
/// process: what is stuck in this one may hold the store until it ends. An engine never answers
/// with a value other than the one stored: what does not read back is [`Error::Damaged`]. Neither
/// that nor a read that the system refuses poisons: everything else is served on.
///
/// **Concurrency.** Reads run at the same time as each other and as a commit. Commits wait for each
/// other.
pub trait Engine: Send + Sync + fmt::Debug + 'static {
    /// Opens a view of the durable commits of this moment.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Io`].
    fn view(&self) -> Result<Box<dyn View + '_>, Error>;

    /// [`View::get_many`] in a view of its own.
    ///
    /// # Errors
    /// Those of [`view`](Engine::view) and [`View::get_many`].
    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Value>>, Error> {
        self.view()?.get_many(keys)
    }

    /// [`View::scan`] in a view of its own.
    ///
    /// # Errors
    /// Those of [`view`](Engine::view) and [`View::scan`].
    fn scan(&self, span: &Span, order: Order, limit: ScanLimit) -> Result<Page, Error> {
        self.view()?.scan(span, order, limit)
    }

    /// Applies `batch` and sets the head to (`expected.term`, `next_size`), if the head is
    /// `expected`: one atomic step, durable when it returns. It is never cancelled.
    ///
    /// # Errors
    /// Nothing has changed after [`Error::HeadMoved`], [`Error::Full`], [`Error::TooLarge`],
    /// [`Error::EmptyKey`], [`Error::Shrinks`], [`Error::Io`], [`Error::Database`], [`Error::Damaged`] (what the commit
    /// had to read first, or what keeps the engine from writing at all while it reads on) and
    /// [`Error::Poisoned`]. After [`Error::Unknown`] the batch may be there or not, as a whole; the engine is poisoned.
    fn commit(&self, batch: Batch, expected: Head, next_size: u64) -> Result<(), Error>;

    /// This opening's term and the log's durable size. That it answers says that the engine works.
    ///
    /// # Errors
    /// [`Error::HeadMoved`] when another writer has taken a later term; [`Error::Poisoned`].
    fn head(&self) -> Result<Head, Error>;

    /// Opens a poisoned store again in this process and takes a new term by a durable commit, so
    /// that whatever is still on its way from before changes nothing. Returns the new head: its size
    /// says what has become of a commit whose outcome was not known.
    ///
    /// # Errors
    /// [`Error::Poisoned`]: this engine needs a new process, as those on files do.
    /// [`Error::HeadMoved`] when another writer has taken a later term.
    fn reopen(&self) -> Result<Head, Error> {
        Err(Error::Poisoned)
    }

    /// The room that it has.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be measured.
    fn space(&self) -> Result<Space, Error>;

    /// Its name: `sled`, `fjall`, `postgres`, `memory`.
    fn kind(&self) -> &'static str;
}

/// Where a store lies, and how it is opened. A shard is given one and knows no engine by name.
pub trait Backend: Send + Sync + fmt::Debug {
    /// Whether there is a store, or the beginnings of one. Nothing is opened or made.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::Cluster`]: it cannot be told now.
    fn exists(&self) -> Result<bool, Error>;

    /// Opens the store, makes it if it is missing, and takes a new term.
    ///
    /// # Errors
    /// Those of [`crate::open`].
    fn open(&self) -> Result<Box<dyn Engine>, Error>;

    /// The folder of its files, if they lie on this machine: what must survive the loss of the
    /// store may not lie in it.
    fn folder(&self) -> Option<&Path>;

    /// Where the store lies, for operators.
    fn place(&self) -> String;
}

/// What every engine checks before it touches anything.
pub(crate) fn check_commit(batch: &Batch, expected: Head, next_size: u64) -> Result<(), Error> {
    if next_size < expected.size {
        return Err(Error::Shrinks { from: expected.size, to: next_size });
    }
    batch.check()
}
