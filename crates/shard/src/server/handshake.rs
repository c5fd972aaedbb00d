//! Who the gateway at the other end of a session is, and where it stands: by its certificate, and
//! by this shard's own map. Nothing that it says of itself counts.

use std::future;
use std::sync::Arc;

use atlas::{Country, RegionMap};
use link::net::listener::ConnectionInfo;
use link::spiffe_id::PeerKind;
use link::tls::{Peer, Tls};
use terms::{Reason, Rejection};
use wire::session as proto;

use crate::node::Node;

/// The gateway of one session.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    /// Where it stands.
    pub(crate) territory: Country,
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
        let (tls, peer) = match (tls, &arrived.peer) {
            (Some(tls), Some(peer)) => (tls, peer),
            (None, None) if arrived.plaintext => {
                return Ok(Self { territory: node.territory, known: None });
            }
            _ => return Err(missing()),
        };
        let id = &peer.id;
        let map = node.map();
        let ours = id.kind() == PeerKind::Gateway && id.trust_domain() == map.trust_domain();
        let region = map.region(id.region()).filter(|_| ours && tls.trusts(peer));
        let territory = region.ok_or_else(|| Rejection::new(Reason::IdentityInvalid))?.territory();
        if id.name() != hello.gateway {
            let fault = Rejection::new(Reason::IdentityInvalid).field("hello.gateway");
            return Err(fault.problem("is not the name in the certificate"));
        }
        Ok(Self { territory, known: Some((tls.clone(), Arc::clone(peer))) })
    }

    /// Whether it stands by that map where it stood when it was let in.
    pub(crate) fn stands_by(&self, map: &RegionMap) -> bool {
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

/// How a connection is named in the log: by its certificate, never by what it says of itself.
pub(crate) fn shown(arrived: Option<&ConnectionInfo>) -> String {
    let peer = arrived.and_then(|arrived| arrived.peer.as_ref());
    peer.map_or_else(|| "plaintext".to_owned(), |peer| peer.id.to_string())
}
