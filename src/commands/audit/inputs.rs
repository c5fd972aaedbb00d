//! What several audit commands read: policies, map signers, mirrored logs.

use std::path::{Path, PathBuf};

use audit::policy::POLICY_BYTES_MAX;
use audit::{Folder, Maps, Policy};
use clap::Args;
use ledger::Signers;
use ledger::entry::Minute;
use link::host::clock::SystemClock;
use terms::{Clock as _, with_causes};

use crate::error::{Exit, Failure};
use crate::files::text_within;
use crate::terminal::warn;

/// The keys to trust.
#[derive(Debug, Args)]
pub(super) struct PolicyFile {
    /// C2SP tlog-policy with the keys of logs and witnesses, received by another route than the
    /// logs [default: the keys in the mirrors]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

/// The keys whose signatures count on region maps.
#[derive(Debug, Args)]
pub(super) struct MapSigners {
    /// Public key of a map signer; at least two [default: signatures are not checked]
    #[arg(long = "map-signer", value_name = "KEY")]
    keys: Vec<String>,
}

impl MapSigners {
    /// The maps beside mirrored logs, with what these keys have signed.
    pub(super) fn maps(&self, place: &Path) -> Result<Maps, Failure> {
        let config = |text: String| Failure::said(Exit::Config, text);
        let signers = match self.keys.as_slice() {
            [] => None,
            keys => Some(
                Signers::parse(keys.iter().map(String::as_str))
                    .map_err(|error| config(format!("--map-signer: {error}")))?,
            ),
        };
        Maps::beside(place, signers.as_ref()).map_err(|(path, error)| {
            Failure::said(Exit::Data, format!("{}: cannot be read ({error})", path.display()))
        })
    }
}

/// The logs in a folder of mirrors; there must be one.
pub(super) fn logs(place: &Path) -> Result<Vec<Folder>, Failure> {
    let data = |text: String| Failure::said(Exit::Data, text);
    let logs = Folder::logs(place).map_err(|error| data(with_causes(&error)))?;
    if logs.is_empty() {
        return Err(data(format!("{}: there is no log in it", place.display())));
    }
    Ok(logs)
}

/// How old a quorum's cosignatures may be.
#[derive(Debug, Args)]
pub(super) struct MaxAge {
    /// Maximum age in seconds of the cosignatures of a quorum [default: unlimited]
    #[arg(long, value_name = "S", requires = "policy")]
    max_age_s: Option<u64>,
}

// === impl MaxAge ===

impl MaxAge {
    /// What is wrong with a log whose quorum cosigned it at that time.
    pub(super) fn judge(&self, origin: &str, cosigned_at: Option<u64>) -> Option<String> {
        let most = self.max_age_s?;
        let now = SystemClock.now().0 / 1000;
        match cosigned_at {
            None => Some(format!("{origin}: no quorum of witnesses has cosigned it")),
            Some(at) if now.saturating_sub(at) > most => {
                let age = now.saturating_sub(at);
                Some(format!("{origin}: FROZEN: its quorum cosigned it {age} s ago"))
            }
            Some(_) => None,
        }
    }
}

/// A time in seconds since 1970, in words.
pub(super) fn time(seconds: Option<u64>) -> String {
    let minute = seconds.and_then(|seconds| u32::try_from(seconds / 60).ok());
    minute.map_or_else(|| "never".to_owned(), |minute| Minute(minute).to_string())
}

// === impl PolicyFile ===

impl PolicyFile {
    pub(super) fn read(&self) -> Result<Option<Policy>, Failure> {
        let Some(path) = &self.policy else { return Ok(None) };
        let text = text_within(path, POLICY_BYTES_MAX)?;
        Policy::parse(&text)
            .map(Some)
            .map_err(|error| Failure::said(Exit::Config, format!("{}: {error}", path.display())))
    }
}

/// A finding: data are not as they must be.
pub(super) fn wrong(what: impl std::fmt::Display) -> Failure {
    Failure::said(Exit::Failed, what)
}

/// Prints each finding on standard error. The command fails if there is any.
pub(super) fn all_well(findings: &[String]) -> Result<(), Failure> {
    findings.iter().for_each(warn);
    match findings.len() {
        0 => Ok(()),
        1 => Err(wrong("1 thing is wrong")),
        count => Err(wrong(format!("{count} things are wrong"))),
    }
}
