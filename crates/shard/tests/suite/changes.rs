//! What the feed of changes tells: in the order of commits, at least once, and no longer than the map
//! keeps it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use atlas::AttributeValue;
use engine::Disk;
use ledger::entry::{Detail, Kind};
use wire::session as proto;
use wire::v1 as api;

use crate::attributes::{attributes, map, patch, put_with};
use crate::erasure::held;
use crate::expiry::{LATER, of_kind, started_on, started_with};
use crate::support::stored::rows_in;
use crate::support::{Place, Running, Session, SetClock, delete, put_ru};

/// The sample map, in which the changes of profiles are kept for an hour.
pub(crate) fn with_feed() -> String {
    map().replacen("list = true\n", "list = true\nfeed = \"1h\"\n", 1)
}

async fn started() -> (Place, Arc<SetClock>, Running, Session) {
    started_with(with_feed()).await
}

pub(crate) fn changes(cursor: &[u8]) -> proto::List {
    proto::List {
        collection: "profiles".into(),
        view: 2,
        page_size: 100,
        bytes_max: 3 << 20,
        cursor: cursor.to_vec().into(),
        changes: true,
        ..Default::default()
    }
}

pub(crate) async fn told(session: &mut Session, list: proto::List) -> proto::Listed {
    session.list(list).await.map_err(|fault| (fault.reason, fault.problem)).unwrap()
}

async fn refused(session: &mut Session, list: proto::List) -> String {
    session.list(list).await.err().unwrap().reason
}

/// Key, version and what became of it.
fn short(listed: &proto::Listed) -> Vec<(String, i64, i32)> {
    let one = |record: &proto::ListedRecord| (record.key.clone(), record.version, record.change);
    listed.records.iter().map(one).collect()
}

fn change(key: &str, version: i64, kind: api::ChangeKind) -> (String, i64, i32) {
    (key.to_owned(), version, kind.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_come_in_the_order_of_commits_and_go_on_after_a_restart() {
    use api::ChangeKind::{Deleted, Expired, Written};
    let (place, clock, shard, mut session) = started().await;
    session.put(put_ru("anna", "before", b"x", 1)).await.unwrap();
    let begin = told(&mut session, changes(b"")).await;
    assert!(begin.records.is_empty() && !begin.more && !begin.next.is_empty());
    let age = [("age", AttributeValue::Integer(7))];
    session.put(put_with("anna", "a", 2, &age)).await.unwrap();
    let other = proto::Put { collection: "messages".into(), ..put_ru("anna", "m", b"x", 3) };
    session.put(other).await.unwrap();
    session.put(proto::Put { expire_ms: LATER, ..put_ru("anna", "b", b"x", 4) }).await.unwrap();
    session.put(put_ru("anna", "c", b"x", 5)).await.unwrap();
    session.delete(delete("anna", "c", 6)).await.unwrap();
    session.put(put_ru("boris", "d", b"x", 7)).await.unwrap();
    session.patch(patch("anna", "a", 8, &attributes(&age), &[])).await.unwrap();
    let page = told(&mut session, changes(&begin.next)).await;
    // What changed twice comes once, where its newest change was.
    let all = [
        change("b", 1, Written),
        change("c", 2, Deleted),
        change("d", 1, Written),
        change("a", 2, Written),
    ];
    assert_eq!(short(&page), all);
    let last = page.records.last().unwrap();
    assert_eq!((&*last.subject, last.attributes.to_vec()), ("anna", attributes(&age).encode()));
    assert!(last.body.is_empty() && !last.etag.is_empty());
    assert!(page.records[1].etag.is_empty() && page.records[1].subject == "anna");
    // Of one subject; and in pages of one.
    let of_one = |cursor: &[u8]| proto::List { subject: "boris".into(), ..changes(cursor) };
    let begun = told(&mut session, of_one(b"")).await;
    session.put(put_ru("anna", "e", b"x", 9)).await.unwrap();
    session.put(put_ru("boris", "f", b"x", 10)).await.unwrap();
    assert_eq!(short(&told(&mut session, of_one(&begun.next)).await), [change("f", 1, Written)]);
    let mut one_by_one = Vec::new();
    let mut cursor = begin.next.clone();
    loop {
        let one = proto::List { page_size: 1, ..changes(&cursor) };
        let page = told(&mut session, one).await;
        one_by_one.extend(short(&page));
        cursor = page.next;
        if !page.more {
            break;
        }
    }
    let more = [change("e", 1, Written), change("f", 1, Written)];
    assert_eq!(one_by_one, [&all[..], &more].concat());
    drop(session);
    shard.stop().await.unwrap();
    let shard = place.start().await;
    let mut session = shard.session().await;
    assert_eq!(short(&told(&mut session, changes(&page.next)).await), more);
    assert!(told(&mut session, changes(&cursor)).await.records.is_empty());
    // One whose time has come is told as such, once it is deleted.
    clock.set(&place, LATER);
    let expired = loop {
        let page = told(&mut session, changes(&cursor)).await;
        if !page.records.is_empty() {
            break page;
        }
        cursor = page.next;
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(short(&expired), [change("b", 2, Expired)]);
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_size_tell_many_writers_changes_once_each() {
    let (_place, _clock, shard, mut session) = started().await;
    session.put(put_ru("anna", "first", b"x", 1)).await.unwrap();
    let begin = told(&mut session, changes(b"")).await.next;
    let mut written = Vec::new();
    for batch in 0..8 {
        let calls: Vec<proto::Call> = (0..250)
            .map(|n| {
                let n = batch * 250 + n;
                let put = put_ru(&format!("p{}", n % 7), &format!("k{n}"), b"x", 10 + n);
                session.wrap(proto::call::Op::Put(put))
            })
            .collect();
        let ids: Vec<u64> = calls.iter().map(|call| call.id).collect();
        session.send(calls).await;
        for id in ids {
            let Ok(proto::reply::Outcome::Written(done)) = session.answer(id).await.unwrap() else {
                panic!("a put is answered with what was written")
            };
            written.push(done.index);
        }
    }
    assert_eq!(written.len(), 2_000);
    for size in [1_000, 77, 3] {
        let (mut keys, mut cursor) = (Vec::new(), begin.clone());
        loop {
            let page =
                told(&mut session, proto::List { page_size: size, ..changes(&cursor) }).await;
            keys.extend(page.records.into_iter().map(|record| record.key));
            cursor = page.next;
            if !page.more {
                break;
            }
        }
        let wanted: Vec<String> = (0..2_000).map(|n| format!("k{n}")).collect();
        assert_eq!(keys, wanted, "{size}");
    }
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_goes_with_its_question_and_its_caller() {
    let (_place, _clock, shard, mut session) = started().await;
    session.put(put_ru("anna", "a", b"x", 1)).await.unwrap();
    let cursor = told(&mut session, changes(b"")).await.next;
    for bit in [0, 9, 77, cursor.len() * 8 - 1] {
        let mut flipped = cursor.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(refused(&mut session, changes(&flipped)).await, "PAGE_TOKEN_INVALID");
    }
    for other in [
        proto::List { subject: "anna".into(), ..changes(&cursor) },
        proto::List { changes: false, ..changes(&cursor) },
        changes(b"\x01no cursor at all, and yet of some length"),
    ] {
        assert_eq!(refused(&mut session, other).await, "PAGE_TOKEN_INVALID");
    }
    // Another caller, and another tenant.
    for (tenant, name) in [("sample", "other"), ("other", "test")] {
        let mut call = session.wrap(proto::call::Op::List(changes(&cursor)));
        call.tenant = tenant.into();
        call.caller.as_mut().unwrap().name = name.into();
        let id = call.id;
        session.send(vec![call]).await;
        let fault = session.answer(id).await.unwrap().err().unwrap();
        assert_eq!(fault.reason, "PAGE_TOKEN_INVALID");
    }
    let none = proto::List { collection: "messages".into(), ..changes(b"") };
    assert_eq!(refused(&mut session, none).await, "FEED_REQUIRED");
    session.role = Some("writer");
    assert_eq!(refused(&mut session, changes(&cursor)).await, "NOT_PERMITTED");
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_the_feed_is_swept_and_a_cursor_to_it_has_expired() {
    tokio::join!(swept(Some(Disk::new(1))), swept(None));
}

async fn swept(disk: Option<Disk>) {
    let (place, clock, shard, mut session) = started_on(with_feed(), disk).await;
    session.put(put_ru("anna", "a", b"x", 1)).await.unwrap();
    let old = told(&mut session, changes(b"")).await.next;
    session.put(put_ru("anna", "b", b"x", 2)).await.unwrap();
    clock.set(&place, LATER + 30 * 60_000);
    let young = told(&mut session, changes(&old)).await;
    assert_eq!(young.records.len(), 1);
    session.put(put_ru("anna", "c", b"x", 3)).await.unwrap();
    clock.set(&place, LATER + 62 * 60_000);
    assert_eq!(refused(&mut session, changes(&old)).await, "CURSOR_EXPIRED");
    assert_eq!(told(&mut session, changes(&young.next)).await.records.len(), 1);
    // The sweeper looks every other second.
    let rows = |prefix| rows_in(&*place.store(), &[prefix]).len();
    let (mut shard, mut session) = (shard, session);
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(told(&mut session, changes(&young.next)).await.records.len(), 1);
        drop(session);
        shard.stop().await.unwrap();
        if rows(0x50) == 1 && rows(0x51) == 1 {
            break;
        }
        shard = place.start().await;
        session = shard.session().await;
    }
    assert_eq!((rows(0x50), rows(0x51)), (1, 1));
    // A map that keeps it for longer brings nothing back.
    let mut place = place;
    place.map = next(&place, |text| text.replacen("feed = \"1h\"", "feed = \"9d\"", 1));
    let shard = place.start().await;
    let mut session = shard.session().await;
    assert_eq!(refused(&mut session, changes(&old)).await, "CURSOR_EXPIRED");
    assert_eq!(told(&mut session, changes(&young.next)).await.records.len(), 1);
    drop(session);
    shard.stop().await.unwrap();
}

/// The next map of a place.
fn next(place: &Place, change: impl Fn(&str) -> String) -> String {
    let epoch = place.map().epoch();
    let digest = hex::encode(epoch.digest);
    let lines = place.map.lines().filter(|line| !line.starts_with("predecessor"));
    let lines = lines.map(|line| match line.strip_prefix("version = ") {
        Some(_) => {
            format!("version = {}\npredecessor = \"sha256:{digest}\"\n", epoch.number + 1)
        }
        None => format!("{line}\n"),
    });
    change(&lines.collect::<String>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_was_off_for_a_while_tells_nothing_from_before() {
    let (mut place, _clock, shard, mut session) = started().await;
    session.put(put_ru("anna", "a", b"x", 1)).await.unwrap();
    let cursor = told(&mut session, changes(b"")).await.next;
    drop(session);
    shard.stop().await.unwrap();
    // Another map that keeps the feed: the cursor is good.
    place.map = next(&place, |text| text.replacen("feed = \"1h\"", "feed = \"2h\"", 1));
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put_ru("anna", "b", b"x", 2)).await.unwrap();
    let page = told(&mut session, changes(&cursor)).await;
    assert_eq!(page.records.len(), 1);
    drop(session);
    shard.stop().await.unwrap();
    // One that does not, then one that does again.
    for feed in ["", "feed = \"2h\"\n"] {
        place.map = next(&place, |text| {
            text.replacen("feed = \"2h\"\n", "", 1).replacen(
                "list = true\n",
                &format!("list = true\n{feed}"),
                1,
            )
        });
        let shard = place.start().await;
        let mut session = shard.session().await;
        let wanted = if feed.is_empty() { "FEED_REQUIRED" } else { "CURSOR_EXPIRED" };
        assert_eq!(refused(&mut session, changes(&page.next)).await, wanted);
        session.put(put_ru("anna", "b", feed.as_bytes(), 3 + feed.len() as u64)).await.unwrap();
        drop(session);
        shard.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_has_one_row_and_the_row_names_nobody() {
    for (map, rows) in [(with_feed(), 2), (map(), 0)] {
        let (place, _clock, shard, mut session) = started_with(map).await;
        session.put(put_ru("anna-k", "main-record", b"x", 1)).await.unwrap();
        let puts = (0..100).map(|n| put_ru("anna-k", &format!("k{n}"), b"x", 10 + n));
        let all = proto::PutAll { puts: puts.take(100).collect() };
        let call = session.wrap(proto::call::Op::PutAll(all));
        let id = call.id;
        session.send(vec![call]).await;
        for n in 0..100 {
            assert!(session.answer(id + n).await.unwrap().is_ok());
        }
        drop(session);
        shard.stop().await.unwrap();
        let found = rows_in(&*place.store(), &[0x50]);
        assert_eq!(found.len(), rows);
        for (key, row) in found {
            let seen = [key, row].concat();
            for word in ["anna-k", "main-record", "profiles", "sample"] {
                assert!(!seen.windows(word.len()).any(|part| part == word.as_bytes()), "{word}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_watch_is_silent_and_none_crosses_a_border_without_a_clause() {
    let logged = with_feed().replacen("reads = \"counted\"", "reads = \"logged\"", 1);
    let (_place, _clock, shard, mut session) = started_with(logged).await;
    session.put(put_ru("anna", "a", b"x", 1)).await.unwrap();
    assert_eq!(refused(&mut session, changes(b"")).await, "FIELD_MISSING");
    let changes = |cursor: &[u8]| proto::List { purpose: "search index".into(), ..changes(cursor) };
    let begin = told(&mut session, changes(b"")).await.next;
    session.put(put_ru("anna", "b", b"x", 2)).await.unwrap();
    session.put(put_ru("boris", "c", b"x", 3)).await.unwrap();
    let asked = changes(&begin);
    assert_eq!(told(&mut session, asked).await.records.len(), 2);
    let reads = of_kind(&shard, Kind::Read, 1).await;
    assert_eq!(reads.len(), 1);
    assert!(reads[0].details.contains(&Detail::Count(2)));
    assert!(reads[0].details.contains(&Detail::Reason("search index".into())));
    // Both are told of it.
    for person in ["anna", "boris"] {
        let accesses = held(&mut session, person).await.unwrap().accesses;
        let [told] = &accesses[..] else { panic!("one line") };
        assert_eq!((&*told.purpose, told.kind, told.reads), ("search index", 2, 1));
    }
    // The law of Russia lets no profile out without a clause, and there is none to Turkey.
    session.territory = Some("TR");
    let abroad = told(&mut session, changes(b"")).await;
    session.territory = None;
    session.put(put_ru("anna", "b", b"y", 4)).await.unwrap();
    session.territory = Some("TR");
    let page = told(&mut session, changes(&abroad.next)).await;
    assert_eq!((page.records.len(), page.withheld), (0, 1));
    drop(session);
    shard.stop().await.unwrap();
}
