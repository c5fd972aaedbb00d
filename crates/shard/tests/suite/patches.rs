//! Patches: what they do not name stays, whatever has happened to the record before.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use atlas::{AttributeName, AttributeValue, RecordAttributes};
use ledger::entry::Kind;
use wire::session as proto;

use crate::attributes::{attributes, list, map, patch, put_with, text};
use crate::expiry::{LATER, started_with};
use crate::support::{Session, put_ru, request_id};

fn names(all: &[&str]) -> Vec<AttributeName> {
    all.iter().map(|name| AttributeName::parse(name).unwrap()).collect()
}

fn none() -> RecordAttributes {
    RecordAttributes::new()
}

fn age(n: i64) -> (&'static str, AttributeValue) {
    ("age", AttributeValue::Integer(n))
}

fn refused(answer: Result<proto::Written, String>) -> String {
    answer.err().unwrap()
}

async fn keys(session: &mut Session, filter: &str) -> Vec<String> {
    let page = session.list(list(filter)).await.map_err(|fault| fault.problem).unwrap();
    page.records.into_iter().map(|record| record.key).collect()
}

fn receipt(written: &proto::Written) -> ledger::Receipt {
    ledger::Receipt {
        origin: "sample/ru-msk/s1/1".into(),
        index: written.index,
        entry: written.entry.to_vec(),
        opening: written.opening.as_ref().try_into().unwrap(),
        statement: written.statement.to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_patch_does_not_name_stays() {
    let (_place, _clock, shard, mut session) = started_with(map()).await;
    for (n, body) in [(1, vec![b'x'; 10]), (2, vec![b'x'; 100_000])] {
        let key = format!("k{n}");
        let put = put_with("anna", &key, n, &[age(7), ("note", text("tea"))]);
        let put = proto::Put { body: body.clone().into(), expire_ms: LATER, ..put };
        let first = session.put(put).await.unwrap();
        // Attributes alone: the body is the same, and the receipt commits to it.
        let set = attributes(&[age(8), ("mail", text("a@x"))]);
        let asked = patch("anna", &key, 10 + n, &set, &names(&["note", "seen"]));
        let dry = proto::Patch { validate_only: true, ..asked.clone() };
        let dry = session.patch(dry).await.unwrap();
        assert_eq!((dry.version, dry.entry.len()), (2, 0));
        assert_eq!(session.get("anna", "profiles", &key).await.unwrap().version, 1);
        let written = session.patch(asked.clone()).await.unwrap();
        assert_eq!((written.version, written.replayed), (2, false));
        let entry = receipt(&written).check(Some(&body)).unwrap();
        assert_eq!((entry.kind, entry.earlier), (Kind::Replace, Some(first.index)));
        assert!(!entry.statutes.is_empty() && !written.ruling.is_empty());
        let found = session.get("anna", "profiles", &key).await.unwrap();
        assert_eq!((found.version, &*found.body), (2, body.as_slice()));
        assert_eq!((found.expire_ms, &found.etag), (LATER, &written.etag));
        assert_eq!(found.attributes, set.encode());
        // The body alone.
        let asked_body = patch("anna", &key, 20 + n, &none(), &[]);
        let asked_body = proto::Patch { body: Some(b"new".as_slice().into()), ..asked_body };
        let third = session.patch(asked_body.clone()).await.unwrap();
        assert_eq!(receipt(&third).check(Some(b"new")).unwrap().kind, Kind::Replace);
        let found = session.get("anna", "profiles", &key).await.unwrap();
        assert_eq!((found.version, &*found.body), (3, b"new".as_slice()));
        assert_eq!((found.expire_ms, found.attributes), (LATER, set.encode().into()));
        // Each of them again: of the newest the whole answer, of one before it version and index.
        let again = session.patch(asked_body.clone()).await.unwrap();
        assert_eq!((again.version, again.replayed, again.entry), (3, true, third.entry));
        let again = session.patch(asked).await.unwrap();
        assert_eq!((again.version, again.replayed, again.index), (2, true, written.index));
        let empty = proto::Patch { body: Some(vec![].into()), ..asked_body.clone() };
        assert_eq!(refused(session.patch(empty).await), "REQUEST_ID_REUSED");
        let kept = proto::Patch { body: None, ..asked_body };
        assert_eq!(refused(session.patch(kept).await), "REQUEST_ID_REUSED");
    }
    assert_eq!(keys(&mut session, "age = 8 AND mail = \"a@x\"").await.len(), 2);
    assert_eq!(keys(&mut session, "age = 7").await.len(), 0);
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_is_refused_changes_nothing() {
    let (place, clock, shard, mut session) = started_with(map()).await;
    session.put(put_with("anna", "main", 1, &[age(7)])).await.unwrap();
    let set = |of: &[(&str, AttributeValue)]| patch("anna", "main", 2, &attributes(of), &[]);
    for (asked, reason) in [
        (patch("anna", "other", 2, &attributes(&[age(1)]), &[]), "RECORD_NOT_FOUND"),
        (patch("nobody", "main", 2, &attributes(&[age(1)]), &[]), "SUBJECT_UNKNOWN"),
        (proto::Patch { if_version: Some(2), ..set(&[age(1)]) }, "VERSION_MISMATCH"),
        (proto::Patch { if_version: Some(0), ..set(&[age(1)]) }, "RECORD_EXISTS"),
        (proto::Patch { etag: "\"1-00\"".into(), ..set(&[age(1)]) }, "VERSION_MISMATCH"),
        (set(&[("age", text("old"))]), "ATTRIBUTE_INVALID"),
        (set(&[("size", AttributeValue::Integer(1))]), "ATTRIBUTE_UNKNOWN"),
        (patch("anna", "main", 2, &none(), &names(&["size"])), "ATTRIBUTE_UNKNOWN"),
        (patch("anna", "main", 2, &attributes(&[age(1)]), &names(&["age"])), "FIELD_INVALID"),
        (proto::Patch { remove: vec!["A b".into()], ..set(&[]) }, "FIELD_INVALID"),
        (proto::Patch { remove: vec!["age".into(); 33], ..set(&[]) }, "FIELD_INVALID"),
        (proto::Patch { attributes: vec![1; 9].into(), ..set(&[]) }, "FIELD_INVALID"),
        (proto::Patch { body: Some(vec![0; (1 << 20) + 1].into()), ..set(&[]) }, "BODY_TOO_LARGE"),
        (proto::Patch { request_id: vec![1].into(), ..set(&[]) }, "FIELD_INVALID"),
        (proto::Patch { request_id: request_id(1).into(), ..set(&[]) }, "REQUEST_ID_REUSED"),
    ] {
        let dry = proto::Patch { validate_only: true, ..asked.clone() };
        assert_eq!(refused(session.patch(asked).await), reason);
        assert_eq!(refused(session.patch(dry).await), reason);
    }
    let found = session.get("anna", "profiles", "main").await.unwrap();
    assert_eq!((found.version, &*found.body), (1, b"body".as_slice()));
    // A record whose time has come is not there any more, nor is one that is deleted.
    let put = proto::Put { expire_ms: LATER, ..put_ru("anna", "ends", b"x", 3) };
    session.put(put).await.unwrap();
    clock.set(&place, LATER);
    let late = patch("anna", "ends", 4, &attributes(&[age(1)]), &[]);
    assert_eq!(refused(session.patch(late).await), "RECORD_NOT_FOUND");
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_has_no_more_than_32_attributes_after_a_patch() {
    let mut declared = String::from("reads = \"counted\"\n");
    for n in 0..32 {
        declared.push_str(&format!(
            "\n[[collections.attributes]]\nname = \"n{n}\"\ntype = \"integer\"\n"
        ));
    }
    let before = crate::support::MAP.replacen("reads = \"counted\"\n", &declared, 1);
    let (mut place, _clock, shard, mut session) = started_with(before.clone()).await;
    let all: Vec<(String, AttributeValue)> =
        (0..32).map(|n| (format!("n{n}"), AttributeValue::Integer(n))).collect();
    let all: Vec<(&str, AttributeValue)> =
        all.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    session.put(put_with("anna", "main", 1, &all)).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();
    // The next map declares one of them no more, and another instead.
    let digest = place.map().epoch().digest;
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    place.map = before.replacen("\"n0\"", "\"other\"", 1).replacen(
        "version = 1\n",
        &format!("version = 2\npredecessor = \"sha256:{hex}\"\n"),
        1,
    );
    let shard = place.start().await;
    let mut session = shard.session().await;
    let other = attributes(&[("other", AttributeValue::Integer(1))]);
    let one_more = patch("anna", "main", 2, &other, &[]);
    assert_eq!(refused(session.patch(one_more).await), "TOO_MANY_ITEMS");
    // What stays may be one that the map does not declare; and it can be removed, if it is there.
    let set = attributes(&[("n1", AttributeValue::Integer(-1))]);
    session.patch(patch("anna", "main", 3, &set, &[])).await.unwrap();
    let found = session.get("anna", "profiles", "main").await.unwrap();
    assert_eq!(RecordAttributes::decode(&found.attributes).unwrap().len(), 32);
    session.patch(patch("anna", "main", 4, &other, &names(&["n0"]))).await.unwrap();
    let found = session.get("anna", "profiles", "main").await.unwrap();
    let found = RecordAttributes::decode(&found.attributes).unwrap();
    assert_eq!((found.len(), found.get(&names(&["n0"])[0]).is_none()), (32, true));
    let again = patch("anna", "main", 5, &other, &names(&["n0"]));
    assert_eq!(refused(session.patch(again).await), "ATTRIBUTE_UNKNOWN");
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_puts_and_deletions_in_one_frame_see_each_other() {
    let (_place, _clock, shard, mut session) = started_with(map()).await;
    session.put(put_with("anna", "main", 1, &[age(0)])).await.unwrap();
    let mut calls = Vec::new();
    for n in 0..40_u64 {
        let of = i64::try_from(n).unwrap();
        let op = match n % 4 {
            0 => proto::call::Op::Put(put_with("anna", "main", 100 + n, &[age(of)])),
            1 => {
                let set = attributes(&[("mail", text("a@x"))]);
                proto::call::Op::Patch(patch("anna", "main", 100 + n, &set, &[]))
            }
            2 => {
                let new = patch("anna", "main", 100 + n, &none(), &[]);
                let body = Some(n.to_be_bytes().to_vec().into());
                proto::call::Op::Patch(proto::Patch { body, ..new })
            }
            _ => {
                let gone = names(&["mail"]);
                proto::call::Op::Patch(patch("anna", "main", 100 + n, &none(), &gone))
            }
        };
        calls.push(session.wrap(op));
    }
    let ids: Vec<u64> = calls.iter().map(|call| call.id).collect();
    session.send(calls).await;
    for id in ids {
        assert!(session.answer(id).await.unwrap().is_ok());
    }
    let found = session.get("anna", "profiles", "main").await.unwrap();
    assert_eq!((found.version, &*found.body), (41, 38_u64.to_be_bytes().as_slice()));
    assert_eq!(found.attributes, attributes(&[age(36)]).encode());
    assert_eq!(keys(&mut session, "age = 36").await, ["main"]);
    assert_eq!(keys(&mut session, "mail = \"a@x\"").await.len(), 0);
    drop(session);
    shard.stop().await.unwrap();
}
