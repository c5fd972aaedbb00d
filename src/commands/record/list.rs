//! `bailiwick record list` and `count`.

use clap::{Args, ValueEnum};
use client::{Client, Error, api};
use serde_json::{Map, Value, json};
use terms::limits::{DEADLINE_MS_DEFAULT, DEADLINE_MS_MAX};

use crate::arguments::{GATEWAY, access, connect, sealing};
use crate::commands::record::{attribute, participant, show};
use crate::error::{Exit, Failure};
use crate::terminal::{Output, say, warn};

/// Which records, where to ask for them, and how to answer.
#[derive(Debug, Args)]
pub(super) struct Choice {
    /// Address of the gateway
    #[arg(long, value_name = "URL", default_value = GATEWAY)]
    gateway: String,
    #[command(flatten)]
    access: access::Options,
    /// Collection, as the map declares it
    #[arg(long, value_name = "NAME")]
    collection: String,
    /// Region whose records to take; may be repeated
    #[arg(long = "region", value_name = "REGION", required_unless_present = "subject")]
    regions: Vec<String>,
    /// Take the records of this subject only
    #[arg(long, value_name = "ID", requires = "domicile", conflicts_with = "regions")]
    subject: Option<String>,
    /// Region that holds the subject's records
    #[arg(long, value_name = "REGION", requires = "subject")]
    domicile: Option<String>,
    /// Take only records that name this person besides their owner
    #[arg(long, value_name = "ID")]
    participant: Option<String>,
    /// Comparisons of attributes, such as `state = "new" AND sent >= "2026-11-01T00:00:00Z"`
    #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
    filter: Filter,
    /// Why the records are read, for the placement log; it must name no person
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    purpose: String,
    /// Print JSON: of a list, one object on each line
    #[arg(long)]
    json: bool,
    /// Deadline for each call, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = DEADLINE_MS_DEFAULT,
          value_parser = clap::value_parser!(u64).range(1..=DEADLINE_MS_MAX))]
    deadline_ms: u64,
}

/// A filter, which may name a person.
#[derive(Clone)]
pub(super) struct Filter(pub(super) String);

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter").finish_non_exhaustive()
    }
}

impl From<&str> for Filter {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[derive(Debug, Args)]
pub(super) struct ListOptions {
    #[command(flatten)]
    choice: Choice,
    /// How much of each record to print
    #[arg(long, value_enum, default_value_t = View::Names)]
    view: View,
    /// `key`, or an attribute with the index `range`; ` desc` behind it reverses the order
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    order_by: String,
    /// Records to ask for at once, at most 1,000; all pages are printed
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(i32).range(1..=1000))]
    page_size: i32,
    #[command(flatten)]
    sealing: sealing::Options,
}

#[derive(Debug, Args)]
pub(super) struct CountOptions {
    #[command(flatten)]
    choice: Choice,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum View {
    /// Subject, domicile, key, version and etag
    Names,
    /// The attributes too
    Attributes,
    /// The body too
    Whole,
}

impl ListOptions {
    /// Prints all records, page after page.
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let choice = &self.choice;
        let request = api::ListRecordsRequest {
            collection: choice.collection.clone(),
            subject: choice.subject(),
            regions: choice.regions.clone(),
            filter: choice.filter.0.clone(),
            order_by: self.order_by.clone(),
            view: self.view.to_api().into(),
            page_size: self.page_size,
            page_token: String::new(),
            purpose: choice.purpose.clone(),
            participant: choice.participant(),
            sealed_questions: Vec::new(),
        };
        let failed = |error: Error| choice.failed(&error);
        let access = self.sealing.access(choice.access.read().await?);
        let client = connect(&choice.gateway, access, choice.deadline_ms).await;
        let client = client.and_then(|client| self.sealing.client(client));
        let mut records = client.map_err(failed)?.list(request);
        let mut output = Output::new();
        while let Some(page) = records.next_page().await.map_err(failed)? {
            for record in &page {
                if choice.json {
                    output.line(self.view.json(record))?
                } else {
                    output.line(line(record))?
                }
            }
            output.flush()?;
        }
        let missing: Vec<_> = records.missing().collect();
        let unreachable: Vec<String> =
            records.unreachable().map(|one| named(one, &missing)).collect();
        choice.ended(&unreachable, records.withheld())
    }
}

impl View {
    pub(super) const fn to_api(self) -> api::RecordView {
        match self {
            Self::Names => api::RecordView::Names,
            Self::Attributes => api::RecordView::Attributes,
            Self::Whole => api::RecordView::Whole,
        }
    }

    /// So much of a record.
    pub(super) fn json(self, record: &api::Record) -> Value {
        let mut object = names(record);
        if !matches!(self, Self::Names) {
            show::content(&mut object, record, matches!(self, Self::Whole));
        }
        Value::Object(object)
    }
}

/// Names, version and etag of a record.
pub(super) fn names(record: &api::Record) -> Map<String, Value> {
    let subject = record.subject.clone().unwrap_or_default();
    let mut object = Map::new();
    object.insert("subject".to_owned(), subject.id.into());
    object.insert("domicile".to_owned(), subject.domicile.into());
    object.insert("collection".to_owned(), record.collection.clone().into());
    object.insert("key".to_owned(), record.key.clone().into());
    object.insert("version".to_owned(), record.version.into());
    object.insert("etag".to_owned(), record.etag.clone().into());
    object
}

impl CountOptions {
    /// Prints the number of records.
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let choice = &self.choice;
        let request = api::CountRecordsRequest {
            collection: choice.collection.clone(),
            subject: choice.subject(),
            regions: choice.regions.clone(),
            filter: choice.filter.0.clone(),
            purpose: choice.purpose.clone(),
            participant: choice.participant(),
        };
        let failed = |error: Error| choice.failed(&error);
        let answer = choice.client().await?.map_err(failed)?.count(&request).await;
        let answer = answer.map_err(failed)?;
        let api::CountRecordsResponse { count, unreachable, withheld, missing } = answer;
        let reasons = missing.iter().map(|one| (one.region.as_str(), one.reason.as_str()));
        let reasons: Vec<_> = reasons.collect();
        if choice.json {
            let missing: Map<String, Value> =
                reasons.iter().map(|(region, why)| ((*region).to_owned(), (*why).into())).collect();
            say(json!({
                "count": count,
                "withheld": withheld,
                "unreachable": unreachable,
                "missing": missing,
            }))?;
        } else {
            say(count)?;
        }
        let unreachable: Vec<String> = unreachable.iter().map(|one| named(one, &reasons)).collect();
        choice.ended(&unreachable, withheld)
    }
}

/// A region that is missing, with the reason if it is known.
fn named(region: &str, missing: &[(&str, &str)]) -> String {
    let why = missing.iter().find(|(of, _)| *of == region);
    why.map_or_else(|| region.to_owned(), |(_, reason)| format!("{region} ({reason})"))
}

impl Choice {
    async fn client(&self) -> Result<Result<Client, Error>, Failure> {
        Ok(connect(&self.gateway, self.access.read().await?, self.deadline_ms).await)
    }

    fn subject(&self) -> Option<api::SubjectRef> {
        let domicile = self.domicile.clone().unwrap_or_default();
        self.subject.clone().map(|id| api::SubjectRef { id, domicile })
    }

    fn failed(&self, error: &Error) -> Failure {
        Failure::said(Exit::from(error), show::error(self.json, &self.gateway, error))
    }

    /// The person that the records are to name.
    fn participant(&self) -> Option<api::SubjectRef> {
        let id = self.participant.clone()?;
        Some(api::SubjectRef { id, domicile: String::new() })
    }

    /// Says what is missing. What lacks a region is not all, and the command fails.
    fn ended(&self, unreachable: &[String], withheld: i64) -> Result<(), Failure> {
        if withheld > 0 {
            warn(format!("{withheld} records may not leave their region for you, and are missing"));
        }
        if unreachable.is_empty() {
            return Ok(());
        }
        let regions = unreachable.join(", ");
        let text = format!("out of reach, and missing in what was printed: {regions}");
        let text = if self.json { json!({"error": {"message": text}}).to_string() } else { text };
        Err(Failure::said(Exit::Unavailable, text))
    }
}

/// A record as a line: domicile, subject, key, version, then what the view gives.
pub(super) fn line(record: &api::Record) -> String {
    let subject = record.subject.clone().unwrap_or_default();
    let mut parts =
        vec![subject.domicile, subject.id, record.key.clone(), record.version.to_string()];
    if !record.attributes.is_empty() {
        parts.push(attribute::lines(&record.attributes).replace('\n', " "));
    }
    if !record.participants.is_empty() {
        parts.push(participant::line(record));
    }
    if !record.body.is_empty() {
        let bytes = format!("{} bytes", record.body.len());
        parts.push(str::from_utf8(&record.body).map_or(bytes, str::to_owned));
    }
    parts.join("\t")
}
