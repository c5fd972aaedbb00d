//! Which slots of a region are served, by what its shards say: a store knows what it owns, and an annex
//! states only the wish.

use terms::SlotSet;

/// What is known of the slots of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardSlots {
    /// Whether the shard is within reach.
    pub(crate) up: bool,
    /// Those that the annex gives it.
    pub(crate) wished: SlotSet,
    /// Those that it owns, as it last said. `None`: it has not.
    pub(crate) owned: Option<SlotSet>,
}

/// The slots of a region whose calls are refused now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unserved {
    /// No shard within reach serves them, or one does to which the annex does not give them, and the
    /// shard to which it gives them has not said what it owns.
    pub(crate) missing: SlotSet,
    /// Several shards say that they own them. Which of them has a subject is not known: none is asked.
    pub(crate) contested: SlotSet,
}

impl Unserved {
    /// By what is known of all shards of the region.
    pub(crate) fn of<'a>(shards: impl Iterator<Item = &'a ShardSlots>) -> Self {
        let (mut owned, mut contested, mut served) = (SlotSet::NONE, SlotSet::NONE, SlotSet::NONE);
        let mut unsaid = SlotSet::NONE;
        for shard in shards {
            if let Some(own) = &shard.owned {
                contested = contested.or(&owned.and(own));
                owned = owned.or(own);
            } else {
                unsaid = unsaid.or(&shard.wished);
            }
            if shard.up {
                served = served.or(shard.owned.as_ref().unwrap_or(&shard.wished));
            }
        }
        // One shard owns them, and the annex gives them to another that has not said what it owns.
        let unsure = unsaid.and(&owned);
        let missing = SlotSet::ALL.without(&served.without(&unsure)).without(&contested);
        Self { missing, contested }
    }

    /// Whether no call is refused.
    pub(crate) fn is_none(&self) -> bool {
        self.missing.is_empty() && self.contested.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use terms::Slot;

    use super::*;

    fn slots(range: std::ops::Range<u16>) -> SlotSet {
        range.filter_map(Slot::new).collect()
    }

    fn shard(up: bool, wished: &SlotSet, owned: Option<&SlotSet>) -> ShardSlots {
        ShardSlots { up, wished: wished.clone(), owned: owned.cloned() }
    }

    #[test]
    fn a_region_serves_as_far_as_its_slots_do() {
        let (all, none) = (SlotSet::ALL, SlotSet::NONE);
        let (low, high) = (slots(0..512), slots(512..1024));
        for (shards, missing, contested) in [
            (vec![], &all, &none),
            (vec![shard(true, &all, Some(&all))], &none, &none),
            // It does not say: the annex does.
            (vec![shard(true, &low, None), shard(true, &high, None)], &none, &none),
            (vec![shard(true, &low, Some(&low)), shard(false, &high, None)], &high, &none),
            (vec![shard(true, &low, Some(&low)), shard(false, &high, Some(&high))], &high, &none),
            // The annex gives one of them what the store of the other has.
            (vec![shard(true, &low, Some(&all)), shard(true, &high, Some(&none))], &none, &none),
            (vec![shard(true, &low, Some(&all)), shard(false, &high, Some(&none))], &none, &none),
            (vec![shard(false, &low, Some(&all)), shard(true, &high, Some(&none))], &all, &none),
            // The shard of the annex has not said that it lacks them.
            (vec![shard(true, &low, Some(&all)), shard(false, &high, None)], &high, &none),
            (vec![shard(true, &low, Some(&all)), shard(true, &high, None)], &high, &none),
            // Both stores have it, whichever of them is within reach.
            (vec![shard(true, &low, Some(&all)), shard(true, &high, Some(&high))], &none, &high),
            (vec![shard(true, &low, Some(&low)), shard(false, &high, Some(&all))], &high, &low),
            (vec![shard(false, &all, Some(&all)), shard(false, &high, Some(&all))], &none, &all),
        ] {
            let unserved = Unserved::of(shards.iter());
            assert_eq!(
                (&unserved.missing, &unserved.contested),
                (missing, contested),
                "{shards:?}"
            );
            let served = *missing == none && *contested == none;
            assert_eq!(unserved.is_none(), served);
        }
    }
}
