//! One session under load: what it holds comes back, reads keep no write waiting, its bounds are
//! answered, and counters stand in the log before the next map.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashMap;

use crate::support::{Place, Session, findings, get, put_ru, request_id};
use atlas::{RegionMap, SignedMap};
use ledger::Signers;
use ledger::entry::{Detail, Entry, Kind};
use ledger::note::{self, Signer};
use prost::Message as _;
use wire::session as proto;
use wire::session::call::Op;
use wire::session::reply::Outcome;
use wire::v1;

/// Calls that a test keeps in flight.
const IN_FLIGHT: usize = 4_096;
const FRAME: usize = 256;

fn patient(session: &mut Session, op: Op) -> proto::Call {
    proto::Call { deadline_ms: 600_000, ..session.wrap(op) }
}

/// Makes all calls, many in flight, and counts the answers: by reason, or empty for those that are
/// no refusals.
async fn drive(session: &mut Session, ops: impl Iterator<Item = Op>) -> HashMap<String, usize> {
    let (mut ops, mut in_flight, mut answers) = (ops, 0, HashMap::new());
    loop {
        while in_flight + FRAME <= IN_FLIGHT {
            let frame: Vec<_> = ops.by_ref().take(FRAME).map(|op| patient(session, op)).collect();
            if frame.is_empty() {
                break;
            }
            in_flight += frame.len();
            session.send(frame).await;
        }
        if in_flight == 0 {
            return answers;
        }
        let next = session.answers.message();
        let next = tokio::time::timeout(std::time::Duration::from_secs(60), next).await;
        let frame = next.expect("the session stands still").expect("open").expect("open");
        in_flight -= frame.replies.len();
        for reply in frame.replies {
            let reason = match reply.outcome {
                Some(Outcome::Fault(fault)) => fault.reason,
                _ => String::new(),
            };
            *answers.entry(reason).or_default() += 1;
        }
    }
}

/// Every residue of a KiB, most of them small, some up to 64 KiB.
fn size(n: usize) -> usize {
    let kib = if n.is_multiple_of(64) { n / 64 % 64 } else { 0 };
    (kib << 10) + n % 1_024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_serves_reads_and_writes_of_every_size_without_end() {
    const RECORDS: usize = 4_096;
    const UPDATED: usize = 64;
    let mut place = Place::new("ru-msk");
    place.engine = engine::Kind::Fjall;
    let shard = place.start().await;
    let mut session = shard.session().await;
    let mut n = 0;
    let mut put = |subject: String, bytes: usize| {
        n += 1;
        Op::Put(put_ru(&subject, "k", &vec![7; bytes], n))
    };
    let puts: Vec<_> = (0..RECORDS).map(|i| put(format!("s{i}"), size(i))).collect();
    // A record that is updated often has a long row: it remembers the requests.
    let updates = (0..70).flat_map(|_| 0..UPDATED).map(|i| put(format!("u{i}"), i * 17));
    let writes: Vec<_> = puts.into_iter().chain(updates).collect();
    let mut calls = writes.len();
    let done = drive(&mut session, writes.into_iter()).await;
    assert_eq!(done, HashMap::from([(String::new(), calls)]));
    let reads = (0..95_000).flat_map(|i: usize| {
        [get(&format!("s{}", i % RECORDS), "k"), get(&format!("u{}", i % UPDATED), "k")]
    });
    // Some are of nothing, and take no room for long.
    let reads = reads.chain((0..3_000).map(|_| get("nobody", "k")));
    let done = drive(&mut session, reads).await;
    calls += 193_000;
    assert_eq!(done, HashMap::from([(String::new(), 190_000), ("SUBJECT_UNKNOWN".into(), 3_000)]));
    assert!(calls > 200_000, "{calls}");
    // All of the room is there still: more than half of it at once, twice.
    for key in ["l0", "l1"] {
        session
            .call(put(key.to_owned(), 1 << 20))
            .await
            .unwrap_or_else(|no| panic!("{}", no.reason));
    }
    let done = drive(&mut session, (0..128).map(|i| get(&format!("l{}", i % 2), "k"))).await;
    assert_eq!(done, HashMap::from([(String::new(), 128)]));
    drop(session);
    shard.stop().await.unwrap();
}

/// Waits until another session reads what was written.
async fn until_there(session: &mut Session, subject: &str) {
    let written = async {
        while session.get(subject, "profiles", "k").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    let there = tokio::time::timeout(std::time::Duration::from_secs(60), written).await;
    there.expect("the write waits for reads");
}

/// Asks for large records, more than there is room for, and takes none of them.
async fn ask_much(session: &mut Session) -> usize {
    let frames = 8;
    for _ in 0..frames {
        let gets = (0..32).map(|_| patient(session, get("large", "k"))).collect();
        session.send(gets).await;
    }
    frames * 32
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_whose_answers_nobody_takes_keep_no_write_waiting() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut other = shard.session().await;
    other.put(put_ru("large", "k", &vec![7; 1 << 20], 1)).await.unwrap();
    let mut slow = shard.session().await;
    let mut asked = ask_much(&mut slow).await;
    let call = slow.wrap(Op::Put(put_ru("small", "k", b"x", 2)));
    slow.send(vec![call]).await;
    asked += 1;
    until_there(&mut other, "small").await;
    // Reads have a bound of their own: those beyond it are answered, and writes still go on.
    for _ in 0..36 {
        let gets = (0..FRAME).map(|_| patient(&mut slow, get("small", "k"))).collect();
        slow.send(gets).await;
        asked += FRAME;
    }
    let call = slow.wrap(Op::Put(put_ru("small-2", "k", b"x", 3)));
    slow.send(vec![call]).await;
    asked += 1;
    until_there(&mut other, "small-2").await;
    let (mut done, mut busy) = (0, 0);
    while done + busy < asked {
        let frame = slow.answers.message().await.expect("open").expect("open");
        for reply in frame.replies {
            match reply.outcome {
                Some(Outcome::Fault(fault)) => {
                    assert_eq!(fault.reason, "SHARD_BUSY");
                    busy += 1;
                }
                _ => done += 1,
            }
        }
    }
    assert!(busy > 0 && done > 8_000, "{done} {busy}");
    drop((slow, other));
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_in_flight_than_allowed_end_the_session_alone() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut other = shard.session().await;
    other.put(put_ru("large", "k", &vec![7; 1 << 20], 1)).await.unwrap();
    let mut rude = shard.session().await;
    let mut sent = ask_much(&mut rude).await;
    // Refusals leave until large answers fill the connection: how many calls that takes depends on
    // the machine. When the session has ended, no more frames are taken.
    let patience = std::time::Duration::from_secs(20);
    loop {
        let gets = (0..FRAME).map(|_| patient(&mut rude, get("nobody", "k"))).collect();
        let frame = proto::ToShard { hello: None, calls: gets };
        match tokio::time::timeout(patience, rude.calls.send(frame)).await {
            Ok(Ok(())) => sent += FRAME,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    other.put(put_ru("small", "k", b"x", 2)).await.unwrap();
    // What was taken is answered, the rest is not, and then it ends.
    let mut answered = 0;
    while let Ok(Some(frame)) = rude.answers.message().await {
        answered += frame.replies.len();
    }
    assert!(answered < sent, "{answered} of {sent}: the session did not end");
    other.put(put_ru("small", "k", b"y", 3)).await.unwrap();
    drop((rude, other));
    shard.stop().await.unwrap();
}

fn ruling(written: &proto::Written) -> (String, Vec<(String, Vec<i32>)>) {
    let ruling = v1::Ruling::decode(&written.ruling[..]).expect("a ruling");
    let Some(v1::ruling::Outcome::Placement(placement)) = ruling.outcome else {
        panic!("a write that was done has a placement")
    };
    let laws = ruling.attachments.into_iter().map(|law| (law.jurisdiction, law.evidence_kinds));
    (placement.region, laws.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_carries_the_ruling_that_stands() {
    let place = Place::new("eu-fra");
    let shard = place.start().await;
    let mut session = shard.session().await;
    let put = |key: &str, n, of: &[(&str, &str)]| proto::Put {
        findings: if of.is_empty() { vec![] } else { findings(of) }.into(),
        ..put_ru("anna", key, b"x", n)
    };
    let both = [("residence", "RU"), ("citizenship", "DE")];
    let dry = proto::Put { validate_only: true, ..put("a", 1, &both) };
    let first = ruling(&session.put(dry).await.unwrap());
    assert_eq!(first.0, "eu-fra");
    assert_eq!(ruling(&session.put(put("a", 1, &both)).await.unwrap()), first);
    // Alone, this residence would be ruled into another region.
    let later = put("b", 2, &[("residence", "RU")]);
    for dry in [true, false] {
        let put = proto::Put { validate_only: dry, ..later.clone() };
        assert_eq!(ruling(&session.put(put).await.unwrap()), first);
    }
    let again = session.put(later).await.unwrap();
    assert!(again.replayed);
    assert_eq!(ruling(&again), first);
    let bare = proto::Put { create_subject: false, ..put("c", 3, &[]) };
    assert_eq!(ruling(&session.put(bare).await.unwrap()), first);
    let create = |n| proto::Create {
        subject: "bert".into(),
        collection: "profiles".into(),
        request_id: request_id(n).into(),
        findings: findings(&both).into(),
        ..Default::default()
    };
    assert_eq!(ruling(&session.create(create(9)).await.unwrap()), first);
    let again = session.create(create(9)).await.unwrap();
    assert!(again.replayed);
    assert_eq!(ruling(&again), first);
    drop(session);
    shard.stop().await.unwrap();
}

pub(crate) fn people() -> [Signer; 2] {
    [("anna", 1), ("boris", 2)].map(|(name, seed)| Signer::from_seed(name, &[seed; 32]).unwrap())
}

/// The note of a map that both have signed.
pub(crate) fn signed(map: &RegionMap) -> String {
    let people = people();
    note::sign(&atlas::statement(map), &[&people[0], &people[1]]).unwrap()
}

fn next(map: &RegionMap) -> RegionMap {
    let epoch = map.epoch();
    let digest = hex::encode(epoch.digest);
    let lines = map.text().lines().filter(|line| !line.starts_with("predecessor"));
    let lines = lines.map(|line| match line.strip_prefix("version = ") {
        Some(_) => {
            format!("version = {}\npredecessor = \"sha256:{digest}\"\n", epoch.number + 1)
        }
        None => format!("{line}\n"),
    });
    RegionMap::parse(&lines.collect::<String>()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_under_a_map_is_logged_before_the_next() {
    let place = Place::new("ru-msk");
    let mut settings = place.settings();
    let vkeys = people().map(|person| person.vkey());
    settings.signers = Some(Signers::parse(vkeys.iter().map(String::as_str)).unwrap());
    settings.map_note = signed(&place.map());
    let shard = place.open_as(settings).await.unwrap();
    let shard = crate::support::Running::serve(shard, "ru-msk").await;
    let mut session = shard.session().await;
    session.put(put_ru("anna", "k", b"x", 1)).await.unwrap();
    let mut map = place.map();
    for reads in 1..4_u64 {
        for _ in 0..reads {
            session.get("anna", "profiles", "k").await.unwrap();
        }
        // A refusal that the log tells of: a reader may not write.
        session.role = Some("reader");
        let refused = session.put(put_ru("anna", "k", b"x", 2)).await;
        assert_eq!(refused.err().unwrap(), "NOT_PERMITTED");
        session.role = None;
        map = next(&map);
        let offered = SignedMap::of(&map, signed(&map));
        let SignedMap { text, note, packs } = offered;
        let offer = proto::MapOffer { map: Some(proto::SignedMap { text, note, packs }) };
        let Ok(Outcome::Taken(taken)) = session.call(Op::MapOffer(offer)).await else {
            panic!("the map is not taken")
        };
        assert_eq!(taken.epoch, reads + 1);
    }
    drop(session);
    shard.stop().await.unwrap();
    let entries = place.entries(1);
    let (mut in_force, mut counted, mut refused) = (0, Vec::new(), Vec::new());
    for entry in entries.iter().map(|entry| Entry::decode(entry).unwrap()) {
        let map = entry.map.map(|map| map.epoch);
        let count = entry
            .details
            .iter()
            .find_map(|detail| if let Detail::Count(count) = detail { Some(*count) } else { None });
        let kind = entry.kind;
        if kind == Kind::Map {
            in_force = map.expect("a map");
        } else if kind == Kind::Count {
            counted.push((map, count.expect("a count")));
        } else if kind == Kind::Refuse {
            refused.push((map, count.expect("a count")));
        }
        let said = map.is_none_or(|map| map == in_force);
        assert!(said, "an entry names the map that the log took last");
    }
    assert_eq!(counted, [(Some(1), 1), (Some(2), 2), (Some(3), 3)]);
    assert_eq!(refused, [(Some(1), 1), (Some(2), 1), (Some(3), 1)]);
}

/// What waits keeps its texts: none may be longer than a gateway of ours sends.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_no_gateway_of_ours_sends_is_refused_before_it_waits() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    let long = "x".repeat(64 << 10);
    let range = proto::BodyRange { etag: long.clone(), ..Default::default() };
    let Op::Get(of) = get("anna", "k") else { unreachable!("it is a get") };
    let list = proto::List { collection: "profiles".into(), ..Default::default() };
    for (op, field) in [
        (Op::Get(proto::Get { range: Some(range), ..of }), "etag"),
        (Op::List(proto::List { filter: long.clone(), ..list.clone() }), "filter"),
        (Op::List(proto::List { order_by: long.clone(), ..list.clone() }), "order_by"),
        (Op::List(proto::List { cursor: vec![1; 64 << 10].into(), ..list }), "cursor"),
        (Op::Put(proto::Put { etag: long, ..put_ru("anna", "k", b"x", 1) }), "etag"),
        (
            Op::Put(proto::Put { asked: vec![1; 64 << 10].into(), ..put_ru("anna", "k", b"x", 2) }),
            "asked",
        ),
    ] {
        session.role = Some(if matches!(op, Op::Put(_)) { "writer" } else { "reader" });
        let refused = session.call(op).await.err().unwrap();
        assert_eq!(refused.field, field, "{}", refused.reason);
    }
    drop(session);
    shard.stop().await.unwrap();
}
