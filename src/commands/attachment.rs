//! `bailiwick attachment`: uploads, downloads or deletes one attachment, or says what it is.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use client::{Client, Error, Written, api, measure};
use indicatif::ProgressBar;
use link::host::files::SECRET;
use serde_json::{Value, json};
use tokio::fs::File;
use tokio::io::AsyncWrite;

use crate::commands::record::participant::About;
use crate::commands::record::{Common, Expiry, Write, attribute, failure, failure_of, show};
use crate::error::{Exit, Failure};
use crate::serve;
use crate::terminal::{progress, say};

/// The line that shows how far a transfer is.
const LINE: &str = "{bytes} of {total_bytes} {wide_bar} {bytes_per_sec}, {eta} left";

/// Standard output, as a file.
const STDOUT: &str = "/dev/stdout";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Upload a file of up to 1 GiB
    Put(PutOptions),
    /// Download an attachment, or a part of it
    Get(GetOptions),
    /// Show size, hash, version and attributes
    Stat(StatOptions),
    /// Delete an attachment
    Delete(DeleteOptions),
}

#[derive(Debug, Args)]
struct PutOptions {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    write: Write,
    #[command(flatten)]
    about: About,
    #[command(flatten)]
    expiry: Expiry,
    /// Attribute that the map declares for the collection; may be repeated; as in `record put`
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<attribute::Attribute>,
    /// File to upload. With the same `--request-id`, an upload that was cut goes on where it was
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Args)]
struct GetOptions {
    #[command(flatten)]
    common: Common,
    /// New file for the content; `-` is standard output
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// First byte to read
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    offset: i64,
    /// Bytes to read; 0: to the end
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    length: i64,
    /// Read only if the attachment has this etag
    #[arg(long, value_name = "ETAG", default_value = "")]
    etag: String,
    /// Why the record is read, for the placement log; it must name no person. A collection whose reads
    /// are logged needs it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    purpose: String,
}

#[derive(Debug, Args)]
struct StatOptions {
    #[command(flatten)]
    common: Common,
    /// Why the record is read, for the placement log; it must name no person. A collection whose reads
    /// are logged needs it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    purpose: String,
}

#[derive(Debug, Args)]
struct DeleteOptions {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    write: Write,
}

/// Runs what was typed.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let common = match &arguments.command {
        Command::Put(options) => &options.common,
        Command::Get(options) => &options.common,
        Command::Stat(options) => &options.common,
        Command::Delete(options) => &options.common,
    };
    serve::block_on(async {
        let client = match common.client(Vec::new()).await? {
            Ok(client) => client,
            Err(error) => return Err(failure(common, &error)),
        };
        // Of a write, the id under which it can be sent again.
        let mut sent = None;
        let done = match &arguments.command {
            Command::Put(options) => options.put(client, &mut sent).await?,
            Command::Get(options) => options.get(&client).await?,
            Command::Stat(options) => options.stat(&client).await,
            Command::Delete(options) => options.delete(client, &mut sent).await?,
        };
        done.unwrap_or_else(|error| Err(failure_of(common, &error, sent.as_deref())))
    })
}

/// What became of a call: printed, or an error to be shown.
type Done = Result<Result<(), Failure>, Error>;

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::said(Exit::Failed, format!("{} cannot be used ({error})", path.display()))
}

/// Moves the line to so many bytes of so many.
fn show_progress(line: &ProgressBar, bytes: u64, of: u64) {
    line.set_length(of);
    line.set_position(bytes);
}

impl PutOptions {
    async fn put(&self, client: Client, sent: &mut Option<String>) -> Result<Done, Failure> {
        if self.write.validate_only {
            return Err(Failure::said(Exit::Failed, "an upload has no dry run".to_owned()));
        }
        let mut file =
            File::open(&self.file).await.map_err(|error| unusable(&self.file, &error))?;
        let (size, sha256) = match measure(&mut file).await {
            Ok(measured) => measured,
            Err(error) => return Ok(Err(error)),
        };
        let spec = api::UploadSpec {
            subject: self.common.subject(),
            collection: self.common.collection.clone(),
            key: self.common.key.clone(),
            request_id: self.write.request_id()?,
            size: i64::try_from(size).unwrap_or(i64::MAX),
            sha256: sha256.to_vec().into(),
            attributes: self.attributes.iter().map(attribute::Attribute::to_api).collect(),
            if_version: self.write.if_version,
            etag: self.write.etag.clone(),
            expire_time: self.expiry.expire_time,
            receipt_view: self.write.receipt_view().into(),
            create_subject: self.about.create_subject,
            evidence: self.about.evidence(self.common.json)?,
            findings: Vec::new(),
            participants: self.about.participants(),
        };
        let kept = self.write.prepare()?;
        *sent = Some(spec.request_id.clone());
        let line = progress(LINE);
        let client = self.write.client(client);
        let told = line.clone();
        let done = client.upload(&spec, &mut file, move |bytes| show_progress(&told, bytes, size));
        let done = done.await;
        line.finish_and_clear();
        Ok(done.map(|answer| {
            show::keep(kept, answer.receipt.as_ref())?;
            stored(self.common.json, &answer, &spec)
        }))
    }
}

/// Prints what an upload did.
fn stored(
    json: bool,
    answer: &Written<api::PutRecordResponse>,
    spec: &api::UploadSpec,
) -> Result<(), Failure> {
    let subject = answer.subject.clone().unwrap_or_default();
    if json {
        return say(json!({
            "subject": subject.id,
            "domicile": subject.domicile,
            "version": answer.version,
            "etag": answer.etag,
            "replayed": answer.replayed,
            "size": spec.size,
            "sha256": hex::encode(&spec.sha256),
            "request_id": spec.request_id,
            "proof": show::proof(&answer.proof),
            "receipt": show::receipt(answer.receipt.as_ref()),
        }));
    }
    show::show(&[
        ("done", show::done(false, answer.replayed, "stored").to_owned()),
        ("domicile", subject.domicile),
        ("version", answer.version.to_string()),
        ("etag", answer.etag.clone()),
        ("size", spec.size.to_string()),
        ("sha256", hex::encode(&spec.sha256)),
        ("receipt", show::proven(answer.receipt.as_ref(), &answer.proof)),
    ])
}

impl GetOptions {
    async fn get(&self, client: &Client) -> Result<Done, Failure> {
        let request = api::DownloadAttachmentRequest {
            subject: self.common.subject(),
            collection: self.common.collection.clone(),
            key: self.common.key.clone(),
            offset: self.offset,
            length: self.length,
            etag: self.etag.clone(),
            purpose: self.purpose.clone(),
        };
        if self.out.as_os_str() == "-" {
            let out = File::options().write(true).open(STDOUT).await;
            let mut out = out.map_err(|error| unusable(&self.out, &error))?;
            return Ok(download(client, request, &mut out).await.map(|_| Ok(())));
        }
        // It holds what is about a person: only its owner may read it.
        let mut made = File::options();
        let made = made.write(true).create_new(true).mode(SECRET).open(&self.out).await;
        let mut file = made.map_err(|error| unusable(&self.out, &error))?;
        let done = download(client, request, &mut file).await;
        if done.is_err() {
            // What is there is not what was asked for.
            tokio::fs::remove_file(&self.out).await.ok();
        }
        Ok(done.map(|attachment| what(self.common.json, &attachment)))
    }
}

async fn download(
    client: &Client,
    request: api::DownloadAttachmentRequest,
    out: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<api::AttachmentInfo, Error> {
    let line = progress(LINE);
    let told = line.clone();
    let done = client.download_to(request, out, move |bytes, of| show_progress(&told, bytes, of));
    let done = done.await;
    line.finish_and_clear();
    done
}

impl StatOptions {
    async fn stat(&self, client: &Client) -> Done {
        let request = api::StatAttachmentRequest {
            subject: self.common.subject(),
            collection: self.common.collection.clone(),
            key: self.common.key.clone(),
            purpose: self.purpose.clone(),
        };
        let attachment = client.stat(&request).await?;
        Ok(what(self.common.json, &attachment))
    }
}

impl DeleteOptions {
    async fn delete(&self, client: Client, sent: &mut Option<String>) -> Result<Done, Failure> {
        let request = api::DeleteRecordRequest {
            subject: self.common.subject(),
            collection: self.common.collection.clone(),
            key: self.common.key.clone(),
            request_id: self.write.request_id()?,
            if_version: self.write.if_version,
            etag: self.write.etag.clone(),
            validate_only: self.write.validate_only,
            receipt_view: self.write.receipt_view().into(),
        };
        let kept = self.write.prepare()?;
        *sent = Some(request.request_id.clone());
        let answer = self.write.client(client).delete(&request).await;
        let dry = self.write.validate_only;
        Ok(answer.map(|answer| {
            show::keep(kept, answer.receipt.as_ref())?;
            show::delete(self.common.json, &answer, dry)
        }))
    }
}

/// Prints what an attachment is.
fn what(json: bool, attachment: &api::AttachmentInfo) -> Result<(), Failure> {
    let subject = attachment.subject.clone().unwrap_or_default();
    let expires = attachment.expire_time.as_ref().map(ToString::to_string);
    if json {
        return say(json!({
            "subject": subject.id,
            "domicile": subject.domicile,
            "collection": attachment.collection,
            "key": attachment.key,
            "size": attachment.size,
            "sha256": hex::encode(&attachment.sha256),
            "version": attachment.version,
            "etag": attachment.etag,
            "expire_time": expires.map_or(Value::Null, Value::from),
            "attributes": attribute::json(&attachment.attributes),
        }));
    }
    let mut rows = vec![
        ("domicile", subject.domicile),
        ("size", attachment.size.to_string()),
        ("sha256", hex::encode(&attachment.sha256)),
        ("version", attachment.version.to_string()),
        ("etag", attachment.etag.clone()),
    ];
    rows.extend(expires.map(|time| ("expires", time)));
    if !attachment.attributes.is_empty() {
        rows.push(("attributes", attribute::lines(&attachment.attributes)));
    }
    show::show(&rows)
}
