//! Metrics and facts about certificates: when they end, and what was refused.

use std::sync::Arc;

use rustls::pki_types::UnixTime;
use terms::UnixMillis;

use crate::ops::health::Health;
use crate::ops::log_throttle::LogThrottle;
use crate::ops::metrics::{By, Counter, Family, Gauge, Label, Registry};
use crate::tls::chain::Trust;
use crate::tls::config::first_end;
use crate::tls::error::{Cause, Error};

/// Metrics of one process's TLS. Clones count the same.
#[derive(Debug, Clone, Default)]
pub struct TlsMetrics {
    expires: Gauge,
    authority_expires: Gauge,
    list_expires: Gauge,
    lists_kept: Gauge,
    reloads_failed: Counter,
    files_refused: Gauge,
    health: Option<(Health, &'static str)>,
    refused: Family<By<Refused>, Counter>,
    closed: Family<By<Closed>, Counter>,
    throttles: Arc<[LogThrottle; Cause::ALL.len()]>,
}

/// Why a certificate was refused, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Refused(Cause);

/// Why a connection did not become one, where no certificate was at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Closed {
    /// There were as many connections as are allowed, or as many of strangers.
    Full,
    /// There were as many connections of this process as one name may have.
    PeerFull,
    /// Nothing came in time.
    Silent,
    /// The handshake was not done in time.
    Slow,
    /// The handshake failed, at either end.
    Handshake,
}

impl Closed {
    const ALL: &'static [Self] =
        &[Self::Full, Self::PeerFull, Self::Silent, Self::Slow, Self::Handshake];
}

impl Label for Closed {
    const KEY: &'static str = "cause";

    fn value(&self) -> &str {
        match self {
            Self::Full => "full",
            Self::PeerFull => "peer_full",
            Self::Silent => "silent",
            Self::Slow => "slow",
            Self::Handshake => "handshake",
        }
    }
}

impl Label for Refused {
    const KEY: &'static str = "cause";

    fn value(&self) -> &str {
        self.0.as_str()
    }
}

impl TlsMetrics {
    /// For the sessions between this process and our others.
    pub fn new(registry: &mut Registry) -> Self {
        let names = [
            "certificate_expires_seconds",
            "authority_expires_seconds",
            "revocation_list_expires_seconds",
            "revocation_lists_kept",
            "tls_reloads_failed",
            "tls_files_refused",
            "certificates_refused",
            "connections_closed",
        ];
        Self::named(registry, names)
    }

    /// For the listener to which callers come.
    pub fn of_listener(registry: &mut Registry) -> Self {
        let names = [
            "listener_certificate_expires_seconds",
            "listener_authority_expires_seconds",
            "listener_revocation_list_expires_seconds",
            "listener_revocation_lists_kept",
            "listener_tls_reloads_failed",
            "listener_tls_files_refused",
            "listener_certificates_refused",
            "listener_connections_closed",
        ];
        Self::named(registry, names)
    }

    fn named(registry: &mut Registry, names: [&'static str; 8]) -> Self {
        let [expires, authorities, list_expires, lists_kept, failed, files, refused, closed] =
            names;
        let own = Self::default();
        let says = "When this process's own certificate ends, in seconds since 1970";
        registry.register(expires, says, own.expires.clone());
        let says =
            "When the first authority that is trusted ends, in seconds since 1970; 0 for none";
        registry.register(authorities, says, own.authority_expires.clone());
        let says = "When the first list of revoked certificates ends, and with it trust in its authority, in seconds since 1970; 0 for none";
        registry.register(list_expires, says, own.list_expires.clone());
        let says = "Lists of revoked certificates that are in use although their file lacks them, or holds an older copy";
        registry.register(lists_kept, says, own.lists_kept.clone());
        let says = "Changed certificate files that could not be used: the old ones stay in use";
        registry.register(failed, says, own.reloads_failed.clone());
        let says =
            "1 while the certificate files cannot be used, and what was read before stays in use";
        registry.register(files, says, own.files_refused.clone());
        let says = "Certificates of others that were refused, by cause";
        registry.register(refused, says, own.refused.clone());
        let says = "Connections that were closed before they were up, by cause";
        registry.register(closed, says, own.closed.clone());
        for cause in Closed::ALL {
            drop(own.closed.get_or_create(&By(*cause)));
        }
        for cause in Cause::ALL {
            drop(own.refused.get_or_create(&By(Refused(*cause))));
        }
        own
    }

    /// Counts a refusal, and says whether it may be logged: if so, how many log lines were
    /// suppressed since the last one.
    pub(super) fn refused(&self, cause: Cause, now: UnixTime) -> Option<u64> {
        self.refused.get_or_create(&By(Refused(cause))).inc();
        let own = Cause::ALL.iter().position(|other| *other == cause)?;
        self.throttles.get(own)?.allow(UnixMillis(now.as_secs().saturating_mul(1000)))
    }

    pub(crate) fn closed(&self, cause: Closed) {
        self.closed.get_or_create(&By(cause)).inc();
    }

    /// Tells operators under that name, too, whether the files are in use.
    #[must_use]
    pub fn telling(self, health: &Health, name: &'static str) -> Self {
        health.set_fact(name, "in use");
        Self { health: Some((health.clone(), name)), ..self }
    }

    /// The files cannot be used: what was in use before stays.
    pub(super) fn files_refused(&self, error: &Error) {
        self.reloads_failed.inc();
        self.files_refused.set(1);
        if let Some((health, name)) = &self.health {
            health.set_fact(*name, format!("refused, and the old ones stay in use: {error}"));
        }
    }

    pub(super) fn files_in_use(&self) {
        self.files_refused.set(0);
        if let Some((health, name)) = &self.health {
            health.set_fact(*name, "in use");
        }
    }

    pub(super) fn loaded(&self, own: UnixMillis, trust: &Trust) {
        let seconds = |at: UnixMillis| i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
        self.expires.set(seconds(own));
        self.authority_expires.set(first_end(trust).map_or(0, seconds));
        self.list_expires.set(trust.revoked.first_end().map_or(0, seconds));
        self.lists_kept.set(i64::try_from(trust.revoked.kept()).unwrap_or(i64::MAX));
    }

    /// When the first list ends, and how many are kept.
    #[cfg(test)]
    pub(super) fn lists(&self) -> (i64, i64) {
        (self.list_expires.get(), self.lists_kept.get())
    }

    /// How many connections were closed for this cause.
    #[cfg(test)]
    pub(crate) fn closures(&self, cause: Closed) -> u64 {
        self.closed.get_or_create(&By(cause)).get()
    }

    /// Whether the files cannot be used.
    #[cfg(test)]
    pub(super) fn files_are_refused(&self) -> i64 {
        self.files_refused.get()
    }

    /// How often a reload failed.
    #[cfg(test)]
    pub(super) fn failures(&self) -> u64 {
        self.reloads_failed.get()
    }
}
