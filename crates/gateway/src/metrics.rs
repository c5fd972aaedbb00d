//! What a gateway counts of its calls. Labels are closed sets.

use std::time::Duration;

use link::ops::metrics::{
    By, By2, Counter, Family, Gauge, Histogram, Label, Registry, call_seconds,
};
use terms::Reason;

use crate::method::Method;

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
    not_logged: Family<By<Reason>, Counter>,
    map_epoch: Gauge,
    /// Calls in flight.
    pub(crate) in_flight: Gauge,
    /// Requests that were refused because they are not gRPC.
    pub(crate) not_grpc: Counter,
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            calls: Family::default(),
            seconds: Family::new_with_constructor(call_seconds),
            not_logged: Family::default(),
            map_epoch: Gauge::default(),
            in_flight: Gauge::default(),
            not_grpc: Counter::default(),
        };
        let Self { calls, seconds, not_logged, map_epoch, in_flight, not_grpc } = &metrics;
        registry.register("map_epoch", "Version of the map in force", map_epoch.clone());
        registry.register("calls", "Calls answered", calls.clone());
        registry.register("call_seconds", "Seconds until the answer", seconds.clone());
        registry.register(
            "calls_in_flight",
            "Calls not answered, or answered and not read yet",
            in_flight.clone(),
        );
        registry.register(
            "refusals_not_logged",
            "Refusals that the log left out, of those of `calls`",
            not_logged.clone(),
        );
        registry.register(
            "requests_not_grpc",
            "Requests refused because their protocol, method or origin is not taken",
            not_grpc.clone(),
        );
        metrics
    }

    /// A call was answered.
    pub(crate) fn answered(&self, method: Method, ending: Ending, took: Duration) {
        self.calls.get_or_create(&By2(method, ending)).inc();
        self.seconds.get_or_create(&By(method)).observe(took.as_secs_f64());
    }

    /// The version of the map in force.
    pub(crate) fn set_map_epoch(&self, epoch: u64) {
        self.map_epoch.set(i64::try_from(epoch).unwrap_or(i64::MAX));
    }

    /// The log leaves out a refusal.
    pub(crate) fn not_logged(&self, reason: Reason) {
        self.not_logged.get_or_create(&By(reason)).inc();
    }
}
