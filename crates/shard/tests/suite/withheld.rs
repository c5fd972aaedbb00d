//! What lists, counts and watches tell a reader abroad of a record that a participant's law withholds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use atlas::AttributeValue;
use bytes::Bytes;
use ledger::entry::{Entry, Kind};
use wire::session as proto;
use wire::session::call::Op;

use crate::attributes::attributes;
use crate::participants::{map, named, naming, put, started};
use crate::support::stored::entries_in;
use crate::support::{Place, Session, SetClock, request_id};
use crate::{sealed, sealed_reads};

const START: u64 = 1_780_000_000_000;

/// Messages have an age with an index, and a feed; a clause lets Russian messages lie in the US.
fn text() -> String {
    let messages = "category = \"what users write to one another\"\n";
    let rest = "grounds = \"invented for the example\"\nreads = \"counted\"\n";
    let age = "\n[[collections.attributes]]\nname = \"age\"\ntype = \"integer\"\n\
               index = \"range\"\n";
    let text = map(&[("RU", "US")]);
    let told = text.replacen(
        &format!("{messages}{rest}"),
        &format!("{messages}{rest}feed = \"7d\"\n{age}"),
        1,
    );
    assert_ne!(told, text);
    told
}

/// A record of amy that names boris, and has an age.
fn shared(key: &str, n: u64) -> proto::Put {
    let age = attributes(&[("age", AttributeValue::Integer(41))]).encode().into();
    let put = naming(put("amy", "US", key, n), vec![named("boris", "ru-msk", &["RU"])]);
    proto::Put { attributes: age, ..put }
}

fn list(subject: &str, filter: &str, participant: &str, order_by: &str) -> proto::List {
    proto::List {
        collection: "messages".into(),
        subject: subject.into(),
        filter: filter.into(),
        participant: participant.into(),
        order_by: order_by.into(),
        page_size: 10,
        bytes_max: 1 << 20,
        view: 1,
        ..Default::default()
    }
}

async fn page(session: &mut Session, list: proto::List) -> proto::Listed {
    session.list(list).await.map_err(|fault| (fault.reason, fault.problem)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_of_it() {
    let (_place, shard, mut session) = started("us-iad", text()).await;
    session.put(put("amy", "US", "plain", 1)).await.unwrap();
    session.put(shared("named", 2)).await.unwrap();
    session.territory = Some("BR");
    for subject in ["amy", ""] {
        for (filter, participant, order, given) in [
            ("", "", "", 1),
            ("", "", "key", 1),
            ("", "boris", "", 0),
            ("", "igor", "", 0),
            ("age >= 40", "", "", 0),
            ("age >= 42", "", "", 0),
            ("age >= 40", "", "age desc", 0),
            ("age >= 42", "", "age desc", 0),
            ("age = 41", "boris", "", 0),
        ] {
            let when = format!("{subject} {filter} {participant} {order}");
            let asked = list(subject, filter, participant, order);
            let listed = page(&mut session, asked.clone()).await;
            assert_eq!((listed.records.len(), listed.withheld), (given, 1), "{when}");
            let count = proto::List { count: true, order_by: String::new(), ..asked };
            let counted = page(&mut session, count).await;
            assert_eq!((counted.count, counted.withheld), (given as u64, 1), "{when}");
        }
    }
    // At home each is asked, and nothing is withheld.
    session.territory = None;
    for (filter, given) in [("age >= 40", 1), ("age >= 42", 0)] {
        let listed = page(&mut session, list("amy", filter, "boris", "")).await;
        assert_eq!((listed.records.len(), listed.withheld), (given, 0), "{filter}");
    }
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_sealed_export_is_refused_for_it() {
    let (place, shard, mut session) = started("us-iad", text()).await;
    session.put(put("amy", "US", "plain", 1)).await.unwrap();
    session.put(shared("named", 2)).await.unwrap();
    let to = sealed::key(&place, &mut session).await;
    let pages = sealed_reads::Reads::export("amy", "messages");
    let (asked, _) = pages.sealed(&to);
    assert_eq!(page(&mut session, asked.clone()).await.records.len(), 2);
    // A gateway that gives no heed to the number of those withheld has nothing to give.
    session.territory = Some("BR");
    let refused = session.list(asked).await.err().unwrap();
    assert_eq!(refused.reason, "EXPORT_WITHHELD");
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_is_not_told_of_its_end() {
    let mut place = Place::new("us-iad");
    place.map = text();
    let clock = Arc::new(SetClock(AtomicU64::new(START)));
    place.clock = clock.clone();
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.territory = Some("BR");
    let watch = |cursor: Bytes| proto::List { changes: true, cursor, ..list("", "", "", "") };
    let mut next = page(&mut session, watch(Bytes::new())).await.next;
    session.territory = None;
    session.put(put("amy", "US", "plain", 1)).await.unwrap();
    session.put(shared("deleted", 2)).await.unwrap();
    let expiring = proto::Put { expire_ms: START + 60_000, ..shared("expires", 3) };
    session.put(expiring).await.unwrap();
    let delete = |key: &str, n| proto::Delete {
        subject: "amy".into(),
        collection: "messages".into(),
        key: key.into(),
        request_id: request_id(n).into(),
        ..Default::default()
    };
    session.delete(delete("deleted", 4)).await.unwrap();
    clock.set(&place, START + 180_000);
    // Whatever is asked of a record whose time has come deletes it.
    let late = session.delete(delete("expires", 5)).await.err().unwrap();
    assert_eq!(late, "RECORD_NOT_FOUND");
    session.delete(delete("plain", 6)).await.unwrap();
    session.territory = Some("BR");
    let (mut told, mut withheld) = (Vec::new(), 0);
    loop {
        let found = page(&mut session, watch(next)).await;
        told.extend(found.records.into_iter().map(|record| record.key));
        (next, withheld) = (found.next, withheld + found.withheld);
        if !found.more {
            break;
        }
    }
    assert_eq!((told, withheld), (vec!["plain".to_owned()], 2));
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_law_withholds_the_records_of_a_person_who_is_blocked() {
    let (place, shard, mut session) = started("us-iad", text()).await;
    session.put(put("amy", "US", "plain", 1)).await.unwrap();
    let now = u32::try_from(place.clock.now().0 / 60_000).unwrap();
    let block = proto::Block {
        subject: "amy".into(),
        until_minute: now + 600,
        reason: "a court orders it".into(),
        ..Default::default()
    };
    session.role = Some("eraser");
    assert!(session.call(Op::Block(block)).await.is_ok());
    session.role = None;
    let listed = page(&mut session, list("", "", "", "")).await;
    assert_eq!((listed.records.len(), listed.withheld), (0, 0));
    drop(session);
    shard.stop().await.unwrap();
    let entries = entries_in(&*place.store(), 1);
    let refused = |entry: &Vec<u8>| Entry::decode(entry).unwrap().kind == Kind::Refuse;
    assert!(!entries.iter().any(refused), "the log says that a law kept them");
}
