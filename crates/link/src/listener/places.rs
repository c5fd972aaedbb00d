//! The places of a listener's connections. Strangers have few of them, and not for long: whoever
//! has shown who they are always finds one, however many knock.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::peer::PeerId;

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
    strangers_by_origin: HashMap<Origin, usize>,
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
}

#[derive(Debug)]
enum Held {
    Stranger(Origin),
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

    /// A place for a stranger. `None`: there is none left for one like it.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Arc<Place>> {
        let (origin, room) = (origin(from), self.room);
        let mut taken = self.taken();
        let of_one = taken.strangers_by_origin.get(&origin).copied().unwrap_or(0);
        let full = taken.all >= room.all
            || taken.strangers >= room.strangers
            || of_one >= room.strangers_of_one;
        if full {
            return None;
        }
        taken.all += 1;
        taken.strangers += 1;
        *taken.strangers_by_origin.entry(origin).or_default() += 1;
        drop(taken);
        let held = Mutex::new(Held::Stranger(origin));
        Some(Arc::new(Place { places: Arc::clone(self), held, known: AtomicBool::new(false) }))
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
        if let Held::Stranger(origin) = &*held {
            self.places.taken().no_stranger(*origin);
            *held = Held::Known;
            self.known.store(true, Ordering::Relaxed);
        }
    }

    /// Whoever holds it has shown to be this process of ours. Whether it may have one more.
    pub(super) fn known_as(&self, peer: &PeerId) -> bool {
        let mut held = self.held();
        let Held::Stranger(origin) = &*held else { return false };
        let mut taken = self.places.taken();
        let own = taken.by_peer.get(peer).copied().unwrap_or(0);
        if own >= self.places.room.of_one_peer {
            return false;
        }
        *taken.by_peer.entry(peer.clone()).or_default() += 1;
        taken.no_stranger(*origin);
        drop(taken);
        *held = Held::Peer(peer.clone());
        self.known.store(true, Ordering::Relaxed);
        true
    }

    /// The connection has ended.
    pub(super) fn leave(&self) {
        let held = std::mem::replace(&mut *self.held(), Held::Left);
        let mut taken = self.places.taken();
        match held {
            Held::Left => return,
            Held::Known => {}
            Held::Stranger(origin) => taken.no_stranger(origin),
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
    fn no_stranger(&mut self, origin: Origin) {
        self.strangers -= 1;
        less(&mut self.strangers_by_origin, &origin);
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

    #[test]
    fn strangers_have_few_places_and_one_address_fewer() {
        let places = Places::new(ROOM);
        let mut held: Vec<_> =
            ["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2"].map(|a| places.enter(ip(a))).into();
        assert!(held.iter().all(Option::is_some));
        assert!(places.enter(ip("10.0.0.1")).is_none(), "the same address, written otherwise");
        held.push(places.enter(ip("2001:db8::1")));
        assert!(places.enter(ip("10.0.0.3")).is_none(), "four strangers");
        // Who is known takes no stranger's place any more, and those that all share.
        for place in held.iter().flatten() {
            place.known();
            place.known();
        }
        let one = places.enter(ip("2001:db8::1")).unwrap();
        let _other = places.enter(ip("2001:db8::2")).unwrap();
        assert!(places.enter(ip("10.0.0.3")).is_none(), "six in all");
        drop(one);
        assert!(places.enter(ip("2001:db8:0:1::1")).is_some());
        drop(held);
        assert!(places.taken().strangers_by_origin.len() <= 2);
    }

    #[test]
    fn a_process_of_ours_has_its_own_bound() {
        let places = Places::new(ROOM);
        let peer = PeerId::parse("spiffe://sample/region/eu-fra/gateway/a").unwrap();
        let first = places.enter(ip("10.0.0.1")).unwrap();
        assert!(first.known_as(&peer) && !first.known_as(&peer));
        let second = places.enter(ip("10.0.0.1")).unwrap();
        assert!(!second.known_as(&peer) && !second.is_known());
        first.leave();
        first.leave();
        assert!(second.known_as(&peer));
        drop((first, second));
        let taken = places.taken();
        assert_eq!((taken.all, taken.strangers, taken.by_peer.len()), (0, 0, 0));
    }
}
