//! What a gateway counts. Labels are closed sets and the names of the map's regions.

use std::time::Duration;

use link::ops::metrics::{
    By, By2, Counter, Family, Gauge, Histogram, Label, Registry, call_seconds,
};
use terms::{Reason, RegionId, ShardId};

use crate::shards::connect::Ended;

/// The methods of the API, and all else that a caller may try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Method {
    Put,
    Get,
    Delete,
    StreamPut,
    /// One request of a `StreamPut`.
    StreamPutItem,
    Create,
    ResolvePlacement,
    /// `RegionMaps`: what is in force, and where.
    MapGet,
    MapStatus,
    MapHistory,
    /// `RegionMaps`: what would be.
    MapCheck,
    MapPlan,
    MapApply,
    /// Health, reflection, and what does not exist.
    Other,
}

impl Method {
    /// The method behind a request's path.
    pub(crate) fn of_path(path: &str) -> Self {
        match path {
            "/bailiwick.v1.Records/Put" => Self::Put,
            "/bailiwick.v1.Records/Get" => Self::Get,
            "/bailiwick.v1.Records/Delete" => Self::Delete,
            "/bailiwick.v1.Records/StreamPut" => Self::StreamPut,
            "/bailiwick.v1.Subjects/Create" => Self::Create,
            "/bailiwick.v1.Subjects/ResolvePlacement" => Self::ResolvePlacement,
            "/bailiwick.v1.RegionMaps/Get" => Self::MapGet,
            "/bailiwick.v1.RegionMaps/Status" => Self::MapStatus,
            "/bailiwick.v1.RegionMaps/History" => Self::MapHistory,
            "/bailiwick.v1.RegionMaps/Check" => Self::MapCheck,
            "/bailiwick.v1.RegionMaps/Plan" => Self::MapPlan,
            "/bailiwick.v1.RegionMaps/Apply" => Self::MapApply,
            _ => Self::Other,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "Put",
            Self::Get => "Get",
            Self::Delete => "Delete",
            Self::StreamPut => "StreamPut",
            Self::StreamPutItem => "StreamPutItem",
            Self::Create => "Create",
            Self::ResolvePlacement => "ResolvePlacement",
            Self::MapGet => "MapGet",
            Self::MapStatus => "MapStatus",
            Self::MapHistory => "MapHistory",
            Self::MapCheck => "MapCheck",
            Self::MapPlan => "MapPlan",
            Self::MapApply => "MapApply",
            Self::Other => "Other",
        }
    }
}

impl Label for Method {
    const KEY: &'static str = "method";

    fn value(&self) -> &str {
        self.as_str()
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ending {
    Done,
    Refused(Reason),
    /// The caller hung up before there was an answer.
    CallerGone,
}

impl Label for Ending {
    const KEY: &'static str = "reason";

    fn value(&self) -> &str {
        match self {
            Self::Done => "OK",
            Self::Refused(reason) => reason.as_str(),
            Self::CallerGone => "CALLER_GONE",
        }
    }
}

/// The metrics of one gateway.
pub(crate) struct Metrics {
    calls: Family<By2<Method, Ending>, Counter>,
    seconds: Family<By<Method>, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
    session_up: Family<By2<RegionId, ShardId>, Gauge>,
    redials: Family<By<RegionId>, Counter>,
    session_ends: Family<By2<RegionId, Ended>, Counter>,
    not_logged: Family<By<Reason>, Counter>,
    not_grpc: Counter,
    map_epoch: Gauge,
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            calls: Family::default(),
            seconds: Family::new_with_constructor(call_seconds),
            in_flight: Gauge::default(),
            session_up: Family::default(),
            redials: Family::default(),
            session_ends: Family::default(),
            not_logged: Family::default(),
            not_grpc: Counter::default(),
            map_epoch: Gauge::default(),
        };
        let epoch = metrics.map_epoch.clone();
        registry.register("map_epoch", "Version of the map that it rules by", epoch);
        registry.register("calls", "Calls answered", metrics.calls.clone());
        registry.register("call_seconds", "Seconds until the answer", metrics.seconds.clone());
        registry.register(
            "calls_in_flight",
            "Calls not answered, or not read yet",
            metrics.in_flight.clone(),
        );
        let up = metrics.session_up.clone();
        registry.register("session_up", "Whether the session with a shard is up", up);
        let redials = metrics.redials.clone();
        registry.register("session_redials", "Attempts at a session after the first", redials);
        let ends = metrics.session_ends.clone();
        registry.register("session_ends", "Sessions, and attempts at one, that ended", ends);
        let not_logged = metrics.not_logged.clone();
        let help = "Refusals that the log left out, of those of `calls`";
        registry.register("refusals_not_logged", help, not_logged);
        let not_grpc = metrics.not_grpc.clone();
        registry.register("requests_not_grpc", "Requests refused since they are no gRPC", not_grpc);
        metrics
    }

    /// A call has been answered.
    pub(crate) fn answered(&self, method: Method, ending: Ending, took: Duration) {
        self.calls.get_or_create(&By2(method, ending)).inc();
        self.seconds.get_or_create(&By(method)).observe(took.as_secs_f64());
    }

    /// The calls in flight, to be counted up and down.
    pub(crate) const fn in_flight(&self) -> &Gauge {
        &self.in_flight
    }

    /// The version of the map that it rules by.
    pub(crate) fn map_epoch(&self, epoch: u64) {
        self.map_epoch.set(i64::try_from(epoch).unwrap_or(i64::MAX));
    }

    pub(crate) fn session_up(&self, region: &RegionId, shard: &ShardId, up: bool) {
        let gauge = self.session_up.get_or_create_owned(&By2(region.clone(), shard.clone()));
        gauge.set(i64::from(up));
    }

    pub(crate) fn redialled(&self, region: &RegionId) {
        self.redials.get_or_create(&By(region.clone())).inc();
    }

    /// A session, or an attempt at one, has ended.
    pub(crate) fn session_ended(&self, region: &RegionId, cause: Ended) {
        self.session_ends.get_or_create(&By2(region.clone(), cause)).inc();
    }

    /// How often a session with a shard of that region has ended for that cause.
    #[cfg(test)]
    pub(crate) fn session_ends(&self, region: &RegionId, cause: Ended) -> u64 {
        self.session_ends.get_or_create(&By2(region.clone(), cause)).get()
    }

    /// The log leaves out a refusal.
    pub(crate) fn not_logged(&self, reason: Reason) {
        self.not_logged.get_or_create(&By(reason)).inc();
    }

    /// Requests that were refused since they are no gRPC, to be counted.
    pub(crate) const fn not_grpc(&self) -> &Counter {
        &self.not_grpc
    }
}
