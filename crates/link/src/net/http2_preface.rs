//! HTTP/2's preface, which must come whole and in time. No layer above has a deadline for it: h2's
//! pings start after it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// Bytes with which every client must begin (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
/// Time in which they must be there.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is still missing of a preface, and its deadline.
#[derive(Debug)]
pub(super) struct Preface {
    lacks: usize,
    timer: Pin<Box<Sleep>>,
}

impl Preface {
    /// Starts the deadline.
    pub(super) fn new() -> Self {
        Self { lacks: PREFACE_BYTES, timer: Box::pin(sleep(PREFACE_TIMEOUT)) }
    }

    /// Counts bytes that came; `None` once the preface is complete.
    pub(super) fn after(mut self, bytes: usize) -> Option<Self> {
        self.lacks = self.lacks.saturating_sub(bytes);
        (self.lacks > 0).then_some(self)
    }

    /// Ready when the deadline has passed.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(cx)
    }
}
