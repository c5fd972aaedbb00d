//! The beginning of a backup, between two groups of writes.

use std::time::Duration;

use engine::Batch;
use ledger::entry::Entry;

use crate::Error;
use crate::log::begun_backup::{BackupId, BeginBackup, BegunBackup};
use crate::store::types::Minute;
use crate::write::committer::Committer;

/// Time in which the view of a backup must be open: writes wait for it.
const OPENED_WITHIN: Duration = Duration::from_secs(5);

impl Committer {
    /// Notes a backup in the log before a byte of it leaves, and signs all of the log. The inner
    /// error: none may be made now.
    pub(crate) fn note_backup(
        &mut self,
        id: BackupId,
    ) -> Result<Result<BegunBackup, Error>, Error> {
        if self.disk_is_low() {
            let why = "the store's disk is down to its reserve: free or add space first";
            return Ok(Err(Error::NotBackedUp(why.to_owned())));
        }
        let entry = Entry::backup(Minute::of(self.now()).0, &id.to_string());
        if let Err(fault) = self.commit_entry(Batch::new(), &entry)? {
            return Ok(Err(Error::NotBackedUp(fault.to_string())));
        }
        let name = self.node.growing().name.clone();
        let note = match self.signer.lock().signed() {
            Ok(note) => note,
            Err(error) => return Ok(Err(Error::NotBackedUp(error.to_string()))),
        };
        let (period, origin, vkey) = (name.period, name.origin, name.vkey);
        Ok(Ok(BegunBackup { id, period, origin, vkey, note }))
    }

    /// The same for a backup that another thread makes.
    pub(super) fn begin_backup(&mut self, begin: &BeginBackup) -> Result<(), Error> {
        let begun = self.note_backup(begin.id)?;
        let waits = begun.is_ok();
        // One that has gone opens no view; one that is late finds that its view does not fit.
        if begin.begun.send(begun).is_ok() && waits {
            begin.opened.recv_timeout(OPENED_WITHIN).ok();
        }
        Ok(())
    }
}
