//! Which writes stand, entry by entry: a write that takes one away names it, and names it once.

use super::Place;

/// Bits of a word.
const WORD: u64 = 64;

/// A bit for each entry of each log of a shard: whether it is a write that nothing has superseded.
#[derive(Debug, Default)]
pub(crate) struct Live(Vec<Vec<u64>>);

// === impl Live ===

impl Live {
    /// The write at that place stands now.
    pub(crate) fn set(&mut self, (log, index): Place) {
        let Some((word, bit)) = split(index) else { return };
        if self.0.len() <= log {
            self.0.resize_with(log + 1, Vec::new);
        }
        let Some(words) = self.0.get_mut(log) else { return };
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        if let Some(own) = words.get_mut(word) {
            *own |= bit;
        }
    }

    /// Whether the write at that place stands.
    pub(crate) fn has(&self, (log, index): Place) -> bool {
        let own = || self.0.get(log)?.get(split(index)?.0);
        own().zip(split(index)).is_some_and(|(own, (_, bit))| own & bit != 0)
    }

    /// Takes a write away. Whether it stood.
    pub(crate) fn take(&mut self, (log, index): Place) -> bool {
        let Some((word, bit)) = split(index) else { return false };
        let Some(own) = self.0.get_mut(log).and_then(|words| words.get_mut(word)) else {
            return false;
        };
        let stood = *own & bit != 0;
        *own &= !bit;
        stood
    }

    /// Writes that stand in the logs before that one.
    pub(super) fn before(&self, log: usize) -> u64 {
        let words = self.0.iter().take(log).flatten();
        words.map(|word| u64::from(word.count_ones())).sum()
    }
}

fn split(index: u64) -> Option<(usize, u64)> {
    Some((usize::try_from(index / WORD).ok()?, 1 << (index % WORD)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_taken_away_once() {
        let mut live = Live::default();
        live.set((1, 200));
        live.set((0, 3));
        assert!(live.has((1, 200)) && live.has((0, 3)));
        assert!(!live.has((1, 201)) && !live.has((0, 200)) && !live.has((7, 0)));
        assert!(!live.take((0, 200)) && !live.take((7, 0)) && !live.take((1, u64::MAX)));
        assert_eq!((live.before(0), live.before(1), live.before(2)), (0, 1, 2));
        assert!(live.take((1, 200)) && !live.take((1, 200)));
        assert_eq!(live.before(2), 1);
    }
}
