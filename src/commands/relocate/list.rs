//! `bailiwick relocate list`: who of a region belongs in another one, by the map in force there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use client::{Client, Error, Settings, api, new_request_id};
use link::host::clock::SystemEntropy;
use terms::Reason;
use terms::limits::DEADLINE_MS_DEFAULT;

use crate::arguments::{GATEWAY, access};
use crate::commands::REASON;
use crate::commands::record::show;
use crate::commands::relocate::plan::Line;
use crate::error::{Exit, Failure};
use crate::files::{fill, prepare_secret};
use crate::terminal::{progress, say, warn};

#[derive(Debug, Args)]
pub(super) struct List {
    /// Address of the gateway
    #[arg(long, value_name = "URL", default_value = GATEWAY)]
    gateway: String,
    #[command(flatten)]
    access: access::Options,
    /// Region whose persons to look at
    #[arg(long, value_name = "REGION")]
    domicile: String,
    /// Region to which those move whom the rules place there
    #[arg(long, value_name = "REGION")]
    to: String,
    /// Collection of which the region's records are looked through for persons; may be repeated. The log
    /// notes each
    #[arg(long = "collection", value_name = "NAME", required = true)]
    collections: Vec<String>,
    /// Why, for the placement log; it must name no person
    #[arg(long, value_name = "TEXT", default_value = REASON)]
    reason: String,
    /// New file for the list. It names persons
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Where the rules place a person's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belongs {
    /// All of them in the other region.
    There,
    /// Some of them in the other region.
    InPart,
    Elsewhere,
    /// The move is refused, for that reason.
    Refused(Reason),
}

impl List {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let file = prepare_secret(&self.out)?;
        let deadline = Duration::from_millis(DEADLINE_MS_DEFAULT);
        let settings = Settings { deadline, ..Settings::DEFAULT };
        let client = Client::connect_with(&self.gateway, settings, self.access.read().await?).await;
        let client = client.map_err(|error| self.failed(&error))?;
        let persons = self.persons(&client).await?;
        let bar = progress("{wide_bar} {pos} of {len} persons, {eta}");
        bar.set_length(u64::try_from(persons.len()).unwrap_or(u64::MAX));
        let (mut text, mut listed, mut divided) = (String::new(), 0_u64, 0_u64);
        let mut refusals = BTreeMap::<&str, u64>::new();
        for id in &persons {
            bar.inc(1);
            match self.belongs_there(&client, id).await? {
                Belongs::There => {
                    let line = Line {
                        subject: id.clone(),
                        domicile: self.domicile.clone(),
                        to: self.to.clone(),
                        evidence: Vec::new(),
                    };
                    let line = serde_json::to_string(&line);
                    text.push_str(&line.map_err(|error| Failure::new(Exit::Failed, error))?);
                    text.push('\n');
                    listed += 1;
                }
                Belongs::Elsewhere => {}
                Belongs::InPart => divided += 1,
                Belongs::Refused(reason) => *refusals.entry(reason.as_str()).or_default() += 1,
            }
        }
        bar.finish_and_clear();
        fill(file, &text)?;
        let refused: u64 = refusals.values().sum();
        if refused > 0 {
            let of = refusals.iter().map(|(reason, count)| format!("{reason}: {count}"));
            let of = of.collect::<Vec<_>>().join(", ");
            warn(format!(
                "{refused} persons may not move just now, and are not in the list ({of})"
            ));
        }
        if divided > 0 {
            warn(format!(
                "{divided} persons are not in the list: the rules place some of their collections in {}, \
                 and others elsewhere, and a person moves whole (`bailiwick subject reassess \
                 --validate-only` says which)",
                self.to
            ));
        }
        let looked_at = persons.len();
        if self.json {
            return say(serde_json::json!({
                "looked_at": looked_at, "listed": listed, "refused": refused,
                "refusals": refusals, "divided": divided,
            }));
        }
        say(format!("{listed} of {looked_at} persons belong in {}", self.to))
    }

    /// The persons of the region who have records of these collections.
    async fn persons(&self, client: &Client) -> Result<BTreeSet<String>, Failure> {
        let mut persons = BTreeSet::new();
        for collection in &self.collections {
            let request = api::ScanRecordsRequest {
                collection: collection.clone(),
                region: self.domicile.clone(),
                purpose: self.reason.clone(),
                filter: String::new(),
                view: api::RecordView::Names.into(),
                sealed_question: None,
            };
            let scan = client.scan(&request).await;
            let mut scan = scan.map_err(|error| self.failed(&error))?;
            while let Some(record) = scan.next().await.map_err(|error| self.failed(&error))? {
                persons.extend(record.subject.map(|subject| subject.id));
            }
            if scan.withheld() > 0 {
                let many = scan.withheld();
                warn(format!("{many} records of {collection} may not leave their region for you"));
            }
        }
        Ok(persons)
    }

    /// Whether the rules of the region place a person in the other one: a dry run of the move says it.
    async fn belongs_there(&self, client: &Client, id: &str) -> Result<Belongs, Failure> {
        let request_id = new_request_id(&SystemEntropy);
        let request_id = request_id.map_err(|error| Failure::new(Exit::Failed, error))?;
        let request = api::RelocateSubjectRequest {
            subject: Some(api::SubjectRef { id: id.to_owned(), domicile: self.domicile.clone() }),
            region: self.to.clone(),
            request_id: request_id.to_string(),
            reason: self.reason.clone(),
            evidence: Vec::new(),
            findings: Vec::new(),
            validate_only: true,
        };
        match client.relocate_subject(&request).await {
            Ok(_) => Ok(Belongs::There),
            Err(error) => match error.refused().and_then(|refused| refused.known()) {
                // One collection at least is placed elsewhere.
                Some(Reason::WrongDomicile) => self.in_part(client, id).await,
                // Gone since.
                Some(Reason::SubjectMoved | Reason::SubjectErased | Reason::SubjectUnknown) => {
                    Ok(Belongs::Elsewhere)
                }
                // One that is just moving, or rotated, loses nothing of the list.
                Some(reason @ (Reason::SubjectMoving | Reason::ShardBusy)) => {
                    Ok(Belongs::Refused(reason))
                }
                Some(reason) if reason.retry() == terms::Retry::No && !is_of_each(reason) => {
                    Ok(Belongs::Refused(reason))
                }
                _ => Err(self.failed(&error)),
            },
        }
    }

    /// Whether the rules place some of a person's collections in the other region: a dry run of a
    /// reassessment says where each belongs.
    async fn in_part(&self, client: &Client, id: &str) -> Result<Belongs, Failure> {
        let request = api::ReassessSubjectRequest {
            subject: Some(api::SubjectRef { id: id.to_owned(), domicile: self.domicile.clone() }),
            evidence: Vec::new(),
            findings: Vec::new(),
            reason: self.reason.clone(),
            validate_only: true,
            receipt_view: api::ReceiptView::Basic.into(),
        };
        match client.reassess_subject(&request).await {
            Ok(answer) if answer.collections.iter().any(|of| of.region == self.to) => {
                Ok(Belongs::InPart)
            }
            Ok(_) => Ok(Belongs::Elsewhere),
            Err(error) => match error.refused().and_then(|refused| refused.known()) {
                Some(reason @ (Reason::SubjectMoving | Reason::ShardBusy)) => {
                    Ok(Belongs::Refused(reason))
                }
                // It has gone since, or may not be asked about: it does not belong there as a whole.
                Some(reason) if reason.retry() == terms::Retry::No => Ok(Belongs::Elsewhere),
                _ => Err(self.failed(&error)),
            },
        }
    }

    fn failed(&self, error: &Error) -> Failure {
        Failure::said(Exit::from(error), show::error(self.json, &self.gateway, error))
    }
}

/// Whether a refusal is of what was asked, and so would be of each person.
fn is_of_each(reason: Reason) -> bool {
    matches!(reason, Reason::DomicileUnknown | Reason::NotPermitted | Reason::FieldInvalid)
}
