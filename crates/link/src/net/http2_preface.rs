//! The beginning of a connection: HTTP/2's preface, which must come whole and in time. Nothing
//! above watches over it: the pings that find out who is still there only start after it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// Bytes with which every client must begin (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
/// Time in which they must be there.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is still to come of a preface, and until when.
#[derive(Debug)]
pub(super) struct Beginning {
    lacks: usize,
    timer: Pin<Box<Sleep>>,
}

impl Beginning {
    /// From now on.
    pub(super) fn new() -> Self {
        Self { lacks: PREFACE_BYTES, timer: Box::pin(sleep(PREFACE_TIMEOUT)) }
    }

    /// Takes note of bytes that came; gives what is still to come, if anything is.
    pub(super) fn after(mut self, bytes: usize) -> Option<Self> {
        self.lacks = self.lacks.saturating_sub(bytes);
        (self.lacks > 0).then_some(self)
    }

    /// Ready when it is too late.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(cx)
    }
}
