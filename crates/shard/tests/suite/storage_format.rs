//! Rows at rest: how many a write has, which calls need no body, which stores are refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use engine::{Batch, Engine};

use crate::support::auditor::auditor;
use crate::support::stored::opened;
use crate::support::{Place, Stand, delete, put_ru};
use shard::Error;
use wire::session as proto;
use wire::v1 as api;

/// Changes the rows of a stopped shard.
fn change(place: &Place, change: impl FnOnce(&dyn Engine, &mut Batch)) {
    let store = opened(&*place.store());
    let mut batch = Batch::new();
    change(&*store, &mut batch);
    let head = store.head().unwrap();
    store.commit(batch, head, head.size).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_put_is_one_row_and_a_large_one_two() {
    for stand in Stand::all() {
        let place = Place::on("ru-msk", stand);
        let shard = place.start().await;
        let mut session = shard.session().await;
        session.put(put_ru("anna", "first", b"", 1)).await.unwrap();
        drop(session);
        shard.stop().await.unwrap();
        let count = |prefix| place.rows(&[prefix]).len();
        // The subject, and the head of its first record.
        assert_eq!((count(0x10), count(0x11)), (2, 0));
        // What is written under the same key, and the rows that the record has then.
        let (small, large) = (vec![7; 512], vec![7; 1 << 20]);
        let steps = [
            (Some(&small), 3, 0),
            (Some(&large), 3, 1),
            (Some(&small), 3, 0),
            (Some(&large), 3, 1),
            (None, 3, 0),
        ];
        for (n, (body, heads, bodies)) in (10..).zip(steps) {
            let shard = place.start().await;
            let mut session = shard.session().await;
            match body {
                Some(body) => {
                    session.put(put_ru("anna", "main", body, n)).await.unwrap();
                    let found = session.get("anna", "profiles", "main").await.unwrap();
                    assert!(found.body == *body, "the body is another");
                }
                None => drop(session.delete(delete("anna", "main", n)).await.unwrap()),
            }
            drop(session);
            shard.stop().await.unwrap();
            assert_eq!((count(0x10), count(0x11)), (heads, bodies), "step {n}");
        }
        // Every value begins with the format version.
        let all = place.rows(&[]);
        assert!(all.len() > 10 && all.iter().all(|(_, row)| row.first() == Some(&1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_no_body_reads_none() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    let large = vec![7; 1 << 20];
    for n in 1..=4 {
        session.put(put_ru("anna", &format!("k{n}"), &large, n)).await.unwrap();
    }
    drop(session);
    shard.stop().await.unwrap();
    // Whoever reads one of these bodies now finds that it is gone.
    change(&place, |store, batch| {
        let limit = engine::ScanLimit { rows: 100, bytes: usize::MAX };
        let span = engine::Span::prefix(&[0x11]);
        let page = store.scan(&span, engine::Order::Ascending, limit).unwrap();
        assert_eq!(page.rows.len(), 4);
        page.rows.into_iter().for_each(|(key, _)| batch.delete(key));
    });
    let shard = place.start().await;
    let mut session = shard.session().await;
    let lost = session.get("anna", "profiles", "k1").await.err().unwrap();
    assert_eq!(lost, "STORED_DATA_DAMAGED");
    // Dry runs.
    let dry = proto::Delete { validate_only: true, ..delete("anna", "k1", 20) };
    assert_eq!(session.delete(dry).await.unwrap().version, 2);
    let dry = proto::Put { validate_only: true, ..put_ru("anna", "k1", b"x", 21) };
    assert_eq!(session.put(dry).await.unwrap().version, 2);
    // A condition that does not hold.
    let put = proto::Put { if_version: Some(0), ..put_ru("anna", "k1", b"x", 22) };
    assert_eq!(session.put(put).await.err().unwrap(), "RECORD_EXISTS");
    // A retry, an overwrite, a deletion.
    let again = session.put(put_ru("anna", "k1", &large, 1)).await.unwrap();
    assert!(again.replayed && !again.entry.is_empty());
    assert_eq!(session.put(put_ru("anna", "k2", b"x", 23)).await.unwrap().version, 2);
    assert_eq!(session.delete(delete("anna", "k3", 24)).await.unwrap().version, 2);
    // A walk through the store.
    let asked = api::LedgerReconcileRequest { rows: 10, ..Default::default() };
    let told = auditor(&shard).await.reconcile(asked).await.unwrap().into_inner();
    assert_eq!((told.records, told.rows.len()), (3, 3));
    assert_eq!(session.get("anna", "profiles", "k2").await.unwrap().body, "x");
    drop(session);
    shard.stop().await.unwrap();
}

/// The identity row as the release before storage format 1 wrote it.
fn identity_before() -> Vec<u8> {
    let mut row = vec![1];
    for text in ["sample", "ru-msk", "s1", "RU"] {
        row.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
        row.extend_from_slice(text.as_bytes());
    }
    row.extend_from_slice(&1_u32.to_be_bytes());
    let vkey = "sample/ru-msk/s1/1+00000000+AAAA";
    row.extend_from_slice(&u32::try_from(vkey.len()).unwrap().to_be_bytes());
    row.extend_from_slice(vkey.as_bytes());
    row.extend_from_slice(&[9; 16]);
    row
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_another_storage_format_is_refused_and_left_as_it_is() {
    for stand in Stand::all() {
        let place = Place::on("ru-msk", stand);
        place.start().await.stop().await.unwrap();
        let ours = place.rows(&[0x01]).remove(0).1;
        let mut later = ours.clone();
        *later.first_mut().unwrap() = 2;
        for (row, by) in [(identity_before(), "an earlier release"), (later, "a later release")] {
            change(&place, |_, batch| batch.put([0x01], row.clone()));
            for error in [place.open().await.unwrap_err(), place.recover().unwrap_err()] {
                assert!(matches!(error, Error::StoreFormat { .. }), "{error}");
                let error = error.to_string();
                assert!(error.contains(by) && error.contains("shard init"), "{error}");
            }
            assert_eq!(place.rows(&[0x01]).remove(0).1, row);
        }
        change(&place, |_, batch| batch.put([0x01], ours));
        place.start().await.stop().await.unwrap();
    }
}
