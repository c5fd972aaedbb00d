//! Who calls. The tenant is always taken from here, never from a request.

use std::sync::Arc;

use atlas::{RegionMap, Territory};
use terms::{Fault, Reason, TenantId};
use wire::session as proto;

/// A caller whose identity a listener has established.
///
/// On a plaintext listener everybody is the one caller that the configuration names: such a
/// listener is for loopback. A listener with TLS will take it from certificate or token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The platform for which it acts.
    pub tenant: TenantId,
    /// Its own name, for the placement log (as a tag) and for logs.
    pub name: String,
    /// The role in which it acts, as the placement log shows it.
    pub role: String,
    /// Where it stands: reads are judged by this.
    pub territory: Territory,
}

impl Caller {
    /// As shards are told.
    pub(crate) fn to_wire(&self) -> proto::Caller {
        proto::Caller {
            name: self.name.clone(),
            role: self.role.clone(),
            territory: self.territory.as_str().to_owned(),
        }
    }
}

/// How a listener establishes who calls.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    /// Everybody is this caller.
    Everybody(Arc<Caller>),
}

impl Identity {
    /// The caller behind a request.
    ///
    /// # Errors
    /// `NOT_PERMITTED` when the listener's rule does not give one.
    #[expect(clippy::unnecessary_wraps, reason = "whoever can present nothing valid is refused")]
    pub(crate) fn of<B>(&self, _request: &http::Request<B>) -> Result<Arc<Caller>, Fault> {
        match self {
            Self::Everybody(caller) => Ok(Arc::clone(caller)),
        }
    }
}

/// Whether the caller may use the API at all. Asked before anything is said of what exists.
///
/// # Errors
/// `NOT_PERMITTED` when the map knows no such tenant: what laws attach by its establishment would
/// be a guess.
pub(crate) fn permit(caller: &Caller, map: &RegionMap) -> Result<(), Fault> {
    match map.tenant(&caller.tenant) {
        Some(_) => Ok(()),
        None => Err(Fault::new(Reason::NotPermitted)
            .problem("the region map does not name the caller's tenant")),
    }
}
