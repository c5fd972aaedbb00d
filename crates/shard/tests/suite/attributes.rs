//! Attributes and the rows of their indexes: after any history they agree with the records.

use std::collections::BTreeMap;

use atlas::{AttributeName, AttributeValue, RecordAttributes};
use wire::session as proto;

use crate::changes;
use crate::support::stored::opened;
use crate::support::{MAP, Place, Running, Session, delete, put_ru, request_id};

/// Seeds of histories; one that has found a mistake stays.
const SEEDS: [u64; 6] = [1, 2, 3, 7, 11, 1_764_485_100];
/// Steps of a history.
const STEPS: usize = 160;

/// The sample map, in which profiles have a list and attributes.
pub(crate) fn map() -> String {
    // Those of the first collection, `profiles`.
    let reads = "reads = \"counted\"\n";
    let mut text = format!("{reads}list = true\n");
    for (name, kind, index) in [
        ("age", "integer", "range"),
        ("mail", "string", "exact"),
        ("note", "string", "none"),
        ("seen", "bool", "exact"),
    ] {
        text.push_str(&format!(
            "\n[[collections.attributes]]\nname = \"{name}\"\ntype = \"{kind}\"\nindex = \"{index}\"\n"
        ));
    }
    MAP.replacen(reads, &text, 1)
}

pub(crate) fn place() -> Place {
    let mut place = Place::new("ru-msk");
    place.map = map();
    place
}

pub(crate) fn attributes(all: &[(&str, AttributeValue)]) -> RecordAttributes {
    let mut attributes = RecordAttributes::new();
    for (name, value) in all {
        let name = AttributeName::parse(name).expect("a name");
        attributes.insert(name, value.clone()).expect("room");
    }
    attributes
}

pub(crate) fn text(text: &str) -> AttributeValue {
    AttributeValue::text(text).expect("a text")
}

pub(crate) fn put_with(
    subject: &str,
    key: &str,
    n: u64,
    all: &[(&str, AttributeValue)],
) -> proto::Put {
    let attributes = attributes(all).encode().into();
    proto::Put { attributes, ..put_ru(subject, key, b"body", n) }
}

pub(crate) fn list(filter: &str) -> proto::List {
    proto::List {
        collection: "profiles".into(),
        filter: filter.into(),
        page_size: 1_000,
        bytes_max: 3 << 20,
        view: 2,
        ..Default::default()
    }
}

/// Numbers that a seed gives.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// What a history has left: attributes by subject and key.
type Model = BTreeMap<(String, String), RecordAttributes>;

fn drawn(dice: &mut Dice) -> RecordAttributes {
    let mut all = Vec::new();
    if dice.below(2) == 0 {
        let age = i64::try_from(dice.below(5)).expect("it is small") - 2;
        all.push(("age", AttributeValue::Integer(age)));
    }
    if dice.below(2) == 0 {
        let mail = match dice.below(3) {
            0 => "a@x",
            1 => "b@x",
            _ => "",
        };
        all.push(("mail", text(mail)));
    }
    if dice.below(3) == 0 {
        all.push(("note", text("n")));
    }
    if dice.below(2) == 0 {
        all.push(("seen", AttributeValue::Bool(dice.below(2) == 0)));
    }
    attributes(&all)
}

/// One step, which changes the model as it changes the store.
async fn step(n: u64, dice: &mut Dice, session: &mut Session, model: &mut Model) {
    let subject = format!("p{}", dice.below(3));
    let key = format!("k{}", dice.below(3));
    let of = (subject.clone(), key.clone());
    let attributes = drawn(dice);
    let put = proto::Put {
        attributes: attributes.encode().into(),
        ..put_ru(
            &subject,
            &key,
            &vec![7; usize::try_from(dice.below(2) * 5_000).expect("small")],
            n,
        )
    };
    match dice.below(9) {
        0..3 => {
            session.put(put).await.expect("a put");
            model.insert(of, attributes);
        }
        // The same again has no second effect, whatever came in between.
        3 => {
            session.put(put.clone()).await.expect("a put");
            assert!(session.put(put).await.expect("a retry").replayed);
            model.insert(of, attributes);
        }
        4 => {
            session.put(put).await.expect("a put");
            let delete = delete(&subject, &key, n + 1_000_000);
            session.delete(delete.clone()).await.expect("a deletion");
            assert!(session.delete(delete).await.expect("a retry").replayed);
            model.remove(&of);
        }
        5 => {
            let there = model.remove(&of).is_some();
            let done = session.delete(delete(&subject, &key, n)).await;
            assert_eq!(done.is_ok(), there);
        }
        6 => {
            let mut names: Vec<AttributeName> = ["age", "mail", "note"]
                .iter()
                .filter_map(|name| AttributeName::parse(name))
                .collect();
            names.retain(|name| attributes.get(name).is_none() && dice.below(2) == 0);
            let patch = patch(&subject, &key, n, &attributes, &names);
            let body = (dice.below(2) == 0).then(|| vec![8; 5_000].into());
            let done = session.patch(proto::Patch { body, ..patch }).await;
            assert_eq!(done.is_ok(), model.contains_key(&of));
            if let Some(before) = model.remove(&of) {
                model.insert(of, patched(&before, attributes, &names));
            }
        }
        // What is refused or only checked changes nothing.
        7 => drop(session.put(proto::Put { validate_only: true, ..put }).await.expect("a dry run")),
        _ => assert!(session.put(proto::Put { if_version: Some(999), ..put }).await.is_err()),
    }
}

/// The same attributes without some, and with others in their place.
fn patched(
    before: &RecordAttributes,
    set: RecordAttributes,
    removed: &[AttributeName],
) -> RecordAttributes {
    let stays =
        before.iter().filter(|(name, _)| set.get(name).is_none() && !removed.contains(name));
    let mut all = set.clone();
    for (name, value) in stays {
        all.insert(name.clone(), value.clone()).expect("room");
    }
    all
}

pub(crate) fn patch(
    subject: &str,
    key: &str,
    n: u64,
    set: &RecordAttributes,
    removed: &[AttributeName],
) -> proto::Patch {
    proto::Patch {
        subject: subject.into(),
        collection: "profiles".into(),
        key: key.into(),
        request_id: request_id(n).into(),
        attributes: set.encode().into(),
        remove: removed.iter().map(|name| name.as_str().into()).collect(),
        ..Default::default()
    }
}

/// Everything that the shard lists for a filter.
async fn listed(session: &mut Session, filter: &str) -> Vec<(String, String, Vec<u8>)> {
    let page = session.list(list(filter)).await.map_err(|fault| fault.problem).expect("a page");
    assert!(page.next.is_empty());
    let mut all: Vec<_> = page
        .records
        .into_iter()
        .map(|record| (record.subject, record.key, record.attributes.to_vec()))
        .collect();
    all.sort();
    all
}

async fn agrees(session: &mut Session, model: &Model) {
    let age = AttributeName::parse("age").expect("a name");
    let mail = AttributeName::parse("mail").expect("a name");
    let older = |all: &RecordAttributes, n| {
        all.get(&age).is_some_and(|age| *age >= AttributeValue::Integer(n))
    };
    let of =
        |all: &RecordAttributes, mine: &str| all.get(&mail).is_some_and(|it| *it == text(mine));
    type Wanted<'a> = Box<dyn Fn(&RecordAttributes) -> bool + 'a>;
    let cases: [(&str, Wanted<'_>); 5] = [
        ("", Box::new(|_| true)),
        ("age >= 0", Box::new(|all| older(all, 0))),
        ("mail = \"a@x\"", Box::new(|all| of(all, "a@x"))),
        (
            "mail IN (\"b@x\", \"\") AND age >= -1",
            Box::new(|all| (of(all, "b@x") || of(all, "")) && older(all, -1)),
        ),
        ("mail != \"a@x\"", Box::new(|all| all.get(&mail).is_some() && !of(all, "a@x"))),
    ];
    for (filter, wanted) in cases {
        let expected: Vec<_> = model
            .iter()
            .filter(|(_, all)| wanted(all))
            .map(|((subject, key), all)| (subject.clone(), key.clone(), all.encode()))
            .collect();
        assert_eq!(listed(session, filter).await, expected, "{filter}");
        let count = proto::List { count: true, ..list(filter) };
        let counted = session.list(count).await.map_err(|fault| fault.problem).expect("a count");
        assert_eq!(counted.count, expected.len() as u64, "{filter}");
    }
}

/// One who reads what has changed now and then, and keeps what it has seen.
#[derive(Default)]
struct Watcher {
    cursor: Vec<u8>,
    seen: BTreeMap<(String, String), Vec<u8>>,
}

impl Watcher {
    async fn look(&mut self, session: &mut Session) {
        loop {
            let asked = proto::List { page_size: 7, ..changes::changes(&self.cursor) };
            let page = changes::told(session, asked).await;
            for record in page.records {
                let of = (record.subject, record.key);
                if record.change == 1 {
                    self.seen.insert(of, record.attributes.to_vec());
                } else {
                    self.seen.remove(&of);
                }
            }
            self.cursor = page.next.to_vec();
            if !page.more {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_any_history_indexes_records_and_watchers_agree() {
    for seed in SEEDS {
        let (mut place, mut dice, mut model) = (place(), Dice(seed), Model::new());
        let mut watcher = Watcher::default();
        place.map = changes::with_feed();
        place.engine = engine::Kind::ALL[usize::try_from(seed % 2).expect("small")];
        for round in 0..2 {
            let shard: Running = place.start().await;
            let mut session = shard.session().await;
            watcher.look(&mut session).await;
            for n in 0..STEPS {
                let n = u64::try_from(round * STEPS + n).expect("small") + 1;
                step(n, &mut dice, &mut session, &mut model).await;
                if dice.below(30) == 0 {
                    watcher.look(&mut session).await;
                }
            }
            agrees(&mut session, &model).await;
            watcher.look(&mut session).await;
            let expected = model.iter().map(|(of, all)| (of.clone(), all.encode()));
            assert_eq!(watcher.seen, expected.collect(), "seed {seed}");
            drop(session);
            shard.stop().await.expect("it ends");
            // A row for each record in the list, and for each attribute with an index: no other.
            let note = AttributeName::parse("note").expect("a name");
            let of = |all: &RecordAttributes| 1 + all.len() - usize::from(all.get(&note).is_some());
            let expected: usize = model.values().map(of).sum();
            let found = place.rows(&[0x30]);
            assert_eq!(found.len(), expected, "seed {seed}");
            assert!(found.iter().all(|(_, row)| row == &[1]));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_map_does_not_declare_is_refused_at_the_commit() {
    let place = place();
    let shard = place.start().await;
    let mut session = shard.session().await;
    let refused = |answer: Result<proto::Written, String>| answer.err().expect("it is refused");
    let other = put_with("anna", "main", 1, &[("size", AttributeValue::Integer(1))]);
    assert_eq!(refused(session.put(other).await), "ATTRIBUTE_UNKNOWN");
    let wrong = put_with("anna", "main", 1, &[("age", text("12"))]);
    assert_eq!(refused(session.put(wrong.clone()).await), "ATTRIBUTE_INVALID");
    let dry = proto::Put { validate_only: true, ..wrong };
    assert_eq!(refused(session.put(dry).await), "ATTRIBUTE_INVALID");
    let elsewhere = put_with("anna", "main", 1, &[("age", AttributeValue::Integer(1))]);
    let elsewhere = proto::Put { collection: "messages".into(), ..elsewhere };
    assert_eq!(refused(session.put(elsewhere).await), "ATTRIBUTE_UNKNOWN");
    let garbage = proto::Put { attributes: vec![1; 9].into(), ..put_ru("anna", "main", b"x", 1) };
    assert_eq!(refused(session.put(garbage).await), "FIELD_INVALID");
    // Another map than the gateway's: that is told, and passes.
    let put = put_with("anna", "main", 1, &[("size", AttributeValue::Integer(1))]);
    let mut call = session.wrap(proto::call::Op::Put(put));
    call.map_epoch = 99;
    let id = call.id;
    session.send(vec![call]).await;
    let fault = session.answer(id).await.expect("an answer").err().expect("it is refused");
    assert_eq!(fault.reason, "MAPS_DIFFER");
    assert_eq!(session.get("anna", "profiles", "main").await.err().unwrap(), "SUBJECT_UNKNOWN");
    // The same id with other attributes is another request.
    let put = put_with("anna", "main", 1, &[("age", AttributeValue::Integer(1))]);
    session.put(put).await.expect("a put");
    let other = put_with("anna", "main", 1, &[("age", AttributeValue::Integer(2))]);
    assert_eq!(refused(session.put(other).await), "REQUEST_ID_REUSED");
    let found = session.get("anna", "profiles", "main").await.expect("a record");
    let read = RecordAttributes::decode(&found.attributes).expect("attributes");
    assert!(read == attributes(&[("age", AttributeValue::Integer(1))]));
    drop(session);
    shard.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_of_an_exact_attribute_and_no_name_lies_open_on_the_disk() {
    let place = place();
    let shard = place.start().await;
    let mut session = shard.session().await;
    let all = [("mail", text("anna@example.org")), ("note", text("likes-tea"))];
    session.put(put_with("anna-k", "main-record", 1, &all)).await.expect("a put");
    let page = session.list(proto::List { cursor_each: true, ..list("") }).await;
    let page = page.map_err(|fault| fault.problem).expect("a page");
    drop(session);
    shard.stop().await.expect("it ends");
    let mut seen: Vec<u8> = page.records.iter().flat_map(|record| record.cursor.to_vec()).collect();
    let store = opened(&*place.store());
    let limit = engine::ScanLimit { rows: usize::MAX, bytes: usize::MAX };
    for (key, row) in
        store.scan(&engine::Span::all(), engine::Order::Ascending, limit).expect("rows").rows
    {
        seen.extend(key);
        seen.extend(row);
    }
    for word in ["anna@example.org", "likes-tea", "anna-k", "main-record", "mail", "note"] {
        let found = seen.windows(word.len()).any(|window| window == word.as_bytes());
        // The map is stored as it is, and declares the attributes.
        assert_eq!(found, ["mail", "note"].contains(&word), "{word}");
    }
}
