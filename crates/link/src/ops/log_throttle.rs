//! A limit on log lines of one kind, so that an attacker whose calls are refused a million times
//! fills no disk. Metrics count all of them.

use std::sync::Mutex;
use std::sync::PoisonError;

use terms::UnixMillis;

/// Lines that are logged in one second.
const LINES_PER_SECOND_MAX: u32 = 10;

/// Allows a few lines a second, and counts those it suppresses.
#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    second: u64,
    lines: u32,
    suppressed: u64,
}

impl LogThrottle {
    /// Whether one more line may be written: if so, how many were suppressed since the last one.
    pub fn allow(&self, now: UnixMillis) -> Option<u64> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now.0 / 1000;
        if window.second != second {
            (window.second, window.lines) = (second, 0);
        }
        if window.lines >= LINES_PER_SECOND_MAX {
            window.suppressed += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_logged_in_few_lines_and_counted() {
        let throttle = LogThrottle::default();
        let allow = |ms| throttle.allow(UnixMillis(ms));
        for _ in 0..LINES_PER_SECOND_MAX {
            assert_eq!(allow(5_000), Some(0));
        }
        for _ in 0..1000 {
            assert_eq!(allow(5_999), None);
        }
        assert_eq!(allow(6_000), Some(1000));
        assert_eq!(allow(6_001), Some(0));
    }
}
