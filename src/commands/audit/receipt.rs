//! `audit receipt`: verifies a receipt offline, with the log's key only.

use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use ledger::note::Verifier;
use ledger::tlog_proof::EXTRA_BYTES_MAX;
use ledger::{Checkpoint, Entry, Receipt};
use serde_json::{Value, json};
use terms::limits::BODY_BYTES_MAX;
use terms::with_causes;

use crate::commands::audit::inputs::wrong;
use crate::error::{Exit, Failure};
use crate::files::{bytes_within, text_within};
use crate::terminal::{say, table};

/// Bytes of a receipt's file at the most: entry, statement and proof in base64 fit many times.
const RECEIPT_BYTES_MAX: usize = 4 << 20;
/// Bytes of a key's file at the most.
const KEY_BYTES_MAX: usize = 1024;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The log's public key, as the region's operators gave it, or as `audit mirror` shows it
    #[arg(long, value_name = "VKEY", required_unless_present = "key_file")]
    key: Option<String>,
    /// File with the log's public key, such as a mirror's `vkey`
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    key_file: Option<PathBuf>,
    /// The record's body as it was sent, to compare too
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// C2SP tlog-proof [default: the receipt's `tlog_proof`]
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Receipt that `record put --receipt FILE` wrote or `record put --json` printed
    #[arg(value_name = "FILE")]
    receipt: PathBuf,
}

/// Checks a receipt. Nothing of the statement is printed: it names a person.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let (receipt, kept) = read(options)?;
    let key = match (&options.key, &options.key_file) {
        (Some(key), _) => key.clone(),
        (None, Some(path)) => text_within(path, KEY_BYTES_MAX)?,
        (None, None) => String::new(),
    };
    let key = Verifier::from_vkey(key.trim())
        .map_err(|error| Failure::said(Exit::Config, format!("the key: {error}")))?;
    let body = options.body.as_ref().map(|path| bytes_within(path, BODY_BYTES_MAX)).transpose()?;
    let proof = match &options.proof {
        Some(path) => Some(text_within(path, ledger::note::NOTE_BYTES_MAX + 2 * EXTRA_BYTES_MAX)?),
        None => kept,
    };
    let Some(proof) = proof else {
        receipt.check(body.as_deref()).map_err(|error| refused(options, &error))?;
        return Err(wrong(format!(
            "{}: the entry commits to the receipt's content, but nothing shows that the log has \
             the entry: there is no tlog_proof. Request one with the receipt, or pass --proof",
            options.receipt.display()
        )));
    };
    let (entry, at) =
        receipt.verify(&proof, &key, body.as_deref()).map_err(|error| refused(options, &error))?;
    show(options, &receipt, &entry, &at)
}

fn show(
    options: &Options,
    receipt: &Receipt,
    entry: &Entry,
    at: &Checkpoint,
) -> Result<(), Failure> {
    let body = if options.body.is_some() { "matches the recorded one" } else { "not given" };
    if options.json {
        return say(json!({
            "valid": true, "origin": receipt.origin, "index": receipt.index,
            "body_checked": options.body.is_some(),
            "checkpoint": {"size": at.size, "root": at.root.to_base64()},
            "entry": audit::entries::json(receipt.index, entry),
        }));
    }
    let mut rows = table(&[]);
    for (name, value) in [
        ("receipt", "is valid".to_owned()),
        ("log", receipt.origin.clone()),
        ("entry", format!("{} of {} that were signed", receipt.index, at.size)),
        ("says", entry.to_string()),
        ("body", body.to_owned()),
    ] {
        rows.add_row([name.to_owned(), value]);
    }
    say(rows)
}

fn refused(options: &Options, error: &ledger::receipt::Error) -> Failure {
    wrong(format!("{}: {}", options.receipt.display(), with_causes(error)))
}

/// The receipt in the file, and the proof that it holds.
fn read(options: &Options) -> Result<(Receipt, Option<String>), Failure> {
    let path = &options.receipt;
    let malformed = |what: &str| {
        Failure::said(Exit::Config, format!("{}: is not a receipt: {what}", path.display()))
    };
    let file = text_within(path, RECEIPT_BYTES_MAX)?;
    let file: Value =
        serde_json::from_str(&file).map_err(|_| malformed("it is not one JSON object"))?;
    let value = file.get("receipt").unwrap_or(&file);
    let member = |name: &str| value.get(name).and_then(Value::as_str);
    let decoded = |name: &str| {
        let bytes = member(name).and_then(|text| BASE64_STANDARD.decode(text).ok());
        bytes.ok_or_else(|| malformed(&format!("`{name}` is missing, or is not base64")))
    };
    let opening = decoded("opening")?;
    let receipt = Receipt {
        origin: member("origin").ok_or_else(|| malformed("`origin` is missing"))?.to_owned(),
        index: value
            .get("index")
            .and_then(Value::as_u64)
            .ok_or_else(|| malformed("`index` is missing"))?,
        entry: decoded("entry")?,
        opening: opening.try_into().map_err(|_| malformed("`opening` is not 32 bytes"))?,
        statement: decoded("statement")?,
    };
    let proof = member("tlog_proof").filter(|proof| !proof.is_empty()).map(str::to_owned);
    Ok((receipt, proof))
}
