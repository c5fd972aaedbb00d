//! Panics of the storage libraries, turned into errors without printing what they say.
//!
//! sled asserts on damaged files and formats keys and pages into the message. The message must
//! reach neither the log nor the terminal, so a hook in front of the process's own swallows it for
//! threads that are inside [`catch`] and for the libraries' own threads.

#![expect(clippy::disallowed_methods, reason = "sled's panics on damaged files are not logged")]

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::thread;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// A library panicked. What it said is lost on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Runs `work`; a panic in it is swallowed, and so is its message.
///
/// The caller must not go on with what `work` changed: poison the engine.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    install();
    let before = INSIDE.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    INSIDE.set(before);
    outcome.map_err(|payload| {
        // Dropping a payload may itself panic; ours are strings, and a leak is better than that.
        std::mem::forget(payload);
        Panicked
    })
}

fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !INSIDE.get() && !of_library() {
                before(info);
            }
        }));
    });
}

/// Whether this is a thread that a storage library started.
fn of_library() -> bool {
    thread::current()
        .name()
        .is_some_and(|name| name.starts_with("sled-io-") || name.starts_with("fjall:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_and_the_next_call_works() {
        assert_eq!(catch(|| -> u8 { panic!("secret") }), Err(Panicked));
        assert_eq!(catch(|| 7), Ok(7));
        assert!(!INSIDE.get());
    }
}
