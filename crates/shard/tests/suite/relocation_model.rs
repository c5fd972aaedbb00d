//! A model of a move between two regions (crate stateright): every order of its steps, with crashes of
//! the source, answers that get lost, steps that come late or twice, moves that are given up and ordered
//! again, a map that forbids and allows, a target that loses what had arrived, and writes on both sides.
//! `write/departures.rs`, `write/arrivals.rs` and `relocate/drive.rs` have what it models, written by hand.

use std::collections::BTreeSet;

use stateright::{Checker as _, HasDiscoveries, Model, Property};

/// Moves that are ordered, and writes.
const ORDERS_MAX: u8 = 2;
const WRITES_MAX: u8 = 2;
/// Messages in which a subject's records come.
const PARTS: u8 = 2;

const ONE_OWNER: &str = "at most one region takes writes";
const NOTHING_LOST: &str =
    "every acknowledged write is somewhere, in a region that serves it or will";
const NOTHING_LEFT: &str = "of a move whose drop was confirmed, nothing is in the other region";
const MOVED: &str = "a subject moves, and is written there";
const STAYED: &str = "a move is given up, and the subject written where it was";
const AGAIN: &str = "a subject moves after a move that was given up";

/// What a region does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// A subject that is copied is written.
    WrittenWhileCopied,
    /// The target serves the subject before the source has given it away.
    AdoptedEarly,
    /// A move is given up after the source has given the subject away.
    GivenUpLate,
    /// The target serves what has arrived without comparing it.
    AdoptedUnchecked,
    /// The target forgets which move was given up.
    DropForgotten,
    /// The target knows the last move alone that was given up.
    LastDropAlone,
}

struct Mover {
    flaw: Option<Flaw>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Live,
    /// The number of the move.
    Moving(u8),
    /// The number of the move, and the writes that it has committed to give away.
    Left(u8, u8),
    /// A tombstone is left.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Target {
    Nothing,
    Arriving { of: u8, parts: u8, writes: u8 },
    Live { of: u8, writes: u8 },
}

/// A step that the source asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Ask {
    Begin(u8),
    Rows {
        of: u8,
        after: u8,
        writes: u8,
    },
    Check(u8),
    /// With what the source has committed to give away.
    Adopt {
        of: u8,
        writes: u8,
    },
    Drop(u8),
}

/// What the source's driver knows of the step before, until it crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Known {
    Nothing,
    Staged(u8),
    /// The writes that the target has read back.
    Checked(u8),
    Adopted,
    Refused,
    Dropped,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    source: Source,
    target: Target,
    /// Writes that each has, and that were acknowledged.
    source_writes: u8,
    acknowledged: u8,
    orders: u8,
    /// The last move that was given up, and whether its drop was confirmed.
    given_up: Option<(u8, bool)>,
    /// The moves that the target was told to drop.
    dropped: BTreeSet<u8>,
    /// Everything that was ever sent: it may arrive at any time, and again.
    sent: BTreeSet<Ask>,
    /// The step whose answer the driver waits for.
    waits: Option<Ask>,
    known: Known,
    /// Whether the map places the subject at the target, and how often it may change.
    allowed: bool,
    changes: u8,
    restored: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Order,
    GiveUp,
    Write,
    WriteThere,
    /// The driver asks for its next step.
    Ask,
    /// A step arrives; its answer reaches the driver, if that waits for it, or is lost.
    Arrive(Ask, bool),
    /// The driver commits what follows from what it knows.
    Commit,
    /// The source crashes, or waits no longer.
    Crash,
    MapChanges,
    /// The target loses what had arrived, as by the restore of a backup.
    Lose,
}

impl State {
    /// The next step that the source asks for.
    fn next(&self) -> Option<Ask> {
        let writes = self.source_writes;
        let stage = |of, after| Ask::Rows { of, after, writes };
        match (self.source, self.known) {
            (Source::Moving(of) | Source::Left(of, _), Known::Nothing) => Some(Ask::Begin(of)),
            (Source::Moving(of) | Source::Left(of, _), Known::Staged(parts)) if parts < PARTS => {
                Some(stage(of, parts))
            }
            (Source::Moving(of), Known::Staged(_)) => Some(Ask::Check(of)),
            (Source::Left(of, writes), Known::Staged(_)) => Some(Ask::Adopt { of, writes }),
            (Source::Live, Known::Nothing) => match self.given_up {
                Some((of, false)) => Some(Ask::Drop(of)),
                _ => None,
            },
            _ => None,
        }
    }

    /// What the target does with a step, and answers.
    fn arrive(&mut self, ask: Ask, flaw: Option<Flaw>) -> Known {
        match (self.target, ask) {
            (Target::Live { of: own, .. }, Ask::Begin(of) | Ask::Adopt { of, .. }) if own == of => {
                Known::Adopted
            }
            (Target::Nothing, Ask::Begin(of)) if self.allowed && !self.dropped.contains(&of) => {
                self.target = Target::Arriving { of, parts: 0, writes: 0 };
                Known::Staged(0)
            }
            (Target::Arriving { of: own, parts, .. }, Ask::Begin(of)) if own == of => {
                Known::Staged(parts)
            }
            (Target::Arriving { of: own, parts, .. }, Ask::Rows { of, after, writes })
                if own == of =>
            {
                if after != parts || parts == PARTS {
                    return Known::Staged(parts);
                }
                if !self.allowed {
                    return Known::Refused;
                }
                self.target = Target::Arriving { of, parts: parts + 1, writes };
                Known::Staged(parts + 1)
            }
            (Target::Arriving { of: own, parts, writes }, Ask::Check(of)) if own == of => {
                if flaw == Some(Flaw::AdoptedEarly) {
                    self.target = Target::Live { of, writes };
                }
                if parts == PARTS { Known::Checked(writes) } else { Known::Staged(parts) }
            }
            (Target::Arriving { of: own, parts, writes: here }, Ask::Adopt { of, writes })
                if own == of =>
            {
                let whole = parts == PARTS && here == writes;
                if !whole && flaw != Some(Flaw::AdoptedUnchecked) {
                    return Known::Staged(parts);
                }
                self.target = Target::Live { of, writes: if parts == PARTS { here } else { 0 } };
                Known::Adopted
            }
            (target, Ask::Drop(of)) => {
                if matches!(target, Target::Arriving { of: own, .. } if own == of) {
                    self.target = Target::Nothing;
                }
                if flaw == Some(Flaw::LastDropAlone) {
                    self.dropped.clear();
                }
                if flaw != Some(Flaw::DropForgotten) {
                    self.dropped.insert(of);
                }
                Known::Dropped
            }
            _ => Known::Refused,
        }
    }

    /// Commits at the source what follows from what the driver knows.
    fn commit(&mut self) -> Option<()> {
        match (self.source, self.known) {
            (Source::Moving(of), Known::Checked(writes)) if self.allowed => {
                self.source = Source::Left(of, writes);
            }
            (Source::Moving(of), Known::Checked(_) | Known::Refused) => self.give_up(of),
            (Source::Left(..), Known::Adopted) => {
                (self.source, self.source_writes) = (Source::Gone, 0);
            }
            // It asks again later.
            (Source::Left(..), Known::Refused) => {}
            (Source::Live, Known::Dropped) => {
                self.given_up = self.given_up.map(|(of, _)| (of, true))
            }
            _ => return None,
        }
        self.known = Known::Nothing;
        Some(())
    }

    fn give_up(&mut self, of: u8) {
        (self.source, self.given_up) = (Source::Live, Some((of, false)));
        (self.known, self.waits) = (Known::Nothing, None);
    }
}

impl Model for Mover {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            source: Source::Live,
            target: Target::Nothing,
            source_writes: 0,
            acknowledged: 0,
            orders: 0,
            given_up: None,
            dropped: BTreeSet::new(),
            sent: BTreeSet::new(),
            waits: None,
            known: Known::Nothing,
            allowed: true,
            changes: 0,
            restored: false,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        steps.extend([Step::Order, Step::GiveUp, Step::Write, Step::WriteThere, Step::Ask]);
        steps.extend([Step::Commit, Step::Crash, Step::MapChanges, Step::Lose]);
        for ask in &state.sent {
            steps.extend([Step::Arrive(*ask, true), Step::Arrive(*ask, false)]);
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut after = before.clone();
        match step {
            Step::Order => {
                let dropping = matches!(after.given_up, Some((_, false)));
                if after.source != Source::Live || dropping || after.orders == ORDERS_MAX {
                    return None;
                }
                after.orders += 1;
                (after.source, after.given_up) = (Source::Moving(after.orders), None);
                (after.known, after.waits) = (Known::Nothing, None);
            }
            Step::GiveUp => match after.source {
                Source::Moving(of) => after.give_up(of),
                Source::Left(of, _) if self.flaw == Some(Flaw::GivenUpLate) => after.give_up(of),
                Source::Live | Source::Left(..) | Source::Gone => return None,
            },
            Step::Write => {
                let copied = matches!(after.source, Source::Moving(_))
                    && self.flaw == Some(Flaw::WrittenWhileCopied);
                let serves = after.source == Source::Live || copied;
                if !serves || after.acknowledged == WRITES_MAX {
                    return None;
                }
                after.source_writes += 1;
                after.acknowledged += 1;
            }
            Step::WriteThere => {
                let Target::Live { writes, .. } = &mut after.target else { return None };
                if after.acknowledged == WRITES_MAX {
                    return None;
                }
                *writes += 1;
                after.acknowledged += 1;
            }
            Step::Ask => {
                if after.waits.is_some() {
                    return None;
                }
                let ask = after.next()?;
                after.sent.insert(ask);
                after.waits = Some(ask);
            }
            Step::Arrive(ask, answered) => {
                let known = after.arrive(ask, self.flaw);
                if answered {
                    if after.waits != Some(ask) {
                        return None;
                    }
                    // A copy that differs is given up.
                    let differs = matches!(known, Known::Checked(n) if n != after.source_writes);
                    let known = if differs { Known::Refused } else { known };
                    (after.waits, after.known) = (None, known);
                }
            }
            Step::Commit => after.commit()?,
            Step::Crash => (after.waits, after.known) = (None, Known::Nothing),
            Step::MapChanges => {
                if after.changes == 2 {
                    return None;
                }
                after.changes += 1;
                after.allowed = !after.allowed;
            }
            Step::Lose => {
                if after.restored || !matches!(after.target, Target::Arriving { .. }) {
                    return None;
                }
                (after.restored, after.target) = (true, Target::Nothing);
            }
        }
        (after != *before).then_some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_OWNER, |_, state: &State| {
                state.source != Source::Live || !matches!(state.target, Target::Live { .. })
            }),
            Property::always(NOTHING_LOST, |_, state: &State| {
                let here =
                    state.source != Source::Gone && state.source_writes == state.acknowledged;
                match state.target {
                    Target::Live { writes, .. } => writes == state.acknowledged,
                    Target::Nothing | Target::Arriving { .. } => here,
                }
            }),
            Property::always(NOTHING_LEFT, |_, state: &State| {
                match (state.given_up, state.target) {
                    (Some((gone, true)), Target::Arriving { of, .. }) => of != gone,
                    _ => true,
                }
            }),
            Property::sometimes(MOVED, |_, state: &State| {
                state.source == Source::Gone && state.acknowledged == WRITES_MAX
            }),
            Property::sometimes(STAYED, |_, state: &State| {
                matches!(state.given_up, Some((_, true))) && state.acknowledged == WRITES_MAX
            }),
            Property::sometimes(AGAIN, |_, state: &State| {
                state.source == Source::Gone && state.orders == ORDERS_MAX
            }),
        ]
    }
}

#[test]
fn no_order_of_steps_makes_two_owners_or_loses_a_write() {
    let checker = Mover { flaw: None }.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    println!("{} states", checker.unique_state_count());
}

#[test]
fn whatever_is_done_wrong_is_found() {
    for (flaw, broken) in [
        (Flaw::WrittenWhileCopied, NOTHING_LOST),
        (Flaw::AdoptedEarly, ONE_OWNER),
        (Flaw::GivenUpLate, ONE_OWNER),
        (Flaw::AdoptedUnchecked, NOTHING_LOST),
        (Flaw::DropForgotten, NOTHING_LEFT),
        (Flaw::LastDropAlone, NOTHING_LEFT),
    ] {
        let until = HasDiscoveries::AnyOf(BTreeSet::from([broken]));
        let checker = Mover { flaw: Some(flaw) }.checker().finish_when(until).spawn_bfs().join();
        let path = checker.assert_any_discovery(broken);
        println!("{flaw:?}: {:?}", path.into_actions());
    }
}
