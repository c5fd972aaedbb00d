//! The log as auditors get it: pages, service, proofs with receipts.

use crate::support::auditor::{ORIGIN, auditor, checkpoint, entries, fill, page, page_of};
use crate::support::{Place, put_ru};
use ledger::entry::{Detail, Entry, Kind};
use ledger::{BundleId, Hash, TileId, bundle, hash, proof, tlog_proof, tree};
use wire::session as proto;
use wire::v1 as api;

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
        request_id: crate::support::request_id(99).into(),
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
