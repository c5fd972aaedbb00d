//! Periods of the log that end while the shard is stopped: each with a SEAL, and a crash at any step
//! leaves a log that goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::auditor::{ORIGIN, auditor, checkpoint, entries, fill, logs, page};
use crate::support::{Place, Stand, unlocked};
use ledger::checkpoint::Checkpoint;
use ledger::entry::{Detail, Entry, Kind};
use ledger::hash;
use link::host::clock::{SystemClock, SystemEntropy};
use shard::{Environment, Error};
use terms::{Clock, Entropy, EntropyFailed, UnixMillis};
use wire::v1 as api;

/// An outside world that ends after so many questions, as if the power went.
struct Ends {
    left: AtomicU32,
}

impl Ends {
    fn ask(&self) {
        let left = self.left.load(Ordering::Relaxed);
        assert!(left > 0, "it ends here");
        self.left.store(left - 1, Ordering::Relaxed);
    }
}

impl Clock for Ends {
    fn now(&self) -> UnixMillis {
        self.ask();
        SystemClock.now()
    }
}

impl Entropy for Ends {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyFailed> {
        self.ask();
        SystemEntropy.fill(buffer)
    }
}

fn rotate(place: &Place, outside: &Environment) -> Result<shard::Rotated, Error> {
    let map = place.map();
    let annex = atlas::Annex::parse(&place.annex, &map).expect("it is there");
    shard::rotate_log(&place.settings(), &map, &annex, outside)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_log_is_served_on_and_the_next_names_it() {
    for stand in Stand::all() {
        let place = Place::on("ru-msk", stand);
        let shard = place.start().await;
        fill(&mut shard.session().await, 0, 300).await;
        let (_, old_key) = checkpoint(&mut auditor(&shard).await, 303).await;
        shard.stop().await.unwrap();
        let rotated = unlocked(|| rotate(&place, &place.outside())).await.unwrap();
        assert_eq!((rotated.sealed.as_str(), rotated.size), (ORIGIN, 304));
        assert_eq!(rotated.origin, "sample/ru-msk/s1/2");
        // As if the power had gone before the anchor knew of the new log.
        let anchor = place.path("anchor").join("ru-msk-s1.checkpoint");
        tear_newest(&anchor);

        let shard = place.start().await;
        let mut session = shard.session().await;
        let mut auditor = auditor(&shard).await;
        fill(&mut session, 1_000, 5).await;
        assert_eq!(session.get("p7", "profiles", "main").await.unwrap().body, "x");
        let (newest, new_key) = checkpoint(&mut auditor, 7).await;
        assert_eq!(new_key.vkey(), rotated.vkey);
        let asked = api::LedgerCheckpointRequest { origin: ORIGIN.to_owned() };
        let told = auditor.checkpoint(asked).await.unwrap().into_inner();
        assert_eq!(told.vkeys, [old_key.vkey(), new_key.vkey()]);
        let sealed = Checkpoint::open(&told.checkpoint, &old_key).unwrap();
        assert_eq!(sealed.size, 304);
        let asked = api::LedgerEntriesRequest { origin: ORIGIN.to_owned(), ..Default::default() };
        let old = entries(&mut auditor, asked).await;
        let mut edge = ledger::Edge::new();
        old.iter().for_each(|(_, entry)| edge.append(hash::leaf_hash(entry), &mut vec![]));
        assert_eq!(edge.root(), sealed.root);
        assert_eq!(Entry::decode(&old[303].1).unwrap().kind, Kind::Seal);
        let (status, note) = page(shard.audit_port, &format!("/{ORIGIN}/checkpoint")).await;
        assert_eq!((status, note), (200, told.checkpoint.into_bytes()));
        let new = entries(&mut auditor, api::LedgerEntriesRequest::default()).await;
        assert_eq!(newest.origin, "sample/ru-msk/s1/2");
        let genesis = Entry::decode(&new[0].1).unwrap();
        let head = Detail::OldHead { origin: sealed.origin, size: 304, root: sealed.root };
        assert!(genesis.kind == Kind::Genesis && genesis.details.contains(&head));
        drop(session);
        shard.stop().await.unwrap();
        drop(place.start().await);
    }
}

/// Tears the newer slot of an anchor: what a crash in the middle of a write leaves.
fn tear_newest(anchor: &std::path::Path) {
    let mut bytes = std::fs::read(anchor).expect("it is there");
    let sequence = |slot: usize| {
        let at = slot * 4096 + 5;
        let bytes = bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok());
        u64::from_be_bytes(bytes.expect("a sequence"))
    };
    let newer = if sequence(0) > sequence(1) { 0 } else { 4096 };
    *bytes.get_mut(newer + 100).expect("a slot") ^= 1;
    std::fs::write(anchor, bytes).expect("it is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_broke_off_is_ended_by_the_next_start() {
    for stand in Stand::all() {
        let place = Place::on("ru-msk", stand);
        let shard = place.start().await;
        fill(&mut shard.session().await, 0, 10).await;
        shard.stop().await.unwrap();
        let (mut questions, mut origins) = (0, std::collections::BTreeSet::new());
        loop {
            let ends = Arc::new(Ends { left: AtomicU32::new(questions) });
            let outside = Environment {
                store: place.store(),
                clock: Arc::clone(&ends) as _,
                entropy: ends,
                cipher: &shard::AesGcm,
            };
            let broken = std::thread::scope(|scope| {
                scope.spawn(|| rotate(&place, &outside)).join().is_err()
            });
            // Whatever was the last step: it starts, has its records, and takes more.
            let shard = place.start().await;
            let mut session = shard.session().await;
            assert_eq!(session.get("p7", "profiles", "main").await.unwrap().body, "x");
            fill(&mut session, 1_000 + u64::from(questions), 1).await;
            let mut auditor = auditor(&shard).await;
            let (newest, _) = checkpoint(&mut auditor, 3).await;
            origins.insert(newest.origin);
            logs(&mut auditor).await;
            drop(session);
            shard.stop().await.unwrap();
            if !broken {
                break;
            }
            questions += 1;
        }
        assert!(questions >= 3, "{questions} questions: the steps are not seen");
        // The SEAL was written and the next period was not begun, at least once; and at last.
        assert!(origins.len() >= 3, "{origins:?}");
    }
}
