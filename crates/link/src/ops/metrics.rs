//! Metrics whose labels cannot hold personal data: every label is a type that declares its values.

use std::fmt;

use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder, text};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::family::MetricConstructor;
use prometheus_client::registry::{Metric as Any, Registry as Inner};
use terms::{Reason, RegionId, ShardId};

pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// The metrics of one process.
#[derive(Debug, Default)]
pub struct Registry(Inner);

/// The media type of what [`Registry::encode`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Registry {
    /// None yet. Every name gets the prefix `bailiwick_`.
    pub fn new() -> Self {
        Self(Inner::with_prefix("bailiwick"))
    }

    /// Adds a metric. `help` is one sentence without its full stop.
    pub fn register(&mut self, name: &'static str, help: &'static str, metric: impl Measure) {
        self.0.register(name, help, metric);
    }

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail; a metric that could not be encoded would cut the page
        // short, which every reader of the format notices by the missing `# EOF`.
        if text::encode(&mut text, &self.0).is_err() {
            tracing::error!("a metric could not be encoded");
        }
        text
    }
}

mod sealed {
    //! Nobody else can say what a [`crate::Measure`] is.

    /// See [`crate::Measure`].
    pub trait Sealed {}
}

/// What may be on the page: numbers, bare or by [`Label`]s. A family whose labels are strings,
/// which the library below would take, is none.
pub trait Measure: Any + sealed::Sealed {}

impl<M: Any + sealed::Sealed> Measure for M {}
impl sealed::Sealed for Counter {}
impl sealed::Sealed for Gauge {}
impl sealed::Sealed for Histogram {}
impl<A: Label, M: TypedMetric, C: MetricConstructor<M>> sealed::Sealed for Family<By<A>, M, C> {}
impl<A: Label, B: Label, M: TypedMetric, C: MetricConstructor<M>> sealed::Sealed
    for Family<By2<A, B>, M, C>
{
}

/// A label: its key, and values from a closed set or from an operator's own configuration. A
/// value that a caller sent must never implement this.
pub trait Label: Clone + Eq + std::hash::Hash + fmt::Debug + Send + Sync + 'static {
    /// The label's key.
    const KEY: &'static str;

    /// The value.
    fn value(&self) -> &str;
}

impl Label for Reason {
    const KEY: &'static str = "reason";

    fn value(&self) -> &str {
        self.as_str()
    }
}

impl Label for RegionId {
    const KEY: &'static str = "region";

    fn value(&self) -> &str {
        self.as_str()
    }
}

impl Label for ShardId {
    const KEY: &'static str = "shard";

    fn value(&self) -> &str {
        self.as_str()
    }
}

fn write<L: Label>(label: &L, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
    (L::KEY, label.value()).encode(encoder.encode_label())
}

/// The label set of one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct By<A>(pub A);

impl<A: Label> EncodeLabelSet for By<A> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        write(&self.0, encoder)
    }
}

/// The label set of two labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct By2<A, B>(pub A, pub B);

impl<A: Label, B: Label> EncodeLabelSet for By2<A, B> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        write(&self.0, encoder)?;
        write(&self.1, encoder)
    }
}

/// Buckets for the seconds that a call takes: 0.25 ms to 8 s, each twice the one before.
pub fn call_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does not compile when the type has the trait.
    macro_rules! lacks {
        ($type:ty: $trait:path) => {
            const _: fn() = || {
                struct HasIt;
                trait Ambiguous<A> {
                    fn which() {}
                }
                impl<T: ?Sized> Ambiguous<()> for T {}
                impl<T: ?Sized + $trait> Ambiguous<HasIt> for T {}
                <$type as Ambiguous<_>>::which();
            };
        };
    }

    // Text is no label, and a family by text is not for the page.
    lacks!(String: Label);
    lacks!(&'static str: Label);
    lacks!(terms::SubjectId: Label);
    lacks!(terms::RecordKey: Label);
    lacks!(terms::TenantId: Label);
    lacks!(Family<Vec<(String, String)>, Counter>: Measure);
    lacks!(Family<[(&'static str, String); 1], Counter>: Measure);
    lacks!(Family<Vec<(&'static str, terms::RequestId)>, Counter>: Measure);

    #[test]
    fn the_page_is_openmetrics() {
        let mut registry = Registry::new();
        let calls = Family::<By2<Reason, RegionId>, Counter>::default();
        registry.register("calls", "Calls", calls.clone());
        let region = RegionId::parse("ru-msk").unwrap();
        calls.get_or_create(&By2(Reason::NoRegion, region)).inc();
        let text = registry.encode();
        let line = r#"bailiwick_calls_total{reason="NO_REGION",region="ru-msk"} 1"#;
        assert!(text.lines().any(|l| l == line), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
