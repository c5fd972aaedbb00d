//! `bailiwick record`: stores, reads or deletes one record; lists and counts many.

pub(super) mod attribute;
mod list;
pub(super) mod participant;
mod patch;
mod scan;
pub(super) mod show;
mod watch;

use std::fs;
use std::io::{self, Read as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use client::{Access, Client, Error, Ingress, Written, api, new_request_id};
use evidence::Evidence;
use link::host::clock::SystemEntropy;
use link::host::files::NewFile;
use prost_types::Timestamp;
use terms::limits::{BODY_BYTES_MAX, DEADLINE_MS_DEFAULT, DEADLINE_MS_MAX};
use terms::{Rejection, RequestId};

use crate::arguments::{GATEWAY, access, connect, sealing, to_api};
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
    /// Store a record, or a new version of it
    Put(Box<PutOptions>),
    /// Read the newest version of a record
    Get(GetOptions),
    /// Set when a record expires, or that it does not
    Touch(TouchOptions),
    /// Change the body of a record, or some of its attributes
    Patch(Box<patch::PatchOptions>),
    /// Delete a record
    Delete(DeleteOptions),
    /// List the records of a subject, or of a collection in some regions
    List(Box<list::ListOptions>),
    /// Count what `list` would list
    Count(Box<list::CountOptions>),
    /// Print all records of a collection in one region, for a purpose that is logged
    Scan(Box<scan::ScanOptions>),
    /// Print what changes in a collection of a region, or of a subject, until it is interrupted
    Watch(Box<watch::WatchOptions>),
}

/// Which record, where to ask for it, and how to answer.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Address of the gateway
    #[arg(long, value_name = "URL", default_value = GATEWAY)]
    pub(super) gateway: String,
    #[command(flatten)]
    access: access::Options,
    /// The subject's opaque id
    #[arg(long, value_name = "ID")]
    pub(super) subject: String,
    /// Region that holds the subject's records of this collection, as the first put returned it
    #[arg(long, value_name = "REGION", default_value = "")]
    pub(super) domicile: String,
    /// Collection, as the map declares it
    #[arg(long, value_name = "NAME")]
    pub(super) collection: String,
    /// The record's name within subject and collection
    #[arg(long, value_name = "KEY")]
    pub(super) key: String,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Deadline for the whole call, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = DEADLINE_MS_DEFAULT,
          value_parser = clap::value_parser!(u64).range(1..=DEADLINE_MS_MAX))]
    deadline_ms: u64,
}

/// Under what condition to write, and how often.
#[derive(Debug, Args)]
pub(super) struct Write {
    /// Write only if the record has this version; 0: only if there is no record
    #[arg(long, value_name = "N")]
    pub(super) if_version: Option<i64>,
    /// Write only if the record has this etag
    #[arg(long, value_name = "ETAG", default_value = "")]
    pub(super) etag: String,
    /// Request id of this write; use the same one for a retry [default: random]
    #[arg(long, value_name = "UUID", value_parser = RequestId::parse)]
    request_id: Option<RequestId>,
    /// Dry run: check everything, store nothing
    #[arg(long)]
    pub(super) validate_only: bool,
    /// Wait for the inclusion proof, and write it with the receipt to this new file, for `bailiwick
    /// audit receipt`. The file names the person
    #[arg(long, value_name = "FILE", conflicts_with = "validate_only")]
    receipt: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct PutOptions {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    write: Write,
    #[command(flatten)]
    body: Body,
    #[command(flatten)]
    about: participant::About,
    /// Attribute that the map declares for the collection; may be repeated. A whole number, `true`,
    /// `false` or a time such as 2026-11-30T06:45:00Z is sent as such; double quotes around the value
    /// make it a text
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<attribute::Attribute>,
    /// Gateway inside a region's territory; may be repeated. With any, the placement is requested
    /// first, and the body is sent to the gateway that the laws require
    #[arg(long = "ingress", value_name = "REGION=URL", value_parser = access::ingress)]
    ingresses: Vec<Ingress>,
    #[command(flatten)]
    expiry: Expiry,
    #[command(flatten)]
    sealing: sealing::Options,
}

#[derive(Debug, Args)]
pub(super) struct Expiry {
    /// From then on the record is not read any more, and is deleted; RFC 3339, such as
    /// `2027-01-31T12:00:00Z` [default: never]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) expire_time: Option<Timestamp>,
}

/// A point in time in RFC 3339.
pub(in crate::commands) fn time(text: &str) -> Result<Timestamp, &'static str> {
    text.parse().map_err(|_| "is no time in RFC 3339, such as 2027-01-31T12:00:00Z")
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Body {
    /// Body of the record
    #[arg(long = "body", value_name = "TEXT")]
    text: Option<String>,
    /// File with the body; `-` is standard input
    #[arg(long = "body-file", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

#[derive(Debug, Args)]
struct GetOptions {
    #[command(flatten)]
    common: Common,
    /// Why the record is read, for the placement log; it must name no person. A collection whose reads
    /// are logged needs it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    purpose: String,
    /// Read the copy that this region has, instead of the record at its domicile
    #[arg(long, value_name = "REGION", default_value = "", hide_default_value = true)]
    copy_in: String,
    #[command(flatten)]
    sealing: sealing::Options,
}

#[derive(Debug, Args)]
struct TouchOptions {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    write: Write,
    #[command(flatten)]
    expiry: Expiry,
}

#[derive(Debug, Args)]
struct DeleteOptions {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    write: Write,
}

/// `kind=value`, not yet read.
#[derive(Clone)]
pub(in crate::commands) struct Given {
    kind: String,
    value: String,
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Given").finish_non_exhaustive()
    }
}

impl std::str::FromStr for Given {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, value) = text.split_once('=').ok_or("is not of the form kind=value")?;
        Ok(Self { kind: kind.to_owned(), value: value.to_owned() })
    }
}

/// Runs what was typed.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let common = match &arguments.command {
        Command::Put(options) => &options.common,
        Command::Get(options) => &options.common,
        Command::Touch(options) => &options.common,
        Command::Patch(options) => &options.common,
        Command::Delete(options) => &options.common,
        Command::List(options) => return serve::block_on(options.run()),
        Command::Count(options) => return serve::block_on(options.run()),
        Command::Scan(options) => return serve::block_on(options.run()),
        Command::Watch(options) => return serve::block_on(options.run()),
    };
    // Of a write, the id under which it can be sent again.
    let mut sent = None;
    serve::block_on(async {
        let done = match &arguments.command {
            Command::List(_) | Command::Count(_) | Command::Scan(_) | Command::Watch(_) => {
                return Ok(());
            }
            Command::Put(options) => {
                let request = options.request(common.json)?;
                let file = options.write.prepare()?;
                sent = Some(request.request_id.clone());
                let answer = options.put(&request).await?;
                answer.map(|answer| {
                    show::keep(file, answer.receipt.as_ref())?;
                    show::put(common.json, &answer, options)
                })
            }
            Command::Get(options) => match common.sealing(Vec::new(), &options.sealing).await? {
                Ok(client) => {
                    let answer = client.get(&options.request()).await;
                    answer.map(|record| show::record(common.json, &record))
                }
                Err(error) => Err(error),
            },
            Command::Touch(options) => match common.client(Vec::new()).await? {
                Ok(client) => {
                    let client = options.write.client(client);
                    let file = options.write.prepare()?;
                    let request = options.request()?;
                    sent = Some(request.request_id.clone());
                    let answer = client.touch(&request).await;
                    let dry = options.write.validate_only;
                    answer.map(|answer| {
                        show::keep(file, answer.receipt.as_ref())?;
                        show::touch(common.json, &answer, dry)
                    })
                }
                Err(error) => Err(error),
            },
            Command::Patch(options) => options.run(&mut sent).await?,
            Command::Delete(options) => match common.client(Vec::new()).await? {
                Ok(client) => {
                    let client = options.write.client(client);
                    let file = options.write.prepare()?;
                    let request = options.request()?;
                    sent = Some(request.request_id.clone());
                    let answer = client.delete(&request).await;
                    let dry = options.write.validate_only;
                    answer.map(|answer| {
                        show::keep(file, answer.receipt.as_ref())?;
                        show::delete(common.json, &answer, dry)
                    })
                }
                Err(error) => Err(error),
            },
        };
        done.unwrap_or_else(|error| Err(failure_of(common, &error, sent.as_deref())))
    })
}

/// What a failed call says on standard error, with the request id of a write.
pub(super) fn failure_of(common: &Common, error: &Error, sent: Option<&str>) -> Failure {
    let Some(id) = sent else { return failure(common, error) };
    let said = show::write_error(common.json, &common.gateway, error, id);
    Failure::said(Exit::from(error), said)
}

/// What a failed call says on standard error.
pub(super) fn failure(common: &Common, error: &Error) -> Failure {
    Failure::said(Exit::from(error), show::error(common.json, &common.gateway, error))
}

/// Evidence as it was typed, read.
pub(in crate::commands) fn evidence(
    json: bool,
    typed: &[Given],
) -> Result<Vec<api::Evidence>, Failure> {
    let item = |(n, given): (usize, &Given)| Evidence::read(n, &given.kind, given.value.clone());
    let items: Result<Vec<Evidence>, Rejection> = typed.iter().enumerate().map(item).collect();
    Ok(to_api(&items.map_err(|fault| not_sent(json, &fault))?))
}

/// What is wrong before anything was sent, shown like a gateway's own "no".
fn not_sent(json: bool, fault: &Rejection) -> Failure {
    Failure::said(Exit::Failed, show::fault(json, fault))
}

impl Common {
    /// A client of the gateway; or why there is none, to be shown as a call's failure is.
    pub(super) async fn client(
        &self,
        ingresses: Vec<Ingress>,
    ) -> Result<Result<Client, Error>, Failure> {
        let access = Access { ingresses, ..self.access.read().await? };
        Ok(connect(&self.gateway, access, self.deadline_ms).await)
    }

    /// The same, whose bodies are sealed if that was asked for.
    async fn sealing(
        &self,
        ingresses: Vec<Ingress>,
        sealing: &sealing::Options,
    ) -> Result<Result<Client, Error>, Failure> {
        let access = Access { ingresses, ..sealing.access(self.access.read().await?) };
        let client = connect(&self.gateway, access, self.deadline_ms).await;
        Ok(client.and_then(|client| sealing.client(client)))
    }

    pub(super) fn subject(&self) -> Option<api::SubjectRef> {
        Some(api::SubjectRef { id: self.subject.clone(), domicile: self.domicile.clone() })
    }
}

impl GetOptions {
    fn request(&self) -> api::GetRecordRequest {
        let Self { common, purpose, copy_in, .. } = self;
        api::GetRecordRequest {
            subject: common.subject(),
            collection: common.collection.clone(),
            key: common.key.clone(),
            purpose: purpose.clone(),
            copy_in: copy_in.clone(),
            ..Default::default()
        }
    }
}

impl Write {
    /// A write whose id is drawn here cannot have been done before.
    pub(super) fn client(&self, client: Client) -> Client {
        if self.request_id.is_some() { client } else { client.first_time() }
    }

    /// The file for the receipt, if that was asked for: before anything is sent.
    pub(super) fn prepare(&self) -> Result<Option<NewFile>, Failure> {
        self.receipt.as_deref().map(prepare_secret).transpose()
    }

    pub(super) fn receipt_view(&self) -> api::ReceiptView {
        if self.receipt.is_some() { api::ReceiptView::Full } else { api::ReceiptView::Basic }
    }

    pub(super) fn request_id(&self) -> Result<String, Failure> {
        let id = self.request_id.map_or_else(|| new_request_id(&SystemEntropy), Ok);
        id.map(|id| id.to_string()).map_err(|error| Failure::new(Exit::Unavailable, error))
    }
}

impl PutOptions {
    async fn put(
        &self,
        request: &api::PutRecordRequest,
    ) -> Result<Result<Written<api::PutRecordResponse>, Error>, Failure> {
        let client = self.common.sealing(self.ingresses.clone(), &self.sealing).await?;
        Ok(match client.map(|client| self.write.client(client)) {
            Ok(client) if self.ingresses.is_empty() => client.put(request).await,
            Ok(client) => client.put_resolved(request).await,
            Err(error) => Err(error),
        })
    }

    fn request(&self, json: bool) -> Result<api::PutRecordRequest, Failure> {
        Ok(api::PutRecordRequest {
            subject: self.common.subject(),
            collection: self.common.collection.clone(),
            key: self.common.key.clone(),
            body: self.body.read()?.into(),
            request_id: self.write.request_id()?,
            if_version: self.write.if_version,
            create_subject: self.about.create_subject,
            evidence: self.about.evidence(json)?,
            findings: Vec::new(),
            validate_only: self.write.validate_only,
            etag: self.write.etag.clone(),
            receipt_view: self.write.receipt_view().into(),
            attributes: self.attributes.iter().map(attribute::Attribute::to_api).collect(),
            expire_time: self.expiry.expire_time,
            participants: self.about.participants(),
            ..Default::default()
        })
    }
}

impl TouchOptions {
    fn request(&self) -> Result<api::TouchRecordRequest, Failure> {
        Ok(api::TouchRecordRequest {
            subject: self.common.subject(),
            collection: self.common.collection.clone(),
            key: self.common.key.clone(),
            request_id: self.write.request_id()?,
            if_version: self.write.if_version,
            etag: self.write.etag.clone(),
            validate_only: self.write.validate_only,
            receipt_view: self.write.receipt_view().into(),
            expire_time: self.expiry.expire_time,
        })
    }
}

impl DeleteOptions {
    fn request(&self) -> Result<api::DeleteRecordRequest, Failure> {
        Ok(api::DeleteRecordRequest {
            subject: self.common.subject(),
            collection: self.common.collection.clone(),
            key: self.common.key.clone(),
            request_id: self.write.request_id()?,
            if_version: self.write.if_version,
            etag: self.write.etag.clone(),
            validate_only: self.write.validate_only,
            receipt_view: self.write.receipt_view().into(),
        })
    }
}

impl Body {
    /// The content. No more than one byte over the largest body is read: the gateway says no.
    fn read(&self) -> Result<Vec<u8>, Failure> {
        let Some(path) = &self.file else {
            return Ok(self.text.clone().unwrap_or_default().into_bytes());
        };
        let unread = |error: io::Error| {
            let text = format!("{} cannot be read ({error})", path.display());
            Failure::said(Exit::Failed, text)
        };
        let mut body = Vec::new();
        let most = BODY_BYTES_MAX as u64 + 1;
        if path.as_os_str() == "-" {
            io::stdin().lock().take(most).read_to_end(&mut body).map_err(unread)?;
        } else {
            let file = fs::File::open(path).map_err(unread)?;
            file.take(most).read_to_end(&mut body).map_err(unread)?;
        }
        Ok(body)
    }
}
