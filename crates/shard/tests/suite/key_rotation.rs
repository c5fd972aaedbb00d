//! Generations of the region's key: rotated while the shard serves, old ones destroyed, and a crash at
//! the worst moment settled by the next start.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ledger::entry::{Entry, Kind};
use shard::{Error, Generation, KeyRequest, KeyringSource};

use crate::support::{Place, Running, Session, put_ru, stored};

const SUBJECTS: u64 = 700;
const WITHIN: Duration = Duration::from_secs(60);
static ID: AtomicU64 = AtomicU64::new(0);

pub(crate) async fn ask(place: &Place, request: KeyRequest) -> Result<Vec<Generation>, String> {
    let id = format!("{request:?}-{}", ID.fetch_add(1, Ordering::Relaxed));
    let asked = place.settings().ask_about_keys(id, request, WITHIN).await;
    match asked {
        Ok(answer) => Ok(answer.unwrap()),
        Err(refused) => {
            assert!(matches!(refused, Error::KeysRefused(_)), "{refused}");
            Err(refused.to_string())
        }
    }
}

/// Waits until nothing is wrapped under an old generation.
pub(crate) async fn rewrapped(place: &Place) -> Vec<Generation> {
    loop {
        let all = ask(place, KeyRequest::Status).await.unwrap();
        if all.iter().all(|it| it.current || it.subjects == 0) {
            return all;
        }
    }
}

async fn all_readable(session: &mut Session) {
    for n in 0..SUBJECTS {
        assert!(session.get(&format!("p{n}"), "profiles", "k").await.is_ok(), "p{n}");
    }
}

async fn started(place: &Place) -> (Running, Session) {
    let shard = place.open_made(place.settings()).await.unwrap();
    let shard = Running::serve(shard, "ru-msk").await;
    let session = shard.session().await;
    (shard, session)
}

pub(crate) fn of(number: u32, current: bool, subjects: u64) -> Generation {
    Generation { number, current, subjects }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_is_added_takes_all_subjects_and_the_old_one_is_destroyed() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    for n in 0..SUBJECTS {
        session.put(put_ru(&format!("p{n}"), "k", b"x", n)).await.unwrap();
    }
    assert_eq!(ask(&place, KeyRequest::Status).await.unwrap(), [of(1, true, SUBJECTS)]);
    let current = ask(&place, KeyRequest::Destroy(1)).await.unwrap_err();
    assert!(current.contains("current generation"), "{current}");
    let keyring = place.settings().keys.join("ru-msk.keyring");
    let before = fs::read(&keyring).unwrap();
    ask(&place, KeyRequest::Rotate).await.unwrap();
    // Writes and reads go on meanwhile, of old subjects and of new ones.
    session.put(put_ru("p0", "k", b"y", SUBJECTS)).await.unwrap();
    session.put(put_ru("new", "k", b"y", SUBJECTS + 1)).await.unwrap();
    assert_eq!(rewrapped(&place).await, [of(1, false, 0), of(2, true, SUBJECTS + 1)]);
    all_readable(&mut session).await;
    let unknown = ask(&place, KeyRequest::Destroy(7)).await.unwrap_err();
    assert!(unknown.contains("no such generation"), "{unknown}");
    let both = fs::read(&keyring).unwrap();
    let left = ask(&place, KeyRequest::Destroy(1)).await.unwrap();
    assert_eq!(left, [of(2, true, SUBJECTS + 1)]);
    all_readable(&mut session).await;
    drop(session);
    shard.stop().await.unwrap();
    let after = fs::read(&keyring).unwrap();

    // A crash after the commit: the store knows no generation 1, and the keyring still has it.
    fs::write(&keyring, &both).unwrap();
    fs::write(keyring.with_extension("keyring.next"), &after).unwrap();
    for path in [&keyring, &keyring.with_extension("keyring.next")] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let (shard, mut session) = started(&place).await;
    assert_eq!(fs::read(&keyring).unwrap(), after);
    all_readable(&mut session).await;
    drop(session);
    shard.stop().await.unwrap();

    // The keyring of the time before opens nothing, and is refused.
    fs::write(&keyring, &before).unwrap();
    let refused = place.open_made(place.settings()).await.err().unwrap();
    assert!(matches!(refused, Error::Generation { .. }), "{refused}");
    fs::write(&keyring, &after).unwrap();
    let entries = place.entries(1);
    let entries = entries.iter().map(|entry| Entry::decode(entry).unwrap());
    let said: Vec<String> = entries
        .filter(|entry| entry.kind == Kind::Key)
        .map(|entry| entry.reason().unwrap().to_owned())
        .collect();
    let wrapped = "subjects were wrapped under generation 2 of the region's key";
    assert_eq!(said.first().unwrap(), "generation 1 of the region's key was made");
    assert_eq!(said.get(1).unwrap(), "generation 2 of the region's key was made");
    assert_eq!(said.last().unwrap(), "generation 1 of the region's key was destroyed");
    assert!(said.iter().skip(2).rev().skip(1).all(|it| it == wrapped), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_older_than_a_rotation_is_lost_data_and_not_a_wrong_keyring() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put_ru("p0", "k", b"x", 0)).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();
    place.save_store("yesterday");
    let put_back = || place.put_back_store("yesterday");
    let (shard, session) = started(&place).await;
    ask(&place, KeyRequest::Rotate).await.unwrap();
    rewrapped(&place).await;
    drop(session);
    shard.stop().await.unwrap();

    put_back();
    let refused = place.open_made(place.settings()).await.err().unwrap();
    assert!(matches!(refused, Error::DataLost { .. }), "{refused}");
    place.recover().unwrap();
    let (shard, mut session) = started(&place).await;
    assert!(session.get("p0", "profiles", "k").await.is_ok());
    assert_eq!(rewrapped(&place).await, [of(1, false, 0), of(2, true, 1)]);
    ask(&place, KeyRequest::Destroy(1)).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();

    // The generation of the old store is destroyed: an older keyring is not what helps.
    put_back();
    let refused = place.open_made(place.settings()).await.err().unwrap();
    assert!(matches!(refused, Error::DataLost { .. }), "{refused}");
    let refused = place.recover().unwrap_err().to_string();
    assert!(refused.contains("people in this store are wrapped under it"), "{refused}");
    assert!(!place.path("anchor/ru-msk-s1.recovering").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_cannot_be_answered_is_done_once() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let answer = place.path("anchor/ru-msk-s1.keys-answer");
    fs::create_dir(&answer).unwrap();
    fs::write(answer.join("full"), []).unwrap();
    // Several looks of the shard.
    let within = Duration::from_secs(12);
    let asked = place.settings().ask_about_keys("once".into(), KeyRequest::Rotate, within).await;
    assert_eq!(asked.unwrap(), None);
    fs::remove_dir_all(&answer).unwrap();
    assert_eq!(ask(&place, KeyRequest::Status).await.unwrap(), [of(1, false, 0), of(2, true, 0)]);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_does_not_open_keeps_no_other_under_an_old_generation() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    for n in 0..5 {
        session.put(put_ru(&format!("p{n}"), "k", b"x", n)).await.unwrap();
    }
    drop(session);
    shard.stop().await.unwrap();
    {
        let store = stored::opened(&*place.store());
        let limit = engine::ScanLimit { rows: usize::MAX, bytes: usize::MAX };
        let span = engine::Span::prefix(&[0x10]);
        let rows = store.scan(&span, engine::Order::Ascending, limit).unwrap().rows;
        let (key, mut row) = rows.into_iter().find(|(key, _)| key.len() == 20).unwrap();
        // The end of the sealed state: the row still says its generation and its owner.
        *row.last_mut().unwrap() ^= 1;
        let (mut batch, head) = (engine::Batch::new(), store.head().unwrap());
        batch.put(key, row);
        store.commit(batch, head, head.size).unwrap();
    }
    let (shard, session) = started(&place).await;
    ask(&place, KeyRequest::Rotate).await.unwrap();
    let wrapped = async {
        while ask(&place, KeyRequest::Status).await.unwrap() != [of(1, false, 1), of(2, true, 4)] {}
    };
    tokio::time::timeout(WITHIN, wrapped).await.expect("the four others are wrapped");
    let refused = ask(&place, KeyRequest::Destroy(1)).await.unwrap_err();
    assert!(refused.contains("1 subjects are still wrapped"), "{refused}");
    drop(session);
    shard.stop().await.unwrap();
}

/// What the log says of the region's keys.
fn said(place: &Place) -> Vec<String> {
    let entries = place.entries(1);
    let entries = entries.iter().map(|entry| Entry::decode(entry).unwrap());
    let keys = entries.filter(|entry| entry.kind == Kind::Key);
    keys.map(|entry| entry.reason().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shards_of_a_region_take_over_the_generations_that_one_of_them_makes() {
    let (first, second) = (Place::new("ru-msk"), Place::new("ru-msk"));
    let keyring = |place: &Place| place.settings().keys.join("ru-msk.keyring");
    first.init_as(&first.settings()).unwrap();
    let source = KeyringSource::File(keyring(&first));
    second.init_with(&second.settings(), &source).unwrap();
    let (one, of_one) = started(&first).await;
    let (two, mut session) = started(&second).await;
    session.put(put_ru("p0", "k", b"x", 0)).await.unwrap();
    let take = async |from: &Path| {
        second.settings().give_keyring(from).unwrap();
        let taken = ask(&second, KeyRequest::Take).await;
        assert!(!second.settings().keys.join("ru-msk.keyring.given").exists(), "a secret is left");
        taken
    };
    let refused = take(&keyring(&first)).await.unwrap_err();
    assert!(refused.contains("no newer generation"), "{refused}");
    let refused = ask(&second, KeyRequest::Take).await.unwrap_err();
    assert!(refused.contains("it is missing"), "{refused}");

    ask(&first, KeyRequest::Rotate).await.unwrap();
    take(&keyring(&first)).await.unwrap();
    assert_eq!(rewrapped(&second).await, [of(1, false, 0), of(2, true, 1)]);
    assert_eq!(fs::read(keyring(&first)).unwrap(), fs::read(keyring(&second)).unwrap());

    // What was destroyed here does not come back, though the other shard has it still.
    ask(&second, KeyRequest::Destroy(1)).await.unwrap();
    ask(&first, KeyRequest::Rotate).await.unwrap();
    take(&keyring(&first)).await.unwrap();
    assert_eq!(rewrapped(&second).await, [of(2, false, 0), of(3, true, 1)]);

    // Neither another region's keyring nor one with another index key is taken.
    let (other, third) = (Place::new("eu-fra"), Place::new("ru-msk"));
    other.init_as(&other.settings()).unwrap();
    third.init_as(&third.settings()).unwrap();
    let foreign = second.settings().give_keyring(&other.settings().keys.join("eu-fra.keyring"));
    assert!(foreign.unwrap_err().to_string().contains("another region's"));
    let refused = take(&keyring(&third)).await.unwrap_err();
    assert!(refused.contains("its index key is another"), "{refused}");

    // Each has made one of its own. One more at one of them does not help; the keys differ.
    ask(&first, KeyRequest::Rotate).await.unwrap();
    ask(&second, KeyRequest::Rotate).await.unwrap();
    let refused = take(&keyring(&first)).await.unwrap_err();
    assert!(refused.contains("both shards have made one"), "{refused}");
    let held = rewrapped(&second).await;
    assert_eq!(held, [of(2, false, 0), of(3, false, 0), of(4, true, 1)]);
    assert!(session.get("p0", "profiles", "k").await.is_ok());
    drop((session, of_one));
    one.stop().await.unwrap();
    two.stop().await.unwrap();

    // Store and keyring agree at the next start, and the log says where the generations come from.
    let (two, mut session) = started(&second).await;
    assert!(session.get("p0", "profiles", "k").await.is_ok());
    drop(session);
    two.stop().await.unwrap();
    let said = said(&second);
    for number in [2, 3] {
        let taken =
            format!("generation {number} of the region's key was taken over from another shard");
        assert_eq!(said.iter().filter(|said| **said == taken).count(), 1, "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_keyring_that_was_not_taken_over_goes() {
    let place = Place::new("ru-msk");
    place.init_as(&place.settings()).unwrap();
    let keys = place.settings().keys;
    let copy = keys.join("ru-msk.keyring.given");
    let give = || {
        place.settings().give_keyring(&keys.join("ru-msk.keyring")).unwrap();
        assert!(copy.exists());
    };
    // The command takes it back, once and again.
    give();
    place.settings().take_back_keyring().unwrap();
    assert!(!copy.exists());
    place.settings().take_back_keyring().unwrap();
    // The command was killed: the next start of the shard does.
    give();
    let (shard, session) = started(&place).await;
    assert!(!copy.exists(), "a secret is left");
    drop(session);
    shard.stop().await.unwrap();
}
