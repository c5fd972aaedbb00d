//! The model: two regions with a shard each, two gateways, writes that are sent again, and maps
//! that are offered to everybody at any time.
//!
//! The network is the set of all messages ever sent. Each may be delivered at any time, any number
//! of times or never: so it loses, delays, reorders and doubles whatever it likes. A crash may
//! happen between any two steps.

use smallvec::{SmallVec, smallvec};
use stateright::{Model, Property};

use crate::model::invariants::properties;
use crate::model::maps::{MAPS, Map, REGIONS, WRITES};

/// Gateways. They are alike, so their maps are kept in order.
const GATEWAYS: usize = 2;

/// What is done wrong, for tests that must fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The shard stores whatever a gateway sends.
    NoCheck,
    /// The shard rules when a write comes in, and not again when it is committed.
    RuledWhenQueued,
    /// The shard rules under the map that was in force when the group's commit began.
    RuledByGroup,
    /// The map in force is kept in memory only.
    MapNotKept,
    /// A map is taken by its version, whatever it follows.
    VersionOnly,
    /// A write is acknowledged when it is queued.
    EarlyAnswer,
}

/// Everything there is at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// The map of each gateway, in order.
    pub(crate) gateways: [usize; GATEWAYS],
    /// Whether a put of that write was ever sent to that region.
    sent: [[bool; WRITES]; REGIONS.len()],
    pub(crate) shards: [Shard; REGIONS.len()],
}

/// One shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Shard {
    /// On disk: the maps that it has accepted, in order, by the entries of its log.
    pub(crate) accepted: SmallVec<[usize; MAPS]>,
    /// On disk: the record of each write, with the map that was in force when it was committed.
    pub(crate) records: [Option<usize>; WRITES],
    /// In memory: the map in force.
    pub(crate) map: usize,
    /// In memory: what waits to be committed.
    pub(crate) queue: SmallVec<[Item; 2]>,
    /// What somebody who watches remembers: the highest version that was ever in force here, and
    /// which writes were acknowledged.
    pub(crate) highest: u64,
    pub(crate) acknowledged: [bool; WRITES],
}

/// Something that waits to be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    Write(usize),
    Accept(usize),
}

/// One step of somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A gateway takes a map that some shard has, or had: it may start again with an old one.
    Adopt { gateway: usize, map: usize },
    /// A gateway sends a write, for the first time or again, to where its own map gives.
    Send { gateway: usize, write: usize },
    /// A put arrives, is ruled upon and queued.
    Arrive { region: usize, write: usize },
    /// Somebody offers a map. It waits in the same queue.
    Offer { region: usize, map: usize },
    /// The first items of the queue are committed together.
    Commit { region: usize, items: usize },
    /// The shard ends and starts again.
    Crash { region: usize },
}

/// How much of everything there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// How many of the writes there are.
    pub(crate) writes: usize,
    /// What may wait in a shard's queue at once.
    pub(crate) queue: usize,
    /// Whether gateways and what they have sent are kept. If not, a put may arrive wherever a map
    /// that any shard ever accepted gives: there are as many gateways as it takes, each with any
    /// map that was ever seen.
    pub(crate) gateways: bool,
}

/// The model, with at most one thing done wrong.
#[derive(Debug, Clone)]
pub(crate) struct Race {
    pub(crate) maps: Vec<Map>,
    pub(crate) size: Size,
    pub(crate) flaw: Option<Flaw>,
}

impl Race {
    fn broken(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    pub(crate) fn gives(&self, map: usize, write: usize, region: usize) -> bool {
        self.maps[map].gives[write] == region
    }

    /// Whether a shard that holds one map may take the other.
    fn may_follow(&self, held: usize, offered: usize) -> bool {
        let (held, offered) = (&self.maps[held], &self.maps[offered]);
        let named = offered.follows.contains(&held.digest);
        held.version < offered.version && (named || self.broken(Flaw::VersionOnly))
    }

    fn arrive(&self, shard: &mut Shard, region: usize, write: usize) {
        let given = self.gives(shard.map, write, region) || self.broken(Flaw::NoCheck);
        if given {
            shard.queue.push(Item::Write(write));
            shard.acknowledged[write] |= self.broken(Flaw::EarlyAnswer);
        }
    }

    /// One commit: atomic, durable, then the answers. What follows a map in it is ruled by it.
    fn commit(&self, shard: &mut Shard, region: usize, items: usize) {
        let before = shard.map;
        let group: SmallVec<[Item; 2]> = shard.queue.drain(..items).collect();
        for item in group {
            match item {
                Item::Accept(map) if self.may_follow(shard.map, map) => {
                    shard.map = map;
                    shard.highest = shard.highest.max(self.maps[map].version);
                    if !self.broken(Flaw::MapNotKept) {
                        shard.accepted.push(map);
                    }
                }
                Item::Accept(_) => {}
                Item::Write(write) => {
                    let ruled_by = match self.flaw {
                        Some(Flaw::RuledByGroup) => before,
                        _ => shard.map,
                    };
                    let trusts = self.broken(Flaw::NoCheck) || self.broken(Flaw::RuledWhenQueued);
                    if shard.records[write].is_none() {
                        if !trusts && !self.gives(ruled_by, write, region) {
                            continue;
                        }
                        shard.records[write] = Some(shard.map);
                    }
                    // Answered again, if the request was done before.
                    shard.acknowledged[write] = true;
                }
            }
        }
    }
}

impl Model for Race {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let shard = Shard {
            accepted: smallvec![0],
            records: [None; WRITES],
            map: 0,
            queue: SmallVec::new(),
            highest: self.maps[0].version,
            acknowledged: [false; WRITES],
        };
        vec![State {
            gateways: [0; GATEWAYS],
            sent: [[false; WRITES]; REGIONS.len()],
            shards: [shard.clone(), shard],
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let seen = |map: &usize| state.shards.iter().any(|shard| shard.accepted.contains(map));
        let seen: Vec<usize> = (0..MAPS).filter(seen).collect();
        for gateway in (0..GATEWAYS).filter(|_| self.size.gateways) {
            steps.extend(seen.iter().map(|map| Step::Adopt { gateway, map: *map }));
            steps.extend((0..self.size.writes).map(|write| Step::Send { gateway, write }));
        }
        for (region, shard) in state.shards.iter().enumerate() {
            let sent = |write: &usize| {
                let given = || seen.iter().any(|map| self.gives(*map, *write, region));
                if self.size.gateways { state.sent[region][*write] } else { given() }
            };
            if shard.queue.len() < self.size.queue {
                let sent = (0..self.size.writes).filter(sent);
                steps.extend(sent.map(|write| Step::Arrive { region, write }));
                // Of maps that were accepted here nobody tells this shard again: they would be
                // refused like one that comes twice while it waits.
                let new = (1..MAPS).filter(|map| !shard.accepted.contains(map));
                steps.extend(new.map(|map| Step::Offer { region, map }));
            }
            let groups = 1..=shard.queue.len();
            steps.extend(groups.map(|items| Step::Commit { region, items }));
            if !shard.queue.is_empty() || shard.accepted.last() != Some(&shard.map) {
                steps.push(Step::Crash { region });
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut next = last.clone();
        match step {
            Step::Adopt { gateway, map } => {
                next.gateways[gateway] = map;
                next.gateways.sort_unstable();
            }
            Step::Send { gateway, write } => {
                let region = self.maps[last.gateways[gateway]].gives[write];
                next.sent[region][write] = true;
            }
            Step::Arrive { region, write } => {
                self.arrive(&mut next.shards[region], region, write);
            }
            Step::Offer { region, map } => {
                next.shards[region].queue.push(Item::Accept(map));
            }
            Step::Commit { region, items } => {
                self.commit(&mut next.shards[region], region, items);
            }
            Step::Crash { region } => {
                let shard = &mut next.shards[region];
                shard.queue.clear();
                shard.map = *shard.accepted.last().expect("the first map stays");
            }
        }
        (next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties(self.size.gateways)
    }
}
