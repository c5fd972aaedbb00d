//! Samples drawn from a seed: the same seed draws the same sample.

/// A generator (SplitMix64). Only the shard must not predict it, and the shard does not know the seed
/// before the question.
#[derive(Debug)]
pub(crate) struct SplitMix64(u64);

// === impl SplitMix64 ===

impl SplitMix64 {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if that is 0. For what is drawn here, the bias is below one in
    /// 2^32.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        match self.next().checked_rem(bound) {
            Some(number) => number,
            None => 0,
        }
    }
}

/// The seed of one log, of a seed for many.
pub(crate) fn seed_of(origin: &str, seed: u64) -> u64 {
    let hash = ledger::hash::leaf_hash(&[&seed.to_be_bytes(), origin.as_bytes()].concat());
    let (first, _) = hash.0.as_chunks::<8>();
    first.first().map_or(seed, |first| u64::from_be_bytes(*first))
}

/// Up to `count` of what `items` gives, each as likely as any other, in their order.
pub(crate) fn sample<T>(items: impl Iterator<Item = T>, count: usize, seed: u64) -> Vec<T> {
    let mut generator = SplitMix64::new(seed);
    let mut kept: Vec<(u64, T)> = Vec::new();
    for (number, item) in (0_u64..).zip(items) {
        if kept.len() < count {
            kept.push((number, item));
            continue;
        }
        let place = usize::try_from(generator.below(number + 1)).ok();
        if let Some(place) = place.and_then(|place| kept.get_mut(place)) {
            *place = (number, item);
        }
    }
    kept.sort_by_key(|(number, _)| *number);
    kept.into_iter().map(|(_, item)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_one_sample_and_every_item_is_as_likely() {
        assert_eq!(sample(0..5, 9, 1), [0, 1, 2, 3, 4]);
        assert_eq!(sample(0..1000, 20, 7), sample(0..1000, 20, 7));
        assert_ne!(sample(0..1000, 20, 7), sample(0..1000, 20, 8));
        let mut drawn = [0_u32; 10];
        for seed in 0..1000 {
            sample(0..10_usize, 3, seed).into_iter().for_each(|item| drawn[item] += 1);
        }
        assert!(drawn.iter().all(|times| (240..360).contains(times)), "{drawn:?}");
    }
}
