//! Prints the answers of `bailiwick subject`.

use std::path::Path;

use client::{Proof, Written, api};
use prost_types::Timestamp;
use serde_json::{Map, Value, json};

use crate::commands::record::show::{proof, proven, receipt, ruling, show};
use crate::error::Failure;
use crate::terminal::answers::why;
use crate::terminal::say;

/// Prints what a region holds of a subject.
pub(super) fn subject(json: bool, subject: &api::Subject) -> Result<(), Failure> {
    if json {
        return say(as_json(subject));
    }
    let of = subject.subject.clone().unwrap_or_default();
    let mut rows = vec![("state", state(subject).to_owned()), ("domicile", of.domicile)];
    for (name, value) in [
        ("territory", &subject.territory),
        ("site", &subject.site_address),
        ("operator", &subject.site_operator),
        ("moved to", &subject.moved_to),
    ] {
        if !value.is_empty() {
            rows.push((name, value.clone()));
        }
    }
    for (name, time) in [
        ("since", subject.create_time.as_ref()),
        ("blocked until", subject.block_end_time.as_ref()),
        ("erased", subject.erase_time.as_ref()),
    ] {
        rows.extend(time.map(|time| (name, time.to_string())));
    }
    for finding in &subject.findings {
        rows.push(("known", format!("{} {}", kind(finding.kind), finding.country)));
    }
    for collection in &subject.collections {
        let mut text = format!(
            "{}, {} bytes, since {}",
            records(collection.record_count),
            collection.body_bytes,
            collection.since_time.as_ref().map_or_else(String::new, ToString::to_string),
        );
        for line in collection.ruling.as_ref().map(why).unwrap_or_default() {
            text.push_str(&format!("\n{line}"));
        }
        rows.push((&collection.collection, text));
    }
    for erased in &subject.erased_collections {
        rows.push((
            "erased",
            format!("{}, {}", erased.collection, shown(erased.erase_time.as_ref())),
        ));
    }
    for access in &subject.accesses {
        rows.push(("read", accessed(access)));
    }
    show(&rows)
}

/// A number of records, in words.
fn records(count: i64) -> String {
    if count == 1 { "1 record".to_owned() } else { format!("{count} records") }
}

fn shown(time: Option<&Timestamp>) -> String {
    time.map_or_else(String::new, ToString::to_string)
}

/// Who read how much, when and why.
pub(super) fn accessed(access: &api::SubjectAccess) -> String {
    let api::SubjectAccess { collection, role, caller_tag, territory, purpose, .. } = access;
    let who = match (&**role, &**territory) {
        ("", _) => "others".to_owned(),
        (role, "") => format!("{role} {caller_tag}"),
        (role, territory) => format!("{role} {caller_tag} in {territory}"),
    };
    let (first, last) = (shown(access.first_time.as_ref()), shown(access.last_time.as_ref()));
    let when = if first == last { first } else { format!("{first} to {last}") };
    let why = if purpose.is_empty() { String::new() } else { format!(": {purpose}") };
    format!("{collection}, {} times by {who}, {when}{why}", access.read_count)
}

fn access_json(of: &api::SubjectAccess) -> Value {
    json!({
        "collection": of.collection,
        "role": of.role,
        "caller_tag": of.caller_tag,
        "territory": of.territory,
        "purpose": of.purpose,
        "read_count": of.read_count,
        "first_time": of.first_time.as_ref().map(ToString::to_string),
        "last_time": of.last_time.as_ref().map(ToString::to_string),
    })
}

/// The same as a JSON object.
pub(super) fn as_json(subject: &api::Subject) -> Value {
    let of = subject.subject.clone().unwrap_or_default();
    let mut object = Map::new();
    object.insert("subject".to_owned(), of.id.into());
    object.insert("domicile".to_owned(), of.domicile.into());
    object.insert("state".to_owned(), state(subject).into());
    object.insert("territory".to_owned(), subject.territory.clone().into());
    object.insert("site_address".to_owned(), subject.site_address.clone().into());
    object.insert("site_operator".to_owned(), subject.site_operator.clone().into());
    for (name, time) in [
        ("create_time", &subject.create_time),
        ("block_end_time", &subject.block_end_time),
        ("erase_time", &subject.erase_time),
    ] {
        if let Some(time) = time {
            object.insert(name.to_owned(), time.to_string().into());
        }
    }
    if subject.block_end_time.is_some() {
        object.insert("erase_after_block".to_owned(), subject.erase_after_block.into());
    }
    if !subject.moved_to.is_empty() {
        object.insert("moved_to".to_owned(), subject.moved_to.clone().into());
    }
    if subject.key_generation > 0 {
        object.insert("key_generation".to_owned(), subject.key_generation.into());
    }
    let findings = subject.findings.iter();
    let findings = findings.map(|it| json!({"kind": kind(it.kind), "country": it.country}));
    object.insert("findings".to_owned(), findings.collect());
    let collections = subject.collections.iter().map(collection_json);
    object.insert("collections".to_owned(), collections.collect());
    let erased = subject.erased_collections.iter().map(|it| {
        let time = it.erase_time.as_ref().map(ToString::to_string);
        json!({"collection": it.collection, "erase_time": time})
    });
    object.insert("erased_collections".to_owned(), erased.collect());
    object.insert("accesses".to_owned(), subject.accesses.iter().map(access_json).collect());
    Value::Object(object)
}

fn collection_json(of: &api::SubjectCollection) -> Value {
    json!({
        "collection": of.collection,
        "record_count": of.record_count,
        "body_bytes": of.body_bytes,
        "since_time": of.since_time.as_ref().map(ToString::to_string),
        "next_expire_time": of.next_expire_time.as_ref().map(ToString::to_string),
        "mirrors": of.mirrors,
        "reads_logged": of.reads_logged,
        "ruling": of.ruling.as_ref().map(ruling),
    })
}

/// The word for the state of a subject.
pub(super) fn state(subject: &api::Subject) -> &'static str {
    use api::SubjectState as State;
    match subject.state() {
        State::Unspecified => "unknown",
        State::Live => "live",
        State::Blocked => "blocked",
        State::Moving => "moving",
        State::Moved => "moved",
        State::Erasing => "erasing",
        State::Erased => "erased",
    }
}

/// The word for a kind of evidence.
pub(super) fn kind(number: i32) -> &'static str {
    let kind = u8::try_from(number).ok().and_then(atlas::EvidenceKind::of_number);
    kind.map_or("unknown", atlas::EvidenceKind::as_str)
}

/// Prints where an export lies.
pub(super) fn exported(json: bool, folder: &Path, records: usize) -> Result<(), Failure> {
    if json {
        return say(json!({"folder": folder.display().to_string(), "record_count": records}));
    }
    show(&[
        ("done", "exported".to_owned()),
        ("records", records.to_string()),
        ("folder", folder.display().to_string()),
        ("page", folder.join("index.html").display().to_string()),
    ])
}

/// Prints what an erasure did.
pub(super) fn erased(
    json: bool,
    answer: &Written<api::EraseSubjectResponse>,
    dry: bool,
) -> Result<(), Failure> {
    if json {
        return say(json!({
            "record_count": answer.record_count,
            "replayed": answer.replayed,
            "validated_only": dry,
            "proof": proof(&answer.proof),
            "receipt": receipt(answer.receipt.as_ref()),
        }));
    }
    let done = if dry {
        "dry run: nothing was erased"
    } else if answer.replayed {
        "erased before with this request_id; nothing was done now"
    } else {
        "erased"
    };
    show(&[
        ("done", done.to_owned()),
        ("records", answer.record_count.to_string()),
        ("receipt", proven(answer.receipt.as_ref(), &answer.proof)),
    ])
}

/// What a block, or the end of one, did.
pub(super) struct Changed<'a> {
    pub(super) word: &'static str,
    /// Where nothing was to be done.
    pub(super) unchanged: &'static str,
    pub(super) dry: bool,
    pub(super) replayed: bool,
    pub(super) receipt: Option<&'a api::Receipt>,
    pub(super) proof: &'a Proof,
}

impl Changed<'_> {
    /// Prints it.
    pub(super) fn show(&self, json: bool) -> Result<(), Failure> {
        if json {
            return say(json!({
                "replayed": self.replayed,
                "validated_only": self.dry,
                "proof": proof(self.proof),
                "receipt": receipt(self.receipt),
            }));
        }
        let done = match (self.dry, self.replayed) {
            (true, _) => "dry run: nothing was changed",
            (false, true) => self.unchanged,
            (false, false) => self.word,
        };
        let mut rows = vec![("done", done.to_owned())];
        if self.receipt.is_some() {
            rows.push(("receipt", proven(self.receipt, self.proof)));
        }
        show(&rows)
    }
}

#[cfg(test)]
mod tests {
    use super::records;

    #[test]
    fn one_record_is_no_plural() {
        assert_eq!([0, 1, 2].map(records), ["0 records", "1 record", "2 records"]);
    }
}
