//! Why an authority did not do what was asked.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// Why an authority did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was given cannot be used: a file, a name, a certificate.
    #[error("{0}")]
    Refused(String),
    /// A file exists, and is never overwritten.
    #[error("{}: exists and is not overwritten; name another folder", .0.display())]
    Exists(PathBuf),
    /// The system did not write or lock a file, or gave no randomness.
    #[error("{0}")]
    Unavailable(String),
}

impl Error {
    /// What was given cannot be used.
    pub(crate) fn refused(text: impl Display) -> Self {
        Self::Refused(text.to_string())
    }

    /// A file was not written.
    pub(crate) fn unwritten(path: &Path, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::AlreadyExists {
            return Self::Exists(path.to_owned());
        }
        Self::Unavailable(format!("{}: cannot be written ({error})", path.display()))
    }

    /// A key or a signature could not be created: the library gives no reason.
    pub(crate) fn unmade<T>(_: T) -> Self {
        Self::Unavailable("a key or a signature could not be created".to_owned())
    }
}
