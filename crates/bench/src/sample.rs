//! Some of the puts of a measurement with their answers, to be checked after it.

use wire::v1::{PutRecordRequest, PutRecordResponse};

/// One put in so many is kept.
const ONE_IN: u64 = 32;
/// Puts that are kept at most.
const KEPT_MAX: usize = 1_000;

/// Some puts, by their numbers.
#[derive(Default)]
pub(crate) struct Sample(pub(crate) Vec<(u64, PutRecordRequest, PutRecordResponse)>);

impl Sample {
    /// Whether the `n`th put of a run is one to keep.
    pub(crate) fn takes(n: u64) -> bool {
        n.is_multiple_of(ONE_IN)
    }

    /// Keeps a put, unless there are enough.
    pub(crate) fn keep(&mut self, n: u64, put: PutRecordRequest, answer: PutRecordResponse) {
        if self.0.len() < KEPT_MAX {
            self.0.push((n, put, answer));
        }
    }
}
