//! Overload: puts at several times the rate that the processes sustain, in an open loop; whether most of
//! that rate still comes out, how fast the rest is refused, when all is as before, and what it costs when
//! everything that was done is sent again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::Code;
use wire::v1::PutRecordRequest;

use crate::line::Line;
use crate::load::Load;
use crate::measured::{Latency, latency};
use crate::processes::{Cpu, Programs, Served, Setup, cpu_us};
use crate::secure::{Caller, Client};
use crate::{Options, warn};

/// Connections of the load: each takes 256 calls at once.
const CONNECTIONS: usize = 32;
/// Calls that the load has under way at most. What is due beyond that is made late.
const UNDER_WAY_MAX: usize = 6_000;
/// Calls that are kept, to be sent again.
const KEPT_MAX: u64 = 50_000;
/// How long the load before, after and of what is sent again lasts, of the overload's time.
const PART: u32 = 3;
/// Longest time that a call is waited for.
const CALL_MAX: Duration = Duration::from_secs(20);

/// Overloads a gateway and a shard of each engine.
pub(crate) async fn overload(options: &Options, load: &Load, times: f64) -> Result<Vec<Line>> {
    let programs = Programs::find(options.bailiwick.as_deref())?;
    let programs = programs.on_cores(options.server_cores.clone());
    let server = options.server(&[])?;
    let mut lines = Vec::new();
    for engine in &options.engines {
        let setup = Setup { engine, server: server.as_ref(), secure: false, limits: "" };
        let served = Served::start(&programs, &options.folder, setup)?;
        let in_flight = options.in_flight.first().copied().unwrap_or(64);
        let run = Run::connect(load, &served, in_flight).await?;
        lines.extend(run.measure(engine, times).await?);
    }
    Ok(lines)
}

/// What calls of one part are made.
#[derive(Clone, Copy)]
struct Part {
    name: &'static str,
    seconds: Duration,
    /// Calls a second. None: as many as are allowed under way.
    rate: Option<f64>,
    under_way: usize,
}

/// What has become of the calls of a part.
struct Outcomes {
    begun: Instant,
    done: Mutex<Histogram<u64>>,
    refused: Mutex<Histogram<u64>>,
    /// Answered neither so nor so: without a delay to try again after, or not at all.
    failed: AtomicU64,
    /// By seconds of when they were due: the slowest call that was done, and calls that were not.
    seconds: Mutex<Vec<(u64, u64)>>,
}

enum Outcome {
    Done,
    /// With a delay to try again after.
    Refused,
    Failed,
}

/// A part that has ended.
struct Ended {
    outcomes: Outcomes,
    seconds: f64,
    cpu: [Cpu; 2],
}

struct Run<'a> {
    load: &'a Load,
    served: &'a Served,
    caller: Caller,
    clients: Vec<Client>,
    in_flight: usize,
    kept: Arc<Mutex<Vec<PutRecordRequest>>>,
}

impl<'a> Run<'a> {
    async fn connect(load: &'a Load, served: &'a Served, in_flight: usize) -> Result<Self> {
        let caller = served.caller()?;
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(caller.connect().await?);
        }
        Ok(Self { load, served, caller, clients, in_flight, kept: Arc::default() })
    }

    async fn measure(&self, engine: &str, times: f64) -> Result<Vec<Line>> {
        let (whole, part) = (self.load.seconds, self.load.seconds / PART);
        let closed = Part { name: "peak", seconds: part, rate: None, under_way: self.in_flight };
        let peak = self.puts(closed).await?;
        let rate = peak.per_second(&peak.outcomes.done);
        ensure!(rate > 0.0, "no put was done");
        let open = |name, rate| Part { name, rate: Some(rate), under_way: UNDER_WAY_MAX, ..closed };
        let before = self.puts(open("before", rate / 2.0)).await?;
        let over = Part { seconds: whole, ..open("over", rate * times) };
        let over = self.puts(over).await?;
        let after = self.puts(open("after", rate / 2.0)).await?;
        let again = self.again(part).await?;
        let line = |what: String, of: &Ended, counted: &Mutex<Histogram<u64>>| Line {
            what: format!("{engine}: {what}"),
            in_flight: self.in_flight,
            per_second: of.per_second(counted),
            latency: of.latency(counted),
            failed: of.outcomes.failed.load(Ordering::Relaxed),
            cpu_us: Some(of.cpu_us()),
            resident_mib: Some(self.served.peak_mib()),
            ..Line::default()
        };
        let (done, refused) = (&over.outcomes.done, &over.outcomes.refused);
        let sent = over.per_second(done) + over.per_second(refused);
        let share = over.per_second(done) / rate;
        let normal = after.normal_from(before.slowest());
        let normal =
            normal.map_or_else(|| "never".to_owned(), |second| format!("from second {second}"));
        let cost = again.server_us() / peak.server_us();
        Ok(vec![
            line("puts, peak".into(), &peak, &peak.outcomes.done),
            line("half the peak, before".into(), &before, &before.outcomes.done),
            line(format!("{:.1} times the peak, done: {share:.2} of it", sent / rate), &over, done),
            line("the same, refused".into(), &over, refused),
            line(format!("half the peak, after: as before {normal}"), &after, &after.outcomes.done),
            Line {
                cost: Some(cost),
                judged: true,
                ..line("puts that were done, sent again".into(), &again, &again.outcomes.done)
            },
        ])
    }

    /// Puts of new records.
    async fn puts(&self, part: Part) -> Result<Ended> {
        warn(format!("overload: {}", part.name));
        let (load, caller, kept) = (self.load.clone(), self.caller.clone(), Arc::clone(&self.kept));
        self.calls(part, move |client, n| {
            let (load, caller, kept) = (load.clone(), caller.clone(), Arc::clone(&kept));
            async move {
                let Ok(put) = load.request(n, part.name) else { return Outcome::Failed };
                let keeps = part.rate.is_none() && n < KEPT_MAX;
                let copy = keeps.then(|| put.clone());
                let outcome = put_once(client, &caller, put).await;
                if let (Some(copy), Outcome::Done) = (copy, &outcome) {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(copy);
                }
                outcome
            }
        })
        .await
    }

    /// The same puts once more: each is answered as before, and nothing is written.
    async fn again(&self, seconds: Duration) -> Result<Ended> {
        warn("overload: again");
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        ensure!(!kept.is_empty(), "no put was done");
        let (kept, caller) = (Arc::new(kept), self.caller.clone());
        let part = Part { name: "again", seconds, rate: None, under_way: self.in_flight };
        self.calls(part, move |client, n| {
            let (kept, caller) = (Arc::clone(&kept), caller.clone());
            async move {
                let at = usize::try_from(n).unwrap_or(0) % kept.len();
                let Some(put) = kept.get(at) else { return Outcome::Failed };
                put_once(client, &caller, put.clone()).await
            }
        })
        .await
    }

    async fn calls<F, R>(&self, part: Part, call: F) -> Result<Ended>
    where
        F: Fn(Client, u64) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        let begun = Instant::now();
        let until = begun + part.seconds;
        let outcomes = Arc::new(Outcomes::new(begun)?);
        let next = Arc::new(AtomicU64::new(0));
        let before = self.served.cpu();
        let mut tasks = JoinSet::new();
        for client in self.clients.iter().cycle().take(part.under_way) {
            let (client, call) = (client.clone(), call.clone());
            let (outcomes, next) = (Arc::clone(&outcomes), Arc::clone(&next));
            tasks.spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let due = match part.rate {
                        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 calls")]
                        Some(rate) => begun + Duration::from_secs_f64(n as f64 / rate),
                        None => Instant::now(),
                    };
                    if due >= until || Instant::now() >= until {
                        return;
                    }
                    sleep_until(due).await;
                    let sent = Instant::now();
                    let answer = timeout_at(sent + CALL_MAX, call(client.clone(), n)).await;
                    outcomes.note(due, sent, &answer.unwrap_or(Outcome::Failed));
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended?;
        }
        let cpu = [before, self.served.cpu()];
        let outcomes =
            Arc::into_inner(outcomes).ok_or_else(|| anyhow::anyhow!("a task goes on"))?;
        Ok(Ended { outcomes, seconds: part.seconds.as_secs_f64(), cpu })
    }
}

async fn put_once(mut client: Client, caller: &Caller, put: PutRecordRequest) -> Outcome {
    match client.put(caller.request(put)).await {
        Ok(answer) if answer.get_ref().receipt.is_some() => Outcome::Done,
        Ok(_) => Outcome::Failed,
        Err(status) => {
            let busy = matches!(status.code(), Code::ResourceExhausted | Code::Unavailable);
            let delay = b"google.rpc.RetryInfo";
            let waits = status.details().windows(delay.len()).any(|part| part == delay);
            if busy && waits { Outcome::Refused } else { Outcome::Failed }
        }
    }
}

impl Outcomes {
    fn new(begun: Instant) -> Result<Self> {
        let (done, refused) = (Histogram::new(3)?, Histogram::new(3)?);
        let (done, refused) = (Mutex::new(done), Mutex::new(refused));
        Ok(Self { begun, done, refused, failed: AtomicU64::new(0), seconds: Mutex::default() })
    }

    /// A call that is done took from when it was due; one that is refused, from when it was sent.
    fn note(&self, due: Instant, sent: Instant, outcome: &Outcome) {
        let micros = |from: Instant| u64::try_from(from.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (counted, took) = match outcome {
            Outcome::Done => (Some(&self.done), micros(due)),
            Outcome::Refused => (Some(&self.refused), micros(sent)),
            Outcome::Failed => (None, 0),
        };
        if let Some(counted) = counted {
            // It grows as it must.
            lock(counted).record(took).ok();
        } else {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        let second = usize::try_from((due - self.begun).as_secs()).unwrap_or(usize::MAX);
        let mut seconds = lock(&self.seconds);
        if seconds.len() <= second {
            seconds.resize(second + 1, (0, 0));
        }
        if let Some((slowest, not_done)) = seconds.get_mut(second) {
            if matches!(outcome, Outcome::Done) {
                *slowest = took.max(*slowest);
            } else {
                *not_done += 1;
            }
        }
    }
}

impl Ended {
    fn per_second(&self, counted: &Mutex<Histogram<u64>>) -> f64 {
        f64::from(u32::try_from(lock(counted).len()).unwrap_or(u32::MAX)) / self.seconds
    }

    fn latency(&self, counted: &Mutex<Histogram<u64>>) -> Latency {
        latency(&lock(counted))
    }

    fn cpu_us(&self) -> [f64; 3] {
        let Outcomes { done, refused, failed, .. } = &self.outcomes;
        let calls = lock(done).len() + lock(refused).len() + failed.load(Ordering::Relaxed);
        cpu_us(calls, self.cpu)
    }

    fn server_us(&self) -> f64 {
        let [_, gateway, shard] = self.cpu_us();
        gateway + shard
    }

    /// The slowest call, in microseconds.
    fn slowest(&self) -> u64 {
        lock(&self.outcomes.seconds).iter().map(|(slowest, _)| *slowest).max().unwrap_or(0)
    }

    /// The first second from which on all calls are done, none more slowly than that.
    fn normal_from(&self, slowest: u64) -> Option<usize> {
        let seconds = lock(&self.outcomes.seconds);
        let is_normal = |(took, not_done): &(u64, u64)| *took <= slowest && *not_done == 0;
        let last = seconds.iter().rposition(|second| !is_normal(second));
        let from = last.map_or(0, |last| last + 1);
        (from < seconds.len()).then_some(from)
    }
}

/// Nothing that can panic runs under these locks.
fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
