//! A running count and sum over all rows of a store, by which rows that vanished show.
//!
//! sled skips a damaged record when it opens, and what stood in it, or behind it in the same
//! segment, is gone without a word. So every commit writes the tally of the rows it leaves beside
//! the head, and an opening counts again. The sum of each row's hash does not hang on the order.

/// Bytes of a tally as it is stored.
pub(crate) const TALLY_BYTES: usize = 16;

/// Two odd constants with many bits (from the golden ratio and from SplitMix64). Frozen.
const STIR: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9];

/// How many rows there are, and the sum of their hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    rows: u64,
    sum: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(hash(key, value));
    }

    pub(crate) fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(hash(key, value));
    }

    pub(crate) fn encode(self) -> [u8; TALLY_BYTES] {
        ((u128::from(self.rows) << 64) | u128::from(self.sum)).to_be_bytes()
    }

    pub(crate) fn decode(stored: [u8; TALLY_BYTES]) -> Self {
        let [rows, sum] = [0, 8].map(|from| {
            stored.iter().skip(from).take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        });
        Self { rows, sum }
    }
}

/// A hash that finds accidents, not forgers: it is not keyed. Frozen, as it is stored.
fn hash(key: &[u8], value: &[u8]) -> u64 {
    let [first, second] = STIR;
    let mut state = first;
    for part in [key, value] {
        let len = u64::try_from(part.len()).unwrap_or(u64::MAX);
        state = (state ^ len).wrapping_mul(second);
        let (words, rest) = part.as_chunks::<8>();
        for word in words {
            state = (state ^ u64::from_le_bytes(*word)).wrapping_mul(first);
            state ^= state >> 29;
        }
        for byte in rest {
            state = (state ^ u64::from(*byte)).wrapping_mul(second);
            state ^= state >> 31;
        }
    }
    state = (state ^ (state >> 30)).wrapping_mul(second);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_and_go_in_any_order() {
        let rows: Vec<_> = (0..100_u8).map(|n| ([n], vec![n; usize::from(n)])).collect();
        let mut there = Tally::default();
        rows.iter().for_each(|(key, value)| there.add(key, value));
        let mut back = Tally::default();
        rows.iter().rev().for_each(|(key, value)| back.add(key, value));
        assert_eq!(there, back);
        assert_eq!(Tally::decode(there.encode()), there);
        assert_eq!(there.rows, 100);
        rows.iter().for_each(|(key, value)| there.remove(key, value));
        assert_eq!(there, Tally::default());
    }

    #[test]
    fn every_bit_and_border_counts() {
        let value: Vec<u8> = (0..41).collect();
        let sound = hash(b"key", &value);
        for at in 0..value.len() {
            for bit in 0..8 {
                let mut other = value.clone();
                other[at] ^= 1 << bit;
                assert_ne!(hash(b"key", &other), sound);
            }
            assert_ne!(hash(b"key", &value[..at]), sound);
        }
        assert_ne!(hash(b"ab", b"c"), hash(b"a", b"bc"));
        assert_ne!(hash(b"", &[0; 8]), hash(b"", &[0; 16]));
        // Frozen, and computed by another program.
        assert_eq!(hash(b"key", b"the value"), 0x5897_78e2_7f94_5bba);
    }
}
