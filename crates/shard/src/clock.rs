//! The time that a shard goes by. Laws and clauses are dated, and time never falls below the last
//! commit's, so one commit under a clock that ran ahead would rule by its date for ever. Therefore
//! a clock that jumps ahead is not believed until an operator confirms it.
//!
//! What is compared with: at a start, the last commit and the last time that a running shard noted
//! in a file beside the anchor; within a run, the time since the start by the monotonic clock.
//! `bailiwick shard confirm-clock` writes the present into that file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use terms::{Clock, UnixMillis};
use tokio::time::Instant;

use crate::store::directories;
use crate::{Error, Settings};

/// Milliseconds by which the clock may be ahead of the last known time at a start.
const START_AHEAD_MAX_MS: u64 = 24 * 3_600 * 1_000;
/// The same within a run.
const RUN_AHEAD_MAX_MS: u64 = 3_600 * 1_000;
/// Time between two looks for an operator's confirmation, and between two notes of the time.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const NOTE_EVERY: Duration = Duration::from_secs(60);

/// A clock whose jumps ahead are not believed. Not believed, it goes on from the last time that
/// was, at the pace of the monotonic clock.
pub(crate) struct GuardedClock {
    clock: Arc<dyn Clock>,
    /// The file with the last known time.
    file: PathBuf,
    state: Mutex<State>,
}

struct State {
    /// A time that was believed, and when it was.
    known: UnixMillis,
    at: Instant,
    /// Milliseconds by which the clock is ahead of what is believed; 0: it is believed.
    ahead_ms: u64,
    looked: Instant,
    noted: Instant,
}

impl State {
    /// The time by the monotonic clock.
    fn expected(&self, now: Instant) -> u64 {
        let passed = now.duration_since(self.at).as_millis();
        self.known.0.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

/// Where the last known time of a shard lies.
fn file(settings: &Settings) -> PathBuf {
    settings.checkpoint_path().with_extension("clock")
}

/// The time in the file; the epoch if there is none.
fn read(file: &Path) -> UnixMillis {
    let text = fs::read_to_string(file).unwrap_or_default();
    UnixMillis(text.trim().parse().unwrap_or(0))
}

fn write(file: &Path, time: UnixMillis) -> std::io::Result<()> {
    let new = file.with_extension("clock.new");
    fs::write(&new, format!("{}\n", time.0))?;
    fs::rename(&new, file)
}

impl GuardedClock {
    /// The clock below it, believed or not: for the pace of log lines alone.
    pub(crate) fn unguarded(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// The clock of a start after a last commit at `last`. A store that is `new` has no commit to
    /// compare with.
    pub(crate) fn start(
        clock: Arc<dyn Clock>,
        settings: &Settings,
        last: UnixMillis,
        new: bool,
    ) -> Self {
        Self::start_at(Instant::now(), clock, settings, last, new)
    }

    fn start_at(
        at: Instant,
        clock: Arc<dyn Clock>,
        settings: &Settings,
        last: UnixMillis,
        new: bool,
    ) -> Self {
        let file = file(settings);
        let (read, known) = (clock.now(), read(&file).max(last));
        let limit = known.0.saturating_add(START_AHEAD_MAX_MS);
        let believed = new || read.0 <= limit;
        let state = State {
            known: if believed { read } else { known },
            at,
            ahead_ms: if believed { 0 } else { read.0 - known.0 },
            looked: at,
            noted: at,
        };
        Self { clock, file, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time that is believed.
    pub(crate) fn now(&self) -> UnixMillis {
        self.now_at(Instant::now())
    }

    fn now_at(&self, now: Instant) -> UnixMillis {
        let read_now = self.clock.now();
        let mut state = self.lock();
        let expected = state.expected(now);
        // At a start, the clock must come back to where it was; within a run, near to it.
        if read_now.0 <= expected.saturating_add(RUN_AHEAD_MAX_MS) {
            state.ahead_ms = 0;
            return read_now;
        }
        if state.ahead_ms == 0 || now.duration_since(state.looked) >= LOOK_EVERY {
            state.looked = now;
            if read_now.0 <= read(&self.file).0.saturating_add(RUN_AHEAD_MAX_MS) {
                (state.known, state.at, state.ahead_ms) = (read_now, now, 0);
                return read_now;
            }
        }
        state.ahead_ms = read_now.0 - expected;
        UnixMillis(expected)
    }

    /// Milliseconds by which the clock is ahead of what is believed. `None`: it is believed.
    pub(crate) fn ahead(&self) -> Option<u64> {
        self.ahead_at(Instant::now())
    }

    fn ahead_at(&self, now: Instant) -> Option<u64> {
        self.now_at(now);
        Some(self.lock().ahead_ms).filter(|ahead| *ahead > 0)
    }

    /// Writes the time down now and then, for the next start. A note that fails is made later.
    pub(crate) fn note(&self) {
        self.note_at(Instant::now());
    }

    fn note_at(&self, now: Instant) {
        let time = self.now_at(now);
        let mut state = self.lock();
        if state.ahead_ms == 0 && now.duration_since(state.noted) >= NOTE_EVERY {
            state.noted = now;
            drop(state);
            write(&self.file, time.max(read(&self.file))).ok();
        }
    }
}

/// Writes down that the clock is right as it is: `bailiwick shard confirm-clock`. A running shard
/// takes it within a second. Returns the time that was confirmed.
///
/// # Errors
/// [`Error::Io`].
pub fn confirm_clock(settings: &Settings, clock: &dyn Clock) -> Result<UnixMillis, Error> {
    let (file, now) = (file(settings), clock.now());
    let io = |source| Error::Io { path: file.clone(), source };
    write(&file, now).map_err(io)?;
    fs::File::open(&file).and_then(|file| file.sync_all()).map_err(io)?;
    directories::sync_parent(&file)?;
    Ok(now)
}

/// By how much the clock is ahead of the last time that a shard noted or an operator confirmed, if
/// that is more than a start would believe without a commit that is newer. For `doctor`, which
/// cannot open the store of a running shard.
pub fn clock_ahead(settings: &Settings, clock: &dyn Clock) -> Option<Duration> {
    let known = Some(read(&file(settings))).filter(|known| known.0 > 0)?;
    let ahead = clock.now().0.saturating_sub(known.0);
    (ahead > START_AHEAD_MAX_MS).then(|| Duration::from_millis(ahead))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const DAY: u64 = 24 * 3_600 * 1_000;
    const HOUR: u64 = 3_600 * 1_000;
    const START: u64 = 1_780_000_000_000;

    struct Set(AtomicU64);
    impl Clock for Set {
        fn now(&self) -> UnixMillis {
            UnixMillis(self.0.load(Ordering::Relaxed))
        }
    }

    /// A guarded clock that was started at a moment, and the clock behind it.
    struct Watch {
        clock: Arc<Set>,
        guarded: GuardedClock,
        settings: Settings,
        at: Instant,
    }

    impl Watch {
        fn start(folder: &Path, last: u64, read: u64, new: bool) -> Self {
            let (clock, at) = (Arc::new(Set(AtomicU64::new(read))), Instant::now());
            let settings = crate::settings::tests::settings(folder);
            let given = Arc::clone(&clock) as Arc<dyn Clock>;
            let guarded = GuardedClock::start_at(at, given, &settings, UnixMillis(last), new);
            Self { clock, guarded, settings, at }
        }

        /// By how much it is ahead, and what time is believed, so long after the start by the
        /// monotonic clock.
        fn look(&self, after_ms: u64) -> (Option<u64>, u64) {
            let now = self.at + Duration::from_millis(after_ms);
            (self.guarded.ahead_at(now), self.guarded.now_at(now).0)
        }

        fn set(&self, ms: u64) {
            self.clock.0.store(ms, Ordering::Relaxed);
        }

        fn note(&self, after_ms: u64) {
            self.guarded.note_at(self.at + Duration::from_millis(after_ms));
        }
    }

    #[test]
    fn a_start_takes_a_day_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let start = |read, new| Watch::start(folder.path(), START, read, new);
        assert_eq!(start(START + DAY, false).look(0).0, None);
        assert_eq!(start(START - DAY, false).look(0).0, None);
        assert_eq!(start(START + 9_000 * DAY, true).look(0).0, None);
        let jumped = start(START + DAY + 1, false);
        assert_eq!(jumped.look(0), (Some(DAY + 1), START));
        // Not believed, time goes on all the same.
        assert_eq!(jumped.look(7_000).1, START + 7_000);
    }

    #[test]
    fn a_run_takes_an_hour_and_no_more_also_in_small_steps() {
        let folder = tempfile::tempdir().unwrap();
        let watch = Watch::start(folder.path(), START, START, false);
        for ms in [START + HOUR / 2, START + HOUR] {
            watch.set(ms);
            assert_eq!(watch.look(0), (None, ms));
        }
        watch.set(START + HOUR + 1);
        assert_eq!(watch.look(0), (Some(HOUR + 1), START));
        // Time that has passed is no jump.
        watch.set(START + 2 * DAY + 5);
        assert_eq!(watch.look(2 * DAY), (None, START + 2 * DAY + 5));
        // An operator confirms; what is confirmed is that time, and none far beyond it.
        watch.set(START + 30 * DAY);
        assert_eq!(watch.look(2 * DAY).0, Some(28 * DAY));
        confirm_clock(&watch.settings, &*watch.clock).unwrap();
        assert_eq!(watch.look(2 * DAY + 1_000), (None, START + 30 * DAY));
        watch.set(START + 60 * DAY);
        assert!(watch.look(2 * DAY + 1_000).0.is_some());
        // Set right again by itself.
        watch.set(START + 30 * DAY);
        assert_eq!(watch.look(2 * DAY + 1_000).0, None);
    }

    #[test]
    fn a_running_shard_notes_the_time_for_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let watch = Watch::start(folder.path(), START, START, false);
        let later = START + 20 * DAY;
        watch.set(later);
        watch.note(20 * DAY);
        assert_eq!(clock_ahead(&watch.settings, &*watch.clock), None);
        let next = |read| Watch::start(folder.path(), START, read, false).look(0).0;
        assert_eq!(next(later + DAY), None);
        assert!(next(later + DAY + 1).is_some());
        // What is not believed is not noted.
        watch.set(later + 40 * DAY);
        watch.note(20 * DAY + 60_000);
        assert_eq!(read(&file(&watch.settings)), UnixMillis(later));
        assert!(clock_ahead(&watch.settings, &*watch.clock).is_some());
    }
}
