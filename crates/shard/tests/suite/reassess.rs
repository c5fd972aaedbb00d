//! The rulings of a subject made again: what stays stands, in one commit, with its entries; what belongs
//! elsewhere is said, and changes nothing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use ledger::entry::{Detail, Entry, Kind};
use wire::session::{self as proto, call::Op, reply::Outcome};
use wire::v1;

use crate::support::{Place, Session, findings, put_ru};

const RU: &[(&str, &str)] = &[("citizenship", "RU"), ("residence", "RU")];

fn reassess(of: &[(&str, &str)]) -> proto::Reassess {
    let findings = if of.is_empty() { Vec::new() } else { findings(of) };
    proto::Reassess {
        subject: "anna".into(),
        findings: findings.into(),
        reason: "the person has moved".into(),
        ..Default::default()
    }
}

async fn ask(session: &mut Session, of: proto::Reassess) -> Result<proto::Written, String> {
    match session.call(Op::Reassess(of)).await {
        Ok(Outcome::Written(written)) => Ok(written),
        Ok(_) => panic!("a reassessment is answered with what was written"),
        Err(fault) => Err(fault.reason),
    }
}

fn put(collection: &str, n: u64, of: &[(&str, &str)]) -> proto::Put {
    let findings = if of.is_empty() { Vec::new() } else { findings(of) };
    proto::Put {
        collection: collection.into(),
        findings: findings.into(),
        create_subject: !of.is_empty(),
        ..put_ru("anna", &format!("k{n}"), b"x", n)
    }
}

fn attached(of: &proto::Reassessed) -> Vec<String> {
    let ruling: v1::Ruling = wire::bounded::decode(&of.ruling).unwrap();
    ruling.attachments.into_iter().map(|one| one.jurisdiction).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_evidence_takes_the_place_of_the_old_where_all_records_stay() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put("profiles", 1, RU)).await.unwrap();
    // A Russian citizen who lives in Kazakhstan: the records stay, and have a mirror from now on.
    let kazakh = [("residence", "KZ")];
    let refused = session.put(put("profiles", 3, &kazakh)).await;
    assert_eq!(refused.err().unwrap(), "JURISDICTION_CHANGED");
    let dry = proto::Reassess { validate_only: true, ..reassess(&kazakh) };
    let dry = ask(&mut session, dry).await.unwrap();
    assert!(dry.stands && !dry.replayed && dry.entry.is_empty());
    let still = session.put(put("profiles", 4, &kazakh)).await;
    assert_eq!(still.err().unwrap(), "JURISDICTION_CHANGED");

    let done = ask(&mut session, reassess(&kazakh)).await.unwrap();
    assert!(done.stands && !done.replayed);
    assert_eq!(attached(&done.reassessed[0]), ["KZ", "RU"]);
    let entry = Entry::decode(&done.entry).unwrap();
    let said = Detail::Reason("the person has moved".to_owned());
    assert_eq!((entry.kind, entry.details), (Kind::Reassess, vec![said]));
    // The cure has cured: the same evidence passes now, and asking again changes nothing.
    session.put(put("profiles", 5, &kazakh)).await.unwrap();
    let again = ask(&mut session, reassess(&kazakh)).await.unwrap();
    assert!(again.stands && again.replayed && again.entry.is_empty());
    drop(session);
    shard.stop().await.unwrap();

    let entries = place.entries(1);
    let made: Vec<Entry> = entries.iter().map(|entry| Entry::decode(entry).unwrap()).collect();
    let made: Vec<&Entry> = made.iter().filter(|entry| entry.kind == Kind::Reassess).collect();
    let of = |n: usize| (made[n].collection.as_deref(), made[n].jurisdictions.join(" "));
    assert_eq!(made.len(), 2, "one for the collection, and one for the subject");
    assert_eq!(of(0), (Some("profiles"), "KZ RU".into()));
    assert_eq!(of(1), (None, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_elsewhere_or_nowhere_is_said_and_changes_nothing() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put("profiles", 1, RU)).await.unwrap();
    let german = [("citizenship", "DE"), ("residence", "DE")];
    let told = ask(&mut session, reassess(&german)).await.unwrap();
    assert!(!told.stands && !told.replayed && told.entry.is_empty());
    assert_eq!(told.reassessed[0].region, "eu-fra");
    assert!(told.reassessed[0].ruling.is_empty());
    // Nothing of it was kept: the old evidence still fits.
    session.put(put("profiles", 2, RU)).await.unwrap();
    // Without evidence the rules are asked again on what is known.
    let again = ask(&mut session, reassess(&[])).await.unwrap();
    assert!(again.stands && again.replayed);
    assert_eq!(attached(&again.reassessed[0]), ["RU"]);
    // No clause lets messages be copied to Kazakhstan: one collection that is refused stops all.
    session.put(put("messages", 4, RU)).await.unwrap();
    let nowhere = ask(&mut session, reassess(&[("residence", "KZ")])).await.unwrap();
    assert!(!nowhere.stands && nowhere.entry.is_empty());
    let refused: Vec<&str> = nowhere.reassessed.iter().map(|of| of.refused.as_str()).collect();
    assert!(refused.contains(&"TRANSFER_NOT_COVERED") && refused.contains(&""), "{refused:?}");
    // One that is not there, a call without a reason, and another role.
    let other = proto::Reassess { subject: "boris".into(), ..reassess(RU) };
    assert_eq!(ask(&mut session, other).await.err().unwrap(), "SUBJECT_UNKNOWN");
    let mute = proto::Reassess { reason: String::new(), ..reassess(RU) };
    assert_eq!(ask(&mut session, mute).await.err().unwrap(), "FIELD_MISSING");
    session.role = Some("reader");
    assert_eq!(ask(&mut session, reassess(RU)).await.err().unwrap(), "NOT_PERMITTED");
    session.role = None;
    drop(session);
    // After a start, too.
    shard.stop().await.unwrap();
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put("profiles", 3, RU)).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();
}
