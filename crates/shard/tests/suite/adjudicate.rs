//! The choice of a subject's region: two callers in two roles, only what the rules leave open, and void
//! once the map leaves it no more. A relocation follows it, and no other.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use atlas::Annex;
use ledger::entry::{Entry, Kind, Role};
use tokio::time::sleep;
use wire::session::{self as proto, call::Op, reply::Outcome};

use crate::support::{MAP, Place, Running, Session, SetClock, findings, put_ru, request_id};

/// A caller by its name and role.
const ANNE: (&str, &str) = ("anne", "adjudicator");
const ANNE_APPROVES: (&str, &str) = ("anne", "approver");
const PAUL: (&str, &str) = ("paul", "approver");
/// What the sample's homes leave to a person without any law that attaches.
const OPEN: [&str; 4] = ["eu-fra", "in-bom", "kz-ala", "us-iad"];

fn step(region: &str, n: u64) -> proto::Adjudicate {
    proto::Adjudicate {
        subject: "joao".into(),
        region: region.into(),
        request_id: request_id(n).into(),
        reason: "the person asks for it".into(),
        ..Default::default()
    }
}

/// A question what is open.
fn open() -> proto::Adjudicate {
    proto::Adjudicate { validate_only: true, ..step("", 1000) }
}

async fn ask(
    session: &mut Session,
    (name, role): (&str, &'static str),
    of: proto::Adjudicate,
) -> Result<proto::Written, String> {
    let of = proto::Adjudicate { confirm: role == "approver", ..of };
    session.role = Some(role);
    let mut call = session.wrap(Op::Adjudicate(of));
    session.role = None;
    call.caller.as_mut().unwrap().name = name.into();
    let id = call.id;
    session.send(vec![call]).await;
    match session.answer(id).await.expect("the session is open") {
        Ok(Outcome::Written(written)) => Ok(written),
        Ok(_) => panic!("a step is answered with what was written"),
        Err(fault) => Err(fault.reason),
    }
}

async fn refused(
    session: &mut Session,
    who: (&str, &'static str),
    of: proto::Adjudicate,
) -> String {
    ask(session, who, of).await.err().expect("it is refused")
}

fn choice(written: proto::Written) -> (String, String, Vec<String>) {
    let proto::Choice { chosen, proposed, open } = *written.choice.expect("what is chosen");
    (chosen, proposed, open)
}

/// A put of a person with a residence in Brazil, to which no law attaches.
fn put(key: &str, n: u64) -> proto::Put {
    let findings = findings(&[("residence", "BR")]).into();
    proto::Put { findings, ..put_ru("joao", key, b"body", n) }
}

/// The same without evidence: the subject is there.
fn later(key: &str, n: u64) -> proto::Put {
    proto::Put { create_subject: false, findings: Default::default(), ..put(key, n) }
}

fn relocate(region: &str, n: u64) -> Op {
    Op::Relocate(proto::Relocate {
        subject: "joao".into(),
        region: region.into(),
        request_id: request_id(n).into(),
        reason: "the person has chosen".into(),
        ..Default::default()
    })
}

async fn reason(session: &mut Session, op: Op) -> String {
    session.call(op).await.err().map_or_else(|| "done".to_owned(), |fault| fault.reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_caller_proposes_and_another_confirms() {
    let place = Place::new("us-iad");
    let shard = place.start().await;
    let mut session = shard.session().await;
    assert_eq!(refused(&mut session, ANNE, open()).await, "SUBJECT_UNKNOWN");
    session.put(put("k1", 1)).await.unwrap();
    let asked = ask(&mut session, ANNE, open()).await.unwrap();
    assert_eq!(choice(asked), (String::new(), String::new(), OPEN.map(String::from).into()));

    // Each role has its step, before anything is said of the subject; others have none.
    for (who, confirm) in [(ANNE, true), (PAUL, false)] {
        session.role = Some(who.1);
        let of = proto::Adjudicate { confirm, ..step("eu-fra", 2) };
        assert_eq!(reason(&mut session, Op::Adjudicate(of)).await, "NOT_PERMITTED");
    }
    for role in ["writer", "eraser", "operator", "reader"] {
        session.role = Some(role);
        let of = proto::Adjudicate { subject: "absent".into(), ..step("eu-fra", 2) };
        assert_eq!(reason(&mut session, Op::Adjudicate(of)).await, "NOT_PERMITTED", "{role}");
    }
    session.role = None;
    // What the map does not have, and a home that takes people only by law.
    for region in ["mars", "ru-msk"] {
        assert_eq!(refused(&mut session, ANNE, step(region, 3)).await, "CHOICE_NOT_OPEN");
    }
    assert_eq!(refused(&mut session, ANNE, step("", 3)).await, "FIELD_MISSING");
    assert_eq!(refused(&mut session, PAUL, step("eu-fra", 4)).await, "CHOICE_NOT_PROPOSED");

    let dry = proto::Adjudicate { validate_only: true, ..step("eu-fra", 5) };
    assert!(ask(&mut session, ANNE, dry).await.unwrap().entry.is_empty());
    assert_eq!(refused(&mut session, PAUL, step("eu-fra", 4)).await, "CHOICE_NOT_PROPOSED");
    let proposed = ask(&mut session, ANNE, step("eu-fra", 5)).await.unwrap();
    assert!(!proposed.replayed && !proposed.entry.is_empty());
    let (chosen, waits, _) = choice(proposed);
    assert_eq!((chosen.as_str(), waits.as_str()), ("", "eu-fra"));
    // A retry has no further effect, and another request no use of its id.
    let again = ask(&mut session, ANNE, step("eu-fra", 5)).await.unwrap();
    assert!(again.replayed && again.entry.is_empty());
    assert_eq!(refused(&mut session, ANNE, step("kz-ala", 5)).await, "REQUEST_ID_REUSED");
    assert_eq!(refused(&mut session, PAUL, step("eu-fra", 5)).await, "REQUEST_ID_REUSED");

    // Not by the caller who proposed, whatever the role, and not another region.
    assert_eq!(refused(&mut session, ANNE_APPROVES, step("eu-fra", 6)).await, "NOT_PERMITTED");
    assert_eq!(refused(&mut session, PAUL, step("kz-ala", 6)).await, "CHOICE_NOT_PROPOSED");
    let confirmed = ask(&mut session, PAUL, step("eu-fra", 7)).await.unwrap();
    assert!(!confirmed.replayed && !confirmed.entry.is_empty());
    assert_eq!(choice(confirmed).0, "eu-fra");
    assert_eq!(refused(&mut session, PAUL, step("eu-fra", 8)).await, "CHOICE_NOT_PROPOSED");
    // Records stay where they are until they are moved, and so does what is written.
    session.put(later("k2", 9)).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();

    let shard = place.start().await;
    let mut session = shard.session().await;
    let retried = ask(&mut session, PAUL, step("eu-fra", 7)).await.unwrap();
    assert!(retried.replayed);
    let (chosen, waits, _) = choice(retried);
    assert_eq!((chosen.as_str(), waits.as_str()), ("eu-fra", ""));
    session.put(later("k3", 10)).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();

    let entries: Vec<Entry> =
        place.entries(1).iter().map(|entry| Entry::decode(entry).unwrap()).collect();
    let steps = (0_u64..).zip(&entries).filter(|(_, entry)| entry.kind == Kind::Adjudicate);
    let steps: Vec<_> = steps.collect();
    let [(first, proposal), (_, confirmation)] = steps.as_slice() else {
        panic!("two steps, and nothing else: {}", steps.len())
    };
    let role = |entry: &Entry| entry.caller.as_ref().unwrap().role;
    assert_eq!((role(proposal), role(confirmation)), (Role::Adjudicator, Role::Approver));
    assert_eq!((proposal.earlier, confirmation.earlier), (None, Some(*first)));
    for entry in [proposal, confirmation] {
        assert_eq!(entry.reason(), Some("eu-fra: the person asks for it"));
        assert!(entry.collection.is_none() && entry.commitment.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_law_that_fixes_the_place_leaves_no_choice() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put_ru("joao", "k1", b"body", 1)).await.unwrap();
    let asked = ask(&mut session, ANNE, open()).await.unwrap();
    assert_eq!(choice(asked), (String::new(), String::new(), Vec::new()));
    for region in ["ru-msk", "kz-ala", "us-iad"] {
        assert_eq!(
            refused(&mut session, ANNE, step(region, 2)).await,
            "CHOICE_NOT_OPEN",
            "{region}"
        );
    }
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_leave_a_place_for_their_confirmation() {
    let place = Place::new("us-iad");
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put("k1", 1)).await.unwrap();
    for n in 100..164 {
        ask(&mut session, ANNE, step("eu-fra", n)).await.unwrap();
    }
    assert_eq!(refused(&mut session, ANNE, step("kz-ala", 164)).await, "CHOICES_FULL");
    let confirmed = ask(&mut session, PAUL, step("eu-fra", 165)).await.unwrap();
    assert_eq!(choice(confirmed).0, "eu-fra");
    assert_eq!(refused(&mut session, ANNE, step("kz-ala", 166)).await, "CHOICES_FULL");
    assert!(ask(&mut session, ANNE, step("eu-fra", 100)).await.unwrap().replayed);
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_lapses_after_thirty_days() {
    const START: u64 = 1_780_000_000_000;
    const DAY: u64 = 86_400_000;
    let clock = Arc::new(SetClock(AtomicU64::new(START)));
    let mut place = Place::new("us-iad");
    place.clock = clock.clone();
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put("k1", 1)).await.unwrap();
    ask(&mut session, ANNE, step("eu-fra", 2)).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();
    clock.set(&place, START + 29 * DAY);
    let shard = place.start().await;
    let mut session = shard.session().await;
    assert_eq!(choice(ask(&mut session, PAUL, open()).await.unwrap()).1, "eu-fra");
    drop(session);
    shard.stop().await.unwrap();
    clock.set(&place, START + 31 * DAY);
    let shard = place.start().await;
    let mut session = shard.session().await;
    assert_eq!(choice(ask(&mut session, PAUL, open()).await.unwrap()).1, "");
    assert_eq!(refused(&mut session, PAUL, step("eu-fra", 3)).await, "CHOICE_NOT_PROPOSED");
    // Proposed again, it can be confirmed.
    ask(&mut session, ANNE, step("eu-fra", 4)).await.unwrap();
    ask(&mut session, PAUL, step("eu-fra", 5)).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_known_after_a_collection_has_left_the_map() {
    let mut place = Place::new("us-iad");
    let scratch = "[[collections]]\nname = \"scratch\"\ncategory = \"x\"\nreads = \"counted\"\n";
    place.map = format!("{MAP}\n{scratch}");
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put("k1", 1)).await.unwrap();
    session.put(proto::Put { collection: "scratch".into(), ..put("k1", 2) }).await.unwrap();
    ask(&mut session, ANNE, step("eu-fra", 3)).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();

    place.map = next_map(&place, "");
    let shard = place.start().await;
    let mut session = shard.session().await;
    let again = ask(&mut session, ANNE, step("eu-fra", 3)).await.unwrap();
    assert!(again.replayed);
    let proposed = (String::new(), "eu-fra".to_owned(), Vec::new());
    assert!(choice(again) == proposed, "no rule says where the rest of the person belongs");
    assert!(choice(ask(&mut session, PAUL, open()).await.unwrap()) == proposed);
    assert_eq!(refused(&mut session, PAUL, step("eu-fra", 4)).await, "CHOICE_NOT_OPEN");
    drop(session);
    shard.stop().await.unwrap();
}

/// The next map, with a key more in `profiles`.
fn next_map(before: &Place, key: &str) -> String {
    let digest = before.map().epoch().digest;
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbered = format!("version = 2\npredecessor = \"sha256:{hex}\"\n");
    let name = "name = \"profiles\"\n";
    MAP.replacen("version = 1\n", &numbered, 1).replacen(name, &format!("{name}{key}\n"), 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relocation_follows_the_choice_until_the_map_leaves_it_no_more() {
    let (home, mut away) = (Place::new("us-iad"), Place::new("eu-fra"));
    let target = away.start().await;
    let shard = home.open().await.unwrap();
    let annex = away.annex.replace("127.0.0.1:1\"", &format!("127.0.0.1:{}\"", target.port));
    shard.peers().set(vec![Annex::parse(&annex, &home.map()).unwrap()]);
    let shard = Running::serve(shard, "us-iad").await;
    let (mut session, mut there) = (shard.session().await, target.session().await);
    session.put(put("k1", 1)).await.unwrap();

    assert_eq!(reason(&mut session, relocate("eu-fra", 2)).await, "WRONG_DOMICILE");
    ask(&mut session, ANNE, step("eu-fra", 3)).await.unwrap();
    assert_eq!(reason(&mut session, relocate("eu-fra", 2)).await, "WRONG_DOMICILE");
    ask(&mut session, PAUL, step("eu-fra", 4)).await.unwrap();
    // To where it was chosen, and nowhere else.
    assert_eq!(reason(&mut session, relocate("kz-ala", 5)).await, "WRONG_DOMICILE");
    assert_eq!(reason(&mut session, relocate("eu-fra", 6)).await, "done");
    while there.get("joao", "profiles", "k1").await.is_err() {
        sleep(std::time::Duration::from_millis(5)).await;
    }
    // The choice has come along: the person is written here, and not moved back.
    there.put(later("k2", 7)).await.unwrap();
    assert_eq!(choice(ask(&mut there, ANNE, open()).await.unwrap()).0, "eu-fra");
    assert_eq!(reason(&mut there, relocate("us-iad", 8)).await, "WRONG_DOMICILE");
    drop((session, there));
    shard.stop().await.unwrap();
    target.stop().await.unwrap();

    // The next map lets no profile lie there: the rules decide without the choice.
    away.map = next_map(&away, "exclude.regions = [\"eu-fra\"]");
    let target = away.start().await;
    let mut there = target.session().await;
    assert_eq!(there.put(later("k3", 9)).await.err().unwrap(), "WRONG_DOMICILE");
    there.get("joao", "profiles", "k1").await.unwrap();
    let (chosen, _, left) = choice(ask(&mut there, ANNE, open()).await.unwrap());
    assert_eq!(
        (chosen.as_str(), left),
        ("eu-fra", OPEN[1..].iter().map(|name| (*name).to_owned()).collect())
    );
    assert_eq!(refused(&mut there, ANNE, step("eu-fra", 10)).await, "CHOICE_NOT_OPEN");
    let Op::Relocate(back) = relocate("us-iad", 11) else { panic!("a relocation") };
    let back = Op::Relocate(proto::Relocate { validate_only: true, ..back });
    assert_eq!(reason(&mut there, back).await, "done");
    drop(there);
    target.stop().await.unwrap();
}
