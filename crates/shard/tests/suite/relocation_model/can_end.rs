//! Whether each state has a path to an end.

#![expect(clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::collections::HashMap;

use stateright::Model as _;

use super::{Flaw, Mover, State};

/// The number of states, or one from which no path leads to an end.
fn all_can_end(model: &Mover) -> Result<usize, Box<State>> {
    let (mut numbers, mut states, mut before) = (HashMap::new(), Vec::new(), Vec::new());
    for state in model.init_states() {
        numbers.insert(state.clone(), states.len());
        states.push(state);
        before.push(Vec::new());
    }
    let mut at = 0;
    while let Some(state) = states.get(at).cloned() {
        let mut steps = Vec::new();
        model.actions(&state, &mut steps);
        for next in steps.into_iter().filter_map(|step| model.next_state(&state, step)) {
            let number = *numbers.entry(next).or_insert_with_key(|next| {
                states.push(next.clone());
                before.push(Vec::new());
                states.len() - 1
            });
            before[number].push(at);
        }
        at += 1;
    }
    let mut ends = vec![false; states.len()];
    let is_end = |number: &usize| states[*number].has_ended();
    let mut known: Vec<usize> = (0..states.len()).filter(is_end).collect();
    while let Some(number) = known.pop() {
        if !std::mem::replace(&mut ends[number], true) {
            known.extend(&before[number]);
        }
    }
    match ends.iter().position(|ends| !ends) {
        Some(stuck) => Err(Box::new(states.swap_remove(stuck))),
        None => Ok(states.len()),
    }
}

/// Small enough to keep all states: what holds a move up is no matter of how much there is of it.
const fn small(flaw: Option<Flaw>) -> Mover {
    Mover { flaw, orders: 2, writes: 0, parts: 1, changes: 0, restores: true }
}

/// The map forbids the move once, and never allows it again.
const fn forbidding(flaw: Option<Flaw>) -> Mover {
    Mover { changes: 1, restores: false, ..small(flaw) }
}

#[test]
fn every_move_can_still_end() {
    for model in [small(None), forbidding(None)] {
        match all_can_end(&model) {
            Ok(states) => println!("{states} states"),
            Err(stuck) => panic!("no path leads to an end from {stuck:?}"),
        }
    }
    // What keeps a move from its end is found.
    assert!(all_can_end(&small(Some(Flaw::NeverSuperseded))).is_err());
    assert!(all_can_end(&small(Some(Flaw::TakenForgotten))).is_err());
    assert!(all_can_end(&forbidding(Some(Flaw::SessionGated))).is_err());
}
