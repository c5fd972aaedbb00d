//! The stream of an import: sends lines as fast as the gateway accepts them, retries what may
//! succeed, and reopens a broken stream.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use client::{Answer, Answers, Error, NotSent, Proof, Puts, Refused, api};
use terms::{Detail, Reason, Retry};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::commands::import::{Exit, Failure, Line, Tally, Target, away};

/// Lines that are sent and not yet answered: as many as a gateway takes.
const IN_FLIGHT_MAX: usize = terms::limits::STREAM_IN_FLIGHT_MAX;
/// Bytes of bodies that are sent and not yet answered, beside one.
const BYTES_IN_FLIGHT_MAX: usize = 32 << 20;
/// Records that are read at once, to be compared with lines.
const READS_MAX: usize = 32;
/// The wait before a line is sent again; each further one is twice as long.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A line that is not answered yet.
struct Job {
    number: usize,
    request: api::PutRecordRequest,
    /// When it was first sent.
    since: Option<Instant>,
    backoff: Duration,
}

/// A line whose record was there already, its region, and what was read of it.
type Found = (Job, String, Result<api::Record, Error>);

/// A stream, and what was sent on it, by its place.
struct Open {
    puts: Puts,
    answers: Answers,
    sent: HashMap<u64, Job>,
    next: u64,
}

/// One import under way.
pub(super) struct Flow<'a> {
    gateway: Target<'a>,
    patience: Duration,
    tally: &'a mut Tally,
    /// To be sent at once.
    ready: VecDeque<Job>,
    /// To be sent again, by when; the number tells two of one moment apart.
    later: BTreeMap<(Instant, usize), Job>,
    bytes: usize,
    /// Records that are being read.
    reads: JoinSet<Found>,
    reads_at_once: Arc<Semaphore>,
    /// Since when streams break without an answer.
    broken_since: Option<Instant>,
}

impl<'a> Flow<'a> {
    pub(super) fn new(gateway: Target<'a>, patience: Duration, tally: &'a mut Tally) -> Self {
        Self {
            gateway,
            patience,
            tally,
            ready: VecDeque::new(),
            later: BTreeMap::new(),
            bytes: 0,
            reads: JoinSet::new(),
            reads_at_once: Arc::new(Semaphore::new(READS_MAX)),
            broken_since: None,
        }
    }

    /// Sends every line and waits for all answers.
    pub(super) async fn run(mut self, mut lines: Receiver<Line>) -> Result<(), Failure> {
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
                line = lines.recv(), if more && room => match line {
                    Some(line) => self.take(line),
                    None => more = false,
                },
                () = until(due) => self.wake(),
                found = self.reads.join_next(), if !self.reads.is_empty() => match found {
                    Some(Ok(found)) => self.compare(found),
                    Some(Err(_)) | None => {
                        return Err(Failure::said(Exit::Failed, "a record was not read"));
                    }
                },
            }
        }
    }

    fn take(&mut self, Line { number, request }: Line) {
        match request {
            Ok(request) => {
                self.bytes += request.body.len();
                self.ready.push_back(Job { number, request, since: None, backoff: BACKOFF_MIN });
            }
            Err(fault) => self.tally.refuse(number, fault.reason.as_str(), &fault.message()),
        }
    }

    /// Sends what is ready. There is room for all that may be in flight, so this does not wait.
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
                    self.tally.refuse(job.number, reason, &why.to_string());
                }
                // What it ended with comes with the answers.
                Err(NotSent::Ended) => return self.ready.push_front(job),
            }
        }
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
                self.tally.place(done.subject.as_ref().map_or("", |s| s.domicile.as_str()));
                if done.proof == Proof::Unproven {
                    self.tally.unproven();
                }
            }
            Err(error) => match error.refused() {
                Some(refused) => self.refused(job, refused),
                None => {
                    self.bytes -= job.request.body.len();
                    self.tally.refuse(job.number, "UNPROVEN", &error.to_string());
                }
            },
        }
    }

    fn refused(&mut self, mut job: Job, refused: &Refused) {
        let known = refused.known();
        let passes =
            refused.retryable || known.is_some_and(|why| why.retry() == Retry::SameRequestId);
        let now = Instant::now();
        let tried = job.since.map_or(Duration::ZERO, |since| now - since);
        if passes && tried < self.patience {
            let wait = refused.retry_after.unwrap_or_default().max(job.backoff);
            job.backoff = (job.backoff * 2).min(BACKOFF_MAX);
            self.later.insert((now + wait, job.number), job);
            return;
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
        self.tally.refuse(job.number, &refused.reason, &message);
    }

    /// Reads the record that is there: an earlier run may have put it, or somebody else.
    fn read(&mut self, job: Job, region: String) {
        let (client, at_once) = (self.gateway.client.clone(), Arc::clone(&self.reads_at_once));
        let id = job.request.subject.as_ref().map(|subject| subject.id.clone());
        let get = api::GetRecordRequest {
            subject: id.map(|id| api::SubjectRef { id, domicile: region.clone() }),
            collection: job.request.collection.clone(),
            key: job.request.key.clone(),
        };
        self.reads.spawn(async move {
            // It is never closed.
            let _turn = at_once.acquire().await;
            let record = client.get(&get).await;
            (job, region, record)
        });
    }

    /// A record that is there is the line's if it has the line's content.
    fn compare(&mut self, (job, region, found): Found) {
        self.bytes -= job.request.body.len();
        let problem = match found {
            Ok(record) if record.body == job.request.body => return self.tally.place(&region),
            Ok(_) => format!("a record with other content exists in {region} and is not changed"),
            Err(error) => {
                format!(
                    "a record exists in {region} and cannot be compared with the line ({error})"
                )
            }
        };
        self.tally.refuse(job.number, Reason::RecordExists.as_str(), &problem);
    }

    async fn open(&self) -> Result<Open, Failure> {
        let opened = self.gateway.client.stream_put(IN_FLIGHT_MAX).await;
        let (puts, answers) = opened.map_err(|error| away(self.gateway.url, &error))?;
        Ok(Open { puts, answers, sent: HashMap::new(), next: 0 })
    }

    /// Opens a new stream after one that ended, and takes what was not answered along: whether it
    /// was done or not, its request id settles it.
    async fn reopen(&mut self, open: &mut Open, why: Error) -> Result<(), Failure> {
        let until = *self.broken_since.get_or_insert_with(Instant::now) + self.patience;
        if Instant::now() >= until || why.refused().is_some_and(|refused| !refused.retryable) {
            return Err(away(self.gateway.url, &why));
        }
        self.tally.note(&format!("the stream ended and is reopened: {why}"));
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
                Err(failure) if Instant::now() >= until => return Err(failure),
                Err(_) => {}
            }
        }
    }
}

/// Done at that moment; never, if there is none.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
