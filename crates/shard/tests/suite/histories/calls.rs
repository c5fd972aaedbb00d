//! The calls of a history, as a session has them, and what their answers say.

#![expect(clippy::panic, reason = "a test that cannot go on fails")]

use atlas::{AttributeName, AttributeValue, RecordAttributes};
use wire::session as proto;
use wire::session::call::Op;
use wire::session::reply::Outcome;

use super::drawn::names;
use super::model::{Attributes, Body, Change, Seen, Told, Value, Write};
use crate::attributes;
use crate::support::{Answer, put_ru, request_id};

/// What is known of a call.
pub(super) enum Known {
    Told(Told),
    /// It was not done.
    Refused,
    Unknown,
}

fn encoded(all: &Attributes) -> bytes::Bytes {
    let mut encoded = RecordAttributes::new();
    for (name, value) in all {
        let value = match value {
            Value::Integer(n) => AttributeValue::Integer(*n),
            Value::Bool(yes) => AttributeValue::Bool(*yes),
            Value::Text(text) => attributes::text(text),
        };
        let name = AttributeName::parse(name).expect("a name");
        encoded.insert(name, value).expect("room");
    }
    encoded.encode().into()
}

fn decoded(bytes: &[u8]) -> Attributes {
    if bytes.is_empty() {
        return Attributes::new();
    }
    let all = RecordAttributes::decode(bytes).expect("attributes");
    let one = |(name, value): (&AttributeName, &AttributeValue)| {
        let known = ["age", "mail", "note", "seen"];
        let name = known.into_iter().find(|own| *own == name.as_str()).expect("a name of ours");
        let texts = ["a@x", "b@x", "", "n"].into_iter();
        let text = |value: &AttributeValue| {
            texts.clone().find(|text| attributes::text(text) == *value).expect("a text of ours")
        };
        let value = match value {
            AttributeValue::Integer(n) => Value::Integer(*n),
            AttributeValue::Bool(yes) => Value::Bool(*yes),
            AttributeValue::String(_) => Value::Text(text(value)),
            AttributeValue::Timestamp(_) => panic!("no history has a timestamp"),
        };
        (name, value)
    };
    all.iter().map(one).collect()
}

pub(super) fn write(record: usize, write: &Write) -> Op {
    let (subject, key) = names(record);
    let collection = "profiles".to_owned();
    let request_id = request_id(write.request).into();
    let if_version = write.if_version.map(u64::cast_signed);
    let etag = write.etag.as_ref().map_or_else(String::new, |(_, etag)| etag.clone());
    let validate_only = write.dry;
    match &write.change {
        Change::Put { body, attributes, expires } => Op::Put(proto::Put {
            if_version,
            etag,
            validate_only,
            attributes: encoded(attributes),
            expire_ms: *expires,
            ..put_ru(&subject, &key, &body.bytes(), write.request)
        }),
        Change::Patch { body, set, remove } => Op::Patch(proto::Patch {
            subject,
            collection,
            key,
            request_id,
            if_version,
            etag,
            validate_only,
            body: body.map(|body| body.bytes().into()),
            attributes: encoded(set),
            remove: remove.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        }),
        Change::Touch { expires } => Op::Touch(proto::Touch {
            subject,
            collection,
            key,
            request_id,
            if_version,
            etag,
            validate_only,
            expire_ms: *expires,
            ..Default::default()
        }),
        Change::Delete => Op::Delete(proto::Delete {
            subject,
            collection,
            key,
            request_id,
            if_version,
            etag,
            validate_only,
            ..Default::default()
        }),
    }
}

pub(super) fn get(record: usize) -> Op {
    let (subject, key) = names(record);
    let collection = "profiles".to_owned();
    Op::Get(proto::Get { subject, collection, key, ..Default::default() })
}

/// What the answer to a write or a get says, and its etag.
pub(super) fn known(answer: Option<Answer>) -> (Known, String) {
    match answer {
        None => (Known::Unknown, String::new()),
        Some(Err(fault)) => (refused(fault.reason), String::new()),
        Some(Ok(Outcome::Written(written))) => {
            let version = written.version.cast_unsigned();
            (Known::Told(Told::Written { version, replayed: written.replayed }), written.etag)
        }
        Some(Ok(Outcome::Found(found))) => {
            let seen = Seen {
                version: found.version.cast_unsigned(),
                body: Some(Body::read(&found.body).expect("a body that was written whole")),
                attributes: decoded(&found.attributes),
                expires: found.expire_ms,
            };
            (Known::Told(Told::Seen(seen)), found.etag)
        }
        Some(Ok(_)) => panic!("another answer than to a write or a get"),
    }
}

/// What a refusal says.
pub(super) fn refused(reason: String) -> Known {
    match reason.as_str() {
        // Nothing was begun.
        "DISK_RESERVE" | "REGION_UNAVAILABLE" | "SHARD_BUSY" | "SHUTTING_DOWN"
        | "DEADLINE_PASSED" => Known::Refused,
        "WRITE_OUTCOME_UNKNOWN" => Known::Unknown,
        _ => Known::Told(Told::Refused(reason)),
    }
}

/// A record of a list.
pub(super) fn listed(record: &proto::ListedRecord) -> Seen {
    Seen {
        version: record.version.cast_unsigned(),
        body: None,
        attributes: decoded(&record.attributes),
        expires: record.expire_ms,
    }
}
