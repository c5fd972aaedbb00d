//! How far a shard is with the indexes that a map has declared for what it had stored before.

use std::time::Duration;

use terms::Rejection;
use tokio::time::Instant;
use wire::session::{self as proto, call::Op, reply::Outcome};
use wire::v1;

use crate::shards::session::Session;

/// Time that a shard has to say how far its indexes are: the rest of a status needs no shard.
const STATUS_TIME_MAX: Duration = Duration::from_secs(1);

/// What a shard still builds after a map. None: nothing, or there is no session with it.
pub(crate) async fn index_build(session: &Session, deadline: Instant) -> Option<v1::IndexBuild> {
    if !session.is_up() {
        return None;
    }
    let until = deadline.min(Instant::now() + STATUS_TIME_MAX);
    let op = Op::IndexStatus(proto::IndexStatus {});
    told(session.call_of_gateway(op, until).await)
}

/// What its answer says. An answer that does not come is not the end of the build.
fn told(answer: Result<Outcome, Rejection>) -> Option<v1::IndexBuild> {
    let Ok(Outcome::Indexes(building)) = answer else {
        return Some(v1::IndexBuild { unknown: true, ..Default::default() });
    };
    let one = |proto::BuildingIndex { collection, attribute }| v1::BuildingIndex {
        collection,
        attribute,
    };
    let indexes: Vec<_> = building.indexes.into_iter().map(one).collect();
    let percent = i32::try_from(building.percent).unwrap_or(100);
    let unknown = false;
    (!indexes.is_empty()).then_some(v1::IndexBuild { indexes, percent, unknown })
}

#[cfg(test)]
mod tests {
    use terms::Reason;

    use super::*;

    #[test]
    fn a_shard_that_does_not_say_is_not_one_that_builds_nothing() {
        let said =
            |indexes| told(Ok(Outcome::Indexes(proto::IndexesBuilding { indexes, percent: 7 })));
        assert!(said(Vec::new()).is_none());
        let index = proto::BuildingIndex { collection: "profiles".into(), ..Default::default() };
        let building = said(vec![index]).expect("it builds one");
        assert_eq!((building.indexes.len(), building.percent, building.unknown), (1, 7, false));
        let silent = told(Err(Reason::ShardBusy.into())).expect("it may build some");
        assert!(silent.unknown && silent.indexes.is_empty());
    }
}
