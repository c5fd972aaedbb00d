//! `bailiwick shard init`: makes the keyring, the store and the first log of a new shard, once and
//! on purpose. A shard that finds its folders empty never does so by itself: they may be folders
//! whose disks are not mounted.

use std::path::PathBuf;

use engine::Batch;
use ledger::entry::Entry;

use crate::log::Log;
use crate::log::checkpoint_file::{CheckpointFile, open_note};
use crate::log::checkpointer::signed_empty;
use crate::log::first_commit::FirstCommit;
use crate::log::known_erasures::refuse_left_over;
use crate::startup::open::{Opening, lost};
use crate::store::generations;
use crate::store::keyring::FileKeyring;
use crate::store::types::{Minute, Period};
use crate::{Environment, Error, Settings};

/// A shard that has been made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initialised {
    /// The origin of its first log.
    pub origin: String,
    /// The public key of that log: give it to your auditors.
    pub vkey: String,
    /// Whether the region's keyring was made, too, and not found.
    pub keyring_made: bool,
}

/// Where the keyring of a new shard comes from. All shards of a region have the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyringSource {
    /// It is in the folder of keys already. Without one it is made, if the annex names no other
    /// shard of the region.
    Folder,
    /// It is made, unless it is in the folder of keys already: for the region's first shard.
    New,
    /// It is copied from this file: for each further shard.
    File(PathBuf),
}

/// Makes a new shard. One that was cut short goes on where it was.
///
/// # Errors
/// [`Error::Exists`] when there is a store already; [`Error::DataLost`] when there was one; else
/// whatever would keep the shard from starting.
pub fn init(
    settings: &Settings,
    map: &atlas::RegionMap,
    annex: &atlas::Annex,
    outside: &Environment,
    keyring: &KeyringSource,
) -> Result<Initialised, Error> {
    Opening { settings, map, annex, outside }.init(keyring)
}

impl Opening<'_> {
    fn init(&self, keyring: &KeyringSource) -> Result<Initialised, Error> {
        let territory = self.named()?;
        let Settings { region, .. } = self.settings;
        let store = &*self.outside.store;
        self.settings.make_folders(store)?;
        if self.recovering().exists() {
            let why = "a recovery was begun here and has not ended";
            return Err(Error::CheckpointFile { path: self.recovering(), why });
        }
        // Before anything is made: a store does not begin under a map that no signer answers for.
        let offered = self.first_map()?;
        let path = self.anchor_path();
        let found = CheckpointFile::open(&path)?;
        let last_key = self.settings.last_log_key()?;
        match &found {
            // Also a crash in the instant between the two files: a recovery then finds that
            // nothing was lost.
            None if last_key > 0 => return Err(self.unmade(None)),
            Some((_, note)) => {
                let size = open_note(note, &self.signer(Period(last_key))?.vkey(), &path)?.size;
                if size > 0 && !store.exists()? {
                    return Err(lost(size, 0));
                }
            }
            None => {}
        }
        let engine = store.open()?;
        if crate::store::identity::Identity::read(&*engine)?.is_some() {
            return Err(Error::Exists { place: self.place() });
        }
        let (keyring, keyring_made) = self.provision(keyring)?;
        refuse_left_over(self.settings, &keyring)?;
        let signer = match found {
            Some((_, note)) => {
                let signer = self.signer(Period(last_key))?;
                let size = open_note(&note, &signer.vkey(), &path)?.size;
                if size > 0 || signer.name() != self.origins().of(Period::FIRST) {
                    return Err(lost(size, 0));
                }
                signer
            }
            None => {
                let signer = self.new_signer(Period::FIRST)?;
                drop(CheckpointFile::create(&path, &signed_empty(&signer)?)?);
                signer
            }
        };
        let identity = self.identity(Period::FIRST, territory, &signer, &keyring);
        let mut batch = Batch::new();
        self.take_slots(&mut batch);
        generations::put(&mut batch, &keyring, region, &*self.outside.entropy)?;
        let now = self.outside.clock.now();
        let first = FirstCommit {
            log: &Log::new(Period::FIRST, 0),
            identity: &identity,
            details: Vec::new(),
            offered: &offered,
            // A keyring that was there is another shard's of this region, and in the log of that one.
            also: keyring_made.then(|| {
                let what = "generation 1 of the region's key was made";
                Entry::key_changed(Minute::of(now).0, what)
            }),
            now,
        };
        first.commit(&*engine, batch)?;
        let vkey = identity.vkey;
        Ok(Initialised { origin: signer.name().to_owned(), vkey, keyring_made })
    }

    /// The region's keyring, in the folder of keys; and whether it was made.
    fn provision(&self, source: &KeyringSource) -> Result<(FileKeyring, bool), Error> {
        let Settings { region, keys, .. } = self.settings;
        let (path, guard) = (FileKeyring::path(keys, region), self.settings.guard());
        let (guard, entropy) = (guard.as_ref(), &*self.outside.entropy);
        let there = path.try_exists().map_err(|source| Error::Io { path: path.clone(), source })?;
        match source {
            KeyringSource::File(file) => FileKeyring::copy(file, keys, region, guard, entropy)?,
            KeyringSource::Folder | KeyringSource::New if there => {}
            KeyringSource::Folder if self.annex.shards().len() > 1 => {
                let why = "it is missing, and the annex names other shards of this region: give \
                           theirs with `--keyring FILE`, or say `--new-keyring` if this is the \
                           region's first shard";
                return Err(Error::Keys { path, why });
            }
            KeyringSource::Folder | KeyringSource::New => {
                return Ok((FileKeyring::create(keys, region, guard, entropy)?, true));
            }
        }
        Ok((FileKeyring::open(keys, region, guard)?, false))
    }

    /// Why a shard without a store does not start: it was never made, or it is lost.
    pub(crate) fn unmade(&self, found: Option<&(CheckpointFile, String)>) -> Error {
        let last_key = match self.settings.last_log_key() {
            Ok(last_key) => last_key,
            Err(error) => return error,
        };
        let Some((_, note)) = found else {
            if last_key > 0 {
                let what = "the key of its log is there, and neither store nor checkpoint";
                return Error::DataLost { what: what.to_owned() };
            }
            return Error::NotInitialised { place: self.place() };
        };
        let path = self.anchor_path();
        let opened =
            self.signer(Period(last_key)).and_then(|signer| open_note(note, &signer.vkey(), &path));
        match opened {
            Ok(checkpoint) if checkpoint.size == 0 => Error::NotInitialised { place: self.place() },
            Ok(checkpoint) => lost(checkpoint.size, 0),
            Err(error) => error,
        }
    }
}
