//! A model of the move of one slot between two shards (crate stateright): every order of its steps, with
//! writes at whichever shard owns the slot, moves that are given up and ordered again, a target that
//! discards what has come, and messages and answers that get lost, come late, twice, or in another order.
//! `write/slots_out.rs`, `write/slots_in.rs` and `relocate/slot_moves.rs` have what it models, written by
//! hand. A crash changes nothing in it: each step is one commit, and all that is known is in the stores.

use std::collections::BTreeSet;

use stateright::{Checker as _, HasDiscoveries, Model, Property};

/// Ids of moves.
const MOVES: usize = 3;
/// Writes that are acknowledged.
const WRITES_MAX: u8 = 2;

const ONE: &str = "no two shards own the slot";
const KEPT: &str = "the owner has what was acknowledged, and so has who is to own it";
const DONE: &str = "the slot moves";
const AGAIN: &str = "a slot whose move was given up moves";
const LATE: &str = "what was discarded after the slot was given away comes again";

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// A slot is written while it is copied, also after that was compared.
    FrozenIsWritten,
    /// The target is told to adopt it before it was given away.
    AdoptedTooEarly,
    /// A move is given up after the slot was given away.
    GivenUpTooLate,
    /// The target adopts whatever has come.
    NotCompared,
}

struct Region(Option<Flaw>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Going {
    None,
    Ordered(usize),
    Frozen(usize),
    /// Given away as of that write.
    Left(usize, u8),
    GivenUp(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
enum Coming {
    #[default]
    None,
    /// As of which write it has come, once it has.
    Staging(Option<u8>),
    Installing(Option<u8>),
    Adopted,
    Dropped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Message {
    Begin(usize),
    Copy(usize, u8),
    Adopt(usize, u8),
    Drop(usize),
    Said(usize, Coming),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// The shard that had the slot owns it, and as of which write it has it.
    source: (bool, u8),
    going: Going,
    moves: usize,
    target: (bool, Option<u8>),
    coming: [Coming; MOVES],
    acknowledged: u8,
    /// All messages ever sent.
    sent: BTreeSet<Message>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Order,
    GiveUp,
    WriteAtSource,
    WriteAtTarget,
    /// The source sends what comes next.
    Send,
    Receive(Message),
    Install(usize),
    /// The target discards what has come: the source has asked for its slots.
    Forget(usize),
}

impl Region {
    fn has(&self, flaw: Flaw) -> bool {
        self.0 == Some(flaw)
    }

    fn send(&self, state: &mut State) -> Option<()> {
        let version = state.source.1;
        match state.going {
            Going::None => return None,
            Going::Ordered(id) => drop(state.sent.insert(Message::Begin(id))),
            Going::Frozen(id) => {
                state.sent.extend([Message::Begin(id), Message::Copy(id, version)]);
                if self.has(Flaw::AdoptedTooEarly) {
                    state.sent.insert(Message::Adopt(id, version));
                }
            }
            Going::Left(id, of) => {
                state.sent.extend([Message::Begin(id), Message::Copy(id, of)]);
                state.sent.insert(Message::Adopt(id, of));
            }
            Going::GivenUp(id) => drop(state.sent.insert(Message::Drop(id))),
        }
        Some(())
    }

    /// The target takes a message, and says where it stands.
    fn take(&self, state: &mut State, message: Message) -> Option<()> {
        let busy = state.target.0
            || state
                .coming
                .iter()
                .any(|it| matches!(it, Coming::Staging(_) | Coming::Installing(_)));
        let id = match message {
            Message::Begin(id) | Message::Copy(id, _) | Message::Adopt(id, _) => id,
            Message::Drop(id) => id,
            Message::Said(..) => return None,
        };
        let coming = state.coming.get_mut(id)?;
        *coming = match (message, *coming) {
            (Message::Begin(_), Coming::None) if !busy => Coming::Staging(None),
            (Message::Copy(_, of), Coming::Staging(None)) => Coming::Staging(Some(of)),
            (Message::Adopt(_, of), Coming::Staging(came))
                if came == Some(of) || self.has(Flaw::NotCompared) =>
            {
                Coming::Installing(came)
            }
            (Message::Drop(_), Coming::None | Coming::Staging(_)) => Coming::Dropped,
            (_, stands) => stands,
        };
        state.sent.insert(Message::Said(id, *coming));
        Some(())
    }

    /// The source takes an answer.
    fn hear(&self, state: &mut State, of: usize, said: Coming) -> Option<()> {
        let next = state.moves;
        match (state.going, said) {
            (Going::Ordered(id), Coming::Staging(_)) if id == of => state.going = Going::Frozen(id),
            (Going::Frozen(id), Coming::Staging(Some(came)))
                if id == of && (came == state.source.1 || self.has(Flaw::FrozenIsWritten)) =>
            {
                (state.going, state.source.0) = (Going::Left(id, came), false);
            }
            (Going::Left(id, _), Coming::Adopted) if id == of => state.going = Going::None,
            (Going::Left(id, version), Coming::Dropped) if id == of && next < MOVES => {
                (state.going, state.moves) = (Going::Left(next, version), next + 1);
            }
            (Going::Frozen(id), Coming::Dropped) if id == of => state.going = Going::GivenUp(id),
            (Going::GivenUp(id), Coming::Dropped) if id == of => state.going = Going::None,
            _ => return None,
        }
        Some(())
    }
}

impl Model for Region {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            source: (true, 0),
            going: Going::None,
            moves: 0,
            target: (false, None),
            coming: [Coming::None; MOVES],
            acknowledged: 0,
            sent: BTreeSet::new(),
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        steps.extend([Step::Order, Step::GiveUp, Step::Send]);
        steps.extend([Step::WriteAtSource, Step::WriteAtTarget]);
        steps.extend((0..MOVES).flat_map(|id| [Step::Install(id), Step::Forget(id)]));
        steps.extend(state.sent.iter().map(|message| Step::Receive(*message)));
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut after = before.clone();
        let frozen = matches!(before.going, Going::Frozen(_)) && !self.has(Flaw::FrozenIsWritten);
        match step {
            Step::Order
                if before.source.0 && before.going == Going::None && before.moves < MOVES =>
            {
                (after.going, after.moves) = (Going::Ordered(before.moves), before.moves + 1);
            }
            Step::GiveUp => match before.going {
                Going::Ordered(id) | Going::Frozen(id) => after.going = Going::GivenUp(id),
                Going::Left(id, _) if self.has(Flaw::GivenUpTooLate) => {
                    (after.going, after.source.0) = (Going::GivenUp(id), true);
                }
                Going::None | Going::Left(..) | Going::GivenUp(_) => return None,
            },
            Step::WriteAtSource if before.source.0 && !frozen => {
                after.source.1 = before.source.1 + 1;
                after.acknowledged += 1;
            }
            Step::WriteAtTarget if before.target.0 => {
                after.target.1 = before.target.1.map(|version| version + 1);
                after.acknowledged += 1;
            }
            Step::Send => self.send(&mut after)?,
            Step::Receive(Message::Said(id, said)) => self.hear(&mut after, id, said)?,
            Step::Receive(message) => self.take(&mut after, message)?,
            Step::Install(id) => {
                let Coming::Installing(came) = *before.coming.get(id)? else { return None };
                *after.coming.get_mut(id)? = Coming::Adopted;
                after.target = (true, came);
            }
            Step::Forget(id) => {
                let Coming::Staging(_) = *before.coming.get(id)? else { return None };
                *after.coming.get_mut(id)? = Coming::Dropped;
            }
            Step::Order | Step::WriteAtSource | Step::WriteAtTarget => return None,
        }
        (after != *before && after.acknowledged <= WRITES_MAX).then_some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn done(state: &State) -> bool {
            state.target.0 && state.going == Going::None && state.acknowledged == WRITES_MAX
        }
        vec![
            Property::always(ONE, |_, state: &State| !(state.source.0 && state.target.0)),
            Property::always(KEPT, |_, state: &State| {
                let is_all = |version: u8| version == state.acknowledged;
                let source = !state.source.0 || is_all(state.source.1);
                let target = !state.target.0 || state.target.1.is_some_and(is_all);
                let none = state.source.0 || state.target.0;
                let left = matches!(state.going, Going::Left(_, version) if is_all(version));
                source && target && (none || left)
            }),
            Property::sometimes(DONE, |_, state: &State| done(state)),
            Property::sometimes(AGAIN, |_, state: &State| {
                let gave_up = state.sent.iter().any(|it| matches!(it, Message::Drop(_)));
                done(state) && gave_up
            }),
            Property::sometimes(LATE, |_, state: &State| {
                let dropped = state.coming.contains(&Coming::Dropped);
                let gave_up = state.sent.iter().any(|it| matches!(it, Message::Drop(_)));
                done(state) && dropped && !gave_up
            }),
        ]
    }
}

#[test]
fn no_order_of_steps_gives_a_slot_two_owners_or_loses_a_write() {
    let checker = Region(None).checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    println!("{} states", checker.unique_state_count());
}

#[test]
fn whatever_is_done_wrong_is_found() {
    for (flaw, broken) in [
        (Flaw::FrozenIsWritten, KEPT),
        (Flaw::AdoptedTooEarly, ONE),
        (Flaw::GivenUpTooLate, ONE),
        (Flaw::NotCompared, KEPT),
    ] {
        let until = HasDiscoveries::AnyOf(BTreeSet::from([broken]));
        let checker = Region(Some(flaw)).checker().finish_when(until).spawn_bfs().join();
        let path = checker.assert_any_discovery(broken);
        println!("{flaw:?}: {:?}", path.into_actions());
    }
}
