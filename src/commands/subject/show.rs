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
        ("chosen region", &subject.chosen_region),
    ] {
        if !value.is_empty() {
            rows.push((name, value.clone()));
        }
    }
    for (name, time) in [
        ("since", subject.create_time.as_ref()),
        ("blocked until", subject.block_end_time.as_ref()),
        ("erased", subject.erase_time.as_ref()),
        ("keys rotated", subject.key_rotate_time.as_ref()),
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
        for own in &collection.erasure_terms {
            text.push_str(&format!("\nif asked now, erase on {}", term(own)));
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

/// The grounds of erasure, by their words.
pub(super) const GROUNDS: [(&str, api::ErasureGround); 4] = [
    ("unlawful", api::ErasureGround::Unlawful),
    ("purpose-reached", api::ErasureGround::PurposeReached),
    ("consent-withdrawn", api::ErasureGround::ConsentWithdrawn),
    ("demand", api::ErasureGround::Demand),
];

fn ground(term: &api::ErasureTerm) -> &'static str {
    let known = GROUNDS.iter().find(|(_, ground)| *ground == term.ground());
    known.map_or("unknown", |(word, _)| *word)
}

/// By when a law wants data erased, and how sure that is.
pub(super) fn term(term: &api::ErasureTerm) -> String {
    let api::ErasureTerm { statute, citation, verified, .. } = term;
    let (due, sure) = (shown(term.due_time.as_ref()), sureness(verified));
    format!("{}: by {due} under {statute} ({citation}; {sure})", ground(term))
}

/// How well a term of a law was verified, in words.
fn sureness(verified: &str) -> &str {
    match verified {
        "seen" => "seen in a public page",
        "weak" => "seen in part, or in a weak source",
        "memory" => "not looked up: check it before you rely on it",
        word => word,
    }
}

fn term_json(of: &api::ErasureTerm) -> Value {
    json!({
        "statute": of.statute,
        "ground": ground(of),
        "due_time": of.due_time.as_ref().map(ToString::to_string),
        "says": of.says,
        "citation": of.citation,
        "verified": of.verified,
    })
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
    let count = match (access.kind(), access.read_count) {
        (api::AccessKind::Pages, 1) => "in pages of the collection on 1 day".to_owned(),
        (api::AccessKind::Pages, days) => format!("in pages of the collection on {days} days"),
        (api::AccessKind::Records | api::AccessKind::Unspecified, 1) => "once".to_owned(),
        (api::AccessKind::Records | api::AccessKind::Unspecified, n) => format!("{n} times"),
    };
    format!("{collection}, {count} by {who}, {when}{why}")
}

/// The word for how records were read.
fn access_kind(of: &api::SubjectAccess) -> &'static str {
    match of.kind() {
        api::AccessKind::Unspecified => "unknown",
        api::AccessKind::Records => "records",
        api::AccessKind::Pages => "pages",
    }
}

fn access_json(of: &api::SubjectAccess) -> Value {
    json!({
        "collection": of.collection,
        "kind": access_kind(of),
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
        ("key_rotate_time", &subject.key_rotate_time),
    ] {
        if let Some(time) = time {
            object.insert(name.to_owned(), time.to_string().into());
        }
    }
    if subject.block_end_time.is_some() {
        object.insert("erase_after_block".to_owned(), subject.erase_after_block.into());
    }
    if !subject.chosen_region.is_empty() {
        object.insert("chosen_region".to_owned(), subject.chosen_region.clone().into());
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
        "erasure_terms": of.erasure_terms.iter().map(term_json).collect::<Vec<_>>(),
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
            "terms": answer.terms.iter().map(term_json).collect::<Vec<_>>(),
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
    let mut rows = vec![("done", done.to_owned()), ("records", answer.record_count.to_string())];
    rows.extend(answer.terms.iter().map(|own| ("due", term(own))));
    rows.push(("receipt", proven(answer.receipt.as_ref(), &answer.proof)));
    show(&rows)
}

/// Prints what a rotation of keys did.
pub(super) fn key_rotated(
    json: bool,
    answer: &Written<api::RotateSubjectKeyResponse>,
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
        "dry run: nothing was changed"
    } else if answer.replayed {
        "rotated before with this request_id; nothing was done now"
    } else {
        "rotated"
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
    use super::{records, sureness};

    #[test]
    fn one_record_is_no_plural() {
        assert_eq!([0, 1, 2].map(records), ["0 records", "1 record", "2 records"]);
    }

    #[test]
    fn how_sure_a_term_of_law_is_stands_in_plain_words() {
        for verified in atlas::Verified::ALL.iter().filter(|one| one.is_of_law()) {
            let word = verified.as_str();
            assert_ne!(sureness(word), word);
        }
        assert!(sureness("memory").starts_with("not looked up"));
    }
}
