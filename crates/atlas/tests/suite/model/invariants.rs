//! What must hold in every state of the model, and what must happen in some.

use stateright::Property;

use crate::model::maps::{FORK, HEALING};
use crate::model::race::{Item, Race, State};

/// P1, as a model can say it: no moment passes between the check and the commit.
pub(crate) const LIES_RIGHT: &str = "a record lies where the map in force at its commit gives";
pub(crate) const NOTHING_LOST: &str = "an acknowledged write is in its shard's store";
pub(crate) const NEVER_FALLS: &str = "an epoch never falls";
pub(crate) const NO_FORK: &str = "a map is accepted after one that it names";

/// Everything that is asked of the model, be it with gateways or without.
pub(crate) fn properties(gateways: bool) -> Vec<Property<Race>> {
    let mut asked = vec![
        Property::always(LIES_RIGHT, lies_right),
        Property::always(NOTHING_LOST, nothing_lost),
        Property::always(NEVER_FALLS, never_falls),
        Property::always(NO_FORK, no_fork),
        // That what the invariants are about happens at all.
        Property::sometimes("a write waits that the map in force no longer gives", overtaken),
        Property::sometimes("the shards stand on two branches of a fork", forked),
        Property::sometimes("a shard on the fork is healed", healed),
        Property::sometimes("every write is stored under a last map", done),
    ];
    if gateways {
        asked.push(Property::sometimes("a gateway is two versions behind both shards", stale));
    }
    asked
}

fn lies_right(race: &Race, state: &State) -> bool {
    state.shards.iter().enumerate().all(|(region, shard)| {
        let mut records = shard.records.iter().enumerate();
        records.all(|(write, map)| map.is_none_or(|map| race.gives(map, write, region)))
    })
}

fn nothing_lost(_: &Race, state: &State) -> bool {
    state.shards.iter().all(|shard| {
        let mut writes = shard.acknowledged.iter().zip(&shard.records);
        writes.all(|(acknowledged, record)| !acknowledged || record.is_some())
    })
}

fn never_falls(race: &Race, state: &State) -> bool {
    state.shards.iter().all(|shard| race.maps[shard.map].version >= shard.highest)
}

fn no_fork(race: &Race, state: &State) -> bool {
    state.shards.iter().all(|shard| {
        shard.accepted.windows(2).all(|pair| {
            let (held, next) = (&race.maps[pair[0]], &race.maps[pair[1]]);
            held.version < next.version && next.follows.contains(&held.digest)
        })
    })
}

fn overtaken(race: &Race, state: &State) -> bool {
    state.shards.iter().enumerate().any(|(region, shard)| {
        shard.queue.iter().any(|item| match item {
            Item::Write(write) => !race.gives(shard.map, *write, region),
            Item::Accept(_) => false,
        })
    })
}

fn stale(race: &Race, state: &State) -> bool {
    let version = |map: usize| race.maps[map].version;
    let behind = |gateway: &usize| {
        state.shards.iter().all(|shard| version(shard.map) >= version(*gateway) + 2)
    };
    state.gateways.iter().any(behind)
}

fn forked(race: &Race, state: &State) -> bool {
    let [one, other] = &state.shards;
    let (one, other) = (&race.maps[one.map], &race.maps[other.map]);
    one.version == other.version && one.digest != other.digest
}

fn healed(_: &Race, state: &State) -> bool {
    state.shards.iter().any(|shard| shard.accepted.ends_with(&[FORK, HEALING]))
}

fn done(race: &Race, state: &State) -> bool {
    let last = race.maps.iter().map(|map| map.version).max();
    (0..race.size.writes).all(|write| {
        let mut maps = state.shards.iter().filter_map(|shard| shard.records[write]);
        maps.any(|map| Some(race.maps[map].version) == last)
    })
}
