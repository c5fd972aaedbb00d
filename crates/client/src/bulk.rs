//! Many puts over one stream. They are sent as fast as the gateway takes them. What may succeed later
//! is sent again, and a stream that breaks is opened again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, mem};

use terms::{Detail, Reason, Rejection, Retry};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{Answer, Answers, Client, Error, NotSealed, NotSent, Proof, Puts, Refused, api};

/// Puts that are sent and not yet answered: as many as a gateway takes.
const IN_FLIGHT_MAX: usize = terms::limits::STREAM_IN_FLIGHT_MAX;
/// Bytes of bodies that are sent and not yet answered, beside one.
const BYTES_IN_FLIGHT_MAX: usize = 32 << 20;
/// Records that are read at once, to be compared with puts.
const READS_MAX: usize = 32;
/// The wait before a put is sent again; each further one is twice as long.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// One put of many.
#[derive(Clone)]
pub struct BulkPut {
    /// Its number, by which the caller knows it.
    pub number: usize,
    /// The put, with a `request_id` that stays the same when it is sent again; or why there is none,
    /// which is reported in its turn.
    pub request: Result<api::PutRecordRequest, Rejection>,
}

impl fmt::Debug for BulkPut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkPut").field("number", &self.number).finish_non_exhaustive()
    }
}

/// What became of a put, or of the stream.
#[derive(Debug)]
pub enum BulkEvent<'a> {
    /// The record is stored.
    Stored {
        /// The region that holds it.
        region: &'a str,
        /// Whether its receipt was checked. If not, an earlier run stored it, by the gateway's word.
        proven: bool,
        /// Whether it has created its subject while regions could not be asked for the id.
        unasked: bool,
    },
    /// The put was refused, and is not sent again.
    Refused {
        /// Its number.
        number: usize,
        /// The reason, as the API names it.
        reason: &'a str,
        /// The message.
        message: &'a str,
    },
    /// The stream ended with this error, and is opened again.
    Reopened(&'a Error),
}

impl Client {
    /// Puts everything that comes from `puts`, and reports each event. A record that exists with the
    /// same content counts as stored. A put, or the stream, is tried again for as long as `patience`.
    ///
    /// # Errors
    /// The stream cannot be opened, or not opened again.
    pub async fn put_all(
        &self,
        puts: Receiver<BulkPut>,
        patience: Duration,
        report: &mut (dyn FnMut(BulkEvent<'_>) + Send),
    ) -> Result<(), Error> {
        let flow = Flow {
            client: self,
            patience,
            report,
            ready: VecDeque::new(),
            later: BTreeMap::new(),
            bytes: 0,
            reads: JoinSet::new(),
            reads_at_once: Arc::new(Semaphore::new(READS_MAX)),
            broken_since: None,
        };
        flow.run(puts).await
    }
}

/// A put that is not answered yet.
struct Job {
    number: usize,
    request: api::PutRecordRequest,
    /// When it was first sent.
    since: Option<Instant>,
    backoff: Duration,
}

/// A put whose record exists already.
struct Existing {
    job: Job,
    region: String,
    /// The record, as it was read.
    record: Result<api::Record, Error>,
}

/// A stream, and what was sent on it, by its place.
struct Open {
    puts: Puts,
    answers: Answers,
    sent: HashMap<u64, Job>,
    next: u64,
}

/// The state of one call of [`Client::put_all`].
struct Flow<'a> {
    client: &'a Client,
    patience: Duration,
    report: &'a mut (dyn FnMut(BulkEvent<'_>) + Send),
    /// To be sent at once.
    ready: VecDeque<Job>,
    /// To be sent again, by when; the number tells two of one moment apart.
    later: BTreeMap<(Instant, usize), Job>,
    bytes: usize,
    /// Records that are being read.
    reads: JoinSet<Existing>,
    reads_at_once: Arc<Semaphore>,
    /// Since when streams break without an answer.
    broken_since: Option<Instant>,
}

impl Flow<'_> {
    /// Sends every put and waits for all answers.
    async fn run(mut self, mut puts: Receiver<BulkPut>) -> Result<(), Error> {
        let mut more = true;
        let mut open = self.open().await?;
        loop {
            self.send(&mut open).await;
            let waiting = open.sent.len() + self.ready.len() + self.later.len() + self.reads.len();
            if !more && waiting == 0 {
                return Ok(());
            }
            let due = self.later.first_key_value().map(|((at, _), _)| *at);
            let room = open.sent.len() + self.ready.len() < IN_FLIGHT_MAX
                && self.bytes < BYTES_IN_FLIGHT_MAX
                && self.later.len() + self.reads.len() < IN_FLIGHT_MAX;
            tokio::select! {
                answer = open.answers.next() => match answer {
                    Ok(Some(answer)) => self.answered(&mut open, answer),
                    Ok(None) => self.reopen(&mut open, Error::Broken).await?,
                    Err(error) => self.reopen(&mut open, error).await?,
                },
                put = puts.recv(), if more && room => match put {
                    Some(put) => self.take(put),
                    None => more = false,
                },
                () = until(due) => self.wake(),
                found = self.reads.join_next(), if !self.reads.is_empty() => match found {
                    Some(Ok(found)) => self.compare(found),
                    // It panicked: what was read is not known.
                    Some(Err(_)) | None => return Err(Error::Broken),
                },
            }
        }
    }

    fn take(&mut self, BulkPut { number, request }: BulkPut) {
        match request {
            Ok(request) => {
                self.bytes += request.body.len();
                self.ready.push_back(Job { number, request, since: None, backoff: BACKOFF_MIN });
            }
            Err(fault) => self.refuse(number, fault.reason.as_str(), &fault.message()),
        }
    }

    /// Sends what is ready. There is room for all that may be in flight, so this waits for nothing but
    /// the placements and keys that a client asks for that seals bodies.
    async fn send(&mut self, open: &mut Open) {
        while open.sent.len() < IN_FLIGHT_MAX
            && let Some(mut job) = self.ready.pop_front()
        {
            job.since.get_or_insert_with(Instant::now);
            match open.puts.send(job.request.clone()).await {
                Ok(()) => {
                    open.sent.insert(open.next, job);
                    open.next += 1;
                }
                Err(why @ NotSent::TooLarge) => {
                    self.bytes -= job.request.body.len();
                    let reason = Reason::BodyTooLarge.as_str();
                    self.refuse(job.number, reason, &why.to_string());
                }
                // None of them has a key now: they wait, as those do that a region refuses for now.
                Err(why @ NotSent::NotSealed(NotSealed::KeyUnavailable)) => {
                    self.ready.push_front(job);
                    for job in mem::take(&mut self.ready) {
                        let Some(job) = self.put_off(job, Duration::ZERO) else { continue };
                        self.bytes -= job.request.body.len();
                        self.refuse(job.number, "NOT_SEALED", &why.to_string());
                    }
                    return;
                }
                Err(why @ NotSent::NotSealed(_)) => {
                    self.bytes -= job.request.body.len();
                    self.refuse(job.number, "NOT_SEALED", &why.to_string());
                }
                // What it ended with comes with the answers.
                Err(NotSent::Ended) => return self.ready.push_front(job),
            }
        }
    }

    fn refuse(&mut self, number: usize, reason: &str, message: &str) {
        (self.report)(BulkEvent::Refused { number, reason, message });
    }

    /// Puts a job off, to be sent again, unless it has been tried for long enough: then it comes back.
    fn put_off(&mut self, mut job: Job, after: Duration) -> Option<Job> {
        let now = Instant::now();
        if now - *job.since.get_or_insert(now) >= self.patience {
            return Some(job);
        }
        let wait = after.max(job.backoff);
        job.backoff = (job.backoff * 2).min(BACKOFF_MAX);
        self.later.insert((now + wait, job.number), job);
        None
    }

    fn wake(&mut self) {
        let now = Instant::now();
        while let Some(first) = self.later.first_entry()
            && first.key().0 <= now
        {
            self.ready.push_back(first.remove());
        }
    }

    fn answered(&mut self, open: &mut Open, answer: Answer) {
        self.broken_since = None;
        // An answer to nothing that was sent: there is nothing to do about it.
        let Some(job) = open.sent.remove(&answer.index) else { return };
        match answer.outcome {
            Ok(done) => {
                self.bytes -= job.request.body.len();
                let region = done.subject.as_ref().map_or("", |s| s.domicile.as_str());
                let proven = done.proof != Proof::Unproven;
                let unasked = !done.unreachable.is_empty();
                (self.report)(BulkEvent::Stored { region, proven, unasked });
            }
            Err(error) => match error.refused() {
                Some(refused) => self.refused(job, refused),
                None => {
                    self.bytes -= job.request.body.len();
                    self.refuse(job.number, "UNPROVEN", &error.to_string());
                }
            },
        }
    }

    fn refused(&mut self, mut job: Job, refused: &Refused) {
        let known = refused.known();
        let passes =
            refused.retryable || known.is_some_and(|why| why.retry() == Retry::SameRequestId);
        // The client has forgotten the key: the row is sealed to the next one.
        if passes || known == Some(Reason::TransitKeyUnknown) {
            let after = refused.retry_after.unwrap_or_default();
            let Some(tried) = self.put_off(job, after) else { return };
            job = tried;
        }
        // It names the region in which the record lies.
        if let Some(region) = refused.detail(Detail::Region)
            && known == Some(Reason::RecordExists)
        {
            return self.read(job, region.to_owned());
        }
        self.bytes -= job.request.body.len();
        let ingress = refused.ingress().map(|address| format!("; its gateway: {address}"));
        let message = format!("{}{}", refused.message, ingress.unwrap_or_default());
        self.refuse(job.number, &refused.reason, &message);
    }

    /// Reads the record that exists: an earlier run may have stored it, or another caller.
    fn read(&mut self, job: Job, region: String) {
        let (client, at_once) = (self.client.clone(), Arc::clone(&self.reads_at_once));
        let id = job.request.subject.as_ref().map(|subject| subject.id.clone());
        let get = api::GetRecordRequest {
            subject: id.map(|id| api::SubjectRef { id, domicile: region.clone() }),
            collection: job.request.collection.clone(),
            key: job.request.key.clone(),
            purpose: "an import compares what is stored".to_owned(),
            ..Default::default()
        };
        self.reads.spawn(async move {
            // It is never closed.
            let _turn = at_once.acquire().await;
            let record = client.get(&get).await;
            Existing { job, region, record }
        });
    }

    /// A record that exists with the same content is stored.
    fn compare(&mut self, Existing { job, region, record }: Existing) {
        self.bytes -= job.request.body.len();
        let problem = match record {
            Ok(record) if is_same(&record, &job.request) => {
                let (region, proven, unasked) = (&region, true, false);
                return (self.report)(BulkEvent::Stored { region, proven, unasked });
            }
            Ok(_) => format!("a record with other content exists in {region} and is not changed"),
            Err(error) => {
                format!("a record exists in {region} and cannot be compared with the put ({error})")
            }
        };
        self.refuse(job.number, Reason::RecordExists.as_str(), &problem);
    }

    async fn open(&self) -> Result<Open, Error> {
        let (puts, answers) = self.client.stream_put(IN_FLIGHT_MAX).await?;
        Ok(Open { puts, answers, sent: HashMap::new(), next: 0 })
    }

    /// Opens a new stream after one that ended, and sends again what was not answered: the request id
    /// settles whether it was done.
    async fn reopen(&mut self, open: &mut Open, why: Error) -> Result<(), Error> {
        let until = *self.broken_since.get_or_insert_with(Instant::now) + self.patience;
        if Instant::now() >= until || why.refused().is_some_and(|refused| !refused.retryable) {
            return Err(why);
        }
        (self.report)(BulkEvent::Reopened(&why));
        let mut jobs: Vec<Job> = open.sent.drain().map(|(_, job)| job).collect();
        jobs.sort_by_key(|job| job.number);
        jobs.into_iter().rev().for_each(|job| self.ready.push_front(job));
        let mut backoff = BACKOFF_MIN;
        loop {
            sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
            match self.open().await {
                Ok(opened) => {
                    *open = opened;
                    return Ok(());
                }
                Err(error) if Instant::now() >= until => return Err(error),
                Err(_) => {}
            }
        }
    }
}

/// Whether a record has the content of a put.
fn is_same(record: &api::Record, put: &api::PutRecordRequest) -> bool {
    let mut sent = put.attributes.clone();
    sent.sort_by(|a, b| a.name.cmp(&b.name));
    record.body == put.body && record.attributes == sent
}

/// Done at that moment; never, if there is none.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
