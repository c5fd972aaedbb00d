//! Moves of slots between two shards of one region, over real sessions: with crashes of either shard at
//! every commit, cuts of the link between them, writers meanwhile, and moves that are given up. A slot has
//! one owner, nothing that was acknowledged is lost or doubled, and both logs agree.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod restored;
mod writers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use engine::{Disk, Fault};
use ledger::entry::{Entry, Kind};
use shard::{Error, KeyringSource, SlotsRequest, SlotsStatus};
use terms::{ShardId, Slot, SlotSet, SubjectId, TenantId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use wire::session::session_client::SessionClient;
use wire::session::{self as proto, call::Op, reply::Outcome};

use crate::relocation::rig::{Link, Told, ends, passes};
use crate::support::{Answer, Place, Running, TENANT, open, put_ru, request_id, stored};

/// Time in which whatever is waited for must come about.
const WITHIN: Duration = Duration::from_secs(120);
/// Time after which a shard that has not answered is asked again: it may have ended meanwhile.
const ASK_AGAIN: Duration = Duration::from_secs(2);
const NAMES: [&str; 2] = ["s1", "s2"];

/// One shard, which is started again whenever it ends.
struct Kept {
    place: Arc<Place>,
    settings: shard::Settings,
    disk: Disk,
    port: Arc<AtomicU16>,
    cut_after: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    kept: JoinHandle<u64>,
}

/// Both shards of a region.
struct Rig {
    shards: Vec<Kept>,
    next: AtomicU64,
}

impl Rig {
    async fn new(seed: u64) -> Self {
        let links = [Link::new().await, Link::new().await];
        let slots = ["0-1022", "1023"];
        let mut annex = "region = \"ru-msk\"\n".to_owned();
        for ((name, link), slots) in NAMES.iter().zip(&links).zip(slots) {
            annex += &format!(
                "[[shards]]\nname = \"{name}\"\naddress = \"http://127.0.0.1:{}\"\nslots = \"{slots}\"\n",
                link.port
            );
        }
        let mut shards: Vec<Kept> = Vec::new();
        for ((n, name), link) in (0..).zip(NAMES).zip(links) {
            let mut place = Place::new("ru-msk");
            let disk = Disk::new(seed.wrapping_mul(2).wrapping_add(n));
            (place.disk, place.annex) = (Some(disk.clone()), annex.clone());
            let id = ShardId::parse(name).unwrap();
            let settings = shard::Settings { shard: id, ..place.settings() };
            let keyring = shards.first().map(|of| of.settings.keys.join("ru-msk.keyring"));
            let keyring = keyring.map_or(KeyringSource::New, KeyringSource::File);
            place.init_with(&settings, &keyring).unwrap();
            let (place, Link { target: port, cut_after, .. }) = (Arc::new(place), link);
            let (stop, stopped) = watch::channel(false);
            let keep = keep(Arc::clone(&place), settings.clone(), Arc::clone(&port), stopped);
            let kept = tokio::spawn(keep);
            shards.push(Kept { place, settings, disk, port, cut_after, stop, kept });
        }
        let rig = Self { shards, next: AtomicU64::new(1 << 32) };
        for at in 0..2 {
            let served = async {
                while rig.served(at).await.is_none_or(|served| served.is_empty()) {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(WITHIN, served).await.expect("its slots are confirmed");
        }
        rig
    }

    fn id(&self) -> Vec<u8> {
        request_id(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// A session, and the slots that the shard says it serves. None: there is no shard just now.
    async fn session(&self, at: usize) -> Option<(crate::support::Session, SlotSet)> {
        let port = self.shards[at].port.load(Ordering::Acquire);
        let client = SessionClient::connect(format!("http://127.0.0.1:{port}")).await.ok()?;
        let hello = proto::Hello {
            protocol: link::session::PROTOCOL,
            deployment: "sample".into(),
            region: "ru-msk".into(),
            shard: NAMES[at].into(),
            gateway: "test".into(),
            ..Default::default()
        };
        let (session, first) = timeout(WITHIN, open(client, hello)).await.unwrap()?;
        Some((session, SlotSet::from_bytes(&first.welcome?.slots)?))
    }

    async fn served(&self, at: usize) -> Option<SlotSet> {
        Some(self.session(at).await?.1)
    }

    /// One call to one shard. None: there is no shard, or it ends before it answers.
    async fn call(&self, at: usize, op: Op) -> Told {
        let (mut session, _) = self.session(at).await?;
        let call = session.wrap(op);
        let id = call.id;
        session.calls.send(proto::ToShard { hello: None, calls: vec![call] }).await.ok()?;
        timeout(WITHIN, session.answer(id)).await.ok()?
    }

    /// The same to the shard that has it, as a gateway finds it: until there is an answer that is not for
    /// now.
    async fn told(&self, op: Op) -> Answer {
        let asked = async {
            loop {
                for at in 0..2 {
                    match self.call(at, op.clone()).await {
                        Some(Err(fault)) if passes(&fault.reason) => {}
                        Some(answer) => return answer,
                        None => {}
                    }
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(WITHIN, asked).await.expect("an answer in time")
    }

    /// What an operator is told.
    async fn ask(&self, at: usize, request: SlotsRequest) -> Result<SlotsStatus, String> {
        let settings = &self.shards[at].settings;
        let id = format!("{}", self.next.fetch_add(1, Ordering::Relaxed));
        match settings.ask_about_slots(id, request, WITHIN).await {
            Ok(status) => Ok(status.expect("an answer in time")),
            Err(Error::SlotsRefused(why)) => Err(why),
            Err(error) => panic!("{error}"),
        }
    }

    /// Orders the move of slots, again if the shard ends before it answers.
    async fn order(&self, at: usize, slots: &str) {
        let (to, slots) = (NAMES[1 - at].to_owned(), Some(slots.to_owned()));
        self.ask(at, SlotsRequest::Move { to, slots }).await.unwrap();
    }

    /// Waits until no slot goes from that shard any more. One that has ended is asked again.
    async fn until_done(&self, at: usize) {
        let settings = &self.shards[at].settings;
        let done = async {
            loop {
                let id = format!("{}", self.next.fetch_add(1, Ordering::Relaxed));
                let asked = settings.ask_about_slots(id, SlotsRequest::Status, ASK_AGAIN).await;
                if asked.unwrap().is_some_and(|status| status.is_done()) {
                    return;
                }
            }
        };
        timeout(WITHIN, done).await.expect("the moves end in time");
    }

    async fn stop(self) -> (Vec<Arc<Place>>, u64) {
        let (mut places, mut starts) = (Vec::new(), 0);
        for Kept { place, stop, kept, .. } in self.shards {
            stop.send_replace(true);
            starts += kept.await.unwrap();
            places.push(place);
        }
        (places, starts)
    }
}

/// Starts a shard whenever it has ended.
async fn keep(
    place: Arc<Place>,
    settings: shard::Settings,
    port: Arc<AtomicU16>,
    mut stopped: watch::Receiver<bool>,
) -> u64 {
    let mut starts = 0;
    loop {
        starts += 1;
        let Ok(shard) = place.open_made(settings.clone()).await else {
            // A commit of the start itself has failed.
            tokio::task::yield_now().await;
            continue;
        };
        let running = Running::serve(shard, place.region).await;
        port.store(running.port, Ordering::Release);
        // A poisoned shard is started again, as a process would be.
        drop(running.until(stopped.clone()).await);
        if *stopped.borrow_and_update() {
            return starts;
        }
    }
}

fn slot_of(subject: &str) -> Slot {
    Slot::of(&TenantId::parse(TENANT).unwrap(), &SubjectId::parse(subject).unwrap())
}

/// People of one slot: the `n`th of them.
fn person(slot: u16, n: usize) -> String {
    let all = (0..).map(|n: u64| format!("p-{n}"));
    all.filter(|subject| slot_of(subject).number() == slot).nth(n).unwrap()
}

fn body(n: u64) -> Vec<u8> {
    // Some lie in a row of their own.
    vec![u8::try_from(n % 251).unwrap(); if n % 4 == 3 { 40_000 } else { 20 }]
}

fn put(rig: &Rig, subject: &str, key: &str, body: &[u8]) -> proto::Put {
    proto::Put { request_id: rig.id().into(), ..put_ru(subject, key, body, 0) }
}

/// A put of the record `k` of a person.
fn put_of(subject: &str, n: u64) -> proto::Put {
    put_ru(subject, "k", b"body", n)
}

fn get(subject: &str, key: &str) -> Op {
    let (subject, key) = (subject.into(), key.into());
    Op::Get(proto::Get { subject, collection: "profiles".into(), key, ..Default::default() })
}

fn reason(answer: Answer) -> String {
    answer.err().map_or_else(|| "done".to_owned(), |fault| fault.reason)
}

fn written(answer: Answer) -> proto::Written {
    match answer {
        Ok(Outcome::Written(written)) => written,
        Ok(_) => panic!("a write is answered with what was written"),
        Err(fault) => panic!("{}", fault.reason),
    }
}

fn found(answer: Answer) -> proto::Found {
    match answer {
        Ok(Outcome::Found(found)) => found,
        Ok(_) => panic!("a get is answered with what was found"),
        Err(fault) => panic!("{}", fault.reason),
    }
}

/// A person with records, some of which were changed or deleted.
async fn fill(rig: &Rig, subject: &str, records: u64) -> BTreeMap<String, proto::Found> {
    for n in 0..records {
        let op = Op::Put(put(rig, subject, &format!("k{n}"), &body(n)));
        assert_eq!(reason(rig.told(op).await), "done");
    }
    let expiring = proto::Put { expire_ms: 4_000_000_000_000, ..put(rig, subject, "k1", b"soon") };
    assert_eq!(reason(rig.told(Op::Put(expiring)).await), "done");
    assert_eq!(reason(rig.told(delete(rig, subject, "k2")).await), "done");
    let mut all = BTreeMap::new();
    for n in (0..records).filter(|n| *n != 2) {
        let key = format!("k{n}");
        all.insert(key.clone(), found(rig.told(get(subject, &key)).await));
    }
    all
}

fn delete(rig: &Rig, subject: &str, key: &str) -> Op {
    Op::Delete(proto::Delete {
        subject: subject.into(),
        collection: "profiles".into(),
        key: key.into(),
        request_id: rig.id().into(),
        ..Default::default()
    })
}

/// Compares what a shard has with what there was.
async fn has(rig: &Rig, at: usize, subject: &str, all: &BTreeMap<String, proto::Found>) {
    let read = |key: &str| {
        let op = get(subject, key);
        async move {
            loop {
                // A shard that has just ended is started again.
                match rig.call(at, op.clone()).await {
                    Some(answer) => return answer,
                    None => sleep(Duration::from_millis(5)).await,
                }
            }
        }
    };
    for (key, was) in all {
        assert!(found(read(key).await) == *was, "{key}: version, etag, body and expiry stay");
    }
    assert_eq!(reason(read("k2").await), "RECORD_NOT_FOUND");
}

fn entries(place: &Place) -> Vec<Entry> {
    let entries = stored::entries_in(&*place.store(), 1);
    entries.iter().map(|entry| Entry::decode(entry).unwrap()).collect()
}

/// Whether both logs tell one story: each slot that was given away was taken, once each and one by the
/// other. Gives how many.
fn agree(out: &Place, into: &Place) -> usize {
    let (out, into) = (entries(out), entries(into));
    let (left, taken) = (ends(&out, Kind::MoveOut), ends(&into, Kind::MoveIn));
    let gave: Vec<u64> = left.iter().map(|(at, _)| *at).collect();
    let named: Vec<u64> = taken.iter().map(|(_, (_, index))| *index).collect();
    assert_eq!(gave, named, "each names the entry that gave it away");
    for ((at, _), (by, _)) in left.iter().zip(&taken) {
        let commits = |all: &[Entry], n: u64| all[usize::try_from(n).unwrap()].commitment;
        let (gave, took) = (commits(&out, *at), commits(&into, *by));
        assert!(gave.is_some() && gave == took, "both commit to the same");
    }
    left.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_moves_with_all_that_is_in_it_and_back() {
    let rig = Rig::new(1).await;
    let (anna, gone, other) = (person(764, 0), person(764, 1), person(342, 0));
    let all = fill(&rig, &anna, 12).await;
    let others = fill(&rig, &other, 4).await;
    let first = put(&rig, &anna, "again", b"once");
    let once = written(rig.told(Op::Put(first.clone())).await);
    let second = put(&rig, &anna, "again", b"twice");
    let twice = written(rig.told(Op::Put(second.clone())).await);
    fill(&rig, &gone, 3).await;
    let erase = Op::Erase(proto::Erase {
        subject: gone.clone(),
        request_id: rig.id().into(),
        reason: "asked for".into(),
        ..Default::default()
    });
    let erased = loop {
        match rig.call_as_eraser(erase.clone()).await {
            Ok(Outcome::Written(written)) if written.unfinished => {}
            answer => break written(answer),
        }
    };
    rig.order(0, "764").await;
    rig.until_done(0).await;
    has(&rig, 1, &anna, &all).await;
    has(&rig, 0, &other, &others).await;
    for (at, subject) in [(0, &anna), (1, &other)] {
        let call = rig.call(at, Op::Put(put(&rig, subject, "k0", b"wrong"))).await.unwrap();
        assert_eq!(reason(call), "SLOT_NOT_OWNED");
        let call = rig.call(at, get(subject, "k0")).await.unwrap();
        assert_eq!(reason(call), "SLOT_NOT_OWNED");
    }
    // What was done is known: a caller that retries gets the same answer, and nothing is done twice.
    for (of, was) in [(&first, &once), (&second, &twice)] {
        let again = written(rig.call(1, Op::Put(of.clone())).await.unwrap());
        assert!(again.replayed && again.version == was.version, "{}", again.version);
    }
    let fault = rig.call(1, Op::Put(put(&rig, &gone, "k0", b"late"))).await.unwrap();
    assert_eq!(reason(fault), "SUBJECT_ERASED");
    let again = written(rig.call_as_eraser(erase).await);
    // Its entry is in the log of the other shard, which is named.
    assert!(erased.origin.is_empty());
    let told = (again.replayed, again.index, again.origin.as_str());
    assert_eq!(told, (true, erased.index, "sample/ru-msk/s1/1"));
    // Versions go on, those of deleted records too.
    for (key, version) in [("k0", 2), ("k2", 3), ("again", 3), ("new", 1)] {
        let put = put(&rig, &anna, key, b"there");
        assert_eq!(written(rig.call(1, Op::Put(put)).await.unwrap()).version, version, "{key}");
    }
    rig.order(1, "764").await;
    rig.until_done(1).await;
    assert_eq!(found(rig.call(0, get(&anna, "k0")).await.unwrap()).version, 2);
    let put = put(&rig, &anna, "k0", b"home");
    assert_eq!(written(rig.call(0, Op::Put(put)).await.unwrap()).version, 3);
    let (places, _) = rig.stop().await;
    assert_eq!((agree(&places[0], &places[1]), agree(&places[1], &places[0])), (1, 1));
    let rows = |at: usize, prefix: &[u8]| stored::rows_in(&*places[at].store(), prefix).len();
    let slot = 764_u16.to_be_bytes();
    for prefix in 0x10..=0x17 {
        assert_eq!(rows(1, &[&[prefix][..], &slot].concat()), 0, "{prefix:02x}");
    }
    for (at, prefix) in [(0, 0x3c), (0, 0x3e), (1, 0x3c), (1, 0x3e), (1, 0x31), (1, 0x32)] {
        assert_eq!(rows(at, &[prefix]), 0, "{prefix:02x}");
    }
    // The slot has two people. One was erased: a tombstone. The other one has records.
    assert!(rows(0, &[&[0x10][..], &slot].concat()) > 14);
}

impl Rig {
    async fn call_as_eraser(&self, op: Op) -> Answer {
        for at in [0, 1] {
            let (mut session, _) = self.session(at).await.unwrap();
            session.role = Some("eraser");
            match session.call(op.clone()).await {
                Err(fault) if fault.reason == "SLOT_NOT_OWNED" => {}
                answer => return answer,
            }
        }
        panic!("no shard has it");
    }
}

/// A crash of either shard at each of its commits, of each kind.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_every_step_of_either_side_is_gone_on_from() {
    let anna = person(764, 0);
    for side in 0..2 {
        for fault in [Fault::Crash, Fault::ReplyLost] {
            let mut crashed = 0;
            for step in 0..7 {
                let rig = Rig::new(step).await;
                let all = fill(&rig, &anna, 4).await;
                order_and_fail(&rig, side, step, fault).await;
                rig.until_done(0).await;
                wait_served(&rig, 1, 764).await;
                has(&rig, 1, &anna, &all).await;
                assert!(!rig.served(0).await.unwrap().contains(slot_of(&anna)));
                let (places, starts) = rig.stop().await;
                crashed += u32::from(starts > 2);
                assert_eq!(agree(&places[0], &places[1]), 1);
            }
            // How many commits follow the order depends on which steps meet in one group.
            assert!(crashed >= 1, "shard {side} was not ended at any commit");
        }
    }
}

/// Orders a move, and has a commit after it fail.
async fn order_and_fail(rig: &Rig, side: usize, step: u64, fault: Fault) {
    rig.order(0, "764").await;
    rig.shards[side].disk.fail_after(usize::try_from(step).unwrap(), fault);
}

async fn wait_served(rig: &Rig, at: usize, slot: u16) {
    let slot = Slot::new(slot).unwrap();
    let served = async {
        while !rig.served(at).await.is_some_and(|served| served.contains(slot)) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(WITHIN, served).await.expect("the slot is served");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_move_is_refused_and_a_move_that_is_given_up_leaves_nothing_behind() {
    let rig = Rig::new(3).await;
    let anna = person(764, 0);
    let all = fill(&rig, &anna, 12).await;
    let order = |at: usize, to: &str, slots: Option<&str>| {
        let slots = slots.map(str::to_owned);
        rig.ask(at, SlotsRequest::Move { to: to.to_owned(), slots })
    };
    for (at, to, slots, said) in [
        (0, "s9", Some("764"), "the annex of region ru-msk names no shard s9"),
        (0, "s1", Some("764"), "this shard is s1"),
        (0, "s2", Some("764,1023"), "this shard does not have slots 1023"),
        (1, "s1", Some("764"), "this shard does not have slots 764"),
        (0, "s2", None, "this shard has no slot that the annex gives shard s2"),
        (0, "s2", Some("x"), "x are no slots"),
    ] {
        let why = order(at, to, slots).await.unwrap_err();
        assert!(why.contains(said), "{why}");
    }
    // No link lasts long enough for all of it.
    let bytes = 30_000;
    rig.shards.iter().for_each(|one| one.cut_after.store(bytes, Ordering::Release));
    rig.order(0, "764").await;
    let why = order(0, "s2", Some("5")).await.unwrap_err();
    assert!(why.contains("go on"), "{why}");
    has(&rig, 0, &anna, &all).await;
    rig.ask(0, SlotsRequest::Cancel).await.unwrap();
    // It is served at once; what has come is discarded when there is a link.
    let op = Op::Put(put(&rig, &anna, "k0", b"served"));
    assert_eq!(reason(rig.call(0, op).await.unwrap()), "done");
    rig.shards.iter().for_each(|one| one.cut_after.store(0, Ordering::Release));
    rig.until_done(0).await;
    assert!(rig.served(0).await.unwrap().contains(slot_of(&anna)));
    let (places, _) = rig.stop().await;
    assert_eq!(agree(&places[0], &places[1]), 0);
    for prefix in [0x10, 0x11, 0x3e] {
        assert!(stored::rows_in(&*places[1].store(), &[prefix]).is_empty(), "{prefix:02x}");
    }
}
