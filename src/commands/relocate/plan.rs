//! The list of persons who are to move: one JSON object a line.

use std::collections::HashSet;
use std::path::Path;

use client::{api, derived_request_id};
use serde::{Deserialize, Serialize};
use terms::{RegionId, SubjectId};

use crate::commands::record::{Given, evidence};
use crate::error::{Exit, Failure};
use crate::terminal::rows::for_each_line;

/// What request ids are derived for. Another way of making requests would need another label.
const LABEL: &str = "bailiwick relocate v1";

/// One line of the list.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) subject: String,
    pub(super) domicile: String,
    pub(super) to: String,
    /// As in `--evidence KIND=VALUE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) evidence: Vec<String>,
}

/// A person who is to move.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) domicile: String,
    pub(super) to: String,
    pub(super) evidence: Vec<api::Evidence>,
    /// How often the move was tried before, and ended without one.
    pub(super) attempt: u32,
}

impl Row {
    pub(super) fn subject(&self) -> api::SubjectRef {
        api::SubjectRef { id: self.id.clone(), domicile: self.domicile.clone() }
    }

    /// The id of the order: the same in each run, until the move has ended without one.
    pub(super) fn request_id(&self) -> String {
        let Self { id, domicile, to, attempt, .. } = self;
        // None of the names has a line break.
        let text = format!("{domicile}\n{to}\n{attempt}\n{id}");
        derived_request_id(LABEL, text.as_bytes()).to_string()
    }
}

/// All persons of a list.
pub(super) struct Plan(Vec<Row>);

impl Plan {
    /// Reads a list, all of it before anyone is moved.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let (mut rows, mut seen) = (Vec::new(), HashSet::new());
        for_each_line(path, |number, line| {
            let wrong = |what: &str| {
                let text = format!("{}:{number}: {what}", path.display());
                Err(Failure::said(Exit::Config, text))
            };
            let Ok(line) = line else { return wrong("is too long") };
            let Ok(line) = serde_json::from_slice::<Line>(line) else {
                return wrong("is not an object with `subject`, `domicile` and `to`");
            };
            let Line { subject, domicile, to, evidence: given } = line;
            let regions = RegionId::parse(&domicile).is_ok() && RegionId::parse(&to).is_ok();
            if SubjectId::parse(&subject).is_err() || !regions {
                return wrong("has a name that is none");
            }
            if domicile == to {
                return wrong("moves a person to where the person is");
            }
            if !seen.insert((subject.clone(), domicile.clone())) {
                return wrong("names a person for the second time");
            }
            let given: Result<Vec<Given>, _> = given.iter().map(|text| text.parse()).collect();
            let Ok(given) = given else { return wrong("has evidence that is not kind=value") };
            let evidence = evidence(false, &given)?;
            rows.push(Row { id: subject, domicile, to, evidence, attempt: 0 });
            Ok(())
        })?;
        Ok(Self(rows))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Plan, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plan");
        std::fs::write(&path, text).expect("room");
        Plan::read(&path).map_err(|failure| failure.to_string())
    }

    const ANNA: &str = r#"{"subject":"anna","domicile":"ru-msk","to":"eu-fra"}"#;

    #[test]
    fn a_list_is_read_whole_or_refused_with_its_line() {
        let evidence =
            r#"{"subject":"b","domicile":"ru-msk","to":"eu-fra","evidence":["residence=DE"]}"#;
        let plan = read(&format!("{ANNA}\n\n{evidence}\n")).expect("a list");
        assert_eq!((plan.len(), plan.rows()[1].evidence.len()), (2, 1));
        for (line, why) in [
            ("{}", "is not an object"),
            (r#"{"subject":"","domicile":"ru-msk","to":"eu-fra"}"#, "a name that is none"),
            (r#"{"subject":"c","domicile":"ru-msk","to":"ru-msk"}"#, "to where the person is"),
            (r#"{"subject":"anna","domicile":"ru-msk","to":"kz-ala"}"#, "for the second time"),
            (r#"{"subject":"c","domicile":"a","to":"b","evidence":["DE"]}"#, "not kind=value"),
        ] {
            let wrong = read(&format!("{ANNA}\n{line}\n")).err().expect("it is refused");
            assert!(wrong.contains(":2: ") && wrong.contains(why), "{wrong}");
        }
    }

    #[test]
    fn an_order_has_one_id_until_its_move_has_ended_without_one() {
        let plan = read(ANNA).expect("a list");
        let row = &plan.rows()[0];
        let again = Row { attempt: 1, ..row.clone() };
        assert_eq!(row.request_id(), read(ANNA).expect("a list").rows()[0].request_id());
        assert_ne!(row.request_id(), again.request_id());
    }
}
