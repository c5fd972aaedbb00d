//! A whole shard on the engine in memory, whose disk fails as its seed says. Whatever it is (full, a
//! torn batch, a crash, an outcome that is not known): what was acknowledged is there, a record and
//! its entry stand together, a request has one effect, and the log extends every checkpoint.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use engine::{Chances, Disk, Fault, Memory};
use ledger::checkpoint::Checkpoint;
use ledger::entry::{Entry, Kind};
use ledger::hash::leaf_hash;
use ledger::tree::Edge;
use shard::Error;
use wire::session as proto;

use crate::support::stored::{self, log_key};
use crate::support::{Place, Running, Session, put_ru};

/// Each seed is a run that can be replayed, as long as one call at a time is made: add one here.
const SEEDS: [u64; 6] = [1, 2, 3, 20_261_129, 0xdead_beef, u64::MAX];
const PUTS: u64 = 120;
/// More than a frame has puts.
const SUBJECTS: u64 = 20;
const CHANCES: Chances = Chances { crash: 40, flush_fails: 40, reply_lost: 40, full: 80 };

fn on_disk(seed: u64) -> (Place, Disk) {
    let mut place = Place::new("ru-msk");
    let disk = Disk::new(seed);
    place.disk = Some(disk.clone());
    place.init_as(&place.settings()).unwrap();
    (place, disk)
}

/// What is known of a put.
enum Known {
    Done(Box<proto::Written>),
    /// It was refused: nothing was changed.
    Refused,
    /// Its outcome is not known, or there was no answer.
    Unknown,
}

/// Sends puts in one frame.
async fn send(session: &mut Session, puts: &[u64]) -> Vec<Known> {
    let calls = puts.iter().map(|n| {
        let put = put_ru(&format!("p{}", n % SUBJECTS), "main", &n.to_be_bytes(), *n);
        session.wrap(proto::call::Op::Put(put))
    });
    let calls: Vec<_> = calls.collect();
    let ids: Vec<u64> = calls.iter().map(|call| call.id).collect();
    session.calls.send(proto::ToShard { hello: None, calls }).await.ok();
    let mut known = Vec::new();
    for id in ids {
        let answer = tokio::time::timeout(Duration::from_secs(90), session.answer(id)).await;
        known.push(match answer.expect("an answer in time, or an end") {
            Some(Ok(proto::reply::Outcome::Written(written))) => Known::Done(Box::new(written)),
            Some(Err(fault)) => match fault.reason.as_str() {
                "DISK_RESERVE" | "REGION_UNAVAILABLE" => Known::Refused,
                "WRITE_OUTCOME_UNKNOWN" | "SHUTTING_DOWN" => Known::Unknown,
                other => panic!("{other}"),
            },
            Some(Ok(_)) => panic!("a put is answered with what was written"),
            None => Known::Unknown,
        });
    }
    known
}

/// What a run has seen.
#[derive(Default)]
struct Seen {
    starts: u64,
    refused: u64,
    unknown: u64,
    /// Answers of puts whose outcome was not known, and that had been done.
    replayed: u64,
    done: BTreeMap<u64, proto::Written>,
    checkpoints: Vec<(u64, ledger::Hash)>,
}

/// Puts until all are done, in frames of so many; starts the shard again whenever it ends.
async fn run(place: &Place, frame: usize) -> Seen {
    let mut seen = Seen::default();
    let mut left: Vec<u64> = (0..PUTS).collect();
    // Puts that may have been done.
    let mut doubtful = Vec::new();
    while !left.is_empty() {
        seen.starts += 1;
        let shard = place.start().await;
        let mut session = shard.session().await;
        let mut ended = false;
        while !left.is_empty() && !ended {
            // No two of one subject: a frame with one put that is refused must not change their order.
            let within = left.first().map_or(0, |first| first + SUBJECTS);
            let next = left.iter().copied().take(frame).filter(|n| *n < within);
            let mut now: Vec<u64> = next.collect();
            while !now.is_empty() && !ended {
                for (n, known) in now.clone().into_iter().zip(send(&mut session, &now).await) {
                    match known {
                        Known::Done(written) => {
                            let in_doubt = doubtful.contains(&n);
                            assert!(in_doubt || !written.replayed, "put {n} was refused, and done");
                            seen.replayed += u64::from(written.replayed);
                            seen.done.insert(n, *written);
                            now.retain(|other| *other != n);
                            left.retain(|other| *other != n);
                        }
                        Known::Refused => seen.refused += 1,
                        Known::Unknown => {
                            seen.unknown += 1;
                            doubtful.push(n);
                            ended = true;
                        }
                    }
                }
            }
        }
        drop(session);
        if ended {
            assert!(matches!(shard.wait().await, Err(Error::Poisoned)));
        } else {
            shard.stop().await.unwrap();
        }
        seen.checkpoints.push(checkpoint(place));
    }
    seen
}

/// What the checkpoint file has: size and root.
fn checkpoint(place: &Place) -> (u64, ledger::Hash) {
    let vkey = log_key(&stored::entries_in(&*place.store(), 1));
    let file = place.path("anchor").join("ru-msk-s1.checkpoint");
    let Checkpoint { size, root, .. } = stored::checkpoint(&file, &vkey);
    (size, root)
}

/// Compares what was acknowledged with the log, the records and the checkpoints.
async fn verify(place: &Place, seen: &Seen) {
    let entries = stored::entries_in(&*place.store(), 1);
    let decoded: Vec<Entry> = entries.iter().map(|entry| Entry::decode(entry).unwrap()).collect();
    let kinds = |kind| decoded.iter().filter(|entry| entry.kind == kind).count() as u64;
    // One entry for each put, however often it was tried, and each is the acknowledged one.
    assert_eq!((kinds(Kind::Place), kinds(Kind::Replace)), (SUBJECTS, PUTS - SUBJECTS));
    let mut last = BTreeMap::new();
    for (n, written) in &seen.done {
        assert_eq!(entries[usize::try_from(written.index).unwrap()], written.entry, "put {n}");
        let version: &mut i64 = last.entry(n % SUBJECTS).or_default();
        *version += 1;
        assert_eq!(written.version, *version, "put {n}");
    }
    for (size, root) in &seen.checkpoints {
        let mut edge = Edge::new();
        let signed = entries.iter().take(usize::try_from(*size).unwrap());
        signed.for_each(|entry| edge.append(leaf_hash(entry), &mut vec![]));
        assert_eq!((edge.size(), edge.root()), (*size, *root), "the log does not extend it");
    }
    let shard = place.start().await;
    let mut session = shard.session().await;
    for (subject, version) in last {
        let found = session.get(&format!("p{subject}"), "profiles", "main").await.unwrap();
        let newest = (0..PUTS).rfind(|n| n % SUBJECTS == subject).unwrap();
        assert_eq!((found.version, &*found.body), (version, newest.to_be_bytes().as_slice()));
    }
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_every_failure_ends_the_process() {
    let mut sum = Seen::default();
    for frame in [1, 16] {
        for seed in SEEDS {
            let (place, disk) = on_disk(seed);
            disk.set_chances(CHANCES);
            let seen = run(&place, frame).await;
            println!(
                "seed {seed}, {frame} at once: {} starts, {} refused, {} unknown, {} replayed",
                seen.starts, seen.refused, seen.unknown, seen.replayed
            );
            disk.set_chances(Chances::default());
            verify(&place, &seen).await;
            sum.starts += seen.starts;
            sum.refused += seen.refused;
            sum.unknown += seen.unknown;
            sum.replayed += seen.replayed;
        }
    }
    // Each path was taken: a restart, a full disk, an unknown outcome that stood and one that did not.
    assert!(sum.starts > 40 && sum.refused > 20, "{} {}", sum.starts, sum.refused);
    assert!(sum.replayed > 10 && sum.unknown > sum.replayed + 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_can_be_opened_again_answers_every_put_and_the_process_goes_on() {
    let mut refused = 0;
    for frame in [1, 16] {
        for seed in SEEDS {
            let (place, disk) = on_disk(seed);
            disk.let_reopen();
            disk.set_chances(CHANCES);
            let seen = run(&place, frame).await;
            let terms = disk.head().term;
            println!("seed {seed}, {frame} at once: {} refused, term {terms}", seen.refused);
            assert_eq!((seen.starts, seen.unknown, seen.replayed), (1, 0, 0));
            disk.set_chances(Chances::default());
            verify(&place, &seen).await;
            refused += seen.refused;
        }
    }
    assert!(refused > 40, "{refused}");
}

/// One run with one call at a time is the same each time.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_gives_the_same_run() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (place, disk) = on_disk(SEEDS[3]);
        disk.set_chances(CHANCES);
        let Seen { starts, refused, unknown, replayed, done, .. } = run(&place, 1).await;
        let indexes: Vec<u64> = done.values().map(|written| written.index).collect();
        runs.push((starts, refused, unknown, replayed, indexes));
    }
    assert_eq!(runs[0], runs[1]);
}

async fn started(seed: u64) -> (Place, Disk, Running, Session) {
    let (place, disk) = on_disk(seed);
    let shard = place.start().await;
    let session = shard.session().await;
    (place, disk, shard, session)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_the_system_refuses_and_a_full_disk_end_nothing() {
    let (_place, disk, shard, mut session) = started(1).await;
    session.put(put_ru("anna", "main", b"one", 1)).await.unwrap();
    // As in a process that is out of file descriptors: rows are read together, then each alone.
    disk.fail_reads(u64::MAX);
    let refused = session.get("anna", "profiles", "main").await.err().unwrap();
    assert_eq!(refused, "REGION_UNAVAILABLE");
    let refused = session.put(put_ru("boris", "main", b"x", 2)).await.err().unwrap();
    assert_eq!(refused, "REGION_UNAVAILABLE");
    disk.fail_reads(0);
    assert_eq!(session.get("anna", "profiles", "main").await.unwrap().body, "one");
    for n in 3..6 {
        disk.fail_next(Fault::Full);
        let refused = session.put(put_ru("anna", "main", b"two", n)).await.err().unwrap();
        assert_eq!(refused, "DISK_RESERVE");
    }
    let written = session.put(put_ru("anna", "main", b"two", 6)).await.unwrap();
    assert_eq!((written.version, written.replayed), (2, false));
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_died_while_nothing_was_written_is_opened_again_by_a_read() {
    let (_place, disk, shard, mut session) = started(1).await;
    disk.let_reopen();
    session.put(put_ru("anna", "main", b"one", 1)).await.unwrap();
    disk.crash();
    let mut answers = Vec::new();
    loop {
        match session.get("anna", "profiles", "main").await {
            Ok(found) => {
                assert_eq!(found.body, "one");
                break;
            }
            Err(reason) => answers.push(reason),
        }
        assert!(answers.len() < 1_000, "it is not opened again: {:?}", answers.last());
    }
    assert!(!answers.is_empty());
    let written = session.put(put_ru("anna", "main", b"two", 2)).await.unwrap();
    assert_eq!(written.version, 2);
    drop(session);
    shard.stop().await.unwrap();

    // One that cannot be opened again ends its process.
    let (_place, disk, shard, mut session) = started(1).await;
    disk.crash();
    session.get("anna", "profiles", "main").await.err().unwrap();
    assert!(matches!(shard.wait().await, Err(Error::Poisoned)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_was_replaced_does_not_take_the_store_back() {
    let (_place, disk, shard, mut session) = started(1).await;
    disk.let_reopen();
    session.put(put_ru("anna", "main", b"one", 1)).await.unwrap();
    let other = Memory::open(&disk);
    let known = send(&mut session, &[7]).await;
    assert!(matches!(known.as_slice(), [Known::Unknown]));
    assert!(matches!(shard.wait().await, Err(Error::Poisoned)));
    assert_eq!(engine::Engine::head(&other).unwrap(), disk.head());
}
