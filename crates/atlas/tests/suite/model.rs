//! A model of a map change that races writes, stale gateways and restarts of shards: every state of
//! a small configuration is visited (`model/race.rs`), and in each the invariants hold. With one
//! thing done wrong, the checker must find a state in which one does not.
//!
//! Which region a map gives is what atlas itself rules under it (`model/maps.rs`).

#![expect(clippy::print_stdout, reason = "how many states there were, for who reads the output")]
#![expect(clippy::panic, clippy::indexing_slicing, reason = "a test that goes astray may panic")]

mod invariants;
mod maps;
mod race;

use std::collections::BTreeSet;

use invariants::{LIES_RIGHT, NEVER_FALLS, NO_FORK, NOTHING_LOST};
use race::{Flaw, Race, Size};
use stateright::{Checker, HasDiscoveries, Model};

const THREADS: usize = 2;
/// Two gateways and everything that they send, for one write.
const GATEWAYS: Size = Size { writes: 1, queue: 2, gateways: true };
/// Two writes, and as many gateways as it takes.
const WRITES: Size = Size { writes: 2, queue: 2, gateways: false };

/// Visits every state.
fn explore(what: &str, size: Size) {
    let race = Race { maps: maps::maps(), size, flaw: None };
    let checker = race.checker().threads(THREADS).spawn_bfs().join();
    checker.assert_properties();
    let (states, steps) = (checker.unique_state_count(), checker.state_count());
    println!("{what}: {states} states, {steps} steps, at most {} deep", checker.max_depth());
}

#[test]
fn no_race_of_gateways_breaks_an_invariant() {
    explore("gateways", GATEWAYS);
}

#[test]
fn no_race_of_writes_breaks_an_invariant() {
    explore("writes", WRITES);
}

/// A ruling from when a write was queued is right as long as nothing waits beside it: what breaks it
/// below is the race, and not a stale gateway.
#[test]
fn without_a_race_an_early_ruling_would_do() {
    let size = Size { queue: 1, ..GATEWAYS };
    let race = Race { maps: maps::maps(), size, flaw: Some(Flaw::RuledWhenQueued) };
    let checker = race.checker().threads(THREADS).spawn_bfs().join();
    for invariant in [LIES_RIGHT, NOTHING_LOST, NEVER_FALLS, NO_FORK] {
        checker.assert_no_discovery(invariant);
    }
}

/// Whatever is done wrong, the invariant that it breaks is seen to break.
fn check(flaw: Flaw, size: Size, broken: &'static str) {
    let race = Race { maps: maps::maps(), size, flaw: Some(flaw) };
    let until = HasDiscoveries::AnyOf(BTreeSet::from([broken]));
    let checker = race.checker().finish_when(until).spawn_bfs().join();
    let path = checker.assert_any_discovery(broken);
    println!("{flaw:?} breaks \"{broken}\": {:?}", path.into_actions());
}

#[test]
fn a_shard_that_checks_nothing_misplaces() {
    check(Flaw::NoCheck, Size { queue: 1, ..GATEWAYS }, LIES_RIGHT);
}

#[test]
fn a_ruling_from_when_the_write_was_queued_misplaces() {
    check(Flaw::RuledWhenQueued, GATEWAYS, LIES_RIGHT);
}

#[test]
fn a_ruling_from_before_the_group_misplaces() {
    check(Flaw::RuledByGroup, GATEWAYS, LIES_RIGHT);
}

#[test]
fn a_map_that_is_not_kept_falls_back() {
    check(Flaw::MapNotKept, GATEWAYS, NEVER_FALLS);
}

#[test]
fn a_version_alone_lets_a_fork_in() {
    check(Flaw::VersionOnly, GATEWAYS, NO_FORK);
}

#[test]
fn an_answer_before_the_commit_loses_a_write() {
    check(Flaw::EarlyAnswer, GATEWAYS, NOTHING_LOST);
}
