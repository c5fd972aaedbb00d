//! What a shard is told.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use engine::Backend;
use ledger::Signers;
use ledger::cosignature::Cosigner;
use link::net::https_client::Address;
use terms::{RegionId, ShardId, UnixMillis};
use zeroize::Zeroizing;

use crate::Error;

/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// What a shard is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The region that it serves.
    pub region: RegionId,
    /// Its name in the region's annex.
    pub shard: ShardId,
    /// Folder of the last signed checkpoint: outside the store's, best on another disk.
    pub anchor: PathBuf,
    /// Folder of the keyring and the log's keys: outside the store's, best on another disk.
    pub keys: PathBuf,
    /// The token that guards the keyring's file. None: the file is as it is.
    pub token: Option<Token>,
    /// Bytes that are kept free for erasure and expiry: below it, puts are refused.
    pub disk_reserve_bytes: u64,
    /// The keys of those who sign region maps. None: maps come from the configuration alone, and
    /// no signer answers for them.
    pub signers: Option<Signers>,
    /// The signatures of the map that the configuration names; empty: it has none.
    pub map_note: String,
    /// Time between checkpoints, when something is new.
    pub beat: Duration,
    /// What is done with the log beside writing it.
    pub log: LogSettings,
}

impl Settings {
    /// Whether nothing of a shard is there: no store, no checkpoint, no key of a log. So it may be
    /// new; or everything is lost, or not mounted.
    ///
    /// # Errors
    /// [`Error::Engine`]: it cannot be told, because the database is not reached.
    pub fn nothing_there(&self, store: &dyn Backend) -> Result<bool, Error> {
        Ok(!self.checkpoint_path().exists()
            && self.last_log_key().unwrap_or(0) == 0
            && !store.exists()?)
    }

    /// Where the last signed checkpoint lies.
    pub(crate) fn checkpoint_path(&self) -> PathBuf {
        let Self { region, shard, anchor, .. } = self;
        anchor.join(format!("{region}-{shard}.checkpoint"))
    }

    /// Where the key of a period's log lies.
    pub(crate) fn log_key_path(&self, period: u32) -> PathBuf {
        let Self { region, shard, keys, .. } = self;
        keys.join(format!("{region}-{shard}-{period}.logkey"))
    }

    /// The last period of which there is a key: the shard has had a log, whatever else is lost.
    pub(crate) fn last_log_key(&self) -> Result<u32, Error> {
        Ok(self.log_key_periods()?.into_iter().max().unwrap_or(0))
    }

    /// The periods of which there is a key, in ascending order.
    pub(crate) fn log_key_periods(&self) -> Result<Vec<u32>, Error> {
        let Self { region, shard, keys, .. } = self;
        let io = |source| Error::Io { path: keys.clone(), source };
        let mut periods = Vec::new();
        for entry in std::fs::read_dir(keys).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            let period = name
                .to_str()
                .and_then(|name| name.strip_prefix(&format!("{region}-{shard}-")))
                .and_then(|name| name.strip_suffix(".logkey"))
                .and_then(|period| period.parse::<u32>().ok());
            periods.extend(period);
        }
        periods.sort_unstable();
        Ok(periods)
    }
}

/// A token, and how it is reached.
#[derive(Clone)]
pub struct Token {
    /// The PKCS #11 module: a shared library, which becomes part of the process.
    pub module: PathBuf,
    /// The token's label.
    pub label: String,
    /// The user's PIN.
    pub pin: Zeroizing<String>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { module, label, .. } = self;
        f.debug_struct("Token")
            .field("module", module)
            .field("label", label)
            .finish_non_exhaustive()
    }
}

/// What is done with a shard's log beside writing it.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// When its period ends by itself.
    pub period_max: PeriodMax,
    /// Who cosigns its checkpoints.
    pub witnesses: Vec<Witness>,
    /// Time between two submissions to them.
    pub witness_every: Duration,
}

impl Default for LogSettings {
    fn default() -> Self {
        let (period_max, witnesses) = (PeriodMax::default(), Vec::new());
        Self { period_max, witnesses, witness_every: Duration::from_secs(5) }
    }
}

/// A witness, and how it is reached.
#[derive(Debug, Clone)]
pub struct Witness {
    /// Its key.
    pub key: Cosigner,
    /// Its submission prefix, to which `/add-checkpoint` is added.
    pub address: Address,
    /// The authorities of its certificate as PEM; the system's without it.
    pub authorities: Option<Vec<u8>>,
}

/// When a period of the log ends by itself. Without either, when an operator ends it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeriodMax {
    /// Entries after which it does.
    pub entries: Option<u64>,
    /// Days after its beginning.
    pub days: Option<u32>,
}

impl PeriodMax {
    /// Whether a period that began then, with so many entries, is at its end.
    pub(crate) fn reached(&self, began_minute: u32, size: u64, now: UnixMillis) -> bool {
        let began = u64::from(began_minute) * 60_000;
        self.entries.is_some_and(|most| size >= most)
            || self.days.is_some_and(|days| now.0 >= began + u64::from(days) * DAY_MS)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Settings of a shard whose folders lie in one.
    pub(crate) fn settings(folder: &std::path::Path) -> Settings {
        Settings {
            region: RegionId::parse("ru-msk").expect("a region"),
            shard: ShardId::parse("s1").expect("a shard"),
            anchor: folder.to_owned(),
            keys: folder.join("keys"),
            token: None,
            disk_reserve_bytes: 1 << 20,
            beat: Duration::from_millis(20),
            signers: None,
            map_note: String::new(),
            log: LogSettings::default(),
        }
    }

    #[test]
    fn a_period_ends_by_size_or_by_age() {
        let max = PeriodMax { entries: Some(100), days: Some(2) };
        let at = |minute: u64| UnixMillis(minute * 60_000);
        assert!(!max.reached(1_000, 99, at(1_000 + 2 * 1_440 - 1)));
        assert!(max.reached(1_000, 100, at(1_000)));
        assert!(max.reached(1_000, 1, at(1_000 + 2 * 1_440)));
        assert!(!PeriodMax::default().reached(0, u64::MAX, UnixMillis(u64::MAX)));
    }
}
