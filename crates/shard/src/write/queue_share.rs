//! How much of the committer's queue each session may fill, so that one gateway leaves the others
//! their part.
//!
//! A session may have an even part of the queue, in writes and in bytes: all of it while it is
//! alone. A write counts from before it is prepared until it is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use link::ops::metrics::Gauge;
use terms::limits;

/// Bytes of writes that may wait, whatever their number.
const QUEUE_BYTES_MAX: usize = 256 << 20;

/// What all sessions have in the queue.
#[derive(Clone)]
pub(crate) struct Usage(Arc<Sums>);

struct Sums {
    bytes: AtomicUsize,
    /// Open sessions.
    sessions: AtomicUsize,
    /// The same bytes, on the page of metrics.
    shown: Gauge,
}

/// What one session has in the queue. It counts as open until this is dropped.
pub(crate) struct Share {
    writes: AtomicUsize,
    bytes: AtomicUsize,
    of: Usage,
}

impl Usage {
    pub(crate) fn new(shown: Gauge) -> Self {
        let sums = Sums { bytes: AtomicUsize::new(0), sessions: AtomicUsize::new(0), shown };
        Self(Arc::new(sums))
    }

    /// The share of one more session.
    pub(crate) fn share(&self) -> Arc<Share> {
        self.0.sessions.fetch_add(1, Ordering::Relaxed);
        Arc::new(Share {
            writes: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            of: self.clone(),
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Room in the queue for one write, given back when it is dropped.
pub(crate) struct Room {
    bytes: usize,
    of: Arc<Share>,
}

impl Room {
    /// Room for a write of so many bytes. `None`: the queue is full, or the session's part of it.
    pub(crate) fn take(share: &Arc<Share>, bytes: usize) -> Option<Self> {
        let sums = &share.of.0;
        sums.shown.inc_by(i64::try_from(bytes).unwrap_or(i64::MAX));
        let all = sums.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let own = share.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let writes = share.writes.fetch_add(1, Ordering::Relaxed) + 1;
        let room = Self { bytes, of: Arc::clone(share) };
        let parts = sums.sessions.load(Ordering::Relaxed).max(1);
        // One write may always go, however small the part.
        let fair = writes == 1
            || (writes <= limits::COMMIT_QUEUE_MAX / parts && own <= QUEUE_BYTES_MAX / parts);
        (fair && all <= QUEUE_BYTES_MAX).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let sums = &self.of.of.0;
        sums.shown.dec_by(i64::try_from(self.bytes).unwrap_or(i64::MAX));
        sums.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.of.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.of.writes.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes room until there is none.
    fn fill(share: &Arc<Share>, bytes: usize) -> Vec<Room> {
        std::iter::from_fn(|| Room::take(share, bytes)).collect()
    }

    #[test]
    fn one_session_leaves_the_others_their_part() {
        let usage = Usage::new(Gauge::default());
        let (greedy, other) = (usage.share(), usage.share());
        for bytes in [512, 1 << 20] {
            let taken = fill(&greedy, bytes);
            assert_eq!(
                taken.len(),
                (limits::COMMIT_QUEUE_MAX / 2).min(QUEUE_BYTES_MAX / 2 / bytes)
            );
            let theirs = fill(&other, bytes);
            assert_eq!(theirs.len(), taken.len());
            let late = usage.share();
            drop(theirs);
            assert!(Room::take(&late, bytes).is_some());
        }
        drop(other);
        // Alone, it may have all of it, and one write larger than its part.
        assert_eq!(fill(&greedy, 512).len(), limits::COMMIT_QUEUE_MAX);
        let many: Vec<_> = (0..40).map(|_| usage.share()).collect();
        assert!(many.iter().take(12).all(|share| Room::take(share, 16 << 20).is_some()));
    }

    #[test]
    fn an_empty_queue_shows_no_bytes() {
        let shown = Gauge::default();
        let usage = Usage::new(shown.clone());
        let share = usage.share();
        let held = fill(&share, 514);
        assert_eq!(shown.get(), i64::try_from(514 * held.len()).unwrap());
        assert!(Room::take(&share, 514).is_none());
        drop(held);
        assert_eq!(shown.get(), 0);
    }
}
