//! The public keys of a shard's logs, for an auditor's policy on paper. They are computed from the
//! key files, so that they can be shown while the shard runs.

use ledger::note::Signer;

use crate::log::checkpoint_file::{CheckpointFile, open_note};
use crate::store::growing_log::Origins;
use crate::store::keyring::{FileKeyring, Keyring};
use crate::store::secret_files;
use crate::store::transit::TransitKeys;
use crate::store::types::Period;
use crate::{Error, Settings};

/// The public key of one period's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogKey {
    /// The period.
    pub period: u32,
    /// The log's origin.
    pub origin: String,
    /// The key as auditors write it, which names the origin. `None`: its key file is not there any
    /// more; the log's own GENESIS has the key.
    pub vkey: Option<String>,
}

impl Settings {
    /// The keys of all periods up to the one that the checkpoint file names, the oldest first. A key
    /// that was made for a period which never began is left out.
    ///
    /// # Errors
    /// [`Error::CheckpointFile`] when there is no checkpoint, or it is not signed by the newest of them;
    /// [`Error::Keys`]; [`Error::Io`].
    pub fn log_keys(&self, deployment: &str) -> Result<Vec<LogKey>, Error> {
        let path = self.checkpoint_path();
        let broken = |why| Error::CheckpointFile { path: path.clone(), why };
        let (_, note) = CheckpointFile::open(&path)?.ok_or_else(|| broken("it is missing"))?;
        let named = note.split('\n').next().and_then(|origin| origin.rsplit('/').next());
        let current: u32 = named
            .and_then(|period| period.parse().ok())
            .ok_or_else(|| broken("its checkpoint names no period"))?;
        let there = self.log_key_periods()?;
        let mut keys = Vec::new();
        for period in 1..=current {
            let signer =
                there.contains(&period).then(|| self.log_signer(deployment, Period(period)));
            let vkey = signer.transpose()?.map(|signer| signer.vkey());
            let origin = self.origins(deployment).of(Period(period));
            keys.push(LogKey { period, origin, vkey });
        }
        match keys.last().and_then(|key| key.vkey.as_deref()) {
            Some(vkey) => open_note(&note, vkey, &path).map(|_| keys),
            None => Err(Error::Keys { path: self.log_key_path(current), why: "it is missing" }),
        }
    }

    /// The public key that signs the region's transit keys, for callers to know by another way than
    /// through a gateway. It is the same for all shards of the region.
    ///
    /// # Errors
    /// [`Error::Keys`]; [`Error::Io`].
    pub fn transit_identity(&self, deployment: &str) -> Result<String, Error> {
        let keyring = FileKeyring::open(&self.keys, &self.region, self.guard().as_ref())?;
        Ok(self.transit_keys(deployment, &keyring)?.identity())
    }

    pub(crate) fn transit_keys(
        &self,
        deployment: &str,
        keyring: &dyn Keyring,
    ) -> Result<TransitKeys, Error> {
        let why = "the names of deployment and region cannot name a key";
        TransitKeys::new(deployment, &self.region, keyring)
            .ok_or_else(|| Error::Keys { path: self.keys.clone(), why })
    }

    /// The origins of this shard's logs.
    pub(crate) fn origins<'a>(&'a self, deployment: &'a str) -> Origins<'a> {
        Origins { deployment, region: &self.region, shard: &self.shard }
    }

    /// Reads the key of a period's log.
    pub(crate) fn log_signer(&self, deployment: &str, period: Period) -> Result<Signer, Error> {
        let path = self.log_key_path(period.0);
        let text = secret_files::read_secret(&path)?;
        let seed =
            std::str::from_utf8(&text).ok().and_then(|text| secret_files::from_hex(text.trim()));
        let seed = seed.ok_or(Error::Keys { path: path.clone(), why: "it is not a log key" })?;
        Signer::from_seed(&self.origins(deployment).of(period), &seed)
            .map_err(|_| Error::Keys { path, why: "the log's origin cannot name a key" })
    }
}
