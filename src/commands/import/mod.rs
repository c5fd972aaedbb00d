//! `bailiwick import`: each line of a file becomes a record. It can be stopped and resumed at any at
//! any time: the same line is the same request, and a record that exists stays as it is.

mod tally;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use client::{BulkPut, Client, Error, Settings, api, derived_request_id};
use evidence::JsonLine;
use tokio::sync::mpsc;

use crate::arguments::{GATEWAY, access, to_api};
use crate::error::{Exit, Failure};
use crate::serve;
use crate::terminal::answers::call_failed;
use crate::terminal::rows::for_each_line;
use crate::terminal::say;

use tally::Tally;

/// What request ids are derived for. Another way of making requests would need another label.
const LABEL: &str = "bailiwick import v1";
/// The key of every record that is imported.
const KEY: &str = "main";
/// What to do after an import that did not come to its end.
const RESUME: &str = "the same command resumes the import";
/// Lines that are read ahead.
const LINES_AHEAD: usize = 64;
/// Attempts at reading a record that is there already.
const ATTEMPTS_MAX: u32 = 8;
/// Seconds for which to try again what may succeed later, by default.
const PATIENCE_S: u64 = 60;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Address of the gateway
    #[arg(long, value_name = "URL", default_value = GATEWAY)]
    gateway: String,
    #[command(flatten)]
    access: access::Options,
    /// Seconds to retry a line while its region or the gateway is unavailable
    #[arg(long, value_name = "S", default_value_t = PATIENCE_S,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    patience_s: u64,
    /// Print one JSON object instead of tables at the end
    #[arg(long)]
    json: bool,
    /// JSON lines with `id`, `collection` and `evidence`; `-` is standard input
    #[arg(value_name = "FILE")]
    rows: PathBuf,
}

/// Puts every line, until a signal comes.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    serve::block_on(async {
        let stop = serve::Stop::on_signals()?;
        let mut tally = Tally::new(options.rows.display().to_string());
        let ended = tokio::select! {
            ended = put_all(options, &mut tally) => ended,
            () = stop.asked() => {
                Err(Failure::said(Exit::Interrupted, format!("stopped by a signal; {RESUME}")))
            }
        };
        tally.end();
        if options.json {
            say(tally.json())?
        } else {
            say(tally.tables())?
        }
        ended?;
        match tally.failed() {
            0 => Ok(()),
            failed => {
                let text = format!("{failed} lines failed for reasons other than a ruling");
                Err(Failure::said(Exit::Failed, text))
            }
        }
    })
}

async fn put_all(options: &Options, tally: &mut Tally) -> Result<(), Failure> {
    let (url, patience) = (options.gateway.as_str(), Duration::from_secs(options.patience_s));
    let settings = Settings { deadline: patience, attempts_max: ATTEMPTS_MAX, ..Settings::DEFAULT };
    let access = options.access.read().await?;
    let client = Client::connect_with(url, settings, access).await;
    let client = client.map_err(|error| away(url, &error))?;
    let (sender, lines) = mpsc::channel(LINES_AHEAD);
    let path = options.rows.clone();
    let reader = tokio::task::spawn_blocking(move || read(&path, &sender));
    let put = client.put_all(lines, patience, &mut |event| tally.take(&event)).await;
    put.map_err(|error| away(url, &error))?;
    reader.await.map_err(|error| Failure::new(Exit::Failed, error))?
}

/// Reads lines ahead, until the receiver is gone.
fn read(path: &std::path::Path, lines: &mpsc::Sender<BulkPut>) -> Result<(), Failure> {
    let mut wanted = true;
    for_each_line(path, |number, line| {
        if wanted {
            let request = line.and_then(|line| Ok(request(&JsonLine::read(line)?)));
            wanted = lines.blocking_send(BulkPut { number, request }).is_ok();
        }
        Ok(())
    })
}

/// The request that a row is: always the same one.
fn request(row: &JsonLine<'_>) -> api::PutRecordRequest {
    let body = row.body().to_vec();
    let request_id = derived_request_id(LABEL, &body).to_string();
    let subject = api::SubjectRef { id: row.id.expose().to_owned(), domicile: String::new() };
    api::PutRecordRequest {
        subject: Some(subject),
        collection: row.collection.as_str().to_owned(),
        key: KEY.to_owned(),
        body: body.into(),
        request_id,
        if_version: Some(0),
        create_subject: true,
        evidence: to_api(&row.evidence),
        ..Default::default()
    }
}

/// A gateway that does not answer ends the whole import.
fn away(url: &str, error: &Error) -> Failure {
    Failure::said(Exit::from(error), format!("{}; {RESUME}", call_failed(url, error)))
}
