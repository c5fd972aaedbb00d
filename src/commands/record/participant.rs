//! The people that a record is about, on the command line and in output: the owner, if a write is to
//! create it, and those that the record names besides.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use client::api;

use crate::commands::record::{Given, evidence};
use crate::error::Failure;

/// What a write says of people.
#[derive(Debug, Args)]
pub(in crate::commands) struct About {
    /// Evidence about the person, such as `residence=DE`; may be repeated
    #[arg(long = "evidence", value_name = "KIND=VALUE")]
    evidence: Vec<Given>,
    /// Create the subject if the region does not know it; requires evidence
    #[arg(long)]
    pub(in crate::commands) create_subject: bool,
    /// A person besides the owner that the record is about, with the region that holds that person's
    /// records of the collection; may be repeated
    #[arg(long = "participant", value_name = "ID@REGION")]
    participants: Vec<Participant>,
}

impl About {
    pub(in crate::commands) fn evidence(&self, json: bool) -> Result<Vec<api::Evidence>, Failure> {
        evidence(json, &self.evidence)
    }

    pub(in crate::commands) fn participants(&self) -> Vec<api::SubjectRef> {
        self.participants.iter().map(Participant::to_api).collect()
    }
}

/// A person and the region of that person's records: `ID@REGION`. It has no `Debug` of its id.
#[derive(Clone)]
struct Participant {
    id: String,
    domicile: String,
}

impl fmt::Debug for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Participant").finish_non_exhaustive()
    }
}

impl FromStr for Participant {
    type Err = &'static str;

    /// The last `@` stands before the region, whose name has none.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.rsplit_once('@') {
            Some((id, region)) if !id.is_empty() && !region.is_empty() => {
                Ok(Self { id: id.to_owned(), domicile: region.to_owned() })
            }
            _ => Err("is not ID@REGION, such as anna@eu-fra"),
        }
    }
}

impl Participant {
    fn to_api(&self) -> api::SubjectRef {
        let Self { id, domicile } = self.clone();
        api::SubjectRef { id, domicile }
    }
}

/// The participants of a record as text.
pub(super) fn line(record: &api::Record) -> String {
    let one = |one: &api::SubjectRef| format!("{}@{}", one.id, one.domicile);
    record.participants.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// The participants of a record as JSON.
pub(super) fn json(record: &api::Record) -> serde_json::Value {
    let one =
        |one: &api::SubjectRef| serde_json::json!({ "subject": one.id, "domicile": one.domicile });
    record.participants.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_stands_behind_the_last_sign() {
        let read = |text: &str| text.parse::<Participant>().map(|one| one.to_api());
        let mail = read("anna@example.org@eu-fra").unwrap();
        assert_eq!((mail.id.as_str(), mail.domicile.as_str()), ("anna@example.org", "eu-fra"));
        for bad in ["anna", "@eu-fra", "anna@", ""] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
