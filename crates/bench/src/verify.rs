//! What was put is there: a sample of the answers is checked after a measurement.

use anyhow::{Context as _, Result, ensure};
use client::{Known, Proof, check_put};

use crate::load::Load;
use crate::sample::Sample;
use crate::secure::Caller;

/// Checks every receipt of a sample against what was sent, and reads every record back.
pub(crate) async fn verify(sample: &Sample, load: &Load, caller: &Caller, run: &str) -> Result<()> {
    let mut client = caller.connect().await?;
    for (n, put, answer) in &sample.0 {
        let known = Known { tenant: None, first: true };
        let proof = check_put(put, answer, known).context("a receipt does not hold")?;
        ensure!(matches!(proof, Proof::Receipt(_)), "an answer has no receipt");
        let record = client.get(caller.request(load.read(*n, run))).await?.into_inner();
        ensure!(record.body == load.body_of(*n), "a record does not read back as it was put");
    }
    Ok(())
}
