//! What the settings of both ends share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::UnixTime;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;
use terms::{Clock, UnixMillis};

use crate::tls::chain::Trust;
use crate::tls::files::Own;

/// The only protocol that is spoken.
pub(super) const ALPN: &[u8] = b"h2";
/// Bytes that wait to be sent on one session between our processes. Frames of a session are large,
/// and its ends know each other; a stranger's connection has the library's 64 KiB.
pub(crate) const SESSION_BUFFER_BYTES: usize = 512 << 10;
/// Time between two looks at whether a peer is still trusted, when nothing has changed: a
/// revocation list or an authority may have come to its end.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Time in which a handshake must be done.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two tries of files that could not be used, when none of them has changed: a
/// certificate may have come to its beginning.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(60);

/// A listener's settings, with our certificate and without resumption. `pages`: plain HTTP is
/// taken beside gRPC.
pub(super) fn finish(
    builder: rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>,
    own: &Own,
    pages: bool,
) -> Arc<ServerConfig> {
    let resolver = Arc::new(SingleCertAndKey::from(Arc::clone(&own.key)));
    let mut config = builder.with_cert_resolver(resolver);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![ALPN.to_vec()];
    if pages {
        config.alpn_protocols.push(b"http/1.1".to_vec());
    }
    Arc::new(config)
}

pub(super) fn first_end(trust: &Trust) -> Option<UnixMillis> {
    let all = trust.regions.values().flatten().chain(&trust.callers);
    all.map(|authority| authority.not_after).min()
}

pub(super) fn unix_time(clock: &dyn Clock) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(clock.now().0))
}

/// Our clock, as TLS takes one: what is valid is judged by one clock in one process.
#[derive(Clone)]
pub(crate) struct Time(Arc<dyn Clock>);

impl Time {
    pub(crate) fn of(clock: &Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self(Arc::clone(clock)))
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(&*self.0))
    }
}

impl std::fmt::Debug for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Time")
    }
}

pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// By which generation of what we trust a peer was verified last, and when.
#[derive(Debug)]
pub(super) struct Seen {
    generation: AtomicU64,
    at: AtomicU64,
}

impl Seen {
    pub(super) fn new(generation: u64, now: UnixMillis) -> Self {
        Self { generation: AtomicU64::new(generation), at: AtomicU64::new(now.0) }
    }

    /// Whether there is no need to verify again.
    pub(super) fn holds(&self, generation: u64, now: UnixMillis) -> bool {
        let age = u128::from(self.at.load(Ordering::Acquire).abs_diff(now.0));
        self.generation.load(Ordering::Acquire) == generation && age < LOOK_AGAIN.as_millis()
    }

    pub(super) fn set(&self, generation: u64, now: UnixMillis) {
        self.at.store(now.0, Ordering::Release);
        self.generation.store(generation, Ordering::Release);
    }

    /// The next question verifies again.
    pub(super) fn forget(&self) {
        // No generation has this number.
        self.generation.store(0, Ordering::Release);
    }
}
