//! Copies of a person who moves to a third region: they go before the person is given away.

use atlas::Annex;
use wire::session::moves::Of;

use super::maps::{copy_of, drops, until_copied};
use super::*;
use crate::support::{Running, Session, request_id};

/// How long a move is watched that must not end.
const A_WHILE: Duration = Duration::from_secs(2);

/// The annex of a shard, where it listens.
fn annex(of: &Place, running: &Running) -> Annex {
    let address = format!("127.0.0.1:{}\"", running.port);
    Annex::parse(&of.annex.replace("127.0.0.1:1\"", &address), &of.map()).unwrap()
}

async fn moves(session: &mut Session, of: Of) -> Option<OperationState> {
    let asked = proto::Moves { of: Some(of), reason: "as ordered".into(), ..Default::default() };
    match session.call(Op::Moves(asked)).await {
        Ok(Outcome::Moves(found)) => {
            found.moves.first().and_then(|one| OperationState::try_from(one.state).ok())
        }
        Ok(_) => None,
        Err(fault) => panic!("{} {}", fault.reason, fault.problem),
    }
}

async fn until_state(session: &mut Session, wanted: OperationState) {
    let asked = async {
        while moves(session, Of::Subject("anna".into())).await != Some(wanted) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(WITHIN, asked).await.expect("the move comes to that in time");
}

fn order(n: u64) -> Op {
    Op::Relocate(proto::Relocate {
        subject: "anna".into(),
        region: "eu-fra".into(),
        request_id: request_id(n).into(),
        reason: "the person lives there now".into(),
        findings: findings(&[("citizenship", "DE"), ("residence", "DE")]).into(),
        ..Default::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_given_away_when_the_copies_are_gone_and_has_them_again_if_not() {
    let [home, mirror, target] = [REGIONS[0], REGIONS[1], "eu-fra"].map(Place::new);
    let (there, third) = (mirror.start().await, target.start().await);
    let shard = home.open().await.unwrap();
    let peers = shard.peers().clone();
    peers.set(vec![annex(&mirror, &there), annex(&target, &third)]);
    let here = Running::serve(shard, home.region).await;
    let mut session = here.session().await;
    let put = |key: &str, n| proto::Put {
        findings: findings(BOTH).into(),
        ..put_ru("anna", key, &[7; 9_000], n)
    };
    session.put(put("main", 1)).await.unwrap();
    let mut reader = there.session().await;
    until_copied(&mut reader, "anna", "main", true).await;
    drop(reader);
    there.stop().await.unwrap();

    // The mirror is not reached. So the person stays, and is served again when the move is given up.
    assert!(session.call(order(2)).await.is_ok());
    let ended = until_state(&mut session, OperationState::Done);
    assert!(timeout(A_WHILE, ended).await.is_err(), "its copy is still read there");
    moves(&mut session, Of::Cancel("anna".into())).await;
    until_state(&mut session, OperationState::Cancelled).await;
    let there = mirror.start().await;
    peers.set(vec![annex(&mirror, &there), annex(&target, &third)]);
    let mut reader = there.session().await;
    let gone = async {
        session.put(put("next", 3)).await.unwrap();
        until_copied(&mut reader, "anna", "next", true).await;
    };
    timeout(WITHIN, gone).await.expect("the mirror is told in time");
    until_copied(&mut reader, "anna", "main", true).await;

    // Now it is reached.
    assert!(session.call(order(4)).await.is_ok());
    until_state(&mut session, OperationState::Done).await;
    assert!(copy_of(&mut reader, "anna", "main").await.is_err(), "it went before");
    drop((session, reader));
    for one in [here, there, third] {
        one.stop().await.unwrap();
    }
    let moved = |n| (Some(n), Some("moved".to_owned()));
    assert_eq!(drops(&mirror), [moved(1), moved(2)]);
    assert_eq!((rows(&home, 0x38), rows(&home, 0x39), rows(&mirror, 0x61)), (0, 0, 0));
}
