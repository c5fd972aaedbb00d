//! What waits for copies in other regions: an erasure is done once they have erased theirs, and the answer to
//! a deletion names those that may not have deleted theirs yet.

use engine::Key;
use ledger::entry::CopyEnd;
use terms::{Collection, Reason, RegionId, Rejection};

use crate::Error;
use crate::policy::copies::{mirrors_by, standing_mirrors};
use crate::policy::subject_status;
use crate::reply::Written;
use crate::store::copy_keys;
use crate::store::copy_mark::{CopyMark, MarkState};
use crate::store::damage::read_rows;
use crate::store::keys;
use crate::store::keys::Owner;
use crate::store::record::Address;
use crate::store::subject::Subject;
use crate::store::types::EntryAt;
use crate::write::erase::unknown;
use crate::write::transaction::{Done, Transaction};

impl Transaction<'_> {
    /// Has the copies of a subject, or of a collection of it, erased in other regions. The regions that have
    /// not confirmed that yet. The group has nothing else.
    pub(super) fn drop_copies(
        &mut self,
        owner: &Owner,
        collection: Option<&Collection>,
        why: CopyEnd,
    ) -> Result<Vec<RegionId>, Rejection> {
        let mut regions = Vec::new();
        for (key, mark) in self.marks_of(owner)? {
            if collection.is_some_and(|only| *only != mark.collection) {
                continue;
            }
            match mark.state {
                MarkState::Gone => {
                    self.batch.delete(copy_keys::tell(&mark.mirror, &key));
                    self.batch.delete(key);
                    continue;
                }
                MarkState::Made => self.drop_marked(mark.clone(), why, true)?,
                // What is erased is not to come back.
                MarkState::Drop(CopyEnd::Withdrawn | CopyEnd::Moved) => {
                    self.keep_mark(&CopyMark { state: MarkState::Drop(why), ..mark.clone() })?;
                }
                MarkState::Drop(_) => {}
            }
            regions.push(mark.mirror);
        }
        regions.dedup();
        Ok(regions)
    }

    /// Has the mirrors erase their copies of a subject that is about to be given away. Unfinished: some have not
    /// confirmed that yet.
    pub(super) fn take_copies_back(
        &mut self,
        owner: &Owner,
        move_id: [u8; 16],
        subject: &Subject,
    ) -> Result<Done, Rejection> {
        let goes = subject.status.moving().filter(|of| of.request_id == move_id);
        goes.ok_or(Reason::SubjectMoving)?;
        let mut unfinished = false;
        for (_, mark) in self.marks_of(owner)? {
            unfinished |= mark.state != MarkState::Gone;
            if mark.state == MarkState::Made {
                self.drop_marked(mark, CopyEnd::Moved, true)?;
            }
        }
        Ok(Done::written(Written { unfinished, ..Default::default() }))
    }

    /// Has the copies of a collection that is erased erased in other regions. Those for which the erasure
    /// waits: of them, and of moves that were given up. `again`: it waits for none.
    pub(super) fn copies_left(
        &mut self,
        owner: &Owner,
        collection: &Collection,
        again: bool,
    ) -> Result<Vec<RegionId>, Rejection> {
        let mut left = self.drop_copies(owner, Some(collection), CopyEnd::Erased)?;
        if again {
            return Ok(Vec::new());
        }
        left.extend(self.copies_of(owner)?);
        left.extend(self.mirrors_not_asked()?);
        Ok(left)
    }

    /// The regions that may have copies of which this store does not know, since it was restored: no erasure
    /// is done before they have erased them.
    pub(super) fn mirrors_not_asked(&self) -> Result<Vec<RegionId>, Rejection> {
        let restored = self.stored(&copy_keys::RESTORED_HOME.to_vec())?.is_some();
        let mirrors = || mirrors_by(self.rules.map(), &self.node.region);
        Ok(if restored { mirrors() } else { Vec::new() })
    }

    /// The answer to an erasure of a subject that this store does not know.
    pub(super) fn unknown_to_mirrors(&self) -> Rejection {
        match self.mirrors_not_asked() {
            Ok(regions) => regions.first().map_or_else(unknown, subject_status::copies_not_erased),
            Err(fault) => fault,
        }
    }

    /// The regions that have not deleted their copies of a record yet that was deleted under that entry.
    pub(super) fn still_copied(
        &self,
        address: &Address,
        entry: EntryAt,
    ) -> Result<Vec<RegionId>, Rejection> {
        let subject = self.subjects.get(&address.owner.tag);
        let mirrors = subject.map_or_else(Vec::new, |of| standing_mirrors(of, &address.collection));
        if self.entries.at_hand(entry).is_some() {
            // It is of this group: no region has been told.
            return Ok(mirrors);
        }
        let due: Vec<Key> =
            mirrors.iter().map(|mirror| keys::copy_due(mirror, &address.row)).collect();
        let due = read_rows(&*self.node.engine, &due).map_err(Error::from)?;
        let mut left = Vec::new();
        for (mirror, due) in mirrors.into_iter().zip(due) {
            left.extend(due?.map(|_| mirror));
        }
        Ok(left)
    }

    /// The regions to which copies of a subject's records may be due.
    pub(super) fn mirrors_of(
        &self,
        owner: &Owner,
        subject: &Subject,
    ) -> Result<Vec<RegionId>, Rejection> {
        let marked = self.marks_of(owner)?.into_iter().map(|(_, mark)| mark.mirror);
        let standing = subject.standings().iter().flat_map(|standing| standing.mirrors.clone());
        let mut mirrors: Vec<RegionId> = marked.chain(standing).collect();
        mirrors.sort_unstable();
        mirrors.dedup();
        Ok(mirrors)
    }

    /// Has the regions that have copies of a subject told what has become of it, and those looked at again that
    /// the rules allowed none. The group has nothing else.
    pub(super) fn tell_mirrors(&mut self, owner: &Owner) -> Result<(), Rejection> {
        for (_, mark) in self.marks_of(owner)? {
            match mark.state {
                MarkState::Made | MarkState::Gone => self.tell(&mark),
                MarkState::Drop(_) => {}
            }
        }
        Ok(())
    }
}
