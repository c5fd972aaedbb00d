//! Answers about moves between regions, on the wire.

use terms::Reason;
use wire::session as proto;
use wire::v1::OperationState;

use crate::reply::{Arrived, ArrivedState, Moved, MovedState};

pub(super) fn arrived(arrived: Arrived) -> proto::Arrived {
    let Arrived { state, after, heads, began, digest } = arrived;
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
    }
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
