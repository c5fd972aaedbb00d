//! The outside world as traits: what time it is, and chance. A test or a simulator owns both.

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
