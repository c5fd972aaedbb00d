//! `bailiwick record scan`: prints all records of a collection in one region.

use std::time::Duration;

use clap::Args;
use client::{Client, Error, Settings, api};
use terms::limits::DEADLINE_MS_DEFAULT;

use crate::arguments::{GATEWAY, access, sealing};
use crate::commands::record::list::{Filter, View, line};
use crate::commands::record::show;
use crate::error::{Exit, Failure};
use crate::terminal::{Output, warn};

#[derive(Debug, Args)]
pub(super) struct ScanOptions {
    /// Address of the gateway
    #[arg(long, value_name = "URL", default_value = GATEWAY)]
    gateway: String,
    #[command(flatten)]
    access: access::Options,
    /// Collection, as the map declares it
    #[arg(long, value_name = "NAME")]
    collection: String,
    /// Region whose records to read
    #[arg(long, value_name = "REGION")]
    region: String,
    /// Why the records are read, for the placement log; it must name no person
    #[arg(long, value_name = "TEXT")]
    purpose: String,
    /// As in `record list`
    #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
    filter: Filter,
    /// How much of each record to print
    #[arg(long, value_enum, default_value_t = View::Whole)]
    view: View,
    /// Print JSON: one object on each line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sealing: sealing::Options,
}

impl ScanOptions {
    /// Prints all records. What was printed before an error is not all.
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let request = api::ScanRecordsRequest {
            collection: self.collection.clone(),
            region: self.region.clone(),
            purpose: self.purpose.clone(),
            filter: self.filter.0.clone(),
            view: self.view.to_api().into(),
            sealed_question: None,
        };
        let failed = |error: Error| {
            let text = show::error(self.json, &self.gateway, &error);
            Failure::said(Exit::from(&error), text)
        };
        let deadline = Duration::from_millis(DEADLINE_MS_DEFAULT);
        let settings = Settings { deadline, ..Settings::DEFAULT };
        let access = self.sealing.access(self.access.read().await?);
        let client = Client::connect_with(&self.gateway, settings, access).await;
        let client = client.and_then(|client| self.sealing.client(client));
        let mut scan = client.map_err(failed)?.scan(&request).await.map_err(failed)?;
        let mut output = Output::new();
        while let Some(record) = scan.next().await.map_err(failed)? {
            if self.json {
                output.line(self.view.json(&record))?;
            } else {
                output.line(line(&record))?;
            }
        }
        output.flush()?;
        if scan.withheld() > 0 {
            let many = scan.withheld();
            warn(format!("{many} records may not leave their region for you, and are missing"));
        }
        Ok(())
    }
}
