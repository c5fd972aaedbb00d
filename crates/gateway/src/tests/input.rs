//! Bad input: each with its reason and the path of its field, and nothing of it in the answer.

use std::sync::LazyLock;

use terms::{CallId, Reason, Rejection};
use tokio::time::Instant;
use wire::v1;

use super::rig::*;
use crate::api::refusal;
use crate::api::request::Put;
use crate::{Gateway, Scope};

/// Stands for personal data: it may be sent in any field, and comes back in none.
const MARKER: &str = "Marker-anna.k-4711";

fn marked() -> v1::PutRecordRequest {
    let mut request = put_from("KZ");
    request.subject = Some(v1::SubjectRef { id: MARKER.to_owned(), domicile: String::new() });
    request.key = MARKER.to_owned();
    request.body = MARKER.into();
    request
}

/// One for all tests: numbering plans take a while to load.
fn gateway() -> &'static Gateway {
    static GATEWAY: LazyLock<Gateway> =
        LazyLock::new(|| super::rig::gateway(&[], 8, link::ops::health::Health::new()));
    &GATEWAY
}

/// The rejection of a read; it and what the caller would read of it hold nothing of the request.
fn rejection<T>(read: Result<T, Rejection>) -> Rejection {
    let Err(rejection) = read else { panic!("it was taken") };
    let status = refusal::status(&rejection, CallId(1));
    let seen =
        format!("{rejection:?}{rejection}{status:?}{}", String::from_utf8_lossy(status.details()));
    assert!(!seen.contains("arker") && !seen.contains("4711"), "{seen}");
    rejection
}

/// What a put that was changed so is refused with.
#[track_caller]
fn check(change: impl FnOnce(&mut v1::PutRecordRequest), want: Reason, field: &str) {
    let gateway = gateway();
    let mut request = marked();
    change(&mut request);
    let rejection = rejection(gateway.ctx.pin().reader(&caller()).put(request));
    assert_eq!((rejection.reason, rejection.field.as_deref()), (want, Some(field)));
}

fn subject(request: &mut v1::PutRecordRequest) -> &mut v1::SubjectRef {
    request.subject.as_mut().unwrap()
}

#[test]
fn each_field_of_a_put_is_checked() {
    use Reason::*;
    check(|r| r.subject = None, FieldMissing, "subject");
    check(|r| subject(r).id.clear(), FieldMissing, "subject.id");
    check(|r| subject(r).id = format!("{MARKER}\n"), FieldInvalid, "subject.id");
    check(|r| subject(r).id = MARKER.repeat(600), FieldInvalid, "subject.id");
    check(|r| subject(r).domicile = MARKER.to_owned(), FieldInvalid, "subject.domicile");
    check(|r| r.collection.clear(), FieldMissing, "collection");
    check(|r| r.collection = MARKER.to_owned(), FieldInvalid, "collection");
    check(|r| r.collection = "letters".to_owned(), CollectionUnknown, "collection");
    check(|r| r.key.clear(), FieldMissing, "key");
    check(|r| r.key = format!("{MARKER}\u{7f}"), FieldInvalid, "key");
    check(|r| r.key = MARKER.repeat(20), FieldInvalid, "key");
    check(|r| r.request_id.clear(), FieldMissing, "request_id");
    check(|r| r.request_id = MARKER.to_owned(), FieldInvalid, "request_id");
    check(|r| r.if_version = Some(-1), FieldInvalid, "if_version");
    check(|r| r.etag = format!("{MARKER} "), FieldInvalid, "etag");
    check(|r| r.etag = MARKER.repeat(5), FieldInvalid, "etag");
    check(|r| r.body = vec![b'M'; (1 << 20) + 1].into(), BodyTooLarge, "body");
}

#[test]
fn each_piece_of_evidence_is_checked() {
    use Reason::*;
    use v1::EvidenceKind::{Citizenship, Ip, Phone, Residence, Sim};
    let third = |kind: i32, value: &str| {
        let value = value.to_owned();
        move |r: &mut v1::PutRecordRequest| {
            r.evidence.push(v1::Evidence { kind, value, observe_time: None });
        }
    };
    for kind in [0, -1, 8, 263, i32::MAX] {
        check(third(kind, MARKER), EvidenceKindUnknown, "evidence[2].kind");
    }
    check(third(Phone.into(), ""), FieldMissing, "evidence[2].value");
    for kind in [Citizenship, Residence, Ip, Phone, Sim] {
        check(third(kind.into(), MARKER), EvidenceMalformed, "evidence[2].value");
        check(third(kind.into(), &MARKER.repeat(9)), EvidenceMalformed, "evidence[2].value");
    }
    check(third(Residence.into(), "XX"), EvidenceMalformed, "evidence[2].value");
    check(third(Residence.into(), "kz"), EvidenceMalformed, "evidence[2].value");

    let finding = |kind: i32, country: &str| v1::Finding { kind, country: country.to_owned() };
    let odd = finding(9, "KZ");
    check(|r| r.findings = vec![odd], EvidenceKindUnknown, "findings[0].kind");
    let empty = finding(1, "");
    check(|r| r.findings = vec![empty], FieldMissing, "findings[0].country");
    let bad = [finding(1, "KZ"), finding(1, MARKER)];
    check(|r| r.findings = bad.to_vec(), EvidenceMalformed, "findings[1].country");

    let many = |n| vec![evidence(Phone, MARKER); n];
    check(|r| r.evidence = many(10_000), TooManyItems, "evidence");
    check(|r| r.findings = vec![finding(1, MARKER); 63], TooManyItems, "findings");
    check(|r| r.evidence = many(65), TooManyItems, "evidence");
}

#[test]
fn too_many_items_name_the_limit() {
    let gateway = gateway();
    let mut request = marked();
    request.evidence = vec![evidence(v1::EvidenceKind::Sim, "401"); 65];
    let rejection = rejection(gateway.ctx.pin().reader(&caller()).put(request));
    assert_eq!(rejection.detail(terms::Detail::Limit), Some("64"));
}

#[test]
fn a_good_put_is_taken_as_it_is() {
    let gateway = gateway();
    let caller = caller();
    let pinned = gateway.ctx.pin();
    let reader = pinned.reader(&caller);
    let put: Put = reader.put(marked()).map_err(|rejection| rejection.message()).unwrap();
    assert_eq!(put.target.subject.expose(), MARKER);
    assert!(put.create_subject && put.given.any && !put.given.by_phone);
    // Evidence that says nothing for certain is evidence all the same.
    let mut request = marked();
    request.evidence = vec![evidence(v1::EvidenceKind::Sim, "999")];
    let put = reader.put(request).map_err(|rejection| rejection.message()).unwrap();
    assert!(put.given.any && put.given.findings.is_empty() && !put.given.encode().is_empty());
    // Giving nothing at all is another case.
    let mut request = marked();
    (request.evidence, request.create_subject) = (Vec::new(), false);
    let put = reader.put(request).map_err(|rejection| rejection.message()).unwrap();
    assert!(!put.given.any && put.given.encode().is_empty());
}

/// What the whole path answers to a put, short of a shard.
async fn answer(request: v1::PutRecordRequest) -> Rejection {
    let gateway = gateway();
    let deadline = Instant::now() + std::time::Duration::from_secs(60);
    let admitted = admitted(&gateway.ctx, caller());
    rejection(crate::api::put::put(&gateway.ctx, &admitted, deadline, request).await.map(|_| ()))
}

#[tokio::test]
async fn where_a_put_goes_is_known_or_it_goes_nowhere() {
    let mut nothing = marked();
    (nothing.evidence, nothing.create_subject) = (Vec::new(), false);
    let found = answer(nothing.clone()).await;
    assert_eq!(
        (found.reason, found.field.as_deref()),
        (Reason::DomicileRequired, Some("subject.domicile"))
    );

    subject(&mut nothing).domicile = "marker-4711".to_owned();
    let found = answer(nothing.clone()).await;
    assert_eq!(
        (found.reason, found.field.as_deref()),
        (Reason::DomicileUnknown, Some("subject.domicile"))
    );

    // A domicile decides, whatever the evidence says: its shard answers.
    let mut elsewhere = marked();
    subject(&mut elsewhere).domicile = "us-iad".to_owned();
    let found = answer(elsewhere).await;
    assert_eq!(found.reason, Reason::RegionUnavailable);
    assert_eq!(found.detail(terms::Detail::Region), Some("us-iad"));

    let mut unclear = marked();
    unclear.evidence = vec![evidence(v1::EvidenceKind::Sim, "999")];
    let found = answer(unclear).await;
    assert_eq!(found.reason, Reason::JurisdictionUndetermined);
    assert_eq!(found.detail(terms::Detail::MapEpoch), Some("1"));

    // A subject that would be created from nothing is refused just so, and no domicile helps.
    for domicile in ["", "us-iad", "marker-4711"] {
        let mut nothing = marked();
        nothing.evidence = Vec::new();
        subject(&mut nothing).domicile = domicile.to_owned();
        assert_eq!(answer(nothing).await, found);
    }

    // Messages may not leave the EEA for Russia, and a Russian citizen's go there first.
    let mut torn = marked();
    torn.collection = "messages".to_owned();
    torn.evidence = vec![
        evidence(v1::EvidenceKind::Citizenship, "RU"),
        evidence(v1::EvidenceKind::Residence, "DE"),
    ];
    let found = answer(torn).await;
    assert_eq!(found.reason, Reason::TransferNotCovered);
    assert_eq!(found.detail(terms::Detail::Jurisdictions), Some("EEA,RU"));
    assert_eq!(found.detail(terms::Detail::Conflicting), Some("EEA,RU"));
    assert!(found.cure_text().contains("transfer clause for messages from EEA to RU"));
}

#[tokio::test]
async fn permission_comes_before_existence() {
    let gateway = gateway();
    let one = |name: &str| terms::Collection::parse(name).unwrap();
    let region = |name: &str| terms::RegionId::parse(name).unwrap();
    let narrow = crate::Caller {
        collections: Scope::Only(vec![one("messages"), one("letters")]),
        regions: Scope::Only(vec![region("us-iad"), region("nowhere-1")]),
        ..caller()
    };
    let put = async |collection: &str, domicile: &str| {
        let mut request = marked();
        request.collection = collection.to_owned();
        subject(&mut request).domicile = domicile.to_owned();
        request.create_subject = domicile.is_empty();
        let admitted = admitted(&gateway.ctx, narrow.clone());
        let soon = Instant::now() + std::time::Duration::from_secs(60);
        rejection(crate::api::put::put(&gateway.ctx, &admitted, soon, request).await.map(|_| ()))
    };
    // What is not granted is refused in the same words, be there such a thing or not.
    let there = put("profiles", "us-iad").await;
    assert_eq!(there.reason, Reason::NotPermitted);
    assert_eq!(put("nothing", "us-iad").await, there);
    let there = put("messages", "eu-fra").await;
    assert_eq!(there.reason, Reason::NotPermitted);
    assert_eq!(put("messages", "nowhere-2").await, there);
    // So is a region that the rules give: the person is from Kazakhstan.
    assert_eq!(put("messages", "").await, there);
    // Of what is granted it is said that there is none.
    let rejection = put("letters", "us-iad").await;
    assert_eq!(rejection.reason, Reason::CollectionUnknown);
    // Of the map's three, those that are the caller's to use.
    assert_eq!(rejection.cure_text(), "use one of: messages");
    assert_eq!(put("messages", "nowhere-1").await.reason, Reason::DomicileUnknown);
    assert_eq!(put("messages", "us-iad").await.reason, Reason::RegionUnavailable);
}
