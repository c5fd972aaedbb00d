//! Copies under the next map: one that has no clause for them any more, and one that has it again.

use std::time::Duration;

use atlas::Annex;
use tokio::time::{sleep, timeout};
use wire::session as proto;

use super::{BOTH, REGIONS, WITHIN, get, rows};
use crate::support::{MAP, Place, Running, Session, findings, put_ru, stored};

/// How long shards run until their stores are looked at again; twice as long with each try, since a busy
/// machine takes longer.
const A_WHILE: Duration = Duration::from_millis(300);
/// The state of a mark whose copies have gone, as the rules allow none.
const GONE: u8 = 2;

/// The map after one, with the clause for copies or without it.
pub(super) fn next_map(before: &Place, version: u32, clause: bool) -> String {
    let digest = before.map().epoch().digest;
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbered = format!("version = {version}\npredecessor = \"sha256:{hex}\"\n");
    let map = MAP.replacen("version = 1\n", &numbered, 1);
    let names = "from = \"RU\"\nto = \"KZ\"\n";
    assert!(map.contains(names));
    if clause { map } else { map.replacen(names, "from = \"RU\"\nto = \"GB\"\n", 1) }
}

/// Both shards, the mirror's first.
pub(super) async fn start(home: &Place, mirror: &Place) -> (Running, Running) {
    let there = mirror.start().await;
    let shard = home.open().await.unwrap();
    let annex = mirror.annex.replace("127.0.0.1:1\"", &format!("127.0.0.1:{}\"", there.port));
    shard.peers().set(vec![Annex::parse(&annex, &home.map()).unwrap()]);
    (Running::serve(shard, home.region).await, there)
}

async fn copy(session: &mut Session) -> Result<proto::Found, String> {
    copy_of(session, "anna", "main").await
}

pub(super) async fn copy_of(
    session: &mut Session,
    subject: &str,
    key: &str,
) -> Result<proto::Found, String> {
    match session.call(get(subject, key, REGIONS[0])).await {
        Ok(proto::reply::Outcome::Found(found)) => Ok(found),
        Ok(_) => panic!("a get is answered with what was found"),
        Err(fault) => Err(fault.reason),
    }
}

async fn until(session: &mut Session, is_there: bool) {
    until_copied(session, "anna", "main", is_there).await;
}

pub(super) async fn until_copied(session: &mut Session, subject: &str, key: &str, is_there: bool) {
    let asked = async {
        while copy_of(session, subject, key).await.is_ok() != is_there {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(WITHIN, asked).await.expect("the copy comes and goes in time");
}

pub(super) async fn stop(running: [Running; 2]) {
    for one in running {
        one.stop().await.unwrap();
    }
}

/// Both places with a copy of a record, under the first map.
async fn copied() -> (Place, Place) {
    let (home, mirror) = (Place::new(REGIONS[0]), Place::new(REGIONS[1]));
    let (here, there) = start(&home, &mirror).await;
    let (mut session, mut reader) = (here.session().await, there.session().await);
    let put =
        proto::Put { findings: findings(BOTH).into(), ..put_ru("anna", "main", &[7; 9_000], 1) };
    session.put(put).await.unwrap();
    until(&mut reader, true).await;
    drop((session, reader));
    stop([here, there]).await;
    assert_eq!(rows(&mirror, 0x61), 1);
    (home, mirror)
}

pub(super) fn drops(place: &Place) -> Vec<(Option<u64>, Option<String>)> {
    let all = stored::entries_in(&*place.store(), 1);
    let all = all.iter().map(|entry| ledger::entry::Entry::decode(entry).unwrap());
    let drops = all.filter(|entry| entry.kind == ledger::entry::Kind::CopyDrop);
    drops.map(|entry| (entry.count(), entry.reason().map(str::to_owned))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clause_that_is_withdrawn_takes_the_copies_and_one_that_comes_back_brings_them() {
    let (mut home, mut mirror) = copied().await;
    let withdrawn = next_map(&home, 2, false);
    (home.map, mirror.map) = (withdrawn.clone(), withdrawn);
    let (here, there) = start(&home, &mirror).await;
    let mut reader = there.session().await;
    until(&mut reader, false).await;
    drop(reader);
    stop([here, there]).await;
    // The home learns that they have gone.
    let is_known = || home.rows(&[0x38]).first().is_some_and(|(_, row)| row[1] == GONE);
    let told = async {
        let mut a_while = A_WHILE;
        while !is_known() {
            let running = start(&home, &mirror).await;
            sleep(a_while).await;
            a_while *= 2;
            stop([running.0, running.1]).await;
        }
    };
    timeout(WITHIN, told).await.expect("the home is told in time");
    assert_eq!(drops(&mirror), [(Some(1), Some("withdrawn".to_owned()))]);
    assert_eq!((rows(&mirror, 0x61), rows(&mirror, 0x62), rows(&home, 0x39)), (0, 0, 0));
    // What is known of them stays, so that they are made again.
    assert_eq!(rows(&home, 0x38), 1);
    let again = next_map(&home, 3, true);
    (home.map, mirror.map) = (again.clone(), again);
    let (here, there) = start(&home, &mirror).await;
    let mut reader = there.session().await;
    until(&mut reader, true).await;
    assert_eq!(copy(&mut reader).await.unwrap().version, 1);
    drop(reader);
    stop([here, there]).await;
    assert_eq!(rows(&mirror, 0x61), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_erases_by_itself_what_its_own_map_forbids() {
    let (home, mut mirror) = copied().await;
    mirror.map = next_map(&home, 2, false);
    let there = mirror.start().await;
    let mut reader = there.session().await;
    // From the first moment on none is read.
    assert_eq!(copy(&mut reader).await.err().unwrap(), "SUBJECT_UNKNOWN");
    drop(reader);
    there.stop().await.unwrap();
    let erased = async {
        let mut a_while = A_WHILE;
        while rows(&mirror, 0x61) > 0 {
            let there = mirror.start().await;
            sleep(a_while).await;
            a_while *= 2;
            there.stop().await.unwrap();
        }
    };
    timeout(WITHIN, erased).await.expect("they go in time");
    assert_eq!(drops(&mirror), [(Some(1), Some("withdrawn".to_owned()))]);
    assert_eq!((rows(&mirror, 0x61), rows(&mirror, 0x62)), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_before_a_law_wanted_copies_is_copied() {
    let statute = MAP.find("[[statutes]]\nid = \"kz-94v\"").unwrap();
    let rest = MAP.split_at(statute).1;
    let after = statute + rest.find("\n\n").unwrap() + 2;
    let without = [MAP.split_at(statute).0, MAP.split_at(after).1].concat();
    let (mut home, mut mirror) = (Place::new(REGIONS[0]), Place::new(REGIONS[1]));
    (home.map, mirror.map) = (without.clone(), without);
    let (here, there) = start(&home, &mirror).await;
    let mut session = here.session().await;
    for (n, key) in (1..).zip(["main", "second", "third"]) {
        let put = put_ru("anna", key, &[7; 9_000], n);
        session.put(proto::Put { findings: findings(BOTH).into(), ..put }).await.unwrap();
    }
    drop(session);
    stop([here, there]).await;
    assert_eq!((rows(&home, 0x20), rows(&home, 0x38), rows(&mirror, 0x61)), (0, 0, 0));
    let next = next_map(&home, 2, true);
    (home.map, mirror.map) = (next.clone(), next);
    let copied = async {
        let mut a_while = A_WHILE;
        while rows(&mirror, 0x61) < 3 {
            let running = start(&home, &mirror).await;
            sleep(a_while).await;
            a_while *= 2;
            stop([running.0, running.1]).await;
        }
    };
    timeout(WITHIN, copied).await.expect("they are copied in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mirror_has_lost_is_copied_again() {
    let (home, mirror) = copied().await;
    {
        // As a restore of a backup from before the copies leaves it.
        let store = stored::opened(&*mirror.store());
        let limit = engine::ScanLimit { rows: usize::MAX, bytes: usize::MAX };
        let mut batch = engine::Batch::new();
        for prefix in [0x60, 0x61, 0x62] {
            let span = engine::Span::prefix(&[prefix]);
            let page = store.scan(&span, engine::Order::Ascending, limit).unwrap();
            page.rows.into_iter().for_each(|(key, _)| batch.delete(key));
        }
        let head = store.head().unwrap();
        store.commit(batch, head, head.size).unwrap();
    }
    assert_eq!(rows(&mirror, 0x61), 0);
    let (here, there) = start(&home, &mirror).await;
    let mut reader = there.session().await;
    until(&mut reader, true).await;
    drop(reader);
    stop([here, there]).await;
    assert_eq!(rows(&mirror, 0x61), 1);
}
