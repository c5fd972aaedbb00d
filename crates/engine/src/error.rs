//! What can go wrong with a store. No variant can hold a key or a value.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::Head;

/// Why an engine did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another writer has taken a term, or the caller's head is not the store's. Nothing changed.
    #[error("the head of the store is at term {}, size {}: this writer has been replaced", found.term, found.size)]
    HeadMoved {
        /// The head that the store has.
        found: Head,
    },
    /// The commit may or may not have happened. The engine is poisoned: open it again, then read.
    #[error("the outcome of the commit is not known ({cause}): open the store again and read")]
    Unknown {
        /// What the disk, or the connection, said.
        cause: ErrorKind,
    },
    /// What is stored is not what was stored. Nothing heals it but a restore.
    #[error("{} is damaged ({what}): restore the shard from a backup", file.display())]
    Damaged {
        /// The file, or the folder when the engine does not say which.
        file: PathBuf,
        /// How it shows.
        what: &'static str,
    },
    /// Another opening holds the folder.
    #[error("{} is held by another process", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The folder is another engine's, of another version, or not a store's at all.
    #[error("{} is not a {expected} store of this version: {why}", folder.display())]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// The engine that was to open it.
        expected: &'static str,
        /// What stands there instead.
        why: &'static str,
    },
    /// The disk is down to what the engine needs for itself. Nothing changed, and the engine
    /// serves on.
    #[error("{} has {free} bytes free and the commit needs {needed}", folder.display())]
    Full {
        /// The store's folder.
        folder: PathBuf,
        /// Bytes free.
        free: u64,
        /// Bytes that must be free for this commit.
        needed: u64,
    },
    /// Over a limit. Nothing changed.
    #[error("the {what} of {bytes} bytes is over the limit of {max}")]
    TooLarge {
        /// `key`, `value` or `batch`.
        what: &'static str,
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A key of no bytes. Nothing changed.
    #[error("a key is empty")]
    EmptyKey,
    /// The log's size would shrink. Nothing changed.
    #[error("the log would shrink from {from} to {to}")]
    Shrinks {
        /// The size before.
        from: u64,
        /// The size that was asked for.
        to: u64,
    },
    /// Commits since the view was opened have replaced more rows than are kept for it. Open another.
    #[error("the view is too old: open another")]
    ViewExpired,
    /// The disk refused, while opening or reading.
    #[error("{action} {} failed: {cause}", path.display())]
    Io {
        /// What was done.
        action: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the system said.
        cause: ErrorKind,
    },
    /// The database refused, or was not reached. Nothing changed. What it said is not kept: it may
    /// have values of rows in it.
    #[error("the database did not {action} (SQLSTATE {state}{})", named(constraint.as_deref()))]
    Database {
        /// What was to be done.
        action: &'static str,
        /// The SQLSTATE. 08006: it was not reached.
        state: String,
        /// The constraint that refused, if one did.
        constraint: Option<String>,
    },
    /// This database may not be used as it is set up.
    #[error("the database may not be used: {why}")]
    Cluster {
        /// Why not, and what to do.
        why: &'static str,
    },
    /// An earlier failure left it open what the disk holds. Only opening the store again helps.
    #[error("the store was closed by an earlier failure: open it again")]
    Poisoned,
}

fn named(constraint: Option<&str>) -> String {
    constraint.map_or_else(String::new, |constraint| format!(", constraint {constraint}"))
}

impl Error {
    /// The failure of `action` on `path`, without the system's text: some libraries put names and
    /// contents into it.
    pub(crate) fn io(action: &'static str, path: &Path, cause: &std::io::Error) -> Self {
        Self::Io { action, path: path.to_path_buf(), cause: cause.kind() }
    }

    pub(crate) fn damaged(file: &Path, what: &'static str) -> Self {
        Self::Damaged { file: file.to_path_buf(), what }
    }
}
