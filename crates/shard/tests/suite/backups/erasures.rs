//! Who was erased after a backup stays erased, and no erasure is acknowledged that is not noted.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn who_was_erased_after_a_backup_stays_erased() {
    let place = place(engine::Kind::Fjall);
    let shard = place.start().await;
    let mut session = shard.session().await;
    fill(&mut session, 0..60).await;
    for n in 0..5 {
        let put = put_ru("anna", &format!("k{n}"), &vec![7; 50_000], 100 + n);
        session.put(put).await.unwrap();
    }
    session.put(put_ru("blocked", "main", b"x", 110)).await.unwrap();
    erase(&mut session, "p0", 120).await.unwrap();
    // Of two who have messages, one has them erased before the backup and writes new ones.
    for (n, subject) in [(140, "p50"), (142, "p51")] {
        session.put(message(subject, n)).await.unwrap();
    }
    erase_of(&mut session, "p51", "messages", 144).await.unwrap();
    session.put(message("p51", 145)).await.unwrap();
    block(&mut session, "blocked").await;
    let MadeBackup { path, .. } = backup(&place).await.unwrap();
    fs::copy(place.path("anchor/ru-msk-s1.erasures"), place.path("stale")).unwrap();
    session.put(put_ru("late", "main", b"x", 130)).await.unwrap();
    erase_of(&mut session, "p50", "messages", 146).await.unwrap();
    erase(&mut session, "anna", 131).await.unwrap();
    erase(&mut session, "late", 132).await.unwrap();
    for n in 1..40 {
        erase(&mut session, &format!("p{n}"), 200 + n).await.unwrap();
    }
    let lift = proto::Block { subject: "blocked".into(), reason: "x".into(), ..Default::default() };
    session.role = Some("eraser");
    session.call(Op::Block(lift)).await.ok().unwrap();
    erase(&mut session, "blocked", 133).await.unwrap();
    stop(shard, session).await;

    let lost = moved(&place, engine::Kind::Sled);
    let erasures = lost.path("anchor/ru-msk-s1.erasures");
    let aside = lost.path("aside");
    fs::rename(&erasures, &aside).unwrap();
    let error = restore(&lost, &path, &KNOWN).expect_err("nobody knows").to_string();
    assert!(error.contains("--accept-erasures-unknown"), "{error}");
    let mut bytes = fs::read(&aside).unwrap();
    bytes[256 * 5 + 30] ^= 1;
    fs::write(&erasures, &bytes).unwrap();
    let error = restore(&lost, &path, &KNOWN).expect_err("a changed file").to_string();
    assert!(error.contains("record 5 does not open"), "{error}");
    fs::remove_file(&erasures).unwrap();
    copies_alone_are_refused(&lost, &path, &aside);
    let restored = restore(&lost, &path, &Erasures::Copies(vec![aside])).unwrap();
    let who = "anna, 39 others, the one who was blocked, and messages of another";
    assert_eq!(restored.again.erased, 42, "{who}");
    assert_eq!(known_of(&lost), None, "a copy does not say how many there were");
    let (shard, mut session) = serve(&lost).await;
    for subject in ["anna", "late", "p0", "p1", "p39", "blocked"] {
        let got = session.get(subject, "profiles", "main").await;
        assert_eq!(got.err().unwrap(), "SUBJECT_ERASED", "{subject}");
        let put = session.put(put_ru(subject, "main", b"again", 900)).await;
        assert_eq!(put.err().unwrap(), "SUBJECT_ERASED", "{subject}");
    }
    assert!(session.get("p40", "profiles", "main").await.is_ok());
    for (subject, found) in [("p50", false), ("p51", true)] {
        assert!(session.get(subject, "profiles", "main").await.is_ok(), "{subject}");
        assert_eq!(session.get(subject, "messages", "m").await.is_ok(), found, "{subject}");
    }
    assert!(erase_of(&mut session, "p50", "messages", 146).await.unwrap().replayed);
    // A retry of the erasure is one still.
    assert!(erase(&mut session, "anna", 131).await.unwrap().replayed);
    erase(&mut session, "p59", 950).await.unwrap();
    stop(shard, session).await;
    let store = lost.store();
    let rows = rows_in(&*store, &[0x10]);
    // Forty-four tombstones, nineteen people with a record each, and one with a message.
    assert_eq!(rows.len(), 44 + 2 * 19 + 1);
    // Forty-five that were known, forty-two of them done again, and one more.
    assert_eq!(fs::metadata(&erasures).unwrap().len(), 256 * (1 + 45 + 42 + 1));

    a_stale_file_hides_nothing(&place, &path).await;
}

/// A copy may lack those who were erased, or have moved to another region, since: nothing else would say so.
/// No map is asked: one that lets no one move may have come after one that did.
fn copies_alone_are_refused(lost: &Place, backup: &Path, copy: &Path) {
    let mut alone = moved(lost, engine::Kind::Sled);
    alone.map = only_home(&alone);
    for place in [lost, &alone] {
        let error = restore(place, backup, &Erasures::Known(vec![copy.to_owned()]));
        let error = error.expect_err("who has moved").to_string();
        assert!(error.contains("--accept-old-copies"), "{error}");
    }
}

/// The file as it was when the backup was made says nothing of those who were erased after it. It does
/// not stand in the place of the one that does.
async fn a_stale_file_hides_nothing(place: &Place, backup: &Path) {
    let stale = Erasures::Copies(vec![place.path("stale")]);
    for (in_place, found) in [(true, false), (false, true)] {
        let lost = moved(place, engine::Kind::Sled);
        if !in_place {
            fs::remove_file(lost.path("anchor/ru-msk-s1.erasures")).unwrap();
        }
        restore(&lost, backup, &stale).unwrap();
        assert_eq!(known_of(&lost).is_some(), in_place);
        let (shard, mut session) = serve(&lost).await;
        let got = session.get("p1", "profiles", "main").await;
        assert_eq!(got.is_ok(), found, "without the newer file, that is what it costs");
        assert_eq!(session.get("p0", "profiles", "main").await.err().unwrap(), "SUBJECT_ERASED");
        stop(shard, session).await;
    }

    // What was given is kept before anything is restored: a second attempt need not be given it. But what it
    // is kept in is no more than a copy, and that must be accepted again.
    let lost = moved(place, engine::Kind::Sled);
    let erasures = lost.path("anchor/ru-msk-s1.erasures");
    fs::rename(&erasures, lost.path("aside")).unwrap();
    let given = Erasures::Copies(vec![lost.path("aside")]);
    let cut = restore_in(&lost, &cut_short(&lost), &lost.outside(), backup, &given);
    assert!(matches!(cut, Err(Error::Reserve { .. })), "{cut:?}");
    lost.wipe_store();
    let error = restore(&lost, backup, &KNOWN).expect_err("a copy").to_string();
    assert!(error.contains("--accept-old-copies"), "{error}");
    restore(&lost, backup, &Erasures::Copies(Vec::new())).unwrap();
    assert_eq!(known_of(&lost), None);
    let (shard, mut session) = serve(&lost).await;
    assert_eq!(session.get("p1", "profiles", "main").await.err().unwrap(), "SUBJECT_ERASED");
    stop(shard, session).await;
}

/// So many erasures were known to the last restore, as its RESTORE entry says.
fn known_of(place: &Place) -> Option<u64> {
    let log = (1..=4).flat_map(|period| entries_in(&*place.store(), period));
    let mut entries = log.map(|entry| Entry::decode(&entry).unwrap());
    entries.find(|entry| entry.kind == Kind::Restore).expect("a RESTORE entry").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_erasures_older_than_the_backup_is_refused() {
    let place = place(engine::Kind::Sled);
    let shard = place.start().await;
    let mut session = shard.session().await;
    fill(&mut session, 0..3).await;
    fs::copy(place.path("anchor/ru-msk-s1.erasures"), place.path("stale")).unwrap();
    erase(&mut session, "p0", 50).await.unwrap();
    let MadeBackup { path, .. } = backup(&place).await.unwrap();
    stop(shard, session).await;
    let lost = moved(&place, engine::Kind::Sled);
    fs::remove_file(lost.path("anchor/ru-msk-s1.erasures")).unwrap();
    let stale = Erasures::Known(vec![place.path("stale")]);
    let error = restore(&lost, &path, &stale).expect_err("it is older").to_string();
    assert!(error.contains("are older than the backup"), "{error}");
    restore(&lost, &path, &Erasures::Unknown).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_cannot_be_noted_is_not_acknowledged() {
    let place = place(engine::Kind::Sled);
    let shard = place.start().await;
    let mut session = shard.session().await;
    fill(&mut session, 0..3).await;
    let file = place.path("anchor/ru-msk-s1.erasures");
    erase(&mut session, "p0", 50).await.unwrap();
    fs::rename(&file, place.path("aside")).unwrap();
    assert_eq!(erase(&mut session, "p1", 51).await.err().unwrap(), "WRITE_OUTCOME_UNKNOWN");
    assert_eq!(erase(&mut session, "p1", 51).await.err().unwrap(), "REGION_UNAVAILABLE");
    assert_eq!(erase(&mut session, "p2", 52).await.err().unwrap(), "REGION_UNAVAILABLE");
    assert!(session.get("p2", "profiles", "main").await.is_ok());
    session.put(put_ru("p2", "other", b"x", 53)).await.unwrap();
    fs::rename(place.path("aside"), &file).unwrap();
    assert!(erase(&mut session, "p1", 51).await.unwrap().replayed);
    erase(&mut session, "p2", 54).await.unwrap();
    stop(shard, session).await;
    assert_eq!(fs::metadata(&file).unwrap().len(), 4 * 256);
    // Lost while it stands, or cut short by a crash: a start completes it from the store.
    let before = fs::read(&file).unwrap();
    for left in [0, 1, 2, 3] {
        fs::write(&file, [&before[..left * 256], &[0; 100]].concat()).unwrap();
        let (shard, session) = serve(&place).await;
        stop(shard, session).await;
        assert_eq!(fs::metadata(&file).unwrap().len(), 4 * 256, "{left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_that_is_accepted_brings_back_no_one_who_was_erased() {
    let place = place(engine::Kind::Fjall);
    let shard = place.start().await;
    let mut session = shard.session().await;
    fill(&mut session, 0..3).await;
    stop(shard, session).await;
    place.save_store("yesterday");
    let (shard, mut session) = serve(&place).await;
    erase(&mut session, "p1", 50).await.unwrap();
    stop(shard, session).await;
    place.put_back_store("yesterday");
    place.recover().unwrap();
    let (shard, mut session) = serve(&place).await;
    assert_eq!(session.get("p1", "profiles", "main").await.err().unwrap(), "SUBJECT_ERASED");
    assert!(session.get("p2", "profiles", "main").await.is_ok());
    stop(shard, session).await;
}
