//! `bailiwick operation`: shows, lists and cancels relocations of persons.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use client::{Client, Error, api};
use link::host::files::NewFile;
use serde_json::{Value, json};
use terms::limits::{DEADLINE_MS_DEFAULT, DEADLINE_MS_MAX};
use tokio::time::sleep;

use crate::arguments::{GATEWAY, access, connect};
use crate::commands::REASON;
use crate::commands::record::show as answers;
use crate::error::{Exit, Failure};
use crate::files::{fill, make_folder, prepare_secret};
use crate::serve;
use crate::terminal::{progress, say, warn};

/// Time between two looks at an operation that is watched.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the relocations that have not ended
    List(ListOptions),
    /// Show the relocation of a person: the one that goes on, or the last one
    Show(ShowOptions),
    /// Give up the relocation of a person, who stays in the region
    Cancel(CancelOptions),
}

/// Where to ask, and how to answer.
#[derive(Debug, Args)]
struct Common {
    /// Address of the gateway
    #[arg(long, value_name = "URL", default_value = GATEWAY)]
    gateway: String,
    #[command(flatten)]
    access: access::Options,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Deadline for the whole call, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = DEADLINE_MS_DEFAULT,
          value_parser = clap::value_parser!(u64).range(1..=DEADLINE_MS_MAX))]
    deadline_ms: u64,
}

#[derive(Debug, Args)]
struct ListOptions {
    #[command(flatten)]
    common: Common,
    /// Region from which persons move [default: all regions of the map]
    #[arg(long, value_name = "REGION", default_value = "", hide_default_value = true)]
    domicile: String,
}

/// The person who moves.
#[derive(Debug, Args)]
struct Person {
    /// The subject's opaque id
    #[arg(long, value_name = "ID")]
    subject: String,
    /// Region from which the person moves
    #[arg(long, value_name = "REGION")]
    domicile: String,
}

#[derive(Debug, Args)]
struct ShowOptions {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    person: Person,
    /// Wait until the move has ended
    #[arg(long)]
    watch: bool,
    /// Write the receipts of a move that is done to this new folder: `move_out.json` and
    /// `move_in.json`, which `bailiwick audit receipt` verifies with the key of each log. They name the
    /// person
    #[arg(long, value_name = "FOLDER")]
    receipts: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CancelOptions {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    person: Person,
    /// Why, for the placement log; it must name no person
    #[arg(long, value_name = "TEXT", default_value = REASON)]
    reason: String,
    /// Give up this move alone: the request id with which it was ordered
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

/// Runs what was typed.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    serve::block_on(async {
        match &arguments.command {
            Command::List(options) => options.run().await,
            Command::Show(options) => options.run().await,
            Command::Cancel(options) => options.run().await,
        }
    })
}

impl Common {
    async fn client(&self) -> Result<Client, Failure> {
        let client = connect(&self.gateway, self.access.read().await?, self.deadline_ms).await;
        client.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &Error) -> Failure {
        Failure::said(Exit::from(error), answers::error(self.json, &self.gateway, error))
    }
}

impl Person {
    fn subject(&self) -> Option<api::SubjectRef> {
        Some(api::SubjectRef { id: self.subject.clone(), domicile: self.domicile.clone() })
    }
}

impl ListOptions {
    async fn run(&self) -> Result<(), Failure> {
        let Self { common, domicile } = self;
        let request = api::ListOperationsRequest { domicile: domicile.clone() };
        let listed = common.client().await?.operations(&request).await;
        let listed = listed.map_err(|error| common.failed(&error))?;
        let end = if listed.unreachable.is_empty() {
            Ok(())
        } else {
            let away = listed.unreachable.join(", ");
            let what = format!("out of reach, and their moves are not listed: {away}");
            Err(Failure::said(Exit::Unavailable, what))
        };
        if common.json {
            let operations = listed.operations.iter().map(as_json).collect::<Vec<_>>();
            say(json!({
                "operations": operations,
                "more": listed.more,
                "unreachable": listed.unreachable,
            }))?;
            return end;
        }
        for one in &listed.operations {
            let from = one.subject.as_ref().map_or("", |subject| subject.domicile.as_str());
            say(format!("{}\t{from}\t{}", id(one), text(one)))?;
        }
        if listed.more {
            warn("there are more");
        }
        end
    }
}

impl ShowOptions {
    async fn run(&self) -> Result<(), Failure> {
        let Self { common, person, receipts, .. } = self;
        let files = self.prepare()?;
        let client = common.client().await?;
        let prove = receipts.is_some();
        let request = api::GetOperationRequest { subject: person.subject(), prove };
        let found = client.operation(&request).await.map_err(|error| common.failed(&error))?;
        if !self.watch {
            keep(files, &found)?;
            return show(&found, common.json, false);
        }
        let last = watch(&client, &request, found).await;
        let last = last.map_err(|error| common.failed(&error))?;
        keep(files, &last)?;
        show(&last, common.json, false)?;
        ended(&last)
    }
}

impl ShowOptions {
    /// The files of the receipts, if they were asked for: before anything is waited for.
    fn prepare(&self) -> Result<Option<[NewFile; 2]>, Failure> {
        let Some(folder) = &self.receipts else { return Ok(None) };
        make_folder(folder)?;
        let file = |name: &str| prepare_secret(&folder.join(name));
        Ok(Some([file("move_out.json")?, file("move_in.json")?]))
    }
}

/// Writes the receipts, which the client has checked, if that was asked for.
fn keep(files: Option<[NewFile; 2]>, at: &api::Operation) -> Result<(), Failure> {
    let Some([move_out, move_in]) = files else { return Ok(()) };
    let Some(receipt) = &at.receipt else {
        warn("the move is not done: there are no receipts");
        return Ok(());
    };
    for (file, one) in [(move_out, &receipt.move_out), (move_in, &receipt.move_in)] {
        fill(file, &format!("{:#}\n", answers::receipt(one.as_ref())))?;
    }
    Ok(())
}

impl CancelOptions {
    async fn run(&self) -> Result<(), Failure> {
        let Self { common, person, reason, request_id } = self;
        let request = api::CancelOperationRequest {
            subject: person.subject(),
            reason: reason.clone(),
            request_id: request_id.clone().unwrap_or_default(),
        };
        let given_up = common.client().await?.cancel_operation(&request).await;
        show(&given_up.map_err(|error| common.failed(&error))?, common.json, false)
    }
}

/// Asks again and again until a relocation has ended.
pub(crate) async fn watch(
    client: &Client,
    request: &api::GetOperationRequest,
    mut at: api::Operation,
) -> Result<api::Operation, Error> {
    let bar = progress("{spinner} {pos} of {len} records, about {eta} left");
    while goes_on(&at) {
        bar.set_length(u64::try_from(at.record_count).unwrap_or(0));
        bar.set_position(u64::try_from(at.copied_count).unwrap_or(0));
        sleep(LOOK_EVERY).await;
        at = client.operation(request).await?;
    }
    bar.finish_and_clear();
    Ok(at)
}

/// Whether a move has not ended yet.
pub(crate) fn goes_on(at: &api::Operation) -> bool {
    use api::OperationState as State;
    // Unknown: it is ordered, and how far it is was not to be read just then.
    matches!(at.state(), State::Copying | State::Switching | State::Unspecified)
}

/// The command's own end: a relocation that was given up is not what was wanted.
pub(crate) fn ended(at: &api::Operation) -> Result<(), Failure> {
    if at.state() == api::OperationState::Done {
        return Ok(());
    }
    Err(Failure::said(Exit::Differs, String::new()))
}

/// Prints one relocation.
pub(crate) fn show(at: &api::Operation, json: bool, dry: bool) -> Result<(), Failure> {
    if json {
        let mut value = as_json(at);
        if let Some(object) = value.as_object_mut() {
            object.insert("validated_only".to_owned(), dry.into());
        }
        return say(value);
    }
    if dry {
        return say(format!(
            "dry run: the rules of this region let the person move to {}",
            at.region
        ));
    }
    say(text(at))
}

fn text(at: &api::Operation) -> String {
    use api::OperationState as State;
    let (copied, all) = (at.copied_count, at.record_count);
    let why = if at.refusal.is_empty() {
        String::new()
    } else {
        format!(": it cannot go on ({})", at.refusal)
    };
    match at.state() {
        State::Copying => format!("copying to {}: {copied} of {all} records", at.region),
        State::Switching => format!("given away to {}, which has not confirmed yet", at.region),
        State::Done => format!("moved to {}", at.region),
        State::Cancelling => format!("given up{why}; {} still erases what was copied", at.region),
        State::Cancelled => format!("given up{why}"),
        State::Unspecified => "unknown".to_owned(),
    }
}

fn id(at: &api::Operation) -> Cow<'_, str> {
    let subject = at.subject.as_ref().map_or("", |subject| subject.id.as_str());
    terms::escape_hidden(subject)
}

fn as_json(at: &api::Operation) -> Value {
    let time = |time: Option<&prost_types::Timestamp>| time.map(ToString::to_string);
    json!({
        "subject": at.subject.as_ref().map(|subject| subject.id.clone()),
        "domicile": at.subject.as_ref().map(|subject| subject.domicile.clone()),
        "region": at.region,
        "request_id": at.request_id,
        "state": at.state().as_str_name().trim_start_matches("OPERATION_STATE_"),
        "copied_count": at.copied_count,
        "record_count": at.record_count,
        "create_time": time(at.create_time.as_ref()),
        "end_time": time(at.end_time.as_ref()),
        "refusal": at.refusal,
        "replayed": at.replayed,
        "receipt": at.receipt.as_ref().map(|receipt| json!({
            "move_out": answers::receipt(receipt.move_out.as_ref()),
            "move_in": answers::receipt(receipt.move_in.as_ref()),
        })),
    })
}
