//! A model of unique ids (crate stateright): every order of tickets, claims and creations between two
//! regions, with claims that run out, shards that start again, answers that get lost, and messages that
//! come late or twice. `store/claims.rs` has what it models, written by hand; here time is the order of
//! events at each shard: a claim that runs out takes with it the tickets given before it.

use std::collections::BTreeSet;

use stateright::{Checker as _, HasDiscoveries, Model, Property};

/// Starts of a shard after the first.
const RESTARTS_MAX: u8 = 1;
/// How often one claim may arrive.
const CLAIMS_MAX: u8 = 2;

const ONE: &str = "no id is in two regions if both gateways had asked the other";
const CREATED: &str = "an id is created by a gateway that had asked";
const DOUBLED: &str = "an id is in two regions where a gateway had not asked";
const NEITHER: &str = "two gateways can both be refused";

/// What a shard does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// A ticket is good after a start.
    TicketOutlivesRun,
    /// A ticket is good although a claim that came after it has run out.
    TicketOutlivesClaim,
    /// A claim is answered, and not kept.
    ClaimNotKept,
    /// A creation does not look at claims.
    ClaimNotChecked,
}

struct Race {
    /// The homes of the gateways.
    homes: &'static [usize],
    flaw: Option<Flaw>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    shards: [Shard; 2],
    gateways: Vec<Gateway>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Shard {
    /// The number of the next event: tickets and claims have one.
    next: u8,
    run: u8,
    /// Tickets before it have run out.
    valid_from: u8,
    /// The claim for the other region.
    claim: Option<u8>,
    /// Whether the subject is here, and whether the gateway that created it had asked.
    created: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Gateway {
    ticket: Option<Ticket>,
    claimed: Claimed,
    /// How often its claim has arrived.
    arrived: u8,
    /// It was told no.
    refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Ticket {
    run: u8,
    at: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Claimed {
    #[default]
    Waits,
    Free,
    Held,
    /// The gateway waits no longer, and will name the region.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A gateway's first write arrives at its home.
    Begin(usize),
    /// Its claim arrives at the other region, and its answer at the gateway, if that still waits.
    Claim(usize),
    GiveUp(usize),
    /// Its second write arrives at its home. The network may keep it, and bring it again.
    Create(usize),
    /// The claim at a shard runs out.
    RunOut(usize),
    Restart(usize),
}

impl Shard {
    fn event(&mut self) -> u8 {
        self.next += 1;
        self.next
    }
}

impl Race {
    fn valid(&self, ticket: Ticket, shard: &Shard) -> bool {
        let of_run = ticket.run == shard.run || self.flaw == Some(Flaw::TicketOutlivesRun);
        let young = ticket.at > shard.valid_from || self.flaw == Some(Flaw::TicketOutlivesClaim);
        of_run && young
    }

    fn is_claimed(&self, shard: &Shard) -> bool {
        shard.claim.is_some() && self.flaw != Some(Flaw::ClaimNotChecked)
    }
}

impl Model for Race {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let gateways = vec![Gateway::default(); self.homes.len()];
        vec![State { shards: Default::default(), gateways }]
    }

    fn actions(&self, _: &State, steps: &mut Vec<Step>) {
        for g in 0..self.homes.len() {
            steps.extend([Step::Begin(g), Step::Claim(g), Step::GiveUp(g), Step::Create(g)]);
        }
        for shard in [0, 1] {
            steps.extend([Step::RunOut(shard), Step::Restart(shard)]);
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut after = before.clone();
        let State { shards, gateways } = &mut after;
        match step {
            Step::Begin(g) => {
                let (home, gateway) = (shards.get_mut(*self.homes.get(g)?)?, gateways.get_mut(g)?);
                if gateway.ticket.is_some() || gateway.refused {
                    return None;
                }
                if home.created.is_some() || self.is_claimed(home) {
                    gateway.refused = true;
                } else {
                    gateway.ticket = Some(Ticket { run: home.run, at: home.event() });
                }
            }
            Step::Claim(g) => {
                let (other, gateway) =
                    (shards.get_mut(1 - *self.homes.get(g)?)?, gateways.get_mut(g)?);
                if gateway.ticket.is_none() || gateway.arrived == CLAIMS_MAX {
                    return None;
                }
                gateway.arrived += 1;
                let free = other.created.is_none();
                if free && self.flaw != Some(Flaw::ClaimNotKept) {
                    other.claim = Some(other.event());
                }
                if gateway.claimed == Claimed::Waits {
                    gateway.claimed = if free { Claimed::Free } else { Claimed::Held };
                    gateway.refused = !free;
                }
            }
            Step::GiveUp(g) => {
                let gateway = gateways.get_mut(g)?;
                if gateway.ticket.is_none() || gateway.claimed != Claimed::Waits {
                    return None;
                }
                gateway.claimed = Claimed::Unknown;
            }
            Step::Create(g) => {
                let (home, gateway) = (shards.get_mut(*self.homes.get(g)?)?, gateways.get_mut(g)?);
                let asked = match gateway.claimed {
                    Claimed::Free => true,
                    Claimed::Unknown => false,
                    Claimed::Waits | Claimed::Held => return None,
                };
                if home.created.is_some() {
                    return None;
                }
                if self.is_claimed(home) || !self.valid(gateway.ticket?, home) {
                    gateway.refused = true;
                } else {
                    home.created = Some(asked);
                }
            }
            Step::RunOut(shard) => {
                let shard = shards.get_mut(shard)?;
                shard.valid_from = shard.valid_from.max(shard.claim.take()?);
            }
            Step::Restart(shard) => {
                let shard = shards.get_mut(shard)?;
                if shard.run == RESTARTS_MAX {
                    return None;
                }
                shard.run += 1;
                shard.claim = None;
            }
        }
        (after != *before).then_some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE, |_, state: &State| {
                state.shards.each_ref().map(|shard| shard.created) != [Some(true); 2]
            }),
            Property::sometimes(CREATED, |_, state: &State| {
                state.shards.iter().any(|shard| shard.created == Some(true))
            }),
            Property::sometimes(DOUBLED, |_, state: &State| {
                state.shards.iter().all(|shard| shard.created.is_some())
            }),
            Property::sometimes(NEITHER, |_, state: &State| {
                state.gateways.iter().all(|gateway| gateway.refused)
                    && state.shards.iter().all(|shard| shard.created.is_none())
            }),
        ]
    }
}

#[test]
fn no_order_of_two_gateways_makes_one_id_two_people() {
    let checker = Race { homes: &[0, 1], flaw: None }.checker().spawn_bfs().join();
    checker.assert_properties();
    println!("{} states", checker.unique_state_count());
}

#[test]
fn no_order_of_three_gateways_makes_one_id_two_people() {
    let checker = Race { homes: &[0, 1, 0], flaw: None }.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    println!("{} states", checker.unique_state_count());
}

#[test]
fn whatever_is_done_wrong_is_found() {
    for flaw in [
        Flaw::TicketOutlivesRun,
        Flaw::TicketOutlivesClaim,
        Flaw::ClaimNotKept,
        Flaw::ClaimNotChecked,
    ] {
        let race = Race { homes: &[0, 1], flaw: Some(flaw) };
        let until = HasDiscoveries::AnyOf(BTreeSet::from([ONE]));
        let checker = race.checker().finish_when(until).spawn_bfs().join();
        let path = checker.assert_any_discovery(ONE);
        println!("{flaw:?}: {:?}", path.into_actions());
    }
}
