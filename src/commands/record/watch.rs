//! `bailiwick record watch`: prints what changes.

use clap::Args;
use client::{Client, Error, Settings, api};
use serde_json::{Value, json};

use crate::arguments::{CALL_ATTEMPTS_MAX, GATEWAY, access};
use crate::commands::record::{list, show};
use crate::error::{Exit, Failure};
use crate::terminal::{Output, warn};

#[derive(Debug, Args)]
pub(super) struct WatchOptions {
    /// Address of the gateway
    #[arg(long, value_name = "URL", default_value = GATEWAY)]
    gateway: String,
    #[command(flatten)]
    access: access::Options,
    /// Collection, of which the map has a feed
    #[arg(long, value_name = "NAME")]
    collection: String,
    /// Region to watch
    #[arg(
        long,
        value_name = "REGION",
        default_value = "",
        hide_default_value = true,
        required_unless_present = "subject"
    )]
    region: String,
    /// Watch the records of this subject only
    #[arg(long, value_name = "ID", requires = "domicile", conflicts_with = "region")]
    subject: Option<String>,
    /// Region that holds the subject's records
    #[arg(long, value_name = "REGION", requires = "subject")]
    domicile: Option<String>,
    /// Go on after this cursor of an earlier watch [default: from now on]
    #[arg(long, value_name = "CURSOR", default_value = "", hide_default_value = true)]
    cursor: String,
    /// Why the records are read, for the placement log; it must name no person
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    purpose: String,
    /// Print an object on each line: a change, or a newer cursor
    #[arg(long)]
    json: bool,
}

impl WatchOptions {
    /// Prints changes until the process is interrupted, or something fails.
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let domicile = self.domicile.clone().unwrap_or_default();
        let request = api::WatchRecordsRequest {
            collection: self.collection.clone(),
            subject: self.subject.clone().map(|id| api::SubjectRef { id, domicile }),
            region: self.region.clone(),
            cursor: self.cursor.clone(),
            purpose: self.purpose.clone(),
        };
        let failed = |error: Error| {
            let text = show::error(self.json, &self.gateway, &error);
            Failure::said(Exit::from(&error), text)
        };
        let settings = Settings { attempts_max: CALL_ATTEMPTS_MAX, ..Settings::DEFAULT };
        let access = self.access.read().await?;
        let client = Client::connect_with(&self.gateway, settings, access).await;
        let mut watch = client.map_err(failed)?.watch(request);
        let mut output = Output::new();
        loop {
            let answer = watch.next().await.map_err(failed)?;
            if answer.withheld > 0 {
                warn(format!("{} changes may not leave their region for you", answer.withheld));
            }
            for change in &answer.changes {
                let record = change.record.clone().unwrap_or_default();
                if self.json {
                    output.line(json(change.kind(), &record))?;
                } else {
                    output.line(format!("{}\t{}", kind(change.kind()), list::line(&record)))?;
                }
            }
            if self.json {
                output.line(json!({"cursor": answer.cursor}))?;
            }
            output.flush()?;
        }
    }
}

const fn kind(kind: api::ChangeKind) -> &'static str {
    match kind {
        api::ChangeKind::Unspecified => "changed",
        api::ChangeKind::Written => "written",
        api::ChangeKind::Deleted => "deleted",
        api::ChangeKind::Expired => "expired",
    }
}

fn json(what: api::ChangeKind, record: &api::Record) -> Value {
    let mut object = list::names(record);
    object.insert("change".to_owned(), kind(what).into());
    show::content(&mut object, record, false);
    Value::Object(object)
}
