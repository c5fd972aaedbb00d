//! Records through a real session: what is stored, what is refused, what a retry does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::{Place, SetClock, Stand, delete, findings, put_ru, request_id};
use ledger::entry::{Entry, Kind};
use wire::session as proto;

fn receipt(origin: &str, written: &proto::Written) -> ledger::Receipt {
    ledger::Receipt {
        origin: origin.to_owned(),
        index: written.index,
        entry: written.entry.to_vec(),
        opening: written.opening.as_ref().try_into().expect("an opening of 32 bytes"),
        statement: written.statement.to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_stored_with_its_entry_and_read_back() {
    for stand in Stand::all() {
        let place = Place::on("ru-msk", stand);
        let shard = place.start().await;
        let mut session = shard.session().await;
        for (n, body) in [(1, vec![]), (2, b"hello".to_vec()), (3, vec![7; 1 << 20])] {
            let key = format!("k{n}");
            let written = session.put(put_ru("anna", &key, &body, n)).await.unwrap();
            assert_eq!((written.version, written.replayed), (1, false));
            let entry = receipt("sample/ru-msk/s1/1", &written).check(Some(&body)).unwrap();
            assert_eq!(entry.kind, Kind::Place);
            assert_eq!(entry.jurisdictions, ["RU"]);
            assert_eq!(entry.statutes, ["ru-152fz"]);
            let found = session.get("anna", "profiles", &key).await.unwrap();
            assert_eq!((found.version, found.etag), (1, written.etag));
            assert!(found.body == body, "the body is another");
        }
        assert_eq!(session.get("anna", "profiles", "no").await.err().unwrap(), "RECORD_NOT_FOUND");
        assert_eq!(session.get("bert", "profiles", "k1").await.err().unwrap(), "SUBJECT_UNKNOWN");
        drop(session);
        shard.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_findings_or_with_findings_of_elsewhere_nothing_is_stored() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    let mut put = put_ru("anna", "main", b"x", 1);
    put.findings = vec![].into();
    assert_eq!(session.put(put.clone()).await.err().unwrap(), "FIELD_MISSING");
    put.create_subject = false;
    assert_eq!(session.put(put.clone()).await.err().unwrap(), "SUBJECT_UNKNOWN");
    put.create_subject = true;
    put.findings = findings(&[("residence", "DE")]).into();
    assert_eq!(session.put(put.clone()).await.err().unwrap(), "PLACEMENT_NOT_ADMITTED");
    put.findings = findings(&[("citizenship", "RU"), ("residence", "DE")]).into();
    put.collection = "payments".into();
    assert_eq!(session.put(put.clone()).await.err().unwrap(), "TRANSFER_NOT_COVERED");
    put.findings = b"\x01garbage".to_vec().into();
    assert_eq!(session.put(put).await.err().unwrap(), "FIELD_INVALID");
    assert_eq!(session.get("anna", "profiles", "main").await.err().unwrap(), "SUBJECT_UNKNOWN");
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_one_effect_also_across_a_restart() {
    let place = Place::new("ru-msk");
    let mut first = None;
    for round in 0..3 {
        let shard = place.start().await;
        let mut session = shard.session().await;
        let written = session.put(put_ru("anna", "main", b"one", 1)).await.unwrap();
        assert_eq!(written.replayed, round > 0);
        let first = first.get_or_insert_with(|| written.clone());
        assert_eq!((written.version, written.index), (first.version, first.index));
        assert_eq!((&written.entry, &written.opening), (&first.entry, &first.opening));
        assert_eq!((&written.statement, &written.etag), (&first.statement, &first.etag));
        receipt("o", &written).check(Some(b"one")).unwrap();
        let other = put_ru("anna", "main", b"two", 1);
        assert_eq!(session.put(other).await.err().unwrap(), "REQUEST_ID_REUSED");
        drop(session);
        shard.stop().await.unwrap();
    }
    // A retry of a superseded write names its entry, and opens nothing any more.
    let shard = place.start().await;
    let mut session = shard.session().await;
    assert_eq!(session.put(put_ru("anna", "main", b"two", 2)).await.unwrap().version, 2);
    let late = session.put(put_ru("anna", "main", b"one", 1)).await.unwrap();
    assert_eq!((late.version, late.replayed), (1, true));
    assert!(late.opening.is_empty() && late.statement.is_empty());
    assert_eq!(session.get("anna", "profiles", "main").await.unwrap().body, "two");
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_forgotten_after_a_day_and_a_condition_still_holds() {
    let clock = Arc::new(SetClock(AtomicU64::new(1_780_000_000_000)));
    let mut place = Place::new("ru-msk");
    place.clock = Arc::clone(&clock) as Arc<dyn terms::Clock>;
    let shard = place.start().await;
    let mut session = shard.session().await;
    let mut put = put_ru("anna", "main", b"one", 1);
    put.if_version = Some(0);
    session.put(put.clone()).await.unwrap();
    clock.set(&place, 1_780_000_000_000 + 23 * 3_600_000);
    assert!(session.put(put.clone()).await.unwrap().replayed);
    // The next write of the record forgets what is older than a day.
    clock.set(&place, 1_780_000_000_000 + 25 * 3_600_000);
    session.put(put_ru("anna", "main", b"two", 2)).await.unwrap();
    assert_eq!(session.put(put).await.err().unwrap(), "RECORD_EXISTS");
    // Time never falls below the last commit's: the log stays in order.
    clock.0.store(1_000, Ordering::Relaxed);
    let written = session.put(put_ru("anna", "main", b"three", 3)).await.unwrap();
    let minute = Entry::decode(&written.entry).unwrap().minute;
    assert_eq!(u64::from(minute), (1_780_000_000_000 + 25 * 3_600_000) / 60_000);
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_grow_through_deletion_and_conditions_are_kept() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    assert_eq!(session.delete(delete("anna", "main", 90)).await.err().unwrap(), "SUBJECT_UNKNOWN");
    let one = session.put(put_ru("anna", "main", b"one", 1)).await.unwrap();
    assert_eq!(
        session.delete(delete("anna", "other", 91)).await.err().unwrap(),
        "RECORD_NOT_FOUND"
    );

    let put = |n, if_version, etag: &str| proto::Put {
        if_version,
        etag: etag.into(),
        create_subject: false,
        findings: vec![].into(),
        ..put_ru("anna", "main", b"two", n)
    };
    assert_eq!(session.put(put(2, Some(0), "")).await.err().unwrap(), "RECORD_EXISTS");
    assert_eq!(session.put(put(3, Some(2), "")).await.err().unwrap(), "VERSION_MISMATCH");
    assert_eq!(
        session.put(put(4, None, "\"1-0000000000000000\"")).await.err().unwrap(),
        "VERSION_MISMATCH"
    );
    assert_eq!(session.put(put(5, Some(-1), "")).await.err().unwrap(), "FIELD_INVALID");
    let dry = proto::Put { validate_only: true, ..put(6, Some(1), &one.etag) };
    let dry = session.put(dry).await.unwrap();
    assert_eq!((dry.version, dry.entry.len()), (2, 0));
    let two = session.put(put(7, Some(1), &one.etag)).await.unwrap();
    assert_eq!(two.version, 2);
    let entry = Entry::decode(&two.entry).unwrap();
    assert_eq!((entry.kind, entry.earlier), (Kind::Replace, Some(one.index)));

    let mut gone = delete("anna", "main", 8);
    gone.etag = one.etag;
    assert_eq!(session.delete(gone).await.err().unwrap(), "VERSION_MISMATCH");
    let gone = session.delete(delete("anna", "main", 9)).await.unwrap();
    assert_eq!(gone.version, 3);
    let entry = receipt("o", &gone).check(Some(b"")).unwrap();
    assert_eq!((entry.kind, entry.earlier), (Kind::Delete, Some(two.index)));
    assert!(session.delete(delete("anna", "main", 9)).await.unwrap().replayed);
    assert_eq!(session.get("anna", "profiles", "main").await.err().unwrap(), "RECORD_NOT_FOUND");
    assert_eq!(session.delete(delete("anna", "main", 10)).await.err().unwrap(), "RECORD_NOT_FOUND");
    let again = session.put(put(11, Some(0), "")).await.unwrap();
    let entry = Entry::decode(&again.entry).unwrap();
    assert_eq!((again.version, entry.kind), (4, Kind::Place));
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_news_of_citizenship_or_residence_can_change_a_ruling() {
    let place = Place::new("us-iad");
    let shard = place.start().await;
    let mut session = shard.session().await;
    let put = |n, of: &[(&str, &str)]| proto::Put {
        findings: findings(of).into(),
        ..put_ru("anna", &format!("k{n}"), b"x", n)
    };
    session.put(put(1, &[("collected_in", "US")])).await.unwrap();
    // Present and contact findings never change a ruling that stands.
    session.put(put(2, &[("collected_in", "DE"), ("phone", "RU")])).await.unwrap();
    // A resident finding that gives the same ruling is kept.
    session.put(put(3, &[("residence", "US")])).await.unwrap();
    assert_eq!(
        session.put(put(4, &[("citizenship", "RU")])).await.err().unwrap(),
        "JURISDICTION_CHANGED"
    );
    assert_eq!(
        session.put(put(5, &[("residence", "DE")])).await.err().unwrap(),
        "JURISDICTION_CHANGED"
    );
    // Nothing of the refused evidence was kept.
    session.put(put(6, &[])).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_for_one_collection_is_weighed_for_the_others() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    let put = |collection: &str, n, of: &[(&str, &str)]| proto::Put {
        collection: collection.into(),
        findings: findings(of).into(),
        ..put_ru("anna", &format!("k{n}"), b"x", n)
    };
    let bare = |collection: &str, n| proto::Put {
        findings: vec![].into(),
        create_subject: false,
        ..put(collection, n, &[])
    };
    session.put(put("profiles", 1, &[("citizenship", "RU"), ("residence", "RU")])).await.unwrap();
    // For messages, a second citizenship brings no other ruling, and is kept for both.
    session.put(put("messages", 2, &[("citizenship", "AR")])).await.unwrap();
    session.put(bare("profiles", 3)).await.unwrap();
    // A residence in Kazakhstan would add a mirror to profiles: the write that brings it for a new
    // collection is ruled with it, and profiles then waits for a reassessment.
    let kazakh = session.put(put("profiles", 4, &[("residence", "KZ")])).await;
    assert_eq!(kazakh.err().unwrap(), "JURISDICTION_CHANGED");
    session.put(bare("profiles", 5)).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_is_created_once() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    let create = |n| proto::Create {
        subject: "anna".into(),
        collection: "profiles".into(),
        request_id: request_id(n).into(),
        findings: findings(&[("residence", "RU"), ("citizenship", "RU")]).into(),
        ..Default::default()
    };
    let made = session.create(create(1)).await.unwrap();
    let entry = receipt("o", &made).check(Some(b"")).unwrap();
    assert_eq!((entry.kind, made.version), (Kind::Create, 0));
    let again = session.create(create(1)).await.unwrap();
    assert!(again.replayed && again.entry == made.entry && again.statement == made.statement);
    assert_eq!(session.create(create(2)).await.err().unwrap(), "SUBJECT_EXISTS");
    let other = proto::Create { collection: "messages".into(), ..create(1) };
    assert_eq!(session.create(other).await.err().unwrap(), "REQUEST_ID_REUSED");
    // The ruling stands: a put needs no findings, and no leave to create.
    let put = put_ru("anna", "main", b"x", 3);
    let put = proto::Put { create_subject: false, findings: vec![].into(), ..put };
    assert_eq!(session.put(put).await.unwrap().version, 1);
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_group_may_hold_many_writes_of_one_record() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    let mut calls = Vec::new();
    for n in 0..200_u64 {
        let body = n.to_string();
        let put = put_ru("anna", "main", body.as_bytes(), n / 2);
        calls.push(session.wrap(proto::call::Op::Put(put)));
    }
    let ids: Vec<u64> = calls.iter().map(|call| call.id).collect();
    session.send(calls).await;
    let (mut done, mut reused) = (0, 0);
    for id in ids {
        match session.answer(id).await.expect("open") {
            Ok(proto::reply::Outcome::Written(written)) => {
                done += 1;
                assert_eq!(written.version, done);
            }
            Ok(_) => panic!("a put is written"),
            Err(fault) => {
                assert_eq!(fault.reason, "REQUEST_ID_REUSED");
                reused += 1;
            }
        }
    }
    assert_eq!((done, reused), (100, 100));
    assert_eq!(session.get("anna", "profiles", "main").await.unwrap().body, "198");
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_for_another_shard_is_refused() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let epoch = place.map().epoch();
    let good = shard.hello();
    let wrong = [
        proto::Hello { protocol: 9, ..good.clone() },
        proto::Hello { deployment: "other".into(), ..good.clone() },
        proto::Hello { region: "eu-fra".into(), ..good.clone() },
        proto::Hello { shard: "s2".into(), ..good.clone() },
        proto::Hello { map_epoch: epoch.number, map_digest: vec![1; 32].into(), ..good.clone() },
    ];
    for hello in wrong {
        let (mut session, first) = shard.session_as(hello).await;
        assert!(first.welcome.is_none());
        assert_eq!(first.goodbye.expect("a goodbye").reason, "PLACEMENT_NOT_ADMITTED");
        assert!(session.answer(1).await.is_none());
    }
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passed_writes_nothing_and_hostile_ids_are_refused() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    let mut call = session.wrap(proto::call::Op::Put(put_ru("anna", "main", b"x", 1)));
    call.deadline_ms = 0;
    let id = call.id;
    session.send(vec![call]).await;
    assert_eq!(session.answer(id).await.unwrap().err().unwrap().reason, "DEADLINE_PASSED");
    assert_eq!(session.get("anna", "profiles", "main").await.err().unwrap(), "SUBJECT_UNKNOWN");

    let good = put_ru("anna", "main", b"x", 1);
    let bad = [
        proto::Put { subject: "a\nb".into(), ..good.clone() },
        proto::Put { subject: "x".repeat(10_240), ..good.clone() },
        proto::Put { key: String::new(), ..good.clone() },
        proto::Put { collection: "nowhere".into(), ..good.clone() },
        proto::Put { request_id: vec![1; 3].into(), ..good.clone() },
        proto::Put { body: vec![0; (1 << 20) + 1].into(), ..good.clone() },
        proto::Put { phone_data: "\u{7}".into(), ..good.clone() },
    ];
    for put in bad {
        let reason = session.put(put).await.err().unwrap();
        let expected = ["FIELD_INVALID", "FIELD_MISSING", "COLLECTION_UNKNOWN", "BODY_TOO_LARGE"];
        assert!(expected.contains(&reason.as_str()), "{reason}");
    }
    let mut call = session.wrap(proto::call::Op::Put(good));
    call.caller = None;
    let id = call.id;
    session.send(vec![call]).await;
    assert_eq!(session.answer(id).await.unwrap().err().unwrap().reason, "NOT_PERMITTED");
    drop(session);
    shard.stop().await.unwrap();
}
