//! The load: a closed loop of so many calls in flight, over a few connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use client::{Access, Error, Proof, Settings};
use hdrhistogram::Histogram;
use terms::{Entropy as _, RequestId};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use wire::v1::{
    Evidence, EvidenceKind, GetRecordRequest, PutRecordRequest, StreamPutRequest, SubjectRef,
    stream_put_request, stream_put_response,
};

use crate::secure::{Caller, Client};

/// Connections of the load generator, for the pair and for Bailiwick alike.
const CONNECTIONS: usize = 4;
/// Persons whose records these are: the first put of each creates the person.
const SUBJECTS: u64 = 10_000;
/// Longest time that a call is waited for.
const CALL_MAX: Duration = Duration::from_secs(20);

/// How long, and with what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) seconds: Duration,
    pub(crate) body: usize,
    /// Lanes of the SDK.
    pub(crate) lanes: usize,
}

/// What is measured: it says what an answer must look like to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Answers are empty.
    Bare,
    /// Answers have a version and a receipt.
    Bailiwick,
}

/// A measurement.
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) failed: u64,
    /// Calls that were answered, warm-up included.
    pub(crate) done: u64,
}

/// What all tasks of a measurement count.
struct Tally {
    from: Instant,
    until: Instant,
    next: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
}

impl Tally {
    fn new(seconds: Duration) -> Self {
        let from = Instant::now() + seconds / 3;
        let zero = || AtomicU64::new(0);
        Self { from, until: from + seconds, next: zero(), done: zero(), failed: zero() }
    }

    fn measured(&self, micros: &Histogram<u64>) -> Measured {
        let seconds = (self.until - self.from).as_secs_f64();
        let ms = |micros: u64| f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1000.0;
        let counted = u32::try_from(micros.len()).unwrap_or(u32::MAX);
        Measured {
            per_second: f64::from(counted) / seconds,
            p50_ms: ms(micros.value_at_quantile(0.5)),
            p99_ms: ms(micros.value_at_quantile(0.99)),
            failed: self.failed.load(Ordering::Relaxed),
            done: self.done.load(Ordering::Relaxed),
        }
    }

    fn record(&self, started: Instant, answered: bool, micros: &mut Histogram<u64>) {
        let counter = if answered { &self.done } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        if answered && now >= self.from && now < self.until {
            let took = u64::try_from((now - started).as_micros()).unwrap_or(u64::MAX);
            // It grows as it must.
            micros.record(took).ok();
        }
    }
}

impl Load {
    /// Unary puts of new records. Each `run` on the same store has a name of its own.
    pub(crate) async fn put(
        &self,
        caller: &Caller,
        in_flight: usize,
        target: Target,
        run: &str,
    ) -> Result<Measured> {
        let (load, own, run) = (*self, caller.clone(), Arc::<str>::from(run));
        self.unary(connections(caller).await?, in_flight, move |mut client: Client, n| {
            let put = load.request(n, &run).map(|put| own.request(put));
            async move {
                let answer = client.put(put?).await?.into_inner();
                ensure!(
                    target == Target::Bare || answer.receipt.is_some(),
                    "an answer without receipt"
                );
                Ok(())
            }
        })
        .await
    }

    /// Unary gets of the first `stored` records that a run of [`Load::put`] wrote.
    pub(crate) async fn get(
        &self,
        caller: &Caller,
        in_flight: usize,
        stored: u64,
        run: &str,
    ) -> Result<Measured> {
        let (bytes, own, run) = (self.body, caller.clone(), Arc::<str>::from(run));
        self.unary(connections(caller).await?, in_flight, move |mut client: Client, n| {
            let n = n % stored.max(1);
            let get = own.request(GetRecordRequest {
                subject: Some(subject(n, "eu-fra")),
                collection: "messages".to_owned(),
                key: format!("{run}-{n}"),
            });
            async move {
                let record = client.get(get).await?.into_inner();
                ensure!(record.body.len() == bytes, "another record than was put");
                Ok(())
            }
        })
        .await
    }

    /// Puts through one client of the SDK, which sends those that meet others on its lanes, and
    /// checks each receipt.
    pub(crate) async fn sdk_put(
        &self,
        url: &str,
        access: &Access,
        in_flight: usize,
        run: &str,
    ) -> Result<Measured> {
        let settings = Settings { deadline: CALL_MAX, attempts_max: 1, lanes: self.lanes };
        let client = client::Client::connect_with(url, settings, access.clone()).await?;
        let (load, run) = (*self, Arc::<str>::from(run));
        self.unary(vec![client.first_time()], in_flight, move |client: client::Client, n| {
            let put = load.request(n, &run);
            async move {
                let done = client.put(&put?).await?;
                ensure!(matches!(done.proof, Proof::Receipt(_)), "an answer without receipt");
                Ok(())
            }
        })
        .await
    }

    /// Unary puts through the SDK by a tenant that obeys the gateway: after a refusal it waits for
    /// as long as the gateway asks. Refused calls count as failed.
    pub(crate) async fn press(
        &self,
        url: &str,
        access: &Access,
        in_flight: usize,
        run: &'static str,
    ) -> Result<Measured> {
        let settings = Settings { deadline: CALL_MAX, attempts_max: 1, lanes: 0 };
        let connect = |_| client::Client::lazy_with(url, settings, access.clone());
        let clients = (0..CONNECTIONS).map(connect).collect::<Result<Vec<_>, _>>()?;
        let load = *self;
        self.unary(clients, in_flight, move |client: client::Client, n| async move {
            let answer = client.put(&load.request(n, run)?).await;
            if let Err(Error::Refused(refused)) = &answer {
                tokio::time::sleep(refused.retry_after.unwrap_or_default()).await;
            }
            Ok(answer.map(drop)?)
        })
        .await
    }

    async fn unary<C, F, R>(&self, clients: Vec<C>, in_flight: usize, call: F) -> Result<Measured>
    where
        C: Clone + Send + 'static,
        F: Fn(C, u64) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        let tally = Arc::new(Tally::new(self.seconds));
        let mut tasks = JoinSet::new();
        for client in clients.iter().cycle().take(in_flight) {
            let (client, tally, call) = (client.clone(), Arc::clone(&tally), call.clone());
            tasks.spawn(async move {
                let mut micros = Histogram::<u64>::new(3)?;
                while Instant::now() < tally.until {
                    let n = tally.next.fetch_add(1, Ordering::Relaxed);
                    let started = Instant::now();
                    let answer = timeout_at(started + CALL_MAX, call(client.clone(), n)).await;
                    tally.record(started, matches!(answer, Ok(Ok(()))), &mut micros);
                }
                anyhow::Ok(micros)
            });
        }
        let mut all = Histogram::<u64>::new(3)?;
        while let Some(micros) = tasks.join_next().await {
            all.add(micros??)?;
        }
        Ok(tally.measured(&all))
    }

    /// Puts of new records on one stream, with the gateway's own flow control; `in_flight` bounds
    /// what this client sends ahead, at sixteen times the unary number.
    pub(crate) async fn stream(
        &self,
        caller: &Caller,
        in_flight: usize,
        target: Target,
        run: &str,
    ) -> Result<Measured> {
        let mut client = caller.connect().await?;
        let tally = Arc::new(Tally::new(self.seconds));
        let ahead = Arc::new(Semaphore::new(in_flight * 16));
        let (sender, receiver) = mpsc::channel(1024);
        let (load, sent, room) = (*self, Arc::clone(&tally), Arc::clone(&ahead));
        let run = run.to_owned();
        tokio::spawn(async move {
            while Instant::now() < sent.until {
                let Ok(permit) = room.acquire().await else { return };
                permit.forget();
                let n = sent.next.fetch_add(1, Ordering::Relaxed);
                let Ok(put) = load.request(n, &run) else { return };
                let write = Some(stream_put_request::Write::Put(put));
                if sender.send(StreamPutRequest { write, timeout: None }).await.is_err() {
                    return;
                }
            }
        });
        let mut answers =
            client.stream_put(caller.request(ReceiverStream::new(receiver))).await?.into_inner();
        let mut micros = Histogram::<u64>::new(3)?;
        while let Some(answer) = answers.message().await? {
            ahead.add_permits(1);
            let done = match answer.outcome {
                Some(stream_put_response::Outcome::Done(done)) => {
                    target == Target::Bare || done.receipt.is_some()
                }
                Some(_) | None => false,
            };
            // Latency is not measured on a stream: only what comes out of it.
            tally.record(Instant::now(), done, &mut micros);
        }
        Ok(tally.measured(&micros))
    }

    /// The `n`th put: with evidence, so that it is ruled and placed in the gateway and again in
    /// the shard.
    fn request(&self, n: u64, run: &str) -> Result<PutRecordRequest> {
        let mut id = [0; 16];
        link::host::clock::SystemEntropy.fill(&mut id)?;
        let evidence = |kind: EvidenceKind, value: &str| Evidence {
            kind: kind.into(),
            value: value.to_owned(),
            observe_time: None,
        };
        Ok(PutRecordRequest {
            subject: Some(subject(n, "")),
            collection: "messages".to_owned(),
            key: format!("{run}-{n}"),
            body: vec![b'x'; self.body].into(),
            request_id: RequestId::from_bytes(id).to_string(),
            create_subject: true,
            evidence: vec![
                evidence(EvidenceKind::Residence, "DE"),
                evidence(EvidenceKind::Citizenship, "FR"),
            ],
            ..Default::default()
        })
    }
}

async fn connections(caller: &Caller) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(caller.connect().await?);
    }
    Ok(clients)
}

fn subject(n: u64, domicile: &str) -> SubjectRef {
    SubjectRef { id: format!("bench-{}", n % SUBJECTS), domicile: domicile.to_owned() }
}
