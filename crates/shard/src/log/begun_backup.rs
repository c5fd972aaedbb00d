//! The beginning of a backup: a BACKUP entry, and a checkpoint over it.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use crate::Error;
use crate::store::types::Period;

/// A backup of which the log has a BACKUP entry.
#[derive(Debug, Clone)]
pub(crate) struct BegunBackup {
    /// By it the entry names the backup.
    pub(crate) id: BackupId,
    pub(crate) period: Period,
    /// The origin of the log.
    pub(crate) origin: Arc<str>,
    /// Its public key.
    pub(crate) vkey: Arc<str>,
    /// A checkpoint over all of the log, that entry included.
    pub(crate) note: String,
}

/// A request to begin a backup.
pub(crate) struct BeginBackup {
    pub(crate) id: BackupId,
    pub(crate) begun: Sender<Result<BegunBackup, Error>>,
    /// Says that a view of the store is open. Until then nothing else is committed, so that the view
    /// ends with what the checkpoint signs.
    pub(crate) opened: Receiver<()>,
}

/// The random number of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BackupId(pub(crate) [u8; 16]);

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
