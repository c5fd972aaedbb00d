//! How a command fails: its message and its exit code (docs/cli.md).

use std::fmt;
use std::process::ExitCode;

use terms::with_causes;

/// The exit codes other than 0. Usage (2) is clap's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// A call was refused or failed, or a line of input was.
    Failed = 1,
    /// A plan would place people elsewhere, refuse people, or copy records elsewhere.
    Differs = 3,
    /// A configuration, map or annex is wrong. Nothing was started.
    Config = 64,
    /// Data on disk are refused: lost, damaged, or another shard's.
    Data = 65,
    /// Something that is needed is away: an address, a port, a disk, the gateway; or a store is held by
    /// another process.
    Unavailable = 69,
    /// A bug: a part of the program panicked.
    Bug = 70,
    /// A flush failed and the shard poisoned itself: start it again, that is the recovery.
    Again = 75,
    /// A second signal cut the draining short, or a signal ended a command that can be resumed.
    Interrupted = 130,
}

/// A command that did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    /// A failure with this message.
    pub(crate) fn said(exit: Exit, text: impl fmt::Display) -> Self {
        Self::new(exit, anyhow::Error::msg(text.to_string()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&with_causes(self.error.as_ref()))
    }
}

impl From<&client::Error> for Exit {
    fn from(error: &client::Error) -> Self {
        use client::Error;
        match error {
            Error::Refused(_)
            | Error::NotFollowed { .. }
            | Error::NotBailiwick(_)
            | Error::MalformedStatus
            | Error::Unproven(_)
            | Error::Local(_)
            | Error::NotSealed(_)
            | Error::Altered
            | Error::TooLarge => Self::Failed,
            Error::Address(_) | Error::Tls(_) | Error::Pem { .. } | Error::Token(_) => Self::Config,
            Error::Handshake(_) | Error::Unreachable(_) | Error::Broken | Error::TimedOut => {
                Self::Unavailable
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Failed => 1,
            Exit::Differs => 3,
            Exit::Config => 64,
            Exit::Data => 65,
            Exit::Unavailable => 69,
            Exit::Bug => 70,
            Exit::Again => 75,
            Exit::Interrupted => 130,
        })
    }
}
