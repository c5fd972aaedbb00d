//! One log on its way: what the shard shows, and what of it becomes the mirror.

use std::time::Duration;

use client::{EntryBatches, Ledger, api};
use ledger::entry::ENTRY_BYTES_MAX;
use ledger::note::Verifier;
use ledger::tile::{BundleId, TILE_WIDTH};
use ledger::{Checkpoint, Hash, proof, tree};
use tokio::time::{Instant, timeout_at};

use super::cosignatures::united;
use super::{Alarm, Breach, BrokenEntry, Error, Progress};
use crate::finding::FINDINGS_MAX;
use crate::folder::{self, CONFLICTS, Folder, Growth, PENDING};
use crate::policy::Policy;
use crate::rules::{Broken, Rules};

/// Entries of one message at the most.
const BATCH_ENTRIES_MAX: usize = 4096;
/// Time in which a whole bundle must arrive: an entry a minute is too slow.
const BUNDLE_WAIT_MAX: Duration = Duration::from_secs(60);

/// One log on its way into its folder.
pub(super) struct Log<'a> {
    pub(super) shard: &'a Ledger,
    pub(super) folder: Folder,
    pub(super) key: Verifier,
    pub(super) policy: Option<&'a Policy>,
    /// What is mirrored.
    pub(super) ours: Option<Checkpoint>,
    /// What the shard shows, and its note.
    pub(super) theirs: Checkpoint,
    pub(super) note: String,
}

// === impl Log ===

impl Log<'_> {
    fn alarm(&self, what: Breach) -> Error {
        Alarm { origin: self.theirs.origin.clone(), what }.into()
    }

    fn lost(&self, error: folder::Error) -> Error {
        Error::Folder { origin: self.theirs.origin.clone(), error }
    }

    /// Brings the mirror to what the shard shows, and gives the rules that new entries break.
    pub(super) async fn take(
        &self,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<BrokenEntry>, Error> {
        if let Some(ours) = &self.ours
            && ours.size >= self.theirs.size
        {
            return self.not_longer(ours).map(|()| Vec::new());
        }
        // What an earlier attempt has left is taken first. It is not verified, so if the
        // root is another one, it is thrown away, and everything is asked for.
        for leftovers in [true, false] {
            let mut growth = self.growth()?;
            let mut rules = self.rules_at(self.ours.as_ref().map_or(0, |at| at.size))?;
            let (mut findings, mut beyond) = (Vec::new(), 0);
            let mut each = |growth: &mut Growth<'_>, entry: &[u8]| {
                let index = growth.size();
                growth.push(entry)?;
                if let Err(broken) = rules.take(entry) {
                    if findings.len() < FINDINGS_MAX {
                        findings.push(self.broken(index, broken));
                    } else {
                        beyond += 1;
                    }
                }
                Ok(())
            };
            let mut reused = false;
            while leftovers && let Some(entries) = growth.left_over(self.theirs.size) {
                reused = true;
                for entry in entries {
                    each(&mut growth, &entry).map_err(|error| self.lost(error))?;
                }
                progress(&self.theirs.origin, growth.size(), self.theirs.size);
            }
            self.fetch(&mut growth, &mut each, progress).await?;
            if growth.root() == self.theirs.root {
                // Before the checkpoint: what is found is found once, and must not be lost.
                let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
                let kept = self.folder.add_findings(&texts, beyond);
                let kept = kept.and_then(|()| self.folder.put_state(rules.state()));
                kept.map_err(|error| self.lost(error))?;
                growth.finish(&self.note).map_err(|error| self.lost(error))?;
                return Ok(findings);
            }
            growth.undo().map_err(|error| self.lost(error))?;
            if !reused {
                break;
            }
        }
        Err(self.why_another_root().await)
    }

    fn broken(&self, index: u64, broken: Broken) -> BrokenEntry {
        let bundle = BundleId::of_size(index / u64::from(TILE_WIDTH), self.theirs.size);
        let file = bundle.map_or_else(String::new, |bundle| bundle.path());
        BrokenEntry { file, index, broken }
    }

    /// The shard shows no more than is mirrored: the same, or something is wrong.
    fn not_longer(&self, ours: &Checkpoint) -> Result<(), Error> {
        if ours.size == self.theirs.size {
            // Two signatures of one key: no file of ours has a say in this.
            if ours.root != self.theirs.root {
                return Err(self.split_view(ours));
            }
            return self.more_cosignatures();
        }
        let root = tree::root_at(self.theirs.size, &mut self.folder.tiles(ours.size));
        if root.ok() != Some(self.theirs.root) {
            // Before the log is accused: is the folder damaged?
            let own = tree::audit(ours.size, &mut self.folder.tiles(ours.size));
            if own.ok() != Some(ours.root) {
                return Err(self.lost(folder::Error::Root));
            }
            return Err(self.split_view(ours));
        }
        let (ours, theirs) = (ours.size, self.theirs.size);
        Err(self.alarm(Breach::RolledBack { ours, theirs }))
    }

    /// The same checkpoint, perhaps with other cosignatures; none is given away.
    fn more_cosignatures(&self) -> Result<(), Error> {
        let kept = self.folder.note().map_err(|error| self.lost(error))?;
        let united = united(&self.note, &kept, &self.key, self.policy);
        if united == kept {
            return Ok(());
        }
        self.folder.put_note(&united).map_err(|error| self.lost(error))
    }

    /// Looks whether the mirror, as it is now, holds what the key has signed before.
    pub(super) fn settle(&self) -> Result<(), Error> {
        let settled = self.folder.settle(&self.key, &self.theirs);
        let conflicts = settled.map_err(|error| self.lost(error))?;
        if let Some(kept) = conflicts.into_iter().next() {
            let notes = Box::new([self.note.clone(), kept.note]);
            let (ours, theirs) = (self.theirs.size, kept.at.size);
            return Err(self.alarm(Breach::SplitView { ours, theirs, notes }));
        }
        let pending = self.folder.pending(&self.key).map_err(|error| self.lost(error))?;
        match pending.iter().map(|kept| kept.at.size).max() {
            None => Ok(()),
            Some(ours) => {
                let theirs = self.theirs.size;
                Err(self.alarm(Breach::RolledBack { ours, theirs }))
            }
        }
    }

    /// Both notes are kept: without them it would be the auditor's word.
    fn split_view(&self, ours: &Checkpoint) -> Error {
        let kept = self.folder.keep_note(CONFLICTS, &self.theirs, &self.note);
        let kept = kept.and_then(|()| self.folder.drop_note(PENDING, &self.theirs));
        if let Err(error) = kept {
            return self.lost(error);
        }
        let notes = [self.folder.note().unwrap_or_default(), self.note.clone()];
        let (ours, theirs, notes) = (ours.size, self.theirs.size, Box::new(notes));
        self.alarm(Breach::SplitView { ours, theirs, notes })
    }

    fn growth(&self) -> Result<Growth<'_>, Error> {
        let growth = match &self.ours {
            Some(ours) => Growth::resume(&self.folder, ours),
            None => Growth::begin(&self.folder),
        };
        growth.map_err(|error| self.lost(error))
    }

    /// The rules after so many entries, which are all that are mirrored.
    pub(super) fn rules_at(&self, size: u64) -> Result<Rules, Error> {
        self.folder.rules(&self.key.vkey(), size).map_err(|error| self.lost(error))
    }

    /// Asks for the entries that are not there yet, and adds them.
    async fn fetch(
        &self,
        growth: &mut Growth<'_>,
        each: &mut impl FnMut(&mut Growth<'_>, &[u8]) -> Result<(), folder::Error>,
        progress: &mut Progress<'_>,
    ) -> Result<(), Error> {
        let (origin, size) = (&self.theirs.origin, self.theirs.size);
        if growth.size() >= size {
            return Ok(());
        }
        let mut batches = self.shard.entries(origin, growth.size()..size, None).await?;
        let width = u64::from(TILE_WIDTH);
        let (mut until, mut bundle) = (Instant::now() + BUNDLE_WAIT_MAX, growth.size() / width);
        while growth.size() < size {
            self.folder.has_room().map_err(|error| self.lost(error))?;
            let batch = self.batch(&mut batches, until).await?;
            for (index, entry) in batch.indexes.into_iter().zip(&batch.entries) {
                if index != growth.size() || index >= size {
                    return Err(self.alarm(Breach::BadAnswer("they come in another order")));
                }
                if entry.len() > ENTRY_BYTES_MAX {
                    return Err(self.alarm(Breach::BadAnswer("one is longer than an entry can be")));
                }
                each(growth, entry).map_err(|error| self.lost(error))?;
            }
            if growth.size() / width > bundle {
                bundle = growth.size() / width;
                until = Instant::now() + BUNDLE_WAIT_MAX;
            }
            progress(origin, growth.size(), size);
        }
        Ok(())
    }

    /// The next entries, as many numbers as entries and not none.
    async fn batch(
        &self,
        batches: &mut EntryBatches,
        until: Instant,
    ) -> Result<api::LedgerEntries, Error> {
        let Ok(next) = timeout_at(until, batches.next()).await else {
            return Err(client::Error::TimedOut.into());
        };
        let wrong = |what| self.alarm(Breach::BadAnswer(what));
        let batch = next?.ok_or_else(|| wrong("fewer were sent than are signed"))?;
        let (numbers, entries) = (batch.indexes.len(), batch.entries.len());
        if numbers > BATCH_ENTRIES_MAX || entries > BATCH_ENTRIES_MAX {
            return Err(wrong("too many come at once"));
        }
        if numbers != entries {
            return Err(wrong("not as many numbers as entries"));
        }
        if entries == 0 {
            return Err(wrong("none come, and more are signed"));
        }
        Ok(batch)
    }

    /// Whether the log was rewritten, or is right and other entries were sent. The note stays among
    /// the pending ones, unless it is shown that it contradicts the mirror.
    async fn why_another_root(&self) -> Error {
        let (from, to) = (self.ours.as_ref().map_or(0, |at| at.size), self.theirs.size);
        let bad = Breach::BadEntries { from, to };
        let Some(ours) = self.ours.as_ref().filter(|at| at.size > 0) else {
            return self.alarm(bad);
        };
        let Ok(answer) = self.shard.consistency(&self.theirs.origin, from, to).await else {
            // Refused, busy or away: another root it is, and why was not shown.
            return self.alarm(Breach::Unshown { ours: from, theirs: to });
        };
        let hashes: Option<Vec<Hash>> = answer
            .hashes
            .iter()
            .map(|hash| <[u8; 32]>::try_from(hash.as_ref()).ok().map(Hash))
            .collect();
        let shown = hashes.is_some_and(|hashes| {
            proof::verify_consistency(from, &ours.root, to, &self.theirs.root, &hashes).is_ok()
        });
        if shown { self.alarm(bad) } else { self.split_view(ours) }
    }
}
