//! The outside world as traits: what time it is, and chance. A test or a simulator owns both.

use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// Whole minutes since the epoch, rounded down: the only precision the placement log knows.
    pub const fn minute(self) -> u64 {
        self.0 / 60_000
    }

    /// Whole days since the epoch, rounded down (UTC).
    pub const fn day(self) -> u64 {
        self.0 / 86_400_000
    }
}

/// What time it is.
pub trait Clock: Send + Sync + 'static {
    /// The present. It may jump in either direction: whoever needs it to grow takes the maximum.
    fn now(&self) -> UnixMillis;
}

/// The operating system would not give random bytes.
#[derive(Debug, thiserror::Error)]
#[error("no randomness from the operating system")]
pub struct EntropyFailed;

/// Where random bytes come from.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `buffer` with unpredictable bytes.
    ///
    /// # Errors
    /// When there are none to be had. Nothing that needs them may go on.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyFailed>;
}

/// A wait between half of `longest` and all of it, drawn at random: callers that failed together
/// must not come back together. Without randomness it is all of it.
pub fn jittered(longest: Duration, entropy: &dyn Entropy) -> Duration {
    let mut byte = [u8::MAX];
    let share = match entropy.fill(&mut byte) {
        Ok(()) => u32::from(byte[0]),
        Err(EntropyFailed) => u32::from(u8::MAX),
    };
    let half = longest / 2;
    half + half * share / u32::from(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Always(Option<u8>);

    impl Entropy for Always {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyFailed> {
            buffer.fill(self.0.ok_or(EntropyFailed)?);
            Ok(())
        }
    }

    #[test]
    fn a_jittered_wait_lies_between_half_and_all() {
        let wait = |byte| jittered(Duration::from_secs(2), &Always(byte));
        assert_eq!(wait(Some(0)), Duration::from_secs(1));
        assert_eq!(wait(Some(255)), Duration::from_secs(2));
        assert_eq!(wait(None), Duration::from_secs(2));
        let middle = wait(Some(128));
        assert!(middle > Duration::from_millis(1_400) && middle < Duration::from_millis(1_600));
    }
}
