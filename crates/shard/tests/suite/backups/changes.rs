//! Backups of what has changed since a whole one.

use super::*;
use crate::support::delete;

/// Makes a backup. Its name has its second: in the same one there is no other.
async fn another(place: &Place, since: Option<&Path>) -> Result<MadeBackup, Error> {
    loop {
        match backup_since(place, since).await {
            Err(Error::NotBackedUp(why)) if why.contains("is there already") => {}
            done => return done,
        }
    }
}

/// A backup of 200 people, and one of what has changed since: added, replaced, deleted, erased.
async fn two_backups(place: &Place) -> (MadeBackup, MadeBackup) {
    let shard = place.start().await;
    let mut session = shard.session().await;
    fill(&mut session, 0..200).await;
    let whole = backup(place).await.unwrap();
    fill(&mut session, 200..210).await;
    session.put(put_ru("p1", "main", b"another", 900)).await.unwrap();
    session.delete(delete("p2", "main", 901)).await.unwrap();
    erase(&mut session, "p3", 902).await.unwrap();
    stop(shard, session).await;
    let changes = another(place, Some(&whole.path)).await.unwrap();
    (whole, changes)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_changed_is_restored_over_the_backup_since_which_it_has() {
    let place = place(engine::Kind::Fjall);
    let (whole, changes) = two_backups(&place).await;
    let bytes = |path: &Path| fs::metadata(path).unwrap().len();
    let (all, some) = (bytes(&whole.path), bytes(&changes.path));
    assert!(some * 4 < all, "{some} of {all}");
    assert_eq!(verify(&place, &changes.path).unwrap(), changes.backup);
    assert!(changes.backup.entries > whole.backup.entries);
    let left: Vec<_> = fs::read_dir(place.path("backups")).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");

    let log = entries_in(&*place.store(), 1);
    let lost = moved(&place, engine::Kind::Sled);
    let restored = restore(&lost, &changes.path, &KNOWN).unwrap();
    assert_eq!(restored.backup, changes.backup);
    let (shard, mut session) = serve(&lost).await;
    for n in (4..210).chain([0]) {
        let found = session.get(&format!("p{n}"), "profiles", "main").await.unwrap();
        assert_eq!(found.body, body(n), "p{n}");
    }
    assert_eq!(session.get("p1", "profiles", "main").await.unwrap().body, "another");
    assert_eq!(session.get("p2", "profiles", "main").await.err().unwrap(), "RECORD_NOT_FOUND");
    assert_eq!(session.get("p3", "profiles", "main").await.err().unwrap(), "SUBJECT_ERASED");
    stop(shard, session).await;
    let size = usize::try_from(changes.backup.entries).unwrap();
    assert_eq!(entries_in(&*lost.store(), 1), log[..size]);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_without_their_whole_backup_or_with_one_bit_changed_are_refused() {
    let place = place(engine::Kind::Fjall);
    let (whole, changes) = two_backups(&place).await;
    let said = |path: &Path| verify(&place, path).expect_err("it is refused").to_string();

    // Only a whole backup has changes.
    let refused = another(&place, Some(&changes.path)).await.expect_err("it has changes");
    assert!(refused.to_string().contains("it is no whole backup"), "{refused}");
    // Only one in the folder is found again.
    let elsewhere = place.path("elsewhere");
    fs::copy(&whole.path, &elsewhere).unwrap();
    let refused = another(&place, Some(&elsewhere)).await.expect_err("it is elsewhere");
    assert!(refused.to_string().contains("not in the folder"), "{refused}");
    assert_eq!(fs::read_dir(place.path("backups")).unwrap().count(), 2);

    // Gone, or another one.
    fs::rename(&whole.path, place.path("aside")).unwrap();
    let error = said(&changes.path);
    let name = whole.path.file_name().unwrap().to_str().unwrap();
    assert!(error.contains(name) && error.contains("not in its folder"), "{error}");
    let other = another(&place, None).await.unwrap();
    fs::rename(&other.path, &whole.path).unwrap();
    assert!(said(&changes.path).contains("is another backup"), "{}", said(&changes.path));
    fs::rename(place.path("aside"), &whole.path).unwrap();
    verify(&place, &changes.path).unwrap();

    // One bit, anywhere in either.
    for path in [&changes.path, &whole.path] {
        let sound = fs::read(path).unwrap();
        for n in 0..24 {
            let mut bytes = sound.clone();
            let at = (n * 7_919 + 3) % bytes.len();
            bytes[at] ^= 1 << (n % 8);
            fs::write(path, bytes).unwrap();
            said(&changes.path);
        }
        // Cut off, and made longer.
        fs::write(path, &sound[..sound.len() / 2]).unwrap();
        said(&changes.path);
        fs::write(path, [&*sound, b"x"].concat()).unwrap();
        said(&changes.path);
        fs::write(path, &sound).unwrap();
    }
    verify(&place, &changes.path).unwrap();
}
