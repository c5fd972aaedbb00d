//! A period of the log ends while the shard serves: no call is refused, and every entry, receipt and
//! tag belongs to the log in which it lies. Whatever fails on the way, the next start goes on.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::{Disk, Fault};
use ledger::entry::{Entry, Kind};
use ledger::note::Verifier;
use shard::{LogSettings, PeriodMax, Settings};
use tonic::transport::Channel;
use wire::session as proto;
use wire::v1 as api;
use wire::v1::ledger_client::LedgerClient;

use crate::support::auditor::{ORIGIN, auditor, entries, fill, logs, page};
use crate::support::{Place, Running, Stand, put_ru, request_id};

const WRITERS: u64 = 16;
const PERIOD_ENTRIES: u64 = 300;

/// A write that was acknowledged: its request, and the log in which it lies.
struct Done {
    n: u64,
    origin: String,
    written: proto::Written,
}

/// A put of each writer, by its number.
fn put(n: u64) -> proto::Put {
    // Some wait for their proofs, and so across the end of a period.
    proto::Put { prove: n.is_multiple_of(7), ..put_ru(&format!("p{n}"), "main", b"x", n) }
}

/// Puts until it is to end, on a session of its own.
async fn write(shard: Arc<Running>, writer: u64, ends: Arc<AtomicBool>) -> Vec<Done> {
    let (mut session, first) = shard.session_as(shard.hello()).await;
    let welcomed = first.welcome.unwrap().origin;
    let (mut done, mut n) = (Vec::new(), writer);
    while !ends.load(Ordering::Relaxed) {
        let written = session.put(put(n)).await.unwrap();
        let origin = if written.origin.is_empty() { &welcomed } else { &written.origin };
        done.push(Done { n, origin: origin.clone(), written });
        n += WRITERS;
    }
    done
}

/// Reads what the first writer has written first, again and again.
async fn read(shard: Arc<Running>, ends: Arc<AtomicBool>) {
    let mut session = shard.session().await;
    while !ends.load(Ordering::Relaxed) {
        assert_eq!(session.get("p0", "profiles", "main").await.unwrap().body, "x");
    }
}

fn settings(place: &Place, entries: u64) -> Settings {
    let period_max = PeriodMax { entries: Some(entries), days: None };
    Settings { log: LogSettings { period_max, ..LogSettings::default() }, ..place.settings() }
}

/// The period that grows.
async fn period(auditor: &mut LedgerClient<Channel>) -> u32 {
    let told = auditor.checkpoint(api::LedgerCheckpointRequest::default()).await.unwrap();
    let log = Verifier::from_vkey(&told.into_inner().vkey).unwrap();
    log.name().rsplit('/').next().unwrap().parse().unwrap()
}

/// All that a follower of the first log is sent, until the log ends.
async fn follow(mut auditor: LedgerClient<Channel>) -> Vec<Vec<u8>> {
    let asked = api::LedgerTailRequest { origin: ORIGIN.to_owned(), ..Default::default() };
    let mut tail = auditor.tail(asked).await.unwrap().into_inner();
    let mut all = Vec::new();
    while let Some(message) = tail.message().await.unwrap() {
        assert_eq!(message.start, all.len() as u64);
        all.extend(message.entries.iter().map(|entry| entry.to_vec()));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_is_refused_while_periods_end() {
    for stand in Stand::all() {
        let place = Place::on("ru-msk", stand);
        let shard = place.open_as(settings(&place, PERIOD_ENTRIES)).await.unwrap();
        let shard = Arc::new(Running::serve(shard, "ru-msk").await);
        // Its session stands before any period ends, and is used when several have ended.
        let mut early = shard.session().await;
        early.put(put(0)).await.unwrap();
        let mut auditor = auditor(&shard).await;
        let followed = tokio::spawn(follow(auditor.clone()));
        let ends = Arc::new(AtomicBool::new(false));
        let writers =
            (1..=WRITERS).map(|n| tokio::spawn(write(Arc::clone(&shard), n, Arc::clone(&ends))));
        let writers: Vec<_> = writers.collect();
        let readers = (0..2).map(|_| tokio::spawn(read(Arc::clone(&shard), Arc::clone(&ends))));
        let readers: Vec<_> = readers.collect();
        while period(&mut auditor).await < 4 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        ends.store(true, Ordering::Relaxed);
        let mut done = Vec::new();
        for writer in writers {
            done.extend(writer.await.unwrap());
        }
        for reader in readers {
            reader.await.unwrap();
        }
        // None is due any more, and all that was written is signed.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let last = proto::Put { prove: true, ..put_ru("last", "main", b"x", u64::MAX) };
        early.put(last).await.unwrap();
        let logs = logs(&mut auditor).await;
        assert_eq!(followed.await.unwrap(), logs[ORIGIN].entries);
        verify(&logs, &done);
        for Done { n, origin, written } in done.iter().filter(|done| done.n < 2 * WRITERS) {
            let again = early.put(put(*n)).await.unwrap();
            let said = if again.origin.is_empty() { ORIGIN } else { &again.origin };
            assert_eq!((said, again.index, again.replayed), (origin.as_str(), written.index, true));
            assert_eq!(again.entry, written.entry);
        }
        let (status, _) = page(shard.audit_port, &format!("/{ORIGIN}/checkpoint")).await;
        assert_eq!(status, 200);
        drop(early);
        Arc::into_inner(shard).unwrap().stop().await.unwrap();
        drop(place.start().await);
    }
}

/// Each acknowledged write is in the log that it names, opens its entry, and is proven by that log's
/// key. Each log knows tenant and callers by tags of its own.
fn verify(logs: &BTreeMap<String, crate::support::auditor::Log>, done: &[Done]) {
    let mut seen = BTreeSet::new();
    let mut proven = 0;
    for Done { n, origin, written } in done {
        let log = &logs[origin];
        assert_eq!(log.entries[usize::try_from(written.index).unwrap()], written.entry);
        assert!(seen.insert((origin.clone(), written.index)), "put {n}");
        let receipt = ledger::Receipt {
            origin: origin.clone(),
            index: written.index,
            entry: written.entry.to_vec(),
            opening: written.opening.as_ref().try_into().unwrap(),
            statement: written.statement.to_vec(),
        };
        if n.is_multiple_of(7) {
            receipt.verify(&written.tlog_proof, &log.key, Some(b"x")).unwrap();
            proven += 1;
        }
        let commitment = ledger::statement::commitment(&receipt.opening, &receipt.statement);
        assert_eq!(Entry::decode(&receipt.entry).unwrap().commitment, Some(commitment));
    }
    assert!(proven > 0);
    let mut tags = BTreeSet::new();
    for (origin, log) in logs {
        let decoded: Vec<_> =
            log.entries.iter().map(|entry| Entry::decode(entry).unwrap()).collect();
        let of_writes = decoded.iter().filter(|entry| entry.kind == Kind::Place);
        let own: BTreeSet<_> = of_writes
            .map(|entry| (entry.tenant_tag, entry.caller.as_ref().map(|caller| caller.tag)))
            .collect();
        assert_eq!(own.len(), 1, "{origin} knows one tenant and caller by two tags");
        assert!(own.iter().all(|own| tags.insert(*own)), "{origin} has the tags of another log");
    }
    assert!(tags.len() >= 4);
}

/// A shard on a disk in memory, with some records.
async fn started(disk: &Disk) -> (Place, Running) {
    let mut place = Place::new("ru-msk");
    place.disk = Some(disk.clone());
    let shard = place.start().await;
    fill(&mut shard.session().await, 0, 10).await;
    (place, shard)
}

/// Has an operator ask for the end of the period.
async fn ask(place: &Place, within: Duration) -> Option<shard::LogKey> {
    place.settings().ask_to_rotate("sample", within).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_ends_a_period_of_a_running_shard() {
    let (place, shard) = started(&Disk::new(1)).await;
    let mut session = shard.session().await;
    let mut auditor = auditor(&shard).await;
    let began = ask(&place, Duration::from_secs(60)).await.unwrap();
    assert_eq!((began.period, began.origin.as_str()), (2, "sample/ru-msk/s1/2"));
    let written = session.put(put_ru("p7", "main", b"new", 100)).await.unwrap();
    assert_eq!((written.origin.as_str(), written.index), ("sample/ru-msk/s1/2", 2));
    let logs = logs(&mut auditor).await;
    assert_eq!(Some(logs["sample/ru-msk/s1/2"].key.vkey()), began.vkey);
    // A request about a log that has ended ends no other.
    let late = place.path("anchor").join("ru-msk-s1.rotate");
    let told = std::fs::read_to_string(&late).ok();
    assert!(told.is_none_or(|of| of.trim() == ORIGIN));
    while late.exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(period(&mut auditor).await, 2);
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_at_any_commit_of_it_is_mended_by_the_next_start() {
    let mut runs = tokio::task::JoinSet::new();
    for fault in [Fault::Crash, Fault::FlushFails, Fault::ReplyLost, Fault::Full] {
        // The SEAL; the next period's first commit.
        for commit in 0..2 {
            (0..3).for_each(|seed| drop(runs.spawn(broken(fault, commit, seed))));
        }
    }
    while let Some(run) = runs.join_next().await {
        run.unwrap();
    }
}

async fn broken(fault: Fault, commit: usize, seed: u64) {
    let disk = Disk::new(seed);
    let (place, shard) = started(&disk).await;
    disk.fail_after(commit, fault);
    if (commit, fault) == (0, Fault::Full) {
        // It is put off, and nothing was changed: no room is looked for again in the next minute.
        assert_eq!(ask(&place, Duration::from_secs(15)).await, None);
        fill(&mut shard.session().await, 20, 1).await;
        assert_eq!(period(&mut auditor(&shard).await).await, 1);
        return shard.stop().await.unwrap();
    }
    let (_, ended) = tokio::join!(ask(&place, Duration::from_secs(3)), shard.wait());
    assert!(matches!(ended, Err(shard::Error::Poisoned)), "{fault:?} {commit}");
    let shard = place.start().await;
    let mut session = shard.session().await;
    assert_eq!(session.get("p7", "profiles", "main").await.unwrap().body, "x");
    fill(&mut session, 20, 1).await;
    let mut auditor = auditor(&shard).await;
    // The request still stands, or was done: not twice.
    while period(&mut auditor).await < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(logs(&mut auditor).await.len(), 2, "{fault:?} {commit}");
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_whose_outcome_was_lost_ends_the_period_where_the_store_opens_again() {
    let disk = Disk::new(1);
    disk.let_reopen();
    let (place, shard) = started(&disk).await;
    disk.fail_next(Fault::ReplyLost);
    assert!(ask(&place, Duration::from_secs(60)).await.is_some());
    fill(&mut shard.session().await, 20, 1).await;
    assert_eq!(logs(&mut auditor(&shard).await).await.len(), 2);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_that_is_due_at_a_start_ends_before_anything_is_served() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    fill(&mut shard.session().await, 0, 30).await;
    shard.stop().await.unwrap();
    let shard = place.open_as(settings(&place, 20)).await.unwrap();
    assert!(shard.checkpoint().starts_with("sample/ru-msk/s1/2\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn counted_reads_and_refusals_of_before_are_written_with_the_tags_of_the_next_log() {
    let (place, shard) = started(&Disk::new(1)).await;
    let mut session = shard.session().await;
    session.get("p7", "profiles", "main").await.unwrap();
    let delete = proto::Delete {
        subject: "p3".into(),
        collection: "profiles".into(),
        key: "main".into(),
        request_id: request_id(99).into(),
        ..Default::default()
    };
    session.role = Some("reader");
    assert_eq!(session.delete(delete).await.err().unwrap(), "NOT_PERMITTED");
    session.role = None;
    ask(&place, Duration::from_secs(60)).await.unwrap();
    fill(&mut session, 20, 1).await;
    drop(session);
    // They are written as it goes down.
    shard.stop().await.unwrap();
    let shard = place.start().await;
    let mut auditor = auditor(&shard).await;
    let all = entries(&mut auditor, api::LedgerEntriesRequest::default()).await;
    let decoded: Vec<_> = all.iter().map(|(_, entry)| Entry::decode(entry).unwrap()).collect();
    let of = |kind| {
        let entry = decoded.iter().find(|entry| entry.kind == kind).unwrap();
        (entry.tenant_tag, entry.caller.as_ref().unwrap().tag)
    };
    // One tenant, one caller: one pair of tags.
    assert_eq!(of(Kind::Count), of(Kind::Place));
    assert_eq!(of(Kind::Refuse), of(Kind::Place));
    shard.stop().await.unwrap();
}
