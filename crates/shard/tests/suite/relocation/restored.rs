//! What a restore, or a recovery, of the region to which persons move leaves of moves.

use ledger::note::Verifier;
use ledger::tlog_proof;
use tokio::time::timeout;
use wire::session::arrival::Step;
use wire::session::arrived::State as Arrived;

use super::*;
use crate::support::Session;

/// Time in which whatever is waited for must come about.
const WITHIN: Duration = Duration::from_secs(120);

async fn serve(place: &Place) -> Running {
    let shard = place.open_made(place.settings()).await.unwrap();
    Running::serve(shard, place.region).await
}

/// A session as the shard of the first region has it.
pub(super) async fn as_source(shard: &Running) -> Session {
    let hello = proto::Hello {
        gateway: String::new(),
        from_region: REGIONS[0].into(),
        from_shard: "s1".into(),
        ..shard.hello()
    };
    let (session, first) = shard.session_as(hello).await;
    assert!(first.welcome.is_some());
    session
}

pub(super) async fn asked(session: &mut Session, move_id: &[u8], step: Step) -> proto::Arrived {
    let (move_id, subject) = (move_id.to_vec().into(), "anna".into());
    let arrival = proto::Arrival { move_id, subject, step: Some(step) };
    match session.call(Op::Arrival(arrival)).await {
        Ok(Outcome::Arrived(arrived)) => arrived,
        answer => panic!("{}", reason(answer)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arrival_that_has_ended_does_not_come_back_with_an_old_store() {
    let (place, id) = (Place::new(REGIONS[1]), [9; 16]);
    let begin = || Step::Begin(travels::arriving().into());
    let shard = place.start().await;
    let mut source = as_source(&shard).await;
    assert!(asked(&mut source, &id, begin()).await.state() == Arrived::Staging);
    drop(source);
    shard.stop().await.unwrap();
    place.save_store("yesterday");
    let shard = serve(&place).await;
    let mut source = as_source(&shard).await;
    assert!(asked(&mut source, &id, Step::Drop(true)).await.state() == Arrived::None);
    drop(source);
    shard.stop().await.unwrap();
    place.put_back_store("yesterday");
    unlocked(|| place.recover()).await.unwrap();
    for prefix in [0x10, 0x35, 0x37] {
        assert!(stored::rows_in(&*place.store(), &[prefix]).is_empty(), "{prefix:02x}");
    }
    // Had it not ended, its source would copy it again, under the same id.
    let shard = serve(&place).await;
    let mut source = as_source(&shard).await;
    assert!(asked(&mut source, &id, begin()).await.state() == Arrived::Staging);
    assert!(asked(&mut source, &id, Step::Drop(true)).await.state() == Arrived::None);
    drop(source);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_recovery_erases_of_arrivals_and_what_it_leaves_is_said() {
    let place = Place::new(REGIONS[1]);
    let shard = place.start().await;
    let mut source = as_source(&shard).await;
    for (n, subject) in [(1, "anna"), (2, "boris")] {
        let step = Some(Step::Begin(travels::arriving().into()));
        let (move_id, subject) = (vec![n; 16].into(), subject.into());
        let arrival = proto::Arrival { move_id, subject, step };
        assert_eq!(reason(source.call(Op::Arrival(arrival)).await), "done");
    }
    drop(source);
    shard.stop().await.unwrap();
    // One of the two does not open any more.
    let rows = stored::rows_in(&*place.store(), &[0x10]);
    let (key, mut row) = rows.into_iter().find(|(key, _)| key.len() == 20).unwrap();
    *row.last_mut().unwrap() ^= 1;
    let store = stored::opened(&*place.store());
    let (head, mut batch) = (store.head().unwrap(), engine::Batch::new());
    batch.put(key.clone(), row);
    store.commit(batch, head, head.size).unwrap();
    drop(store);
    let recovered = unlocked(|| place.recover()).await.unwrap();
    let again = shard::ErasedAgain { erased: 0, arrivals: 1, arrivals_left: 1 };
    assert_eq!(recovered.again, again);
    let left = stored::rows_in(&*place.store(), &[0x10]);
    assert_eq!(left.iter().map(|(key, _)| key).collect::<Vec<_>>(), [&key]);
}

/// What the source's log gives away, and the proof of that, as the target keeps them.
async fn given_away(rig: &Rig) -> proto::ArrivalEnd {
    let asked =
        Op::Moves(proto::Moves { of: Some(Of::Arrived("anna".into())), ..Default::default() });
    let Ok(Outcome::Moves(found)) = rig.told(1, asked).await else { panic!("it is proven") };
    let out = found.proof.unwrap().out.unwrap();
    let proto::MoveEntry { origin, index, entry, opening, proof, .. } = out;
    proto::ArrivalEnd { origin, index, entry, opening, proof, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_a_stolen_key_has_ended_begins_again_once_its_log_has_given_the_person_away() {
    let rig = Rig::new(32).await;
    fill(&rig, "anna").await;
    let order = relocate(&rig, "anna");
    assert_eq!(reason(rig.told(0, Op::Relocate(order)).await), "done");
    rig.until("anna", &[State::Done]).await;
    let mut end = given_away(&rig).await;
    let (places, _) = rig.stop().await;
    let log = entries(&places[1]);
    let taken = &log[usize::try_from(ends(&log, Kind::MoveIn)[0].0).unwrap()];
    end.vkey = taken.log_key().unwrap().to_owned();
    // Another person, whose move a thief ends in the name of the source.
    let shard = serve(&places[1]).await;
    let mut source = as_source(&shard).await;
    let id = [9; 16];
    let step = |step| {
        let (move_id, subject) = (id.to_vec().into(), "boris".into());
        Op::Arrival(proto::Arrival { move_id, subject, step: Some(step) })
    };
    let begin = || step(Step::Begin(travels::arriving().into()));
    assert_eq!(reason(source.call(step(Step::Drop(true))).await), "done");
    assert_eq!(reason(source.call(begin()).await), "REQUEST_ID_REUSED");
    // What proves nothing changes nothing.
    let mut changed = end.clone();
    changed.index += 1;
    for nothing in [proto::ArrivalEnd::default(), changed] {
        assert_eq!(reason(source.call(step(Step::Adopt(nothing))).await), "done");
        assert_eq!(reason(source.call(begin()).await), "REQUEST_ID_REUSED");
    }
    assert_eq!(reason(source.call(step(Step::Adopt(end))).await), "done");
    assert_eq!(reason(source.call(begin()).await), "done");
    // Nothing is served of it: what has come is not what was given away.
    let mut gateway = shard.session().await;
    assert_eq!(gateway.get("boris", "profiles", "k0").await.err().unwrap(), "SUBJECT_MOVING");
    drop((source, gateway));
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_whose_log_of_a_move_is_lost_proves_it_by_the_next_one() {
    let rig = Rig::new(31).await;
    fill(&rig, "anna").await;
    let order = relocate(&rig, "anna");
    assert_eq!(reason(rig.told(0, Op::Relocate(order.clone())).await), "done");
    rig.until("anna", &[State::Done]).await;
    let (places, _) = rig.stop().await;
    let log = entries(&places[1]);
    let at = ends(&log, Kind::MoveIn)[0].0;
    let before = &log[usize::try_from(at).unwrap()];
    // The log ends without a last checkpoint: nothing proves any more what it says.
    unlocked(|| places[1].recover()).await.unwrap();
    let shard = serve(&places[1]).await;
    let mut source = as_source(&shard).await;
    let mut all = Vec::new();
    for _ in 0..2 {
        let proven = async {
            loop {
                let answer = asked(&mut source, &order.request_id, Step::Prove(true)).await;
                assert!(answer.state() == Arrived::Adopted);
                match answer.taken {
                    Some(taken) => return taken,
                    None => sleep(Duration::from_millis(5)).await,
                }
            }
        };
        all.push(timeout(WITHIN, proven).await.expect("it is signed in time"));
    }
    let taken = &all[0];
    assert_eq!(taken.origin, "sample/eu-fra/s1/2");
    assert_eq!((taken.index, &taken.entry), (all[1].index, &all[1].entry), "it is said once");
    let key = Verifier::from_vkey(&taken.vkey).unwrap();
    tlog_proof::verify_receipt(&taken.proof, &key, &taken.entry).unwrap();
    let said = Entry::decode(&taken.entry).unwrap();
    assert_eq!(
        (said.kind, said.peer(), said.count()),
        (before.kind, before.peer(), before.count())
    );
    assert!(said.commitment.is_some() && said.commitment == before.commitment);
    // The receipt named the log that is lost.
    let asked =
        Op::Moves(proto::Moves { of: Some(Of::Arrived("anna".into())), ..Default::default() });
    let mut gateway = shard.session().await;
    let fault = gateway.call(asked).await.err().unwrap();
    assert_eq!((fault.reason.as_str(), fault.field.as_str()), ("LOG_UNKNOWN", "subject.id"));
    drop((source, gateway));
    shard.stop().await.unwrap();
}
