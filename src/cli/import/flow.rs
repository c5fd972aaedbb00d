//! The stream of an import: sends lines as fast as they are taken, sends again what may pass, and
//! opens the stream anew when it breaks.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use client::{Answer, Answers, Client, Error, NotSent, Proof, Puts, Refused, api};
use terms::{Detail, Reason, Retry};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Exit, Failure, Line, Tally, away};

/// Lines that are sent and not yet answered: as many as a gateway takes.
const IN_FLIGHT_MAX: usize = terms::limits::STREAM_IN_FLIGHT_MAX;
/// Bytes of bodies that are sent and not yet answered, beside one.
const BYTES_IN_FLIGHT_MAX: usize = 32 << 20;
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

/// A stream, and what was sent on it, by its place.
struct Open {
    puts: Puts,
    answers: Answers,
    sent: HashMap<u64, Job>,
    next: u64,
}

/// One import under way.
pub(super) struct Flow<'a> {
    client: &'a Client,
    patience: Duration,
    tally: &'a mut Tally,
    /// To be sent at once.
    ready: VecDeque<Job>,
    /// To be sent again, by when; the number tells two of one moment apart.
    later: BTreeMap<(Instant, usize), Job>,
    bytes: usize,
    /// Since when streams break without an answer.
    broken_since: Option<Instant>,
}

impl<'a> Flow<'a> {
    pub(super) fn new(client: &'a Client, patience: Duration, tally: &'a mut Tally) -> Self {
        Self {
            client,
            patience,
            tally,
            ready: VecDeque::new(),
            later: BTreeMap::new(),
            bytes: 0,
            broken_since: None,
        }
    }

    /// Sends every line and waits for all answers.
    pub(super) async fn run(mut self, mut lines: Receiver<Line>) -> Result<(), Failure> {
        let mut more = true;
        let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
        let mut open = self.open().await?;
        loop {
            self.send(&mut open).await;
            let waiting = open.sent.len() + self.ready.len() + self.later.len();
            if !more && waiting == 0 {
                return Ok(());
            }
            let due = self.later.first_key_value().map(|((at, _), _)| *at);
            let room = open.sent.len() + self.ready.len() < IN_FLIGHT_MAX
                && self.bytes < BYTES_IN_FLIGHT_MAX
                && self.later.len() < IN_FLIGHT_MAX;
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
                _ = &mut interrupt => {
                    let text = "interrupted; the same command goes on where this one ended";
                    return Err(Failure::said(Exit::Interrupted, text));
                }
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
        self.bytes -= job.request.body.len();
        match refused.detail(Detail::Region) {
            // It names the region in which the record lies.
            Some(region) if known == Some(Reason::RecordExists) => self.tally.place(region),
            _ => {
                let ingress = refused.ingress().map(|address| format!("; its gateway: {address}"));
                let message = format!("{}{}", refused.message, ingress.unwrap_or_default());
                self.tally.refuse(job.number, &refused.reason, &message);
            }
        }
    }

    async fn open(&self) -> Result<Open, Failure> {
        let opened = self.client.stream_put(IN_FLIGHT_MAX).await;
        let (puts, answers) = opened.map_err(away)?;
        Ok(Open { puts, answers, sent: HashMap::new(), next: 0 })
    }

    /// Opens a new stream after one that ended, and takes what was not answered along: whether it
    /// was done or not, its request id settles it.
    async fn reopen(&mut self, open: &mut Open, why: Error) -> Result<(), Failure> {
        let until = *self.broken_since.get_or_insert_with(Instant::now) + self.patience;
        if Instant::now() >= until || why.refused().is_some_and(|refused| !refused.retryable) {
            return Err(away(why));
        }
        self.tally.note(&format!("the stream ended, and is opened again: {why}"));
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
