//! What a gateway counts of its sessions with shards, and why a session ends.

use link::ops::metrics::{By, By2, Counter, Family, Gauge, Label, Registry};
use link::session::DialError;
use terms::{RegionId, ShardId};
use tonic::Status;
use wire::status_check::MalformedStatus;

/// Why a session ended or could not be opened. Shown to operators; it holds nothing that a peer
/// sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum SessionEnd {
    #[error("the annex gives an address that cannot be used")]
    Address,
    #[error("the shard's address is https, and the configuration has no [tls]; or the reverse")]
    NoTls,
    #[error("the TLS handshake failed, or another process than this shard answered it")]
    Handshake,
    #[error("the shard's certificate is no longer trusted")]
    Distrusted,
    #[error("the address does not resolve")]
    Unresolved,
    #[error("plaintext to an address that is not loopback")]
    NotLoopback,
    #[error("nothing answers at the address")]
    Unreachable,
    #[error("the shard did not send its welcome in time")]
    NoWelcome,
    #[error("the shard refused the session")]
    Refused,
    #[error("the peer is another region, shard or territory than the annex and the map name")]
    WrongPeer,
    #[error("the shard said goodbye")]
    Goodbye,
    #[error("the shard ended the session")]
    End,
    #[error("the connection broke")]
    Broken,
    #[error("the peer ended a call with a status that cannot be decoded")]
    Malformed,
    #[error("the session's task panicked, which is a bug")]
    Panicked,
}

impl SessionEnd {
    /// Why a call of the session failed; `otherwise` if the status is well-formed.
    pub(crate) fn by(status: &Status, otherwise: Self) -> Self {
        if MalformedStatus::is_cause_of(status) { Self::Malformed } else { otherwise }
    }
}

impl From<DialError> for SessionEnd {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Address => Self::Address,
            DialError::NoTls => Self::NoTls,
            DialError::Handshake => Self::Handshake,
            DialError::Unresolved => Self::Unresolved,
            DialError::NotLoopback => Self::NotLoopback,
            DialError::Unreachable => Self::Unreachable,
        }
    }
}

impl Label for SessionEnd {
    const KEY: &'static str = "cause";

    fn value(&self) -> &str {
        match self {
            Self::Address => "address",
            Self::NoTls => "no_tls",
            Self::Handshake => "handshake",
            Self::Distrusted => "distrusted",
            Self::Unresolved => "unresolved",
            Self::NotLoopback => "not_loopback",
            Self::Unreachable => "unreachable",
            Self::NoWelcome => "no_welcome",
            Self::Refused => "refused",
            Self::WrongPeer => "wrong_peer",
            Self::Goodbye => "goodbye",
            Self::End => "end",
            Self::Broken => "broken",
            Self::Malformed => "malformed_status",
            Self::Panicked => "panicked",
        }
    }
}

/// The metrics of a gateway's sessions. Labels are closed sets and the names of the map's regions.
pub(crate) struct SessionMetrics {
    up: Family<By2<RegionId, ShardId>, Gauge>,
    reconnects: Family<By<RegionId>, Counter>,
    ends: Family<By2<RegionId, SessionEnd>, Counter>,
    unserved: Family<By<RegionId>, Gauge>,
}

impl SessionMetrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let (up, reconnects, ends) = (Family::default(), Family::default(), Family::default());
        let metrics = Self { up, reconnects, ends, unserved: Family::default() };
        let Self { up, reconnects, ends, unserved } = &metrics;
        registry.register("session_up", "Whether the session with a shard is up", up.clone());
        registry.register(
            "session_redials",
            "Attempts to open a session, after the first",
            reconnects.clone(),
        );
        registry.register("session_ends", "Sessions and attempts at one that ended", ends.clone());
        let says = "Slots of a region whose calls are refused";
        registry.register("region_slots_unserved", says, unserved.clone());
        metrics
    }

    pub(crate) fn set_unserved(&self, region: &RegionId, slots: usize) {
        let gauge = self.unserved.get_or_create(&By(region.clone()));
        gauge.set(i64::try_from(slots).unwrap_or(i64::MAX));
    }

    pub(crate) fn set_up(&self, region: &RegionId, shard: &ShardId, up: bool) {
        let gauge = self.up.get_or_create_owned(&By2(region.clone(), shard.clone()));
        gauge.set(i64::from(up));
    }

    pub(crate) fn reconnects(&self, region: &RegionId) {
        self.reconnects.get_or_create(&By(region.clone())).inc();
    }

    /// A session, or an attempt at one, has ended.
    pub(crate) fn ended(&self, region: &RegionId, cause: SessionEnd) {
        self.ends.get_or_create(&By2(region.clone(), cause)).inc();
    }

    /// How often a session with a shard of that region has ended for that cause.
    #[cfg(test)]
    pub(crate) fn ends(&self, region: &RegionId, cause: SessionEnd) -> u64 {
        self.ends.get_or_create(&By2(region.clone(), cause)).get()
    }
}
