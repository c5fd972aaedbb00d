//! How often refusals are told in the log: an attacker who is refused a million times fills no
//! disk. The counters count all of them.

use std::sync::Mutex;
use std::sync::PoisonError;

use terms::UnixMillis;

/// Lines that are logged in one second.
const LINES_PER_SECOND_MAX: u32 = 10;

/// The refusals of one kind that were told lately.
#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    second: u64,
    lines: u32,
    unsaid: u64,
}

impl LogThrottle {
    /// Whether one more refusal may be told; and if so, how many were not since the last.
    pub fn line(&self, now: UnixMillis) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now.0 / 1000;
        if told.second != second {
            (told.second, told.lines) = (second, 0);
        }
        if told.lines >= LINES_PER_SECOND_MAX {
            told.unsaid += 1;
            return None;
        }
        told.lines += 1;
        Some(std::mem::take(&mut told.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_in_few_lines_and_counted() {
        let refusals = LogThrottle::default();
        let told = |ms| refusals.line(UnixMillis(ms));
        for _ in 0..LINES_PER_SECOND_MAX {
            assert_eq!(told(5_000), Some(0));
        }
        for _ in 0..1000 {
            assert_eq!(told(5_999), None);
        }
        assert_eq!(told(6_000), Some(1000));
        assert_eq!(told(6_001), Some(0));
    }
}
