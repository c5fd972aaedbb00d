//! One connection of callers, and what is known of it beyond single calls: whether what it is
//! sent is taken, how many looks at health are under way, how often identity has failed.
//!
//! Time is counted in ticks of [`TICK`], by the connection's own task: so nobody asks the clock
//! for each answer, and a caller who takes nothing is found although none of its calls is polled.
//!
//! A caller who does not read an answer for [`UNREAD_TICKS_MAX`] loses that answer (`delivery`).
//! HTTP/2 keeps a little of it, out of our reach: so a connection that has lost more than
//! [`GIVEN_UP_MAX`] and does not end their streams is closed, and so is one that does not take
//! a byte while there are some for it.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use link::net::listener::ConnectionInfo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tonic::transport::server::Connected;

use crate::http::response_body::Sending;

/// How often a connection looks after what it was sent.
pub(crate) const TICK: Duration = Duration::from_secs(2);
/// Ticks for which an answer, or a connection, may make no progress: 30 seconds.
pub(crate) const UNREAD_TICKS_MAX: u32 = 15;
/// Answers that a connection may have lost without ending their calls.
const GIVEN_UP_MAX: usize = 8;
/// Looks at health under way on one connection.
const CHECKS_MAX: usize = 8;
/// Failures to show an identity, one after another, after which none is looked at until the next
/// tick. Each costs us the verification of a signature.
const FAILURES_MAX: u32 = 64;

/// What is known of a connection.
#[derive(Default)]
pub(crate) struct Line {
    /// The present, in ticks.
    now: AtomicU32,
    answers: Mutex<Answers>,
    checks: AtomicUsize,
    failures: AtomicU32,
    closed: AtomicBool,
}

/// The answers that are on their way out, and some that were.
#[derive(Default)]
struct Answers {
    all: Vec<Weak<Sending>>,
    /// The number of them at which those that were are removed.
    tidy_at: usize,
}

impl Line {
    /// The present, in ticks.
    pub(crate) fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }

    /// Watches an answer until it has gone out.
    pub(crate) fn watch(&self, answer: &Arc<Sending>) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.all.len() >= answers.tidy_at {
            answers.all.retain(|answer| answer.strong_count() > 0);
            // So a removal looks at no more than twice as many as were added since the last.
            answers.tidy_at = (answers.all.len() * 2).max(32);
        }
        answers.all.push(Arc::downgrade(answer));
    }

    /// Some time has passed.
    pub(crate) fn tick(&self) {
        let now = self.now.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.failures.store(0, Ordering::Relaxed);
        let answers: Vec<_> = {
            let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.all.iter().filter_map(Weak::upgrade).collect()
        };
        let given_up = answers.iter().filter(|answer| answer.is_given_up(now)).count();
        if given_up > GIVEN_UP_MAX {
            self.close("answers were not read");
        }
    }

    fn close(&self, cause: &'static str) {
        if !self.closed.swap(true, Ordering::Relaxed) {
            tracing::warn!(cause, "a caller's connection is closed");
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// A look at health begins; how many are under way. None: too many.
    pub(crate) fn begin_check(&self) -> Option<usize> {
        let more = |checks| (checks < CHECKS_MAX).then_some(checks + 1);
        self.checks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()
    }

    pub(crate) fn end_check(&self) {
        self.checks.fetch_sub(1, Ordering::Relaxed);
    }

    /// Somebody has not shown to be who may call.
    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Somebody has.
    pub(crate) fn proved(&self) {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Whether no identity is looked at until the next tick.
    pub(crate) fn rests(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= FAILURES_MAX
    }
}

/// What stands beside every request of a connection.
#[derive(Clone)]
pub(crate) struct Beside {
    pub(crate) arrived: ConnectionInfo,
    pub(crate) line: Arc<Line>,
}

/// A connection with a watch on it.
pub(crate) struct Watched<C> {
    inner: C,
    line: Arc<Line>,
    ticks: Interval,
    /// Since when it has taken nothing of what there is for it.
    blocked: Option<u32>,
}

impl<C> Watched<C> {
    /// Needs a running runtime.
    pub(crate) fn new(inner: C) -> Self {
        let mut ticks = interval_at(Instant::now() + TICK, TICK);
        // A machine that slept must not find everybody too late.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { inner, line: Arc::default(), ticks, blocked: None }
    }

    /// Asked whenever the connection is: by its ticks, at least.
    fn look(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.ticks.poll_tick(cx).is_ready() {
            self.tick();
        }
        if self.line.is_closed() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    fn tick(&mut self) {
        self.line.tick();
        let since = |blocked| self.line.now().wrapping_sub(blocked);
        if self.blocked.is_some_and(|blocked| since(blocked) > UNREAD_TICKS_MAX) {
            self.line.close("nothing is taken");
        }
    }

    fn wrote<T>(&mut self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_pending() {
            let now = self.line.now();
            self.blocked.get_or_insert(now);
        } else {
            self.blocked = None;
        }
        done
    }
}

impl<C: Connected<ConnectInfo = ConnectionInfo>> Connected for Watched<C> {
    type ConnectInfo = Beside;

    fn connect_info(&self) -> Beside {
        Beside { arrived: self.inner.connect_info(), line: Arc::clone(&self.line) }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Watched<C> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.look(cx)?;
        Pin::new(&mut this.inner).poll_read(cx, buffer)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Watched<C> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.look(cx)?;
        let done = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.wrote(done)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.look(cx)?;
        let done = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        this.wrote(done)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.look(cx)?;
        let done = Pin::new(&mut this.inner).poll_flush(cx);
        this.wrote(done)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
