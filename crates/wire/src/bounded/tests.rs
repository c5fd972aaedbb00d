//! Whether every way to grow in memory is counted, and nothing of ours is refused.

use std::collections::HashMap;

use super::*;
use crate::{session, v1};

/// A field of bytes, as it stands on the wire.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut out);
    out.extend_from_slice(bytes);
    out
}

#[test]
fn empty_messages_in_a_list_are_counted() {
    // evidence = 10, two bytes each.
    let some = field(10, &[]).repeat(FIELDS_MAX);
    assert_eq!(check::<v1::PutRecordRequest>(&some), Ok(()));
    let more = field(10, &[]).repeat(FIELDS_MAX + 1);
    assert_eq!(check::<v1::PutRecordRequest>(&more), Err(Unfit::TooMany));
    let largest = field(10, &[]).repeat(17 << 19);
    assert_eq!(largest.len(), 17 << 20);
    assert_eq!(check::<v1::PutRecordRequest>(&largest), Err(Unfit::TooMany));
    assert!(decode::<v1::PutRecordRequest>(&largest).is_err());
}

#[test]
fn fields_are_counted_at_every_depth() {
    // PutRecordResponse.ruling = 6, .attachments = 1
    let inner = field(1, &[]).repeat(FIELDS_MAX);
    assert_eq!(check::<v1::PutRecordResponse>(&field(6, &inner)), Err(Unfit::TooMany));
    // A message given twice is merged: both count.
    let half = field(6, &field(1, &[]).repeat(FIELDS_MAX / 2));
    assert_eq!(check::<v1::PutRecordResponse>(&half), Ok(()));
    assert_eq!(check::<v1::PutRecordResponse>(&half.repeat(2)), Err(Unfit::TooMany));
    // StreamPutResponse.done = 3, .ruling = 6, .placement = 2, .mirrors = 2: a list of strings.
    let mirrors = field(2, &[]).repeat(FIELDS_MAX);
    let deep = field(3, &field(6, &field(2, &mirrors)));
    assert_eq!(check::<v1::StreamPutResponse>(&deep), Err(Unfit::TooMany));
    // ToGateway.replies = 2, .fault = 4, .details = 5: the entries of a map.
    let entries = field(5, &field(1, b"k")).repeat(LIST_FIELDS_MAX / 2);
    let map = field(2, &field(4, &entries));
    assert_eq!(check::<session::ToGateway>(&map), Err(Unfit::TooMany));
    // ToGateway.goodbye = 3, .details = 5
    assert_eq!(check::<session::ToGateway>(&field(3, &entries)), Err(Unfit::TooMany));
    // Ruling.attachments = 1, .evidence_kinds = 4: packed numbers, four bytes each in memory.
    let packed = field(1, &field(4, &vec![1; FIELDS_MAX]));
    assert_eq!(check::<v1::Ruling>(&packed), Err(Unfit::TooMany));
    // Fields that nobody knows take time, if nothing else.
    let unknown = field(15, &[]).repeat(FIELDS_MAX + 1);
    assert_eq!(check::<v1::Record>(&unknown), Err(Unfit::TooMany));
}

#[test]
fn a_frame_holds_so_many_calls_and_no_more() {
    let frame = |calls: usize| {
        let hello = Some(session::Hello::default());
        session::ToShard { hello, calls: vec![session::Call::default(); calls] }.encode_to_vec()
    };
    assert!(check::<session::ToShard>(&frame(FRAME_PARTS_MAX)).is_ok());
    assert_eq!(check::<session::ToShard>(&frame(FRAME_PARTS_MAX + 4)), Err(Unfit::TooMany));
}

#[test]
fn the_fullest_frames_of_ours_pass() {
    let text = || "x".to_owned();
    let caller =
        session::Caller { name: text(), role: text(), territory: text(), beside_gateway: true };
    let put = session::Put {
        asked: vec![1; 16].into(),
        subject: text(),
        collection: text(),
        key: text(),
        body: vec![b'x'; 512].into(),
        request_id: vec![1; 16].into(),
        if_version: Some(1),
        etag: text(),
        create_subject: true,
        findings: vec![1; 100].into(),
        validate_only: true,
        phone_data: text(),
        ip_data: text(),
        prove: true,
        expire_ms: 1,
        attributes: vec![1; 100].into(),
        participants: vec![1; 100].into(),
        participants_epoch: 1,
        sealed_key: text(),
    };
    let call = session::Call {
        id: 1,
        deadline_ms: 1,
        tenant: text(),
        caller: Some(caller),
        op: Some(session::call::Op::Put(put)),
        ..Default::default()
    };
    let frame = session::ToShard { hello: None, calls: vec![call; FRAME_PARTS_MAX] };
    let bytes = frame.encode_to_vec();
    assert!(decode::<session::ToShard>(&bytes).is_ok_and(|read| read == frame));
    // Each reply a refusal with sixteen details.
    let details: HashMap<String, String> = (0..16).map(|n| (format!("key{n}"), text())).collect();
    let fault =
        session::Fault { reason: text(), field: text(), problem: text(), cure: text(), details };
    let outcome = Some(session::reply::Outcome::Fault(fault));
    let reply = session::Reply { id: 1, outcome };
    let replies = vec![reply; FRAME_PARTS_MAX];
    let frame = session::ToGateway { replies, ..Default::default() };
    assert_eq!(check::<session::ToGateway>(&frame.encode_to_vec()), Ok(()));
}

#[test]
fn answers_that_list_what_a_deployment_has_hold_more() {
    let count = Some(v1::CountRange { at_least: 10, at_most: 19 });
    let moves = vec![v1::PlannedMove { count, ..Default::default() }; 30_000];
    let plan = v1::PlanRegionMapResponse { moves, ..Default::default() }.encode_to_vec();
    assert_eq!(check::<v1::PlanRegionMapResponse>(&plan), Ok(()));
    // What a gateway's caller sends is as small as before.
    let request = v1::PlanRegionMapRequest {
        map: Some(v1::SignedRegionMap {
            packs: vec![String::new(); FIELDS_MAX],
            ..Default::default()
        }),
        ..Default::default()
    };
    let request = request.encode_to_vec();
    assert_eq!(check::<v1::PlanRegionMapRequest>(&request), Err(Unfit::TooMany));
    let more = field(2, &[]).repeat(LIST_FIELDS_MAX + 1);
    assert_eq!(check::<v1::RegionMapStatus>(&more), Err(Unfit::TooMany));
}

/// The record with the most fields.
fn full_record() -> v1::Record {
    let text = || "x".to_owned();
    let time = || Some(prost_types::Timestamp { seconds: 1, nanos: 1 });
    let attribute =
        v1::Attribute { name: text(), value: time().map(v1::attribute::Value::TimestampValue) };
    v1::Record {
        subject: Some(v1::SubjectRef { id: text(), domicile: text() }),
        collection: text(),
        key: text(),
        body: vec![1].into(),
        version: 1,
        etag: text(),
        expire_time: time(),
        attributes: vec![attribute; 32],
        attachment_bytes: 1,
        participants: vec![v1::SubjectRef { id: text(), domicile: text() }; 8],
        sealed: true,
        copy: Some(v1::RecordCopy { region: text(), write_time: time(), copy_time: time() }),
    }
}

#[test]
fn the_fullest_pages_and_answers_to_batches_pass() {
    let text = || "x".to_owned();
    let records = vec![full_record(); 1_000];
    let page = v1::ListRecordsResponse { records: records.clone(), ..Default::default() };
    assert_eq!(check::<v1::ListRecordsResponse>(&page.encode_to_vec()), Ok(()));
    let found = |record| v1::BatchGetResult {
        outcome: Some(v1::batch_get_result::Outcome::Record(record)),
    };
    let results = records.into_iter().map(found).collect();
    let got = v1::BatchGetRecordsResponse { results }.encode_to_vec();
    assert_eq!(check::<v1::BatchGetRecordsResponse>(&got), Ok(()));
    // Each put under 20 statutes, with mirrors and clauses, and with as many unreachable regions as the
    // gateway names.
    let attachment = v1::Attachment {
        jurisdiction: text(),
        statute: text(),
        constraint: 1,
        evidence_kinds: (1..8).collect(),
        why: text(),
    };
    let placement = v1::Placement {
        region: text(),
        mirrors: vec![text(); 8],
        clauses: vec![text(); 8],
        ingress: text(),
        ingress_required: true,
    };
    let ruling = v1::Ruling {
        attachments: vec![attachment; 20],
        map_epoch: 1,
        map_digest: vec![1].into(),
        data_versions: vec![v1::DataVersion { name: text(), version: text() }; 4],
        findings: Vec::new(),
        outcome: Some(v1::ruling::Outcome::Placement(placement)),
    };
    let done = v1::PutRecordResponse {
        subject: Some(v1::SubjectRef { id: text(), domicile: text() }),
        version: 1,
        etag: text(),
        replayed: true,
        receipt: Some(v1::Receipt {
            origin: text(),
            index: 1,
            entry: vec![1].into(),
            opening: vec![1].into(),
            statement: vec![1].into(),
            tlog_proof: text(),
        }),
        ruling: Some(ruling),
        unreachable: vec![v1::RegionMissing { region: text(), reason: text() }; 65],
    };
    let done = v1::BatchPutResult { outcome: Some(v1::batch_put_result::Outcome::Done(done)) };
    let put = v1::BatchPutRecordsResponse { results: vec![done; 1_000] }.encode_to_vec();
    assert_eq!(check::<v1::BatchPutRecordsResponse>(&put), Ok(()));
    let more = field(1, &field(1, &field(8, &[]).repeat(600))).repeat(1_000);
    assert_eq!(check::<v1::BatchGetRecordsResponse>(&more), Err(Unfit::TooMany));
}

#[test]
fn a_body_may_hold_any_bytes() {
    for body in [vec![0xff; 1 << 20], field(10, &[]).repeat(FIELDS_MAX * 2), vec![0x0b; 5000]] {
        let request = v1::PutRecordRequest { body: body.into(), ..Default::default() };
        let bytes = request.encode_to_vec();
        assert!(decode::<v1::PutRecordRequest>(&bytes).is_ok_and(|read| read == request));
    }
}

#[test]
fn what_is_no_protobuf_is_refused() {
    let groups: Vec<u8> = vec![0x7b; 100_000];
    for bytes in [&groups[..], &[0x0a, 5, 1], &[0x08], &[0xff; 11], &[0x0c], &[0x09, 1], &[0x0e]] {
        assert_eq!(check::<v1::PutRecordRequest>(bytes), Err(Unfit::Malformed), "{bytes:?}");
    }
}

#[test]
fn the_shapes_end() {
    // No message of ours can hold itself: the walk is as deep as the protos, and no deeper.
    fn depth(shape: Shape, left: usize) -> usize {
        assert!(left > 0, "a message that holds itself");
        let inner = |(_, inside): &(u32, Inside)| match inside {
            Inside::Message(of) => 1 + depth(SHAPES[*of], left - 1),
            Inside::Packed => 0,
        };
        shape.iter().map(inner).max().unwrap_or(0)
    }
    let used = [
        v1::PutRecordRequest::SHAPE,
        v1::StreamPutResponse::SHAPE,
        session::ToShard::SHAPE,
        session::ToGateway::SHAPE,
    ];
    for number in used {
        assert!(depth(SHAPES[number], DEPTH_MAX) >= 2);
    }
}
