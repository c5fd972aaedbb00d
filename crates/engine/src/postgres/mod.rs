//! PostgreSQL, or a database that speaks its protocol: what a shard runs on when a region outgrows
//! one machine.
//!
//! - One table of `bytea` pairs, one row for head and identity, one row for the writer's heartbeat.
//!   They are created here, in the schema `bailiwick` of a database that one shard has for itself.
//!   There is one version of them, so there is no library of migrations: the row has its number.
//! - A commit is one statement: it compares and sets the head, and writes the rows only if the head
//!   was the expected one. One round trip, and a late statement of an old connection changes nothing.
//! - An opening, and a reopening, takes a new term by a durable commit on a new connection. It locks
//!   the head's row, so it waits for a commit that is still on its way, and that one is then known.
//! - A lost reply, and a warning of the server while it commits (about replication), mean that the
//!   outcome is unknown: this engine is poisoned until [`reopen`](crate::Engine::reopen).
//! - A read is answered only if the writer's term was still ours after the rows were read. A view
//!   checks it when it begins (repeatable read), and later unless a heartbeat is less than a second
//!   old: a process that was stopped for a while answers nothing from before.
//! - The methods block and run their work on one thread of a runtime of their own. Nothing is
//!   cancelled: what was sent is waited for.
//! - An error of the server carries values of rows: its SQLSTATE and the name of a constraint pass,
//!   everything else is dropped (`fault.rs`).
//! - No advisory locks, sequences or extensions. Only PostgreSQL 15 is tested; others that speak the
//!   protocol are not.

mod access;
mod connect;
mod fault;
mod readers;
mod settings;
mod sql;
mod standbys;
mod standing;
mod store;
mod writer;

use std::path::Path;
use std::sync::Arc;

pub use access::{Access, AccessInvalid, Duplex, Secure, Securing};
pub use settings::{Occupied, Owner, Postgres};
pub use standbys::{Network, NetworkInvalid};
pub use standing::Standing;

use crate::postgres::connect::Session;
use crate::postgres::store::Database;
use crate::{Backend, Engine, Error};

impl Postgres {
    /// The head of the store, and who writes to it. Nothing is changed. None: there is no store.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Cluster`], [`Error::Foreign`].
    pub fn standing(&self) -> Result<Option<Standing>, Error> {
        let store = self.clone();
        store::on_a_runtime(async move {
            let session = Session::open(&store.access).await?;
            if !session.has_store().await? {
                return Ok(None);
            }
            session.expect_owner(&store.access, &store.owner).await?;
            standing::look(&session).await.map(Some)
        })?
    }

    /// What in the settings of the server lets values of rows into its own log, or weakens what it
    /// keeps. They are all encrypted; even so they do not belong there.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Cluster`].
    pub fn advice(&self) -> Result<Vec<&'static str>, Error> {
        let access = Arc::clone(&self.access);
        store::on_a_runtime(async move {
            Session::open(&access).await?.advice(access.standbys.is_some()).await
        })?
    }
}

impl Backend for Postgres {
    fn exists(&self) -> Result<bool, Error> {
        let access = Arc::clone(&self.access);
        store::on_a_runtime(async move { Session::open(&access).await?.has_store().await })?
    }

    fn open(&self) -> Result<Box<dyn Engine>, Error> {
        Ok(Box::new(Database::open(self)?))
    }

    fn folder(&self) -> Option<&Path> {
        None
    }

    fn place(&self) -> String {
        self.access.place()
    }
}
