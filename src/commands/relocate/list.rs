//! `bailiwick relocate list`: who of a region belongs in another one, by the map in force there.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use client::{Client, Error, Settings, api, new_request_id};
use link::host::clock::SystemEntropy;
use terms::Reason;
use terms::limits::DEADLINE_MS_DEFAULT;

use crate::arguments::{GATEWAY, access};
use crate::commands::record::show;
use crate::commands::relocate::plan::Line;
use crate::commands::subject::REASON;
use crate::error::{Exit, Failure};
use crate::files::write_secret;
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

impl List {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let deadline = Duration::from_millis(DEADLINE_MS_DEFAULT);
        let settings = Settings { deadline, ..Settings::DEFAULT };
        let client = Client::connect_with(&self.gateway, settings, self.access.read().await?).await;
        let client = client.map_err(|error| self.failed(&error))?;
        let persons = self.persons(&client).await?;
        let bar = progress("{wide_bar} {pos} of {len} persons, {eta}");
        bar.set_length(u64::try_from(persons.len()).unwrap_or(u64::MAX));
        let (mut text, mut listed, mut refused) = (String::new(), 0_u64, 0_u64);
        for id in &persons {
            bar.inc(1);
            match self.belongs_there(&client, id).await? {
                Some(true) => {
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
                Some(false) => {}
                None => refused += 1,
            }
        }
        bar.finish_and_clear();
        write_secret(&self.out, &text)?;
        if refused > 0 {
            warn(format!("{refused} persons may not move just now, and are not in the list"));
        }
        let looked_at = persons.len();
        if self.json {
            return say(serde_json::json!({
                "looked_at": looked_at, "listed": listed, "refused": refused,
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
    /// None: they do, and the move is refused for another reason.
    async fn belongs_there(&self, client: &Client, id: &str) -> Result<Option<bool>, Failure> {
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
            Ok(_) => Ok(Some(true)),
            Err(error) => match error.refused().and_then(|refused| refused.known()) {
                // Placed elsewhere, placed nowhere, or gone since.
                Some(
                    Reason::WrongDomicile
                    | Reason::SubjectMoved
                    | Reason::SubjectErased
                    | Reason::SubjectUnknown,
                ) => Ok(Some(false)),
                // One that is just moving, or rotated, loses nothing of the list.
                Some(Reason::SubjectMoving | Reason::ShardBusy) => Ok(None),
                Some(reason) if reason.retry() == terms::Retry::No => Ok(None),
                _ => Err(self.failed(&error)),
            },
        }
    }

    fn failed(&self, error: &Error) -> Failure {
        Failure::said(Exit::from(error), show::error(self.json, &self.gateway, error))
    }
}
