//! Questions for a subject without its id, at the shard: who may ask, what is told, and what a gateway
//! that is wrong or hostile gets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use link::host::clock::SystemEntropy;
use link::session::LocateKey;
use terms::{SubjectId, TenantId};
use wire::session::{self as proto, call::Op, reply::Outcome};

use crate::support::{MAP, Place, Session, TENANT, put_ru};

/// A place whose map has these settings for its tenant.
fn place(settings: &str) -> Place {
    let mut place = Place::new("ru-msk");
    let tenant = "[[tenants]]\nname = \"sample\"\n";
    place.map = MAP.replacen(tenant, &format!("{tenant}{settings}"), 1);
    place
}

async fn key(session: &mut Session) -> Option<LocateKey> {
    match session.call(Op::LocateKey(proto::LocateKey {})).await {
        Ok(Outcome::LocateKey(key)) if key.is_empty() => None,
        Ok(Outcome::LocateKey(key)) => Some(LocateKey::new((&*key).try_into().unwrap())),
        Ok(_) | Err(_) => panic!("a key is answered with a key"),
    }
}

fn question(key: &LocateKey, tenant: &str, subject: &str) -> bytes::Bytes {
    let (tenant, subject) = (TenantId::parse(tenant).unwrap(), SubjectId::parse(subject).unwrap());
    key.ask(&tenant, &subject, &SystemEntropy).unwrap().into()
}

async fn locate(
    session: &mut Session,
    question: bytes::Bytes,
) -> Result<(Vec<String>, bool), String> {
    let role = session.role.replace("reader");
    let answer = session.call(Op::Locate(proto::Locate { question })).await;
    session.role = role;
    match answer {
        Ok(Outcome::Located(located)) => Ok((located.collections, located.withheld)),
        Ok(_) => panic!("a locate is answered with what was located"),
        Err(fault) => Err(fault.reason),
    }
}

async fn claim(
    session: &mut Session,
    question: bytes::Bytes,
    region: &str,
) -> Result<&'static str, String> {
    let claim = proto::Claim { question, region: region.to_owned(), validate_only: false };
    match session.call(Op::Claim(claim)).await {
        Ok(Outcome::Claimed(claimed)) => Ok(claimed.outcome().as_str_name()),
        Ok(_) => panic!("a claim is answered as one"),
        Err(fault) => Err(fault.reason),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_is_told_by_its_hash_to_readers_of_its_tenant_alone() {
    let place = place("locate = true\n");
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put_ru("anna", "main", b"x", 1)).await.unwrap();
    let messages = proto::Put { collection: "messages".into(), ..put_ru("anna", "main", b"x", 2) };
    session.put(messages).await.unwrap();
    let key = key(&mut session).await.unwrap();
    let ask = |subject| question(&key, TENANT, subject);
    let both = (vec!["messages".to_owned(), "profiles".to_owned()], false);
    assert_eq!(locate(&mut session, ask("anna")).await, Ok(both.clone()));
    assert_eq!(locate(&mut session, ask("boris")).await, Ok((vec![], false)));
    // Of another tenant, under another key, cut off, or nothing at all.
    let invalid = Err("FIELD_INVALID".to_owned());
    assert_eq!(locate(&mut session, question(&key, "other", "anna")).await, invalid);
    let strange = LocateKey::new(&[7; 32]);
    assert_eq!(locate(&mut session, question(&strange, TENANT, "anna")).await, invalid);
    assert_eq!(locate(&mut session, ask("anna").slice(..40)).await, invalid);
    assert_eq!(locate(&mut session, bytes::Bytes::new()).await, invalid);
    session.role = Some("writer");
    let asked = session.call(Op::Locate(proto::Locate { question: ask("anna") })).await;
    assert_eq!(asked.err().unwrap().reason, "NOT_PERMITTED");
    session.role = None;
    // Abroad the law keeps both from being told, whether there is such a subject or not.
    session.territory = Some("US");
    let (hidden, nobody) =
        (locate(&mut session, ask("anna")).await, locate(&mut session, ask("boris")).await);
    assert_eq!((&hidden, &nobody), (&Ok((vec![], true)), &Ok((vec![], true))));
    session.territory = None;
    // A claim is for maps that want ids to be unique.
    assert_eq!(claim(&mut session, ask("anna"), "eu-fra").await, Err("MAPS_DIFFER".into()));
    drop(session);
    shard.stop().await.unwrap();
    // The key is the region's: a question of before is understood after a start.
    let shard = place.start().await;
    let mut session = shard.session().await;
    assert_eq!(locate(&mut session, ask("anna")).await, Ok(both));
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_without_it_gives_no_key_and_no_answer() {
    let place = place("");
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put_ru("anna", "main", b"x", 1)).await.unwrap();
    assert!(key(&mut session).await.is_none());
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_tells_what_is_held_and_keeps_what_is_not() {
    let place = place("unique = \"reachable\"\n");
    let shard = place.start().await;
    let mut session = shard.session().await;
    // Nothing is created unasked, by whichever call.
    let put = put_ru("anna", "main", b"x", 1);
    let Ok(Outcome::AskFirst(first)) = session.call(Op::Put(put.clone())).await else {
        panic!("a put that creates asks first");
    };
    let all = proto::PutAll { puts: vec![put.clone()] };
    let told = session.call(Op::PutAll(all)).await;
    assert!(matches!(told, Ok(Outcome::AskFirst(_))));
    let forged = proto::Put { asked: vec![7; 16].into(), ..put.clone() };
    assert!(matches!(session.call(Op::Put(forged)).await, Ok(Outcome::AskFirst(_))));
    let asked = proto::Put { asked: first.ticket.clone(), ..put.clone() };
    session.put(asked).await.unwrap();
    // A retry, and whatever comes later, needs no ticket.
    assert!(session.put(put).await.unwrap().replayed);
    session.put(put_ru("anna", "next", b"x", 3)).await.unwrap();

    let key = key(&mut session).await.unwrap();
    let ask = |subject| question(&key, TENANT, subject);
    assert_eq!(claim(&mut session, ask("anna"), "eu-fra").await, Ok("OUTCOME_HELD"));
    assert_eq!(claim(&mut session, ask("boris"), "eu-fra").await, Ok("OUTCOME_FREE"));
    assert_eq!(claim(&mut session, ask("boris"), "eu-fra").await, Ok("OUTCOME_FREE"));
    let third = claim(&mut session, ask("boris"), "kz-ala").await;
    assert_eq!(third, Ok("OUTCOME_CONTENDED"));
    assert_eq!(claim(&mut session, ask("carl"), "ru-msk").await, Err("MAPS_DIFFER".into()));
    // What is kept for another region is not created here, with whatever ticket.
    let kept = proto::Put { asked: first.ticket, ..put_ru("boris", "main", b"x", 4) };
    assert_eq!(session.put(kept).await.err().unwrap(), "UNIQUENESS_UNSETTLED");
    // A locate is another setting.
    assert_eq!(locate(&mut session, ask("anna")).await, Err("LOCATE_NOT_ALLOWED".into()));
    drop(session);
    shard.stop().await.unwrap();
}
