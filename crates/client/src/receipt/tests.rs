//! Receipts that hold, and every way in which one may not.

use ledger::entry::Kind;
use ledger::statement::{commitment, content_digest};

use super::*;

fn request() -> api::PutRecordRequest {
    api::PutRecordRequest {
        subject: Some(api::SubjectRef { id: "p-1".to_owned(), domicile: String::new() }),
        collection: "profiles".to_owned(),
        key: "main".to_owned(),
        body: "content".into(),
        ..Default::default()
    }
}

/// The answer of an honest shard that has stored `request` as version 3.
fn answer(request: &api::PutRecordRequest) -> api::PutRecordResponse {
    let opening = [7; 32];
    let subject = request.subject.clone().unwrap_or_default();
    let statement = Statement {
        tenant: "sample",
        subject: &subject.id,
        collection: &request.collection,
        key: &request.key,
        version: 3,
        digest: content_digest(&opening, &request.body),
    }
    .encode();
    let mut entry = Entry::new(Kind::Place, 1);
    entry.collection = Some(request.collection.clone());
    entry.commitment = Some(commitment(&opening, &statement));
    let receipt = api::Receipt {
        origin: "sample/eu-fra/s1/1".to_owned(),
        index: 4,
        entry: entry.encode().unwrap().into(),
        opening: opening.to_vec().into(),
        statement: statement.into(),
    };
    api::PutRecordResponse { version: 3, receipt: Some(receipt), ..Default::default() }
}

#[test]
fn an_honest_receipt_holds() {
    let entry = check_put(&request(), &answer(&request())).unwrap().unwrap();
    assert_eq!(entry.kind, Kind::Place);
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
        assert_eq!(check_put(&request(), &answer(&other)), Err(Unproven::OtherWrite));
    }
    let mut later = answer(&request());
    later.version = 4;
    assert_eq!(check_put(&request(), &later), Err(Unproven::OtherWrite));
}

#[test]
fn a_receipt_for_another_body_does_not() {
    let mut other = request();
    other.body = "contents".into();
    let wrong = Err(Unproven::Invalid(Invalid::Content));
    assert_eq!(check_put(&request(), &answer(&other)), wrong);
}

#[test]
fn only_a_retry_may_lack_its_receipt() {
    let mut bare = answer(&request());
    bare.receipt = None;
    assert_eq!(check_put(&request(), &bare), Err(Unproven::Missing));
    bare.receipt = Some(api::Receipt::default());
    assert_eq!(check_put(&request(), &bare), Err(Unproven::Missing));
    bare.replayed = true;
    assert_eq!(check_put(&request(), &bare), Ok(None));
    let dry = api::PutRecordRequest { validate_only: true, ..request() };
    bare.receipt = None;
    assert_eq!(check_put(&dry, &bare), Ok(None));
}

#[test]
fn a_receipt_of_another_form_does_not_hold() {
    let mut cut = answer(&request());
    let receipt = cut.receipt.as_mut().unwrap();
    receipt.opening = receipt.opening.slice(1..);
    assert_eq!(check_put(&request(), &cut), Err(Unproven::Malformed));
    let mut cut = answer(&request());
    let receipt = cut.receipt.as_mut().unwrap();
    receipt.entry = receipt.entry.slice(1..);
    assert!(matches!(check_put(&request(), &cut), Err(Unproven::Invalid(Invalid::Entry(_)))));
}
