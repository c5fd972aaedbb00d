//! Lists and counts: what is refused before a shard is asked, and pages from several shards.

use std::sync::Arc;

use terms::{CallId, Detail, Reason, Rejection};
use tonic_types::StatusExt as _;
use wire::session as proto;
use wire::session::call::Op;
use wire::session::reply::Outcome;
use wire::v1;
use wire::v1::attribute::Value;

use super::rig::*;
use crate::Callers;
use crate::api::context::CallContext;
use crate::api::refusal;

/// Stands for personal data: it may be sent in any field, and comes back in none.
const MARKER: &str = "Marker-anna.k-4711";

/// A gateway whose map declares attributes for `profiles`.
fn with_attributes() -> Arc<CallContext> {
    let reads = "reads = \"counted\"\n";
    let mut text = format!("{reads}list = true\n");
    for (name, kind, index) in [
        ("age", "integer", "range"),
        ("mail", "string", "exact"),
        ("note", "string", "none"),
        ("sent", "timestamp", "range"),
    ] {
        text.push_str(&format!(
            "\n[[collections.attributes]]\nname = \"{name}\"\ntype = \"{kind}\"\nindex = \"{index}\"\n"
        ));
    }
    let map = atlas::RegionMap::parse(&MAP.replacen(reads, &text, 1)).unwrap();
    context_with(Arc::new(map), Callers::Fixed(caller()))
}

fn listing(regions: &[&str]) -> v1::ListRecordsRequest {
    v1::ListRecordsRequest {
        collection: "profiles".to_owned(),
        regions: regions.iter().map(|region| (*region).to_owned()).collect(),
        ..Default::default()
    }
}

fn shown(rejection: &Rejection) {
    let status = refusal::status(rejection, CallId(1));
    let seen =
        format!("{rejection:?}{rejection}{status:?}{}", String::from_utf8_lossy(status.details()));
    assert!(!seen.contains("arker") && !seen.contains("4711"), "{seen}");
}

#[test]
fn each_field_of_a_list_is_checked() {
    use Reason::*;
    let ctx = with_attributes();
    let check = |change: &dyn Fn(&mut v1::ListRecordsRequest), want, field: &str| {
        let mut request = listing(&["ru-msk", "eu-fra"]);
        change(&mut request);
        let rejection = ctx.pin().reader(&caller()).list(request).err().unwrap();
        shown(&rejection);
        assert_eq!((rejection.reason, rejection.field.as_deref()), (want, Some(field)));
        rejection
    };
    check(&|r| r.collection.clear(), FieldMissing, "collection");
    check(&|r| r.collection = "letters".to_owned(), CollectionUnknown, "collection");
    check(&|r| r.regions.clear(), FieldMissing, "regions");
    check(&|r| r.regions[1] = MARKER.to_owned(), FieldInvalid, "regions[1]");
    check(&|r| r.regions[1] = "nowhere-1".to_owned(), DomicileUnknown, "regions[1]");
    let many = check(&|r| r.regions = vec!["ru-msk".to_owned(); 65], TooManyItems, "regions");
    assert_eq!(many.detail(Detail::Limit), Some("64"));
    let subject = |domicile: &str| {
        Some(v1::SubjectRef { id: MARKER.to_owned(), domicile: domicile.to_owned() })
    };
    check(&|r| r.subject = subject("ru-msk"), FieldInvalid, "regions");
    let alone = |r: &mut v1::ListRecordsRequest| {
        r.regions.clear();
        r.subject = subject("");
    };
    let alone = check(&alone, DomicileRequired, "subject.domicile");
    assert!(!alone.message().contains("evidence"), "{}", alone.message());
    let named = |r: &mut v1::ListRecordsRequest| r.participant = subject("nowhere-1");
    check(&named, DomicileUnknown, "participant.domicile");
    check(&|r| r.view = 4, FieldInvalid, "view");
    check(&|r| r.page_size = -1, FieldInvalid, "page_size");
    check(&|r| r.page_token = MARKER.to_owned(), PageTokenInvalid, "page_token");
    check(&|r| r.purpose = format!("{MARKER}\n"), FieldInvalid, "purpose");
    check(&|r| r.purpose = MARKER.repeat(12), FieldInvalid, "purpose");
    check(&|r| r.order_by = MARKER.to_owned(), AttributeUnknown, "order_by");
    check(&|r| r.order_by = "mail".to_owned(), IndexRequired, "order_by");
    let filter = |text: String, want| check(&move |r| r.filter.clone_from(&text), want, "filter");
    filter(format!("mail = {MARKER}"), FilterInvalid);
    filter(format!("{MARKER} = 1"), AttributeUnknown);
    filter(format!("age = \"{MARKER}\""), AttributeInvalid);
    filter(format!("sent > \"{MARKER}\""), AttributeInvalid);
    filter(format!("mail = \"{MARKER}"), FilterInvalid);
    filter("marker_4711 = 1".to_owned(), AttributeUnknown);
    let ranged = filter(format!("mail > \"{MARKER}\""), IndexRequired);
    assert_eq!(ranged.detail(Detail::Attribute), Some("mail"));
    let none = filter(format!("note = \"{MARKER}\""), IndexRequired);
    assert_eq!(none.detail(Detail::Attribute), Some("note"));
    let long = filter(vec!["age = 4711"; 10_000].join(" AND "), FilterInvalid);
    assert_eq!(long.detail(Detail::Limit), Some("8192"));
    filter(format!("mail = \"{}\"", "x".repeat(64 << 10)), FilterInvalid);
    filter(vec!["age = 1"; 400].join(" AND "), TooManyItems);
    filter(format!("{}age = 1{}", "(".repeat(2_000), ")".repeat(2_000)), FilterInvalid);
    // A larger page is the largest.
    let large = v1::ListRecordsRequest { page_size: 5_000, ..listing(&["ru-msk"]) };
    let large = ctx.pin().reader(&caller()).list(large).map_err(|r| r.message()).unwrap();
    assert_eq!(large.page_size, 1_000);
    let usual = ctx.pin().reader(&caller()).list(listing(&["ru-msk", "eu-fra", "ru-msk"]));
    let usual = usual.map_err(|rejection| rejection.message()).unwrap();
    assert_eq!(usual.page_size, 100);
    let regions: Vec<&str> = usual.choice.regions.iter().map(|region| region.as_str()).collect();
    assert_eq!(regions, ["eu-fra", "ru-msk"]);
}

#[test]
fn each_attribute_of_a_put_is_checked() {
    use Reason::*;
    let ctx = with_attributes();
    let attribute =
        |name: &str, value: Option<Value>| v1::Attribute { name: name.to_owned(), value };
    let check = |attributes: Vec<v1::Attribute>, want, field: &str| {
        let request = v1::PutRecordRequest { attributes, ..put_from("KZ") };
        let rejection = ctx.pin().reader(&caller()).put(request).err().unwrap();
        shown(&rejection);
        assert_eq!((rejection.reason, rejection.field.as_deref()), (want, Some(field)));
        rejection
    };
    let text = |text: &str| Some(Value::StringValue(text.to_owned()));
    let age = |n| attribute("age", Some(Value::IntegerValue(n)));
    check(vec![age(1), attribute(MARKER, text("x"))], AttributeUnknown, "attributes[1].name");
    check(vec![attribute("size", text(MARKER))], AttributeUnknown, "attributes[0].name");
    check(vec![attribute("mail", None)], FieldMissing, "attributes[0].value");
    check(vec![attribute("age", text(MARKER))], AttributeInvalid, "attributes[0].value");
    let wrong = check(
        vec![attribute("mail", Some(Value::BoolValue(true)))],
        AttributeInvalid,
        "attributes[0].value",
    );
    assert_eq!(wrong.detail(Detail::Attribute), Some("mail"));
    check(
        vec![attribute("mail", text(&MARKER.repeat(20)))],
        AttributeInvalid,
        "attributes[0].value",
    );
    check(vec![attribute("mail", text("Marker\n"))], AttributeInvalid, "attributes[0].value");
    check(vec![age(1), age(2)], AttributeInvalid, "attributes[1].value");
    for (seconds, nanos) in [(0, -1), (0, 1_000_000_000), (i64::MAX, 0)] {
        let at = Value::TimestampValue(prost_types::Timestamp { seconds, nanos });
        check(vec![attribute("sent", Some(at))], AttributeInvalid, "attributes[0].value");
    }
    let many = check(vec![age(1); 33], TooManyItems, "attributes");
    assert_eq!(many.detail(Detail::Limit), Some("32"));
    let good = vec![attribute("mail", text(MARKER)), age(-1)];
    let request = v1::PutRecordRequest { attributes: good, ..put_from("KZ") };
    let put = ctx.pin().reader(&caller()).put(request).map_err(|r| r.message()).unwrap();
    assert_eq!(put.attributes.len(), 2);
}

#[test]
fn each_field_of_a_patch_is_checked() {
    use Reason::*;
    let ctx = with_attributes();
    let text = |text: &str| Some(Value::StringValue(text.to_owned()));
    let attribute =
        |name: &str, value: Option<Value>| v1::Attribute { name: name.to_owned(), value };
    let good = || v1::PatchRecordRequest {
        subject: get_in("us-iad").subject,
        collection: "profiles".to_owned(),
        key: MARKER.to_owned(),
        request_id: request_id(1),
        body: Some(b"x".as_slice().into()),
        ..Default::default()
    };
    let check = |change: &dyn Fn(&mut v1::PatchRecordRequest), want, field: &str| {
        let mut request = good();
        change(&mut request);
        let rejection = ctx.pin().reader(&caller()).patch(request).err().unwrap();
        shown(&rejection);
        assert_eq!((rejection.reason, rejection.field.as_deref()), (want, Some(field)));
    };
    let age = |n| attribute("age", Some(Value::IntegerValue(n)));
    check(&|r| r.subject = None, FieldMissing, "subject");
    check(&|r| MARKER.clone_into(&mut r.request_id), FieldInvalid, "request_id");
    check(&|r| r.if_version = Some(-1), FieldInvalid, "if_version");
    check(&|r| r.etag = "\n".to_owned(), FieldInvalid, "etag");
    check(&|r| r.body = None, FieldMissing, "body");
    check(&|r| r.body = Some(vec![0; (1 << 20) + 1].into()), BodyTooLarge, "body");
    check(&|r| r.attributes = vec![age(1); 33], TooManyItems, "attributes");
    check(
        &|r| r.attributes = vec![attribute("age", text(MARKER))],
        AttributeInvalid,
        "attributes[0].value",
    );
    check(
        &|r| r.attributes = vec![attribute("size", text(MARKER))],
        AttributeUnknown,
        "attributes[0].name",
    );
    let remove = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let many = "remove_attributes";
    check(&|r| r.remove_attributes = remove(&["age"; 33]), TooManyItems, many);
    let second = "remove_attributes[1]";
    check(&|r| r.remove_attributes = remove(&["age", MARKER]), AttributeUnknown, second);
    check(&|r| r.remove_attributes = remove(&["age", "age"]), FieldInvalid, second);
    check(
        &|r| {
            r.attributes = vec![age(1)];
            r.remove_attributes = remove(&["age"]);
        },
        FieldInvalid,
        "remove_attributes[0]",
    );
    // One that the map does not declare may be on the record: the shard knows.
    let mut request = good();
    request.remove_attributes = remove(&["gone", "mail"]);
    request.attributes = vec![age(3)];
    let patch = ctx.pin().reader(&caller()).patch(request).map_err(|r| r.message()).unwrap();
    assert_eq!((patch.attributes.len(), patch.removed.len()), (1, 2));
}

fn record(key: &str) -> proto::ListedRecord {
    proto::ListedRecord {
        subject: "p-1".to_owned(),
        key: key.to_owned(),
        version: 1,
        cursor: format!("after {key}").into(),
        ..Default::default()
    }
}

fn asked(call: &proto::Call) -> &proto::List {
    let Some(Op::List(list)) = &call.op else { panic!("a list is asked for") };
    list
}

fn keys(page: &v1::ListRecordsResponse) -> Vec<(&str, &str)> {
    let domicile = |record: &'_ v1::Record| record.subject.as_ref().map(|s| s.domicile.clone());
    assert!(page.records.iter().all(|record| domicile(record).is_some()));
    page.records
        .iter()
        .map(|record| {
            (record.subject.as_ref().map_or("", |s| s.domicile.as_str()), record.key.as_str())
        })
        .collect()
}

#[tokio::test]
async fn a_region_out_of_reach_is_named_and_the_others_are_listed() {
    let mut shard = Shard::start(welcome("kz-ala", "KZ")).await;
    let rig = Rig::start(&[("kz-ala", &shard.address)]).await;
    let mut conn = shard.conn().await;
    rig.until_up("kz-ala").await;
    let mut client = rig.client().await;
    let mut request = listing(&["kz-ala", "ru-msk", "us-iad"]);
    request.page_size = 3;
    let answering = async {
        for (cursor, found, next) in
            [("", vec!["a"], "one"), ("one", vec!["b"], "two"), ("two", vec![], "")]
        {
            let call = conn.call().await;
            assert_eq!(asked(&call).cursor, cursor);
            // Of the first page, an even part: it is not known that the others are out of reach.
            assert_eq!(asked(&call).page_size, if cursor.is_empty() { 1 } else { 3 });
            let records = found.into_iter().map(record).collect();
            let next = next.into();
            let listed = proto::Listed { records, next, withheld: 2, ..Default::default() };
            conn.reply(call.id, Outcome::Listed(listed)).await;
        }
    };
    let listed = async {
        for wanted in [vec![("kz-ala", "a")], vec![("kz-ala", "b")], vec![]] {
            let page = client.list(request.clone()).await.unwrap().into_inner();
            assert_eq!((keys(&page), page.withheld), (wanted, 2));
            assert_eq!(page.unreachable, ["ru-msk", "us-iad"]);
            // Of a page that has lost them, why.
            let lost = page.missing.iter().map(|one| &*one.reason);
            assert!(lost.into_iter().all(|reason| reason == "REGION_UNAVAILABLE"));
            assert_eq!(page.missing.len(), if request.page_token.is_empty() { 2 } else { 0 });
            request.page_token = page.next_page_token;
        }
        assert!(request.page_token.is_empty());
    };
    within(Box::pin(async { tokio::join!(answering, listed) })).await;
    // One region alone: the call fails, and may be made again.
    let refused = refused(client.list(listing(&["ru-msk"])).await);
    assert_eq!(reason(&refused), Reason::RegionUnavailable);
}

#[tokio::test]
async fn counts_are_added_and_a_refusal_of_one_shard_is_that_of_the_call() {
    let mut one = Shard::start(welcome("kz-ala", "KZ")).await;
    let mut other = Shard::start(welcome("ru-msk", "RU")).await;
    let rig = Rig::start(&[("kz-ala", &one.address), ("ru-msk", &other.address)]).await;
    let (mut at_one, mut at_other) = (one.conn().await, other.conn().await);
    rig.until_up("kz-ala").await;
    rig.until_up("ru-msk").await;
    let mut client = rig.client().await;
    let request = v1::CountRecordsRequest {
        collection: "profiles".to_owned(),
        regions: vec!["ru-msk".to_owned(), "kz-ala".to_owned()],
        purpose: "a look".to_owned(),
        ..Default::default()
    };
    let answering = async {
        for (conn, count) in [(&mut at_one, 3), (&mut at_other, 4)] {
            let call = conn.call().await;
            assert!(asked(&call).count && asked(&call).purpose == "a look");
            assert_eq!(call.caller.as_ref().map(|caller| caller.role.as_str()), Some("reader"));
            let listed = proto::Listed { count, withheld: 1, ..Default::default() };
            conn.reply(call.id, Outcome::Listed(listed)).await;
        }
    };
    let counted = async { client.count(request.clone()).await.unwrap().into_inner() };
    let (_, answer) = within(Box::pin(async { tokio::join!(answering, counted) })).await;
    assert_eq!((answer.count, answer.withheld, answer.unreachable.len()), (7, 2, 0));
    // What passes leaves one region out, and says why.
    let answering = async {
        let call = at_one.call().await;
        let listed = proto::Listed { count: 3, ..Default::default() };
        at_one.reply(call.id, Outcome::Listed(listed)).await;
        let call = at_other.call().await;
        let no = link::session::to_wire(&Rejection::new(Reason::MapsDiffer));
        at_other.reply(call.id, Outcome::Fault(no)).await;
    };
    let counted = async { client.count(request.clone()).await.unwrap().into_inner() };
    let (_, answer) = within(Box::pin(async { tokio::join!(answering, counted) })).await;
    assert_eq!((answer.count, &*answer.unreachable), (3, &["ru-msk".to_owned()][..]));
    let missing = answer.missing.iter().map(|one| (&*one.region, &*one.reason));
    assert_eq!(missing.collect::<Vec<_>>(), [("ru-msk", "MAPS_DIFFER")]);
    let answering = async {
        let call = at_one.call().await;
        at_one.reply(call.id, Outcome::Listed(proto::Listed::default())).await;
        let call = at_other.call().await;
        let no = Rejection::new(Reason::IndexRequired).field("filter").problem("no list");
        at_other.reply(call.id, Outcome::Fault(link::session::to_wire(&no))).await;
    };
    let counted = async { refused(client.count(request).await) };
    let (_, refused) = within(Box::pin(async { tokio::join!(answering, counted) })).await;
    assert_eq!(reason(&refused), Reason::IndexRequired);
}

/// What a shard answers to a question about changes.
fn told(next: &'static str, keys: &[&str], more: bool) -> Outcome {
    let change = |key: &&str| proto::ListedRecord { change: 2, ..record(key) };
    let records = keys.iter().map(change).collect();
    Outcome::Listed(proto::Listed { records, next: next.into(), more, ..Default::default() })
}

fn watching(cursor: &str) -> v1::WatchRecordsRequest {
    v1::WatchRecordsRequest {
        collection: "profiles".to_owned(),
        region: "us-iad".to_owned(),
        cursor: cursor.to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_watch_asks_again_from_where_it_was_and_ends_with_what_the_shard_says() {
    let (rig, _shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let mut client = rig.client().await;
    let shard = async {
        let mut began = None;
        for (cursor, answer) in [
            ("", told("c1", &[], false)),
            ("c1", told("c2", &[], false)),
            ("c2", told("c3", &["a", "b"], true)),
            ("c3", told("c4", &["c"], false)),
        ] {
            let call = conn.call().await;
            let list = asked(&call);
            assert!(list.changes && list.view == 2 && list.cursor == cursor);
            // Where there is more, it asks at once; where there is not, it waits a little.
            let now = tokio::time::Instant::now();
            let before = began.replace(now);
            if cursor == "c3" {
                assert!(before.is_some_and(|then| now - then < std::time::Duration::from_secs(5)));
            }
            conn.reply(call.id, answer).await;
        }
        let call = conn.call().await;
        let no = Rejection::new(Reason::CursorExpired).field("cursor");
        conn.reply(call.id, Outcome::Fault(link::session::to_wire(&no))).await;
        // Another watch, with a cursor that the shard does not know.
        let call = conn.call().await;
        assert_eq!(asked(&call).cursor, "c4");
        let no = Rejection::new(Reason::PageTokenInvalid).field("page_token");
        conn.reply(call.id, Outcome::Fault(link::session::to_wire(&no))).await;
    };
    let caller = async {
        let mut answers = client.watch(watching("")).await.unwrap().into_inner();
        let first = within(answers.message()).await.unwrap().unwrap();
        assert!(first.changes.is_empty() && !first.cursor.is_empty());
        let mut cursor = String::new();
        for wanted in [&["a", "b"][..], &["c"]] {
            let answer = within(answers.message()).await.unwrap().unwrap();
            let keys: Vec<_> = answer
                .changes
                .iter()
                .map(|change| {
                    assert!(change.kind() == v1::ChangeKind::Deleted);
                    change.record.as_ref().unwrap().key.as_str()
                })
                .collect();
            assert_eq!(keys, wanted);
            cursor = answer.cursor;
        }
        let ended = within(answers.message()).await.err().unwrap();
        assert_eq!(reason(&ended), Reason::CursorExpired);
        let mut answers = client.watch(watching(&cursor)).await.unwrap().into_inner();
        let ended = within(answers.message()).await.err().unwrap();
        assert_eq!(reason(&ended), Reason::PageTokenInvalid);
        let details = ended.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "cursor");
    };
    tokio::join!(shard, caller);
    // A cursor that no gateway made, and one of another region.
    for (bad, field) in [(watching("abc"), "cursor"), (watching(""), "region")] {
        let bad = if field == "region" {
            v1::WatchRecordsRequest { region: String::new(), ..bad }
        } else {
            bad
        };
        let ended = refused(client.watch(bad).await);
        let details = ended.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, field);
    }
}

#[tokio::test]
async fn a_watch_does_not_go_on_where_the_region_has_other_shards() {
    let (rig, _shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let mut client = rig.client().await;
    let answering = async {
        let call = conn.call().await;
        conn.reply(call.id, told("c1", &[], false)).await;
    };
    let mut answers = client.watch(watching("")).await.unwrap().into_inner();
    let first = async { within(answers.message()).await.unwrap().unwrap() };
    let (first, ()) = tokio::join!(first, answering);
    drop(answers);
    let handle = crate::map::state::Handle::of(&rig.ctx.map);
    let (map, before) = (handle.map(), handle.annexes());
    let own = |annex: &&atlas::Annex| annex.region().as_str() == "us-iad";
    let address = before.iter().find(own).unwrap().shards()[0].address().to_owned();
    let shard = |name: &str, address: &str, slots: &str| {
        format!("[[shards]]\nname = \"{name}\"\naddress = \"{address}\"\nslots = [\"{slots}\"]\n")
    };
    let two = format!(
        "region = \"us-iad\"\n{}{}",
        shard("s1", &address, "0-511"),
        shard("s2", "http://127.0.0.1:1", "512-1023")
    );
    let other = format!("region = \"us-iad\"\n{}", shard("s3", &address, "0-1023"));
    for text in [two, other] {
        let annex = atlas::Annex::parse(&text, &map).unwrap();
        let rest = before.iter().filter(|annex| !own(annex)).cloned();
        handle.set_annexes(rest.chain([annex]).collect());
        let mut again = client.watch(watching(&first.cursor)).await.unwrap().into_inner();
        let ended = within(again.message()).await.err().unwrap();
        assert_eq!(reason(&ended), Reason::CursorExpired);
    }
    // Without an annex, the region is out of reach for a while.
    handle.set_annexes(before.iter().filter(|annex| !own(annex)).cloned().collect());
    let mut again = client.watch(watching(&first.cursor)).await.unwrap().into_inner();
    let ended = within(again.message()).await.err().unwrap();
    assert_eq!(reason(&ended), Reason::RegionUnavailable);
}
