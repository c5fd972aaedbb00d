//! Generations of the region's key: a new one is added and becomes the current one, rows are wrapped
//! under it, an old one is destroyed. Each step is a commit with a KEY entry.
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
use crate::store::slot_move::SlotsOnTheWay;
use crate::store::subject::{Subject, SubjectRow};
use crate::store::types::Minute;
use crate::store::{attachment, generations, keys};
use crate::write::command::{KeyWork, Wrapped};
use crate::write::committer::Committer;

impl Committer {
    /// Does one step. The inner error: nothing was changed.
    pub(super) fn work_on_keys(&mut self, work: KeyWork) -> Result<Result<(), Error>, Error> {
        match work {
            KeyWork::Change(change) => self.change_keys(change),
            KeyWork::Rewrap(what, rows) => self.rewrap(what, rows),
        }
    }

    fn change_keys(&mut self, change: KeyChange) -> Result<Result<(), Error>, Error> {
        let node = Arc::clone(&self.node);
        let SlotsOnTheWay { staging, installing, .. } = node.slots.borrow().on_the_way.clone();
        if matches!(change, KeyChange::Destroy(_)) && !staging.or(&installing).is_empty() {
            // It may wrap what has come of them, which is not counted yet.
            return Ok(Err(refused(Reason::ShardBusy.into())));
        }
        let ready = match node.keyring.make_next(change, &*node.entropy) {
            Ok(ready) => ready,
            Err(error) => return Ok(Err(error)),
        };
        let mut batch = Batch::new();
        let what = match change {
            KeyChange::Add => {
                generations::put(&mut batch, &*ready, &node.region, &*node.entropy)?;
                let number = ready.current().unwrap_or_default();
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

    /// Wraps rows under the current generation. One that is so already, or is gone, is left.
    fn rewrap(&mut self, what: Wrapped, rows: Vec<Key>) -> Result<Result<(), Error>, Error> {
        let node = Arc::clone(&self.node);
        let current = node.keyring.current().unwrap_or_default();
        let (mut batch, mut done, mut damaged) = (Batch::new(), Vec::new(), 0_u64);
        let view = node.engine.view()?;
        for key in rows {
            let Ok(Some(stored)) = read_row(&*view, &key)? else { continue };
            let rewrapped = match what {
                Wrapped::Subjects => subject_rewrapped(&node, &key, &stored, current),
                Wrapped::Uploads => upload_rewrapped(&node, &key, &stored, current),
                Wrapped::Copies => copies_rewrapped(&node, &key, &stored),
            };
            match rewrapped {
                Ok(Some(row)) => {
                    batch.put(key.clone(), row);
                    done.push(key);
                }
                Ok(None) => {}
                // It is counted under its old generation, which is not destroyed for as long.
                Err(Error::Damaged(_)) => damaged += 1,
                Err(error) => return Ok(Err(error)),
            }
        }
        drop(view);
        let name = what.name();
        if damaged > 0 {
            tracing::error!(damaged, "{name} do not open, and are not wrapped again");
        }
        if done.is_empty() {
            return Ok(Ok(()));
        }
        let said = format!("{name} were wrapped under generation {current} of the region's key");
        let mut entry = Entry::key_changed(Minute::of(self.now()).0, &said);
        entry.say(Detail::Count(u64::try_from(done.len()).unwrap_or(u64::MAX)));
        if let Err(fault) = self.commit_entry(batch, &entry)? {
            return Ok(Err(refused(fault)));
        }
        if matches!(what, Wrapped::Subjects) {
            for (_, tag) in done.iter().filter_map(|key| keys::of_subject(key)) {
                node.subjects.remove(&tag);
            }
        }
        Ok(Ok(()))
    }
}

/// A subject's row under the current generation, if it is under another.
fn subject_rewrapped(
    node: &Node,
    key: &[u8],
    row: &[u8],
    current: u32,
) -> Result<Option<Vec<u8>>, Error> {
    let (_, tag) = keys::of_subject(key).ok_or(Error::Damaged("subjects"))?;
    let Some(owner) = Subject::owner_of(row, tag, node.subject_keys())? else { return Ok(None) };
    let SubjectRow::Kept(subject) = node.open_subject(&owner, row)? else { return Ok(None) };
    if subject.generation() == current {
        return Ok(None);
    }
    let subject = subject.rewrapped(&owner, node.subject_keys(), &*node.entropy)?;
    Ok(Some(subject.seal(&owner, &node.region, node.random()?)))
}

/// The row of an upload whose stand-in is wrapped under the current generation, if it is under another.
fn upload_rewrapped(
    node: &Node,
    key: &[u8],
    stored: &[u8],
    current: u32,
) -> Result<Option<Vec<u8>>, Error> {
    let damaged = |_| Error::Damaged("uploads");
    let Some(stand_in) = attachment::stand_in(stored).map_err(damaged)? else { return Ok(None) };
    let Some(row) = subject_rewrapped(node, key, stand_in, current)? else { return Ok(None) };
    attachment::with_stand_in(stored, &row).map(Some).map_err(damaged)
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
