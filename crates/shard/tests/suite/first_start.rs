//! A shard is made once and on purpose; a start makes nothing, and says what is the matter.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::support::{Place, Running, SetClock, Stand, put_ru};
use shard::{Error, KeyringSource};
use terms::{Clock, ShardId, UnixMillis};

const START: u64 = 1_780_000_000_000;
const DAY: u64 = 24 * 3_600_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_whose_folders_are_empty_does_not_start_and_makes_nothing() {
    let place = Place::in_files("ru-msk");
    let refusal = async || place.open_made(place.settings()).await.expect_err("there is no store");
    let error = refusal().await;
    assert!(matches!(error, Error::NotInitialised { .. }), "{error}");
    assert!(error.to_string().contains("shard init"), "{error}");
    for folder in ["data", "anchor", "keys"] {
        assert_eq!(fs::read_dir(place.path(folder)).unwrap().count(), 0, "{folder}");
    }
    // It is made, and serves; all of it is lost; it does not begin anew.
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put_ru("anna", "main", b"body", 1)).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();
    for folder in ["data", "anchor", "keys"] {
        fs::remove_dir_all(place.path(folder)).unwrap();
    }
    assert!(matches!(refusal().await, Error::NotInitialised { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_is_made_once() {
    for stand in Stand::all() {
        let place = Place::on("ru-msk", stand);
        let settings = place.settings();
        let made = place.init_as(&settings).unwrap();
        assert!(made.keyring_made && made.origin == "sample/ru-msk/s1/1");
        assert!(matches!(place.init_as(&settings), Err(Error::Exists { .. })));
        place.start().await.stop().await.unwrap();
        // With a part of it gone, nothing is made either.
        place.save_store("aside");
        place.wipe_store();
        assert!(matches!(place.init_as(&settings), Err(Error::DataLost { .. })));
        place.put_back_store("aside");
        place.start().await.stop().await.unwrap();
        fs::remove_dir_all(place.path("anchor")).unwrap();
        assert!(place.init_as(&settings).is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shards_of_a_region_share_one_keyring_that_is_made_once() {
    let two = "[[shards]]\nname = \"s2\"\naddress = \"http://127.0.0.1:2\"\nslots = \"512-1023\"\n";
    let place = || {
        let mut place = Place::new("ru-msk");
        place.annex = place.annex.replace("\"0-1023\"", "\"0-511\"") + two;
        place
    };
    let (first, second) = (place(), place());
    let mut settings = second.settings();
    settings.shard = ShardId::parse("s2").unwrap();
    let keyring = |place: &Place| place.path("keys").join("ru-msk.keyring");
    // Neither makes one by itself.
    for (place, settings) in [(&first, &first.settings()), (&second, &settings)] {
        let error = place.init_as(settings).unwrap_err().to_string();
        assert!(error.contains("--keyring FILE") && error.contains("--new-keyring"), "{error}");
        assert!(!keyring(place).exists());
    }
    assert!(first.init_with(&first.settings(), &KeyringSource::New).unwrap().keyring_made);
    // Neither another region's nor one that others may read is taken.
    let other = Place::new("eu-fra");
    other.init_as(&other.settings()).unwrap();
    let open = second.path("open.keyring");
    fs::copy(keyring(&first), &open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    for (file, why) in [
        (other.path("keys").join("eu-fra.keyring"), "another region's"),
        (open, "chmod 600"),
        (second.path("nowhere"), "it is missing"),
    ] {
        let error = second.init_with(&settings, &KeyringSource::File(file)).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert!(!keyring(&second).exists());
    }
    let given = KeyringSource::File(keyring(&first));
    assert!(!second.init_with(&settings, &given).unwrap().keyring_made);
    assert_eq!(fs::read(keyring(&first)).unwrap(), fs::read(keyring(&second)).unwrap());
    let mode = fs::metadata(keyring(&second)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Both serve, and name the region's rows alike: their identity rows end in the same check.
    first.start().await.stop().await.unwrap();
    let shard = second.open_made(settings.clone()).await.unwrap();
    Running::serve(shard, "ru-msk").await.stop().await.unwrap();
    let check = |place: &Place| {
        let row = place.rows(&[0x01]).remove(0).1;
        row.last_chunk::<16>().copied().unwrap()
    };
    assert_eq!(check(&first), check(&second));
    // A keyring that was there is not replaced by the one that is given.
    let third = place();
    third.init_with(&third.settings(), &KeyringSource::New).unwrap();
    third.wipe_store();
    fs::remove_dir_all(third.path("anchor")).unwrap();
    fs::remove_file(third.path("keys").join("ru-msk-s1-1.logkey")).unwrap();
    let error = third.init_with(&third.settings(), &given).unwrap_err().to_string();
    assert!(error.contains("is not the keyring that was given"), "{error}");
}

/// A clock that breaks when it is asked.
struct Broken;
impl Clock for Broken {
    #[expect(clippy::panic, reason = "what a panic of ours is called is the test")]
    fn now(&self) -> UnixMillis {
        panic!("the clock is broken")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_ours_at_the_start_is_called_a_bug() {
    let mut place = Place::in_files("ru-msk");
    place.start().await.stop().await.unwrap();
    place.clock = Arc::new(Broken);
    let error = place.open().await.unwrap_err();
    assert!(matches!(error, Error::Bug), "{error}");
    assert!(!error.to_string().contains("backup"), "{error}");
    // A library that panics on a damaged file is another matter.
    place.clock = Arc::new(link::host::clock::SystemClock);
    let db = place.path("data").join("store/db");
    let bytes = fs::read(&db).unwrap();
    fs::write(&db, &bytes[..4096]).unwrap();
    let error = place.open().await.unwrap_err();
    assert!(matches!(error, Error::Engine(engine::Error::Damaged { .. })), "{error}");
    assert!(error.to_string().contains("restore the shard from a backup"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_ran_ahead_is_not_believed_until_an_operator_confirms_it() {
    let clock = Arc::new(SetClock(AtomicU64::new(START)));
    let mut place = Place::new("ru-msk");
    place.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put_ru("anna", "main", b"one", 1)).await.unwrap();
    // Within a run: an hour is believed, a year is not.
    let set = |time| clock.0.store(time, std::sync::atomic::Ordering::Relaxed);
    set(START + 3_000_000);
    session.put(put_ru("anna", "main", b"two", 2)).await.unwrap();
    set(START + 365 * DAY);
    let refused = session.put(put_ru("anna", "main", b"three", 3)).await.err().unwrap();
    assert_eq!(refused, "CLOCK_UNCONFIRMED");
    assert_eq!(session.get("anna", "profiles", "main").await.unwrap().body, "two");
    // Set right, it goes on by itself.
    set(START + 3_100_000);
    session.put(put_ru("anna", "main", b"three", 3)).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();

    // At a start: a day is believed, two are not, and nothing is written.
    set(START + 2 * DAY);
    let shard = place.start().await;
    let mut session = shard.session().await;
    let refused = session.put(put_ru("anna", "main", b"four", 4)).await.err().unwrap();
    assert_eq!(refused, "CLOCK_UNCONFIRMED");
    assert_eq!(session.get("anna", "profiles", "main").await.unwrap().body, "three");
    assert!(shard::clock_ahead(&place.settings(), &*clock).is_none(), "no time was noted yet");
    shard::confirm_clock(&place.settings(), &*clock).unwrap();
    let written = loop {
        match session.put(put_ru("anna", "main", b"four", 4)).await {
            Ok(written) => break written,
            Err(refused) => assert_eq!(refused, "CLOCK_UNCONFIRMED"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let minute = ledger::entry::Entry::decode(&written.entry).unwrap().minute;
    assert_eq!(u64::from(minute), (START + 2 * DAY) / 60_000);
    drop(session);
    shard.stop().await.unwrap();
    place.start().await.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_of_a_new_shard_is_no_jump() {
    let clock = Arc::new(SetClock(AtomicU64::new(START)));
    let mut place = Place::new("ru-msk");
    place.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    place.init_as(&place.settings()).unwrap();
    clock.0.store(START + 30 * DAY, std::sync::atomic::Ordering::Relaxed);
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put_ru("anna", "main", b"one", 1)).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();
}
