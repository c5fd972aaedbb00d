//! Time and chance as the operating system gives them, the only home of both in the workspace, and
//! the limits under which it lets us run.

use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use terms::{Clock, Entropy, EntropyFailed, UnixMillis};

/// The clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        #[expect(clippy::disallowed_methods, reason = "this is the clock that the others take")]
        let now = SystemTime::now();
        // A clock set before 1970 reads as 1970: time in a shard never falls below its last
        // commit's, so it does not go on from there.
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The random numbers of the operating system (`getrandom(2)`).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyFailed> {
        getrandom::fill(buffer).map_err(|_| EntropyFailed)
    }
}

/// When a file was last written. None when it cannot be told.
pub fn modified(path: &Path) -> Option<UnixMillis> {
    let modified = std::fs::metadata(path).and_then(|found| found.modified()).ok()?;
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}

/// The soft and the hard limit for open files and sockets. None is no limit.
pub fn file_limit() -> (Option<u64>, Option<u64>) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    (current, maximum)
}

/// Raises the limit for open files and sockets to the highest that this process may have, and
/// gives it; none is no limit. The soft one is small by custom (1,024), for programs that cannot
/// deal with more; a server meets it as connections that cannot be taken.
///
/// # Errors
/// What the operating system says; the limit stays as it was then.
pub fn raise_file_limit() -> io::Result<Option<u64>> {
    let (_, maximum) = file_limit();
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(getrlimit(Resource::Nofile).current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_of_this_century() {
        // 2026-01-01 and 2100-01-01.
        let now = SystemClock.now().0;
        assert!((1_767_225_600_000..4_102_444_800_000).contains(&now), "{now}");
    }

    #[test]
    fn two_draws_differ() {
        let (mut a, mut b) = ([0_u8; 32], [0_u8; 32]);
        SystemEntropy.fill(&mut a).unwrap();
        SystemEntropy.fill(&mut b).unwrap();
        assert_ne!(a, b);
    }

    #[test]
    fn the_file_limit_is_raised_to_the_highest() {
        let (before, most) = file_limit();
        assert_eq!(raise_file_limit().unwrap(), most);
        assert_eq!(file_limit(), (most, most));
        assert!(before.is_none() || most.is_none_or(|most| before <= Some(most)));
    }
}
