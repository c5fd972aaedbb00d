//! An ordered key-value store whose commit is atomic and durable: what a shard stands on.
//!
//! [`Engine`] is the contract, in words about durability and concurrency; [`Backend`] opens one.
//! [`Embedded`] is that of sled and fjall ([`Kind`]) on a folder of its own; [`Postgres`] that of a
//! database; [`Disk`] that of [`Memory`], for tests and the simulator: it fails when told to. The crate knows no record, no log
//! and no law: bytes only.

mod batch;
mod codec;
mod engine;
mod error;
mod fjall;
mod folder;
mod gate;
mod head;
mod memory;
mod postgres;
mod quiet;
mod sled;
mod span;
mod tally;

use std::path::{Path, PathBuf};

pub use batch::{Batch, Key, Value};
pub use engine::{Backend, Engine, Space, View};
pub use error::Error;
pub use folder::free_bytes;
pub use head::Head;
pub use memory::{Chances, Disk, Fault, Memory};
pub use postgres::{
    Access, AccessInvalid, Duplex, Network, NetworkInvalid, Occupied, Owner, Postgres, Secure,
    Securing, Standing,
};
pub use span::{Order, Page, ScanLimit, Span};

/// Longest key, in bytes. With it, no inner page of sled's tree outgrows what sled keeps in its
/// log (see `sled.rs`), and every other engine takes it.
pub const KEY_BYTES_MAX: usize = 384;

/// Largest value, in bytes: the largest record body (16 MiB) and room for what seals it.
pub const VALUE_BYTES_MAX: usize = 17 * 1024 * 1024;

/// Largest batch, in bytes of keys and values.
pub const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Which embedded engine keeps a folder. It is written into the folder at its creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// sled 0.34.7, hardened. For `dev` and a first shard: it slows with size.
    Sled,
    /// fjall 3.1, an LSM tree. For a shard that is to last.
    Fjall,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Sled, Self::Fjall];

    /// Its name in configs, in the folder's marker and from [`Engine::kind`].
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Fjall => "fjall",
        }
    }

    /// The kind of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Bytes that must stay free on the disk for the engine's own work (segments, flushes and
    /// compactions), below which a commit is refused with [`Error::Full`]. A judgement, not a
    /// bound: a compaction of a large level can need more, and then poisons the engine.
    pub const fn free_bytes_min(self) -> u64 {
        match self {
            Self::Sled => 16 * 1024 * 1024,
            Self::Fjall => 160 * 1024 * 1024,
        }
    }
}

/// What an embedded engine is opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bytes of memory for cached pages. Neither engine keeps to it exactly: sled was seen to take
    /// several times as much, fjall adds up to 320 MiB of write buffers.
    pub cache_bytes: u64,
}

/// A store of an embedded engine in a folder of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedded {
    /// The engine.
    pub kind: Kind,
    /// The folder.
    pub folder: PathBuf,
    /// What it is opened with.
    pub options: Options,
}

impl Embedded {
    /// The room that the store has, or would have: a folder that is missing will be made on the disk
    /// of the one above it. Nothing is opened, so what the engine itself may take is not known.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn space(&self) -> Result<Space, Error> {
        // A relative path ends in the empty one, which is where this process stands.
        let above = self.folder.ancestors().map(|folder| match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        });
        let there = above.into_iter().find(|folder| folder.is_dir());
        folder::space(there.unwrap_or(&self.folder), self.kind)
    }
}

impl Backend for Embedded {
    fn exists(&self) -> Result<bool, Error> {
        Ok(folder::exists(&self.folder))
    }

    fn open(&self) -> Result<Box<dyn Engine>, Error> {
        open(self.kind, &self.folder, self.options)
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.folder)
    }

    fn place(&self) -> String {
        self.folder.display().to_string()
    }
}

/// Opens the store in `folder` and takes a new term by a durable commit. The folder is created,
/// mode 0700, when it is missing.
///
/// It blocks. On sled it reads the whole store, to find rows that vanished: its time grows with the
/// store (`sled.rs` has a figure: about a second for 200,000 rows of 700 B), so let whatever waits
/// for readiness wait long enough. fjall does not.
///
/// # Errors
/// [`Error::Locked`] at once when another process (or another opening in this one) holds the
/// folder; [`Error::Foreign`] when the folder is another engine's or not ours; [`Error::Damaged`]
/// when the store does not open, or lacks rows by its own count; [`Error::Full`] and [`Error::Io`]
/// from the disk.
///
/// Commits that are missing at the end of a store are **not** noticed here: both libraries take a
/// damaged end of their log for the torn end of a crash and cut it off. The shard's signed
/// checkpoint, which lies outside the folder, notices.
pub fn open(kind: Kind, folder: &Path, options: Options) -> Result<Box<dyn Engine>, Error> {
    let folder = folder::Folder::open(folder, kind)?;
    Ok(match kind {
        Kind::Sled => Box::new(sled::Sled::open(folder, options)?),
        Kind::Fjall => Box::new(fjall::Fjall::open(folder, options)?),
    })
}
