//! The places of a listener's connections. Strangers have few of them, and not for long: whoever
//! has shown who they are always finds one, however many knock.
//!
//! Where strangers have no place left, the one who came first, from where most come, gives its
//! place to the newcomer. So connections that stand idle keep nobody out: not those behind the same
//! address, and not others.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::tls::peer::PeerId;

/// How many places there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Connections at once.
    pub(super) all: usize,
    /// Of them, such as have not shown who they are.
    pub(super) strangers: usize,
    /// Of those, such as come from one address.
    pub(super) strangers_of_one: usize,
    /// Connections of one process of ours.
    pub(super) of_one_peer: usize,
}

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    room: Room,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    strangers: usize,
    /// By when they came: each has a number that only grows.
    strangers_by_origin: HashMap<Origin, BTreeMap<u64, Weak<Place>>>,
    came: u64,
    by_peer: HashMap<PeerId, usize>,
}

/// From where a stranger comes: an address, or of IPv6 the network that one site has.
type Origin = IpAddr;

/// The place of one connection. It is free again when the connection has left it.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    held: Mutex<Held>,
    known: AtomicBool,
    /// Told when the place is given to another.
    crowded_out: Notify,
}

/// A place, and whether another has lost its own for it.
#[derive(Debug)]
pub(super) struct Entered {
    pub(super) place: Arc<Place>,
    pub(super) crowded_out: bool,
}

#[derive(Debug)]
enum Held {
    Stranger(Origin, u64),
    Known,
    Peer(PeerId),
    Left,
}

impl Places {
    pub(super) fn new(room: Room) -> Arc<Self> {
        Arc::new(Self { room, taken: Mutex::default() })
    }

    // No code that can panic runs under either lock, so a poisoned one holds sound data.
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a stranger; if there is none, that of the stranger who came first from where
    /// most of them come. `None`: all places are held by those who are known.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Entered> {
        let origin = origin(from);
        let mut crowded_out = false;
        loop {
            let mut taken = self.taken();
            let Some(crowd) = taken.crowd(self.room, origin) else {
                let place = self.place(&mut taken, origin);
                return Some(Entered { place, crowded_out });
            };
            let oldest = taken.oldest(crowd);
            drop(taken);
            crowded_out |= oldest?.crowd_out();
        }
    }

    fn place(self: &Arc<Self>, taken: &mut Taken, origin: Origin) -> Arc<Place> {
        taken.all += 1;
        taken.strangers += 1;
        taken.came += 1;
        let place = Arc::new(Place {
            places: Arc::clone(self),
            held: Mutex::new(Held::Stranger(origin, taken.came)),
            known: AtomicBool::new(false),
            crowded_out: Notify::new(),
        });
        let strangers = taken.strangers_by_origin.entry(origin).or_default();
        strangers.insert(taken.came, Arc::downgrade(&place));
        place
    }
}

impl Place {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Whoever holds it has shown to be somebody.
    pub(super) fn known(&self) {
        if self.is_known() {
            return;
        }
        let mut held = self.held();
        if let Held::Stranger(origin, came) = &*held {
            self.places.taken().no_stranger(*origin, *came);
            *held = Held::Known;
            self.known.store(true, Ordering::Relaxed);
        }
    }

    /// Whoever holds it has shown to be this process of ours. Whether it may have one more.
    pub(super) fn known_as(&self, peer: &PeerId) -> bool {
        let mut held = self.held();
        let Held::Stranger(origin, came) = &*held else { return false };
        let mut taken = self.places.taken();
        let own = taken.by_peer.get(peer).copied().unwrap_or(0);
        if own >= self.places.room.of_one_peer {
            return false;
        }
        *taken.by_peer.entry(peer.clone()).or_default() += 1;
        taken.no_stranger(*origin, *came);
        drop(taken);
        *held = Held::Peer(peer.clone());
        self.known.store(true, Ordering::Relaxed);
        true
    }

    /// Gives the place to another, if a stranger still holds it; whether it did.
    fn crowd_out(&self) -> bool {
        let mut held = self.held();
        let Held::Stranger(origin, came) = &*held else { return false };
        let mut taken = self.places.taken();
        taken.no_stranger(*origin, *came);
        taken.all -= 1;
        drop(taken);
        *held = Held::Left;
        drop(held);
        self.crowded_out.notify_one();
        true
    }

    /// Done when the place is given to another.
    pub(super) async fn until_crowded_out(&self) {
        self.crowded_out.notified().await;
    }

    /// The connection has ended.
    pub(super) fn leave(&self) {
        let held = std::mem::replace(&mut *self.held(), Held::Left);
        let mut taken = self.places.taken();
        match held {
            Held::Left => return,
            Held::Known => {}
            Held::Stranger(origin, came) => taken.no_stranger(origin, came),
            Held::Peer(peer) => less(&mut taken.by_peer, &peer),
        }
        taken.all -= 1;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Taken {
    /// From where strangers come who have taken all that a newcomer from `origin` could have, if
    /// they have.
    fn crowd(&self, room: Room, origin: Origin) -> Option<Origin> {
        let of = |origin| self.strangers_by_origin.get(origin).map_or(0, BTreeMap::len);
        if of(&origin) >= room.strangers_of_one {
            return Some(origin);
        }
        if self.strangers < room.strangers && self.all < room.all {
            return None;
        }
        let most = self.strangers_by_origin.iter().max_by_key(|(_, strangers)| strangers.len());
        Some(most.map_or(origin, |(most, _)| *most))
    }

    /// The stranger from there who came first.
    fn oldest(&self, origin: Origin) -> Option<Arc<Place>> {
        self.strangers_by_origin.get(&origin)?.values().find_map(Weak::upgrade)
    }

    fn no_stranger(&mut self, origin: Origin, came: u64) {
        self.strangers -= 1;
        if let Some(strangers) = self.strangers_by_origin.get_mut(&origin) {
            strangers.remove(&came);
            if strangers.is_empty() {
                self.strangers_by_origin.remove(&origin);
            }
        }
    }
}

/// Counts one less; whom nothing is left of is forgotten.
fn less<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn origin(from: IpAddr) -> Origin {
    match from.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { all: 6, strangers: 4, strangers_of_one: 2, of_one_peer: 1 };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_in(place: &Arc<Place>) -> bool {
        !matches!(*place.held(), Held::Left)
    }

    #[test]
    fn strangers_have_few_places_and_one_address_fewer() {
        let places = Places::new(ROOM);
        let enter = |from| places.enter(ip(from)).map(|entered| entered.place);
        let first = enter("10.0.0.1").unwrap();
        // The same address, written otherwise.
        let second = enter("::ffff:10.0.0.1").unwrap();
        let other = enter("10.0.0.2").unwrap();
        assert!(is_in(&first) && is_in(&second) && is_in(&other));
        let third = places.enter(ip("10.0.0.1")).unwrap();
        assert!(third.crowded_out && !is_in(&first), "the first gives way");
        let third = third.place;
        assert!(is_in(&second) && is_in(&other) && is_in(&third));
        let v6 = enter("2001:db8::1").unwrap();
        // Four strangers: the oldest from where most come gives way.
        let fifth = enter("10.0.0.3").unwrap();
        assert!(!is_in(&second) && [&other, &third, &v6, &fifth].into_iter().all(is_in));
        // Who is known takes no stranger's place any more, and those that all share.
        for place in [&other, &third, &v6, &fifth] {
            place.known();
            place.known();
        }
        let one = enter("2001:db8::1").unwrap();
        let two = enter("2001:db8::2").unwrap();
        let three = enter("10.0.0.3").unwrap();
        assert!(!is_in(&one) && is_in(&two) && is_in(&three), "six in all");
        two.known();
        three.known();
        assert!(places.enter(ip("10.0.0.4")).is_none(), "all six are known");
        drop(v6);
        assert!(places.enter(ip("2001:db8:0:1::1")).is_some());
        drop((first, second, other, third, fifth, one, two, three));
        let taken = places.taken();
        assert_eq!((taken.all, taken.strangers, taken.strangers_by_origin.len()), (0, 0, 0));
    }

    #[tokio::test]
    async fn one_who_is_crowded_out_is_told() {
        let places = Places::new(ROOM);
        let enter = || places.enter(ip("10.0.0.1")).unwrap().place;
        let (first, _second, _third) = (enter(), enter(), enter());
        first.until_crowded_out().await;
    }

    #[test]
    fn a_process_of_ours_has_its_own_bound() {
        let places = Places::new(ROOM);
        let peer = PeerId::parse("spiffe://sample/region/eu-fra/gateway/a").unwrap();
        let first = places.enter(ip("10.0.0.1")).unwrap().place;
        assert!(first.known_as(&peer) && !first.known_as(&peer));
        let second = places.enter(ip("10.0.0.1")).unwrap().place;
        assert!(!second.known_as(&peer) && !second.is_known());
        first.leave();
        first.leave();
        assert!(second.known_as(&peer));
        drop((first, second));
        let taken = places.taken();
        assert_eq!((taken.all, taken.strangers, taken.by_peer.len()), (0, 0, 0));
    }
}
