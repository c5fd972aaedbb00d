//! `bailiwick subject locate`: finds the regions that hold a person, by the id alone.

use clap::Args;
use client::{Error, api};
use serde_json::{Value, json};
use terms::limits::{DEADLINE_MS_DEFAULT, DEADLINE_MS_MAX};

use crate::arguments::{GATEWAY, access, connect};
use crate::commands::record::show as answers;
use crate::error::{Exit, Failure};
use crate::terminal::{say, warn};

#[derive(Debug, Args)]
pub(super) struct LocateOptions {
    /// Address of the gateway
    #[arg(long, value_name = "URL", default_value = GATEWAY)]
    gateway: String,
    #[command(flatten)]
    access: access::Options,
    /// The subject's opaque id
    #[arg(long, value_name = "ID")]
    subject: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Deadline for the whole call, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = DEADLINE_MS_DEFAULT,
          value_parser = clap::value_parser!(u64).range(1..=DEADLINE_MS_MAX))]
    deadline_ms: u64,
}

impl LocateOptions {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let failed = |error: Error| {
            let text = answers::error(self.json, &self.gateway, &error);
            Failure::said(Exit::from(&error), text)
        };
        let client = connect(&self.gateway, self.access.read().await?, self.deadline_ms).await;
        let request = api::LocateSubjectRequest { subject_id: self.subject.clone() };
        let found = client.map_err(failed)?.locate_subject(&request).await.map_err(failed)?;
        self.show(&found)
    }

    fn show(&self, found: &api::LocateSubjectResponse) -> Result<(), Failure> {
        if self.json {
            say(as_json(found))?;
        } else {
            for of in &found.domiciles {
                say(format!("{}\t{}", of.domicile, of.collections.join(", ")))?;
            }
            if found.domiciles.is_empty() && found.complete {
                say("no region holds this subject")?;
            }
        }
        if !found.withheld.is_empty() {
            let regions = found.withheld.join(", ");
            warn(format!("may not tell you whether they hold this subject: {regions}"));
        }
        if found.unreachable.is_empty() {
            return Ok(());
        }
        let named = found.unreachable.iter().map(|one| format!("{} ({})", one.region, one.reason));
        let text = format!("out of reach: {}", named.collect::<Vec<_>>().join(", "));
        let text = if self.json { json!({"error": {"message": text}}).to_string() } else { text };
        Err(Failure::said(Exit::Unavailable, text))
    }
}

fn as_json(found: &api::LocateSubjectResponse) -> Value {
    let domicile =
        |of: &api::SubjectDomicile| json!({"domicile": of.domicile, "collections": of.collections});
    json!({
        "domiciles": found.domiciles.iter().map(domicile).collect::<Vec<_>>(),
        "complete": found.complete,
        "unreachable": answers::missing(&found.unreachable),
        "withheld": found.withheld,
    })
}
