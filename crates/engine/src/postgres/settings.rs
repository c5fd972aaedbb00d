//! Which store, whose it is, and how it is opened.

use std::sync::Arc;

use tokio::sync::watch;

use crate::postgres::access::Access;

/// The name of this engine in configurations and from [`crate::Engine::kind`].
pub(super) const KIND: &str = "postgres";

/// What an opening does while another process writes to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occupied {
    /// It waits until the other has ended, however long that takes.
    Wait,
    /// It is refused with [`crate::Error::Locked`].
    Refuse,
    /// The same, unless the other has ended in good order: silence is not enough.
    RefuseUnlessEnded,
    /// It takes the term at once: the other is replaced. For tests, and for repairs.
    Replace,
}

/// The store of one shard in a database.
#[derive(Debug, Clone)]
pub struct Postgres {
    pub(super) access: Arc<Access>,
    pub(super) owner: Owner,
    pub(super) occupied: Occupied,
    /// The holder that an opening waits for.
    pub(super) waiting: watch::Sender<Option<String>>,
}

/// Whose store it is, and who opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The region.
    pub region: String,
    /// The shard.
    pub shard: String,
    /// The process that opens it, for operators: a host and a process id.
    pub holder: String,
}

impl Owner {
    /// The store of that shard, opened by this process.
    pub fn here(region: &str, shard: &str) -> Self {
        let name = rustix::system::uname();
        let host = name.nodename().to_string_lossy();
        let holder = format!("{host}, process {}", std::process::id());
        Self { region: region.to_owned(), shard: shard.to_owned(), holder }
    }
}

impl Postgres {
    /// The store of `owner` in that database.
    pub fn new(access: Access, owner: Owner) -> Self {
        let (access, occupied) = (Arc::new(access), Occupied::Refuse);
        Self { access, owner, occupied, waiting: watch::Sender::new(None) }
    }

    /// The same, opened in another way while another process writes.
    #[must_use]
    pub fn when_occupied(mut self, occupied: Occupied) -> Self {
        self.occupied = occupied;
        self
    }

    /// The holder that an opening waits for, now and whenever it changes. None: it does not wait.
    pub fn waits_for(&self) -> watch::Receiver<Option<String>> {
        self.waiting.subscribe()
    }

    /// The database without user and password, for operators.
    pub fn place(&self) -> String {
        self.access.place()
    }
}
