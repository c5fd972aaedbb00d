//! Quotas of a listener's connections. Those whose peer has not authenticated itself are few and
//! short-lived, so an authenticated peer always gets a connection.
//!
//! When the quota of unauthenticated connections is used up, a new connection evicts the oldest of
//! the network that holds most of them. So idle connections keep no other client out, neither
//! behind the same address nor elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::spiffe_id::PeerId;

/// How many connections a listener takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct QuotaLimits {
    /// Connections at once.
    pub(super) all: usize,
    /// Of them, unauthenticated ones.
    pub(super) unauthenticated: usize,
    /// Of those, from one network.
    pub(super) unauthenticated_of_one: usize,
    /// Connections of one process of ours.
    pub(super) of_one_peer: usize,
}

/// The quotas of one listener, and what is used of them.
#[derive(Debug)]
pub(super) struct Quotas {
    limits: QuotaLimits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    unauthenticated: usize,
    /// In the order in which they came: each has the next number.
    unauthenticated_by_network: HashMap<Network, BTreeMap<u64, Weak<Permit>>>,
    number: u64,
    by_peer: HashMap<PeerId, usize>,
}

/// Where a connection comes from: an IPv4 address, or the IPv6 network of one site (64 bits).
type Network = IpAddr;

/// The permit of one connection. It counts until it is released, evicted or dropped.
#[derive(Debug)]
pub(super) struct Permit {
    quotas: Arc<Quotas>,
    holder: Mutex<Holder>,
    authenticated: AtomicBool,
    /// Notified when another connection takes this permit.
    evicted: Notify,
}

/// A permit, and whether another connection was evicted for it.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) permit: Arc<Permit>,
    pub(super) evicted: bool,
}

#[derive(Debug)]
enum Holder {
    Unauthenticated(Network, u64),
    Authenticated,
    Peer(PeerId),
    Released,
}

impl Quotas {
    pub(super) fn new(limits: QuotaLimits) -> Arc<Self> {
        Arc::new(Self { limits, counts: Mutex::default() })
    }

    // No code that can panic runs under either lock, so a poisoned one holds sound data.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A permit for a new connection. Where the quota is used up, it evicts the oldest
    /// unauthenticated connection of the network that holds most of them. `None`: authenticated
    /// connections hold all permits.
    pub(super) fn admit(self: &Arc<Self>, from: IpAddr) -> Option<Admitted> {
        let network = network(from);
        let mut evicted = false;
        loop {
            let mut counts = self.counts();
            let Some(fullest) = counts.fullest(self.limits, network) else {
                let permit = self.permit(&mut counts, network);
                return Some(Admitted { permit, evicted });
            };
            let oldest = counts.oldest(fullest);
            drop(counts);
            evicted |= oldest?.evict();
        }
    }

    fn permit(self: &Arc<Self>, counts: &mut Counts, network: Network) -> Arc<Permit> {
        counts.all += 1;
        counts.unauthenticated += 1;
        counts.number += 1;
        let permit = Arc::new(Permit {
            quotas: Arc::clone(self),
            holder: Mutex::new(Holder::Unauthenticated(network, counts.number)),
            authenticated: AtomicBool::new(false),
            evicted: Notify::new(),
        });
        let unauthenticated = counts.unauthenticated_by_network.entry(network).or_default();
        unauthenticated.insert(counts.number, Arc::downgrade(&permit));
        permit
    }
}

impl Permit {
    fn holder(&self) -> MutexGuard<'_, Holder> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated.load(Ordering::Relaxed)
    }

    /// The peer has authenticated itself.
    pub(super) fn authenticated(&self) {
        if self.is_authenticated() {
            return;
        }
        let mut holder = self.holder();
        if let Holder::Unauthenticated(network, number) = &*holder {
            self.quotas.counts().drop_unauthenticated(*network, *number);
            *holder = Holder::Authenticated;
            self.authenticated.store(true, Ordering::Relaxed);
        }
    }

    /// The peer is this process of ours. False: it has as many connections as it may have.
    pub(super) fn authenticated_as(&self, peer: &PeerId) -> bool {
        let mut holder = self.holder();
        let Holder::Unauthenticated(network, number) = &*holder else { return false };
        let mut counts = self.quotas.counts();
        let own = counts.by_peer.get(peer).copied().unwrap_or(0);
        if own >= self.quotas.limits.of_one_peer {
            return false;
        }
        *counts.by_peer.entry(peer.clone()).or_default() += 1;
        counts.drop_unauthenticated(*network, *number);
        drop(counts);
        *holder = Holder::Peer(peer.clone());
        self.authenticated.store(true, Ordering::Relaxed);
        true
    }

    /// Takes the permit away if the connection is still unauthenticated; whether it was.
    fn evict(&self) -> bool {
        let mut holder = self.holder();
        let Holder::Unauthenticated(network, number) = &*holder else { return false };
        let mut counts = self.quotas.counts();
        counts.drop_unauthenticated(*network, *number);
        counts.all -= 1;
        drop(counts);
        *holder = Holder::Released;
        drop(holder);
        self.evicted.notify_one();
        true
    }

    /// Done when the permit is taken away.
    pub(super) async fn until_evicted(&self) {
        self.evicted.notified().await;
    }

    /// The connection has ended.
    pub(super) fn release(&self) {
        let holder = std::mem::replace(&mut *self.holder(), Holder::Released);
        let mut counts = self.quotas.counts();
        match holder {
            Holder::Released => return,
            Holder::Authenticated => {}
            Holder::Unauthenticated(network, number) => {
                counts.drop_unauthenticated(network, number)
            }
            Holder::Peer(peer) => decrement(&mut counts.by_peer, &peer),
        }
        counts.all -= 1;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.release();
    }
}

impl Counts {
    /// The network whose oldest connection has to go before `network` may have another one; `None`:
    /// there is room.
    fn fullest(&self, limits: QuotaLimits, network: Network) -> Option<Network> {
        let of = |network| self.unauthenticated_by_network.get(network).map_or(0, BTreeMap::len);
        if of(&network) >= limits.unauthenticated_of_one {
            return Some(network);
        }
        if self.unauthenticated < limits.unauthenticated && self.all < limits.all {
            return None;
        }
        let most = self
            .unauthenticated_by_network
            .iter()
            .max_by_key(|(_, unauthenticated)| unauthenticated.len());
        Some(most.map_or(network, |(most, _)| *most))
    }

    /// The oldest unauthenticated connection of a network.
    fn oldest(&self, network: Network) -> Option<Arc<Permit>> {
        self.unauthenticated_by_network.get(&network)?.values().find_map(Weak::upgrade)
    }

    fn drop_unauthenticated(&mut self, network: Network, number: u64) {
        self.unauthenticated -= 1;
        if let Some(unauthenticated) = self.unauthenticated_by_network.get_mut(&network) {
            unauthenticated.remove(&number);
            if unauthenticated.is_empty() {
                self.unauthenticated_by_network.remove(&network);
            }
        }
    }
}

/// Counts one less, and forgets a key that has none left.
fn decrement<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn network(from: IpAddr) -> Network {
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

    const LIMITS: QuotaLimits =
        QuotaLimits { all: 6, unauthenticated: 4, unauthenticated_of_one: 2, of_one_peer: 1 };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_in(permit: &Arc<Permit>) -> bool {
        !matches!(*permit.holder(), Holder::Released)
    }

    #[test]
    fn unauthenticated_connections_are_few_and_those_of_one_address_fewer() {
        let quotas = Quotas::new(LIMITS);
        let admit = |from| quotas.admit(ip(from)).map(|entered| entered.permit);
        let first = admit("10.0.0.1").unwrap();
        // The same address, written as IPv6.
        let second = admit("::ffff:10.0.0.1").unwrap();
        let other = admit("10.0.0.2").unwrap();
        assert!(is_in(&first) && is_in(&second) && is_in(&other));
        let third = quotas.admit(ip("10.0.0.1")).unwrap();
        assert!(third.evicted && !is_in(&first), "the oldest of the address is evicted");
        let third = third.permit;
        assert!(is_in(&second) && is_in(&other) && is_in(&third));
        let v6 = admit("2001:db8::1").unwrap();
        // Four unauthenticated: the oldest of the fullest network is evicted.
        let fifth = admit("10.0.0.3").unwrap();
        assert!(!is_in(&second) && [&other, &third, &v6, &fifth].into_iter().all(is_in));
        // An authenticated connection counts towards the total alone.
        for permit in [&other, &third, &v6, &fifth] {
            permit.authenticated();
            permit.authenticated();
        }
        let one = admit("2001:db8::1").unwrap();
        let two = admit("2001:db8::2").unwrap();
        let three = admit("10.0.0.3").unwrap();
        assert!(!is_in(&one) && is_in(&two) && is_in(&three), "six in all");
        two.authenticated();
        three.authenticated();
        assert!(quotas.admit(ip("10.0.0.4")).is_none(), "all six are authenticated");
        drop(v6);
        assert!(quotas.admit(ip("2001:db8:0:1::1")).is_some());
        drop((first, second, other, third, fifth, one, two, three));
        let counts = quotas.counts();
        assert_eq!(
            (counts.all, counts.unauthenticated, counts.unauthenticated_by_network.len()),
            (0, 0, 0)
        );
    }

    #[tokio::test]
    async fn an_evicted_connection_is_notified() {
        let quotas = Quotas::new(LIMITS);
        let admit = || quotas.admit(ip("10.0.0.1")).unwrap().permit;
        let (first, _second, _third) = (admit(), admit(), admit());
        first.until_evicted().await;
    }

    #[test]
    fn a_process_of_ours_has_its_own_bound() {
        let quotas = Quotas::new(LIMITS);
        let peer = PeerId::parse("spiffe://sample/region/eu-fra/gateway/a").unwrap();
        let first = quotas.admit(ip("10.0.0.1")).unwrap().permit;
        assert!(first.authenticated_as(&peer) && !first.authenticated_as(&peer));
        let second = quotas.admit(ip("10.0.0.1")).unwrap().permit;
        assert!(!second.authenticated_as(&peer) && !second.is_authenticated());
        first.release();
        first.release();
        assert!(second.authenticated_as(&peer));
        drop((first, second));
        let counts = quotas.counts();
        assert_eq!((counts.all, counts.unauthenticated, counts.by_peer.len()), (0, 0, 0));
    }
}
