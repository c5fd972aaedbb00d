//! Prints the answers of `bailiwick record`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use client::{Error, Proof, Refused, Written, api};
use link::host::files::NewFile;
use serde_json::{Map, Value, json};
use terms::Rejection;

use crate::commands::record::{PutOptions, attribute, participant};
use crate::error::{Exit, Failure};
use crate::files::fill;
use crate::terminal::answers::{call_failed, refusal_text, why};
use crate::terminal::{say, table};

/// Prints what a put did.
pub(super) fn put(
    json: bool,
    answer: &Written<api::PutRecordResponse>,
    options: &PutOptions,
) -> Result<(), Failure> {
    let subject = answer.subject.clone().unwrap_or_default();
    let dry = options.write.validate_only;
    if json {
        return say(json!({
            "subject": subject.id,
            "domicile": subject.domicile,
            "version": answer.version,
            "etag": answer.etag,
            "replayed": answer.replayed,
            "validated_only": dry,
            "proof": proof(&answer.proof),
            "receipt": receipt(answer.receipt.as_ref()),
            "ruling": answer.ruling.as_ref().map(ruling),
            "unreachable": missing(&answer.unreachable),
        }));
    }
    let mut rows = vec![
        ("done", done(dry, answer.replayed, "stored").to_owned()),
        ("domicile", subject.domicile),
        ("version", answer.version.to_string()),
        ("etag", answer.etag.clone()),
    ];
    if let Some(ruling) = &answer.ruling {
        rows.push(("why", why(ruling).join("\n")));
    }
    rows.push(("receipt", proven(answer.receipt.as_ref(), &answer.proof)));
    for one in &answer.unreachable {
        rows.push(("not asked", format!("{} ({}): it may hold this id", one.region, one.reason)));
    }
    show(&rows)
}

/// Regions that were not reached, and why.
pub(in crate::commands) fn missing(regions: &[api::RegionMissing]) -> Value {
    let one = |one: &api::RegionMissing| json!({"region": one.region, "reason": one.reason});
    regions.iter().map(one).collect()
}

/// Prints a record.
pub(super) fn record(json: bool, record: &api::Record) -> Result<(), Failure> {
    let subject = record.subject.clone().unwrap_or_default();
    let text = str::from_utf8(&record.body).ok();
    if json {
        let mut object = Map::new();
        for (name, value) in [
            ("subject", subject.id),
            ("domicile", subject.domicile),
            ("collection", record.collection.clone()),
            ("key", record.key.clone()),
            ("etag", record.etag.clone()),
        ] {
            object.insert(name.to_owned(), value.into());
        }
        object.insert("version".to_owned(), record.version.into());
        if let Some(api::RecordCopy { region, write_time, copy_time }) = &record.copy {
            let time = |at: &Option<prost_types::Timestamp>| at.as_ref().map(ToString::to_string);
            let (write_time, copy_time) = (time(write_time), time(copy_time));
            let of = json!({"region": region, "write_time": write_time, "copy_time": copy_time});
            object.insert("copy".to_owned(), of);
        }
        content(&mut object, record, true);
        return say(Value::Object(object));
    }
    let body = text.map_or_else(
        || format!("{} bytes that are not text: --json prints them", record.body.len()),
        str::to_owned,
    );
    let mut rows = vec![
        ("domicile", subject.domicile),
        ("version", record.version.to_string()),
        ("etag", record.etag.clone()),
    ];
    if let Some(copy) = &record.copy {
        let written = copy.write_time.as_ref().map(ToString::to_string).unwrap_or_default();
        rows.push(("copy in", format!("{}, as the home wrote it at {written}", copy.region)));
    }
    if !record.attributes.is_empty() {
        rows.push(("attributes", attribute::lines(&record.attributes)));
    }
    if !record.participants.is_empty() {
        rows.push(("participants", participant::line(record)));
    }
    rows.push(("body", body));
    show(&rows)
}

/// Adds the attributes of a record, when it expires, and its body.
pub(in crate::commands) fn content(
    object: &mut Map<String, Value>,
    record: &api::Record,
    body: bool,
) {
    object.insert("attributes".to_owned(), attribute::json(&record.attributes));
    if !record.participants.is_empty() {
        object.insert("participants".to_owned(), participant::json(record));
    }
    if let Some(time) = &record.expire_time {
        object.insert("expire_time".to_owned(), time.to_string().into());
    }
    if body {
        object.insert("body".to_owned(), BASE64_STANDARD.encode(&record.body).into());
        if let Ok(text) = str::from_utf8(&record.body) {
            object.insert("body_utf8".to_owned(), text.into());
        }
    }
}

/// Prints what a touch did.
pub(super) fn touch(
    json: bool,
    answer: &Written<api::TouchRecordResponse>,
    dry: bool,
) -> Result<(), Failure> {
    if json {
        return say(json!({
            "version": answer.version,
            "etag": answer.etag,
            "replayed": answer.replayed,
            "validated_only": dry,
            "proof": proof(&answer.proof),
            "receipt": receipt(answer.receipt.as_ref()),
        }));
    }
    show(&[
        ("done", done(dry, answer.replayed, "the time of expiry was set").to_owned()),
        ("version", answer.version.to_string()),
        ("etag", answer.etag.clone()),
        ("receipt", proven(answer.receipt.as_ref(), &answer.proof)),
    ])
}

/// Prints what a patch did.
pub(super) fn patch(
    json: bool,
    answer: &Written<api::PatchRecordResponse>,
    dry: bool,
) -> Result<(), Failure> {
    if json {
        return say(json!({
            "version": answer.version,
            "etag": answer.etag,
            "replayed": answer.replayed,
            "validated_only": dry,
            "proof": proof(&answer.proof),
            "receipt": receipt(answer.receipt.as_ref()),
            "ruling": answer.ruling.as_ref().map(ruling),
        }));
    }
    show(&[
        ("done", done(dry, answer.replayed, "changed").to_owned()),
        ("version", answer.version.to_string()),
        ("etag", answer.etag.clone()),
        ("receipt", proven(answer.receipt.as_ref(), &answer.proof)),
    ])
}

/// Prints what a delete did.
pub(in crate::commands) fn delete(
    json: bool,
    answer: &Written<api::DeleteRecordResponse>,
    dry: bool,
) -> Result<(), Failure> {
    if json {
        return say(json!({
            "version": answer.version,
            "replayed": answer.replayed,
            "validated_only": dry,
            "proof": proof(&answer.proof),
            "receipt": receipt(answer.receipt.as_ref()),
            "copied_in": answer.copied_in,
        }));
    }
    let mut lines = vec![
        ("done", done(dry, answer.replayed, "deleted").to_owned()),
        ("version", answer.version.to_string()),
        ("receipt", proven(answer.receipt.as_ref(), &answer.proof)),
    ];
    if !answer.copied_in.is_empty() {
        lines.push(("copies", format!("may still be in {}", answer.copied_in.join(", "))));
    }
    show(&lines)
}

/// What a failed call says.
pub(in crate::commands) fn error(json: bool, gateway: &str, error: &Error) -> String {
    if json { as_object(gateway, error).to_string() } else { as_text(gateway, error) }
}

/// The same of a write. If it may be sent again, with its request id: one that was drawn here is told
/// nowhere else.
pub(in crate::commands) fn write_error(
    json: bool,
    gateway: &str,
    error: &Error,
    request_id: &str,
) -> String {
    if error.refused().is_some_and(|refused| !refused.retryable) {
        return self::error(json, gateway, error);
    }
    if !json {
        let text = as_text(gateway, error);
        return format!(
            "{text}\n  request_id: {request_id} (to send the same again: --request-id)"
        );
    }
    let mut object = as_object(gateway, error);
    if let Some(error) = object.get_mut("error").and_then(Value::as_object_mut) {
        error.insert("request_id".to_owned(), request_id.into());
    }
    object.to_string()
}

/// What was refused, or why nothing was answered.
fn as_text(gateway: &str, error: &Error) -> String {
    refused(error).map_or_else(|| call_failed(gateway, error), |refused| refusal_text(&refused))
}

fn as_object(gateway: &str, error: &Error) -> Value {
    let other = || json!({"error": {"message": call_failed(gateway, error)}});
    refused(error).map_or_else(other, |refused| refusal(&refused))
}

fn refused(error: &Error) -> Option<Refused> {
    let mut refused = error.refused()?.clone();
    if matches!(error, Error::NotFollowed { .. }) {
        // What the gateway said, and why the body did not go where it belongs.
        refused.message = format!("{}; {error}", refused.message);
    }
    Some(refused)
}

/// The same for what was not even sent.
pub(super) fn fault(json: bool, fault: &Rejection) -> String {
    let refused = Refused {
        reason: fault.reason.as_str().to_owned(),
        message: fault.message(),
        field: fault.field.as_deref().map(str::to_owned),
        cure: Some(fault.cure_text().to_owned()),
        call_id: None,
        metadata: std::collections::BTreeMap::new(),
        retry_after: None,
        retryable: false,
    };
    if json { refusal(&refused).to_string() } else { refusal_text(&refused) }
}

fn refusal(refused: &Refused) -> Value {
    json!({"error": {
        "reason": refused.reason,
        "message": refused.message,
        "field": refused.field,
        "cure": refused.cure,
        "call_id": refused.call_id,
        "metadata": refused.metadata,
    }})
}

pub(in crate::commands) fn show(rows: &[(&str, String)]) -> Result<(), Failure> {
    let mut table = table(&[]);
    for (name, value) in rows {
        table.add_row([*name, value]);
    }
    say(table)
}

pub(in crate::commands) const fn done(
    dry: bool,
    replayed: bool,
    word: &'static str,
) -> &'static str {
    if dry {
        "dry run: nothing was stored"
    } else if replayed {
        "executed before with this request_id; nothing was done now"
    } else {
        word
    }
}

/// A receipt as `bailiwick audit receipt` reads it.
pub(in crate::commands) fn receipt(receipt: Option<&api::Receipt>) -> Value {
    let encode = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    receipt.map_or(Value::Null, |receipt| {
        json!({
            "origin": receipt.origin,
            "index": receipt.index,
            "entry": encode(&receipt.entry),
            "opening": encode(&receipt.opening),
            "statement": encode(&receipt.statement),
            "tlog_proof": receipt.tlog_proof,
        })
    })
}

/// Writes a receipt into the file that was prepared before the call. What was done cannot be done again,
/// so a receipt that cannot be written is printed.
pub(in crate::commands) fn keep(
    file: Option<NewFile>,
    kept: Option<&api::Receipt>,
) -> Result<(), Failure> {
    let (Some(file), Some(given)) = (file, kept) else { return Ok(()) };
    if given.opening.is_empty() {
        // What opens the entry is kept nowhere.
        let path = file.path().display();
        let what = "what was asked for was done before, and its receipt is not given again";
        return Err(Failure::said(Exit::Failed, format!("{what}: {path} was not written")));
    }
    let text = format!("{:#}", receipt(kept));
    fill(file, &format!("{text}\n")).or_else(|failure| {
        say(&text)?;
        let what = "what was asked for is done, and its receipt is on standard output";
        Err(Failure::said(failure.exit, format!("{failure}; {what}")))
    })
}

/// The word for what shows that a write was done; none where nothing was written.
pub(in crate::commands) const fn proof(proof: &Proof) -> Option<&'static str> {
    match proof {
        Proof::Receipt(_) => Some("receipt"),
        Proof::Unproven => Some("unproven"),
        Proof::DryRun => None,
    }
}

/// The client has checked it before this is said.
pub(in crate::commands) fn proven(receipt: Option<&api::Receipt>, proof: &Proof) -> String {
    let of = receipt.map_or_else(String::new, |r| format!("{} entry {}", r.origin, r.index));
    match proof {
        Proof::Receipt(_) => format!("{of}, checked against the request"),
        Proof::Unproven => format!("{of}; not given again: by the gateway's word only"),
        Proof::DryRun => "none: nothing was stored".to_owned(),
    }
}

pub(in crate::commands) fn ruling(ruling: &api::Ruling) -> Value {
    let jurisdictions: Vec<&str> = jurisdictions(ruling);
    let mut object = Map::new();
    object.insert("jurisdictions".to_owned(), jurisdictions.into());
    if let Some(api::ruling::Outcome::Placement(placement)) = &ruling.outcome {
        object.insert("region".to_owned(), placement.region.clone().into());
        object.insert("mirrors".to_owned(), placement.mirrors.clone().into());
        object.insert("clauses".to_owned(), placement.clauses.clone().into());
    }
    object.insert("reasons".to_owned(), why(ruling).into());
    object.insert("map_epoch".to_owned(), ruling.map_epoch.into());
    Value::Object(object)
}

fn jurisdictions(ruling: &api::Ruling) -> Vec<&str> {
    let mut all: Vec<&str> = ruling.attachments.iter().map(|a| a.jurisdiction.as_str()).collect();
    all.sort_unstable();
    all.dedup();
    all
}
