//! How many lines of the log a fault that goes on for long makes. Alone in its file: whatever the
//! process logs is seen.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "suite/support/mod.rs"]
mod support;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use support::{Place, SetClock, put_ru};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const START: u64 = 1_780_000_000_000;
/// Lines of one kind in one second.
const LINES_MAX: usize = 10;

/// A line: its message, and how many it says were left out before it.
#[derive(Debug, Default, Clone)]
struct Line {
    message: String,
    unsaid: Option<u64>,
}

impl Visit for Line {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "unsaid" {
            self.unsaid = Some(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}

/// Every line of the process.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Line>>>);

impl Lines {
    fn of(&self, message: &str) -> Vec<Line> {
        let all = self.0.lock().unwrap();
        all.iter().filter(|line| line.message.contains(message)).cloned().collect()
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("shard")
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.0.lock().unwrap().push(line);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Flips a bit in the last byte of each record's row, as a disk may.
fn spoil_records(place: &Place) -> usize {
    let options = engine::Options { cache_bytes: 16 << 20 };
    let store = engine::open(place.engine, &place.path("data"), options).unwrap();
    let limit = engine::ScanLimit { rows: usize::MAX, bytes: usize::MAX };
    let rows = store.scan(&engine::Span::prefix(&[0x10]), engine::Order::Ascending, limit);
    let mut batch = engine::Batch::new();
    for (key, mut row) in rows.unwrap().rows {
        // Behind the prefix, the slot and the subject's tag: a record's row.
        if key.get(19) == Some(&1) {
            *row.last_mut().unwrap() ^= 1;
            batch.put(key, row);
        }
    }
    let (spoilt, head) = (batch.len(), store.head().unwrap());
    store.commit(batch, head, head.size).unwrap();
    spoilt
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_for_long_is_few_lines_that_count_the_others() {
    const BEHIND: &str = "the clock is behind the last commit";
    const DAMAGED: &str = "a call failed";
    const CALLS: u64 = 60;
    let lines = Lines::default();
    tracing::subscriber::set_global_default(lines.clone()).unwrap();
    let clock = Arc::new(SetClock(AtomicU64::new(START)));
    let mut place = Place::in_files("ru-msk");
    place.clock = Arc::clone(&clock) as _;
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put_ru("anna", "k", b"x", 0)).await.unwrap();
    assert_eq!(lines.of(BEHIND).len(), 0);

    // A clock that was set back, and stands: each put is a commit of its own.
    clock.0.store(START - 10_000, Ordering::Relaxed);
    for n in 1..=CALLS {
        session.put(put_ru("anna", "k", b"x", n)).await.unwrap();
    }
    let said = lines.of(BEHIND);
    assert_eq!(said.len(), LINES_MAX, "{said:?}");
    assert!(said.iter().all(|line| line.unsaid == Some(0)), "{said:?}");
    // The first line of the next second says how many there were.
    clock.0.store(START - 9_000, Ordering::Relaxed);
    session.put(put_ru("anna", "k", b"x", CALLS + 1)).await.unwrap();
    let said = lines.of(BEHIND);
    assert!(said.last().is_some_and(|line| line.unsaid >= Some(CALLS - 10)), "{said:?}");
    assert_eq!(said.len(), LINES_MAX + 1);
    drop(session);
    shard.stop().await.unwrap();

    // A record that does not open, read again and again.
    clock.0.store(START + 1_000, Ordering::Relaxed);
    assert_eq!(spoil_records(&place), 1);
    let shard = place.start().await;
    let mut session = shard.session().await;
    for _ in 0..CALLS {
        let answer = session.get("anna", "profiles", "k").await;
        assert_eq!(answer.err().unwrap(), "STORED_DATA_DAMAGED");
    }
    let said = lines.of(DAMAGED);
    assert_eq!(said.len(), LINES_MAX, "{said:?}");
    drop(session);
    shard.stop().await.unwrap();
}
