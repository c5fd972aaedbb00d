//! Rounds of measurements, Bailiwick and the others in turns, and what they come to.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use client::Access;

use crate::line::Line;
use crate::load::{Load, Target};
use crate::measured::Measured;
use crate::peers::Peer;
use crate::processes::{Cpu, Pair, cpu_us};
use crate::sample::Sample;
use crate::secure::Caller;
use crate::verify::verify;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Unary puts of new records.
    Put,
    /// Puts of new records through one client of the SDK.
    Sdk,
    /// Unary gets of them.
    Get,
    /// Nine gets for each put.
    Mixed,
    /// Unary puts of records that are there.
    Overwrite,
    /// Puts of new records on one stream.
    Stream,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Sdk => "SDK put",
            Self::Get => "get",
            Self::Mixed => "mixed 1:9",
            Self::Overwrite => "overwrite",
            Self::Stream => "StreamPut",
        }
    }

    /// The call of the bare pair beside which it stands.
    const fn beside(self) -> Bare {
        match self {
            Self::Stream => Bare::Stream,
            Self::Put | Self::Sdk | Self::Get | Self::Mixed | Self::Overwrite => Bare::Unary,
        }
    }
}

/// A call of the bare pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bare {
    Unary,
    Stream,
}

/// One measurement, and the processor time that a call of it took: of the load generator, of the
/// process that it calls, and of the one behind that. None: the process is not ours.
struct Round {
    measured: Measured,
    cpu_us: Option<[f64; 3]>,
}

impl Round {
    fn new(measured: Measured, before: Option<Cpu>, after: Option<Cpu>) -> Self {
        let calls = measured.done + measured.failed;
        let us = |(before, after)| cpu_us(calls, [before, after]);
        Self { measured, cpu_us: before.zip(after).map(us) }
    }

    /// Of the two processes that serve.
    fn server_us(&self) -> f64 {
        self.cpu_us.map_or(f64::NAN, |[_, front, back]| front + back)
    }
}

/// What is measured in a round, under its name.
struct Series {
    name: String,
    rounds: Vec<Round>,
    /// The call of the pair that it is compared with. None: it is a pair's own, or a peer's.
    beside: Option<Bare>,
    /// The pair whose call it is, if it is a pair's: whether it is the tuned one.
    of_pair: Option<OfPair>,
}

/// A call of a bare pair.
#[derive(Clone, Copy, PartialEq, Eq)]
struct OfPair {
    call: Bare,
    tuned: bool,
}

/// Who is measured, in turns.
pub(crate) struct Turns<'a> {
    pub(crate) kinds: &'a [Kind],
    pub(crate) pair: Option<&'a Pair>,
    pub(crate) tuned: Option<&'a Pair>,
    pub(crate) peers: &'a [Peer],
    pub(crate) caller: Caller,
    /// The same caller for the SDK.
    pub(crate) access: Access,
    /// Processor time of load generator, gateway and shard. None: they run elsewhere.
    pub(crate) cpu: &'a dyn Fn() -> Option<Cpu>,
}

/// All rounds of one number in flight and one size.
pub(crate) struct Rounds {
    /// Before each name.
    title: String,
    in_flight: usize,
    series: Vec<Series>,
}

impl Rounds {
    pub(crate) const fn new(title: String, in_flight: usize) -> Self {
        Self { title, in_flight, series: Vec::new() }
    }

    /// Measures everything once.
    pub(crate) async fn measure(
        &mut self,
        load: &Load,
        turns: &Turns<'_>,
        round: u64,
    ) -> Result<()> {
        // Records of each round have names of their own.
        let (size, in_flight) = (load.body, self.in_flight);
        let [unary, stream, mixed, lanes] =
            ["u", "s", "m", "l"].map(|kind| format!("{kind}{size}-{in_flight}-{round}"));
        let bare_calls = [Bare::Unary, Bare::Stream];
        for call in bare_calls.into_iter().filter(|call| turns.wants(*call)) {
            for (pair, tuned) in [(turns.pair, false), (turns.tuned, true)] {
                let Some(pair) = pair else { continue };
                self.bare(load, pair, OfPair { call, tuned }).await?;
            }
        }
        for peer in turns.peers {
            for (name, measured, cpu_us) in peer.measure(load, in_flight).await? {
                self.add(name, Round { measured, cpu_us }, None, None);
            }
        }
        let sample = Arc::default();
        let mut stored = 0;
        let needed = turns.kinds.iter().any(|kind| !matches!(kind, Kind::Stream | Kind::Sdk));
        let first = (needed && !turns.kinds.contains(&Kind::Put)).then_some(&Kind::Put);
        for kind in first.into_iter().chain(turns.kinds) {
            let (caller, before) = (&turns.caller, (turns.cpu)());
            let measured = match kind {
                Kind::Put => {
                    load.put(caller, in_flight, Target::Bailiwick, &unary, &sample).await?
                }
                Kind::Sdk => load.sdk_put(&caller.url, &turns.access, in_flight, &lanes).await?,
                Kind::Get => load.get(caller, in_flight, stored, &unary).await?,
                Kind::Mixed => load.mixed(caller, in_flight, stored, &unary, &mixed).await?,
                Kind::Overwrite => load.overwrite(caller, in_flight, stored, &unary).await?,
                Kind::Stream => load.stream(caller, in_flight, Target::Bailiwick, &stream).await?,
            };
            let done = measured.done;
            if done == 0 {
                let why = measured.first_failure.unwrap_or_else(|| "none was answered".to_owned());
                bail!("{}: no call was done: {why}", kind.name());
            }
            let of_round = Round::new(measured, before, (turns.cpu)());
            self.add(kind.name().to_owned(), of_round, Some(kind.beside()), None);
            if *kind == Kind::Put {
                stored = done;
                check(load, &turns.caller, &unary, &sample).await?;
            }
        }
        Ok(())
    }

    async fn bare(&mut self, load: &Load, pair: &Pair, of: OfPair) -> Result<()> {
        let (caller, before) = (Caller::plain(&pair.url), pair.cpu());
        let (in_flight, none) = (self.in_flight, Arc::default());
        let (measured, name) = match of.call {
            Bare::Unary => (load.put(&caller, in_flight, Target::Bare, "b", &none).await?, "unary"),
            Bare::Stream => (load.stream(&caller, in_flight, Target::Bare, "b").await?, "stream"),
        };
        let name = format!("{}bare pair, {name}", if of.tuned { "tuned " } else { "" });
        let round = Round::new(measured, Some(before), Some(pair.cpu()));
        self.add(name, round, None, Some(of));
        Ok(())
    }

    fn add(&mut self, name: String, round: Round, beside: Option<Bare>, of_pair: Option<OfPair>) {
        match self.series.iter_mut().find(|series| series.name == name) {
            Some(series) => series.rounds.push(round),
            None => self.series.push(Series { name, rounds: vec![round], beside, of_pair }),
        }
    }

    /// What the rounds come to: medians, beside those of the pairs in the same rounds.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.series.iter().map(|series| self.line(series)).collect()
    }

    fn line(&self, series: &Series) -> Line {
        let own = &series.rounds;
        let of = |figure: &dyn Fn(&Round) -> f64| sorted(own.iter().map(figure));
        let rates = of(&|round| round.measured.per_second);
        let beside = |tuned| {
            let wanted = series.beside.map(|call| OfPair { call, tuned });
            self.series.iter().find(|other| wanted.is_some() && other.of_pair == wanted)
        };
        let ratio = |other: Option<&Series>, figure: &dyn Fn(&Round) -> f64| {
            let both = |other: &Series| {
                own.iter()
                    .zip(&other.rounds)
                    .map(|(a, b)| figure(a) / figure(b))
                    .collect::<Vec<_>>()
            };
            let ratio = other.map(|other| median(&sorted(both(other).into_iter())));
            ratio.filter(|ratio| ratio.is_finite())
        };
        let (plain, tuned) = (beside(false), beside(true));
        let latency = |figure: fn(&crate::measured::Latency) -> f64| {
            median(&of(&|round| figure(&round.measured.latency)))
        };
        let has_cpu = own.iter().all(|round| round.cpu_us.is_some());
        let cpu = |at: usize| {
            median(&of(&|round| {
                round.cpu_us.and_then(|us| us.get(at).copied()).unwrap_or(f64::NAN)
            }))
        };
        Line {
            what: format!("{}{}", self.title, series.name),
            in_flight: self.in_flight,
            per_second: median(&rates),
            spread: rates.first().copied().zip(rates.last().copied()),
            latency: crate::measured::Latency {
                p50_ms: latency(|l| l.p50_ms),
                p99_ms: latency(|l| l.p99_ms),
                p999_ms: latency(|l| l.p999_ms),
                max_ms: latency(|l| l.max_ms),
            },
            failed: own.iter().map(|round| round.measured.failed).sum(),
            ratio: ratio(plain, &|round| round.measured.per_second),
            cpu_us: has_cpu.then(|| [cpu(0), cpu(1), cpu(2)]),
            server_ratio: ratio(plain, &Round::server_us),
            server_ratio_tuned: ratio(tuned, &Round::server_us),
            ..Line::default()
        }
    }
}

impl Turns<'_> {
    fn wants(&self, call: Bare) -> bool {
        self.kinds.iter().any(|kind| kind.beside() == call)
    }
}

/// Checks what was kept of a run of puts.
async fn check(load: &Load, caller: &Caller, run: &str, sample: &Arc<Mutex<Sample>>) -> Result<()> {
    let kept = std::mem::take(&mut *sample.lock().unwrap_or_else(PoisonError::into_inner));
    verify(&kept, load, caller, run).await.context("what was put does not verify")
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
