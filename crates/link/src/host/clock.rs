//! The system's clock and random numbers: the only home of both in the workspace.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

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

/// The random numbers of AWS-LC: a CTR-DRBG (NIST SP 800-90A) for each thread, which the operating
/// system seeds and seeds again, and which a fork does not repeat. A draw makes no system call.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyFailed> {
        aws_lc_rs::rand::fill(buffer).map_err(|_| EntropyFailed)
    }
}

/// When a file was last written. None when it cannot be told.
pub fn modified(path: &Path) -> Option<UnixMillis> {
    let modified = std::fs::metadata(path).and_then(|found| found.modified()).ok()?;
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
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
}
