//! The keys of a subject that has moved are replaced in the region to which it has.

use wire::session::{self as proto, call::Op, moves::Of, reply::Outcome};
use wire::v1::OperationState as State;

use super::{fill, has, reason, relocate};
use crate::relocation::rig::Rig;

/// What proves the move of the subject: the entries of both logs, and what opens them.
async fn proven(rig: &Rig) -> [(String, u64, Vec<u8>, Vec<u8>); 2] {
    let asked =
        Op::Moves(proto::Moves { of: Some(Of::Arrived("anna".into())), ..Default::default() });
    let Ok(Outcome::Moves(found)) = rig.told(1, asked).await else { panic!("the move is proven") };
    let proof = found.proof.unwrap();
    [proof.out, proof.into].map(|entry| {
        let proto::MoveEntry { origin, index, entry, opening, .. } = entry.unwrap();
        (origin, index, entry.to_vec(), opening.to_vec())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proof_of_a_move_outlasts_the_keys_under_which_it_was_stored() {
    let rig = Rig::new(8).await;
    let all = fill(&rig, "anna").await;
    assert_eq!(reason(rig.told(0, Op::Relocate(relocate(&rig, "anna"))).await), "done");
    rig.until("anna", &[State::Done]).await;
    let before = proven(&rig).await;
    let rotate = Op::RotateKey(proto::RotateKey {
        subject: "anna".into(),
        request_id: rig.id().into(),
        reason: "as the test wants".into(),
        ..Default::default()
    });
    let answer = rig.call_as(1, rotate, None, Some("eraser")).await.unwrap();
    let Ok(Outcome::Written(written)) = answer else { panic!("{}", reason(answer)) };
    assert!(!written.unfinished && written.records > 0);
    assert!(proven(&rig).await == before);
    has(&rig, 1, "anna", &all).await;
    rig.stop().await;
}
