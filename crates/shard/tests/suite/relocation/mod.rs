//! Moves of subjects between two shards over real sessions: with crashes of either shard at every commit,
//! cuts of the link between them, writers on both sides, and moves that are given up. There is one owner,
//! nothing that was acknowledged is lost or doubled, and both logs agree.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod given_up;
mod listed;
mod lost;
mod many;
mod maps;
mod new_keys;
mod peers;
mod restored;
pub(crate) mod rig;
mod travels;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atlas::Annex;
use engine::{Chances, Fault};
use ledger::entry::{Entry, Kind};
use tokio::time::sleep;
use wire::session::{self as proto, call::Op, moves::Of, reply::Outcome};
use wire::v1::OperationState as State;

use crate::relocation::rig::{Chance, REGIONS, Rig, ends, entries, passes};
use crate::support::{Answer, Place, Running, findings, put_ru, request_id, stored, unlocked};

const GERMAN: &[(&str, &str)] = &[("citizenship", "DE"), ("residence", "DE")];
/// Runs with random crashes and cuts; `RELOCATION_SEEDS` in the environment: more of them.
const SEEDS: u64 = 24;
/// Records of a subject that moves.
const RECORDS: u64 = 12;

fn relocate(rig: &Rig, subject: &str) -> proto::Relocate {
    proto::Relocate {
        subject: subject.into(),
        region: REGIONS[1].into(),
        request_id: rig.id().into(),
        reason: "the person has moved".into(),
        findings: findings(GERMAN).into(),
        ..Default::default()
    }
}

fn body(n: u64) -> Vec<u8> {
    // Some lie in a row of their own.
    vec![u8::try_from(n % 251).unwrap(); if n % 4 == 3 { 40_000 } else { 20 }]
}

fn put(rig: &Rig, subject: &str, key: &str, body: &[u8]) -> proto::Put {
    let put = put_ru(subject, key, body, 0);
    proto::Put { request_id: rig.id().into(), ..put }
}

/// The same without evidence: the subject is there.
fn later(rig: &Rig, subject: &str, key: &str, body: &[u8]) -> proto::Put {
    let put = put(rig, subject, key, body);
    proto::Put { create_subject: false, findings: Default::default(), ..put }
}

async fn get(rig: &Rig, at: usize, subject: &str, key: &str) -> Result<proto::Found, String> {
    let (subject, key) = (subject.into(), key.into());
    let get = proto::Get { subject, collection: "profiles".into(), key, ..Default::default() };
    match rig.told(at, Op::Get(get)).await {
        Ok(Outcome::Found(found)) => Ok(found),
        Ok(_) => panic!("a get is answered with what was found"),
        Err(fault) => Err(fault.reason),
    }
}

fn reason(answer: Answer) -> String {
    answer.err().map_or_else(|| "done".to_owned(), |fault| fault.reason)
}

/// A subject with records, some of which were changed or deleted.
async fn fill(rig: &Rig, subject: &str) -> BTreeMap<String, proto::Found> {
    for n in 0..RECORDS {
        let op = Op::Put(put(rig, subject, &format!("k{n}"), &body(n)));
        assert_eq!(reason(rig.told(0, op).await), "done");
    }
    let expiring = proto::Put { expire_ms: 4_000_000_000_000, ..put(rig, subject, "k1", b"soon") };
    assert_eq!(reason(rig.told(0, Op::Put(expiring)).await), "done");
    let delete = proto::Delete {
        subject: subject.into(),
        collection: "profiles".into(),
        key: "k2".into(),
        request_id: rig.id().into(),
        ..Default::default()
    };
    assert_eq!(reason(rig.told(0, Op::Delete(delete)).await), "done");
    let mut all = BTreeMap::new();
    for n in (0..RECORDS).filter(|n| *n != 2) {
        let key = format!("k{n}");
        all.insert(key.clone(), get(rig, 0, subject, &key).await.unwrap());
    }
    all
}

/// Compares what a region has with what there was.
async fn has(rig: &Rig, at: usize, subject: &str, all: &BTreeMap<String, proto::Found>) {
    for (key, found) in all {
        let there = get(rig, at, subject, key).await.unwrap();
        assert!(there == *found, "{key}: version, etag, body, expiry and attributes stay");
    }
    assert_eq!(get(rig, at, subject, "k2").await.err().unwrap(), "RECORD_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_moves_with_all_of_its_records() {
    let rig = Rig::new(1).await;
    let all = fill(&rig, "anna").await;
    let order = relocate(&rig, "anna");
    assert_eq!(reason(rig.told(0, Op::Relocate(order.clone())).await), "done");
    let done = rig.until("anna", &[State::Done]).await;
    assert_eq!((done.region.as_str(), done.records), ("eu-fra", RECORDS - 1));
    // The same order is answered as before; the old home says where the subject is, and takes nothing.
    assert_eq!(reason(rig.told(0, Op::Relocate(order)).await), "done");
    let fault = rig.told(0, Op::Put(put(&rig, "anna", "k0", b"late"))).await.err().unwrap();
    assert_eq!(
        (fault.reason.as_str(), fault.details["region"].as_str()),
        ("SUBJECT_MOVED", "eu-fra")
    );
    assert_eq!(get(&rig, 0, "anna", "k0").await.err().unwrap(), "SUBJECT_MOVED");
    has(&rig, 1, "anna", &all).await;
    // Versions go on, those of deleted records too.
    for (key, version) in [("k0", 2), ("k2", 3), ("new", 1)] {
        let op = Op::Put(later(&rig, "anna", key, b"at the new home"));
        let Ok(Outcome::Written(written)) = rig.told(1, op).await else { panic!("{key}") };
        assert_eq!(written.version, version, "{key}");
    }
    // A request that was done before the move is not done again.
    let (places, _) = rig.stop().await;
    agree(&places, true);
    let prefixes = [0x11, 0x16, 0x30, 0x31, 0x34, 0x36];
    for prefix in prefixes {
        assert!(stored::rows_in(&*places[0].store(), &[prefix]).is_empty(), "{prefix:02x}");
    }
    assert_eq!(stored::rows_in(&*places[0].store(), &[0x10]).len(), 1, "a tombstone is left");
}

/// Whether both logs tell one story: the subject was given away and taken, once each and one by the
/// other; or it was not.
fn agree(places: &[Arc<Place>], moved: bool) {
    let (out, into) = (entries(&places[0]), entries(&places[1]));
    let (left, taken) = (ends(&out, Kind::MoveOut), ends(&into, Kind::MoveIn));
    assert_eq!((left.len(), taken.len()), (usize::from(moved), usize::from(moved)));
    if let ([(at, (to, _))], [(_, (from, index))]) = (left.as_slice(), taken.as_slice()) {
        assert_eq!((to.as_str(), from.as_str()), ("sample/eu-fra/s1/1", "sample/ru-msk/s1/1"));
        assert_eq!(index, at, "it names the entry that gave it away");
        let commits = |all: &[Entry], n: u64| all[usize::try_from(n).unwrap()].commitment;
        let (gave, took) = (commits(&out, *at), commits(&into, taken[0].0));
        assert!(gave.is_some() && gave == took, "both commit to the same");
        let key = into[usize::try_from(taken[0].0).unwrap()].log_key();
        assert!(key.is_some_and(|key| key.starts_with("sample/ru-msk/s1/1+")), "{key:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_moves_back_and_forth_and_is_never_in_both() {
    let rig = Rig::new(2).await;
    let all = fill(&rig, "anna").await;
    assert_eq!(reason(rig.told(0, Op::Relocate(relocate(&rig, "anna"))).await), "done");
    rig.until("anna", &[State::Done]).await;
    let back = proto::Relocate {
        region: REGIONS[0].into(),
        findings: findings(&[("citizenship", "RU"), ("residence", "RU")]).into(),
        ..relocate(&rig, "anna")
    };
    assert_eq!(reason(rig.told(1, Op::Relocate(back)).await), "done");
    let op =
        || Op::Moves(proto::Moves { of: Some(Of::Subject("anna".into())), ..Default::default() });
    loop {
        let Ok(Outcome::Moves(found)) = rig.told(1, op()).await else { panic!("it has moved") };
        if found.moves[0].state == i32::from(State::Done) {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    has(&rig, 0, "anna", &all).await;
    assert_eq!(get(&rig, 1, "anna", "k0").await.err().unwrap(), "SUBJECT_MOVED");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_move_is_refused_and_stays() {
    let rig = Rig::new(3).await;
    let all = fill(&rig, "anna").await;
    let order = || relocate(&rig, "anna");
    let here = proto::Relocate { region: REGIONS[0].into(), ..order() };
    let unknown = proto::Relocate { region: "mars".into(), ..order() };
    // The rules place a German resident in eu-fra, and without new evidence the person in ru-msk.
    let elsewhere = proto::Relocate { region: "kz-ala".into(), ..order() };
    let unchanged = proto::Relocate { findings: Default::default(), ..order() };
    // Russian law keeps a citizen's first copy at home.
    let citizen = findings(&[("citizenship", "RU"), ("residence", "DE")]);
    let citizen = proto::Relocate { findings: citizen.into(), ..order() };
    let nobody = proto::Relocate { subject: "boris".into(), ..order() };
    let mute = proto::Relocate { reason: String::new(), ..order() };
    for (of, expected) in [
        (here, "FIELD_INVALID"),
        (unknown, "DOMICILE_UNKNOWN"),
        (elsewhere, "WRONG_DOMICILE"),
        (unchanged, "WRONG_DOMICILE"),
        (citizen, "WRONG_DOMICILE"),
        (nobody, "SUBJECT_UNKNOWN"),
        (mute, "FIELD_MISSING"),
    ] {
        assert_eq!(reason(rig.told(0, Op::Relocate(of)).await), expected);
    }
    let dry = proto::Relocate { validate_only: true, ..order() };
    assert_eq!(reason(rig.told(0, Op::Relocate(dry)).await), "done");
    // The id is taken in the other region: the move is given up, and the subject served as before.
    let taken = proto::Put { findings: findings(GERMAN).into(), ..put(&rig, "anna", "k", b"x") };
    assert_eq!(reason(rig.told(1, Op::Put(taken)).await), "done");
    assert_eq!(reason(rig.told(0, Op::Relocate(order())).await), "done");
    let ended = rig.until("anna", &[State::Cancelled]).await;
    assert_eq!(ended.refused, "SUBJECT_EXISTS");
    has(&rig, 0, "anna", &all).await;
    assert_eq!(get(&rig, 1, "anna", "k0").await.err().unwrap(), "RECORD_NOT_FOUND");
    let (places, _) = rig.stop().await;
    agree(&places, false);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_a_person_may_not_move_it_nor_learn_of_its_move() {
    let rig = Rig::new(6).await;
    fill(&rig, "anna").await;
    rig.cut_after(1);
    let from = |op| rig.call_from(0, op, Some("DE"));
    let refused =
        |answer: Option<Answer>| link::session::from_wire(answer.unwrap().err().expect("refused"));
    let order = |subject| Op::Relocate(relocate(&rig, subject));
    let moves = |of| {
        let reason = "from abroad".into();
        Op::Moves(proto::Moves { of: Some(of), reason, ..Default::default() })
    };
    let shown = |subject: &str| moves(Of::Subject(subject.into()));
    let cancel = |subject: &str| moves(Of::Cancel(subject.into()));
    let barred = refused(from(order("anna")).await);
    assert_eq!(barred.reason.as_str(), "EGRESS_NOT_COVERED");
    assert_eq!(refused(from(order("nobody")).await), barred);
    assert_eq!(reason(rig.told(0, order("anna")).await), "done");
    for subject in ["anna", "nobody"] {
        for op in [order(subject), shown(subject), cancel(subject)] {
            assert_eq!(refused(from(op).await), barred);
        }
    }
    let listed = |answer| match answer {
        Ok(Outcome::Moves(found)) => found.moves.len(),
        _ => panic!("a list is answered with moves"),
    };
    assert_eq!(listed(from(moves(Of::All(true))).await.unwrap()), 0);
    assert_eq!(listed(rig.told(0, moves(Of::All(true))).await), 1);
    rig.cut_after(0);
    rig.until("anna", &[State::Done]).await;
    assert_eq!(refused(from(shown("anna")).await), barred);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_copied_it_is_read_and_a_move_that_is_given_up_leaves_nothing_behind() {
    let rig = Rig::new(4).await;
    let all = fill(&rig, "anna").await;
    // No link lasts long enough for all of it.
    rig.cut_after(30_000);
    assert_eq!(reason(rig.told(0, Op::Relocate(relocate(&rig, "anna"))).await), "done");
    rig.until("anna", &[State::Copying]).await;
    has(&rig, 0, "anna", &all).await;
    let late = rig.call(0, Op::Put(put(&rig, "anna", "k0", b"late"))).await.unwrap();
    assert_eq!(reason(late), "SUBJECT_MOVING");
    let erase = proto::Erase {
        subject: "anna".into(),
        request_id: rig.id().into(),
        reason: "asked for".into(),
        ..Default::default()
    };
    assert_eq!(reason(rig.call(0, Op::Erase(erase)).await.unwrap()), "NOT_PERMITTED");
    let given_up = rig.moves(0, Of::Cancel("anna".into())).await.unwrap();
    assert_eq!(reason(given_up), "done");
    // It is served at once; what was copied is erased when there is a link.
    let op = Op::Put(later(&rig, "anna", "k0", b"served"));
    assert_eq!(reason(rig.told(0, op).await), "done");
    rig.cut_after(0);
    rig.until("anna", &[State::Cancelled]).await;
    let (places, _) = rig.stop().await;
    agree(&places, false);
    for prefix in [0x10, 0x11, 0x30, 0x31] {
        assert!(stored::rows_in(&*places[1].store(), &[prefix]).is_empty(), "{prefix:02x}");
    }
}

/// A crash of either shard at each of its commits, of each kind.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_every_step_of_either_side_is_gone_on_from() {
    let mut crashed = 0;
    for side in 0..2 {
        for fault in [Fault::Crash, Fault::ReplyLost] {
            for step in 0..5 {
                let rig = Rig::new(step).await;
                let all = fill(&rig, "anna").await;
                rig.regions[side].disk.fail_after(usize::try_from(step).unwrap(), fault);
                let order = relocate(&rig, "anna");
                assert_eq!(reason(rig.told(0, Op::Relocate(order)).await), "done");
                rig.until("anna", &[State::Done]).await;
                has(&rig, 1, "anna", &all).await;
                assert_eq!(get(&rig, 0, "anna", "k0").await.err().unwrap(), "SUBJECT_MOVED");
                let (places, starts) = rig.stop().await;
                crashed += u32::from(starts > 2);
                agree(&places, true);
            }
        }
    }
    // Each side commits three times at least.
    assert!(crashed >= 12, "{crashed}");
}

/// What a writer knows of the writes of one record, in the order in which it made them.
#[derive(Default)]
struct Written {
    /// Those that were acknowledged: number, version, region.
    done: Vec<(u64, i64, usize)>,
    /// Those whose outcome is not known.
    doubtful: Vec<u64>,
}

/// Writes one record again and again where the subject is, until it is told to end.
async fn write(rig: Arc<Rig>, key: String, end: Arc<AtomicBool>) -> Written {
    let (mut known, mut home, mut n) = (Written::default(), 0, 0_u64);
    while !end.load(Ordering::Acquire) {
        n += 1;
        let op = Op::Put(later(&rig, "anna", &key, &n.to_be_bytes()));
        match rig.call(home, op).await {
            Some(Ok(Outcome::Written(written))) => known.done.push((n, written.version, home)),
            Some(Ok(_)) => panic!("a put is answered with what was written"),
            Some(Err(fault)) if fault.reason == "SUBJECT_MOVED" => home = 1,
            Some(Err(fault)) if fault.reason == "WRITE_OUTCOME_UNKNOWN" => known.doubtful.push(n),
            Some(Err(fault)) => assert!(passes(&fault.reason), "{}", fault.reason),
            None => known.doubtful.push(n),
        }
        sleep(Duration::from_millis(3)).await;
    }
    known
}

#[tokio::test(flavor = "multi_thread")]
async fn with_crashes_cuts_and_writers_there_is_one_owner_and_nothing_is_lost() {
    let (mut moved, mut stayed, mut starts) = (0, 0, 0);
    for seed in 0..seeds() {
        let mut chance = Chance(seed);
        let rig = Arc::new(Rig::new(seed).await);
        fill(&rig, "anna").await;
        let end = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..3)
            .map(|n| tokio::spawn(write(Arc::clone(&rig), format!("w{n}"), Arc::clone(&end))))
            .collect();
        let rate = u16::try_from(chance.below(60)).unwrap();
        let chances = Chances { crash: rate, flush_fails: rate / 2, reply_lost: rate, full: rate };
        rig.regions.iter().for_each(|one| one.disk.set_chances(chances));
        rig.cut_after(if chance.below(2) > 0 { 20_000 + chance.below(200_000) } else { 0 });
        let order = relocate(&rig, "anna");
        assert_eq!(reason(rig.told(0, Op::Relocate(order)).await), "done", "seed {seed}");
        rig.after_writes(chance.below(40)).await;
        if chance.below(3) == 0 {
            // It may come too late, or find that it was done before.
            drop(rig.moves(0, Of::Cancel("anna".into())).await);
        }
        rig.after_writes(chance.below(80)).await;
        rig.cut_after(0);
        rig.regions.iter().for_each(|one| one.disk.set_chances(Chances::default()));
        let ended = rig.until("anna", &[State::Done, State::Cancelled]).await;
        // Writers go on for a moment where the subject is now.
        sleep(Duration::from_millis(50)).await;
        end.store(true, Ordering::Release);
        let home = usize::from(ended.state == i32::from(State::Done));
        let mut known = Vec::new();
        for writer in writers {
            known.push(writer.await.unwrap());
        }
        for (n, known) in known.iter().enumerate() {
            check(&rig, home, &format!("w{n}"), known, seed).await;
        }
        let other = get(&rig, 1 - home, "anna", "k0").await.err().unwrap();
        let expected = if home == 1 { "SUBJECT_MOVED" } else { "SUBJECT_UNKNOWN" };
        assert_eq!(other, expected, "seed {seed}");
        let Ok(rig) = Arc::try_unwrap(rig) else { panic!("the writers have ended") };
        let (places, started) = rig.stop().await;
        agree(&places, home == 1);
        println!("seed {seed}: state {}, {started} starts", ended.state);
        (moved, stayed) = if home == 1 { (moved + 1, stayed) } else { (moved, stayed + 1) };
        starts += started;
    }
    assert!(moved > 8 && stayed > 0 && starts > 60, "{moved} {stayed} {starts}");
}

/// How many runs there are.
#[expect(clippy::disallowed_methods, reason = "a long run is asked for by the environment")]
fn seeds() -> u64 {
    let more = std::env::var("RELOCATION_SEEDS").ok();
    more.and_then(|text| text.parse().ok()).unwrap_or(SEEDS)
}

/// Whether a record is what its writer knows: versions grow, no write was acknowledged by the old home
/// after one by the new, and the record is the last write that was acknowledged, or a later doubtful one.
async fn check(rig: &Rig, home: usize, key: &str, known: &Written, seed: u64) {
    let in_order = known.done.windows(2).all(|two| two[0].1 < two[1].1 && two[0].2 <= two[1].2);
    assert!(in_order, "seed {seed} {key}: {:?}", known.done);
    let Some((last, version, at)) = known.done.last().copied() else { return };
    assert!(at <= home, "seed {seed} {key}: the other region took a write");
    let found = get(rig, home, "anna", key).await.unwrap();
    let is = u64::from_be_bytes(found.body.as_ref().try_into().unwrap());
    let right = is == last || (is > last && known.doubtful.contains(&is));
    assert!(right && found.version >= version, "seed {seed} {key}: {is} for {last}");
}

/// A shard of ru-msk that knows where the one of eu-fra listens.
async fn source(place: &Place, port: u16) -> Running {
    let shard = place.open().await.unwrap();
    let annex = Place::new(REGIONS[1]).annex;
    let annex = annex.replace("127.0.0.1:1\"", &format!("127.0.0.1:{port}\""));
    shard.peers().set(vec![Annex::parse(&annex, &place.map()).unwrap()]);
    Running::serve(shard, REGIONS[0]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_loses_the_move_does_not_take_the_subject_back() {
    let (home, away) = (Place::new(REGIONS[0]), Place::new(REGIONS[1]));
    let target = away.start().await;
    let shard = source(&home, target.port).await;
    let mut session = shard.session().await;
    session.put(put_ru("anna", "k", b"body", 1)).await.unwrap();
    session.put(put_ru("boris", "k", b"stays", 2)).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();
    home.save_store("yesterday");

    let shard = source(&home, target.port).await;
    let (mut session, mut there) = (shard.session().await, target.session().await);
    let order = proto::Relocate {
        subject: "anna".into(),
        region: REGIONS[1].into(),
        request_id: request_id(3).into(),
        reason: "the person has moved".into(),
        findings: findings(GERMAN).into(),
        ..Default::default()
    };
    session.call(Op::Relocate(order)).await.ok().unwrap();
    while there.get("anna", "profiles", "k").await.is_err() {
        sleep(Duration::from_millis(5)).await;
    }
    drop(session);
    shard.stop().await.unwrap();
    home.put_back_store("yesterday");
    unlocked(|| home.recover()).await.unwrap();

    let shard = source(&home, target.port).await;
    let mut session = shard.session().await;
    let late = session.put(put_ru("anna", "k", b"late", 4)).await.err().unwrap();
    assert_eq!(late, "SUBJECT_MOVED");
    assert_eq!(session.get("boris", "profiles", "k").await.unwrap().body, "stays");
    assert_eq!(there.get("anna", "profiles", "k").await.unwrap().body, "body");
    drop((session, there));
    shard.stop().await.unwrap();
    target.stop().await.unwrap();
}
