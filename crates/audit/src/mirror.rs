//! Mirrors the logs of a shard into folders.
//!
//! What is sent is hashed here, into the tree that is in the folder. It becomes the mirror when the
//! root is the one that the log's key has signed; until then the mirror is what it was before.

mod alarm;
mod cosignatures;
mod heads;
mod key;
mod listed;
mod log;
mod maps;

use std::path::Path;
use std::time::Duration;

use client::Ledger;
use ledger::Checkpoint;
use ledger::entry::MapRef;
use ledger::note::Verifier;
use tokio::time::{Instant, sleep};

use crate::finding::Finding;
use crate::folder::{self, Folder, FolderLock, PENDING};
use crate::policy::Policy;
use crate::rules::Broken;

pub use alarm::{Alarm, Breach};
pub use heads::{contradicted_head, old_heads};
use key::{Unknown, known};
use log::Log;
pub use maps::fetch_maps;

/// Logs of one shard at the most: one for each time that it was recovered with a loss.
pub const LOGS_MAX: usize = 1000;
/// Logs of one shard that are mirrored for the first time in one pull at the most.
pub const LOGS_NEW_MAX: usize = 64;

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
    /// More entries are new than may be taken.
    #[error("{origin}: {new} entries are new, and no more than {max} may be taken")]
    TooMany {
        /// The log.
        origin: String,
        /// New entries.
        new: u64,
        /// Those that may be taken.
        max: u64,
    },
    /// The folder holds the logs of another deployment: names of folders would not tell them apart.
    #[error(
        "the folder holds logs of the deployment {place}, and the shard is of {origin}: give each \
         a folder of its own"
    )]
    OtherDeployment {
        /// That of the logs in the folder.
        place: String,
        /// That of the shard.
        origin: String,
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
    if matches!(error, client::Error::MalformedStatus) {
        return "its answer ends with a malformed status: is it a shard of this deployment, and \
                does nothing between change its answers?"
            .to_owned();
    }
    // A refusal is reported in the shard's own words.
    crate::shown(&error.to_string())
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
    /// When a whole quorum of them last did, in seconds since 1970.
    pub cosigned_at: Option<u64>,
    /// Whether its key was never compared: it is said on every run until a policy names it.
    pub on_trust: bool,
    /// Whether it has ended, by an entry SEAL.
    pub sealed: bool,
    /// The maps of all its MAP entries, in order.
    pub maps: Vec<MapRef>,
    /// What is wrong with what it says of the log before it: see [`old_heads`].
    pub history: Option<Finding>,
    /// Rules that the new entries break, the first [`crate::finding::FINDINGS_MAX`] of them. They are in the
    /// folder's file of findings, too.
    pub findings: Vec<BrokenEntry>,
}

/// Where mirrors are, and what is trusted.
#[derive(Debug, Clone, Copy)]
pub struct Mirrors<'a> {
    /// Each log has a folder in it.
    pub place: &'a Path,
    /// The keys to trust.
    pub policy: Option<&'a Policy>,
    /// The region and the shard that a gateway names for the address.
    pub named: Option<(&'a str, &'a str)>,
    /// New entries of one log that are taken at the most. None: all.
    pub entries_max: Option<u64>,
}

/// What came of one look at a shard.
#[derive(Debug, Default)]
pub struct Pull {
    /// The logs that were mirrored, the oldest period first.
    pub logs: Vec<Pulled>,
    /// Why others were not, and what the shard should show and does not.
    pub errors: Vec<Error>,
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

/// Receives how much of a log is done: its origin, entries done, and all.
pub type Progress<'p> = dyn FnMut(&str, u64, u64) + Send + 'p;

/// Mirrors every log of a shard into folders named `<region>.<shard>.<period>` below a place. What was
/// mirrored before stays. A log that fails does not stop the others, unless the shard does not answer.
pub async fn pull(shard: &Ledger, into: &Mirrors<'_>, progress: &mut Progress<'_>) -> Pull {
    let mut pull = Pull::default();
    let listed = match listed::listed(shard, into).await {
        Ok(listed) => listed,
        Err(error) => {
            pull.errors.push(error);
            return pull;
        }
    };
    pull.errors.extend(listed.lacking);
    for said in &listed.keys {
        match pull_log(shard, into, said, progress).await {
            Ok(pulled) => pull.logs.push(pulled),
            Err(error) => {
                let away = matches!(error, Error::Call(_));
                pull.errors.push(error);
                if away {
                    break;
                }
            }
        }
    }
    for log in &mut pull.logs {
        match heads::old_head_of(into.place, &log.folder) {
            Ok(history) => log.history = history,
            Err(error) => {
                let origin = log.checkpoint.origin.clone();
                pull.errors.push(Error::Folder { origin, error });
            }
        }
    }
    pull
}

/// A log of a shard, taken into its folder.
async fn pull_log(
    shard: &Ledger,
    Mirrors { place, policy, entries_max, .. }: &Mirrors<'_>,
    said: &Verifier,
    progress: &mut Progress<'_>,
) -> Result<Pulled, Error> {
    let origin = said.name().to_owned();
    let alarm = |what| Alarm { origin: origin.clone(), what };
    let lost = |error| Error::Folder { origin: origin.clone(), error };
    let folder = Folder::of_log(place, &origin).ok_or_else(|| {
        alarm(Breach::NoLog("its origin is not <deployment>/<region>/<shard>/<period>"))
    })?;
    let (key, key_from) = known(&folder, said, *policy).map_err(|error| match error {
        Unknown::Alarm(what) => alarm(what).into(),
        Unknown::Folder(error) => lost(error),
    })?;
    folder.create().map_err(lost)?;
    let _held = lock(&folder).await.map_err(lost)?;
    let note = shard.checkpoint(&origin).await?.checkpoint;
    let theirs =
        Checkpoint::open(&note, &key).map_err(|error| alarm(Breach::BadSignature(error)))?;
    let ours = match folder.checkpoint(&key) {
        Ok(ours) => Some(ours),
        Err(folder::Error::Missing(_)) => None,
        Err(error) => return Err(lost(error)),
    };
    let before = ours.as_ref().map_or(0, |at| at.size);
    // A key beside which nothing was ever mirrored has come from the shard, and was never compared.
    let never = key_from == KeyFrom::Mirror && ours.is_none();
    let key_from = if never { KeyFrom::Shard } else { key_from };
    match key_from {
        KeyFrom::Policy => folder.set_on_trust(false),
        KeyFrom::Shard => folder.set_on_trust(true),
        KeyFrom::Mirror => Ok(()),
    }
    .map_err(lost)?;
    if key_from != KeyFrom::Mirror {
        folder.put_key(&key.vkey()).map_err(lost)?;
    }
    let on_trust = folder.is_on_trust();
    if theirs.size > before {
        // Before entries are requested: a shard that hangs up now has signed it all the same.
        folder.keep_note(PENDING, &theirs, &note).map_err(lost)?;
    }
    let witnesses = policy.map_or_else(|| Ok(Vec::new()), |policy| policy.cosigned(&note));
    let witnesses = witnesses.map_err(|error| alarm(Breach::Uncosigned(error)))?;
    let new = theirs.size.saturating_sub(before);
    if let Some(max) = entries_max.filter(|max| new > *max) {
        return Err(Error::TooMany { origin, new, max });
    }
    let log = Log { shard, folder, key, policy: *policy, ours, theirs, note };
    let findings = log.take(progress).await?;
    log.settle()?;
    let state = log.rules_at(log.theirs.size)?.state().clone();
    let cosigned_at = policy.and_then(|policy| policy.cosigned_at(&log.note).ok().flatten());
    let Log { folder, key, theirs: checkpoint, .. } = log;
    let (vkey, history) = (key.vkey(), None);
    Ok(Pulled {
        folder,
        vkey,
        key_from,
        before,
        checkpoint,
        witnesses,
        cosigned_at,
        on_trust,
        sealed: state.sealed,
        maps: state.maps,
        history,
        findings,
    })
}

/// Waits until no other process writes to the folder.
async fn lock(folder: &Folder) -> Result<FolderLock, folder::Error> {
    let until = Instant::now() + LOCK_WAIT_MAX;
    loop {
        match folder.try_lock()? {
            Some(held) => return Ok(held),
            None if Instant::now() >= until => return Err(folder::Error::Busy),
            None => sleep(LOCK_WAIT).await,
        }
    }
}
