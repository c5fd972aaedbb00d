//! Backups: made of a shard that serves or stands, refused when anything of them is changed, restored
//! into an empty store of another engine.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod changes;
mod erasures;
mod recoveries;

use std::fs;
use std::path::{Path, PathBuf};

use atlas::Annex;
use ledger::entry::{Entry, Kind};
use ledger::hash::leaf_hash;
use ledger::tree::Edge;
use shard::{Environment, Erasures, Error, MadeBackup, Restored, Settings, VerifiedBackup};
use wire::session as proto;
use wire::session::call::Op;
use wire::session::reply::Outcome;

use crate::support::stored::{entries_in, opened, rows_in};
use crate::support::{Place, Running, Session, Stand, copy_folder, put_ru, request_id};

/// A shard of region ru-msk on that engine; in a database, if that is what this run has.
fn place(engine: engine::Kind) -> Place {
    let mut place = Place::new("ru-msk");
    place.engine = engine;
    place
}

/// Another place for the same shard: its keys and its last checkpoint are copies, and it has no store.
fn moved(place: &Place, engine: engine::Kind) -> Place {
    moved_to(place, self::place(engine))
}

fn moved_to(place: &Place, other: Place) -> Place {
    copy_folder(&place.path("keys"), &other.path("keys"));
    copy_folder(&place.path("anchor"), &other.path("anchor"));
    other
}

async fn backup(place: &Place) -> Result<MadeBackup, Error> {
    backup_since(place, None).await
}

async fn backup_since(place: &Place, since: Option<&Path>) -> Result<MadeBackup, Error> {
    let (settings, map) = (place.settings(), place.map());
    let annex = Annex::parse(&place.annex, &map).unwrap();
    shard::backup(&settings, &map, &annex, &place.outside(), &place.path("backups"), since).await
}

fn restore(place: &Place, from: &Path, erasures: &Erasures) -> Result<Restored, Error> {
    restore_in(place, &place.settings(), &place.outside(), from, erasures)
}

fn restore_in(
    place: &Place,
    settings: &Settings,
    outside: &Environment,
    from: &Path,
    erasures: &Erasures,
) -> Result<Restored, Error> {
    let map = place.map();
    let annex = Annex::parse(&place.annex, &map).unwrap();
    shard::restore(settings, &map, &annex, outside, from, erasures)
}

/// Settings under which a shard's store is opened, and nothing more is done.
fn cut_short(place: &Place) -> Settings {
    Settings { disk_reserve_bytes: u64::MAX, ..place.settings() }
}

fn verify(place: &Place, backup: &Path) -> Result<VerifiedBackup, Error> {
    shard::verify_backup(&place.settings(), "sample", backup)
}

/// The place's map, all of whose homes are its region: by it no one moves to another one.
fn only_home(place: &Place) -> String {
    let homes = place.map.split("\n\n").filter(|table| {
        !table.contains("[[homes]]") || table.contains(&format!("region = \"{}\"", place.region))
    });
    homes.collect::<Vec<_>>().join("\n\n")
}

const KNOWN: Erasures = Erasures::Known(Vec::new());

fn body(n: u64) -> Vec<u8> {
    // Every tenth is stored apart from its head.
    vec![n.to_le_bytes()[0]; if n.is_multiple_of(10) { 60_000 } else { 40 }]
}

async fn fill(session: &mut Session, range: std::ops::Range<u64>) {
    for n in range {
        session.put(put_ru(&format!("p{n}"), "main", &body(n), n)).await.unwrap();
    }
}

async fn serve(place: &Place) -> (Running, Session) {
    let shard = place.open_made(place.settings()).await.unwrap();
    let shard = Running::serve(shard, "ru-msk").await;
    let session = shard.session().await;
    (shard, session)
}

async fn stop(shard: Running, session: Session) {
    drop(session);
    shard.stop().await.unwrap();
}

async fn erase(session: &mut Session, subject: &str, n: u64) -> Result<proto::Written, String> {
    erase_of(session, subject, "", n).await
}

async fn erase_of(
    session: &mut Session,
    subject: &str,
    collection: &str,
    n: u64,
) -> Result<proto::Written, String> {
    let erase = proto::Erase {
        subject: subject.into(),
        collection: collection.into(),
        request_id: request_id(n).into(),
        reason: "the person asked".into(),
        ..Default::default()
    };
    session.role = Some("eraser");
    let answer = session.call(Op::Erase(erase)).await;
    session.role = None;
    match answer {
        Ok(Outcome::Written(written)) => Ok(written),
        Ok(_) => panic!("an erasure is answered with what was written"),
        Err(fault) => Err(fault.reason),
    }
}

fn message(subject: &str, n: u64) -> proto::Put {
    proto::Put { collection: "messages".into(), ..put_ru(subject, "m", b"text", n) }
}

async fn block(session: &mut Session, subject: &str) {
    let until = u32::try_from(place(engine::Kind::Sled).clock.now().0 / 60_000 + 600).unwrap();
    let block = proto::Block {
        subject: subject.into(),
        until_minute: until,
        reason: "a court orders it".into(),
        ..Default::default()
    };
    session.role = Some("eraser");
    session.call(Op::Block(block)).await.ok().unwrap();
    session.role = None;
}

/// The root of the first entries of a log.
fn root(entries: &[Vec<u8>], size: u64) -> [u8; 32] {
    let (mut edge, mut tiles) = (Edge::new(), Vec::new());
    let size = usize::try_from(size).unwrap();
    entries[..size].iter().for_each(|entry| edge.append(leaf_hash(entry), &mut tiles));
    edge.root().0
}

/// A backup of a shard that serves, and how many people it had by the end.
async fn while_serving(place: &Place) -> (MadeBackup, u64) {
    let shard = place.start().await;
    let mut session = shard.session().await;
    fill(&mut session, 0..200).await;
    let mut made = std::pin::pin!(backup(place));
    let mut all = 200;
    let made = loop {
        let writes = fill(&mut session, all..all + 10);
        tokio::select! {
            biased;
            made = &mut made => break made.unwrap(),
            () = tokio::time::sleep(std::time::Duration::from_millis(5)) => {}
        }
        writes.await;
        all += 10;
    };
    fill(&mut session, all..all + 10).await;
    stop(shard, session).await;
    (made, all + 10)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_serving_shard_is_restored_on_another_engine() {
    let [sled, fjall] = engine::Kind::ALL.map(Stand::Files);
    for (from, to) in [(sled, fjall), (fjall, Stand::Postgres), (Stand::Postgres, sled)] {
        let place = Place::on("ru-msk", from);
        let (MadeBackup { path, backup }, all) = while_serving(&place).await;
        assert_eq!(verify(&place, &path).unwrap(), backup);
        let old = entries_in(&*place.store(), 1);
        assert_eq!(backup.origin, "sample/ru-msk/s1/1");
        assert_eq!(backup.root, root(&old, backup.entries));
        // Its last entry is its own.
        let size = usize::try_from(backup.entries).unwrap();
        let last = Entry::decode(&old[size - 1]).unwrap();
        assert_eq!((last.kind, last.reason()), (Kind::Backup, Some(backup.id.as_str())));

        let other = moved_to(&place, Place::on("ru-msk", to));
        let restored = restore(&other, &path, &KNOWN).unwrap();
        let signed = u64::try_from(old.len()).unwrap();
        assert_eq!(restored.old_head, ("sample/ru-msk/s1/1".to_owned(), signed));
        assert_eq!((restored.again.erased, restored.origin.as_str()), (0, "sample/ru-msk/s1/2"));
        assert!(matches!(restore(&other, &path, &KNOWN), Err(Error::NotEmpty { .. })));
        let (shard, mut session) = serve(&other).await;
        // GENESIS, MAP, KEY and BACKUP, and one entry for each write.
        let kept = backup.entries - 4;
        assert!((200..all).contains(&kept), "{kept} of {all}");
        for n in 0..all {
            match session.get(&format!("p{n}"), "profiles", "main").await {
                Ok(found) if n < kept => assert_eq!(found.body, body(n)),
                Err(reason) if n >= kept => assert_eq!(reason, "SUBJECT_UNKNOWN"),
                _ => panic!("{n} of {kept}"),
            }
        }
        // What was lost can be written once more.
        fill(&mut session, kept..all).await;
        stop(shard, session).await;
        let [first, second] = [1, 2].map(|period| entries_in(&*other.store(), period));
        assert_eq!(first, old[..size]);
        let begin = second.iter().take(3).map(|entry| Entry::decode(entry).unwrap());
        let begin: Vec<_> = begin.collect();
        assert_eq!(begin[0].old_head().unwrap().size, signed);
        let head = begin[2].old_head().unwrap();
        assert_eq!((begin[2].kind, begin[2].reason()), (Kind::Restore, Some(backup.id.as_str())));
        assert_eq!((head.size, head.root.0), (backup.entries, backup.root));
        assert_eq!(begin[2].count(), Some(0));
    }
}

/// A backup of a shard that stands, with several chunks.
async fn made() -> (Place, PathBuf) {
    let place = place(engine::Kind::Fjall);
    let shard = place.start().await;
    let mut session = shard.session().await;
    fill(&mut session, 0..30).await;
    for n in 0..8 {
        let put = put_ru("large", &format!("k{n}"), &vec![7; 1 << 20], 1_000 + n);
        session.put(put).await.unwrap();
    }
    stop(shard, session).await;
    let made = loop {
        match backup(&place).await {
            Err(Error::NotBackedUp(_)) => {}
            done => break done.unwrap(),
        }
    };
    assert!(made.backup.chunks >= 4, "{:?}", made.backup);
    (place, made.path)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_changed_in_a_backup_is_found_and_named() {
    let (place, path) = made().await;
    let whole = fs::read(&path).unwrap();
    let changed = place.path("changed.backup");
    let refused = |bytes: &[u8]| {
        fs::write(&changed, bytes).unwrap();
        let error = verify(&place, &changed).expect_err("it is refused").to_string();
        assert!(error.contains("changed.backup"), "{error}");
        error
    };
    // Where the frames begin, after the nine bytes of the format.
    let mut frames = vec![9];
    while *frames.last().unwrap() < whole.len() {
        let at = *frames.last().unwrap();
        let length = u32::from_be_bytes(whole[at..at + 4].try_into().unwrap());
        frames.push(at + 4 + usize::try_from(length).unwrap());
    }
    let flip = |at: usize, bit: usize| {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << bit;
        flipped
    };
    for at in 0..9 {
        refused(&flip(at, at % 8));
    }
    for (number, frame) in frames.windows(2).enumerate() {
        let (from, until) = (frame[0], frame[1]);
        let step = ((until - from) / 7).max(1);
        for at in (from..from + 6).chain((from..until).step_by(step)).chain([until - 1]) {
            let said = refused(&flip(at, at % 8));
            let named = if number == 0 { "header".to_owned() } else { format!("chunk {number}:") };
            assert!(said.contains(&named), "byte {at} of frame {number}: {said}");
        }
    }
    // Cut off anywhere.
    for at in frames.iter().flat_map(|at| [at.saturating_sub(1), *at, at + 2]) {
        if at < whole.len() {
            refused(&whole[..at]);
        }
    }
    // Twice one after the other; a chunk twice; two chunks in the other order.
    assert!(refused(&[&*whole, &*whole].concat()).contains("bytes follow its last chunk"));
    let part = |n: usize| &whole[frames[n]..frames[n + 1]];
    let doubled = [&whole[..frames[2]], part(1), &whole[frames[2]..]].concat();
    assert!(refused(&doubled).contains("chunk 2: it does not open"));
    let swapped = [&whole[..frames[1]], part(2), part(1), &whole[frames[3]..]].concat();
    assert!(refused(&swapped).contains("chunk 1: it does not open"));
    assert!(refused(b"no backup at all").contains("it is no backup"));
    verify(&place, &path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_another_region_or_under_other_keys_is_refused() {
    let (_place, path) = made().await;
    let said = |place: &Place| {
        let empty = restore(place, &path, &KNOWN).expect_err("it is refused").to_string();
        assert!(!place.store().exists().unwrap());
        empty
    };
    let other = Place::new("eu-fra");
    other.init_as(&other.settings()).unwrap();
    other.wipe_store();
    let error = said(&other);
    assert!(error.contains("it is of the log sample/ru-msk/s1/1"), "{error}");
    let other = place(engine::Kind::Sled);
    other.init_as(&other.settings()).unwrap();
    other.wipe_store();
    let error = said(&other);
    assert!(error.contains("another keyring"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_did_not_end_is_begun_again() {
    let (place, path) = made().await;
    let lost = moved(&place, engine::Kind::Sled);
    // As a crash leaves it while rows are written: a mark, and some of the rows.
    let mark = lost.path("anchor/ru-msk-s1.recovering");
    fs::write(&mark, "no checkpoint was left\n").unwrap();
    {
        let store = opened(&*lost.store());
        let mut batch = engine::Batch::new();
        batch.put(vec![0x10, 1], vec![1]);
        store.commit(batch, store.head().unwrap(), 0).unwrap();
    }
    let error = lost.open_made(lost.settings()).await.expect_err("it does not start").to_string();
    assert!(error.contains("has not ended"), "{error}");
    let error = lost.recover().expect_err("it is no loss").to_string();
    assert!(error.contains("restore again"), "{error}");
    assert!(matches!(restore(&lost, &path, &KNOWN), Err(Error::NotEmpty { .. })));
    lost.wipe_store();
    restore(&lost, &path, &KNOWN).unwrap();
    assert!(!mark.exists());
    let (shard, mut session) = serve(&lost).await;
    assert!(session.get("p29", "profiles", "main").await.is_ok());
    stop(shard, session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_lives_as_long_as_the_generation_that_wraps_its_people() {
    let (place, path) = made().await;
    let (shard, session) = serve(&place).await;
    rotate(&place, shard::KeyRequest::Rotate).await;
    let rotated = moved(&place, engine::Kind::Sled);
    while rotate(&place, shard::KeyRequest::Status)
        .await
        .iter()
        .any(|it| !it.current && it.subjects > 0)
    {}
    rotate(&place, shard::KeyRequest::Destroy(1)).await;
    stop(shard, session).await;
    // Generations that were made since are no hindrance.
    restore(&rotated, &path, &KNOWN).unwrap();
    let (shard, mut session) = serve(&rotated).await;
    assert!(session.get("p29", "profiles", "main").await.is_ok());
    stop(shard, session).await;
    let destroyed = moved(&place, engine::Kind::Sled);
    let error = restore(&destroyed, &path, &KNOWN).expect_err("it cannot be read").to_string();
    assert!(error.contains("generation 1 is not in it any more"), "{error}");
}

async fn rotate(place: &Place, request: shard::KeyRequest) -> Vec<shard::Generation> {
    let within = std::time::Duration::from_secs(60);
    let asked = place.settings().ask_about_keys(format!("{request:?}"), request, within).await;
    asked.unwrap().unwrap()
}
