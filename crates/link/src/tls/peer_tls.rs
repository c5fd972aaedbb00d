//! Peers that have shown their certificates, and how long they are trusted by them.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use terms::UnixMillis;
use tokio::time::sleep;
use webpki::KeyUsage;

use crate::tls::chain::Cause;
use crate::tls::peer::{PeerId, PeerKind};
use crate::tls::setup::{LOOK_AGAIN, Seen, unix_time};
use crate::tls::{Loaded, Tls};

/// Who is at the other end, verified. It keeps what was presented, to be verified again.
#[derive(Debug)]
pub struct Peer {
    /// Its name.
    pub id: PeerId,
    chain: Vec<CertificateDer<'static>>,
    not_after: UnixMillis,
    seen: Seen,
    /// What we have presented to it.
    ours: Ours,
}

/// Our own certificate, as one connection presents it.
#[derive(Debug, Clone)]
pub(crate) struct Ours(pub(super) Arc<CertifiedKey>);

impl Tls {
    /// Who presents this chain to us, who present ours, by what is trusted now.
    pub(crate) fn peer(
        &self,
        chain: &[CertificateDer<'_>],
        usage: KeyUsage,
        ours: Ours,
    ) -> Result<Peer, Cause> {
        let loaded = Arc::clone(&self.0.loaded.borrow());
        let (leaf, others) = chain.split_first().ok_or(Cause::Missing)?;
        let now = unix_time(&*self.0.clock);
        let (id, not_after) = loaded.trust.member((leaf, others), now, usage)?;
        let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        let seen = Seen::new(loaded.generation, self.0.clock.now());
        Ok(Peer { id, chain, not_after, seen, ours })
    }

    /// Whether a peer that was verified once would be verified again now.
    pub fn trusts(&self, peer: &Peer) -> bool {
        let (generation, now) = (self.0.loaded.borrow().generation, self.0.clock.now());
        if now >= peer.not_after {
            return false;
        }
        if peer.seen.holds(generation, now) {
            return true;
        }
        let usage = match peer.id.kind() {
            PeerKind::Gateway => KeyUsage::client_auth(),
            PeerKind::Shard => KeyUsage::server_auth(),
        };
        let again = self.peer(&peer.chain, usage, peer.ours.clone());
        let trusted = again.is_ok_and(|again| again.id == peer.id);
        if trusted {
            peer.seen.set(generation, now);
        }
        trusted
    }

    /// Done when our own certificate is another than the one that this peer was shown. Sooner or
    /// later it trusts the old one no more: a new session should take this one's place before.
    pub async fn until_renewed(&self, peer: &Peer) {
        let mut changes = self.0.loaded.subscribe();
        let other = |loaded: &Arc<Loaded>| loaded.own.key.cert != peer.ours.0.cert;
        // The sender lives as long as we do.
        drop(changes.wait_for(other).await);
    }

    /// Done when a peer is trusted no more: its certificate has ended or is revoked, or its
    /// authority is none any more. A session with it must end then.
    pub async fn until_distrusted(&self, peer: &Peer) {
        let mut changes = self.0.loaded.subscribe();
        loop {
            peer.seen.forget();
            if !self.trusts(peer) {
                let id = &peer.id;
                tracing::warn!(peer = %id, "a peer is trusted no more: its session ends");
                return;
            }
            let left = peer.not_after.0.saturating_sub(self.0.clock.now().0);
            let look = Duration::from_millis(left.saturating_add(1)).min(LOOK_AGAIN);
            tokio::select! {
                () = sleep(look) => {}
                // The sender lives as long as we do.
                _changed = changes.changed() => {}
            }
        }
    }
}
