//! How far a shard is with the indexes that a map has declared for what it had stored before.

use std::time::Duration;

use tokio::time::Instant;
use wire::session::{self as proto, call::Op, reply::Outcome};
use wire::v1;

use crate::shards::session::Session;

/// Time that a shard has to say how far its indexes are: the rest of a status needs no shard.
const STATUS_TIME_MAX: Duration = Duration::from_secs(1);

/// What a shard still builds after a map. None: nothing, or it does not say.
pub(crate) async fn index_build(session: &Session, deadline: Instant) -> Option<v1::IndexBuild> {
    if !session.is_up() {
        return None;
    }
    let until = deadline.min(Instant::now() + STATUS_TIME_MAX);
    let op = Op::IndexStatus(proto::IndexStatus {});
    let Ok(Outcome::Indexes(building)) = session.call_of_gateway(op, until).await else {
        return None;
    };
    let one = |proto::BuildingIndex { collection, attribute }| v1::BuildingIndex {
        collection,
        attribute,
    };
    let indexes: Vec<_> = building.indexes.into_iter().map(one).collect();
    let percent = i32::try_from(building.percent).unwrap_or(100);
    (!indexes.is_empty()).then_some(v1::IndexBuild { indexes, percent })
}
