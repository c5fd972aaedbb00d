//! Lists and counts through a real session: pages, orders, cursors, borders, and what the log says.

use std::collections::BTreeSet;

use atlas::AttributeValue;
use ledger::entry::{Entry, Kind};
use wire::session as proto;

use crate::attributes::{list, map, place, put_with, text};
use crate::support::stored::entries_in;
use crate::support::{Place, Session, Stand, put_ru};

fn age(n: i64) -> AttributeValue {
    AttributeValue::Integer(n)
}

/// Thirty records of three persons, the ages of which are 0 to 29; every third has a mail.
async fn thirty(session: &mut Session) {
    for n in 0..30 {
        let mut all = vec![("age", age(n))];
        if n % 3 == 0 {
            all.push(("mail", text("a@x")));
        }
        let put =
            put_with(&format!("p{}", n % 3), &format!("k{n:02}"), 1_000 + n.cast_unsigned(), &all);
        session.put(put).await.expect("a put");
    }
}

async fn page(session: &mut Session, list: proto::List) -> proto::Listed {
    session.list(list).await.map_err(|fault| (fault.reason, fault.problem)).expect("a page")
}

/// The keys of all pages of so many records.
async fn pages(session: &mut Session, mut list: proto::List, size: u32) -> Vec<String> {
    let mut keys = Vec::new();
    list.page_size = size;
    for _ in 0..100 {
        let page = page(session, list.clone()).await;
        assert!(page.records.len() <= size as usize);
        keys.extend(page.records.into_iter().map(|record| record.key));
        if page.next.is_empty() {
            return keys;
        }
        list.cursor = page.next;
    }
    keys
}

async fn reason(session: &mut Session, list: proto::List) -> String {
    session.list(list).await.err().expect("it is refused").reason
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_size_fit_together_in_any_order() {
    for stand in Stand::all() {
        let mut place = place();
        place.stand_on(stand);
        let shard = place.start().await;
        let mut session = shard.session().await;
        thirty(&mut session).await;
        let key = |n: i64| format!("k{n:02}");
        let up: Vec<String> = (0..30).map(key).collect();
        let down: Vec<String> = up.iter().rev().cloned().collect();
        let with_mail: Vec<String> = (0..30).step_by(3).map(key).collect();
        let narrow: Vec<String> = (10..20).map(key).collect();
        let of_one: Vec<String> = (1..30).step_by(3).map(key).collect();
        for size in [1, 3, 7, 10, 30, 1_000] {
            let by =
                |filter: &str, order: &str| proto::List { order_by: order.into(), ..list(filter) };
            for (order, wanted) in
                [("age", &up), ("age desc", &down), ("key", &up), ("key desc", &down)]
            {
                assert_eq!(pages(&mut session, by("", order), size).await, *wanted, "{order}");
            }
            let narrowed = by("age >= 10 AND age < 20", "age");
            assert_eq!(pages(&mut session, narrowed, size).await, narrow);
            // Sorted: the filter's index has another order.
            let mailed = by("mail = \"a@x\"", "age");
            assert_eq!(pages(&mut session, mailed, size).await, with_mail);
            // Of one subject.
            let one = |order: &str| proto::List { subject: "p1".into(), ..by("", order) };
            assert_eq!(pages(&mut session, one("key"), size).await, of_one);
            assert_eq!(pages(&mut session, one("age"), size).await, of_one);
            // In no order, each comes once.
            for any in [by("", ""), by("age > -1", ""), by("mail IN (\"a@x\", \"b@x\")", "")] {
                let keys = pages(&mut session, any.clone(), size).await;
                let each: BTreeSet<&String> = keys.iter().collect();
                assert_eq!(each.len(), keys.len());
                let wanted = if any.filter.starts_with("mail") { 10 } else { 30 };
                assert_eq!(keys.len(), wanted, "{}", any.filter);
            }
            let keys = pages(&mut session, one(""), size).await;
            assert_eq!(keys.iter().collect::<BTreeSet<_>>(), of_one.iter().collect());
        }
        drop(session);
        shard.stop().await.expect("it ends");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_gives_what_it_says_and_a_page_has_its_bytes() {
    let place = place();
    let shard = place.start().await;
    let mut session = shard.session().await;
    let large = vec![9; 700 << 10];
    for n in 0..8 {
        let put = put_with("anna", &format!("k{n}"), 1 + n, &[("age", age(1))]);
        session.put(proto::Put { body: large.clone().into(), ..put }).await.expect("a put");
    }
    let view = |view| proto::List { view, order_by: "key".into(), ..list("") };
    let names = page(&mut session, view(1)).await;
    assert_eq!(names.records.len(), 8);
    assert!(names.records.iter().all(|r| r.attributes.is_empty() && r.body.is_empty()));
    assert!(names.records.iter().all(|r| r.version == 1 && r.etag.starts_with("\"1-")));
    let attributes = page(&mut session, view(2)).await;
    assert!(attributes.records.iter().all(|r| !r.attributes.is_empty() && r.body.is_empty()));
    let whole = page(&mut session, view(3)).await;
    // Four of them have less than 3 MiB.
    assert_eq!(whole.records.len(), 4);
    assert!(whole.records.iter().all(|r| r.body == large));
    let keys = pages(&mut session, view(3), 1_000).await;
    assert_eq!(keys.len(), 8);
    // One always fits.
    let one = page(&mut session, proto::List { bytes_max: 1, ..view(3) }).await;
    assert_eq!((one.records.len(), one.records[0].body == large), (1, true));
    assert_eq!(reason(&mut session, view(4)).await, "FIELD_INVALID");
    drop(session);
    shard.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_of_many_pages_has_one_entry_which_stands_before_its_records() {
    let place = place();
    let shard = place.start().await;
    let mut session = shard.session().await;
    thirty(&mut session).await;
    let scan = |filter: &str| proto::List {
        scan: true,
        view: 3,
        purpose: "search index".into(),
        ..list(filter)
    };
    assert_eq!(pages(&mut session, scan(""), 7).await.len(), 30);
    assert_eq!(pages(&mut session, scan("age < 10"), 4).await.len(), 10);
    // One that finds nothing is not silent either.
    assert_eq!(pages(&mut session, scan("age > 99"), 4).await.len(), 0);
    let first = page(&mut session, proto::List { page_size: 7, ..scan("") }).await;
    let listed = proto::List { scan: false, cursor: first.next, ..scan("") };
    assert_eq!(reason(&mut session, listed).await, "PAGE_TOKEN_INVALID");
    drop(session);
    shard.stop().await.expect("it ends");
    let all = entries_in(&*place.store(), 1);
    let all = all.iter().map(|entry| Entry::decode(entry).expect("an entry"));
    let (mut reads, mut counted) = (Vec::new(), 0);
    for entry in all {
        let count = entry.details.iter().find_map(|detail| {
            if let ledger::entry::Detail::Count(count) = detail { Some(*count) } else { None }
        });
        if entry.kind == Kind::Read {
            reads.push(count.expect("a number"));
        } else if entry.kind == Kind::Count {
            counted += count.unwrap_or_default();
        }
    }
    // What the first page did not have is counted too.
    assert_eq!((reads, counted), (vec![30, 10, 0, 30], 23 + 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_opens_with_its_own_question_only() {
    let place = place();
    let shard = place.start().await;
    let mut session = shard.session().await;
    thirty(&mut session).await;
    let own = proto::List { page_size: 4, order_by: "age".into(), ..list("age >= 3") };
    let first = page(&mut session, proto::List { cursor_each: true, ..own.clone() }).await;
    // Each record's cursor goes on after it.
    for (n, record) in (3..).zip(&first.records) {
        let next = proto::List { cursor: record.cursor.clone(), page_size: 1, ..own.clone() };
        assert_eq!(page(&mut session, next).await.records[0].key, format!("k{:02}", n + 1));
    }
    let with = |cursor: Vec<u8>| proto::List { cursor: cursor.into(), ..own.clone() };
    let cursor = first.next.to_vec();
    assert_eq!(page(&mut session, with(cursor.clone())).await.records[0].key, "k07");
    for bit in 0..cursor.len() * 8 {
        let mut flipped = cursor.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(reason(&mut session, with(flipped)).await, "PAGE_TOKEN_INVALID", "bit {bit}");
    }
    for length in 1..cursor.len() {
        assert_eq!(
            reason(&mut session, with(cursor[..length].to_vec())).await,
            "PAGE_TOKEN_INVALID"
        );
    }
    let with = with(cursor);
    for other in [
        proto::List { filter: "age >= 2".into(), ..with.clone() },
        proto::List { order_by: "age desc".into(), ..with.clone() },
        proto::List { view: 1, ..with.clone() },
        proto::List { subject: "p1".into(), ..with.clone() },
    ] {
        assert_eq!(reason(&mut session, other).await, "PAGE_TOKEN_INVALID");
    }
    for (tenant, name) in [("sample", "another"), ("other", "test")] {
        let mut call = session.wrap(proto::call::Op::List(with.clone()));
        call.tenant = tenant.into();
        call.caller.as_mut().expect("a caller").name = name.into();
        let id = call.id;
        session.send(vec![call]).await;
        let fault = session.answer(id).await.expect("an answer").err().expect("it is refused");
        assert_eq!(fault.reason, "PAGE_TOKEN_INVALID", "{tenant} {name}");
    }
    // Another size of the page is the same question.
    let longer = page(&mut session, proto::List { page_size: 9, ..with }).await;
    assert_eq!(longer.records.len(), 9);
    drop(session);
    shard.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_index_answers_is_refused_with_what_would_be_needed() {
    let place = place();
    let shard = place.start().await;
    let mut session = shard.session().await;
    thirty(&mut session).await;
    for (filter, order, wanted) in [
        ("note = \"a\"", "", "INDEX_REQUIRED"),
        ("mail > \"a\"", "", "INDEX_REQUIRED"),
        ("", "mail", "INDEX_REQUIRED"),
        ("size = 1", "", "ATTRIBUTE_UNKNOWN"),
        ("age = \"1\"", "", "ATTRIBUTE_INVALID"),
        ("age = ", "", "FILTER_INVALID"),
    ] {
        let asked = proto::List { order_by: order.into(), ..list(filter) };
        assert_eq!(reason(&mut session, asked).await, wanted, "{filter} {order}");
    }
    let nobody = proto::List { subject: "nobody".into(), ..list("") };
    assert_eq!(reason(&mut session, nobody).await, "SUBJECT_UNKNOWN");
    let nothing = proto::List { collection: "letters".into(), ..list("") };
    assert_eq!(reason(&mut session, nothing).await, "COLLECTION_UNKNOWN");
    let purpose = proto::List { purpose: "\n".into(), ..list("") };
    assert_eq!(reason(&mut session, purpose).await, "FIELD_INVALID");
    session.role = Some("writer");
    assert_eq!(reason(&mut session, list("")).await, "NOT_PERMITTED");
    drop(session);
    shard.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_without_a_list_is_found_among_all_heads() {
    let place = place();
    let shard = place.start().await;
    let mut session = shard.session().await;
    thirty(&mut session).await;
    for n in 0..5 {
        let put = put_ru("p1", &format!("m{n}"), b"x", 9_000 + n);
        session.put(proto::Put { collection: "messages".into(), ..put }).await.expect("a put");
    }
    let messages = proto::List { collection: "messages".into(), ..list("") };
    for size in [1, 3, 5, 9] {
        let keys = pages(&mut session, messages.clone(), size).await;
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 5);
        assert_eq!(keys.len(), 5);
        let ordered = proto::List { order_by: "key desc".into(), ..messages.clone() };
        assert_eq!(pages(&mut session, ordered, size).await, ["m4", "m3", "m2", "m1", "m0"]);
    }
    let count = proto::List { count: true, ..messages.clone() };
    assert_eq!(page(&mut session, count).await.count, 5);
    let of_one = page(&mut session, proto::List { subject: "p1".into(), ..messages }).await;
    assert_eq!(of_one.records.len(), 5);
    drop(session);
    shard.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_abroad_a_filter_is_not_asked_of_what_is_withheld() {
    let place = place();
    let shard = place.start().await;
    let mut session = shard.session().await;
    thirty(&mut session).await;
    let counted = |filter: &str| proto::List { count: true, ..list(filter) };
    assert_eq!(page(&mut session, counted("age = 3")).await.count, 1);
    // The law of Russia lets no profile out without a clause, and there is none to Turkey.
    session.territory = Some("TR");
    for filter in ["", "age = 3", "age = 99", "mail = \"nobody@x\""] {
        let listed = page(&mut session, list(filter)).await;
        assert_eq!((listed.records.len(), listed.withheld), (0, 30), "{filter}");
        let counted = page(&mut session, counted(filter)).await;
        assert_eq!((counted.count, counted.withheld), (0, 30), "{filter}");
    }
    let ordered = proto::List { order_by: "age".into(), ..list("age > 3") };
    let listed = page(&mut session, ordered).await;
    assert_eq!((listed.records.len(), listed.withheld), (0, 30));
    // Of one subject, it is the answer of a single read.
    let one = proto::List { subject: "p1".into(), ..list("") };
    assert_eq!(reason(&mut session, one.clone()).await, "EGRESS_NOT_COVERED");
    let nobody = proto::List { subject: "nobody".into(), ..one };
    assert_eq!(reason(&mut session, nobody).await, "EGRESS_NOT_COVERED");
    drop(session);
    shard.stop().await.expect("it ends");
}

/// The entries of a kind that the log has.
fn entries(place: &Place, kind: Kind) -> Vec<Entry> {
    let all = entries_in(&*place.store(), 1);
    let all = all.iter().map(|entry| Entry::decode(entry).expect("an entry"));
    all.filter(|entry| entry.kind == kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_list_is_silent() {
    let mut place = place();
    let logged = "reads = \"logged\"\nlist = true\n\n[[collections.attributes]]\nname = \"paid\"\n\
                  type = \"bool\"\nindex = \"exact\"\n";
    place.map = map().replacen("reads = \"logged\"\n", logged, 1);
    let shard = place.start().await;
    let mut session = shard.session().await;
    thirty(&mut session).await;
    for n in 0..3 {
        let put = put_ru("p1", &format!("k{n}"), b"x", 5_000 + n);
        session.put(proto::Put { collection: "payments".into(), ..put }).await.expect("a put");
    }
    let payments = |view| proto::List { collection: "payments".into(), view, ..list("") };
    // Names of a logged collection, and whole records of a counted one: an entry for each page.
    let named = proto::List { page_size: 2, purpose: "a complaint".into(), ..payments(1) };
    let first = page(&mut session, named.clone()).await;
    page(&mut session, proto::List { cursor: first.next, ..named.clone() }).await;
    // That nothing matches is told, too: of a filter, and of one person.
    for nothing in [
        proto::List { filter: "paid = true".into(), ..named.clone() },
        proto::List { subject: "p2".into(), ..named },
    ] {
        assert!(page(&mut session, nothing).await.records.is_empty());
    }
    page(&mut session, proto::List { view: 3, ..list("age < 5") }).await;
    // What finds nothing in a counted one has read nothing.
    page(&mut session, proto::List { view: 3, ..list("age > 500") }).await;
    // Attributes of a counted one are counted; a count is a question.
    page(&mut session, list("age < 7")).await;
    let count = proto::List { count: true, purpose: "a census".into(), ..payments(1) };
    assert_eq!(page(&mut session, count.clone()).await.count, 3);
    // Where reads are logged, none goes without a purpose.
    for asked in [payments(1), proto::List { purpose: " ".into(), ..count }] {
        let fault = session.list(asked).await.err().expect("it has no purpose");
        assert_eq!((&*fault.reason, &*fault.field), ("FIELD_MISSING", "purpose"));
    }
    drop(session);
    shard.stop().await.expect("it ends");
    let reads: Vec<_> = entries(&place, Kind::Read)
        .iter()
        .map(|entry| (entry.collection.clone(), entry.count(), entry.reason().map(str::to_owned)))
        .collect();
    let read = |collection: &str, count, why: &str| {
        (Some(collection.to_owned()), Some(count), Some(why.to_owned()))
    };
    assert_eq!(
        reads,
        [
            read("payments", 2, "a complaint"),
            read("payments", 1, "a complaint"),
            read("payments", 0, "a complaint"),
            read("payments", 0, "a complaint"),
            read("profiles", 5, "a list of records"),
        ]
    );
    let counts = entries(&place, Kind::Count);
    let (questions, counted): (Vec<&Entry>, Vec<&Entry>) =
        counts.iter().partition(|entry| entry.is_question());
    assert_eq!(counted.iter().filter_map(|entry| entry.count()).sum::<u64>(), 7);
    let [question] = questions[..] else { panic!("one question") };
    assert_eq!((question.collection.as_deref(), question.count()), (Some("payments"), Some(3)));
    assert_eq!(question.reason(), Some("a census"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_writers_run_nothing_comes_twice_and_nothing_that_stays_is_missing() {
    const STAY: usize = 300;
    let place = place();
    let shard = place.start().await;
    let mut session = shard.session().await;
    for n in 0..STAY {
        let put = put_with(
            &format!("p{}", n % 40),
            &format!("stay{n}"),
            1 + n as u64,
            &[("age", age(1))],
        );
        session.put(put).await.expect("a put");
    }
    let mut writer = shard.session().await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let writing = tokio::spawn(async move {
        let mut n = 10_000;
        while stopped.try_recv().is_err() {
            n += 1;
            // Records that come and go, and new versions of those that stay.
            let (subject, key) = (format!("p{}", n % 40), format!("go{}", n % 50));
            writer.put(put_with(&subject, &key, n, &[("age", age(1))])).await.expect("a put");
            let again = usize::try_from(n).expect("small") % STAY;
            let (subject, key) = (format!("p{}", again % 40), format!("stay{again}"));
            let put = put_with(&subject, &key, n + 1_000_000, &[("age", age(1))]);
            writer.put(put).await.expect("a put");
        }
        n
    });
    for order in ["", "age", "age desc"] {
        for _ in 0..5 {
            let asked = proto::List { order_by: order.into(), ..list("age = 1") };
            let keys = pages(&mut session, asked, 29).await;
            let stay: Vec<&String> = keys.iter().filter(|key| key.starts_with("stay")).collect();
            let each: BTreeSet<&&String> = stay.iter().collect();
            assert_eq!((stay.len(), each.len()), (STAY, STAY), "{order}");
        }
    }
    stop.send(()).expect("the writer runs");
    assert!(writing.await.expect("no panic") > 10_010, "too few writes");
    drop(session);
    shard.stop().await.expect("it ends");
}
