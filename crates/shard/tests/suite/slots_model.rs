//! A model of the confirmation of slots (crate stateright): every order in which the shards of one region
//! are made, lost, made again, backed up, restored and started again, ask one another for one slot, and
//! serve it. `relocate/confirm_slots.rs` has what it models, written by hand. Each may be made with the
//! slot: operators err. A shard reads the annex when it starts, and annexes name every shard but those that
//! are lost and were taken out.

use std::collections::BTreeSet;

use stateright::{Checker as _, HasDiscoveries, Model, Property};

/// How often one shard is made, where shards are lost.
const MADE_MAX: u8 = 2;
/// How often one shard is restored.
const RESTORED_MAX: u8 = 1;

const ONE: &str = "no two shards serve the slot";
const SERVED: &str = "a shard serves the slot while the others are there";
const REPLACED: &str = "a shard serves the slot in the place of one that was lost";
const NEITHER: &str = "two shards that were made with the slot wait";

/// What a shard does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// A store that was made is served at once.
    MadeIsServed,
    /// A store that was restored is served as it was.
    RestoredIsServed,
    /// A shard that is asked names only what it serves.
    UnconfirmedIsNotSaid,
    /// The answer of one other shard is enough.
    OneAnswerCounts,
}

struct Region {
    shards: usize,
    /// Stores are lost, made again and restored.
    losses: bool,
    flaw: Option<Flaw>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Shard {
    /// None: it was not made, or is lost.
    store: Option<Store>,
    backup: Option<Store>,
    made: u8,
    restored: u8,
    /// It was lost, and the annexes name it no more.
    removed: bool,
    /// The others by the annex of its start, that have not said that they lack the slot: bits.
    waits_for: u8,
    /// How many have said so since.
    answers: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Store {
    /// It has the ownership row.
    row: bool,
    served: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is made, with the slot or without.
    Make(usize, bool),
    Lose(usize),
    /// The annexes name a lost shard no more.
    Remove(usize),
    Backup(usize),
    Restore(usize),
    Restart(usize),
    /// The first asks the second.
    Ask(usize, usize),
    /// The answers that it has are committed.
    Confirm(usize),
}

impl Region {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }
}

/// A shard starts: it knows nothing, and asks those that the annex names now.
fn start(shards: &mut [Shard], of: usize) -> Option<()> {
    let named = |(other, shard): (usize, &Shard)| {
        let asked = other != of && !shard.removed;
        u8::from(asked) << other
    };
    let waits_for: u8 = shards.iter().enumerate().map(named).sum();
    let shard = shards.get_mut(of)?;
    (shard.waits_for, shard.answers) = (waits_for, 0);
    Some(())
}

impl Model for Region {
    type State = Vec<Shard>;
    type Action = Step;

    fn init_states(&self) -> Vec<Vec<Shard>> {
        vec![vec![Shard::default(); self.shards]]
    }

    fn actions(&self, _: &Vec<Shard>, steps: &mut Vec<Step>) {
        for shard in 0..self.shards {
            steps.extend([Step::Make(shard, true), Step::Make(shard, false)]);
            steps.extend([Step::Restart(shard), Step::Confirm(shard)]);
            if self.losses {
                steps.extend([Step::Lose(shard), Step::Remove(shard)]);
                steps.extend([Step::Backup(shard), Step::Restore(shard)]);
            }
            let others = (0..self.shards).filter(|other| *other != shard);
            steps.extend(others.map(|other| Step::Ask(shard, other)));
        }
    }

    #[expect(clippy::too_many_lines, reason = "one case after another")]
    fn next_state(&self, before: &Vec<Shard>, step: Step) -> Option<Vec<Shard>> {
        let mut after = before.clone();
        match step {
            Step::Make(of, row) => {
                let shard = after.get_mut(of)?;
                if shard.store.is_some() || shard.made == MADE_MAX {
                    return None;
                }
                let served = row && self.has(Flaw::MadeIsServed);
                shard.store = Some(Store { row, served });
                shard.made += 1;
                shard.removed = false;
                start(&mut after, of)?;
            }
            Step::Lose(of) => {
                let shard = after.get_mut(of)?;
                shard.store.take()?;
                (shard.waits_for, shard.answers) = (0, 0);
            }
            Step::Remove(of) => {
                let shard = after.get_mut(of)?;
                if shard.store.is_some() || shard.made == 0 {
                    return None;
                }
                shard.removed = true;
            }
            Step::Backup(of) => {
                let shard = after.get_mut(of)?;
                shard.backup = Some(shard.store?);
            }
            Step::Restore(of) => {
                let shard = after.get_mut(of)?;
                if shard.store.is_some() || shard.restored == RESTORED_MAX {
                    return None;
                }
                let Store { row, served } = shard.backup?;
                let served = served && self.has(Flaw::RestoredIsServed);
                shard.store = Some(Store { row, served });
                shard.restored += 1;
                shard.removed = false;
                start(&mut after, of)?;
            }
            Step::Restart(of) => {
                before.get(of)?.store?;
                start(&mut after, of)?;
            }
            Step::Ask(of, other) => {
                let (own, there) = (before.get(of)?.store?, before.get(other)?.store?);
                let shard = after.get_mut(of)?;
                let bit = 1 << other;
                if !own.row || own.served || shard.waits_for & bit == 0 {
                    return None;
                }
                let said =
                    if self.has(Flaw::UnconfirmedIsNotSaid) { there.served } else { there.row };
                if !said {
                    shard.waits_for &= !bit;
                    shard.answers += 1;
                }
            }
            Step::Confirm(of) => {
                let shard = after.get_mut(of)?;
                let enough =
                    shard.waits_for == 0 || (self.has(Flaw::OneAnswerCounts) && shard.answers > 0);
                let store = shard.store.as_mut()?;
                if !store.row || !enough {
                    return None;
                }
                store.served = true;
            }
        }
        (after != *before).then_some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn serves(shard: &Shard) -> bool {
            shard.store.is_some_and(|store| store.served)
        }
        fn waits(shard: &Shard) -> bool {
            shard.store.is_some_and(|store| store.row && !store.served)
        }
        fn lost(shard: &Shard) -> bool {
            shard.removed && shard.backup.is_some_and(|backup| backup.served)
        }
        let mut all = vec![
            Property::always(ONE, |_, shards: &Vec<Shard>| {
                shards.iter().filter(|shard| serves(shard)).count() <= 1
            }),
            Property::sometimes(SERVED, |_, shards: &Vec<Shard>| {
                shards.iter().any(serves) && shards.iter().all(|shard| shard.store.is_some())
            }),
            Property::sometimes(NEITHER, |_, shards: &Vec<Shard>| {
                shards.iter().filter(|shard| waits(shard)).count() > 1
            }),
        ];
        if self.losses {
            all.push(Property::sometimes(REPLACED, |_, shards: &Vec<Shard>| {
                shards.iter().any(serves) && shards.iter().any(lost)
            }));
        }
        all
    }
}

#[test]
fn no_order_lets_two_shards_serve_one_slot() {
    for (shards, losses) in [(2, true), (3, false)] {
        let region = Region { shards, losses, flaw: None };
        let checker = region.checker().threads(2).spawn_bfs().join();
        checker.assert_properties();
        println!("{shards} shards: {} states", checker.unique_state_count());
    }
}

#[test]
fn whatever_is_done_wrong_is_found() {
    for (flaw, shards) in [
        (Flaw::MadeIsServed, 2),
        (Flaw::RestoredIsServed, 2),
        (Flaw::UnconfirmedIsNotSaid, 2),
        (Flaw::OneAnswerCounts, 3),
    ] {
        let region = Region { shards, losses: shards == 2, flaw: Some(flaw) };
        let until = HasDiscoveries::AnyOf(BTreeSet::from([ONE]));
        let checker = region.checker().finish_when(until).spawn_bfs().join();
        let path = checker.assert_any_discovery(ONE);
        println!("{flaw:?}: {:?}", path.into_actions());
    }
}
