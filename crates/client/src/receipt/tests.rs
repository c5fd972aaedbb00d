//! Receipts that hold, and every way in which one may not.

use ledger::entry::Kind;
use ledger::statement::{commitment, content_digest};

use super::*;

/// Of a write of which nothing is known but the request.
const ANY: Known<'_> = Known { tenant: None, first: false };

fn checked(
    request: &api::PutRecordRequest,
    answer: &api::PutRecordResponse,
) -> Result<Proof, Unproven> {
    check_put(request, answer, ANY)
}

fn request() -> api::PutRecordRequest {
    api::PutRecordRequest {
        subject: Some(api::SubjectRef { id: "p-1".to_owned(), domicile: String::new() }),
        collection: "profiles".to_owned(),
        key: "main".to_owned(),
        body: "content".into(),
        ..Default::default()
    }
}

/// A receipt that is sound in itself: the log of eu-fra has an entry of that kind about a write of
/// `request`'s record, with this version and body.
fn receipt(
    request: &api::PutRecordRequest,
    kind: Kind,
    (version, body): (u64, &[u8]),
) -> Option<api::Receipt> {
    let opening = [7; 32];
    let statement = Statement {
        tenant: "sample",
        subject: request.subject.as_ref().map_or("", |subject| &subject.id),
        collection: &request.collection,
        key: &request.key,
        version,
        digest: content_digest(&opening, body),
    }
    .encode();
    let mut entry = Entry::new(kind, 1);
    entry.collection = Some(request.collection.clone());
    entry.commitment = Some(commitment(&opening, &statement));
    Some(api::Receipt {
        origin: "sample/eu-fra/s1/1".to_owned(),
        index: 4,
        entry: entry.encode().unwrap().into(),
        opening: opening.to_vec().into(),
        statement: statement.into(),
        tlog_proof: String::new(),
    })
}

/// The answer of an honest shard that has stored `request` as version 3.
fn answer(request: &api::PutRecordRequest) -> api::PutRecordResponse {
    let subject = request.subject.clone();
    api::PutRecordResponse {
        subject: subject.map(|s| api::SubjectRef { domicile: "eu-fra".to_owned(), ..s }),
        version: 3,
        receipt: receipt(request, Kind::Place, (3, &request.body)),
        ..Default::default()
    }
}

/// The same, of a receipt that has been changed.
fn changed(change: impl FnOnce(&mut api::Receipt)) -> api::PutRecordResponse {
    let mut answer = answer(&request());
    change(answer.receipt.as_mut().unwrap());
    answer
}

#[test]
fn an_honest_receipt_holds() {
    let proof = checked(&request(), &answer(&request())).unwrap();
    assert!(matches!(proof, Proof::Receipt(entry) if entry.kind == Kind::Place));
    let known = Known { tenant: Some("sample"), first: true };
    assert!(matches!(check_put(&request(), &answer(&request()), known), Ok(Proof::Receipt(_))));
}

#[test]
fn a_receipt_for_another_write_does_not() {
    let changes: [fn(&mut api::PutRecordRequest); 4] = [
        |put| put.subject = Some(api::SubjectRef { id: "p-2".to_owned(), ..Default::default() }),
        |put| put.key = "other".to_owned(),
        |put| put.collection = "payments".to_owned(),
        |put| put.subject = None,
    ];
    for change in changes {
        let mut other = request();
        change(&mut other);
        // Whatever the answer itself says.
        let subject = answer(&request()).subject;
        let other = api::PutRecordResponse { subject, ..answer(&other) };
        assert_eq!(checked(&request(), &other), Err(Unproven::OtherWrite));
    }
    for version in [4, 0, -1] {
        let other = api::PutRecordResponse { version, ..answer(&request()) };
        assert_eq!(checked(&request(), &other), Err(Unproven::OtherWrite), "{version}");
    }
    let mut other = answer(&request());
    other.subject.as_mut().unwrap().id = "p-2".to_owned();
    assert_eq!(checked(&request(), &other), Err(Unproven::OtherWrite));
    other.subject = None;
    assert_eq!(checked(&request(), &other), Err(Unproven::OtherWrite));
}

#[test]
fn a_receipt_of_another_regions_log_does_not() {
    for (origin, why) in [
        ("sample/ru-msk/s1/1", Unproven::OtherRegion),
        ("eu-fra/sample/s1/1", Unproven::OtherRegion),
        ("", Unproven::Malformed),
        ("eu-fra", Unproven::Malformed),
        ("sample/eu-fra/s1", Unproven::Malformed),
        ("sample/eu-fra//1", Unproven::Malformed),
        ("sample/eu-fra/s1/", Unproven::Malformed),
        ("sample/eu-fra/s1/+1", Unproven::Malformed),
        ("sample/eu-fra/s1/1/1", Unproven::Malformed),
    ] {
        let other = changed(|receipt| receipt.origin = origin.to_owned());
        assert_eq!(checked(&request(), &other), Err(why), "{origin}");
    }
    // The domicile that was asked for is the one in which it lies, or none was.
    let mut asked = request();
    asked.subject.as_mut().unwrap().domicile = "ru-msk".to_owned();
    assert_eq!(checked(&asked, &answer(&request())), Err(Unproven::OtherRegion));
    asked.subject.as_mut().unwrap().domicile = "eu-fra".to_owned();
    assert!(matches!(checked(&asked, &answer(&request())), Ok(Proof::Receipt(_))));
    let mut nowhere = answer(&request());
    nowhere.subject.as_mut().unwrap().domicile = String::new();
    assert_eq!(checked(&request(), &nowhere), Err(Unproven::OtherRegion));
}

#[test]
fn an_entry_of_another_kind_or_tenant_does_not() {
    let of = |kind, version: u64, put: &api::PutRecordRequest| api::PutRecordResponse {
        version: i64::try_from(version).unwrap(),
        receipt: receipt(put, kind, (version, &put.body)),
        ..answer(put)
    };
    let new = api::PutRecordRequest { if_version: Some(0), ..request() };
    for (put, kind, version, holds) in [
        (&request(), Kind::Place, 1, true),
        (&request(), Kind::Place, 3, true),
        (&request(), Kind::Replace, 3, true),
        (&request(), Kind::Replace, 1, false),
        (&request(), Kind::Read, 3, false),
        (&request(), Kind::Delete, 3, false),
        (&request(), Kind::Refuse, 3, false),
        (&new, Kind::Place, 3, true),
        (&new, Kind::Replace, 3, false),
    ] {
        let found = checked(put, &of(kind, version, put));
        let expect = if holds { Ok(()) } else { Err(Unproven::OtherKind) };
        assert_eq!(found.map(drop), expect, "{kind:?} {version} {:?}", put.if_version);
    }
    let known = Known { tenant: Some("other"), first: false };
    assert_eq!(check_put(&request(), &answer(&request()), known), Err(Unproven::OtherTenant));
}

#[test]
fn a_delete_and_a_creation_are_held_to_the_same() {
    let lies = api::SubjectRef { id: "p-1".to_owned(), domicile: "eu-fra".to_owned() };
    let delete = api::DeleteRecordRequest {
        subject: Some(lies.clone()),
        collection: "profiles".to_owned(),
        key: "main".to_owned(),
        ..Default::default()
    };
    let deleted = |kind, body: &[u8]| {
        let receipt = receipt(&request(), kind, (3, body));
        let answer = api::DeleteRecordResponse { version: 3, receipt, ..Default::default() };
        check_delete(&delete, &answer, ANY)
    };
    assert!(matches!(deleted(Kind::Delete, b""), Ok(Proof::Receipt(_))));
    assert_eq!(deleted(Kind::Place, b""), Err(Unproven::OtherKind));
    assert_eq!(deleted(Kind::Delete, b"content"), Err(Unproven::Invalid(Invalid::Content)));

    let create = api::CreateSubjectRequest {
        subject: request().subject,
        collection: "profiles".to_owned(),
        ..Default::default()
    };
    let nameless = api::PutRecordRequest { key: String::new(), ..request() };
    let created = |kind, version| {
        let receipt = receipt(&nameless, kind, (version, b""));
        let subject = Some(lies.clone());
        let answer = api::CreateSubjectResponse { subject, receipt, ..Default::default() };
        check_create(&create, &answer, ANY)
    };
    assert!(matches!(created(Kind::Create, 0), Ok(Proof::Receipt(_))));
    assert_eq!(created(Kind::Place, 0), Err(Unproven::OtherKind));
    assert_eq!(created(Kind::Create, 1), Err(Unproven::OtherWrite));
    // Nothing supersedes a creation, so its receipt is there for every retry.
    let bare = api::Receipt { origin: "sample/eu-fra/s1/1".to_owned(), ..Default::default() };
    let again = api::CreateSubjectResponse {
        subject: Some(lies.clone()),
        replayed: true,
        receipt: Some(bare),
        ..Default::default()
    };
    assert_eq!(check_create(&create, &again, ANY), Err(Unproven::Missing));
}

#[test]
fn a_receipt_for_another_body_does_not() {
    let mut other = request();
    other.body = "contents".into();
    let wrong = Err(Unproven::Invalid(Invalid::Content));
    assert_eq!(checked(&request(), &answer(&other)), wrong);
}

#[test]
fn only_a_retry_may_lack_its_receipt_and_is_not_proven_then() {
    let mut bare = changed(|receipt| {
        let api::Receipt { origin, index, .. } = receipt.clone();
        *receipt = api::Receipt { origin, index, ..Default::default() };
    });
    assert_eq!(checked(&request(), &bare), Err(Unproven::Missing));
    bare.replayed = true;
    assert_eq!(checked(&request(), &bare), Ok(Proof::Unproven));
    // It names its log even so, and a first request is no retry.
    let elsewhere = |receipt: &mut api::Receipt| receipt.origin = "sample/ru-msk/s1/1".to_owned();
    let mut other = bare.clone();
    other.receipt.as_mut().map(elsewhere).unwrap();
    assert_eq!(checked(&request(), &other), Err(Unproven::OtherRegion));
    let first = Known { tenant: None, first: true };
    assert_eq!(check_put(&request(), &bare, first), Err(Unproven::Replayed));
    let whole = api::PutRecordResponse { replayed: true, ..answer(&request()) };
    assert_eq!(check_put(&request(), &whole, first), Err(Unproven::Replayed));
    assert!(matches!(checked(&request(), &whole), Ok(Proof::Receipt(_))));
    bare.receipt = None;
    assert_eq!(checked(&request(), &bare), Err(Unproven::Missing));
    let dry = api::PutRecordRequest { validate_only: true, ..request() };
    assert_eq!(checked(&dry, &bare), Ok(Proof::DryRun));
}

#[test]
fn a_receipt_of_another_form_does_not_hold() {
    let cut = changed(|receipt| receipt.opening = receipt.opening.slice(1..));
    assert_eq!(checked(&request(), &cut), Err(Unproven::Malformed));
    let cut = changed(|receipt| receipt.entry = receipt.entry.slice(1..));
    assert!(matches!(checked(&request(), &cut), Err(Unproven::Invalid(Invalid::Entry(_)))));
}
