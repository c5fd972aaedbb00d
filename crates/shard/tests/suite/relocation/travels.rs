//! What goes with a subject that moves besides plain records: attachments, records that name other
//! people, and a block.

use aws_lc_rs::digest;
use wire::session::upload::Step;

use super::*;
use crate::participants::{map, named, naming};
use crate::relocation::rig::Told;

/// A chunk of an attachment.
const CHUNK: usize = 1 << 20;

/// The steps that upload an attachment.
fn upload(rig: &Rig, subject: &str, key: &str, whole: &[u8]) -> Vec<Op> {
    let put = later(rig, subject, key, b"");
    let sha256 = digest::digest(&digest::SHA256, whole).as_ref().to_vec();
    let step = |step| {
        Op::Upload(proto::Upload {
            put: Some(put.clone()),
            size: whole.len() as u64,
            sha256: sha256.clone().into(),
            step: Some(step),
        })
    };
    let mut steps = vec![step(Step::Begin(true))];
    for (number, data) in (0..).zip(whole.chunks(CHUNK)) {
        steps.push(step(Step::Chunk(proto::UploadChunk { number, data: data.to_vec().into() })));
    }
    steps.push(step(Step::Finish(true)));
    steps
}

/// Reads an attachment in parts.
async fn download(rig: &Rig, at: usize, subject: &str, key: &str) -> (Vec<u8>, Vec<u8>) {
    let (mut body, mut sha256) = (Vec::new(), Vec::new());
    loop {
        let get = proto::Get {
            subject: subject.into(),
            collection: "profiles".into(),
            key: key.into(),
            range: Some(proto::BodyRange {
                offset: body.len() as u64,
                length: u32::try_from(CHUNK).unwrap(),
                etag: String::new(),
            }),
            ..Default::default()
        };
        let Ok(Outcome::Found(found)) = rig.told(at, Op::Get(get)).await else {
            panic!("a part is found")
        };
        body.extend_from_slice(&found.body);
        sha256 = if found.sha256.is_empty() { sha256 } else { found.sha256.to_vec() };
        if body.len() as u64 >= found.size {
            return (body, sha256);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_move_chunk_by_chunk_over_links_that_break() {
    let rig = Rig::new(7).await;
    let all = fill(&rig, "anna").await;
    // Three chunks, the last of them short, and one of a single byte.
    let film: Vec<u8> = (0..CHUNK * 2 + 77).map(|n| u8::try_from(n % 253).unwrap()).collect();
    for (key, whole) in [("film", film.as_slice()), ("dot", b".")] {
        for op in upload(&rig, "anna", key, whole) {
            assert_eq!(reason(rig.told(0, op).await), "done");
        }
    }
    // A link carries one chunk and not two: none of the chunks may be sent twice for the move to end.
    rig.cut_after(1_500_000);
    let order = relocate(&rig, "anna");
    assert_eq!(reason(rig.told(0, Op::Relocate(order)).await), "done");
    rig.until("anna", &[State::Done]).await;
    has(&rig, 1, "anna", &all).await;
    for (key, whole) in [("film", film.as_slice()), ("dot", b".")] {
        let (body, sha256) = download(&rig, 1, "anna", key).await;
        assert!(body == whole, "{key}");
        assert!(sha256 == digest::digest(&digest::SHA256, whole).as_ref(), "{key}");
    }
    let (places, _) = rig.stop().await;
    agree(&places, true);
    are_swept(&places[0]);
}

/// Whether each chunk that is left is one of an attachment that is listed as gone: the sweep takes it.
fn are_swept(place: &Place) {
    let store = place.store();
    let gone = stored::rows_in(&*store, &[0x14]);
    for (chunk, _) in stored::rows_in(&*store, &[0x12]) {
        assert!(gone.iter().any(|(key, _)| chunk[1..].starts_with(&key[1..])), "a chunk stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_chunk_of_either_side_costs_no_more_than_that_chunk() {
    for side in 0..2 {
        for step in 0..6 {
            let rig = Rig::new(80 + step).await;
            assert_eq!(reason(rig.told(0, Op::Put(put(&rig, "anna", "k", b"x"))).await), "done");
            let film: Vec<u8> = vec![u8::try_from(step).unwrap(); CHUNK * 2 + 5];
            for op in upload(&rig, "anna", "film", &film) {
                assert_eq!(reason(rig.told(0, op).await), "done");
            }
            let after = usize::try_from(step).unwrap();
            rig.regions[side].disk.fail_after(after, Fault::Crash);
            assert_eq!(reason(rig.told(0, Op::Relocate(relocate(&rig, "anna"))).await), "done");
            rig.until("anna", &[State::Done]).await;
            assert!(download(&rig, 1, "anna", "film").await.0 == film);
            let (places, _) = rig.stop().await;
            agree(&places, true);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_given_up_amid_an_attachment_leaves_no_chunk_behind() {
    let rig = Rig::new(9).await;
    assert_eq!(reason(rig.told(0, Op::Put(put(&rig, "anna", "k", b"x"))).await), "done");
    let film = vec![1; CHUNK * 30];
    for op in upload(&rig, "anna", "film", &film) {
        assert_eq!(reason(rig.told(0, op).await), "done");
    }
    // Each link carries one chunk, and the next is dialled half a second later.
    rig.cut_after(1_500_000);
    assert_eq!(reason(rig.told(0, Op::Relocate(relocate(&rig, "anna"))).await), "done");
    rig.until("anna", &[State::Copying]).await;
    sleep(Duration::from_millis(800)).await;
    let given_up = rig.moves(0, Of::Cancel("anna".into())).await.unwrap();
    assert_eq!(reason(given_up), "done");
    rig.cut_after(0);
    rig.until("anna", &[State::Cancelled]).await;
    assert!(download(&rig, 0, "anna", "film").await.0 == film);
    let (places, _) = rig.stop().await;
    are_swept(&places[1]);
    assert!(stored::rows_in(&*places[1].store(), &[0x10]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_progress_keeps_its_subject() {
    let rig = Rig::new(10).await;
    assert_eq!(reason(rig.told(0, Op::Put(put(&rig, "anna", "k", b"x"))).await), "done");
    let steps = upload(&rig, "anna", "film", &vec![1; CHUNK + 1]);
    assert_eq!(reason(rig.told(0, steps[0].clone()).await), "done");
    let refused = rig.told(0, Op::Relocate(relocate(&rig, "anna"))).await;
    assert_eq!(reason(refused), "BODY_IS_ATTACHMENT");
    rig.stop().await;
}

/// Both regions with a clause for messages of Russians in Germany, or without.
async fn sharing(seed: u64, clauses: &'static [(&'static str, &'static str)]) -> Rig {
    let rig = Rig::with(seed, |place| place.map = map(clauses)).await;
    let own = put(&rig, "dora", "k", b"own");
    assert_eq!(reason(rig.told(0, Op::Put(own)).await), "done");
    let shared =
        proto::Put { collection: "messages".into(), ..put(&rig, "clara", "m", b"to dora") };
    let shared = naming(shared, vec![named("dora", REGIONS[0], &["RU"])]);
    assert_eq!(reason(rig.told(0, Op::Put(shared)).await), "done");
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_moves_with_those_that_it_names_where_it_may_lie_with_them() {
    let rig = sharing(11, &[("RU", "DE")]).await;
    // Who is named in records of others here stays: they say where the person is.
    let fault = rig.told(0, Op::Relocate(relocate(&rig, "dora"))).await.err().unwrap();
    assert_eq!((&*fault.reason, &*fault.field), ("FIELD_INVALID", "subject.id"));
    assert_eq!(reason(rig.told(0, Op::Relocate(relocate(&rig, "clara"))).await), "done");
    rig.until("clara", &[State::Done]).await;
    let list = proto::List {
        collection: "messages".into(),
        participant: "dora".into(),
        participant_region: REGIONS[0].into(),
        page_size: 10,
        bytes_max: 1 << 20,
        view: 1,
        ..Default::default()
    };
    for (at, expected) in [(0, 0), (1, 1)] {
        let Ok(Outcome::Listed(page)) = rig.told(at, Op::List(list.clone())).await else {
            panic!("a list is answered")
        };
        assert_eq!(page.records.len(), expected, "{at}");
    }
    let get = proto::Get {
        subject: "clara".into(),
        collection: "messages".into(),
        key: "m".into(),
        ..Default::default()
    };
    let Ok(Outcome::Found(found)) = rig.told(1, Op::Get(get)).await else { panic!("it is there") };
    assert_eq!(found.body, "to dora");
    assert!(!found.participants.is_empty());
    // None of her records here names her any more, so she may go too.
    assert_eq!(reason(rig.told(0, Op::Relocate(relocate(&rig, "dora"))).await), "done");
    rig.until("dora", &[State::Done]).await;
    let (places, _) = rig.stop().await;
    // What binds her is in the entry of the record that names her.
    let came = entries(&places[1]).into_iter().find(|entry| {
        entry.kind == Kind::MoveIn && entry.collection.as_deref() == Some("messages")
    });
    let came = came.unwrap();
    assert!(came.jurisdictions.iter().any(|code| code == "RU"), "{:?}", came.jurisdictions);
    assert!(came.clauses.iter().any(|clause| clause == "ru-de-x"), "{:?}", came.clauses);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_may_not_lie_there_with_those_that_it_names_keeps_its_owner() {
    let rig = sharing(12, &[]).await;
    let fault = rig.told(0, Op::Relocate(relocate(&rig, "clara"))).await.err().unwrap();
    assert_eq!((&*fault.reason, &*fault.field), ("TRANSFER_NOT_COVERED", "subject.id"));
    assert_eq!(fault.details["conflicting"], "RU,DE");
    let (places, _) = rig.stop().await;
    agree(&places, false);
    assert!(stored::rows_in(&*places[1].store(), &[0x10]).is_empty(), "nothing was copied");
}

/// Blocks a subject for long, or lifts the block.
async fn block(rig: &Rig, at: usize, until_minute: u32) -> Told {
    let block = proto::Block {
        subject: "anna".into(),
        until_minute,
        reason: "asked for".into(),
        ..Default::default()
    };
    rig.call_as(at, Op::Block(block), None, Some("eraser")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_goes_with_its_subject_and_holds_while_it_moves() {
    const UNTIL: u32 = 60_000_000;
    let rig = Rig::new(13).await;
    let all = fill(&rig, "anna").await;
    assert_eq!(reason(block(&rig, 0, UNTIL).await.unwrap()), "done");
    rig.cut_after(1);
    assert_eq!(reason(rig.told(0, Op::Relocate(relocate(&rig, "anna"))).await), "done");
    // While it is copied it is not read either.
    assert_eq!(get(&rig, 0, "anna", "k0").await.err().unwrap(), "SUBJECT_BLOCKED");
    // Given up, it is blocked as before.
    let given_up = rig.moves(0, Of::Cancel("anna".into())).await.unwrap();
    assert_eq!(reason(given_up), "done");
    let late = rig.told(0, Op::Put(later(&rig, "anna", "k0", b"late"))).await;
    assert_eq!(reason(late), "SUBJECT_BLOCKED");
    rig.cut_after(0);
    rig.until("anna", &[State::Cancelled]).await;
    assert_eq!(reason(rig.told(0, Op::Relocate(relocate(&rig, "anna"))).await), "done");
    rig.until("anna", &[State::Done]).await;
    assert_eq!(get(&rig, 1, "anna", "k0").await.err().unwrap(), "SUBJECT_BLOCKED");
    assert_eq!(reason(block(&rig, 1, 0).await.unwrap()), "done");
    has(&rig, 1, "anna", &all).await;
    let (places, _) = rig.stop().await;
    agree(&places, true);
    let there = entries(&places[1]);
    let blocks: Vec<_> = there.iter().filter(|entry| entry.kind == Kind::Block).collect();
    assert_eq!(blocks.len(), 1, "the other log says that it came blocked");
    let deadline = ledger::entry::Detail::Deadline(UNTIL);
    assert!(blocks[0].details.contains(&deadline));
    assert!(stored::rows_in(&*places[0].store(), &[0x32]).is_empty(), "nothing is due here");
    assert!(stored::rows_in(&*places[1].store(), &[0x32]).is_empty(), "nor there any more");
}

/// Erases a subject, as far as one call goes.
async fn erase(rig: &Rig, subject: &str, id: &[u8]) -> String {
    erase_of(rig, subject, "", id).await
}

/// The same of one collection; empty: of all of it.
async fn erase_of(rig: &Rig, subject: &str, collection: &str, id: &[u8]) -> String {
    let erase = proto::Erase {
        subject: subject.into(),
        collection: collection.into(),
        request_id: id.to_vec().into(),
        reason: "asked for".into(),
        ..Default::default()
    };
    match rig.call_as(0, Op::Erase(erase), None, Some("eraser")).await {
        Some(Ok(Outcome::Written(written))) if written.unfinished => "unfinished".to_owned(),
        Some(answer) => reason(answer),
        None => "no answer".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_after_a_move_was_given_up_ends_once_the_copies_are_erased() {
    let rig = Rig::new(14).await;
    fill(&rig, "anna").await;
    // Enough for a part of the copy.
    rig.cut_after(60_000);
    assert_eq!(reason(rig.told(0, Op::Relocate(relocate(&rig, "anna"))).await), "done");
    rig.until("anna", &[State::Copying]).await;
    sleep(Duration::from_millis(800)).await;
    rig.cut_after(1);
    let given_up = rig.moves(0, Of::Cancel("anna".into())).await.unwrap();
    assert_eq!(reason(given_up), "done");
    // At once nothing of it is served; but it is not done while the other region has a copy.
    let id = rig.id();
    assert_eq!(erase(&rig, "anna", &id).await, "unfinished");
    assert_eq!(erase(&rig, "anna", &id).await, "REGION_UNAVAILABLE");
    assert_eq!(get(&rig, 0, "anna", "k0").await.err().unwrap(), "SUBJECT_ERASED");
    rig.cut_after(0);
    while erase(&rig, "anna", &id).await != "done" {
        sleep(Duration::from_millis(20)).await;
    }
    let (places, _) = rig.stop().await;
    for prefix in [0x10, 0x11, 0x16, 0x30, 0x31] {
        assert!(stored::rows_in(&*places[1].store(), &[prefix]).is_empty(), "{prefix:02x}");
    }
    for prefix in [0x34, 0x36] {
        let due = stored::rows_in(&*places[0].store(), &[prefix]);
        assert!(due.is_empty(), "nothing is due any more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_of_a_collection_waits_for_the_copies_as_well() {
    let rig = Rig::new(16).await;
    fill(&rig, "anna").await;
    // The other region is not reached: it may have a copy for all that is known.
    rig.cut_after(1);
    assert_eq!(reason(rig.told(0, Op::Relocate(relocate(&rig, "anna"))).await), "done");
    let given_up = rig.moves(0, Of::Cancel("anna".into())).await.unwrap();
    assert_eq!(reason(given_up), "done");
    let id = rig.id();
    assert_eq!(erase_of(&rig, "anna", "profiles", &id).await, "unfinished");
    assert_eq!(erase_of(&rig, "anna", "profiles", &id).await, "REGION_UNAVAILABLE");
    assert!(get(&rig, 0, "anna", "k0").await.is_err(), "it is erased here");
    rig.cut_after(0);
    while erase_of(&rig, "anna", "profiles", &id).await != "done" {
        sleep(Duration::from_millis(20)).await;
    }
    let (places, _) = rig.stop().await;
    for prefix in [0x34, 0x36] {
        let due = stored::rows_in(&*places[0].store(), &[prefix]);
        assert!(due.is_empty(), "nothing is due any more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_says_which_data_read_its_evidence() {
    use ledger::entry::Detail;
    let rig = Rig::new(17).await;
    fill(&rig, "anna").await;
    let order = proto::Relocate {
        phone_data: "9.0.43".into(),
        ip_data: "2026-07".into(),
        ..relocate(&rig, "anna")
    };
    assert_eq!(reason(rig.told(0, Op::Relocate(order)).await), "done");
    rig.until("anna", &[State::Done]).await;
    let (places, _) = rig.stop().await;
    let phone = Detail::PhoneData("9.0.43".into());
    let mut said = entries(&places[0]);
    said.retain(|entry| entry.kind == Kind::MoveOut && entry.details.contains(&phone));
    assert_eq!(said.len(), 1);
    assert!(said[0].details.contains(&Detail::IpData("2026-07".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arrival_that_its_source_forgot_makes_room_for_the_next() {
    let rig = Rig::new(15).await;
    let all = fill(&rig, "anna").await;
    // A move of which the source knows nothing: it was restored, say.
    let (port, hello) = (rig.port(1), rig.hello_of_shard());
    let client = wire::session::session_client::SessionClient::connect(port).await.unwrap();
    let (mut session, first) = crate::support::open(client, hello).await.unwrap();
    assert!(first.welcome.is_some());
    let forgotten = proto::Arrival {
        move_id: vec![9; 16].into(),
        subject: "anna".into(),
        step: Some(proto::arrival::Step::Begin(arriving().into())),
    };
    let Ok(Outcome::Arrived(arrived)) = session.call(Op::Arrival(forgotten)).await else {
        panic!("it begins")
    };
    assert!(arrived.state() == proto::arrived::State::Staging);
    drop(session);
    assert_eq!(reason(rig.told(0, Op::Relocate(relocate(&rig, "anna"))).await), "done");
    rig.until("anna", &[State::Done]).await;
    has(&rig, 1, "anna", &all).await;
    let (places, _) = rig.stop().await;
    agree(&places, true);
}

/// A subject with one ruling, as a shard sends it.
pub(super) fn arriving() -> Vec<u8> {
    arriving_with(GERMAN)
}

/// The same of a person of that evidence.
pub(super) fn arriving_with(evidence: &[(&str, &str)]) -> Vec<u8> {
    let findings = findings(evidence);
    let text = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length[..], bytes].concat()
    };
    let bases = [&1_u32.to_be_bytes()[..], &text(b"profiles"), &text(&findings)].concat();
    // Created by a request at a minute; no collection was erased; no block; no region was chosen.
    let rest = [&[7; 16][..], &1_u32.to_be_bytes(), &0_u32.to_be_bytes(), &[0]].concat();
    [text(&findings), bases, rest, text(b"")].concat()
}
