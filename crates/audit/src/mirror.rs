//! Mirrors the logs of a shard into folders.
//!
//! What is sent is hashed here, into the tree that is in the folder. It becomes the mirror when the
//! root is the one that the log's key has signed; until then the mirror is what it was before.

mod alarm;
mod heads;
mod log;

use std::path::Path;
use std::time::Duration;

use client::Ledger;
use ledger::Checkpoint;
use ledger::note::Verifier;
use tokio::time::{Instant, sleep};

use crate::Finding;
use crate::folder::{self, Folder, Held};
use crate::policy::Policy;
use crate::rules::Broken;

pub use alarm::{Alarm, What};
pub use heads::old_heads;
use log::Log;

/// Logs of one shard at the most: one for each time that it was recovered with a loss.
pub const LOGS_MAX: usize = 1000;
/// Findings of one pull that are kept.
pub const FINDINGS_MAX: usize = 100;

/// Time for which another process may be at a mirror before this one gives up.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(600);
/// Time between two looks whether it is done.
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// Why a log was not mirrored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The shard has shown what no log may show.
    #[error(transparent)]
    Alarm(#[from] Alarm),
    /// The shard was not reached, or said no.
    #[error("{}", not_answered(.0))]
    Call(#[from] client::Error),
    /// The mirror cannot be read or written.
    #[error("{origin}: {error}")]
    Folder {
        /// The log.
        origin: String,
        /// Why.
        #[source]
        error: folder::Error,
    },
}

/// Why a shard did not answer. The client speaks of gateways and of writes, and here is neither.
pub fn not_answered(error: &client::Error) -> String {
    if matches!(error, client::Error::Unreachable(_) | client::Error::Broken) {
        return "nothing answers there, or the connection broke: is it running?".to_owned();
    }
    if matches!(error, client::Error::TimedOut) {
        return "it did not answer in time".to_owned();
    }
    error.to_string()
}

/// From where a log's key is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFrom {
    /// The policy, which came by another way.
    Policy,
    /// The mirror: the key is the one of the first time.
    Mirror,
    /// The shard itself, now, for the first time: compare it with what its operators say.
    Shard,
}

/// A log that was mirrored.
#[derive(Debug)]
pub struct Pulled {
    /// Where it is.
    pub folder: Folder,
    /// Its key, as text.
    pub vkey: String,
    /// From where the key is known.
    pub key_from: KeyFrom,
    /// Entries that were there before.
    pub before: u64,
    /// What it is now.
    pub checkpoint: Checkpoint,
    /// The witnesses of the policy that have cosigned it.
    pub witnesses: Vec<String>,
    /// What it says of the log before it, and should not: see [`old_heads`].
    pub history: Option<Finding>,
    /// Rules that the new entries break, the first [`FINDINGS_MAX`] of them.
    pub findings: Vec<BrokenEntry>,
}

/// An entry that breaks a rule. It is signed all the same, and so it is mirrored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file} entry {index} {broken}")]
pub struct BrokenEntry {
    /// The bundle in which it is.
    pub file: String,
    /// Its number.
    pub index: u64,
    /// The rule.
    pub broken: Broken,
}

/// Told how much of a log is done: its origin, entries, of how many.
pub type Progress<'p> = dyn FnMut(&str, u64, u64) + Send + 'p;

/// Mirrors every log of a shard into folders below `place`, named `<region>-<shard>-<period>`.
/// What was done before is not done again.
///
/// # Errors
/// [`Error`], of the first log that is not mirrored; those before it are.
pub async fn pull(
    shard: &Ledger,
    place: &Path,
    policy: Option<&Policy>,
    progress: &mut Progress<'_>,
) -> Result<Vec<Pulled>, Error> {
    let newest = shard.checkpoint("").await?;
    let no = |what| Alarm { origin: "the shard".to_owned(), what: What::NoLog(what) };
    if newest.vkeys.is_empty() || newest.vkeys.len() > LOGS_MAX {
        return Err(no("it names no key, or too many").into());
    }
    let mut pulled = Vec::new();
    for vkey in &newest.vkeys {
        let said = Verifier::from_vkey(vkey).map_err(|_| no("the key cannot be read"))?;
        pulled.push(pull_log(shard, place, (&said, policy), progress).await?);
    }
    for log in &mut pulled {
        let lost = |error| Error::Folder { origin: log.checkpoint.origin.clone(), error };
        log.history = heads::old_head_of(place, &log.folder).map_err(lost)?;
    }
    Ok(pulled)
}

/// The folder of the log `origin` below `place`.
pub fn folder_of(place: &Path, origin: &str) -> Option<Folder> {
    let parts: Vec<&str> = origin.split('/').collect();
    let [_, region, shard, period] = parts.as_slice() else { return None };
    let is_name = |part: &&str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !part.is_empty() && part.len() <= 64 && part.chars().all(plain)
    };
    let named = [region, shard, period].into_iter().all(is_name);
    named.then(|| Folder::at(place.join(format!("{region}-{shard}-{period}"))))
}

/// A log of a shard, taken into its folder.
async fn pull_log(
    shard: &Ledger,
    place: &Path,
    (said, policy): (&Verifier, Option<&Policy>),
    progress: &mut Progress<'_>,
) -> Result<Pulled, Error> {
    let origin = said.name().to_owned();
    let alarm = |what| Alarm { origin: origin.clone(), what };
    let lost = |error| Error::Folder { origin: origin.clone(), error };
    let folder = folder_of(place, &origin).ok_or_else(|| {
        alarm(What::NoLog("its origin is not <deployment>/<region>/<shard>/<period>"))
    })?;
    let (key, key_from) = known(&folder, said, policy).map_err(|error| match error {
        Unknown::Alarm(what) => alarm(what).into(),
        Unknown::Folder(error) => lost(error),
    })?;
    folder.create().map_err(lost)?;
    let _held = lock(&folder).await.map_err(lost)?;
    let note = shard.checkpoint(&origin).await?.checkpoint;
    let theirs = Checkpoint::open(&note, &key).map_err(|error| alarm(What::BadSignature(error)))?;
    let witnesses = policy.map_or_else(|| Ok(Vec::new()), |policy| policy.cosigned(&note));
    let witnesses = witnesses.map_err(|error| alarm(What::Uncosigned(error)))?;
    let ours = match folder.checkpoint(&key) {
        Ok(ours) => Some(ours),
        Err(folder::Error::Missing(_)) => None,
        Err(error) => return Err(lost(error)),
    };
    let before = ours.as_ref().map_or(0, |at| at.size);
    // A key beside which nothing was ever mirrored has come from the shard, and was never compared.
    let never = key_from == KeyFrom::Mirror && ours.is_none();
    let key_from = if never { KeyFrom::Shard } else { key_from };
    if key_from != KeyFrom::Mirror {
        folder.put_key(&key.vkey()).map_err(lost)?;
    }
    let log = Log { shard, folder, key, ours, theirs, note };
    let findings = log.take(progress).await?;
    let Log { folder, key, theirs: checkpoint, .. } = log;
    let (vkey, history) = (key.vkey(), None);
    Ok(Pulled { folder, vkey, key_from, before, checkpoint, witnesses, history, findings })
}

/// Waits until nobody else is at the folder.
async fn lock(folder: &Folder) -> Result<Held, folder::Error> {
    let until = Instant::now() + LOCK_WAIT_MAX;
    loop {
        match folder.try_lock()? {
            Some(held) => return Ok(held),
            None if Instant::now() >= until => return Err(folder::Error::Busy),
            None => sleep(LOCK_WAIT).await,
        }
    }
}

enum Unknown {
    Alarm(What),
    Folder(folder::Error),
}

/// The key to believe: the policy's, else the mirror's, else the shard's.
fn known(
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
            let key = policy.log(said.name()).ok_or(Unknown::Alarm(What::Unnamed))?;
            if kept.is_some_and(|kept| kept != *key) {
                return Err(Unknown::Alarm(What::OtherKey("the mirror's")));
            }
            (key.clone(), KeyFrom::Policy)
        }
        (None, Some(kept)) => (kept, KeyFrom::Mirror),
        (None, None) => (said.clone(), KeyFrom::Shard),
    };
    if key != *said {
        return Err(Unknown::Alarm(What::OtherKey("the one that is known")));
    }
    Ok((key, from))
}
