//! Where the shard of a test keeps its records: in files, or in a database of PostgreSQL. All tests of a
//! process that run at the same time share one server.

#[path = "../../../../engine/tests/contract/server.rs"]
mod server;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use engine::{Access, Backend, Kind, Owner, Postgres};

use super::{Place, stored};
use server::{OWNER, PASSWORD, Server};

/// What a shard keeps its records in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    Files(Kind),
    Postgres,
}

impl Stand {
    /// All of them, for a test of what depends on the engine. With `SHARD_ENGINE`: that one alone.
    pub(crate) fn all() -> Vec<Self> {
        let files: &[Kind] = if postgres_alone() { &[] } else { &Kind::ALL };
        files.iter().copied().map(Self::Files).chain([Self::Postgres]).collect()
    }
}

/// Whether `SHARD_ENGINE=postgres` is set: then each shard that its test does not put in files keeps its
/// records in a database.
#[expect(clippy::disallowed_methods, reason = "a switch of the tests")]
pub(crate) fn postgres_alone() -> bool {
    let Ok(engine) = std::env::var("SHARD_ENGINE") else { return false };
    assert_eq!(engine, "postgres", "SHARD_ENGINE has one value");
    true
}

/// A server that lives while a test has a database of it.
struct Kept {
    server: Arc<Server>,
    ends: Option<SyncSender<()>>,
    /// The thread that has started the server, which ends with that thread.
    keeper: Option<JoinHandle<()>>,
}

impl Kept {
    fn start() -> Self {
        let (started, server) = mpsc::sync_channel(1);
        let (ends, ended) = mpsc::sync_channel::<()>(1);
        let keeper = thread::spawn(move || {
            let server = Arc::new(Server::start());
            started.send(Arc::clone(&server)).expect("it is waited for");
            // Until the other end is dropped.
            ended.recv().ok();
        });
        let server = server.recv().expect("PostgreSQL starts");
        Self { server, ends: Some(ends), keeper: Some(keeper) }
    }

    /// The one of this process; it is started if there is none.
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Kept>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let kept = Arc::new(Self::start());
            *shared = Arc::downgrade(&kept);
            kept
        })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.ends = None;
        if let Some(keeper) = self.keeper.take() {
            keeper.join().ok();
        }
    }
}

/// The database of one shard.
pub(crate) struct Database {
    kept: Arc<Kept>,
    name: String,
}

impl Database {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let name = format!("shard{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let kept = Kept::shared();
        kept.server.database(&name);
        Self { kept, name }
    }

    fn store(&self, region: &str) -> Postgres {
        let access = Access::parse(&self.kept.server.url(&self.name)).expect("a URL");
        Postgres::new(access.with_password(PASSWORD), Owner::here(region, "s1"))
    }

    fn sql(&self, text: &str) -> String {
        self.kept.server.sql("postgres", text)
    }

    /// A copy of a database needs one that no one uses. A shard that has ended may hold its
    /// connections for a moment more.
    fn close(&self) {
        let of = format!("from pg_stat_activity where datname = '{}'", self.name);
        self.sql(&format!("select count(pg_terminate_backend(pid)) {of}"));
        while self.sql(&format!("select count(*) {of}")) != "0" {
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn save(&self, name: &str) {
        self.close();
        let Self { name: own, .. } = self;
        self.sql(&format!("create database {own}_{name} template {own} owner {OWNER}"));
    }

    fn put_back(&self, name: &str) {
        let Self { name: own, .. } = self;
        self.sql(&format!("drop database {own} with (force)"));
        self.sql(&format!("create database {own} template {own}_{name} owner {OWNER}"));
    }

    fn wipe(&self) {
        self.sql(&format!("drop database {} with (force)", self.name));
        self.kept.server.database(&self.name);
    }
}

impl Place {
    /// In files, whatever the other tests of this run have.
    pub(crate) fn in_files(region: &'static str) -> Self {
        Self { database: None, ..Self::new(region) }
    }

    pub(crate) fn on(region: &'static str, stand: Stand) -> Self {
        let mut place = Self::new(region);
        place.stand_on(stand);
        place
    }

    /// Moves it: its store there is empty.
    pub(crate) fn stand_on(&mut self, stand: Stand) {
        match stand {
            Stand::Files(kind) => {
                self.engine = kind;
                self.database = None;
            }
            Stand::Postgres => self.database = Some(OnceLock::new()),
        }
    }

    fn database(&self) -> Option<&Database> {
        self.database.as_ref().map(|database| database.get_or_init(Database::new))
    }

    /// The store in its database, if it has one.
    pub(crate) fn in_database(&self) -> Option<Arc<dyn Backend>> {
        Some(Arc::new(self.database()?.store(self.region)))
    }

    /// Keeps a copy of the store of a shard that has ended, under that name.
    pub(crate) fn save_store(&self, name: &str) {
        match self.database() {
            Some(database) => database.save(name),
            None => copy_folder(&self.path("data"), &self.path(name)),
        }
    }

    /// Puts the copy of that name in the place of the store, as a restored disk or database is.
    pub(crate) fn put_back_store(&self, name: &str) {
        match self.database() {
            Some(database) => database.put_back(name),
            None => {
                std::fs::remove_dir_all(self.path("data")).ok();
                copy_folder(&self.path(name), &self.path("data"));
            }
        }
    }

    /// Removes the store.
    pub(crate) fn wipe_store(&self) {
        match self.database() {
            Some(database) => database.wipe(),
            None => std::fs::remove_dir_all(self.path("data")).expect("there is a store"),
        }
    }

    /// The rows of a shard that has ended, under a prefix.
    pub(crate) fn rows(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        stored::rows_in(&*self.store(), prefix)
    }

    /// The entries of a period of its log, in order.
    pub(crate) fn entries(&self, period: u32) -> Vec<Vec<u8>> {
        stored::entries_in(&*self.store(), period)
    }
}

/// Copies a folder as it is.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
