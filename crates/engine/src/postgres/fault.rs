//! What the server says when something fails, without the values that it says it with.

use std::io::ErrorKind;
use std::path::PathBuf;

use tokio_postgres::error::Severity;

use crate::Error;

/// What has become of a commit that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failed {
    /// Nothing was changed, and it may be sent again as it is.
    Again,
    /// Nothing was changed.
    Refused(Error),
    /// It may be there or not.
    Unknown(ErrorKind),
}

/// SQLSTATE classes of errors after which nothing of the statement is there: data, constraints,
/// authorisation, transaction state, syntax and rights, resources, limits.
const REFUSED: [&str; 8] = ["0A", "22", "23", "25", "28", "42", "53", "54"];
/// A statement that an operator has cancelled. While it waits for a standby the server says so by
/// a warning, and not by this error.
const CANCELLED: &str = "57014";
const DISK_FULL: &str = "53100";

/// What `error` means for a commit of so many bytes.
pub(super) fn of_commit(error: &tokio_postgres::Error, bytes: usize) -> Failed {
    let Some(said) = error.as_db_error() else {
        return Failed::Unknown(ErrorKind::ConnectionReset);
    };
    let fatal = matches!(said.parsed_severity(), Some(Severity::Fatal | Severity::Panic));
    match said.code().code() {
        _ if fatal => Failed::Unknown(ErrorKind::ConnectionReset),
        "40001" | "40P01" => Failed::Again,
        DISK_FULL => {
            let needed = u64::try_from(bytes).unwrap_or(u64::MAX);
            Failed::Refused(Error::Full { folder: PathBuf::from("the database"), free: 0, needed })
        }
        code if code == CANCELLED || REFUSED.iter().any(|class| code.starts_with(class)) => {
            Failed::Refused(of("commit", error))
        }
        _ => Failed::Unknown(ErrorKind::Other),
    }
}

/// The same for everything that is no commit: nothing has changed.
pub(super) fn of(action: &'static str, error: &tokio_postgres::Error) -> Error {
    let Some(said) = error.as_db_error() else { return unreachable(action) };
    let constraint = said.constraint().map(str::to_owned);
    Error::Database { action, state: said.code().code().to_owned(), constraint }
}

/// There is no connection.
pub(super) fn unreachable(action: &'static str) -> Error {
    Error::Database { action, state: NO_CONNECTION.to_owned(), constraint: None }
}

/// The SQLSTATE of a client that could not connect, or lost its connection.
pub(super) const NO_CONNECTION: &str = "08006";

/// Whether another connection may do better.
pub(super) fn is_connection(error: &Error) -> bool {
    let Error::Database { state, .. } = error else { return false };
    ["08", "57P"].iter().any(|class| state.starts_with(class))
}
