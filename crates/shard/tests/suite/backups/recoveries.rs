//! What is done once must not be undone by a second attempt, an old file or an old store.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use engine::{Backend, Engine};
use link::ops::health::Health;
use link::ops::metrics::Registry;

use super::*;
use crate::support::{SetClock, unlocked};

/// Puts the store back that was copied to `yesterday`.
fn put_back(place: &Place) {
    place.put_back_store("yesterday");
}

/// Stores three people and a message of one, copies the store, and erases the message. Returns the
/// number of entries in the log.
async fn erased_after_a_copy(place: &Place) -> u64 {
    let shard = place.start().await;
    let mut session = shard.session().await;
    fill(&mut session, 0..3).await;
    session.put(message("p1", 40)).await.unwrap();
    stop(shard, session).await;
    place.save_store("yesterday");
    let (shard, mut session) = serve(place).await;
    erase_of(&mut session, "p1", "messages", 50).await.unwrap();
    stop(shard, session).await;
    u64::try_from(entries_in(&*place.store(), 1).len()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_that_is_begun_again_hides_no_loss_and_brings_nothing_back() {
    let place = place(engine::Kind::Fjall);
    let signed = erased_after_a_copy(&place).await;
    put_back(&place);
    let cut = place.recover_as(&cut_short(&place), &KNOWN);
    assert!(matches!(cut, Err(Error::Reserve { .. })), "{cut:?}");
    assert!(!entries_in(&*place.store(), 2).is_empty(), "the period had begun");
    let error = place.open_made(place.settings()).await.expect_err("it does not start").to_string();
    assert!(error.contains("a recovery was begun"), "{error}");
    let recovered = unlocked(|| place.recover()).await.unwrap();
    assert_eq!(recovered.signed, Some(("sample/ru-msk/s1/1".to_owned(), signed)));
    assert_eq!(recovered.origin, "sample/ru-msk/s1/3");
    let genesis = Entry::decode(&entries_in(&*place.store(), 3)[0]).unwrap();
    assert_eq!(genesis.old_head().unwrap().size, signed);
    let (shard, mut session) = serve(&place).await;
    assert!(session.get("p1", "messages", "m").await.is_err(), "it was erased");
    assert!(session.get("p1", "profiles", "main").await.is_ok());
    stop(shard, session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_under_a_clock_that_is_not_believed_changes_nothing() {
    let mut place = place(engine::Kind::Fjall);
    let signed = erased_after_a_copy(&place).await;
    put_back(&place);
    let later = place.clock.now().0 + 2 * 24 * 3_600 * 1_000;
    place.clock = Arc::new(SetClock(AtomicU64::new(later)));
    assert!(matches!(place.recover(), Err(Error::ClockUnconfirmed)));
    assert!(!place.path("anchor/ru-msk-s1.recovering").exists());
    assert!(entries_in(&*place.store(), 2).is_empty());
    shard::confirm_clock(&place.settings(), &*place.clock).unwrap();
    let recovered = unlocked(|| place.recover()).await.unwrap();
    assert_eq!(recovered.signed, Some(("sample/ru-msk/s1/1".to_owned(), signed)));
    let (shard, mut session) = serve(&place).await;
    assert!(session.get("p1", "messages", "m").await.is_err(), "it was erased");
    stop(shard, session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_without_the_file_of_erasures_is_refused() {
    let mut place = place(engine::Kind::Sled);
    erased_after_a_copy(&place).await;
    put_back(&place);
    fs::rename(place.path("anchor/ru-msk-s1.erasures"), place.path("aside")).unwrap();
    let error = place.recover().expect_err("it is missing").to_string();
    assert!(error.contains("--accept-erasures-unknown"), "{error}");
    assert!(!place.path("anchor/ru-msk-s1.recovering").exists());
    // A copy may lack those who were erased, or have moved to another region, since: the store would serve
    // them. No map is asked: one that lets no one move may have come after one that did.
    let copies = vec![place.path("aside")];
    for map in [place.map.clone(), only_home(&place)] {
        place.map = map;
        let error = place.recover_as(&place.settings(), &Erasures::Known(copies.clone()));
        let error = error.expect_err("who has moved").to_string();
        assert!(error.contains("--accept-old-copies"), "{error}");
        assert!(!place.path("anchor/ru-msk-s1.recovering").exists(), "nothing was changed");
        assert!(!place.path("anchor/ru-msk-s1.erasures").exists());
    }
    place.map = crate::support::MAP.to_owned();
    // An attempt that is refused makes no file, which would be taken for the whole one.
    let (clock, later) = (Arc::clone(&place.clock), place.clock.now().0 + 2 * 24 * 3_600 * 1_000);
    place.clock = Arc::new(SetClock(AtomicU64::new(later)));
    let given = Erasures::Copies(copies.clone());
    let refused = place.recover_as(&place.settings(), &given);
    assert!(matches!(refused, Err(Error::ClockUnconfirmed)), "{refused:?}");
    assert!(!place.path("anchor/ru-msk-s1.erasures").exists());
    place.clock = clock;
    // One that ends half way makes it, and says so.
    let cut = place.recover_as(&cut_short(&place), &given);
    assert!(matches!(cut, Err(Error::Reserve { .. })), "{cut:?}");
    assert!(place.path("anchor/ru-msk-s1.erasures").exists());
    let error = place.recover().expect_err("a copy").to_string();
    assert!(error.contains("--accept-old-copies"), "{error}");
    place.recover_as(&place.settings(), &Erasures::Copies(copies)).unwrap();
    let (shard, mut session) = serve(&place).await;
    assert!(session.get("p1", "messages", "m").await.is_err(), "it was erased");
    stop(shard, session).await;
    put_back(&place);
    fs::remove_file(place.path("anchor/ru-msk-s1.erasures")).unwrap();
    place.recover_as(&place.settings(), &Erasures::Unknown).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_log_comes_after_every_erasure_that_is_known() {
    let place = place(engine::Kind::Fjall);
    let shard = place.start().await;
    let mut session = shard.session().await;
    fill(&mut session, 0..3).await;
    let MadeBackup { path, .. } = backup(&place).await.unwrap();
    copy_folder(&place.path("keys"), &place.path("saved"));
    stop(shard, session).await;
    let map = place.map();
    let annex = Annex::parse(&place.annex, &map).unwrap();
    unlocked(|| shard::rotate_log(&place.settings(), &map, &annex, &place.outside()))
        .await
        .unwrap();
    let (shard, mut session) = serve(&place).await;
    fill(&mut session, 3..60).await;
    erase(&mut session, "p0", 70).await.unwrap();
    stop(shard, session).await;

    let lost = super::place(engine::Kind::Sled);
    copy_folder(&place.path("saved"), &lost.path("keys"));
    fs::create_dir(lost.path("anchor")).unwrap();
    let file = lost.path("anchor/ru-msk-s1.erasures");
    fs::copy(place.path("anchor/ru-msk-s1.erasures"), &file).unwrap();
    assert_eq!(restore(&lost, &path, &KNOWN).unwrap().origin, "sample/ru-msk/s1/3");
    let before = fs::metadata(&file).unwrap().len();
    let (shard, mut session) = serve(&lost).await;
    assert_eq!(session.get("p0", "profiles", "main").await.err().unwrap(), "SUBJECT_ERASED");
    erase(&mut session, "p1", 71).await.unwrap();
    stop(shard, session).await;
    assert_eq!(fs::metadata(&file).unwrap().len(), before + 256);

    // Nor does a new shard begin over such a file.
    lost.wipe_store();
    for gone in
        ["anchor/ru-msk-s1.checkpoint", "keys/ru-msk-s1-1.logkey", "keys/ru-msk-s1-3.logkey"]
    {
        fs::remove_file(lost.path(gone)).unwrap();
    }
    let error = lost.init_as(&lost.settings()).expect_err("it had a store").to_string();
    assert!(error.contains("it names erasures of a store"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_foreign_file_of_erasures_is_made_again_at_a_start() {
    let place = place(engine::Kind::Fjall);
    let shard = place.start().await;
    let mut session = shard.session().await;
    fill(&mut session, 0..6).await;
    let MadeBackup { path, .. } = backup(&place).await.unwrap();
    for n in 0..4 {
        erase(&mut session, &format!("p{n}"), 50 + n).await.unwrap();
    }
    stop(shard, session).await;
    let file = place.path("anchor/ru-msk-s1.erasures");
    let mut damaged = fs::read(&file).unwrap();
    damaged[256 * 2 + 30] ^= 1;
    for (number, content) in [(1, damaged), (2, vec![7; 256 * 9])] {
        fs::write(&file, &content).unwrap();
        let (shard, session) = serve(&place).await;
        stop(shard, session).await;
        assert_eq!(fs::metadata(&file).unwrap().len(), 256 * 5);
        let aside = file.with_extension(format!("erasures.unreadable-{number}"));
        assert_eq!(fs::read(aside).unwrap(), content);
        let lost = moved(&place, engine::Kind::Sled);
        assert_eq!(restore(&lost, &path, &KNOWN).unwrap().again.erased, 4);
    }

    // Replaced while the shard runs, by a longer one: nothing is written into that.
    let (shard, mut session) = serve(&place).await;
    fs::write(&file, vec![7; 256 * 9]).unwrap();
    assert_eq!(erase(&mut session, "p4", 60).await.err().unwrap(), "WRITE_OUTCOME_UNKNOWN");
    stop(shard, session).await;
    assert_eq!(fs::read(&file).unwrap(), vec![7; 256 * 9]);
    let (shard, mut session) = serve(&place).await;
    assert!(erase(&mut session, "p4", 60).await.unwrap().replayed);
    stop(shard, session).await;
    assert_eq!(fs::metadata(&file).unwrap().len(), 256 * 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_could_not_be_noted_is_noted_without_another_one() {
    let place = place(engine::Kind::Sled);
    place.init_as(&place.settings()).unwrap();
    let health = Health::new();
    let opened = place.open_watched(place.settings(), &mut Registry::new(), health.clone()).await;
    let shard = Running::serve(opened.unwrap(), "ru-msk").await;
    let mut session = shard.session().await;
    fill(&mut session, 0..2).await;
    let file = place.path("anchor/ru-msk-s1.erasures");
    fs::rename(&file, place.path("aside")).unwrap();
    assert_eq!(erase(&mut session, "p0", 50).await.err().unwrap(), "WRITE_OUTCOME_UNKNOWN");
    assert!(!health.is_ready());
    fs::rename(place.path("aside"), &file).unwrap();
    let noted = async {
        while !health.is_ready() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), noted).await.expect("it is noted");
    assert_eq!(fs::metadata(&file).unwrap().len(), 2 * 256);
    stop(shard, session).await;
}

/// A store that replaces a backup when it is opened: between the check and the restore.
#[derive(Debug)]
struct Replacing {
    store: Arc<dyn Backend>,
    by: PathBuf,
    backup: PathBuf,
}

impl Backend for Replacing {
    fn exists(&self) -> Result<bool, engine::Error> {
        self.store.exists()
    }

    fn open(&self) -> Result<Box<dyn Engine>, engine::Error> {
        fs::copy(&self.by, &self.backup).unwrap();
        self.store.open()
    }

    fn folder(&self) -> Option<&Path> {
        self.store.folder()
    }

    fn place(&self) -> String {
        self.store.place()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_replaced_after_it_was_checked_is_not_restored() {
    let place = place(engine::Kind::Fjall);
    let shard = place.start().await;
    let mut session = shard.session().await;
    fill(&mut session, 0..3).await;
    let MadeBackup { path, .. } = backup(&place).await.unwrap();
    let old = place.path("old.backup");
    fs::rename(&path, &old).unwrap();
    fill(&mut session, 3..6).await;
    let MadeBackup { path, .. } = backup(&place).await.unwrap();
    stop(shard, session).await;
    let lost = moved(&place, engine::Kind::Sled);
    let store = Replacing { store: lost.store(), by: old, backup: path.clone() };
    let outside = Environment { store: Arc::new(store), ..lost.outside() };
    let error = restore_in(&lost, &lost.settings(), &outside, &path, &KNOWN);
    let error = error.expect_err("it is another one").to_string();
    assert!(error.contains("it was replaced while it was restored"), "{error}");
    let error = lost.open_made(lost.settings()).await.expect_err("it does not start").to_string();
    assert!(error.contains("has not ended"), "{error}");
}
