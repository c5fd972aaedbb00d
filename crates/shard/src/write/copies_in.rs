//! Copies of records whose home is another region.
//!
//! The shard of the home asks. Each copy is ruled and placed again by this shard's own map, from the findings
//! that come along, in the commit that stores it: only if the rules place the record in the region of the
//! shard that asks, and want a copy here. The rows lie apart from those of records, under a key of their own
//! for each collection of a subject. A COPY_IN entry stands in the commit that stores a copy, a COPY_DROP entry
//! in the one that takes it away.
//!
//! What the home asks says where it stands in the home's log. What comes later than something newer is not
//! done, so a step may come twice, or late. What is said of dropped copies is kept for a day.

use std::sync::Arc;

use engine::{Batch, Engine, Key, Order, ScanLimit};
use ledger::entry::{CopyEnd, Entry};
use ledger::statement::commitment;
use terms::{Collection, Reason, RegionId, Rejection};

use crate::Error;
use crate::policy::asker::Asker;
use crate::policy::copies::{CopyQuestion, copied, copy_ruling, references};
use crate::policy::rulings::Ruled;
use crate::policy::second_check::Here;
use crate::reply::{Copied, CopiedState, Outcome};
use crate::store::aead::NONCE_BYTES;
use crate::store::copied_record::{self, CopiedFrom, NewCopy};
use crate::store::copied_set::{CopiedSet, DroppedSet, HomePlace, NewSet, SetRow};
use crate::store::copy_keys;
use crate::store::indexed::Indexed;
use crate::store::participants::Participant;
use crate::store::record::{Address, Body, Head, SealedBody};
use crate::store::types::{EntryAt, Incarnation, Minute};
use crate::write::committer::Committer;
use crate::write::copy_command::{CopyOfRecord, TakeCopy, TakeCopyStep};
use crate::write::list_numbers::ListChanges;
use crate::write::move_command::ArrivingRecord;
use crate::write::transaction::{Done, Transaction};

/// Rows of dropped copies that one commit deletes, of each kind, and bytes that are read for it.
const ROWS_AT_ONCE: usize = 4_096;
const BYTES_AT_ONCE: usize = 4 << 20;

impl Transaction<'_> {
    /// Does one step about copies here.
    pub(super) fn take_copy(&mut self, asker: &Asker, copy: TakeCopy) -> Result<Done, Rejection> {
        let set = self.copied_set(&copy.set)?;
        let late = match &set {
            Some(SetRow::Kept(set)) => copy.at.precedes(&set.floor),
            Some(SetRow::Dropped(dropped)) => copy.at.precedes(&dropped.at),
            None => false,
        };
        let TakeCopy { owner, home, collection, set: key, at, step, .. } = copy;
        if late && !matches!(step, TakeCopyStep::Check) {
            return Ok(state(CopiedState::Stale));
        }
        let left = matches!(&set, Some(SetRow::Dropped(dropped)) if dropped.left);
        let of = OfSet { asker, home: &home, collection: &collection, key: &key };
        match (set, step) {
            (None | Some(SetRow::Dropped(_)), TakeCopyStep::Check) => Ok(state(CopiedState::None)),
            (Some(SetRow::Kept(set)), TakeCopyStep::Check) => self.check_set(&of, *set),
            (_, TakeCopyStep::Record(_)) if left => Err(Reason::ShardBusy.into()),
            (set, TakeCopyStep::Record(copy)) => {
                let set = match set {
                    Some(SetRow::Kept(set)) => *set,
                    Some(SetRow::Dropped(dropped)) => {
                        self.new_set(&of, &owner, &copy, [dropped.at, at.clone()])?
                    }
                    None => {
                        let floor = HomePlace::first(at.shard.clone());
                        self.new_set(&of, &owner, &copy, [floor, at.clone()])?
                    }
                };
                self.store_copy(&of, set, at, *copy)
            }
            (Some(SetRow::Kept(set)), TakeCopyStep::Gone { address, why }) => {
                self.copy_gone(&of, *set, at, &address, why)
            }
            (Some(SetRow::Kept(set)), TakeCopyStep::State { findings, blocked }) => {
                let mut next = CopiedSet::clone(&set);
                (next.findings, next.blocked) = (findings, blocked);
                let same = next.blocked == set.blocked && next.findings == set.findings;
                if at.precedes(&set.told) || (at == set.told && !same) {
                    return Ok(state(CopiedState::Stale));
                }
                next.told = at;
                let nonce = self.node.random()?;
                self.keep_set(&next, nonce);
                Ok(state(CopiedState::Done))
            }
            (Some(SetRow::Kept(set)), TakeCopyStep::Drop(why)) => self.drop_set(&of, &set, at, why),
            (Some(SetRow::Dropped(dropped)), TakeCopyStep::Drop(_)) if dropped.left => {
                self.clear(&of, DroppedSet { at, ..dropped })
            }
            (
                None | Some(SetRow::Dropped(_)),
                TakeCopyStep::Gone { .. } | TakeCopyStep::State { .. } | TakeCopyStep::Drop(_),
            ) => {
                // What is older and comes later is not stored.
                let minute = self.entries.minute();
                self.keep_row(key, DroppedSet { at, minute, left }.row());
                Ok(state(CopiedState::None))
            }
        }
    }

    /// The set, as this group has left it.
    fn copied_set(&self, key: &Key) -> Result<Option<SetRow>, Rejection> {
        self.readable(key)?;
        let row = self.rows.get(key).ok_or(Error::Damaged("copies"))?;
        let open = |row: &engine::Value| CopiedSet::open(key, row, self.node.subject_keys());
        Ok(row.as_ref().map(open).transpose()?)
    }

    fn new_set(
        &self,
        of: &OfSet<'_>,
        owner: &crate::store::keys::Owner,
        copy: &CopyOfRecord,
        [floor, told]: [HomePlace; 2],
    ) -> Result<CopiedSet, Rejection> {
        let (collection, home, findings) = (of.collection, of.home, &copy.findings);
        let new = NewSet { owner, collection, home, findings, floor, told };
        Ok(CopiedSet::create(new, self.node.subject_keys(), &*self.node.entropy)?)
    }

    /// The ruling by which the copies lie here.
    fn copies_here(
        &self,
        set: &CopiedSet,
        participants: &[Participant],
    ) -> Result<Arc<Ruled>, Rejection> {
        let node = self.node;
        let question = CopyQuestion {
            home: &set.home,
            there: Here { region: &node.region, territory: node.territory },
            tenant: &set.owner.tenant,
            collection: &set.collection,
            findings: &set.findings,
            participants,
            chosen: None,
        };
        copy_ruling(&node.map(), self.rules.date(), &question)
    }

    /// Stores a version, in the place of what was here.
    fn store_copy(
        &mut self,
        of: &OfSet<'_>,
        mut set: CopiedSet,
        place: HomePlace,
        copy: CopyOfRecord,
    ) -> Result<Done, Rejection> {
        let CopyOfRecord { record, findings, placed, written, nonces } = copy;
        let ArrivingRecord { address, version, content, expires, attributes, participants, .. } =
            record;
        let before = self.copy_before(&set, &address)?;
        if let Some(before) = &before {
            if before.from.place == place && !before.head.is_deleted() {
                return Ok(state(CopiedState::Done));
            }
            if place.precedes(&before.from.place) {
                return Ok(state(CopiedState::Stale));
            }
        }
        // What the home has said since of the person stands.
        let same_findings = place.precedes(&set.told) || set.findings == findings;
        if !same_findings {
            set.findings = findings;
        }
        let ruled = self.copies_here(&set, &participants)?;
        let live = before.as_ref().map(|before| &before.head).filter(|head| !head.is_deleted());
        let statement = address.statement(version, content.digest);
        let commitment = commitment(&content.opening, &statement);
        let entry =
            self.log_copy_in(of, &ruled, live.map(|head| head.entry), &placed, commitment)?;
        let is_new = live.is_none();
        let mut indexed = Indexed::arrived(None, attributes);
        indexed.participants = participants;
        let head = Head {
            incarnation: Incarnation::FIRST,
            version,
            body: content.sealed.body(),
            entry,
            opening: content.opening,
            digest: content.digest,
            body_key: content.body_key,
            expires,
            indexed,
            recent: Vec::new(),
        };
        let taken = self.entries.minute();
        let from = CopiedFrom { place, placed, written, taken };
        let new = NewCopy { from: &from, head: &head, body: content.sealed, nonces };
        if is_new {
            set.live += 1;
        }
        // Nothing of it can fail from here on.
        let nonce = self.node.random()?;
        self.keep_copy(&set, &address, new, live);
        if is_new || !same_findings {
            self.keep_set(&set, nonce);
        }
        Ok(state(CopiedState::Done))
    }

    /// Writes down that a copy is stored. `replaces`: the entry of the one in whose place it comes.
    fn log_copy_in(
        &mut self,
        of: &OfSet<'_>,
        ruled: &Ruled,
        replaces: Option<EntryAt>,
        placed: &(String, u64),
        commitment: [u8; 32],
    ) -> Result<EntryAt, Rejection> {
        let (map, minute) = (self.node.map(), self.entries.minute().0);
        let references = references(&map, ruled);
        let call = self.entries.call(of.asker, Some(of.collection.as_str()));
        let own = replaces.filter(|at| self.entries.is_own(*at));
        if let Some(at) = replaces.filter(|at| !self.entries.is_own(*at)) {
            let why = CopyEnd::Replaced;
            let mut entry = Entry::copy_drop(minute, call, of.home.as_str(), why, None);
            self.entries.name_earlier(&mut entry, at)?;
            self.entries.append(&entry)?;
        }
        let copied = copied(call, ruled, &references, of.home, commitment);
        let (origin, index) = placed;
        let own = own.map(|at| at.index.0);
        let entry = Entry::copy_in(minute, copied, (origin, *index), own);
        let at = self.entries.next();
        self.entries.append(&entry)?;
        Ok(at)
    }

    /// The record is deleted at its home: its copy goes. That it is deleted is kept.
    fn copy_gone(
        &mut self,
        of: &OfSet<'_>,
        mut set: CopiedSet,
        place: HomePlace,
        address: &Address,
        why: CopyEnd,
    ) -> Result<Done, Rejection> {
        let before = self.copy_before(&set, address)?;
        if let Some(before) = &before {
            if before.head.is_deleted() && !before.from.place.precedes(&place) {
                return Ok(state(CopiedState::Done));
            }
            if !before.from.place.precedes(&place) && before.from.place.shard == place.shard {
                return Ok(state(CopiedState::Stale));
            }
        }
        let live = before.as_ref().map(|before| &before.head).filter(|head| !head.is_deleted());
        let entry = self.entries.next();
        if let Some(live) = live {
            let call = self.entries.call(of.asker, Some(of.collection.as_str()));
            let minute = self.entries.minute().0;
            let mut entry = Entry::copy_drop(minute, call, of.home.as_str(), why, None);
            self.entries.name_earlier(&mut entry, live.entry)?;
            self.entries.append(&entry)?;
            set.live = set.live.saturating_sub(1);
        }
        let content =
            crate::write::command::Content::none(self.node.random()?, self.node.random()?);
        let head = Head {
            incarnation: Incarnation::FIRST,
            version: before.as_ref().map_or_else(Default::default, |before| before.head.version),
            body: Body::Deleted,
            entry,
            opening: content.opening,
            digest: content.digest,
            body_key: content.body_key,
            expires: None,
            indexed: Indexed::default(),
            recent: Vec::new(),
        };
        let minute = self.entries.minute();
        let placed = (String::new(), 0);
        let from = CopiedFrom { place, placed, written: minute, taken: minute };
        let nonces = [self.node.random()?, content.nonce];
        let new = NewCopy { from: &from, head: &head, body: SealedBody::none(), nonces };
        let nonce = self.node.random()?;
        self.keep_copy(&set, address, new, live);
        if live.is_some() {
            self.keep_set(&set, nonce);
        }
        Ok(state(CopiedState::Done))
    }

    /// The copy that is here, as this group has left it.
    fn copy_before(
        &self,
        set: &CopiedSet,
        address: &Address,
    ) -> Result<Option<CopyBefore>, Rejection> {
        self.readable(&address.row)?;
        let row = self.rows.get(&address.row).ok_or(Error::Damaged("copies"))?;
        let Some(row) = row else { return Ok(None) };
        // Of copies that were dropped rows may be left, which no key opens.
        let opened = copied_record::open(set, address, row, &self.node.region)?;
        Ok(Some(CopyBefore { from: opened.from, head: opened.head }))
    }

    fn keep_copy(
        &mut self,
        set: &CopiedSet,
        address: &Address,
        new: NewCopy<'_>,
        before: Option<&Head>,
    ) {
        let rows = copied_record::rows(set, address, new, &self.node.region);
        let body = copy_keys::copied_body(&address.row);
        match rows.body {
            Some(row) => self.batch.put(body, row),
            None if before.is_some_and(|head| matches!(head.body, Body::Apart(_))) => {
                self.batch.delete(body);
            }
            None => {}
        }
        self.keep_row(address.row.clone(), rows.head);
    }

    fn keep_set(&mut self, set: &CopiedSet, nonce: [u8; NONCE_BYTES]) {
        let keys = self.node.subject_keys();
        self.keep_row(set.at(keys), set.row(keys, nonce));
    }

    fn keep_row(&mut self, key: Key, row: Vec<u8>) {
        self.rows.insert(key.clone(), Some(row.clone()));
        self.batch.put(key, row);
    }

    /// Looks whether the rules here still allow the copies.
    fn check_set(&mut self, of: &OfSet<'_>, set: CopiedSet) -> Result<Done, Rejection> {
        let restored = self.stored(&copy_keys::RESTORED.to_vec())?.is_some();
        if !restored && self.copies_here(&set, &[]).is_ok() {
            return Ok(state(CopiedState::Done));
        }
        let at = set.floor.clone();
        self.drop_set(of, &set, at, CopyEnd::Withdrawn)
    }

    /// Erases all copies of a set: with its row goes the key of all of them.
    fn drop_set(
        &mut self,
        of: &OfSet<'_>,
        set: &CopiedSet,
        at: HomePlace,
        why: CopyEnd,
    ) -> Result<Done, Rejection> {
        if set.live > 0 {
            let call = self.entries.call(of.asker, Some(of.collection.as_str()));
            let (minute, live) = (self.entries.minute().0, Some(set.live));
            let entry = Entry::copy_drop(minute, call, of.home.as_str(), why, live);
            self.entries.append(&entry)?;
        }
        self.clear(of, DroppedSet { at, minute: self.entries.minute(), left: true })
    }

    /// Deletes rows of copies that were dropped, as many as one commit takes.
    fn clear(&mut self, of: &OfSet<'_>, mut dropped: DroppedSet) -> Result<Done, Rejection> {
        let engine = &*self.node.engine;
        dropped.left = clear_some(engine, of.key, &mut self.batch).map_err(Error::from)?;
        let done = if dropped.left { CopiedState::Unfinished } else { CopiedState::Done };
        self.keep_row(of.key.clone(), dropped.row());
        Ok(state(done))
    }
}

impl Committer {
    /// Deletes some of what is left of copies that were dropped; once nothing is, and a day is over, also the
    /// row that says so. False: the store took no commit.
    pub(super) fn clear_copies(&mut self, set: &Key) -> Result<bool, Error> {
        let node = Arc::clone(&self.node);
        let Some(row) = node.engine.get_many(&[set])?.pop().flatten() else { return Ok(true) };
        let SetRow::Dropped(mut dropped) = CopiedSet::open(set, &row, node.subject_keys())? else {
            return Ok(true);
        };
        let mut batch = Batch::new();
        if dropped.left {
            dropped.left = clear_some(&*node.engine, set, &mut batch)?;
            batch.put(set.clone(), dropped.row());
        } else if dropped.is_over(Minute::of(self.now())) {
            batch.delete(set.clone());
        }
        self.commit_unlogged(batch, &ListChanges::default(), &mut [])
    }
}

/// Deletes rows of copies that were dropped. Whether there are more.
fn clear_some(engine: &dyn Engine, set: &[u8], batch: &mut Batch) -> Result<bool, engine::Error> {
    let limit = ScanLimit { rows: ROWS_AT_ONCE, bytes: BYTES_AT_ONCE };
    for span in copy_keys::copies(set) {
        let page = engine.scan(&span, Order::Ascending, limit)?;
        page.rows.into_iter().for_each(|(key, _)| batch.delete(key));
        if page.more {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The set that a step is about.
struct OfSet<'a> {
    asker: &'a Asker,
    home: &'a RegionId,
    collection: &'a Collection,
    key: &'a Key,
}

/// The copy that was here before.
struct CopyBefore {
    from: CopiedFrom,
    head: Head,
}

fn state(state: CopiedState) -> Done {
    Done::Answer(Outcome::Copied(Copied::of(state)))
}
