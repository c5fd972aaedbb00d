//! Checks a backup: every frame, every row's place, the log's tree against its checkpoint.

use std::path::Path;

use engine::{Batch, Key, Value};
use ledger::checkpoint::Checkpoint;

use crate::backup::format::{Header, Manifest};
use crate::backup::logs::Logs;
use crate::backup::source::Source;
use crate::store::all_rows::{RowSum, Summing};
use crate::store::attachment;
use crate::store::generations;
use crate::store::identity::Identity;
use crate::store::keyring::{FileKeyring, Keyring as _};
use crate::store::keys;
use crate::store::subject::Subject;
use crate::store::types::CommitAt;
use crate::{Error, Settings};

/// A backup that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBackup {
    /// Its number, as the BACKUP entry names it.
    pub id: String,
    /// The log that it ends with.
    pub origin: String,
    /// Entries of that log.
    pub entries: u64,
    /// The root of its tree.
    pub root: [u8; 32],
    /// When it was begun, in minutes since 1970.
    pub minute: u32,
    /// Its rows.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Sealed chunks of the file.
    pub chunks: u64,
    /// Uploads in progress that a restore discards: no generation of the keyring opens them.
    pub uploads_lost: u64,
}

/// The same, with what a restore needs.
pub(super) struct Checked {
    pub(super) shown: VerifiedBackup,
    pub(super) identity: Identity,
    pub(super) checkpoint: Checkpoint,
    /// The last erasure that it lists.
    pub(super) erased: Option<CommitAt>,
}

/// Checks a backup of this shard.
///
/// # Errors
/// [`Error::Backup`] with what is wrong, and in which chunk; [`Error::Keys`]; [`Error::Io`].
pub fn verify_backup(
    settings: &Settings,
    deployment: &str,
    backup: &Path,
) -> Result<VerifiedBackup, Error> {
    let keyring = FileKeyring::open(&settings.keys, &settings.region, settings.guard().as_ref())?;
    let checked = check(settings, deployment, &keyring, backup, &mut |_| Ok(()))?;
    Ok(checked.shown)
}

/// Gives `each` the rows of all chunks, and checks them on the way. What was given counts only if
/// this ends well.
pub(super) fn check(
    settings: &Settings,
    deployment: &str,
    keyring: &FileKeyring,
    backup: &Path,
    each: &mut dyn FnMut(Vec<(Key, Value)>) -> Result<(), Error>,
) -> Result<Checked, Error> {
    let mut source = Source::open(settings, deployment, keyring, backup)?;
    let mut rows = Rows::new(settings, keyring);
    loop {
        let page = source.page()?;
        if page.is_empty() {
            break;
        }
        rows.take(&page).map_err(|error| source.frames().wrong(&said(&error)))?;
        each(page)?;
    }
    let (header, number, manifest) = source.into_end();
    let finished = match manifest {
        Some(manifest) => rows.finish(header, &manifest, number),
        None => Err(Error::Damaged("store")),
    };
    finished.map_err(|error| Error::Backup { path: backup.to_owned(), why: said(&error) })
}

/// What is wrong. Of a damaged row it is no help to say that a backup should be restored.
fn said(error: &Error) -> String {
    if let Error::Damaged(rows) = error {
        return format!("a row of the {rows} is damaged: use another backup");
    }
    error.to_string()
}

/// The rows of a backup, as they come.
struct Rows<'a> {
    settings: &'a Settings,
    keyring: &'a FileKeyring,
    held: Vec<u32>,
    logs: Logs,
    summing: Summing,
    identity: Option<Identity>,
    erased: Option<CommitAt>,
    uploads_lost: u64,
    last: Key,
}

impl<'a> Rows<'a> {
    fn new(settings: &'a Settings, keyring: &'a FileKeyring) -> Self {
        Self {
            settings,
            keyring,
            held: keyring.generations(),
            logs: Logs::default(),
            summing: Summing::new(),
            identity: None,
            erased: None,
            uploads_lost: 0,
            last: Vec::new(),
        }
    }

    fn take(&mut self, rows: &[(Key, Value)]) -> Result<(), Error> {
        self.summing.add(rows);
        for (key, row) in rows {
            if *key <= self.last {
                return Err(Error::Damaged("store"));
            }
            self.last.clone_from(key);
            self.row(key, row)?;
        }
        Ok(())
    }

    fn row(&mut self, key: &[u8], row: &[u8]) -> Result<(), Error> {
        // The prefixes are those of `store/keys.rs`.
        let prefix = key.first();
        if key == keys::IDENTITY {
            self.identity = Some(Identity::of_row(row)?);
        } else if prefix == Some(&0x05) {
            let (generation, fits) =
                generations::fits(key, row, self.keyring, &self.settings.region)?;
            if self.held.contains(&generation) && !fits {
                return Err(self.generation(generation, "is not the key of this backup"));
            }
        } else if keys::is_subject(key) {
            if let Some(generation) = Subject::generation_of(row)?
                && !self.held.contains(&generation)
            {
                let why = "is not in it any more, and people in this backup are wrapped under it: \
                           it cannot be read";
                return Err(self.generation(generation, why));
            }
        } else if prefix == Some(&0x13) {
            // An upload is no record yet: its caller begins again.
            // Those that a restore discards: this batch is never committed.
            let lost = attachment::discard_lost(&mut Batch::new(), key, row, &self.held);
            self.uploads_lost += u64::from(lost);
        } else if prefix == Some(&0x33) {
            self.erased = keys::fed_commit(key);
        }
        self.logs.row(key, row)
    }

    fn generation(&self, generation: u32, why: &'static str) -> Error {
        let path = FileKeyring::path(&self.settings.keys, &self.settings.region);
        Error::OldGeneration { path, generation, why }
    }

    fn finish(self, header: Header, manifest: &Manifest, number: u64) -> Result<Checked, Error> {
        let damaged = |what| Error::Damaged(what);
        let identity = self.identity.ok_or_else(|| damaged("identity"))?;
        let sum = self.summing.sum();
        if sum != manifest.sum || identity.vkey != manifest.vkey {
            return Err(damaged("store"));
        }
        let checkpoint = self.logs.finish(identity.period, &manifest.vkey, &manifest.note)?;
        if checkpoint.origin != header.origin {
            return Err(damaged("placement log"));
        }
        let RowSum { rows, bytes, .. } = sum;
        let shown = VerifiedBackup {
            id: header.id.to_string(),
            origin: header.origin,
            entries: checkpoint.size,
            root: checkpoint.root.0,
            minute: header.minute.0,
            rows,
            bytes,
            chunks: number,
            uploads_lost: self.uploads_lost,
        };
        Ok(Checked { shown, identity, checkpoint, erased: self.erased })
    }
}
