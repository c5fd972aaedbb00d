//! What all writes have: the id of their request, and the state on which they insist.

use terms::{Detail, Reason, RegionId, Rejection};

use crate::store::record::Head;
use crate::store::types::{Fingerprint, Recent, Version};

/// The id of a request, and a keyed hash of all of it.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) id: [u8; 16],
    pub(crate) fingerprint: Fingerprint,
}

/// What the same request did before, if its record remembers it.
pub(crate) fn remembered<'a>(
    head: Option<&'a Head>,
    request: &Request,
) -> Option<(&'a Head, &'a Recent)> {
    let head = head?;
    Some((head, head.recent(&request.id)?))
}

/// On which state a write insists.
#[derive(Default)]
pub(crate) struct Condition {
    pub(crate) if_version: Option<Version>,
    pub(crate) etag: Option<String>,
}

impl Condition {
    /// Whether the state is the one that the writer insists on.
    pub(crate) fn holds(&self, head: Option<&Head>, region: &RegionId) -> Result<(), Rejection> {
        let live = head.filter(|head| !head.is_deleted());
        let version = live.map_or(Version::NONE, |head| head.version);
        let fault = |reason, field: &'static str| {
            let fault = Rejection::new(reason).field(field).with(Detail::Version, version);
            Err(fault.with(Detail::Region, region))
        };
        if let Some(wanted) = self.if_version
            && wanted != version
        {
            let exists = wanted == Version::NONE;
            let reason = if exists { Reason::RecordExists } else { Reason::VersionMismatch };
            return fault(reason, "if_version");
        }
        match &self.etag {
            Some(etag) if live.is_none_or(|head| head.etag() != *etag) => {
                fault(Reason::VersionMismatch, "etag")
            }
            _ => Ok(()),
        }
    }
}
