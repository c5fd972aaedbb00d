//! Records that name people besides their owner: what binds each of them is asked for, decides where
//! the record may lie and who may read it, and each of them finds it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use ledger::entry::{Entry, Kind};
use prost::Message as _;
use wire::session as proto;
use wire::session::call::Op;
use wire::session::reply::Outcome;

use crate::support::stored::{entries_in, rows_in};
use crate::support::{MAP, Place, Running, Session, findings, request_id};

/// The sample map with clauses for messages between these territories.
pub(crate) fn map(clauses: &[(&str, &str)]) -> String {
    let mut text = MAP.to_owned();
    for (from, to) in clauses {
        let id = format!("{}-{}-x", from.to_lowercase(), to.to_lowercase());
        text.push_str(&format!(
            "\n[[clauses]]\nid = \"{id}\"\nfrom = \"{from}\"\nto = \"{to}\"\n\
             collections = [\"messages\"]\nlegal_basis = \"made up\"\nimporter = \"made up\"\n\
             reference = \"made up\"\nnot_before = 2020-01-01\nexpires = 2100-01-01\n"
        ));
    }
    text
}

pub(crate) async fn started(region: &'static str, map: String) -> (Place, Running, Session) {
    let mut place = Place::new(region);
    place.map = map;
    let shard = place.start().await;
    let session = shard.session().await;
    (place, shard, session)
}

pub(crate) fn put(subject: &str, country: &str, key: &str, n: u64) -> proto::Put {
    proto::Put {
        subject: subject.into(),
        collection: "messages".into(),
        key: key.into(),
        body: b"hello".to_vec().into(),
        request_id: request_id(n).into(),
        create_subject: true,
        findings: findings(&[("citizenship", country), ("residence", country)]).into(),
        ..Default::default()
    }
}

pub(crate) fn named(subject: &str, region: &str, jurisdictions: &[&str]) -> proto::Participant {
    proto::Participant {
        subject: subject.into(),
        region: region.into(),
        jurisdictions: jurisdictions.iter().map(|code| (*code).to_owned()).collect(),
    }
}

/// A put that names these, as found out under the first map.
pub(crate) fn naming(put: proto::Put, participants: Vec<proto::Participant>) -> proto::Put {
    let participants = proto::Participants { all: participants }.encode_to_vec().into();
    proto::Put { participants, participants_epoch: 1, ..put }
}

async fn refused(session: &mut Session, put: proto::Put) -> proto::Fault {
    match session.call(Op::Put(put)).await {
        Err(fault) => fault,
        Ok(_) => panic!("it is stored"),
    }
}

async fn bound(session: &mut Session, subject: &str) -> Result<proto::Binding, String> {
    let (subject, collection) = (subject.into(), "messages".into());
    match session.call(Op::AskBinding(proto::AskBinding { subject, collection })).await {
        Ok(Outcome::Binding(binding)) => Ok(binding),
        Ok(_) => panic!("another answer"),
        Err(fault) => Err(fault.reason),
    }
}

/// The subjects and keys of the records that name a person.
async fn listed(session: &mut Session, participant: &str, region: &str) -> Vec<String> {
    let list = proto::List {
        collection: "messages".into(),
        participant: participant.into(),
        participant_region: region.into(),
        page_size: 2,
        bytes_max: 1 << 20,
        view: 1,
        ..Default::default()
    };
    let (mut all, mut asked) = (Vec::new(), list.clone());
    loop {
        let page = session.list(asked.clone()).await.map_err(|fault| fault.reason).unwrap();
        all.extend(page.records.into_iter().map(|one| format!("{}/{}", one.subject, one.key)));
        if page.next.is_empty() {
            break;
        }
        asked.cursor = page.next;
    }
    all.sort();
    let count = proto::List { count: true, ..list };
    let counted = session.list(count).await.map_err(|fault| fault.reason).unwrap().count;
    assert_eq!(counted, all.len() as u64);
    all
}

async fn erase(session: &mut Session, subject: &str, n: u64) {
    session.role = Some("eraser");
    let erase = proto::Erase {
        subject: subject.into(),
        request_id: request_id(n).into(),
        reason: "asked for it".into(),
        ..Default::default()
    };
    assert!(session.call(Op::Erase(erase)).await.is_ok());
    session.role = None;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_says_by_what_a_person_is_bound_and_nothing_else() {
    let (_place, shard, mut session) = started("ru-msk", map(&[])).await;
    assert_eq!(bound(&mut session, "boris").await.err().unwrap(), "SUBJECT_UNKNOWN");
    session.put(put("boris", "RU", "k", 1)).await.unwrap();
    let binding = bound(&mut session, "boris").await.unwrap();
    assert_eq!((binding.jurisdictions, binding.map_epoch), (vec!["RU".to_owned()], 1));
    // One who has no record of the collection yet is bound by what is known of the person.
    let other = proto::Put { collection: "profiles".into(), ..put("vera", "RU", "k", 2) };
    session.put(other).await.unwrap();
    assert_eq!(bound(&mut session, "vera").await.unwrap().jurisdictions, ["RU"]);
    session.role = Some("reader");
    assert_eq!(bound(&mut session, "boris").await.err().unwrap(), "NOT_PERMITTED");
    erase(&mut session, "boris", 3).await;
    assert_eq!(bound(&mut session, "boris").await.err().unwrap(), "SUBJECT_ERASED");
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_russians_text_lies_with_a_german_under_a_clause_alone() {
    let boris = || vec![named("boris", "ru-msk", &["RU"])];
    let (place, shard, mut session) = started("eu-fra", map(&[])).await;
    session.put(put("anna", "DE", "plain", 1)).await.unwrap();
    let fault = refused(&mut session, naming(put("anna", "DE", "m1", 2), boris())).await;
    assert_eq!((&*fault.reason, &*fault.field), ("TRANSFER_NOT_COVERED", "participants[0]"));
    assert_eq!(fault.details.get("conflicting").map(String::as_str), Some("RU,DE"));
    let dry = proto::Put { validate_only: true, ..naming(put("anna", "DE", "m1", 3), boris()) };
    assert_eq!(refused(&mut session, dry).await.reason, "TRANSFER_NOT_COVERED");
    // The second of two is the one in the way.
    let both = vec![named("dora", "eu-fra", &["EEA"]), named("boris", "ru-msk", &["RU"])];
    let fault = refused(&mut session, naming(put("anna", "DE", "m1", 4), both)).await;
    assert_eq!(fault.field, "participants[1]");
    assert_eq!(listed(&mut session, "boris", "").await, Vec::<String>::new());
    drop(session);
    shard.stop().await.unwrap();
    assert!(rows_in(&*place.store(), &[0x30]).is_empty(), "nothing of it was stored");

    let (place, shard, mut session) = started("eu-fra", map(&[("RU", "DE")])).await;
    session.put(naming(put("anna", "DE", "m1", 1), boris())).await.unwrap();
    // There it may not lie with him, so she does not move there with it.
    let moved = proto::Relocate {
        subject: "anna".into(),
        region: "us-iad".into(),
        request_id: request_id(9).into(),
        reason: "she has moved".into(),
        findings: findings(&[("citizenship", "US"), ("residence", "US")]).into(),
        validate_only: true,
        ..Default::default()
    };
    let fault = session.call(Op::Relocate(moved)).await.err().unwrap();
    assert_eq!((&*fault.reason, &*fault.field), ("TRANSFER_NOT_COVERED", "subject.id"));
    assert_eq!(fault.details.get("conflicting").map(String::as_str), Some("RU,US"));
    assert!(fault.problem.contains("messages"), "{}", fault.problem);
    assert_eq!(listed(&mut session, "boris", "").await, ["anna/m1"]);
    let found = session.get("anna", "messages", "m1").await.unwrap();
    let read = proto::Participants::decode(&found.participants[..]).unwrap().all;
    assert!(read == [named("boris", "ru-msk", &[])], "what binds him is not said");
    drop(session);
    shard.stop().await.unwrap();
    let entries = entries_in(&*place.store(), 1);
    let mut entries = entries.iter().map(|entry| Entry::decode(entry).unwrap());
    let placed = entries.rfind(|entry| entry.kind == Kind::Place).unwrap();
    let names = |all: &[String], one: &str| all.iter().any(|own| own == one);
    assert!(names(&placed.jurisdictions, "RU") && names(&placed.jurisdictions, "EEA"));
    assert!(names(&placed.clauses, "ru-de-x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_participant_is_refused_with_its_path() {
    let (_place, shard, mut session) = started("eu-fra", map(&[])).await;
    let dora = || named("dora", "eu-fra", &["EEA"]);
    let many = (0..9).map(|n| named(&format!("p{n}"), "eu-fra", &["EEA"])).collect();
    for (participants, reason, field) in [
        (vec![named("anna", "eu-fra", &["EEA"])], "FIELD_INVALID", "participants[0]"),
        (vec![dora(), dora()], "FIELD_INVALID", "participants[1]"),
        (vec![named("", "eu-fra", &[])], "FIELD_MISSING", "participants[0].id"),
        (vec![named("dora", "EU", &[])], "FIELD_INVALID", "participants[0].domicile"),
        (vec![named("dora", "eu-fra", &["nowhere"])], "FIELD_INVALID", "participants[0]"),
        (many, "TOO_MANY_ITEMS", "participants"),
    ] {
        let fault = refused(&mut session, naming(put("anna", "DE", "m", 1), participants)).await;
        assert_eq!((&*fault.reason, &*fault.field), (reason, field));
    }
    let other_map =
        proto::Put { participants_epoch: 7, ..naming(put("anna", "DE", "m", 1), vec![dora()]) };
    assert_eq!(refused(&mut session, other_map).await.reason, "MAPS_DIFFER");
    // Another participant makes another request.
    session.put(naming(put("anna", "DE", "m", 1), vec![dora()])).await.unwrap();
    assert!(session.put(naming(put("anna", "DE", "m", 1), vec![dora()])).await.unwrap().replayed);
    let other = naming(put("anna", "DE", "m", 1), vec![named("emil", "eu-fra", &["EEA"])]);
    assert_eq!(refused(&mut session, other).await.reason, "REQUEST_ID_REUSED");
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_a_record_names_find_it_until_it_or_they_are_gone() {
    let dora = || vec![named("dora", "eu-fra", &["EEA"])];
    let emil = || vec![named("emil", "eu-fra", &["EEA"])];
    let (place, shard, mut session) = started("eu-fra", map(&[])).await;
    for (n, name) in ["dora", "emil", "fritz"].into_iter().enumerate() {
        session.put(put(name, "DE", "own", 1 + n as u64)).await.unwrap();
    }
    let none: Vec<String> = Vec::new();
    for n in 0..5 {
        session.put(naming(put("anna", "DE", &format!("m{n}"), 10 + n), dora())).await.unwrap();
    }
    session.put(naming(put("fritz", "DE", "m9", 20), dora())).await.unwrap();
    let all = ["anna/m0", "anna/m1", "anna/m2", "anna/m3", "anna/m4", "fritz/m9"];
    assert_eq!(listed(&mut session, "dora", "").await, all);
    assert_eq!(listed(&mut session, "dora", "eu-fra").await, all);
    assert_eq!(listed(&mut session, "dora", "ru-msk").await, none);
    assert_eq!(listed(&mut session, "emil", "").await, none);
    // A put that names none, a patch and a touch keep them; a put that names others does not.
    session.put(put("anna", "DE", "m0", 30)).await.unwrap();
    let patch = proto::Patch {
        subject: "anna".into(),
        collection: "messages".into(),
        key: "m0".into(),
        request_id: request_id(31).into(),
        body: Some(b"other".to_vec().into()),
        ..Default::default()
    };
    session.patch(patch).await.unwrap();
    assert_eq!(listed(&mut session, "dora", "").await, all);
    session.put(naming(put("anna", "DE", "m0", 32), emil())).await.unwrap();
    assert_eq!(listed(&mut session, "dora", "").await, all[1..]);
    assert_eq!(listed(&mut session, "emil", "").await, ["anna/m0"]);
    let delete = proto::Delete {
        subject: "anna".into(),
        collection: "messages".into(),
        key: "m1".into(),
        request_id: request_id(33).into(),
        ..Default::default()
    };
    session.delete(delete).await.unwrap();
    assert_eq!(listed(&mut session, "dora", "").await, all[2..]);
    // Created again, it names what the put names.
    session.put(put("anna", "DE", "m1", 34)).await.unwrap();
    assert_eq!(listed(&mut session, "dora", "").await, all[2..]);
    // What finds an erased person goes; the record is its owner's, and stays.
    erase(&mut session, "dora", 40).await;
    assert_eq!(listed(&mut session, "dora", "").await, none);
    assert!(session.get("anna", "messages", "m2").await.is_ok());
    session.put(put("anna", "DE", "m2", 41)).await.unwrap();
    assert_eq!(listed(&mut session, "dora", "").await, none);
    // With the owner, all that finds its records goes.
    erase(&mut session, "anna", 42).await;
    assert_eq!(listed(&mut session, "emil", "").await, none);
    drop(session);
    shard.stop().await.unwrap();
    assert!(rows_in(&*place.store(), &[0x30]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_person_of_the_same_id_is_erased_without_them() {
    let (_place, shard, mut session) = started("eu-fra", map(&[("RU", "DE")])).await;
    session.put(put("boris", "DE", "own", 1)).await.unwrap();
    let of = |region, code| vec![named("boris", region, &[code])];
    session.put(naming(put("anna", "DE", "m1", 2), of("ru-msk", "RU"))).await.unwrap();
    session.put(naming(put("anna", "DE", "m2", 3), of("eu-fra", "EEA"))).await.unwrap();
    assert_eq!(listed(&mut session, "boris", "ru-msk").await, ["anna/m1"]);
    assert_eq!(listed(&mut session, "boris", "eu-fra").await, ["anna/m2"]);
    assert_eq!(listed(&mut session, "boris", "").await, ["anna/m1", "anna/m2"]);
    erase(&mut session, "boris", 4).await;
    assert_eq!(listed(&mut session, "boris", "ru-msk").await, ["anna/m1"]);
    assert_eq!(listed(&mut session, "boris", "").await, ["anna/m1"]);
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_abroad_needs_what_each_of_them_allows() {
    let (_place, shard, mut session) = started("us-iad", map(&[("RU", "US")])).await;
    let boris = vec![named("boris", "ru-msk", &["RU"])];
    session.put(put("amy", "US", "plain", 1)).await.unwrap();
    session.put(naming(put("amy", "US", "named", 2), boris)).await.unwrap();
    let list = proto::List {
        collection: "messages".into(),
        subject: "amy".into(),
        page_size: 10,
        bytes_max: 1 << 20,
        view: 1,
        ..Default::default()
    };
    for (territory, both) in [(Some("US"), true), (Some("BR"), false), (None, true)] {
        session.territory = territory;
        assert!(session.get("amy", "messages", "plain").await.is_ok(), "{territory:?}");
        let named = session.get("amy", "messages", "named").await;
        assert_eq!(named.is_ok(), both, "{territory:?}");
        if !both {
            // As one that is not there.
            let absent = session.get("amy", "messages", "absent").await;
            assert_eq!(named.err(), absent.err());
        }
        let page = session.list(list.clone()).await.map_err(|fault| fault.reason).unwrap();
        assert_eq!((page.records.len(), page.withheld), if both { (2, 0) } else { (1, 1) });
    }
    drop(session);
    shard.stop().await.unwrap();
}
