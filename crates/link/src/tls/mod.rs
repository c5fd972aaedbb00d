//! TLS between our own processes, and towards callers.
//!
//! Between our processes both ends present a certificate whose only URI says who they are
//! ([`crate::tls::peer`]). A certificate that names a region is verified against the authorities that
//! the region map pins for that region, and against no other: the authority of one region cannot
//! speak for another, whatever it signs. Everything is read again when a file changes; a file that
//! cannot be used leaves what was in use before, and says so.
//!
//! An authority without a list of revoked certificates has revoked nobody; one whose list is past
//! its end is trusted for nobody until there is a new one (`list_expired` among the causes).
//!
//! There is no resumption: every connection shows its certificate anew, so a revocation holds from
//! the moment at which its list is read.

pub(crate) mod caller_tls;
pub(crate) mod chain;
pub(crate) mod crl;
mod endings;
pub(crate) mod files;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod metrics;
pub mod peer;
pub(crate) mod peer_tls;
mod setup;
#[cfg(test)]
mod tests;
pub(crate) mod verifier;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ServerConfig, version};
use terms::{Clock, RegionId, UnixMillis};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use webpki::KeyUsage;

use crate::host::file_watch::Watched;
use crate::tls::chain::Trust;
use crate::tls::crl::Lists;
use crate::tls::files::Own;
use crate::tls::peer::{PeerId, PeerKind};
use crate::tls::verifier::{Verifier, Wanted};
use setup::{ALPN, finish, first_end, unix_time};

pub use crate::tls::caller_tls::{CallerCertificate, CallerFiles, CallerTls};
pub use crate::tls::chain::Cause;
pub(crate) use crate::tls::peer_tls::Ours;
pub use crate::tls::peer_tls::Peer;
pub use endings::{Ending, bundle_digests, revocation_endings};
pub(crate) use metrics::Closed;
pub use metrics::TlsMetrics;
pub(crate) use setup::{SESSION_BUFFER_BYTES, Time, provider};

/// Time in which a handshake must be done.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two tries of files that could not be used, when none of them has changed: a
/// certificate may have come to its beginning.
const TRY_AGAIN: Duration = Duration::from_secs(60);

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

/// The authorities that the region map pins.
#[derive(Debug, Clone)]
pub struct Pins {
    /// The deployment's trust domain.
    pub trust_domain: String,
    /// SHA-256 of the DER of each region's authorities.
    pub regions: BTreeMap<RegionId, Vec<[u8; 32]>>,
}

/// Why TLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{path} cannot be read ({source})")]
    Unread {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file is not PEM as it should be.
    #[error("{path}, {problem}")]
    Pem {
        /// Which.
        path: PathBuf,
        /// Where, and what is wrong.
        problem: terms::pem::PemInvalid,
    },
    /// Key and certificate are not of each other: one of them may be on its way.
    #[error("{path}: it is not the key of the certificate")]
    Unpaired {
        /// The key's file.
        path: PathBuf,
    },
    /// Our own certificate would be refused by everybody.
    #[error("{path}: {cause}")]
    Own {
        /// Our certificate's file.
        path: PathBuf,
        /// Why.
        cause: Cause,
    },
    /// TLS itself refuses what it is given.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
    /// The handshake failed: the other end is not who is looked for, or does not take us.
    #[error("the TLS handshake failed")]
    Handshake(#[source] std::io::Error),
    /// The handshake took too long.
    #[error("the TLS handshake was not done in time")]
    Slow,
}

/// One generation of what was read.
#[derive(Debug)]
struct Loaded {
    generation: u64,
    own: Own,
    id: PeerId,
    trust: Arc<Trust>,
    server: Arc<ServerConfig>,
}

/// TLS of one of our processes towards the others. Clones are the same.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    files: Files,
    pins: Mutex<Pins>,
    expect: (PeerKind, RegionId),
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
        expect: (PeerKind, RegionId),
        clock: Arc<dyn Clock>,
        metrics: TlsMetrics,
    ) -> Result<Self, Error> {
        let loaded = load(&files, &pins, &expect, (&clock, &metrics), (1, &Lists::default()))?;
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
        // A file that cannot be read now leaves nobody trusted whom the new map does not pin.
        let trust = trust.unwrap_or_else(|_| old.trust.pinned_by(&pins));
        let trust = trust.keeping(&old.trust.revoked);
        let own = (old.own.clone(), old.id.clone());
        match with(own, trust, (clock, metrics), generation) {
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
            // Before the first wait, too: what changed since the opening was seen by nobody.
            if self.reload() {
                watched.wait().await;
            } else {
                drop(timeout(TRY_AGAIN, watched.wait()).await);
            }
        }
    }

    /// Whether all of it was good.
    fn reload(&self) -> bool {
        let pins = self.0.pins.lock().unwrap_or_else(PoisonError::into_inner);
        self.reload_with(&pins)
    }

    fn reload_with(&self, pins: &Pins) -> bool {
        let Inner { files, expect, clock, metrics, loaded, .. } = &*self.0;
        let old = Arc::clone(&loaded.borrow());
        let generation = old.generation + 1;
        let since = (generation, &old.trust.revoked);
        match load(files, pins, expect, (clock, metrics), since) {
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
        // Whatever else is wrong, nobody goes on trusting whom an authority has revoked.
        let new = files::lists(files.revoked.as_ref()).and_then(|lists| {
            let trust = old.trust.with_lists(lists);
            with((old.own.clone(), old.id.clone()), trust, (clock, metrics), generation)
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
            .peer(chain, KeyUsage::server_auth(), ours)
            .map_err(|cause| Error::Own { path: self.0.files.authorities.clone(), cause })?;
        Ok((stream, Arc::new(peer)))
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
    (kind, region): &(PeerKind, RegionId),
    (clock, metrics): (&Arc<dyn Clock>, &TlsMetrics),
    (generation, before): (u64, &Lists),
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
    let id = id.filter(|id| id.kind() == *kind && id.region() == region);
    let id = id.ok_or_else(|| refused(Cause::Other))?;
    with((own, id), trust, (clock, metrics), generation)
}

/// One generation of our own certificate and of what we trust.
fn with(
    (own, id): (Own, PeerId),
    trust: Trust,
    (clock, metrics): (&Arc<dyn Clock>, &TlsMetrics),
    generation: u64,
) -> Result<Loaded, Error> {
    let trust = Arc::new(trust);
    let verifier = Verifier {
        trust: Arc::clone(&trust),
        wanted: Wanted::Gateways,
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
