//! The outcome of a command over several shards: findings take precedence over shards that were
//! unreachable.

use std::path::Path;

use audit::folder::StandingKind;
use audit::mirror::Error;
use audit::{Folder, shown};
use terms::with_causes;

use crate::commands::audit::inputs::all_well;
use crate::commands::audit::shards::not_mirrored;
use crate::error::{Exit, Failure};
use crate::terminal::warn;

/// What came of the shards so far.
#[derive(Default)]
pub(super) struct Outcome {
    /// A sentence for each thing that is wrong.
    pub(super) findings: Vec<String>,
    /// What kept others from being looked at, said already.
    failed: Option<Exit>,
}

// === impl Outcome ===

impl Outcome {
    /// With what is wrong already.
    pub(super) const fn of(findings: Vec<String>) -> Self {
        Self { findings, failed: None }
    }

    /// Takes what kept a log or a shard from being mirrored.
    pub(super) fn error(&mut self, url: &str, error: &Error) {
        self.failure(not_mirrored(url, error));
    }

    /// Takes what failed: a finding if it says so, and else something that must be tried again.
    pub(super) fn failure(&mut self, failure: Failure) {
        if failure.exit == Exit::Failed {
            let text = failure.to_string();
            if !self.findings.contains(&text) {
                self.findings.push(text);
            }
        } else {
            warn(&failure);
            self.failed = self.failed.take().or(Some(failure.exit));
        }
    }

    /// Takes what was found in the mirrors below a folder before, and still stands.
    pub(super) fn standing(&mut self, place: &Path) {
        let unread = |error: &audit::folder::Error| {
            Failure::said(Exit::Data, format!("{}: {}", place.display(), with_causes(error)))
        };
        match Folder::logs(place) {
            Ok(logs) => logs.iter().for_each(|log| self.standing_of(log)),
            Err(error) => self.failure(unread(&error)),
        }
    }

    /// The same of one log.
    pub(super) fn standing_of(&mut self, log: &Folder) {
        let path = log.path().display();
        let standing = match log.standing() {
            Ok(standing) => standing,
            Err(error) => {
                let text = format!("{path}: {}", with_causes(&error));
                return self.failure(Failure::said(Exit::Data, text));
            }
        };
        let of_entry = |kind| matches!(kind, StandingKind::Entry | StandingKind::Clock);
        for found in &standing {
            let between = if of_entry(found.kind) { "/" } else { ": " };
            let text = format!("{path}{between}{found}");
            // A verification may have found it just now.
            if !self.findings.contains(&text) {
                self.findings.push(text);
            }
        }
        if standing.iter().any(|found| of_entry(found.kind)) {
            warn(format!("{path}/findings is reported until you delete it"));
        }
    }

    /// Says what is wrong, and ends: with 1 if anything is, whatever else has failed.
    pub(super) fn end(self) -> Result<(), Failure> {
        all_well(&self.findings)?;
        match self.failed {
            Some(exit) => Err(Failure::said(exit, "not everything was checked")),
            None => Ok(()),
        }
    }
}

/// That a log's key was never compared.
pub(super) fn on_trust(origin: &str, vkey: &str) {
    warn(format!(
        "{}: its key was taken on trust: compare {} with the key that the region's operators give \
         you, then pass a policy that names it or remove `vkey.on-trust`",
        shown(origin),
        shown(vkey)
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_outranks_what_is_away() {
        let mut outcome = Outcome::default();
        assert!(Outcome::default().end().is_ok());
        outcome.failure(Failure::said(Exit::Unavailable, "away"));
        outcome.failure(Failure::said(Exit::Data, "damaged"));
        assert!(outcome.findings.is_empty());
        outcome.failure(Failure::said(Exit::Failed, "wrong"));
        outcome.failure(Failure::said(Exit::Failed, "wrong"));
        assert_eq!(outcome.findings, ["wrong"]);
        assert!(outcome.end().is_err_and(|failure| failure.exit == Exit::Failed));
        let mut away = Outcome::of(Vec::new());
        away.failure(Failure::said(Exit::Unavailable, "away"));
        assert!(away.end().is_err_and(|failure| failure.exit == Exit::Unavailable));
    }
}
