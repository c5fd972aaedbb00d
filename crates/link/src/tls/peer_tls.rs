//! TLS between our own processes: both ends present a certificate, and a peer is trusted as long as
//! its certificate would be verified again.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig, version};
use terms::{Clock, RegionId, UnixMillis};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use webpki::KeyUsage;

use crate::host::file_watch::Watched;
use crate::spiffe_id::{PeerId, PeerKind};
use crate::tls::chain::{Pins, Trust};
use crate::tls::config::{
    ALPN, HANDSHAKE_TIMEOUT, LOOK_AGAIN, SESSION_BUFFER_BYTES, Seen, TRY_AGAIN, Time, finish,
    first_end, provider, unix_time,
};
use crate::tls::crl::Lists;
use crate::tls::error::{Cause, Error};
use crate::tls::files;
use crate::tls::files::Own;
use crate::tls::metrics::TlsMetrics;
use crate::tls::verifier::{Verifier, Wanted};

/// Where the certificates of a process of ours lie, all in PEM.
#[derive(Debug, Clone)]
pub struct Files {
    /// Our own certificate, then its intermediates.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of all regions; those that the map does not pin are not used.
    pub authorities: PathBuf,
    /// Lists of revoked certificates.
    pub revoked: Option<PathBuf>,
}

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
    /// It has connected to us, so its certificate must be good for that.
    connected: bool,
}

/// Our own certificate, as one connection presents it.
#[derive(Debug, Clone)]
pub(crate) struct Ours(Arc<CertifiedKey>);

/// One generation of what was read.
#[derive(Debug)]
pub(super) struct Loaded {
    generation: u64,
    pub(super) own: Own,
    pub(super) id: PeerId,
    pub(super) trust: Arc<Trust>,
    server: Arc<ServerConfig>,
}

/// Whose certificate a process must have as its own.
#[derive(Debug, Clone)]
pub struct Expected {
    /// What kind of process it is.
    pub kind: PeerKind,
    /// The region in which it runs.
    pub region: RegionId,
}

/// TLS of one of our processes towards the others. Clones are the same.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    files: Files,
    pins: Mutex<Pins>,
    expect: Expected,
    clock: Arc<dyn Clock>,
    metrics: TlsMetrics,
    loaded: watch::Sender<Arc<Loaded>>,
}

impl Tls {
    /// Reads everything. Our own certificate must be one that others will take: of the expected
    /// kind and region, issued by an authority pinned for that region, and valid now.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(
        files: Files,
        pins: Pins,
        expect: Expected,
        clock: Arc<dyn Clock>,
        metrics: TlsMetrics,
    ) -> Result<Self, Error> {
        let loaded = load(&files, &pins, &expect, &clock, &metrics, 1, &Lists::default())?;
        let loaded = watch::Sender::new(Arc::new(loaded));
        let pins = Mutex::new(pins);
        Ok(Self(Arc::new(Inner { files, pins, expect, clock, metrics, loaded })))
    }

    /// Trusts from now on the authorities that another map pins, and no others. A connection whose
    /// peer is not trusted by it ends. Where our own certificate is not one that the new map's
    /// regions would take, it is kept all the same: others will say so, and an operator must see
    /// to a new one.
    pub fn repin(&self, pins: Pins) {
        // Held until the new generation is in use: a reload beside it must not bring old pins back.
        let mut held = self.0.pins.lock().unwrap_or_else(PoisonError::into_inner);
        held.clone_from(&pins);
        if self.reload_with(&pins) {
            return;
        }
        let Inner { files, clock, metrics, loaded, .. } = &*self.0;
        let old = Arc::clone(&loaded.borrow());
        let generation = old.generation + 1;
        let trust = files::regions(&files.authorities, files.revoked.as_ref(), &pins);
        // Even if a file cannot be read now, no peer stays trusted that the new map does not pin.
        let trust = trust.unwrap_or_else(|_| old.trust.pinned_by(&pins));
        let trust = trust.keeping(&old.trust.revoked);
        let (own, id) = (old.own.clone(), old.id.clone());
        match with(own, id, trust, clock, metrics, generation) {
            Ok(new) => {
                loaded.send_replace(Arc::new(new));
                tracing::warn!(generation, "the map pins other authorities, and nothing else");
            }
            Err(error) => tracing::error!(%error, "the map's authorities cannot be used"),
        }
    }

    /// Our own name.
    pub fn own(&self) -> PeerId {
        self.0.loaded.borrow().id.clone()
    }

    /// When our own certificate ends.
    pub fn not_after(&self) -> UnixMillis {
        self.0.loaded.borrow().own.not_after
    }

    /// When the first of the authorities that are in use ends.
    pub fn authority_not_after(&self) -> Option<UnixMillis> {
        first_end(&self.0.loaded.borrow().trust)
    }

    /// Reads the files again whenever one has changed. Never done.
    pub async fn keep(&self) {
        let Files { certificate, key, authorities, revoked } = self.0.files.clone();
        let paths = [certificate, key, authorities].into_iter().chain(revoked).collect();
        let mut watched = Watched::new(paths);
        loop {
            // Before the first wait, too: no one has seen what changed since the opening.
            if self.reload() {
                watched.wait().await;
            } else {
                drop(timeout(TRY_AGAIN, watched.wait()).await);
            }
        }
    }

    /// What is in use.
    pub(super) fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.0.loaded.borrow())
    }

    /// Whether all of it was good.
    pub(super) fn reload(&self) -> bool {
        let pins = self.0.pins.lock().unwrap_or_else(PoisonError::into_inner);
        self.reload_with(&pins)
    }

    fn reload_with(&self, pins: &Pins) -> bool {
        let Inner { files, expect, clock, metrics, loaded, .. } = &*self.0;
        let old = Arc::clone(&loaded.borrow());
        let generation = old.generation + 1;
        let revoked = &old.trust.revoked;
        match load(files, pins, expect, clock, metrics, generation, revoked) {
            Ok(new) => {
                loaded.send_replace(Arc::new(new));
                tracing::info!(generation, "certificates were read");
                metrics.files_in_use();
                return true;
            }
            Err(error) => {
                tracing::error!(%error, "changed certificates cannot be used: the old ones stay");
                metrics.files_refused(&error);
            }
        }
        // Whatever else is wrong, no certificate that an authority has revoked stays trusted.
        let new = files::lists(files.revoked.as_ref()).and_then(|lists| {
            let trust = old.trust.with_lists(lists);
            with(old.own.clone(), old.id.clone(), trust, clock, metrics, generation)
        });
        if let Ok(new) = new {
            loaded.send_replace(Arc::new(new));
            tracing::warn!(generation, "revocations were read, and nothing else");
        }
        false
    }

    pub(crate) fn metrics(&self) -> &TlsMetrics {
        &self.0.metrics
    }

    /// The settings of a listener, as they are now, and the certificate that they present.
    pub(crate) fn server(&self) -> (Arc<ServerConfig>, Ours) {
        let loaded = self.0.loaded.borrow();
        (Arc::clone(&loaded.server), Ours(Arc::clone(&loaded.own.key)))
    }

    /// Connects to one process of ours, and to no other.
    ///
    /// # Errors
    /// [`Error::Handshake`] and [`Error::Slow`]; [`Error::Setup`] when TLS refuses our settings.
    pub async fn connect(
        &self,
        stream: TcpStream,
        wanted: &PeerId,
    ) -> Result<(TlsStream<TcpStream>, Arc<Peer>), Error> {
        let loaded = Arc::clone(&self.0.loaded.borrow());
        let verifier = Arc::new(Verifier {
            trust: Arc::clone(&loaded.trust),
            wanted: Wanted::One(wanted.clone()),
            provider: provider(),
            metrics: self.0.metrics.clone(),
        });
        let mut config = ClientConfig::builder_with_details(provider(), Time::of(&self.0.clock))
            .with_protocol_versions(&[&version::TLS13])
            .map_err(Error::Setup)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(
                &loaded.own.key,
            ))));
        config.resumption = rustls::client::Resumption::disabled();
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Never sent (see below), and never looked at: the certificate's URI says who it is.
        config.enable_sni = false;
        let name = ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
        let connecting =
            TlsConnector::from(Arc::new(config)).connect_with(name, stream, |session| {
                session.set_buffer_limit(Some(SESSION_BUFFER_BYTES));
            });
        let stream = timeout(HANDSHAKE_TIMEOUT, connecting)
            .await
            .map_err(|_| Error::Slow)?
            .map_err(Error::Handshake)?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let ours = Ours(Arc::clone(&loaded.own.key));
        let peer = self
            .peer(chain, false, ours)
            .map_err(|cause| Error::Own { path: self.0.files.authorities.clone(), cause })?;
        Ok((stream, Arc::new(peer)))
    }

    /// Who presents this chain to us, who present ours, by what is trusted now. `connected`: it has
    /// connected to us, and not we to it.
    pub(crate) fn peer(
        &self,
        chain: &[CertificateDer<'_>],
        connected: bool,
        ours: Ours,
    ) -> Result<Peer, Cause> {
        let usage = if connected { KeyUsage::client_auth() } else { KeyUsage::server_auth() };
        let loaded = Arc::clone(&self.0.loaded.borrow());
        let (leaf, others) = chain.split_first().ok_or(Cause::Missing)?;
        let now = unix_time(&*self.0.clock);
        let (id, not_after) = loaded.trust.member((leaf, others), now, usage)?;
        let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        let seen = Seen::new(loaded.generation, self.0.clock.now());
        Ok(Peer { id, chain, not_after, seen, ours, connected })
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
        let again = self.peer(&peer.chain, peer.connected, peer.ours.clone());
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

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("own", &self.0.loaded.borrow().id).finish_non_exhaustive()
    }
}

/// Reads all files, and sees that our own certificate is one that others will take.
fn load(
    files: &Files,
    pins: &Pins,
    expect: &Expected,
    clock: &Arc<dyn Clock>,
    metrics: &TlsMetrics,
    generation: u64,
    before: &Lists,
) -> Result<Loaded, Error> {
    let own = files::own(&files.certificate, &files.key)?;
    let trust = files::regions(&files.authorities, files.revoked.as_ref(), pins)?;
    let trust = trust.keeping(before);
    let refused = |cause| Error::Own { path: files.certificate.clone(), cause };
    let (leaf, others) = own.key.cert.split_first().ok_or_else(|| refused(Cause::Missing))?;
    let now = unix_time(&**clock);
    let mut id = None;
    for usage in [KeyUsage::client_auth(), KeyUsage::server_auth()] {
        id = Some(trust.member((leaf, others), now, usage).map_err(refused)?.0);
    }
    let id = id.filter(|id| id.kind() == expect.kind && *id.region() == expect.region);
    let id = id.ok_or_else(|| refused(Cause::Other))?;
    with(own, id, trust, clock, metrics, generation)
}

/// One generation of our own certificate and of what we trust.
fn with(
    own: Own,
    id: PeerId,
    trust: Trust,
    clock: &Arc<dyn Clock>,
    metrics: &TlsMetrics,
    generation: u64,
) -> Result<Loaded, Error> {
    let trust = Arc::new(trust);
    let verifier = Verifier {
        trust: Arc::clone(&trust),
        wanted: Wanted::Members,
        provider: provider(),
        metrics: metrics.clone(),
    };
    let server = ServerConfig::builder_with_details(provider(), Time::of(clock))
        .with_protocol_versions(&[&version::TLS13])
        .map_err(Error::Setup)?
        .with_client_cert_verifier(Arc::new(verifier));
    let server = finish(server, &own, false);
    metrics.loaded(own.not_after, &trust);
    Ok(Loaded { generation, own, id, trust, server })
}
