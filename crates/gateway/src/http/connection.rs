//! One connection of callers, and what is known of it beyond single calls: whether it takes what is
//! sent, how many health calls are in progress, how often identification has failed.
//!
//! A connection that takes nothing for [`STALL_MAX`] is closed: neither a byte of what is written to
//! it, nor a part of the answers for it. The second is needed since HTTP/2 lets a peer refuse answers
//! while it takes everything else.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use link::net::listener::ConnectionInfo;
use terms::{Reason, Rejection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tonic::transport::server::Connected;

/// Time for which a connection may take nothing.
pub(crate) const STALL_MAX: Duration = Duration::from_secs(30);
/// How often this is checked.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// Calls of health and reflection in progress on one connection.
const HEALTH_CALLS_MAX: usize = 8;
/// Failed identifications, one after another, after which a connection is refused for [`REST`].
const FAILURES_MAX: u32 = 64;
/// Time for which it is refused.
pub(crate) const REST: Duration = Duration::from_secs(2);

/// What is known of a connection.
#[derive(Default)]
pub(crate) struct ClientConnection {
    unsent: Mutex<Unsent>,
    health_calls: AtomicUsize,
    failures: AtomicU32,
    rests_until: Mutex<Option<Instant>>,
}

/// The parts of answers that HTTP/2 has and has not sent.
#[derive(Default)]
struct Unsent {
    parts: usize,
    /// When there was none, or one was sent.
    progress: Option<Instant>,
}

/// A part of an answer that HTTP/2 has not sent yet. Dropped, it was sent or never will be.
pub(crate) struct UnsentPart(Arc<ClientConnection>);

/// One of the calls of health and reflection in progress.
pub(crate) struct HealthPermit(Arc<ClientConnection>);

// No code that can panic runs under these locks, so a poisoned one holds sound data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientConnection {
    /// HTTP/2 gets a part of an answer.
    pub(crate) fn begin_part(self: &Arc<Self>) -> UnsentPart {
        let mut unsent = lock(&self.unsent);
        if unsent.parts == 0 {
            unsent.progress = Some(Instant::now());
        }
        unsent.parts += 1;
        UnsentPart(Arc::clone(self))
    }

    fn takes_no_answers(&self) -> bool {
        let Unsent { parts, progress } = *lock(&self.unsent);
        parts > 0 && is_stalled(progress)
    }

    /// A call of health or reflection begins.
    ///
    /// # Errors
    /// `GATEWAY_BUSY` when too many are in progress.
    pub(crate) fn begin_health_call(self: &Arc<Self>) -> Result<HealthPermit, Rejection> {
        let more = |calls| (calls < HEALTH_CALLS_MAX).then_some(calls + 1);
        let taken = self.health_calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map_err(|_| Reason::GatewayBusy)?;
        Ok(HealthPermit(Arc::clone(self)))
    }

    /// An identification has failed.
    pub(crate) fn not_identified(&self) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_MAX {
            self.failures.store(0, Ordering::Relaxed);
            *lock(&self.rests_until) = Some(Instant::now() + REST);
        }
    }

    /// An identification has succeeded.
    pub(crate) fn identified(&self) {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Whether callers are not identified at present.
    pub(crate) fn rests(&self) -> bool {
        lock(&self.rests_until).is_some_and(|until| Instant::now() < until)
    }
}

impl Drop for UnsentPart {
    fn drop(&mut self) {
        let mut unsent = lock(&self.0.unsent);
        unsent.parts -= 1;
        unsent.progress = Some(Instant::now());
    }
}

impl Drop for HealthPermit {
    fn drop(&mut self) {
        self.0.health_calls.fetch_sub(1, Ordering::Relaxed);
    }
}

fn is_stalled(since: Option<Instant>) -> bool {
    since.is_some_and(|since| since.elapsed() > STALL_MAX)
}

/// What each request of a connection gets.
#[derive(Clone)]
pub(crate) struct CallerConnection {
    pub(crate) arrived: ConnectionInfo,
    pub(crate) connection: Arc<ClientConnection>,
}

/// A connection's bytes, which end when it takes nothing.
pub(crate) struct StallGuard<C> {
    inner: C,
    connection: Arc<ClientConnection>,
    checks: Interval,
    /// Since when it has taken nothing of what is written to it.
    blocked: Option<Instant>,
    closed: bool,
}

impl<C> StallGuard<C> {
    /// Needs a running runtime.
    pub(crate) fn new(inner: C) -> Self {
        let mut checks = interval_at(Instant::now() + CHECK_EVERY, CHECK_EVERY);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { inner, connection: Arc::default(), checks, blocked: None, closed: false }
    }

    /// Called whenever the connection is polled, which its timer makes sure of.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.checks.poll_tick(cx).is_ready() {
            let stalled = is_stalled(self.blocked) || self.connection.takes_no_answers();
            if stalled && !self.closed {
                self.closed = true;
                tracing::warn!("closing a caller's connection, which takes nothing");
            }
        }
        if self.closed { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    fn wrote<T>(&mut self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.blocked = None;
        } else {
            self.blocked.get_or_insert_with(Instant::now);
        }
        done
    }
}

impl<C: Connected<ConnectInfo = ConnectionInfo>> Connected for StallGuard<C> {
    type ConnectInfo = CallerConnection;

    fn connect_info(&self) -> CallerConnection {
        let (arrived, connection) = (self.inner.connect_info(), Arc::clone(&self.connection));
        CallerConnection { arrived, connection }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for StallGuard<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for StallGuard<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        let done = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.wrote(done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        let done = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.wrote(done)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let done = Pin::new(&mut self.inner).poll_flush(cx);
        self.wrote(done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
