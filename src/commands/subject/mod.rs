//! `bailiwick subject`: shows, finds, exports, erases, blocks and unblocks what a region holds of one person.

mod adjudicate;
mod folder;
mod locate;
mod page;
mod reassess;
mod relocate;
mod show;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use client::{Client, Error, ExportPart, api, new_request_id};
use link::host::clock::SystemEntropy;
use link::host::files::NewFile;
use prost_types::Timestamp;
use terms::RequestId;
use terms::limits::{DEADLINE_MS_DEFAULT, DEADLINE_MS_MAX};
use tokio::fs::File;

use crate::arguments::{GATEWAY, access, connect, sealing};
use crate::commands::REASON;
use crate::commands::record::show as answers;
use crate::commands::record::time;
use crate::commands::subject::folder::Folder;
use crate::error::{Exit, Failure};
use crate::files::prepare_secret;
use crate::serve;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show where a person's data lie, under which laws, and how many records there are
    Show(ShowOptions),
    /// Find the regions that hold a person, by the id alone
    Locate(locate::LocateOptions),
    /// Write everything that a region holds of a person into a new folder
    Export(ExportOptions),
    /// Rule on a person again, with new evidence
    Reassess(reassess::ReassessOptions),
    /// Choose a person's region where the rules leave several: propose it, or confirm a proposal
    Adjudicate(adjudicate::AdjudicateOptions),
    /// Move a person to another region, with all records
    Relocate(relocate::RelocateOptions),
    /// Erase a person in a region, or one collection of a person, for good
    Erase(EraseOptions),
    /// Replace the keys of a person in a region, and encrypt all records under the new ones
    RotateKey(RotateKeyOptions),
    /// Keep a person's records, unread and unwritten, until a date
    Block(BlockOptions),
    /// Lift the block on a person
    Unblock(UnblockOptions),
}

/// Which subject, where to ask, and how to answer.
#[derive(Debug, Args)]
struct Common {
    /// Address of the gateway
    #[arg(long, value_name = "URL", default_value = GATEWAY)]
    gateway: String,
    #[command(flatten)]
    access: access::Options,
    /// The subject's opaque id
    #[arg(long, value_name = "ID")]
    subject: String,
    /// Region that holds the subject, as the first put returned it
    #[arg(long, value_name = "REGION")]
    domicile: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Deadline for the whole call, in milliseconds; of an export, for its first part
    #[arg(long, value_name = "MS", default_value_t = DEADLINE_MS_DEFAULT,
          value_parser = clap::value_parser!(u64).range(1..=DEADLINE_MS_MAX))]
    deadline_ms: u64,
}

/// Why something is changed.
#[derive(Debug, Args)]
struct Why {
    /// Why, for the placement log; it must name no person
    #[arg(long, value_name = "TEXT", default_value = REASON)]
    reason: String,
}

/// A change, and what is kept of it.
#[derive(Debug, Args)]
struct Change {
    /// Dry run: check everything, change nothing
    #[arg(long)]
    validate_only: bool,
    /// Wait for the inclusion proof, and write it with the receipt to this new file, for `bailiwick
    /// audit receipt`. The file names the person
    #[arg(long, value_name = "FILE", conflicts_with = "validate_only")]
    receipt: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ShowOptions {
    #[command(flatten)]
    common: Common,
    /// Why, for the placement log; it must name no person
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    purpose: String,
}

#[derive(Debug, Args)]
struct ExportOptions {
    #[command(flatten)]
    common: Common,
    /// Folder to write; it must not exist. Only you can read it
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Why, for the placement log; it must name no person
    #[arg(long, value_name = "TEXT", default_value = REASON)]
    purpose: String,
    #[command(flatten)]
    sealing: sealing::Options,
}

#[derive(Debug, Args)]
struct EraseOptions {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    change: Change,
    /// Why, for the placement log; it must name no person
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Collection to erase, in place of the whole person
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    collection: String,
    /// By when a law wants it done, for the placement log; RFC 3339
    #[arg(long, value_name = "TIME", value_parser = time)]
    deadline: Option<Timestamp>,
    /// On which ground the data must go: the laws that apply may set a term for it
    #[arg(long, value_name = "GROUND", value_parser = ground)]
    ground: Option<i32>,
    /// When the ground arose; RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", value_parser = time, requires = "ground")]
    ground_time: Option<Timestamp>,
    /// Request id of this erasure; use the same one for a retry [default: random]
    #[arg(long, value_name = "UUID", value_parser = RequestId::parse)]
    request_id: Option<RequestId>,
}

#[derive(Debug, Args)]
struct RotateKeyOptions {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    change: Change,
    /// Request id of this rotation; use the same one for a retry [default: random]
    #[arg(long, value_name = "UUID", value_parser = RequestId::parse)]
    request_id: Option<RequestId>,
}

#[derive(Debug, Args)]
struct BlockOptions {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    change: Change,
    /// When the block ends by itself; RFC 3339, such as `2027-01-31T12:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Timestamp,
    /// Erase the person when the block ends
    #[arg(long)]
    then_erase: bool,
}

#[derive(Debug, Args)]
struct UnblockOptions {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    change: Change,
}

/// Runs what was typed.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    serve::block_on(async {
        match &arguments.command {
            Command::Show(options) => options.run().await,
            Command::Locate(options) => options.run().await,
            Command::Export(options) => options.run().await,
            Command::Reassess(options) => options.run().await,
            Command::Adjudicate(options) => options.run().await,
            Command::Relocate(options) => options.run().await,
            Command::Erase(options) => options.run().await,
            Command::RotateKey(options) => options.run().await,
            Command::Block(options) => options.run().await,
            Command::Unblock(options) => options.run().await,
        }
    })
}

impl Common {
    async fn client(&self) -> Result<Client, Failure> {
        let client = connect(&self.gateway, self.access.read().await?, self.deadline_ms).await;
        client.map_err(|error| self.failed(&error))
    }

    fn subject(&self) -> Option<api::SubjectRef> {
        Some(api::SubjectRef { id: self.subject.clone(), domicile: self.domicile.clone() })
    }

    fn failed(&self, error: &Error) -> Failure {
        Failure::said(Exit::from(error), answers::error(self.json, &self.gateway, error))
    }
}

impl Common {
    /// The same of a write that has a request id.
    fn failed_write(&self, error: &Error, request_id: &str) -> Failure {
        let said = answers::write_error(self.json, &self.gateway, error, request_id);
        Failure::said(Exit::from(error), said)
    }
}

impl Change {
    fn receipt_view(&self) -> api::ReceiptView {
        if self.receipt.is_some() { api::ReceiptView::Full } else { api::ReceiptView::Basic }
    }

    /// The file for the receipt, if that was asked for: before anything is sent.
    fn prepare(&self) -> Result<Option<NewFile>, Failure> {
        self.receipt.as_deref().map(prepare_secret).transpose()
    }
}

impl ShowOptions {
    async fn run(&self) -> Result<(), Failure> {
        let (subject, purpose) = (self.common.subject(), self.purpose.clone());
        let request = api::GetSubjectRequest { subject, purpose };
        let answer = self.common.client().await?.subject(&request).await;
        let subject = answer.map_err(|error| self.common.failed(&error))?;
        show::subject(self.common.json, &subject)
    }
}

impl ExportOptions {
    async fn run(&self) -> Result<(), Failure> {
        let failed = |error: Error| self.common.failed(&error);
        let (subject, purpose) = (self.common.subject(), self.purpose.clone());
        let request = api::ExportSubjectRequest { subject, purpose, ..Default::default() };
        // A folder that is there is refused before anything is asked for, and logged.
        let mut folder = Folder::begin(&self.out)?;
        let Common { gateway, access, deadline_ms, .. } = &self.common;
        let access = self.sealing.access(access.read().await?);
        let client = connect(gateway, access, *deadline_ms).await.map_err(failed)?;
        let sealing = self.sealing.client(client.clone()).map_err(failed)?;
        let mut export = sealing.export_subject(request).await.map_err(failed)?;
        while let Some(part) = export.next().await.map_err(failed)? {
            match part {
                ExportPart::Subject(subject) => folder.subject(subject)?,
                ExportPart::Record(record) => {
                    if let Some(file) = folder.record(&record)? {
                        self.attachment(&client, record, &file).await?;
                    }
                }
                ExportPart::End(_) => {}
            }
        }
        let records = folder.finish()?;
        show::exported(self.common.json, &self.out, records)
    }

    /// Fills the file of an attachment, in the version that the export has. It comes plain, and where the map
    /// wants bodies sealed, not at all: then the folder is not written.
    async fn attachment(
        &self,
        client: &Client,
        record: api::Record,
        file: &Path,
    ) -> Result<(), Failure> {
        let api::Record { subject, collection, key, etag, .. } = record;
        let request = api::DownloadAttachmentRequest {
            subject,
            collection,
            key,
            etag,
            purpose: self.purpose.clone(),
            ..Default::default()
        };
        let unwritten = |error| {
            let text = format!("{} cannot be written ({error})", file.display());
            Failure::said(Exit::Failed, text)
        };
        let mut file = File::options().write(true).open(file).await.map_err(unwritten)?;
        let done = client.download_to(request, &mut file, |_, _| {}).await;
        done.map(drop).map_err(|error| self.common.failed(&error))
    }
}

impl EraseOptions {
    async fn run(&self) -> Result<(), Failure> {
        let Self { common, change, .. } = self;
        let request = api::EraseSubjectRequest {
            subject: common.subject(),
            request_id: request_id(self.request_id)?,
            reason: self.reason.clone(),
            deadline: self.deadline,
            validate_only: change.validate_only,
            receipt_view: change.receipt_view().into(),
            collection: self.collection.clone(),
            ground: self.ground.unwrap_or_default(),
            ground_time: self.ground_time,
        };
        let file = change.prepare()?;
        let answer = common.client().await?.erase_subject(&request).await;
        let answer = answer.map_err(|error| common.failed_write(&error, &request.request_id))?;
        answers::keep(file, answer.receipt.as_ref())?;
        show::erased(common.json, &answer, change.validate_only)
    }
}

/// The number of a ground of erasure, as it was typed.
fn ground(text: &str) -> Result<i32, String> {
    let ground = show::GROUNDS.iter().find(|(word, _)| *word == text);
    ground.map(|(_, ground)| (*ground).into()).ok_or_else(|| {
        let words: Vec<&str> = show::GROUNDS.iter().map(|(word, _)| *word).collect();
        format!("is none of {}", words.join(", "))
    })
}

/// The request id that was typed, or a new one.
fn request_id(typed: Option<RequestId>) -> Result<String, Failure> {
    let id = typed.map_or_else(|| new_request_id(&SystemEntropy), Ok);
    id.map(|id| id.to_string()).map_err(|error| Failure::new(Exit::Unavailable, error))
}

impl RotateKeyOptions {
    async fn run(&self) -> Result<(), Failure> {
        let Self { common, change, .. } = self;
        let request = api::RotateSubjectKeyRequest {
            subject: common.subject(),
            request_id: request_id(self.request_id)?,
            reason: self.why.reason.clone(),
            validate_only: change.validate_only,
            receipt_view: change.receipt_view().into(),
        };
        let file = change.prepare()?;
        let answer = common.client().await?.rotate_subject_key(&request).await;
        let answer = answer.map_err(|error| common.failed_write(&error, &request.request_id))?;
        answers::keep(file, answer.receipt.as_ref())?;
        show::key_rotated(common.json, &answer, change.validate_only)
    }
}

impl BlockOptions {
    async fn run(&self) -> Result<(), Failure> {
        let Self { common, change, .. } = self;
        let request = api::BlockSubjectRequest {
            subject: common.subject(),
            end_time: Some(self.until),
            then_erase: self.then_erase,
            reason: self.why.reason.clone(),
            validate_only: change.validate_only,
            receipt_view: change.receipt_view().into(),
        };
        let file = change.prepare()?;
        let answer = common.client().await?.block_subject(&request).await;
        let answer = answer.map_err(|error| common.failed(&error))?;
        answers::keep(file, answer.receipt.as_ref())?;
        let change = show::Changed {
            word: "blocked",
            unchanged: "it was blocked so already",
            dry: change.validate_only,
            replayed: answer.replayed,
            receipt: answer.receipt.as_ref(),
            proof: &answer.proof,
        };
        change.show(common.json)
    }
}

impl UnblockOptions {
    async fn run(&self) -> Result<(), Failure> {
        let Self { common, change, .. } = self;
        let request = api::UnblockSubjectRequest {
            subject: common.subject(),
            reason: self.why.reason.clone(),
            validate_only: change.validate_only,
            receipt_view: change.receipt_view().into(),
        };
        let file = change.prepare()?;
        let answer = common.client().await?.unblock_subject(&request).await;
        let answer = answer.map_err(|error| common.failed(&error))?;
        answers::keep(file, answer.receipt.as_ref())?;
        let change = show::Changed {
            word: "unblocked",
            unchanged: "it was not blocked",
            dry: change.validate_only,
            replayed: answer.replayed,
            receipt: answer.receipt.as_ref(),
            proof: &answer.proof,
        };
        change.show(common.json)
    }
}
