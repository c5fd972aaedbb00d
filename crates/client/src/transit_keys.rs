//! The transit keys of regions, as a client knows them: fetched through a gateway, and believed for the signature
//! of the region alone.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use ledger::note::Verifier;
use sealed::{NoteInvalid, PublishedKey, TransitKey, identity_name};

use crate::clock;

/// Why a body was not sealed, and not sent; or not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSealed {
    /// A body is bound to its tenant.
    #[error("a client that seals bodies needs its tenant's name (Access::tenant)")]
    Tenant,
    /// An identity key is not of its form, or two are of one region.
    #[error(
        "an identity key is not `<deployment>/<region>/transit+<id>+<key>`, or its region has two"
    )]
    Identity,
    /// The caller knows no identity key of the region.
    #[error("no identity key is known for the body's region")]
    Region,
    /// Nothing says which region the body is for.
    #[error("neither a domicile nor evidence says for which region the body is")]
    Domicile,
    /// What was given as the region's key is not believed.
    #[error(transparent)]
    Key(#[from] NoteInvalid),
    /// The region's key could not be fetched. It may be later.
    #[error("the region's transit key could not be fetched")]
    KeyUnavailable,
    /// A row of a stream has no placement, or its caller may not have the region's key.
    #[error("the placement of the body, or the region's transit key, was refused")]
    Refused,
    /// The request id is not a version 4 UUID.
    #[error("the request id, to which the body is bound, is not a version 4 UUID")]
    RequestId,
    /// Nothing can be sealed to the region's key.
    #[error("nothing can be sealed to the region's key")]
    Seal,
    /// The call would carry a body that is not sealed.
    #[error("this call cannot seal the bodies that it carries: read and write them one by one")]
    Call,
    /// The body of the answer is not sealed to the question, or does not open.
    #[error("the answer's body is not what the region sealed to this question")]
    Answer,
    /// The caller has no key for the body, or it is not encrypted under one.
    #[error("the body is not encrypted under a key that the caller has")]
    OwnKey,
}

/// What a client needs to seal bodies.
pub(crate) struct Sealing {
    pub(crate) tenant: String,
    /// By region.
    identities: BTreeMap<String, Verifier>,
    /// Keys that were fetched and verified, by region.
    keys: Mutex<BTreeMap<String, PublishedKey>>,
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealing").field("regions", &self.identities.len()).finish_non_exhaustive()
    }
}

impl Sealing {
    pub(crate) fn new(tenant: Option<&str>, identities: &[String]) -> Result<Self, NotSealed> {
        let tenant = tenant.ok_or(NotSealed::Tenant)?.to_owned();
        let mut by_region = BTreeMap::new();
        for vkey in identities {
            let identity = Verifier::from_vkey(vkey).map_err(|_| NotSealed::Identity)?;
            let parts: Vec<&str> = identity.name().split('/').collect();
            let [deployment, region, _] = *parts else { return Err(NotSealed::Identity) };
            let region = region.to_owned();
            if identity.name() != identity_name(deployment, &region)
                || by_region.insert(region, identity).is_some()
            {
                return Err(NotSealed::Identity);
            }
        }
        Ok(Self { tenant, identities: by_region, keys: Mutex::default() })
    }

    /// The key that was fetched for a region, while it would be believed: one that was just fetched is
    /// not fetched again by the next call, though this clock be ahead of the shard's. `now`: seconds
    /// since 1970.
    pub(crate) fn known(&self, region: &str, now: u64) -> Option<TransitKey> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(region).filter(|key| key.is_current(now)).map(|key| key.key.clone())
    }

    /// Whether an identity key of the region is known.
    pub(crate) fn knows(&self, region: &str) -> bool {
        self.identities.contains_key(region)
    }

    /// Believes a note, or not, and keeps its key.
    pub(crate) fn keep(&self, region: &str, note: &str) -> Result<TransitKey, NotSealed> {
        let identity = self.identities.get(region).ok_or(NotSealed::Region)?;
        let key = TransitKey::verify(note, identity, region, clock::now())?;
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(region.to_owned(), key.clone());
        Ok(key.key)
    }

    /// Forgets all keys that were fetched.
    pub(crate) fn forget(&self) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
