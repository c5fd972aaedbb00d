//! An index that a map declares for records that are stored already: built while the shard serves,
//! through crashes, and refused until it has all of them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::time::Duration;

use atlas::{AttributeValue, RegionMap, SignedMap};
use engine::{Disk, Fault};
use ledger::Signers;
use shard::{Error, Settings};
use wire::session as proto;
use wire::session::call::Op;
use wire::session::reply::Outcome;

use crate::attributes::{list, put_with, text};
use crate::session::{people, signed};
use crate::support::stored::{entries_in, rows_in};
use crate::support::{MAP, Place, Running, Session, Stand};

/// More than one step of the walk changes.
const RECORDS: i64 = 600;
/// Time in which the walk must have come to the end.
const BUILT_MAX: Duration = Duration::from_secs(120);

/// The map with that number: profiles have an age, perhaps with an index, a mail, and perhaps a list.
fn map(version: u64, before: Option<&RegionMap>, age: &str, listed: bool) -> RegionMap {
    let reads = "reads = \"counted\"\n";
    let mut of_profiles = format!("{reads}list = {listed}\n");
    for (name, kind, index) in [("age", "integer", age), ("mail", "string", "exact")] {
        of_profiles.push_str(&format!(
            "\n[[collections.attributes]]\nname = \"{name}\"\ntype = \"{kind}\"\nindex = \"{index}\"\n"
        ));
    }
    let mut numbered = format!("version = {version}\n");
    if let Some(before) = before {
        let digest = hex::encode(before.epoch().digest);
        numbered.push_str(&format!("predecessor = \"sha256:{digest}\"\n"));
    }
    let text = MAP.replacen("version = 1\n", &numbered, 1).replacen(reads, &of_profiles, 1);
    RegionMap::parse(&text).unwrap()
}

fn settings(place: &Place) -> Settings {
    let vkeys = people().map(|person| person.vkey());
    let signers = Signers::parse(vkeys.iter().map(String::as_str)).unwrap();
    Settings { signers: Some(signers), map_note: signed(&place.map()), ..place.settings() }
}

async fn start(place: &Place) -> Running {
    Running::serve(place.open_as(settings(place)).await.unwrap(), "ru-msk").await
}

fn place() -> Place {
    let mut place = Place::new("ru-msk");
    map(1, None, "none", false).text().clone_into(&mut place.map);
    place
}

async fn put(session: &mut Session, n: i64) {
    let mut all = vec![("age", AttributeValue::Integer(n))];
    if n % 3 == 0 {
        all.push(("mail", text("a@x")));
    }
    let number = 1_000 + n.cast_unsigned();
    let put = put_with(&format!("p{}", n % 7), &format!("k{n:04}"), number, &all);
    session.put(put).await.unwrap();
}

async fn apply(session: &mut Session, map: &RegionMap) {
    let SignedMap { text, note, packs } = SignedMap::of(map, signed(map));
    let offer = proto::MapOffer { map: Some(proto::SignedMap { text, note, packs }) };
    assert!(matches!(session.call(Op::MapOffer(offer)).await, Ok(Outcome::Taken(_))));
}

/// The answer, once the index that it needs has all records; and whether it was refused before.
async fn built(session: &mut Session, list: &proto::List) -> (proto::Listed, bool) {
    let mut refused = false;
    let answer = async {
        loop {
            match session.list(list.clone()).await {
                Ok(listed) => return listed,
                Err(fault) => assert_eq!(fault.reason, "INDEX_BUILDING", "{}", fault.problem),
            }
            refused = true;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let answer = tokio::time::timeout(BUILT_MAX, answer).await.expect("an index is built in time");
    (answer, refused)
}

async fn count(session: &mut Session, filter: &str) -> u64 {
    built(session, &proto::List { count: true, ..list(filter) }).await.0.count
}

/// The keys of all records, in the order of their ages.
async fn by_age(session: &mut Session) -> Vec<String> {
    let mut asked = proto::List { order_by: "age".into(), page_size: 250, ..list("age >= 0") };
    let mut keys = Vec::new();
    loop {
        let (page, _) = built(session, &asked).await;
        keys.extend(page.records.into_iter().map(|record| record.key));
        if page.next.is_empty() {
            return keys;
        }
        asked.cursor = page.next;
    }
}

async fn building(session: &mut Session) -> proto::IndexesBuilding {
    match session.call(Op::IndexStatus(proto::IndexStatus {})).await {
        Ok(Outcome::Indexes(building)) => building,
        Ok(_) => panic!("another answer"),
        Err(fault) => panic!("{}", fault.reason),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_declared_later_gets_what_is_stored_and_what_comes_meanwhile() {
    for stand in Stand::all() {
        let mut place = place();
        place.stand_on(stand);
        let shard = start(&place).await;
        let mut session = shard.session().await;
        for n in 0..RECORDS {
            put(&mut session, n).await;
        }
        let refused = session.list(list("age >= 0")).await.err().unwrap();
        assert_eq!(refused.reason, "INDEX_REQUIRED");
        let before = entries_of(&building(&mut session).await);
        assert!(before.is_empty());
        let (first, mut last) = (place.map(), map(2, Some(&place.map()), "range", true));
        apply(&mut session, &last).await;
        // Of one subject, no index is needed, so nothing is refused.
        let one = proto::List { subject: "p1".into(), ..list("age >= 0") };
        assert!(session.list(one).await.is_ok());
        // The list of the collection is used once it is complete. Until then all heads answer.
        assert_eq!(session.list(list("")).await.ok().unwrap().records.len(), 600);
        let (mut all, mut refusals) = (RECORDS, 0);
        loop {
            put(&mut session, all).await;
            all += 1;
            match session.list(proto::List { count: true, ..list("age >= 0") }).await {
                Ok(listed) => break assert_eq!(listed.count, all.cast_unsigned()),
                Err(fault) => assert_eq!(fault.reason, "INDEX_BUILDING"),
            }
            refusals += 1;
            assert!(refusals < 100_000, "the index is never built");
        }
        let keys: Vec<String> = (0..all).map(|n| format!("k{n:04}")).collect();
        assert_eq!(by_age(&mut session).await, keys);
        assert_eq!(count(&mut session, "").await, all.cast_unsigned());
        assert!(entries_of(&building(&mut session).await).is_empty());
        // Dropped, written, and declared again.
        for (version, age) in [(3, "none"), (4, "exact"), (5, "range")] {
            last = map(version, Some(&last), age, version == 5);
            apply(&mut session, &last).await;
            put(&mut session, all).await;
            all += 1;
        }
        assert_eq!(by_age(&mut session).await.len(), usize::try_from(all).unwrap());
        assert_eq!(count(&mut session, "mail = \"a@x\"").await, (all.cast_unsigned()).div_ceil(3));
        built_to_the_end(&mut session).await;
        drop(session);
        shard.stop().await.unwrap();
        // In the list, by age, and of every third by mail: no row of what was dropped is left.
        let all = usize::try_from(all).unwrap();
        let rows = rows_in(&*place.store(), &[0x30]).len();
        assert_eq!(rows, 2 * all + all.div_ceil(3));
        assert!(first.epoch().number < last.epoch().number);
    }
}

fn entries_of(building: &proto::IndexesBuilding) -> BTreeSet<(String, String)> {
    let one = |index: &proto::BuildingIndex| (index.collection.clone(), index.attribute.clone());
    building.indexes.iter().map(one).collect()
}

async fn built_to_the_end(session: &mut Session) {
    let end = async {
        while !building(session).await.indexes.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(BUILT_MAX, end).await.expect("all indexes are built in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_that_a_crash_ends_goes_on_at_the_next_start() {
    // The walk takes two commits.
    for (commits, fault) in
        [(0, Fault::Crash), (0, Fault::ReplyLost), (1, Fault::FlushFails), (1, Fault::Crash)]
    {
        let mut place = place();
        let disk = Disk::new(7);
        place.disk = Some(disk.clone());
        let shard = start(&place).await;
        let mut session = shard.session().await;
        for n in 0..RECORDS {
            put(&mut session, n).await;
        }
        apply(&mut session, &map(2, Some(&place.map()), "range", true)).await;
        disk.fail_after(commits, fault);
        assert!(matches!(shard.wait().await, Err(Error::Poisoned)), "{fault:?} is met by the walk");
        let shard = start(&place).await;
        let mut session = shard.session().await;
        let keys: Vec<String> = (0..RECORDS).map(|n| format!("k{n:04}")).collect();
        assert_eq!(by_age(&mut session).await, keys, "{fault:?}");
        assert_eq!(count(&mut session, "").await, RECORDS.cast_unsigned());
        built_to_the_end(&mut session).await;
        drop(session);
        shard.stop().await.unwrap();
        let all = usize::try_from(RECORDS).unwrap();
        assert_eq!(rows_in(&*place.store(), &[0x30]).len(), 2 * all + all.div_ceil(3));
        // GENESIS, MAP, KEY, the records, the second map, and the counts of what was read.
        let entries = entries_in(&*place.store(), 1);
        assert!(entries.len() >= all + 4 && entries.len() < all + 20, "{}", entries.len());
    }
}
