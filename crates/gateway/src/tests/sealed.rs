//! What a map that wants bodies sealed is refused for before any of it is passed on to a shard.

use std::sync::Arc;

use atlas::RegionMap;
use terms::limits::SEALED_OVERHEAD_BYTES;
use terms::{Reason, Rejection};
use wire::v1;

use super::rig::*;
use crate::Callers;
use crate::api::context::CallContext;

const KEY: &str = "0123456789abcdef";

fn with_sealed_profiles() -> Arc<CallContext> {
    let name = "name = \"profiles\"\n";
    let map = MAP.replacen(name, &format!("{name}transit = \"sealed\"\nbody_bytes_max = 8\n"), 1);
    assert_ne!(map, MAP);
    context_with(Arc::new(RegionMap::parse(&map).unwrap()), Callers::Fixed(caller()))
}

fn refused_with<T>(read: Result<T, Rejection>) -> (Reason, Option<String>) {
    let rejection = read.err().expect("it is refused");
    (rejection.reason, rejection.field.map(|field| field.into_owned()))
}

#[test]
fn plain_bodies_of_a_collection_that_wants_them_sealed_go_no_further() {
    let (ctx, caller) = (with_sealed_profiles(), caller());
    let pinned = ctx.pin();
    let reader = pinned.reader(&caller);
    let not_sealed = |field: &str| (Reason::TransitNotSealed, Some(field.to_owned()));
    let put = || v1::PutRecordRequest { collection: "profiles".to_owned(), ..put_from("KZ") };
    assert_eq!(refused_with(reader.put(put())), not_sealed("body"));
    let patch = v1::PatchRecordRequest {
        subject: get_in("us-iad").subject,
        collection: "profiles".to_owned(),
        key: "main".to_owned(),
        request_id: request_id(1),
        body: Some(b"x".as_slice().into()),
        ..Default::default()
    };
    assert_eq!(refused_with(reader.patch(patch)), not_sealed("body"));
    assert_eq!(refused_with(reader.get(get_in("us-iad"))), not_sealed("sealed_question"));
    assert_eq!(refused_with(reader.get_attachment(get_in("us-iad"))), not_sealed("collection"));
    let list = |view: v1::RecordView| v1::ListRecordsRequest {
        collection: "profiles".to_owned(),
        regions: vec!["us-iad".to_owned()],
        view: view.into(),
        ..Default::default()
    };
    let whole = list(v1::RecordView::Whole);
    assert_eq!(refused_with(reader.list(whole)), not_sealed("sealed_questions"));
    assert!(reader.list(list(v1::RecordView::Attributes)).is_ok());
    let scan = v1::ScanRecordsRequest {
        collection: "profiles".to_owned(),
        region: "us-iad".to_owned(),
        purpose: "a test".to_owned(),
        view: v1::RecordView::Whole.into(),
        ..Default::default()
    };
    assert_eq!(refused_with(reader.scan(scan)), not_sealed("sealed_question"));

    // A sealed body may be as much longer as the seal makes it.
    let sealed = |bytes: usize, key: &str| v1::PutRecordRequest {
        body: vec![7; bytes].into(),
        sealed_key: key.to_owned(),
        ..put()
    };
    assert!(reader.put(sealed(8 + SEALED_OVERHEAD_BYTES, KEY)).is_ok());
    let large = refused_with(reader.put(sealed(9 + SEALED_OVERHEAD_BYTES, KEY)));
    assert_eq!(large, (Reason::BodyTooLarge, Some("body".to_owned())));
    let invalid = |field: &str| (Reason::FieldInvalid, Some(field.to_owned()));
    for key in ["a key", &"x".repeat(65)] {
        assert_eq!(refused_with(reader.put(sealed(60, key))), invalid("sealed_key"));
    }
    let question = |key: &str, bytes: usize| v1::GetRecordRequest {
        sealed_key: key.to_owned(),
        sealed_question: vec![7; bytes].into(),
        ..get_in("us-iad")
    };
    assert!(reader.get(question(KEY, SEALED_OVERHEAD_BYTES)).is_ok());
    for bytes in [0, SEALED_OVERHEAD_BYTES - 1, SEALED_OVERHEAD_BYTES + 1] {
        assert_eq!(refused_with(reader.get(question(KEY, bytes))), invalid("sealed_question"));
    }
    let missing = refused_with(reader.get(question("", SEALED_OVERHEAD_BYTES)));
    assert_eq!(missing, (Reason::FieldMissing, Some("sealed_key".to_owned())));
}

#[test]
fn a_list_or_scan_of_bodies_has_a_question_for_each_of_its_regions() {
    let (ctx, caller) = (with_sealed_profiles(), caller());
    let pinned = ctx.pin();
    let reader = pinned.reader(&caller);
    let list = |view: v1::RecordView| v1::ListRecordsRequest {
        collection: "profiles".to_owned(),
        regions: vec!["us-iad".to_owned()],
        view: view.into(),
        ..Default::default()
    };
    let of = |region: &str| v1::SealedQuestion {
        region: region.to_owned(),
        key: KEY.to_owned(),
        question: vec![7; SEALED_OVERHEAD_BYTES].into(),
    };
    let asking = |all: &[&str], view| v1::ListRecordsRequest {
        sealed_questions: all.iter().map(|region| of(region)).collect(),
        ..list(view)
    };
    let list_of = reader.list(asking(&["us-iad"], v1::RecordView::Whole));
    assert_eq!(list_of.map(|list| list.questions.len()).map_err(|no| no.reason), Ok(1));
    for (all, view) in [
        (&["us-iad"][..], v1::RecordView::Attributes),
        (&["us-iad", "us-iad"][..], v1::RecordView::Whole),
        (&["ru-msk"][..], v1::RecordView::Whole),
        (&["us-iad", "ru-msk"][..], v1::RecordView::Whole),
    ] {
        let refused = refused_with(reader.list(asking(all, view)));
        assert_eq!(refused, (Reason::FieldInvalid, Some("sealed_questions".to_owned())));
    }
    let two = v1::ListRecordsRequest {
        regions: vec!["us-iad".to_owned(), "ru-msk".to_owned()],
        ..asking(&["us-iad"], v1::RecordView::Whole)
    };
    let refused = refused_with(reader.list(two));
    assert_eq!(refused, (Reason::FieldInvalid, Some("sealed_questions".to_owned())));
    let scan = v1::ScanRecordsRequest {
        collection: "profiles".to_owned(),
        region: "us-iad".to_owned(),
        purpose: "a test".to_owned(),
        view: v1::RecordView::Whole.into(),
        ..Default::default()
    };
    let sealed = |of| v1::ScanRecordsRequest { sealed_question: Some(of), ..scan.clone() };
    assert!(reader.scan(sealed(of("us-iad"))).is_ok());
    let short = v1::SealedQuestion { question: vec![7; 20].into(), ..of("us-iad") };
    for other in [of("ru-msk"), short] {
        let refused = refused_with(reader.scan(sealed(other)));
        assert_eq!(refused, (Reason::FieldInvalid, Some("sealed_question".to_owned())));
    }
}

#[test]
fn the_id_of_a_key_goes_to_no_shard_without_a_body_or_longer_than_an_id_is() {
    let (ctx, caller) = (with_sealed_profiles(), caller());
    let pinned = ctx.pin();
    let reader = pinned.reader(&caller);
    let invalid = (Reason::FieldInvalid, Some("sealed_key".to_owned()));
    let bare = |key: &str| v1::PatchRecordRequest {
        subject: get_in("us-iad").subject,
        collection: "profiles".to_owned(),
        key: "main".to_owned(),
        request_id: request_id(1),
        sealed_key: key.to_owned(),
        ..Default::default()
    };
    let long = "x".repeat(1 << 20);
    for key in [KEY, &long] {
        assert_eq!(refused_with(reader.patch(bare(key))), invalid);
    }
    let body = Some(bytes::Bytes::from(vec![7; 50]));
    let whole = |key: &str| v1::PatchRecordRequest { body: body.clone(), ..bare(key) };
    assert!(reader.patch(whole(KEY)).is_ok());
    assert_eq!(refused_with(reader.patch(whole(&long))), invalid);
    let get = v1::GetRecordRequest {
        sealed_key: long.clone(),
        sealed_question: vec![7; SEALED_OVERHEAD_BYTES].into(),
        ..get_in("us-iad")
    };
    assert_eq!(refused_with(reader.get(get)), invalid);
    let put = v1::PutRecordRequest {
        collection: "profiles".to_owned(),
        body: vec![7; 50].into(),
        sealed_key: long,
        ..put_from("KZ")
    };
    assert_eq!(refused_with(reader.put(put)), invalid);
}
