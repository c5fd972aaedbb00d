//! Rounds of measurements beside the bare pair, and what they come to.

use anyhow::Result;

use crate::line::Line;
use crate::load::{Load, Measured, Target};
use crate::processes::{Cpu, Pair, Served};
use crate::secure::Caller;

/// One measurement, and the processor time that a call of it took: of the load generator, of the
/// process that it calls, and of the one behind that.
pub(crate) struct Round {
    measured: Measured,
    cpu_us: [f64; 3],
}

/// All rounds.
#[derive(Default)]
pub(crate) struct Rounds {
    pub(crate) bare_put: Vec<Round>,
    pub(crate) bare_stream: Vec<Round>,
    pub(crate) put: Vec<Round>,
    pub(crate) get: Vec<Round>,
    pub(crate) stream: Vec<Round>,
    pub(crate) sdk_put: Vec<Round>,
}

impl Rounds {
    /// Measures everything once.
    pub(crate) async fn measure(
        &mut self,
        load: &Load,
        pair: &Pair,
        served: &Served,
        in_flight: usize,
        round: u64,
    ) -> Result<()> {
        let (bare, own) = (Caller::plain(&pair.url), served.caller()?);
        // Records of each round have names of their own.
        let (unary, stream) = (format!("u{round}"), format!("s{round}"));
        let (pair_cpu, own_cpu) = (|| pair.cpu(), || served.cpu());

        let before = pair_cpu();
        let put = load.put(&bare, in_flight, Target::Bare, &unary).await?;
        self.bare_put.push(Round::new(put, before, pair_cpu()));

        let before = own_cpu();
        let put = load.put(&own, in_flight, Target::Bailiwick, &unary).await?;
        let stored = put.done;
        self.put.push(Round::new(put, before, own_cpu()));

        let before = own_cpu();
        let get = load.get(&own, in_flight, stored, &unary).await?;
        self.get.push(Round::new(get, before, own_cpu()));

        let before = own_cpu();
        let sdk = format!("l{round}");
        let put = load.sdk_put(&served.url, &served.access()?, in_flight, &sdk).await?;
        self.sdk_put.push(Round::new(put, before, own_cpu()));

        let before = pair_cpu();
        let streamed = load.stream(&bare, in_flight, Target::Bare, &stream).await?;
        self.bare_stream.push(Round::new(streamed, before, pair_cpu()));

        let before = own_cpu();
        let streamed = load.stream(&own, in_flight, Target::Bailiwick, &stream).await?;
        self.stream.push(Round::new(streamed, before, own_cpu()));
        Ok(())
    }
}

impl Round {
    fn new(measured: Measured, before: Cpu, after: Cpu) -> Self {
        let calls = u32::try_from(measured.done + measured.failed).unwrap_or(u32::MAX).max(1);
        let mut cpu_us = [0.0; 3];
        for (us, (before, after)) in cpu_us.iter_mut().zip(before.into_iter().zip(after)) {
            *us = after.saturating_sub(before).as_secs_f64() * 1e6 / f64::from(calls);
        }
        Self { measured, cpu_us }
    }
}

/// What the rounds come to: medians, beside those of the pair in the same rounds.
pub(crate) fn line(
    what: String,
    in_flight: usize,
    own: &[Round],
    bare: Option<&Vec<Round>>,
) -> Line {
    let of = |figure: fn(&Round) -> f64| sorted(own.iter().map(figure));
    let rates = of(|round| round.measured.per_second);
    let ratios = bare.map(|bare| {
        let both = own.iter().zip(bare);
        sorted(both.map(|(own, bare)| own.measured.per_second / bare.measured.per_second))
    });
    Line {
        what,
        in_flight,
        per_second: median(&rates),
        spread: rates.first().copied().zip(rates.last().copied()),
        p50_ms: median(&of(|round| round.measured.p50_ms)),
        p99_ms: median(&of(|round| round.measured.p99_ms)),
        failed: own.iter().map(|round| round.measured.failed).sum(),
        ratio: ratios.map(|ratios| median(&ratios)),
        cpu_us: Some([
            median(&of(|round| round.cpu_us[0])),
            median(&of(|round| round.cpu_us[1])),
            median(&of(|round| round.cpu_us[2])),
        ]),
        cost: None,
        judged: false,
        resident_mib: None,
    }
}

fn sorted(figures: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut all: Vec<f64> = figures.collect();
    all.sort_by(f64::total_cmp);
    all
}

/// The middle one of figures in order; of an even number the mean of the two in the middle.
fn median(sorted: &[f64]) -> f64 {
    let at = |n: usize| sorted.get(n).copied().unwrap_or(f64::NAN);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.wrapping_sub(1)), at(half)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        let median = |figures: &[f64]| median(&sorted(figures.iter().copied()));
        assert_eq!(median(&[3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]).to_bits(), 2.5_f64.to_bits());
        assert!(median(&[]).is_nan());
    }
}
