//! Packs that did not come with this program, made to last as long as it does.
//!
//! A placement and its ruling name the law by reference, and are handed from thread to thread; so
//! packs live for ever. A pack that travels with a map is therefore leaked, once for each digest,
//! and never more than [`INTERNED_MAX`] of them: whoever may sign maps could otherwise fill the
//! memory of every process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use crate::{StatutePack, packs};

/// How many packs a process keeps beside those that it came with. A deployment has some dozens of
/// laws, and each of them changes a few times a year.
pub const INTERNED_MAX: usize = 1024;

/// There is no room for another pack: [`INTERNED_MAX`] are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {INTERNED_MAX} statute packs in the life of one process; restart it")]
pub struct InternFull;

/// How many of packs that came with maps which nobody had signed: whoever may only ask must not
/// take the room of what people answer for.
pub(crate) const INTERNED_UNSIGNED_MAX: usize = 256;

/// The digests of those that were kept for a map that nobody had signed.
static UNSIGNED: Mutex<BTreeSet<[u8; 32]>> = Mutex::new(BTreeSet::new());

static INTERNED: Mutex<BTreeMap<[u8; 32], &'static StatutePack>> = Mutex::new(BTreeMap::new());

/// The pack, to last as long as the process: the one that we came with if it is the same by its
/// digest, else the one that was given first with that digest.
///
/// # Errors
/// [`InternFull`] when it is new and there is no room; nothing is kept then.
pub fn intern(pack: StatutePack) -> Result<&'static StatutePack, InternFull> {
    if let Some(shipped) = packs().iter().find(|shipped| shipped.digest() == pack.digest()) {
        return Ok(shipped);
    }
    // The map is whole between any two statements: a panic elsewhere has broken nothing in it.
    let mut interned = INTERNED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = interned.get(pack.digest()) {
        return Ok(known);
    }
    if interned.len() >= INTERNED_MAX {
        return Err(InternFull);
    }
    let digest = *pack.digest();
    let kept: &'static StatutePack = Box::leak(Box::new(pack));
    interned.insert(digest, kept);
    Ok(kept)
}

/// The same for a pack of a map that nobody has signed, as far as there is room for such.
///
/// # Errors
/// [`InternFull`].
pub(crate) fn intern_unsigned(pack: StatutePack) -> Result<&'static StatutePack, InternFull> {
    let digest = *pack.digest();
    {
        let mut unsigned = UNSIGNED.lock().unwrap_or_else(PoisonError::into_inner);
        if !unsigned.contains(&digest) {
            let ours = packs().iter().any(|shipped| *shipped.digest() == digest);
            if !ours && unsigned.len() >= INTERNED_UNSIGNED_MAX {
                return Err(InternFull);
            }
            if !ours {
                unsigned.insert(digest);
            }
        }
    }
    intern(pack)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_kept_once_and_there_is_an_end() {
        let text = "id = \"x\"\njurisdiction = \"AE\"\ntitle = \"x\"\ncitation = \"x\"\n\
                    source = \"x\"\ntrigger = \"located\"\nconstraint = \"none\"\n\
                    from = 2020-01-01\n[[rules]]\nsays = \"x\"\ncitation = \"x\"\n\
                    verified = \"inference\"\n";
        let pack = |n: usize| StatutePack::parse(&format!("{text}# {n}\n")).unwrap();
        let first = intern(pack(0)).unwrap();
        assert!(std::ptr::eq(first, intern(pack(0)).unwrap()));
        let shipped = packs().first().unwrap();
        assert!(std::ptr::eq(shipped, intern(shipped.clone()).unwrap()));
        for n in 1..INTERNED_MAX {
            intern(pack(n)).unwrap();
        }
        assert_eq!(intern(pack(INTERNED_MAX)), Err(InternFull));
        assert!(std::ptr::eq(first, intern(pack(0)).unwrap()));
    }
}
