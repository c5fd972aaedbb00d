//! One commit at a time, the head it moves, poison, and reads that see durable commits only.
//!
//! sled shows a batch to readers before it is durable. Here a reader whose keys are in the commit
//! in flight waits for its end; any other reader goes ahead, and reads again when a commit has
//! started meanwhile, so that what it returns is one moment. After a few rounds it holds the next
//! commit back instead.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::{Batch, Error, Head};

/// Rounds after which a reader makes the next commit wait for it.
const ROUNDS_MAX: usize = 3;

#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    head: Head,
    /// Commits ever started: tells a reader that one began while it read.
    started: u64,
    in_flight: Option<Arc<Batch>>,
    /// Readers that hold the next commit back.
    holding: usize,
    poisoned: bool,
}

impl Gate {
    pub(crate) fn new(head: Head) -> Self {
        let state = State { head, started: 0, in_flight: None, holding: 0, poisoned: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// The durable head.
    pub(crate) fn head(&self) -> Result<Head, Error> {
        self.lock().usable().map(|state| state.head)
    }

    /// Whether the engine may still answer.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.head().map(drop)
    }

    /// Runs `write` alone, if the head is `expected`, and then sets it to `next`. When nobody knows
    /// what `write` has done, the gate is poisoned; any other failure has changed nothing.
    pub(crate) fn commit(
        &self,
        batch: Batch,
        expected: Head,
        next: Head,
        write: impl FnOnce(&Arc<Batch>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let batch = Arc::new(batch);
        {
            let mut state = self.lock();
            while state.in_flight.is_some() || state.holding > 0 {
                state = self.wait(state);
            }
            if state.usable()?.head != expected {
                return Err(Error::HeadMoved { found: state.head });
            }
            state.started += 1;
            state.in_flight = Some(Arc::clone(&batch));
        }
        let outcome = write(&batch);
        let mut state = self.lock();
        state.in_flight = None;
        match outcome {
            Ok(()) => state.head = next,
            Err(Error::Unknown { .. } | Error::Poisoned) => state.poisoned = true,
            Err(_) => {}
        }
        drop(state);
        self.changed.notify_all();
        outcome
    }

    /// What `read` sees of durable commits, all from one moment. `touches` says whether a batch
    /// writes anything that `read` looks at; `read` may run several times.
    pub(crate) fn read<T>(
        &self,
        touches: impl Fn(&Batch) -> bool,
        read: impl Fn() -> Result<T, Error>,
    ) -> Result<T, Error> {
        for _ in 0..ROUNDS_MAX {
            let started = {
                let mut state = self.lock();
                while state.usable()?.in_flight.as_deref().is_some_and(&touches) {
                    state = self.wait(state);
                }
                state.started
            };
            let seen = read();
            if self.lock().usable()?.started == started {
                return seen;
            }
        }
        let mut state = self.lock();
        state.holding += 1;
        while state.in_flight.is_some() {
            state = self.wait(state);
        }
        let usable = state.usable().map(drop);
        drop(state);
        let seen = usable.and_then(|()| read());
        self.lock().holding -= 1;
        self.changed.notify_all();
        seen
    }
}

impl State {
    fn usable(&self) -> Result<&Self, Error> {
        if self.poisoned { Err(Error::Poisoned) } else { Ok(self) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    const ZERO: Head = Head { term: 1, size: 0 };
    const ONE: Head = Head { term: 1, size: 1 };

    fn batch() -> Batch {
        let mut batch = Batch::new();
        batch.put("a", "1");
        batch
    }

    #[test]
    fn a_reader_of_what_is_in_flight_waits_and_others_do_not() {
        let gate = Gate::new(ZERO);
        let (inside, entered) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let (done, finished) = mpsc::channel();
        thread::scope(|scope| {
            let gate = &gate;
            scope.spawn(move || {
                let outcome = gate.commit(batch(), ZERO, ONE, |_| {
                    inside.send(()).unwrap();
                    gone.recv().map_err(|_| Error::Poisoned)
                });
                assert_eq!(outcome, Ok(()));
            });
            entered.recv().unwrap();
            assert_eq!(gate.read(|b| b.touches_any(&[b"b"]), || Ok(7)), Ok(7));
            scope.spawn(move || {
                let seen = gate.read(|b| b.touches_any(&[b"a"]), || Ok(()));
                done.send(seen).unwrap();
            });
            assert!(finished.recv_timeout(Duration::from_millis(50)).is_err());
            assert_eq!(gate.head(), Ok(ZERO));
            go.send(()).unwrap();
            assert_eq!(finished.recv().unwrap(), Ok(()));
            assert_eq!(gate.head(), Ok(ONE));
        });
    }

    #[test]
    fn a_reader_that_always_meets_a_commit_gets_its_turn() {
        let gate = Gate::new(ZERO);
        let rounds = Mutex::new(0_u64);
        let seen = gate.read(
            |_| false,
            || {
                let mut round = rounds.lock().unwrap();
                *round += 1;
                let (from, to) = (*round - 1, *round);
                if to <= 3 {
                    // A commit comes between, in each of the first three rounds.
                    let head = |size| Head { term: 1, size };
                    gate.commit(batch(), head(from), head(to), |_| Ok(()))?;
                }
                Ok(to)
            },
        );
        assert_eq!(seen, Ok(4));
        assert_eq!(gate.lock().holding, 0);
    }

    #[test]
    fn a_failed_write_shuts_the_gate_for_readers_too() {
        let gate = Gate::new(ZERO);
        assert_eq!(
            gate.commit(batch(), ONE, ONE, |_| Ok(())),
            Err(Error::HeadMoved { found: ZERO })
        );
        assert_eq!(gate.check(), Ok(()));
        let full = || Error::TooLarge { what: "batch", bytes: 2, max: 1 };
        assert_eq!(gate.commit(batch(), ZERO, ONE, |_| Err(full())), Err(full()));
        assert_eq!((gate.check(), gate.head()), (Ok(()), Ok(ZERO)));
        let unknown = || Error::Unknown { cause: std::io::ErrorKind::Other };
        assert_eq!(gate.commit(batch(), ZERO, ONE, |_| Err(unknown())), Err(unknown()));
        assert_eq!(gate.check(), Err(Error::Poisoned));
        assert_eq!(gate.read(|_| false, || Ok(())), Err(Error::Poisoned));
        assert_eq!(gate.commit(batch(), ZERO, ONE, |_| Ok(())), Err(Error::Poisoned));
    }
}
