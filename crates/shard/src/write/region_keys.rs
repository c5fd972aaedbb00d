//! Generations of the region's key: one more, which is the current one then; subjects wrapped under
//! it; an old one destroyed. Each step is a commit with a KEY entry.
//!
//! A change is made ready in a file beside the keyring, committed, and then taken. A crash between the
//! last two is settled by the next start: the store's rows say which of the two files is right.

use std::sync::Arc;

use engine::{Batch, Key};
use ledger::entry::{Detail, Entry};
use terms::{Reason, Rejection};

use crate::Error;
use crate::node::Node;
use crate::store::copied_set::{CopiedSet, SetRow};
use crate::store::damage::read_row;
use crate::store::keyring::KeyChange;
use crate::store::keys::Owner;
use crate::store::subject::{Subject, SubjectRow};
use crate::store::types::Minute;
use crate::store::{attachment, generations, keys};
use crate::write::command::KeyWork;
use crate::write::committer::Committer;

impl Committer {
    /// Does one step. The inner error: nothing was changed.
    pub(super) fn work_on_keys(&mut self, work: KeyWork) -> Result<Result<(), Error>, Error> {
        match work {
            KeyWork::Change(change) => self.change_keys(change),
            KeyWork::Rewrap(owners) => self.rewrap(&owners),
            KeyWork::RewrapUploads(rows) => self.rewrap_uploads(&rows),
            KeyWork::RewrapCopies(rows) => self.rewrap_copies(&rows),
        }
    }

    fn change_keys(&mut self, change: KeyChange) -> Result<Result<(), Error>, Error> {
        let node = Arc::clone(&self.node);
        let ready = match node.keyring.make_next(change, &*node.entropy) {
            Ok(ready) => ready,
            Err(error) => return Ok(Err(error)),
        };
        let mut batch = Batch::new();
        let what = match change {
            KeyChange::Add => {
                generations::put(&mut batch, &*ready, &node.region, &*node.entropy)?;
                let number = ready.generations().last().copied().unwrap_or_default();
                format!("generation {number} of the region's key was made")
            }
            KeyChange::Take => {
                generations::put(&mut batch, &*ready, &node.region, &*node.entropy)?;
                let had = node.keyring.generations();
                let new = ready.generations().into_iter().filter(|number| !had.contains(number));
                let new: Vec<String> = new.map(|number| number.to_string()).collect();
                let new = new.join(", ");
                format!("generation {new} of the region's key was taken over from another shard")
            }
            KeyChange::Destroy(number) => {
                batch.delete(keys::generation(number));
                format!("generation {number} of the region's key was destroyed")
            }
        };
        let entry = Entry::key_changed(Minute::of(self.now()).0, &what);
        if let Err(fault) = self.commit_entry(batch, &entry)? {
            return Ok(Err(refused(fault)));
        }
        // The store has it: a start from here on takes what is ready.
        node.keyring.take_next()?;
        tracing::info!(what, "the region's keys were changed");
        Ok(Ok(()))
    }

    /// Wraps subjects under the current generation. One that does so already, or is gone, is left.
    fn rewrap(&mut self, owners: &[Owner]) -> Result<Result<(), Error>, Error> {
        let node = Arc::clone(&self.node);
        let current = node.keyring.generations().last().copied().unwrap_or_default();
        let mut batch = Batch::new();
        let (mut done, mut damaged) = (Vec::new(), 0_u64);
        for owner in owners {
            match self.rewrapped(owner, current) {
                Ok(Some(row)) => {
                    batch.put(owner.row(), row);
                    done.push(owner.tag);
                }
                Ok(None) => {}
                // It is counted under its old generation, which is not destroyed for as long.
                Err(Error::Damaged(_)) => damaged += 1,
                Err(error) => return Ok(Err(error)),
            }
        }
        if damaged > 0 {
            tracing::error!(subjects = damaged, "subjects do not open, and are not wrapped again");
        }
        let what = format!("subjects were wrapped under generation {current} of the region's key");
        if let Err(error) = self.commit_wrapped(batch, &what, done.len())? {
            return Ok(Err(error));
        }
        for tag in done {
            node.subjects.remove(&tag);
        }
        Ok(Ok(()))
    }

    /// Wraps the stand-ins of uploads under the current generation. One that is so already, or whose
    /// upload has ended, is left.
    fn rewrap_uploads(&mut self, uploads: &[Key]) -> Result<Result<(), Error>, Error> {
        let node = Arc::clone(&self.node);
        let current = node.keyring.generations().last().copied().unwrap_or_default();
        let (mut batch, mut done, mut damaged) = (Batch::new(), 0, 0_u64);
        let view = node.engine.view()?;
        for key in uploads {
            let Ok(Some(stored)) = read_row(&*view, key)? else { continue };
            match upload_rewrapped(&node, key, &stored, current) {
                Ok(Some(row)) => {
                    batch.put(key.clone(), row);
                    done += 1;
                }
                Ok(None) => {}
                // As of a subject.
                Err(Error::Damaged(_)) => damaged += 1,
                Err(error) => return Ok(Err(error)),
            }
        }
        drop(view);
        if damaged > 0 {
            tracing::error!(uploads = damaged, "uploads do not open, and are not wrapped again");
        }
        let what = format!("uploads were wrapped under generation {current} of the region's key");
        self.commit_wrapped(batch, &what, done)
    }

    /// Wraps copies of records of other regions under the current generation. Those that are so already,
    /// or are gone, are left.
    fn rewrap_copies(&mut self, sets: &[Key]) -> Result<Result<(), Error>, Error> {
        let node = Arc::clone(&self.node);
        let current = node.keyring.generations().last().copied().unwrap_or_default();
        let (mut batch, mut done, mut damaged) = (Batch::new(), 0, 0_u64);
        let view = node.engine.view()?;
        for key in sets {
            let Ok(Some(stored)) = read_row(&*view, key)? else { continue };
            match copies_rewrapped(&node, key, &stored) {
                Ok(Some(row)) => {
                    batch.put(key.clone(), row);
                    done += 1;
                }
                Ok(None) => {}
                // As of a subject.
                Err(Error::Damaged(_)) => damaged += 1,
                Err(error) => return Ok(Err(error)),
            }
        }
        drop(view);
        if damaged > 0 {
            tracing::error!(copies = damaged, "copies do not open, and are not wrapped again");
        }
        let what = format!("copies were wrapped under generation {current} of the region's key");
        self.commit_wrapped(batch, &what, done)
    }

    /// Commits what was wrapped again, with its entry. The inner error: nothing was changed.
    fn commit_wrapped(
        &mut self,
        batch: Batch,
        what: &str,
        count: usize,
    ) -> Result<Result<(), Error>, Error> {
        if count == 0 {
            return Ok(Ok(()));
        }
        let mut entry = Entry::key_changed(Minute::of(self.now()).0, what);
        entry.say(Detail::Count(u64::try_from(count).unwrap_or(u64::MAX)));
        Ok(self.commit_entry(batch, &entry)?.map_err(refused))
    }

    /// A subject's row under the current generation, if it is under another.
    fn rewrapped(&self, owner: &Owner, current: u32) -> Result<Option<Vec<u8>>, Error> {
        let node = &self.node;
        let view = node.engine.view()?;
        let Ok(Some(row)) = read_row(&*view, &owner.row())? else { return Ok(None) };
        let SubjectRow::Kept(subject) = node.open_subject(owner, &row)? else { return Ok(None) };
        if subject.generation() == current {
            return Ok(None);
        }
        let subject = subject.rewrapped(owner, node.subject_keys(), &*node.entropy)?;
        Ok(Some(subject.seal(owner, &node.region, node.random()?)))
    }
}

/// The row of an upload whose stand-in is wrapped under the current generation, if it is under another.
fn upload_rewrapped(
    node: &Node,
    key: &[u8],
    stored: &[u8],
    current: u32,
) -> Result<Option<Vec<u8>>, Error> {
    let damaged = || Error::Damaged("uploads");
    let stand_in = attachment::stand_in(stored).map_err(|_| damaged())?;
    let Some(stand_in) = stand_in else { return Ok(None) };
    let (_, tag) = keys::of_subject(key).ok_or_else(damaged)?;
    let Some(owner) = Subject::owner_of(stand_in, tag, node.subject_keys())? else {
        return Ok(None);
    };
    let SubjectRow::Kept(own) = node.open_subject(&owner, stand_in)? else { return Ok(None) };
    if own.generation() == current {
        return Ok(None);
    }
    let own = own.rewrapped(&owner, node.subject_keys(), &*node.entropy)?;
    let row = own.seal(&owner, &node.region, node.random()?);
    attachment::with_stand_in(stored, &row).map(Some).map_err(|_| damaged())
}

/// The row of copies under the current generation, if they are under another.
fn copies_rewrapped(node: &Node, key: &[u8], stored: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let keys = node.subject_keys();
    let SetRow::Kept(set) = CopiedSet::open(key, stored, keys)? else { return Ok(None) };
    let rewrapped = set.rewrapped(keys, &*node.entropy)?;
    rewrapped.map(|set| Ok(set.row(keys, node.random()?))).transpose()
}

fn refused(fault: Rejection) -> Error {
    if fault.reason == Reason::Internal {
        return Error::Damaged("placement log");
    }
    Error::KeysNotChanged(Box::new(fault))
}
