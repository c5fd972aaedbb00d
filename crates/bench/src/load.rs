//! The load: calls of one kind, over a few connections, either as many in flight as are allowed
//! (closed loop) or at a fixed rate (open loop).
//!
//! In an open loop the time of a call begins when it was due, not when it was sent: a server that
//! stalls is charged with every call that waited for it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use client::{Access, Error, Proof, Settings};
use hdrhistogram::Histogram;
use terms::{Entropy as _, RequestId};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use wire::v1::{
    Evidence, EvidenceKind, GetRecordRequest, PutRecordRequest, StreamPutRequest, SubjectRef,
    stream_put_request, stream_put_response,
};

use crate::measured::{Measured, Tally};
use crate::sample::Sample;
use crate::secure::{Caller, Client};

/// Connections of the load generator, for the pair and for Bailiwick alike.
pub(crate) const CONNECTIONS: usize = 4;
/// Persons whose records these are: the first put of each creates the person.
const SUBJECTS: u64 = 10_000;
/// Longest time that a call is waited for.
const CALL_MAX: Duration = Duration::from_secs(20);

/// How long, and with what.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) seconds: Duration,
    /// Bytes of each body.
    pub(crate) body: usize,
    /// Calls a second of an open loop. None: a closed loop.
    pub(crate) rate: Option<u64>,
    /// Lanes of the SDK.
    pub(crate) lanes: usize,
    pub(crate) records: Records,
}

/// Whose records are written, and where they lie.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    pub(crate) collection: Arc<str>,
    /// The country of residence of every person.
    pub(crate) residence: Arc<str>,
    /// The region that the map gives them.
    pub(crate) region: Arc<str>,
    /// Before every name, so that runs against one deployment do not meet.
    pub(crate) prefix: Arc<str>,
}

/// What is measured: it says what an answer must look like to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Answers are empty.
    Bare,
    /// Answers have a version and a receipt.
    Bailiwick,
}

impl Load {
    /// Unary puts of new records. Each `run` on the same store has a name of its own. Some of the
    /// answers are kept in `sample`.
    pub(crate) async fn put(
        &self,
        caller: &Caller,
        in_flight: usize,
        target: Target,
        run: &str,
        sample: &Arc<Mutex<Sample>>,
    ) -> Result<Measured> {
        let own = self.putting(caller, target, run, sample);
        self.unary(connections(caller).await?, in_flight, move |client, n| own.put(client, n)).await
    }

    /// Puts of the first `stored` records of a run once more, with other request ids.
    pub(crate) async fn overwrite(
        &self,
        caller: &Caller,
        in_flight: usize,
        stored: u64,
        run: &str,
    ) -> Result<Measured> {
        let own = self.putting(caller, Target::Bailiwick, run, &Arc::default());
        let stored = stored.max(1);
        let clients = connections(caller).await?;
        self.unary(clients, in_flight, move |client, n| own.put(client, n % stored)).await
    }

    /// Unary gets of the first `stored` records that a run of [`Load::put`] wrote.
    pub(crate) async fn get(
        &self,
        caller: &Caller,
        in_flight: usize,
        stored: u64,
        run: &str,
    ) -> Result<Measured> {
        let own = self.getting(caller, stored, run);
        self.unary(connections(caller).await?, in_flight, move |client, n| own.get(client, n)).await
    }

    /// Nine gets of such records for each put of a new one, which is of the run `new`.
    pub(crate) async fn mixed(
        &self,
        caller: &Caller,
        in_flight: usize,
        stored: u64,
        run: &str,
        new: &str,
    ) -> Result<Measured> {
        let put = self.putting(caller, Target::Bailiwick, new, &Arc::default());
        let get = self.getting(caller, stored, run);
        self.unary(connections(caller).await?, in_flight, move |client, n| {
            let (put, get) = (put.clone(), get.clone());
            async move { if n % 10 == 0 { put.put(client, n).await } else { get.get(client, n).await } }
        })
        .await
    }

    fn putting(
        &self,
        caller: &Caller,
        target: Target,
        run: &str,
        sample: &Arc<Mutex<Sample>>,
    ) -> Arc<Putting> {
        let (load, caller) = (self.clone(), caller.clone());
        Arc::new(Putting { load, caller, target, run: run.to_owned(), sample: Arc::clone(sample) })
    }

    fn getting(&self, caller: &Caller, stored: u64, run: &str) -> Arc<Getting> {
        let (load, caller, stored) = (self.clone(), caller.clone(), stored.max(1));
        Arc::new(Getting { load, caller, run: run.to_owned(), stored })
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
        let (load, run) = (Arc::new(self.clone()), Arc::<str>::from(run));
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
        let load = Arc::new(self.clone());
        self.unary(clients, in_flight, move |client: client::Client, n| {
            let load = Arc::clone(&load);
            async move {
                let answer = client.put(&load.request(n, run)?).await;
                if let Err(Error::Refused(refused)) = &answer {
                    tokio::time::sleep(refused.retry_after.unwrap_or_default()).await;
                }
                Ok(answer.map(drop)?)
            }
        })
        .await
    }

    /// Calls one after another in each of `in_flight` tasks. In an open loop a task waits until its
    /// next call is due, and late ones are made at once.
    pub(crate) async fn unary<C, F, R>(
        &self,
        clients: Vec<C>,
        in_flight: usize,
        call: F,
    ) -> Result<Measured>
    where
        C: Clone + Send + 'static,
        F: Fn(C, u64) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        let tally = Arc::new(Tally::new(self.seconds));
        let (begun, rate) = (Instant::now(), self.rate);
        let mut tasks = JoinSet::new();
        for client in clients.iter().cycle().take(in_flight) {
            let (client, tally, call) = (client.clone(), Arc::clone(&tally), call.clone());
            tasks.spawn(async move {
                let mut micros = Histogram::<u64>::new(3)?;
                while Instant::now() < tally.until {
                    let n = tally.next.fetch_add(1, Ordering::Relaxed);
                    let due = match rate {
                        Some(rate) => begun + Duration::from_secs(n) / u32::try_from(rate)?,
                        None => Instant::now(),
                    };
                    if due >= tally.until {
                        break;
                    }
                    sleep_until(due).await;
                    let answer = timeout_at(due + CALL_MAX, call(client.clone(), n)).await;
                    if let Ok(Err(why)) = &answer {
                        tally.failed(why);
                    }
                    tally.record(due, matches!(answer, Ok(Ok(()))), &mut micros);
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
        let (load, sent, room) = (self.clone(), Arc::clone(&tally), Arc::clone(&ahead));
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
    pub(crate) fn request(&self, n: u64, run: &str) -> Result<PutRecordRequest> {
        let mut id = [0; 16];
        link::host::clock::SystemEntropy.fill(&mut id)?;
        let evidence = |kind: EvidenceKind, value: &str| Evidence {
            kind: kind.into(),
            value: value.to_owned(),
            observe_time: None,
        };
        Ok(PutRecordRequest {
            subject: Some(self.records.subject(n, "")),
            collection: self.records.collection.to_string(),
            key: format!("{run}-{n}"),
            body: self.body_of(n).into(),
            request_id: RequestId::from_bytes(id).to_string(),
            create_subject: true,
            evidence: vec![
                evidence(EvidenceKind::Residence, &self.records.residence),
                evidence(EvidenceKind::Citizenship, "FR"),
            ],
            ..Default::default()
        })
    }

    /// The read of the `n`th record of a run.
    pub(crate) fn read(&self, n: u64, run: &str) -> GetRecordRequest {
        GetRecordRequest {
            subject: Some(self.records.subject(n, &self.records.region)),
            collection: self.records.collection.to_string(),
            key: format!("{run}-{n}"),
            ..Default::default()
        }
    }

    /// The body of the `n`th record: it tells it from others.
    pub(crate) fn body_of(&self, n: u64) -> Vec<u8> {
        let mut body = vec![b'x'; self.body];
        body.iter_mut().zip(n.to_be_bytes()).for_each(|(byte, of_n)| *byte = of_n);
        body
    }
}

impl Records {
    fn subject(&self, n: u64, domicile: &str) -> SubjectRef {
        let id = format!("{}{}", self.prefix, n % SUBJECTS);
        SubjectRef { id, domicile: domicile.to_owned() }
    }
}

/// Puts of one run.
struct Putting {
    load: Load,
    caller: Caller,
    target: Target,
    run: String,
    sample: Arc<Mutex<Sample>>,
}

impl Putting {
    async fn call(&self, mut client: Client, n: u64) -> Result<()> {
        let put = self.load.request(n, &self.run)?;
        let kept = (self.target == Target::Bailiwick && Sample::takes(n)).then(|| put.clone());
        let answer = client.put(self.caller.request(put)).await?.into_inner();
        if self.target == Target::Bailiwick {
            ensure!(answer.receipt.is_some(), "an answer without receipt");
        }
        if let Some(put) = kept {
            self.sample.lock().unwrap_or_else(PoisonError::into_inner).keep(n, put, answer);
        }
        Ok(())
    }

    fn put(
        self: &Arc<Self>,
        client: Client,
        n: u64,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let own = Arc::clone(self);
        async move { own.call(client, n).await }
    }
}

/// Gets of records of one run.
struct Getting {
    load: Load,
    caller: Caller,
    run: String,
    stored: u64,
}

impl Getting {
    fn get(
        self: &Arc<Self>,
        mut client: Client,
        n: u64,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let own = Arc::clone(self);
        async move {
            let get = own.load.read(n % own.stored, &own.run);
            let record = client.get(own.caller.request(get)).await?.into_inner();
            ensure!(record.body.len() == own.load.body, "another record than was put");
            Ok(())
        }
    }
}

/// The connections over which the calls of a measurement go.
pub(crate) async fn connections(caller: &Caller) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(caller.connect().await?);
    }
    Ok(clients)
}
