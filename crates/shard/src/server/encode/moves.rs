//! Answers about moves between regions, on the wire.

use terms::Reason;
use wire::session as proto;
use wire::v1::OperationState;

use crate::reply::{Arrived, ArrivedState, MoveProven, Moved, MovedState, ProvenEntry, TakenIn};

pub(super) fn arrived(arrived: Arrived) -> proto::Arrived {
    let Arrived { state, after, heads, chunks, began, digest, taken } = arrived;
    let state = match state {
        ArrivedState::Staging => proto::arrived::State::Staging,
        ArrivedState::Adopted => proto::arrived::State::Adopted,
        ArrivedState::None => proto::arrived::State::None,
    };
    let (origin, index) =
        began.map_or_else(Default::default, |(origin, index)| (origin.to_string(), index.0));
    proto::Arrived {
        state: state.into(),
        after: after.into(),
        records: heads,
        origin,
        index,
        digest: digest.map_or_else(Default::default, |digest| digest.to_vec().into()),
        chunks,
        taken: taken.map(|taken| {
            let TakenIn { origin, index, entry, proof, vkey } = *taken;
            let entry = entry.into();
            let end = proto::ArrivalEnd { origin, index, entry, proof, vkey, ..Default::default() };
            Box::new(end)
        }),
    }
}

pub(super) fn proven(of: MoveProven) -> proto::MovesFound {
    let entry = |of: ProvenEntry| proto::MoveEntry {
        origin: of.origin,
        index: of.index,
        entry: of.entry.into(),
        opening: of.opening.to_vec().into(),
        statement: of.statement.into(),
        proof: of.proof,
    };
    let digest = of.digest.to_vec().into();
    let proof = proto::MoveProof { digest, out: Some(entry(of.out)), into: Some(entry(of.into)) };
    proto::MovesFound { proof: Some(Box::new(proof)), ..Default::default() }
}

pub(super) fn moved(of: Moved) -> proto::Move {
    let state = match of.state {
        MovedState::Copying => OperationState::Copying,
        MovedState::Switching => OperationState::Switching,
        MovedState::Done => OperationState::Done,
        MovedState::Cancelling => OperationState::Cancelling,
        MovedState::Cancelled => OperationState::Cancelled,
    };
    proto::Move {
        subject: of.subject.expose().to_owned(),
        region: of.to.to_string(),
        request_id: of.request_id.to_vec().into(),
        began_minute: of.began.map_or(0, |minute| minute.0),
        ended_minute: of.ended.map_or(0, |minute| minute.0),
        state: state.into(),
        copied: of.copied,
        records: of.heads,
        refused: of.refused.map_or_else(String::new, |reason| Reason::as_str(reason).to_owned()),
    }
}
