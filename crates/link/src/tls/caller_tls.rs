//! TLS towards callers: a gateway's public listener.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ServerConfig, version};
use terms::{Clock, UnixMillis};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::host::file_watch::Watched;
use crate::tls::chain::Trust;
use crate::tls::config::{Seen, TRY_AGAIN, Time, finish, provider, unix_time};
use crate::tls::crl::Lists;
use crate::tls::error::{Cause, Error};
use crate::tls::files;
use crate::tls::files::Own;
use crate::tls::metrics::TlsMetrics;
use crate::tls::verifier::{Verifier, Wanted};

/// Where the certificates of a public listener lie, all in PEM.
#[derive(Debug, Clone)]
pub struct CallerFiles {
    /// The certificate that callers see, then its intermediates.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of callers' certificates; without any, callers have none.
    pub authorities: Option<PathBuf>,
    /// Lists of revoked certificates.
    pub revoked: Option<PathBuf>,
    /// Whether plain HTTP (1.1) is taken beside gRPC.
    pub pages: bool,
}

/// TLS of a public listener. Clones are the same.
#[derive(Clone)]
pub struct CallerTls(Arc<Inner>);

struct Inner {
    files: CallerFiles,
    clock: Arc<dyn Clock>,
    metrics: TlsMetrics,
    loaded: watch::Sender<Arc<Loaded>>,
}

pub(super) struct Loaded {
    generation: u64,
    pub(super) own: Own,
    pub(super) trust: Arc<Trust>,
    server: Arc<ServerConfig>,
}

/// A caller's certificate, verified. What its names allow is for the gateway to say.
#[derive(Debug)]
pub struct CallerCertificate {
    /// Its URI names.
    pub uris: Vec<String>,
    /// When it ends.
    pub not_after: UnixMillis,
    chain: Vec<CertificateDer<'static>>,
    seen: Seen,
}

impl CallerTls {
    /// Reads everything.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(
        files: CallerFiles,
        clock: Arc<dyn Clock>,
        metrics: TlsMetrics,
    ) -> Result<Self, Error> {
        let loaded = load(&files, &clock, &metrics, 1, &Lists::default())?;
        let loaded = watch::Sender::new(Arc::new(loaded));
        Ok(Self(Arc::new(Inner { files, clock, metrics, loaded })))
    }

    /// When the certificate that callers see ends.
    pub fn not_after(&self) -> UnixMillis {
        self.0.loaded.borrow().own.not_after
    }

    /// Reads the files again whenever one has changed. Never done.
    pub async fn keep(&self) {
        let CallerFiles { certificate, key, authorities, revoked, pages: _ } = self.0.files.clone();
        let paths = [certificate, key].into_iter().chain(authorities).chain(revoked).collect();
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

    /// Whether all of it was good.
    pub(super) fn reload(&self) -> bool {
        let Inner { files, clock, metrics, loaded } = &*self.0;
        let old = Arc::clone(&loaded.borrow());
        let generation = old.generation + 1;
        match load(files, clock, metrics, generation, &old.trust.revoked) {
            Ok(new) => {
                loaded.send_replace(Arc::new(new));
                tracing::info!(generation, "the listener's certificates were read");
                metrics.files_in_use();
                return true;
            }
            Err(error) => {
                tracing::error!(%error, "changed certificates cannot be used: the old ones stay");
                metrics.files_refused(&error);
            }
        }
        // Whatever else is wrong, no certificate that an authority has revoked stays trusted.
        let lists = files::lists(files.revoked.as_ref());
        let trust = lists.map(|lists| old.trust.with_lists(lists));
        if let Ok(new) =
            trust.and_then(|trust| with(files, old.own.clone(), trust, clock, metrics, generation))
        {
            loaded.send_replace(Arc::new(new));
            tracing::warn!(generation, "revocations were read, and nothing else");
        }
        false
    }

    pub(super) fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.0.loaded.borrow())
    }

    pub(crate) fn metrics(&self) -> &TlsMetrics {
        &self.0.metrics
    }

    /// The settings of a listener, as they are now.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.loaded.borrow().server)
    }

    /// Whose chain this is, by what is trusted now.
    pub(crate) fn certificate(
        &self,
        chain: &[CertificateDer<'_>],
    ) -> Result<CallerCertificate, Cause> {
        let loaded = Arc::clone(&self.0.loaded.borrow());
        let (leaf, others) = chain.split_first().ok_or(Cause::Missing)?;
        let said = loaded.trust.caller((leaf, others), unix_time(&*self.0.clock))?;
        Ok(CallerCertificate {
            uris: said.uris,
            not_after: said.not_after,
            chain: chain.iter().map(|certificate| certificate.clone().into_owned()).collect(),
            seen: Seen::new(loaded.generation, self.0.clock.now()),
        })
    }

    /// Whether a certificate that was verified when its connection began would be verified now.
    /// Asked for every call: costs two loads unless something has changed.
    pub fn trusts(&self, certificate: &CallerCertificate) -> bool {
        let (generation, now) = (self.0.loaded.borrow().generation, self.0.clock.now());
        if now >= certificate.not_after {
            return false;
        }
        if certificate.seen.holds(generation, now) {
            return true;
        }
        let trusted = self.certificate(&certificate.chain).is_ok();
        if trusted {
            certificate.seen.set(generation, now);
        }
        trusted
    }
}

impl std::fmt::Debug for CallerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallerTls").field("files", &self.0.files).finish_non_exhaustive()
    }
}

fn load(
    files: &CallerFiles,
    clock: &Arc<dyn Clock>,
    metrics: &TlsMetrics,
    generation: u64,
    before: &Lists,
) -> Result<Loaded, Error> {
    let own = files::own(&files.certificate, &files.key)?;
    if clock.now() >= own.not_after {
        return Err(Error::Own { path: files.certificate.clone(), cause: Cause::Expired });
    }
    let trust = files::callers(files.authorities.as_ref(), files.revoked.as_ref())?;
    let trust = trust.keeping(before);
    with(files, own, trust, clock, metrics, generation)
}

/// One generation of our own certificate and of what we trust.
fn with(
    files: &CallerFiles,
    own: Own,
    trust: Trust,
    clock: &Arc<dyn Clock>,
    metrics: &TlsMetrics,
    generation: u64,
) -> Result<Loaded, Error> {
    let trust = Arc::new(trust);
    let builder = ServerConfig::builder_with_details(provider(), Time::of(clock))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(Error::Setup)?;
    let builder = if trust.callers.is_empty() {
        builder.with_no_client_auth()
    } else {
        let verifier = Verifier {
            trust: Arc::clone(&trust),
            wanted: Wanted::Callers,
            provider: provider(),
            metrics: metrics.clone(),
        };
        builder.with_client_cert_verifier(Arc::new(verifier))
    };
    let server = finish(builder, &own, files.pages);
    metrics.loaded(own.not_after, &trust);
    Ok(Loaded { generation, own, trust, server })
}
