//! Which key of a log is believed.

use ledger::note::Verifier;

use super::{Breach, KeyFrom};
use crate::folder::{self, Folder};
use crate::policy::Policy;

pub(super) enum Unknown {
    Alarm(Breach),
    Folder(folder::Error),
}

/// The key to believe: the policy's, else the mirror's, else the shard's.
pub(super) fn known(
    folder: &Folder,
    said: &Verifier,
    policy: Option<&Policy>,
) -> Result<(Verifier, KeyFrom), Unknown> {
    let kept = match folder.key() {
        Ok(key) => Some(key),
        Err(folder::Error::Missing(_)) => None,
        Err(error) => return Err(Unknown::Folder(error)),
    };
    let (key, from) = match (policy, kept) {
        (Some(policy), kept) => {
            let key = policy.log(said.name()).ok_or(Unknown::Alarm(Breach::Unnamed))?;
            if kept.is_some_and(|kept| kept != *key) {
                return Err(Unknown::Alarm(Breach::OtherKey("the mirror's")));
            }
            (key.clone(), KeyFrom::Policy)
        }
        (None, Some(kept)) => (kept, KeyFrom::Mirror),
        (None, None) => (said.clone(), KeyFrom::Shard),
    };
    if key != *said {
        return Err(Unknown::Alarm(Breach::OtherKey("the one that is known")));
    }
    Ok((key, from))
}
