//! One log on its way: what the shard shows, and what of it becomes the mirror.

use client::{Ledger, api};
use ledger::entry::{ENTRY_BYTES_MAX, Entry};
use ledger::note::Verifier;
use ledger::tile::{BundleId, TILE_WIDTH};
use ledger::{Checkpoint, Hash, proof, tree};

use super::{Alarm, BrokenEntry, Error, FINDINGS_MAX, Progress, What};
use crate::folder::{self, Folder, Growth};
use crate::rules::{Broken, Rules};

/// One log on its way into its folder.
pub(super) struct Log<'a> {
    pub(super) shard: &'a Ledger,
    pub(super) folder: Folder,
    pub(super) key: Verifier,
    /// What is mirrored.
    pub(super) ours: Option<Checkpoint>,
    /// What the shard shows, and its note.
    pub(super) theirs: Checkpoint,
    pub(super) note: String,
}

// === impl Log ===

impl Log<'_> {
    fn alarm(&self, what: What) -> Error {
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
        // What an earlier attempt has left is taken first. Nobody has vouched for it, so if the
        // root is another one, it is thrown away, and everything is asked for.
        for leftovers in [true, false] {
            let mut growth = self.growth()?;
            let mut rules = self.rules()?;
            let mut findings = Vec::new();
            let mut each = |growth: &mut Growth<'_>, entry: &[u8]| {
                let index = growth.size();
                growth.push(entry)?;
                if let Err(broken) = rules.take(entry)
                    && findings.len() < FINDINGS_MAX
                {
                    findings.push(self.broken(index, broken));
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
        let root = tree::root_at(self.theirs.size, &mut self.folder.tiles(ours.size));
        let root: Option<Hash> = root.ok();
        if root.is_some() && root != Some(self.theirs.root) {
            return Err(self.split_view(ours));
        }
        if ours.size > self.theirs.size {
            let (ours, theirs) = (ours.size, self.theirs.size);
            return Err(self.alarm(What::RolledBack { ours, theirs }));
        }
        if ours.root != self.theirs.root {
            return Err(self.split_view(ours));
        }
        // The same, perhaps with more cosignatures; those that are here are not given away.
        let kept = self.folder.note().map_err(|error| self.lost(error))?;
        if kept.lines().count() >= self.note.lines().count() {
            return Ok(());
        }
        self.folder.put_note(&self.note).map_err(|error| self.lost(error))
    }

    /// Both notes are kept: without them it would be the auditor's word.
    fn split_view(&self, ours: &Checkpoint) -> Error {
        let mut name = self.theirs.root.to_string();
        name.truncate(16);
        let name = format!("{}-{name}.checkpoint", self.theirs.size);
        if let Err(error) = self.folder.put_conflict(&name, &self.note) {
            return self.lost(error);
        }
        let notes = [self.folder.note().unwrap_or_default(), self.note.clone()];
        let (ours, theirs, notes) = (ours.size, self.theirs.size, Box::new(notes));
        self.alarm(What::SplitView { ours, theirs, notes })
    }

    fn growth(&self) -> Result<Growth<'_>, Error> {
        let growth = match &self.ours {
            Some(ours) => Growth::resume(&self.folder, ours),
            None => Growth::begin(&self.folder),
        };
        growth.map_err(|error| self.lost(error))
    }

    /// The rules where the mirror ends.
    fn rules(&self) -> Result<Rules, Error> {
        let size = self.ours.as_ref().map_or(0, |at| at.size);
        let last = self.folder.entries(size, size.saturating_sub(1), size).next().transpose();
        let last = last.map_err(|error| self.lost(error))?;
        let last = last.and_then(|(_, bytes)| Entry::decode(&bytes).ok());
        Ok(Rules::after(&self.key.vkey(), size, last.as_ref()))
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
        let mut batches = self.shard.entries(origin, (growth.size(), size), None).await?;
        while growth.size() < size {
            let Some(batch) = batches.next().await? else {
                return Err(self.alarm(What::BadAnswer("fewer were sent than are signed")));
            };
            let api::LedgerEntries { indexes, entries } = batch;
            if indexes.len() != entries.len() {
                return Err(self.alarm(What::BadAnswer("not as many numbers as entries")));
            }
            for (index, entry) in indexes.into_iter().zip(&entries) {
                if index != growth.size() || index >= size {
                    return Err(self.alarm(What::BadAnswer("they come in another order")));
                }
                if entry.len() > ENTRY_BYTES_MAX {
                    return Err(self.alarm(What::BadAnswer("one is longer than an entry can be")));
                }
                each(growth, entry).map_err(|error| self.lost(error))?;
            }
            progress(origin, growth.size(), size);
        }
        Ok(())
    }

    /// Whether the log was rewritten, or is right and other entries were sent.
    async fn why_another_root(&self) -> Error {
        let (from, to) = (self.ours.as_ref().map_or(0, |at| at.size), self.theirs.size);
        let bad = What::BadEntries { from, to };
        let Some(ours) = self.ours.as_ref().filter(|at| at.size > 0) else {
            return self.alarm(bad);
        };
        let answer = match self.shard.consistency(&self.theirs.origin, from, to).await {
            Ok(answer) => answer,
            Err(client::Error::Refused(_)) => return self.split_view(ours),
            Err(error) => return error.into(),
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
