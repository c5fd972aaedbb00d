//! A model of a move between two regions (crate stateright): every order of its steps, with crashes of
//! the source, answers that get lost, steps that come late or twice, moves that are given up and ordered
//! again, a map that forbids and allows, erasures and writes on both sides, and a restore of either side:
//! a target that loses what had arrived, what it served, or that it erased what it served, and a source that
//! loses the order.
//! `write/departures.rs`, `write/arrivals.rs` and `relocate/drive.rs` have what it models, written by hand.
//!
//! Besides what must never be, each state is asked whether some path leads from it to an end: no person may
//! be left between two regions.

use std::collections::BTreeSet;

use stateright::{Checker as _, HasDiscoveries, Model, Property};

mod can_end;
mod steps;

const ONE_OWNER: &str = "at most one region takes writes";
const NOTHING_LOST: &str =
    "every acknowledged write is somewhere, in a region that serves it or will";
const NOTHING_LEFT: &str = "of a move whose drop was confirmed, nothing is in the other region";
const ERASED: &str = "of a person whose erasure is done, nothing is anywhere";
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
    /// An erasure at the source forgets what is to be erased at the target.
    DropForgottenWithSubject,
    /// The target lets nobody in from where no subject may move to it.
    SessionGated,
    /// An arrival that the source has forgotten makes no room for another.
    NeverSuperseded,
    /// A target that was restored knows that a person was erased, and not that it had taken that person.
    TakenForgotten,
    /// A target that was restored does not know that a person was erased.
    ErasureForgotten,
}

struct Mover {
    flaw: Option<Flaw>,
    /// Moves that are ordered, and writes.
    orders: u8,
    writes: u8,
    /// Messages in which a subject's records come.
    parts: u8,
    /// How often the map may change, and whether one of the two is restored.
    changes: u8,
    restores: bool,
}

impl Mover {
    const fn new(flaw: Option<Flaw>) -> Self {
        Self { flaw, orders: 2, writes: 2, parts: 2, changes: 2, restores: true }
    }
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
    /// Its records are erased; it is not said to be done while the target has copies.
    Erasing,
    Erased,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Target {
    Nothing,
    Arriving {
        of: u8,
        parts: u8,
        writes: u8,
    },
    Live {
        of: u8,
        writes: u8,
    },
    /// It was served there, and then erased.
    Erased,
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

impl Ask {
    /// Of which move.
    const fn of(self) -> u8 {
        match self {
            Self::Begin(of) | Self::Check(of) | Self::Drop(of) => of,
            Self::Rows { of, .. } | Self::Adopt { of, .. } => of,
        }
    }
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
    Dropped(u8),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    source: Source,
    target: Target,
    /// Writes that each has, and that were acknowledged.
    source_writes: u8,
    acknowledged: u8,
    orders: u8,
    /// The moves of which the target is to erase what it has, and those of which it has confirmed that.
    copies: BTreeSet<u8>,
    confirmed: BTreeSet<u8>,
    /// What the target keeps of moves that have ended: those that it dropped, and those that it adopted.
    dropped: BTreeSet<u8>,
    adopted: BTreeSet<u8>,
    /// The move that the target knows by its file of erasures to have adopted, of a person who was erased
    /// since, though its store does not have that any more.
    lost: Option<u8>,
    /// The erasure at the target was acknowledged.
    erased_there: bool,
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
    /// The target is restored from before the move.
    Lose,
    /// The source is restored from before the order.
    Forget,
    /// The subject is erased where it is served.
    Erase,
    EraseThere,
}

impl State {
    /// The next step that the source asks for.
    fn next(&self, model: &Mover) -> Option<Ask> {
        let writes = self.source_writes;
        let stage = |of, after| Ask::Rows { of, after, writes };
        match (self.source, self.known) {
            (Source::Moving(of) | Source::Left(of, _), Known::Nothing) => Some(Ask::Begin(of)),
            (Source::Moving(of) | Source::Left(of, _), Known::Staged(n)) if n < model.parts => {
                Some(stage(of, n))
            }
            (Source::Moving(of), Known::Staged(_)) => Some(Ask::Check(of)),
            // What is refused may have been adopted, and be gone since.
            (Source::Left(of, writes), Known::Staged(_) | Known::Refused) => {
                Some(Ask::Adopt { of, writes })
            }
            (Source::Live | Source::Erasing | Source::Erased | Source::Gone, Known::Nothing) => {
                self.copies.first().copied().map(Ask::Drop)
            }
            _ => None,
        }
    }

    /// What the target does with a step, and answers.
    fn arrive(&mut self, ask: Ask, model: &Mover) -> Known {
        let flaw = model.flaw;
        if flaw == Some(Flaw::SessionGated) && !self.allowed {
            // The source tries again later.
            return Known::Nothing;
        }
        if let Ask::Begin(of) | Ask::Adopt { of, .. } = ask
            && self.adopted.contains(&of)
        {
            return Known::Adopted;
        }
        if let Ask::Adopt { of, .. } = ask
            && self.lost == Some(of)
        {
            self.adopted.insert(of);
            return Known::Adopted;
        }
        match (self.target, ask) {
            (Target::Nothing, Ask::Begin(of)) if self.allowed && !self.dropped.contains(&of) => {
                self.target = Target::Arriving { of, parts: 0, writes: 0 };
                Known::Staged(0)
            }
            (Target::Arriving { of: own, .. }, Ask::Begin(of) | Ask::Drop(of))
                if own != of
                    && !self.dropped.contains(&of)
                    && flaw != Some(Flaw::NeverSuperseded) =>
            {
                self.target = Target::Nothing;
                self.dropped.insert(own);
                // It asks again.
                Known::Nothing
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
                Known::Dropped(of)
            }
            (Target::Arriving { of, parts, writes }, ask) if ask.of() == of => {
                self.go_on(ask, parts, writes, model)
            }
            _ => Known::Refused,
        }
    }

    /// What the target does with a step of the move that arrives: so much of it is there.
    fn go_on(&mut self, ask: Ask, parts: u8, here: u8, model: &Mover) -> Known {
        match ask {
            Ask::Begin(_) | Ask::Drop(_) => Known::Staged(parts),
            Ask::Rows { after, .. } if after != parts || parts == model.parts => {
                Known::Staged(parts)
            }
            Ask::Rows { .. } | Ask::Check(_) if !self.allowed => Known::Refused,
            Ask::Rows { of, writes, .. } => {
                self.target = Target::Arriving { of, parts: parts + 1, writes };
                Known::Staged(parts + 1)
            }
            Ask::Check(of) => {
                if model.flaw == Some(Flaw::AdoptedEarly) {
                    self.target = Target::Live { of, writes: here };
                }
                if parts == model.parts { Known::Checked(here) } else { Known::Staged(parts) }
            }
            Ask::Adopt { of, writes } => {
                let whole = parts == model.parts && here == writes;
                if !whole && model.flaw != Some(Flaw::AdoptedUnchecked) {
                    return Known::Staged(parts);
                }
                let writes = if parts == model.parts { here } else { 0 };
                self.target = Target::Live { of, writes };
                self.adopted.insert(of);
                Known::Adopted
            }
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
            (_, Known::Dropped(of)) => {
                self.copies.remove(&of);
                self.confirmed.insert(of);
                if self.source == Source::Erasing && self.copies.is_empty() {
                    self.source = Source::Erased;
                }
            }
            _ => return None,
        }
        self.known = Known::Nothing;
        Some(())
    }

    fn give_up(&mut self, of: u8) {
        self.source = Source::Live;
        self.copies.insert(of);
        (self.known, self.waits) = (Known::Nothing, None);
    }

    fn erase(&mut self, flaw: Option<Flaw>) {
        if flaw == Some(Flaw::DropForgottenWithSubject) {
            self.copies.clear();
        }
        let done = self.copies.is_empty();
        self.source = if done { Source::Erased } else { Source::Erasing };
        self.source_writes = 0;
    }

    /// Whether nothing goes on between the two.
    fn has_ended(&self) -> bool {
        let there = !matches!(self.target, Target::Arriving { .. });
        let lost = self.source == Source::Gone && self.target == Target::Nothing;
        let here = matches!(self.source, Source::Live | Source::Gone | Source::Erased);
        here && there && !lost && self.copies.is_empty()
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
            copies: BTreeSet::new(),
            confirmed: BTreeSet::new(),
            dropped: BTreeSet::new(),
            adopted: BTreeSet::new(),
            lost: None,
            erased_there: false,
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
        steps.extend([Step::Forget, Step::Erase, Step::EraseThere]);
        for ask in &state.sent {
            steps.extend([Step::Arrive(*ask, true), Step::Arrive(*ask, false)]);
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut after = before.clone();
        let done = match step {
            Step::Order | Step::GiveUp | Step::Write | Step::WriteThere => {
                self.call(&mut after, step)
            }
            Step::Erase | Step::EraseThere => self.call(&mut after, step),
            Step::Ask | Step::Arrive(..) | Step::Commit => self.drive(&mut after, step),
            Step::Crash | Step::MapChanges | Step::Lose | Step::Forget => {
                self.mishap(&mut after, step)
            }
        };
        done?;
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
                let erased = matches!(state.source, Source::Erasing | Source::Erased);
                match state.target {
                    Target::Live { writes, .. } => writes == state.acknowledged,
                    Target::Nothing | Target::Arriving { .. } => here || erased,
                    Target::Erased => true,
                }
            }),
            Property::always(NOTHING_LEFT, |_, state: &State| match state.target {
                Target::Arriving { of, .. } => !state.confirmed.contains(&of),
                Target::Nothing | Target::Live { .. } | Target::Erased => true,
            }),
            Property::always(ERASED, |_, state: &State| {
                let gone = matches!(state.target, Target::Erased | Target::Nothing);
                (gone || !state.erased_there)
                    && (state.source != Source::Erased || state.target == Target::Nothing)
            }),
            Property::sometimes(MOVED, |model: &Mover, state: &State| {
                state.source == Source::Gone && state.acknowledged == model.writes
            }),
            Property::sometimes(STAYED, |model: &Mover, state: &State| {
                let done = state.copies.is_empty() && !state.confirmed.is_empty();
                state.source == Source::Live && done && state.acknowledged == model.writes
            }),
            Property::sometimes(AGAIN, |model: &Mover, state: &State| {
                state.source == Source::Gone && state.orders == model.orders
            }),
        ]
    }
}

#[test]
fn no_order_of_steps_makes_two_owners_or_loses_a_write() {
    let checker = Mover::new(None).checker().threads(2).spawn_bfs().join();
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
        (Flaw::DropForgottenWithSubject, ERASED),
        (Flaw::ErasureForgotten, ERASED),
    ] {
        let until = HasDiscoveries::AnyOf(BTreeSet::from([broken]));
        let checker = Mover::new(Some(flaw)).checker().finish_when(until).spawn_bfs().join();
        let path = checker.assert_any_discovery(broken);
        println!("{flaw:?}: {:?}", path.into_actions());
    }
}
