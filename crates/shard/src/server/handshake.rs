//! Who the gateway, or the other shard, at the other end of a session is, and where it
//! stands: by its certificate, and by this shard's own map. Nothing that it says of itself counts, but on
//! loopback, where it is on this machine.

use std::future;
use std::sync::Arc;

use atlas::{Country, RegionMap};
use ledger::entry::Role;
use link::net::listener::ConnectionInfo;
use link::spiffe_id::PeerKind;
use link::tls::{Peer, Tls};
use terms::{Reason, RegionId, Rejection, ShardId, TenantId};
use wire::session as proto;

use crate::node::Node;
use crate::policy::asker::{Asker, Stands};
use crate::store::principal::Principal;

/// Another shard. One of another region asks for the steps of moves to here, one of this region for the
/// slots of this store, and neither for anything else.
#[derive(Debug, Clone)]
pub(crate) struct OtherShard {
    pub(crate) region: RegionId,
    pub(crate) shard: ShardId,
}

/// The other end of one session.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    /// Where it stands.
    pub(crate) territory: Country,
    /// It is no gateway.
    pub(crate) shard: Option<OtherShard>,
    /// Its certificate; none on loopback, where it is on this machine.
    known: Option<(Tls, Arc<Peer>)>,
}

impl Gateway {
    /// Who has opened a session over this connection.
    ///
    /// Without TLS it is on this machine, and stands where the shard does. With TLS its certificate
    /// must still be trusted, name this deployment's trust domain, a region of this shard's map and
    /// the same gateway as the hello; it stands where the map says that its region does.
    pub(crate) fn of(
        node: &Node,
        tls: Option<&Tls>,
        arrived: Option<&ConnectionInfo>,
        hello: &proto::Hello,
    ) -> Result<Self, Rejection> {
        let missing = || Rejection::new(Reason::IdentityMissing);
        let arrived = arrived.ok_or_else(missing)?;
        let map = node.map();
        let shard = OtherShard::of(node, &map, hello)?;
        let (tls, peer) = match (tls, &arrived.peer) {
            (Some(tls), Some(peer)) => (tls, peer),
            (None, None) if arrived.plaintext => {
                // A shard on this machine stands where its region does: what a law asks of the way in
                // is asked of it.
                let region = shard.as_ref().and_then(|shard| map.region(&shard.region));
                let territory = region.map_or(node.territory, atlas::Region::territory);
                return Ok(Self { territory, shard, known: None });
            }
            _ => return Err(missing()),
        };
        let id = &peer.id;
        let kind = if shard.is_some() { PeerKind::Shard } else { PeerKind::Gateway };
        let ours = id.kind() == kind && id.trust_domain() == map.trust_domain();
        let region = map.region(id.region()).filter(|_| ours && tls.trusts(peer));
        let territory = region.ok_or_else(|| Rejection::new(Reason::IdentityInvalid))?.territory();
        let (field, right) = match &shard {
            Some(of) => {
                ("hello.from_shard", of.region == *id.region() && of.shard.as_str() == id.name())
            }
            None => ("hello.gateway", id.name() == hello.gateway),
        };
        if !right {
            let fault = Rejection::new(Reason::IdentityInvalid).field(field);
            return Err(fault.problem("is not the name in the certificate"));
        }
        Ok(Self { territory, shard, known: Some((tls.clone(), Arc::clone(peer))) })
    }

    /// Whether it stands by that map where it stood when it was let in.
    pub(crate) fn stands_by(&self, node: &Node, map: &RegionMap) -> bool {
        if self.shard.as_ref().is_some_and(|shard| !shard.is_other(map, node)) {
            return false;
        }
        let Some((_, peer)) = &self.known else { return true };
        map.region(peer.id.region()).is_some_and(|region| region.territory() == self.territory)
    }

    /// Done when we have another certificate than the one that it was shown. Never, if there is none.
    pub(crate) async fn until_renewed(&self) {
        match &self.known {
            Some((tls, peer)) => tls.until_renewed(peer).await,
            None => future::pending().await,
        }
    }

    /// Done when its certificate is trusted no more. Never, if it needs none.
    pub(crate) async fn until_distrusted(&self) {
        match &self.known {
            Some((tls, peer)) => tls.until_distrusted(peer).await,
            None => future::pending().await,
        }
    }
}

impl OtherShard {
    /// Which shard a hello is of. None: it is a gateway's. It must be another one, of a region of the map.
    /// Whether subjects may begin to move from there is asked of each: a map that forbids it must not keep
    /// a move that has begun from its end.
    fn of(node: &Node, map: &RegionMap, hello: &proto::Hello) -> Result<Option<Self>, Rejection> {
        if hello.from_region.is_empty() && hello.from_shard.is_empty() {
            return Ok(None);
        }
        let region = RegionId::parse(&hello.from_region);
        let region = region.map_err(|why| Rejection::id("hello.from_region", why))?;
        let shard = ShardId::parse(&hello.from_shard);
        let shard = shard.map_err(|why| Rejection::id("hello.from_shard", why))?;
        let of = Self { region, shard };
        if !of.is_other(map, node) {
            let fault = Rejection::new(Reason::NotPermitted).field("hello.from_region");
            return Err(fault.problem("is of no other shard of a region of the map"));
        }
        Ok(Some(of))
    }

    /// It, as one that asks: it stands where the map says that its region does.
    pub(crate) fn asker(&self, node: &Node, territory: Country, tenant: TenantId) -> Asker {
        let (log, name) = (node.growing(), format!("{}/{}", self.region, self.shard));
        let stands = Some(territory.as_str().to_owned());
        let who = Principal::new(&log, Some(tenant.clone()), &name, Role::Shard, stands);
        let stands = Stands { gateway: territory, caller: Some(territory) };
        Asker { tenant, who: Arc::new(who), stands }
    }

    /// The same, about a slot with the people of all tenants.
    pub(crate) fn asker_of_slots(&self, node: &Node, territory: Country) -> Asker {
        Asker::of_shards(&node.growing(), &format!("{}/{}", self.region, self.shard), territory)
    }

    /// Whether it is another shard than this one, of a region of that map.
    fn is_other(&self, map: &RegionMap, node: &Node) -> bool {
        let own = self.region == node.region && self.shard == node.shard;
        !own && map.region(&self.region).is_some()
    }
}

/// How a connection is named in the log: by its certificate, never by what it says of itself.
pub(crate) fn shown(arrived: Option<&ConnectionInfo>) -> String {
    let peer = arrived.and_then(|arrived| arrived.peer.as_ref());
    peer.map_or_else(|| "plaintext".to_owned(), |peer| peer.id.to_string())
}
