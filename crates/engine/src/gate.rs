//! One commit at a time, the head it moves, and poison.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Error, Head};

#[derive(Debug)]
pub(crate) struct Gate {
    /// Held for the whole of a commit.
    writing: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    head: Head,
    poisoned: bool,
}

impl Gate {
    pub(crate) const fn new(head: Head) -> Self {
        Self { writing: Mutex::new(()), state: Mutex::new(State { head, poisoned: false }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The durable head.
    pub(crate) fn head(&self) -> Result<Head, Error> {
        let state = self.state();
        if state.poisoned { Err(Error::Poisoned) } else { Ok(state.head) }
    }

    /// Whether the engine may still answer.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.head().map(drop)
    }

    /// Runs `write` alone, if the head is `expected`, and then sets it to `next`. When it is not
    /// known what `write` has done, the gate is poisoned; any other failure has changed nothing.
    pub(crate) fn commit(
        &self,
        expected: Head,
        next: Head,
        write: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.head()?;
        if found != expected {
            return Err(Error::HeadMoved { found });
        }
        let outcome = write();
        let mut state = self.state();
        match outcome {
            Ok(()) => state.head = next,
            Err(Error::Unknown { .. } | Error::Poisoned) => state.poisoned = true,
            Err(_) => {}
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: Head = Head { term: 1, size: 0 };
    const ONE: Head = Head { term: 1, size: 1 };

    #[test]
    fn a_failed_write_shuts_the_gate_for_readers_too() {
        let gate = Gate::new(ZERO);
        assert_eq!(gate.commit(ONE, ONE, || Ok(())), Err(Error::HeadMoved { found: ZERO }));
        assert_eq!(gate.check(), Ok(()));
        let large = || Error::TooLarge { what: "batch", bytes: 2, max: 1 };
        assert_eq!(gate.commit(ZERO, ONE, || Err(large())), Err(large()));
        assert_eq!(gate.head(), Ok(ZERO));
        assert_eq!(gate.commit(ZERO, ONE, || Ok(())), Ok(()));
        assert_eq!(gate.head(), Ok(ONE));
        let unknown = || Error::Unknown { cause: std::io::ErrorKind::Other };
        assert_eq!(gate.commit(ONE, ONE, || Err(unknown())), Err(unknown()));
        assert_eq!(gate.check(), Err(Error::Poisoned));
        assert_eq!(gate.commit(ONE, ONE, || Ok(())), Err(Error::Poisoned));
    }
}
