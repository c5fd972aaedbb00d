//! The log as auditors get it: pages, service, proofs with receipts, and periods that end.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ledger::checkpoint::Checkpoint;
use ledger::entry::{Detail, Entry, Kind};
use ledger::note::Verifier;
use ledger::{BundleId, Hash, TileId, bundle, hash, proof, tlog_proof, tree};
use link::system::{SystemClock, SystemEntropy};
use shard::{Error, LogSettings, Outside, PeriodMax};
use support::{Place, Running, Session, put_ru};
use terms::{Clock, Entropy, EntropyFailed, UnixMillis};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::Channel;
use wire::session as proto;
use wire::v1 as api;
use wire::v1::ledger_client::LedgerClient;

const ORIGIN: &str = "sample/ru-msk/s1/1";

/// One page over HTTP/1.1: status and body.
async fn page(port: u16, path: &str) -> (u16, Vec<u8>) {
    page_of(port, path, "localhost").await
}

async fn page_of(port: u16, path: &str, host: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it is sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it is answered");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("headers");
    let (head, body) = answer.split_at(end);
    let head = String::from_utf8_lossy(head);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.get(4..).expect("a body").to_vec())
}

async fn auditor(shard: &Running) -> LedgerClient<Channel> {
    let url = format!("http://127.0.0.1:{}", shard.audit_port);
    LedgerClient::connect(url).await.expect("it listens").max_decoding_message_size(64 << 20)
}

async fn fill(session: &mut Session, from: u64, count: u64) {
    let mut calls = Vec::new();
    for n in from..from + count {
        calls.push(session.wrap(proto::call::Op::Put(put_ru(&format!("p{n}"), "main", b"x", n))));
    }
    let ids: Vec<u64> = calls.iter().map(|call| call.id).collect();
    for some in calls.chunks(200) {
        session.send(some.to_vec()).await;
    }
    for id in ids {
        assert!(session.answer(id).await.expect("an answer").is_ok());
    }
}

/// The newest checkpoint, once it has signed for so many entries.
async fn checkpoint(auditor: &mut LedgerClient<Channel>, size: u64) -> (Checkpoint, Verifier) {
    loop {
        let told =
            auditor.checkpoint(api::LedgerCheckpointRequest::default()).await.expect("it is there");
        let told = told.into_inner();
        let log = Verifier::from_vkey(&told.vkey).expect("it is there");
        let checkpoint = Checkpoint::open(&told.checkpoint, &log).expect("it is there");
        if checkpoint.size >= size {
            return (checkpoint, log);
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

async fn entries(
    auditor: &mut LedgerClient<Channel>,
    request: api::LedgerEntriesRequest,
) -> Vec<(u64, Vec<u8>)> {
    let mut stream = auditor.entries(request).await.expect("it is there").into_inner();
    let mut all = Vec::new();
    while let Some(batch) = stream.message().await.expect("it is there") {
        assert_eq!(batch.indexes.len(), batch.entries.len());
        let entries = batch.entries.into_iter().map(|entry| entry.to_vec());
        all.extend(batch.indexes.into_iter().zip(entries));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_service_give_the_log_that_the_checkpoint_signs() {
    for engine in engine::Kind::ALL {
        let mut place = Place::new("ru-msk");
        place.engine = engine;
        let shard = place.start().await;
        let mut session = shard.session().await;
        let mut auditor = auditor(&shard).await;
        fill(&mut session, 0, 700).await;
        let (newest, log) = checkpoint(&mut auditor, 703).await;
        assert_eq!((newest.size, newest.origin.as_str()), (703, ORIGIN));

        // Every tile and bundle, over plain HTTP, and with it the root.
        let port = shard.audit_port;
        let mut tiles = std::collections::HashMap::new();
        for (level, count) in [(0_u8, 3_u64), (1, 1)] {
            for index in 0..count {
                let tile = TileId::of_size(level, index, 703).unwrap();
                let (status, bytes) = page(port, &format!("/{ORIGIN}/{}", tile.path())).await;
                assert_eq!(status, 200);
                tiles.insert(tile, bytes);
            }
        }
        let mut reader = |tile: TileId| tiles.get(&tile).cloned().ok_or(());
        assert_eq!(tree::audit(703, &mut reader).unwrap(), newest.root);
        let all = entries(&mut auditor, api::LedgerEntriesRequest::default()).await;
        assert_eq!(all.len(), 703);
        for index in 0..3 {
            let id = BundleId::of_size(index, 703).unwrap();
            let (status, bytes) = page(port, &format!("/{}", id.path())).await;
            assert_eq!(status, 200);
            for (n, entry) in (index * 256..).zip(bundle::decode(&bytes, id.width).unwrap()) {
                assert_eq!(all[usize::try_from(n).unwrap()], (n, entry.to_vec()));
            }
        }
        // Partial ones of any signed size; none beyond; none of another name.
        let first = &tiles[&TileId::full(0, 0)];
        for width in [1_u16, 17, 255] {
            let (status, bytes) = page(port, &format!("/tile/0/000.p/{width}")).await;
            assert_eq!((status, bytes.as_slice()), (200, &first[..usize::from(width) * 32]));
            let (status, bytes) = page(port, &format!("/tile/entries/001.p/{width}")).await;
            assert_eq!((status, bundle::decode(&bytes, width).unwrap().len()), (200, width.into()));
        }
        for bad in
            ["tile/0/002", "tile/0/002.p/192", "tile/0/003.p/1", "tile/1/000.p/3", "tile/2/000.p/1"]
        {
            assert_eq!(page(port, &format!("/{bad}")).await.0, 404, "{bad}");
        }
        assert_eq!(page(port, "/sample/ru-msk/s1/9/checkpoint").await.0, 404);
        let (_, policy) = page(port, "/policy").await;
        assert_eq!(String::from_utf8_lossy(&policy), format!("log {}\nquorum none\n", log.vkey()));

        // Proofs, of entries and of growth.
        for index in [0, 1, 255, 256, 701] {
            let asked = api::LedgerProofRequest { index, ..Default::default() };
            let told = auditor.proof(asked).await.unwrap().into_inner();
            assert_eq!(told.entry.to_vec(), all[usize::try_from(index).unwrap()].1);
            let proven = tlog_proof::verify_receipt(&told.tlog_proof, &log, &told.entry).unwrap();
            assert_eq!(proven.index, index);
        }
        let old = 301;
        let mut edge = ledger::Edge::new();
        all[..old].iter().for_each(|(_, entry)| edge.append(hash::leaf_hash(entry), &mut vec![]));
        let asked = api::LedgerConsistencyRequest { old_size: 301, ..Default::default() };
        let told = auditor.consistency(asked).await.unwrap().into_inner();
        let hashes: Vec<Hash> =
            told.hashes.iter().map(|hash| Hash(hash.as_ref().try_into().unwrap())).collect();
        proof::verify_consistency(301, &edge.root(), 703, &newest.root, &hashes).unwrap();
        let beyond = api::LedgerProofRequest { index: 703, ..Default::default() };
        assert!(auditor.proof(beyond).await.is_err());
        drop(session);
        shard.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_filtered_and_the_tail_goes_on() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    let mut auditor = auditor(&shard).await;
    fill(&mut session, 0, 20).await;
    let delete = proto::Delete {
        subject: "p3".into(),
        collection: "profiles".into(),
        key: "main".into(),
        request_id: support::request_id(99).into(),
        ..Default::default()
    };
    session.delete(delete).await.unwrap();
    checkpoint(&mut auditor, 24).await;
    let filtered = |filter: api::LedgerFilter| api::LedgerEntriesRequest {
        filter: Some(filter),
        ..Default::default()
    };
    let kinds = |kinds: &[&str]| kinds.iter().map(|kind| (*kind).to_owned()).collect();
    for (filter, count) in [
        (api::LedgerFilter { kinds: kinds(&["DELETE"]), ..Default::default() }, 1),
        (api::LedgerFilter { kinds: kinds(&["GENESIS", "MAP"]), ..Default::default() }, 2),
        (api::LedgerFilter { jurisdiction: "RU".into(), ..Default::default() }, 20),
        (api::LedgerFilter { jurisdiction: "DE".into(), ..Default::default() }, 0),
        (api::LedgerFilter { collection: "profiles".into(), ..Default::default() }, 21),
        (api::LedgerFilter { until_time: Some(wire_time(1_700_000_000)), ..Default::default() }, 0),
        (api::LedgerFilter { from_time: Some(wire_time(1_700_000_000)), ..Default::default() }, 24),
    ] {
        let found = entries(&mut auditor, filtered(filter.clone())).await;
        assert_eq!(found.len(), count, "{:?}", filter.kinds);
    }
    let bad = filtered(api::LedgerFilter { kinds: kinds(&["NOTHING"]), ..Default::default() });
    assert!(auditor.entries(bad).await.is_err());

    let mut tail = auditor
        .tail(api::LedgerTailRequest { start: 20, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    let mut seen = 20;
    fill(&mut session, 100, 5).await;
    while seen < 29 {
        let told = tail.message().await.unwrap().expect("it goes on");
        assert_eq!(told.start, seen);
        seen += u64::try_from(told.entries.len()).unwrap();
    }
    drop(session);
    shard.stop().await.unwrap();
    // The tail says why it ends.
    assert!(tail.message().await.is_err());
}

fn wire_time(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: 0 }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_auditor_takes_no_seat_of_others_and_a_page_elsewhere_gets_nothing() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut auditor = auditor(&shard).await;
    let mut tails = Vec::new();
    let refused = loop {
        match auditor.tail(api::LedgerTailRequest::default()).await {
            Ok(tail) => tails.push(tail),
            Err(refused) => break refused,
        }
        assert!(tails.len() < 64, "one auditor takes all seats");
    };
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    drop(tails);
    // Given back as the streams end.
    while auditor.checkpoint(api::LedgerCheckpointRequest::default()).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // Beyond what is signed nobody waits for ever.
    let beyond = api::LedgerTailRequest { start: 1_000, ..Default::default() };
    assert!(auditor.tail(beyond).await.is_err());
    for (host, status) in [
        ("localhost:7432", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("rebound.example", 403),
        ("rebound.example:7432", 403),
        ("127.0.0.1.rebound.example", 403),
    ] {
        assert_eq!(page_of(shard.audit_port, "/checkpoint", host).await.0, status, "{host}");
    }
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_asks_for_it_is_answered_with_a_proof() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    let put = proto::Put { prove: true, ..put_ru("anna", "main", b"hello", 1) };
    let written = session.put(put.clone()).await.unwrap();
    let (_, log) = checkpoint(&mut auditor(&shard).await, 1).await;
    let receipt = ledger::Receipt {
        origin: ORIGIN.to_owned(),
        index: written.index,
        entry: written.entry.to_vec(),
        opening: written.opening.as_ref().try_into().unwrap(),
        statement: written.statement.to_vec(),
    };
    let (entry, signed) = receipt.verify(&written.tlog_proof, &log, Some(b"hello")).unwrap();
    assert_eq!(entry.kind, Kind::Place);
    assert!(signed.size > written.index);
    // A retry has it again, and one that does not ask has none.
    let again = session.put(put).await.unwrap();
    assert!(again.replayed);
    receipt.verify(&again.tlog_proof, &log, Some(b"hello")).unwrap();
    let plain = session.put(put_ru("anna", "other", b"hello", 2)).await.unwrap();
    assert!(plain.tlog_proof.is_empty());
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn store_and_log_are_compared_and_that_is_noted() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    let mut auditor = auditor(&shard).await;
    fill(&mut session, 0, 50).await;
    session.put(put_ru("p7", "main", b"newer", 200)).await.unwrap();
    let asked = api::LedgerReconcileRequest { indexes: vec![3, 10, 53], rows: 10, seed: 7 };
    let told = auditor.reconcile(asked).await.unwrap().into_inner();
    assert_eq!((told.records, told.start_size, told.size), (50, 54, 54));
    assert_eq!(told.unreadable, 0);
    assert_eq!((told.origin.as_str(), told.rows.len()), (ORIGIN, 10));
    checkpoint(&mut auditor, 55).await;
    let all = entries(&mut auditor, api::LedgerEntriesRequest::default()).await;
    let opens = |one: &api::OpenedEntry| {
        let entry = Entry::decode(&all[usize::try_from(one.index).unwrap()].1).unwrap();
        let opening = one.opening.as_ref().try_into().ok()?;
        Some(entry.commitment == Some(ledger::statement::commitment(&opening, &one.statement)))
    };
    assert!(told.rows.iter().all(|row| opens(row) == Some(true)));
    let opened: Vec<_> = told.opened.iter().map(opens).collect();
    // The entry of p7's first version was superseded: its opening is gone.
    assert_eq!(opened, [Some(true), None, Some(true)]);
    let last = Entry::decode(&all[54].1).unwrap();
    assert_eq!(last.kind, Kind::Count);
    assert_eq!(last.caller.unwrap().role.as_str(), "auditor");
    assert!(last.details.contains(&Detail::Count(12)));
    drop(session);
    shard.stop().await.unwrap();
}

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

fn rotate(place: &Place, outside: &Outside) -> Result<shard::Rotated, Error> {
    let map = place.map();
    let annex = atlas::Annex::parse(&place.annex, &map).expect("it is there");
    shard::rotate_log(&place.settings(), &map, &annex, outside)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_log_is_served_on_and_the_next_names_it() {
    for engine in engine::Kind::ALL {
        let mut place = Place::new("ru-msk");
        place.engine = engine;
        let shard = place.start().await;
        fill(&mut shard.session().await, 0, 300).await;
        let (_, old_key) = checkpoint(&mut auditor(&shard).await, 303).await;
        shard.stop().await.unwrap();
        let rotated = rotate(&place, &place.outside()).unwrap();
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
    for engine in engine::Kind::ALL {
        let mut place = Place::new("ru-msk");
        place.engine = engine;
        let shard = place.start().await;
        fill(&mut shard.session().await, 0, 10).await;
        shard.stop().await.unwrap();
        let (mut questions, mut origins) = (0, std::collections::BTreeSet::new());
        loop {
            let ends = Arc::new(Ends { left: AtomicU32::new(questions) });
            let outside = Outside { clock: Arc::clone(&ends) as _, entropy: ends };
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
            whole(&mut auditor).await;
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

/// Every log that is served ends as it should, and each names the one before it.
async fn whole(auditor: &mut LedgerClient<Channel>) {
    let told = auditor.checkpoint(api::LedgerCheckpointRequest::default()).await;
    let vkeys = told.expect("it is there").into_inner().vkeys;
    let mut before: Option<(String, Hash)> = None;
    for (n, vkey) in vkeys.iter().enumerate() {
        let log = Verifier::from_vkey(vkey).expect("a key");
        let origin = log.name().to_owned();
        let asked = api::LedgerCheckpointRequest { origin: origin.clone() };
        let told = auditor.checkpoint(asked).await.expect("it is there").into_inner();
        let signed = Checkpoint::open(&told.checkpoint, &log).expect("it is signed");
        let asked = api::LedgerEntriesRequest {
            origin: origin.clone(),
            end: signed.size,
            ..Default::default()
        };
        let all = entries(auditor, asked).await;
        let mut edge = ledger::Edge::new();
        all.iter().for_each(|(_, entry)| edge.append(hash::leaf_hash(entry), &mut vec![]));
        assert_eq!(edge.root(), signed.root);
        let decoded: Vec<Entry> =
            all.iter().map(|(_, entry)| Entry::decode(entry).expect("an entry")).collect();
        let seals: Vec<usize> = (0..decoded.len())
            .filter(|n| decoded.get(*n).is_some_and(|entry| entry.kind == Kind::Seal))
            .collect();
        let last = n + 1 == vkeys.len();
        assert_eq!(seals, if last { vec![] } else { vec![decoded.len() - 1] });
        if let Some((origin, root)) = &before {
            let first = decoded.first().expect("a GENESIS");
            let names = |detail: &Detail| matches!(detail, Detail::OldHead { origin: o, root: r, .. } if o == origin && r == root);
            assert!(first.details.iter().any(names), "{origin} is not named");
        }
        before = Some((origin, signed.root));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_that_is_full_ends_the_process_and_the_next_start_begins_another() {
    let place = Place::new("ru-msk");
    let mut settings = place.settings();
    let entries = Some(30);
    settings.log =
        LogSettings { period_max: PeriodMax { entries, days: None }, ..LogSettings::default() };
    let shard = place.open_as(settings.clone()).await.unwrap();
    let shard = Running::serve(shard, "ru-msk").await;
    fill(&mut shard.session().await, 0, 30).await;
    assert!(matches!(shard.wait().await, Err(Error::PeriodEnded)));
    let shard = place.open_as(settings).await.unwrap();
    assert!(shard.checkpoint().starts_with("sample/ru-msk/s1/2\n"));
}
