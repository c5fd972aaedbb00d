//! What a measurement counts, and what comes out of it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

/// A measurement.
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    pub(crate) latency: Latency,
    pub(crate) failed: u64,
    /// Calls that were answered, warm-up included.
    pub(crate) done: u64,
    /// Why the first of those that failed did, if that is known.
    pub(crate) first_failure: Option<String>,
}

/// Milliseconds from the moment when a call was due to its answer.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

/// Of times in microseconds.
pub(crate) fn latency(micros: &Histogram<u64>) -> Latency {
    let ms = |micros: u64| f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1000.0;
    let at = |quantile| ms(micros.value_at_quantile(quantile));
    Latency { p50_ms: at(0.5), p99_ms: at(0.99), p999_ms: at(0.999), max_ms: ms(micros.max()) }
}

/// What all tasks of a measurement count. The first quarter of the time is a warm-up.
pub(crate) struct Tally {
    from: Instant,
    pub(crate) until: Instant,
    pub(crate) next: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    first_failure: OnceLock<String>,
}

impl Tally {
    pub(crate) fn new(seconds: Duration) -> Self {
        let from = Instant::now() + seconds / 3;
        let zero = || AtomicU64::new(0);
        let (until, first_failure) = (from + seconds, OnceLock::new());
        Self { from, until, next: zero(), done: zero(), failed: zero(), first_failure }
    }

    pub(crate) fn measured(&self, micros: &Histogram<u64>) -> Measured {
        let seconds = (self.until - self.from).as_secs_f64();
        let counted = u32::try_from(micros.len()).unwrap_or(u32::MAX);
        Measured {
            per_second: f64::from(counted) / seconds,
            latency: latency(micros),
            failed: self.failed.load(Ordering::Relaxed),
            done: self.done.load(Ordering::Relaxed),
            first_failure: self.first_failure.get().cloned(),
        }
    }

    /// Keeps why a call has failed, if it is the first.
    pub(crate) fn failed(&self, why: &anyhow::Error) {
        self.first_failure.get_or_init(|| format!("{why:#}"));
    }

    /// Counts a call that was due at `due`.
    pub(crate) fn record(&self, due: Instant, answered: bool, micros: &mut Histogram<u64>) {
        let counter = if answered { &self.done } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        if answered && now >= self.from && now < self.until {
            let took = u64::try_from((now - due).as_micros()).unwrap_or(u64::MAX);
            // It grows as it must.
            micros.record(took).ok();
        }
    }
}
