//! What was put is there: a sample of the answers is checked after a measurement.

use anyhow::{Context as _, Result, ensure};
use client::{Known, Proof, check_put};
use wire::v1::{PutRecordRequest, PutRecordResponse};

use crate::load::Load;
use crate::secure::Caller;

/// One put in so many is kept.
const ONE_IN: u64 = 32;
/// Puts that are kept at most.
const KEPT_MAX: usize = 1_000;

/// Some puts with their answers.
#[derive(Default)]
pub(crate) struct Sample(Vec<(u64, PutRecordRequest, PutRecordResponse)>);

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

    /// Checks every receipt against what was sent, and reads every record back. Returns how many.
    pub(crate) async fn verify(&self, load: &Load, caller: &Caller, run: &str) -> Result<usize> {
        let mut client = caller.connect().await?;
        for (n, put, answer) in &self.0 {
            let known = Known { tenant: None, first: true };
            let proof = check_put(put, answer, known).context("a receipt does not hold")?;
            ensure!(matches!(proof, Proof::Receipt(_)), "an answer has no receipt");
            let record = client.get(caller.request(load.read(*n, run))).await?.into_inner();
            ensure!(record.body == load.body_of(*n), "a record does not read back as it was put");
        }
        Ok(self.0.len())
    }
}
