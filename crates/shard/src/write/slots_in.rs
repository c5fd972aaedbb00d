//! The move of a slot from another shard of the region, at the shard that takes it.
//!
//! The rows come as they are, and lie apart under `3e`, where nothing finds them. Once the other shard
//! has given the slot away, and the digest of what has come is that of what it gave, they are put in their
//! places, some in each commit: a record under a MOVE_IN entry of its own, with its ruling. The last of
//! these commits writes the ownership row, and only then is the slot served. Version, opening, digest and
//! recent requests stay: etags and receipts stay good, and a retry is known.
//!
//! MOVE_IN entries about the slot: one when it begins to come; one with the number 0 if what has come is
//! discarded; one with the entry of the other log when it is adopted, with the same commitment as that.

use std::collections::HashMap;
use std::sync::Arc;

use engine::{Key, Order, ScanLimit, Value};
use ledger::entry::{Detail as Said, Kind, Role};
use ledger::statement::{commitment, content_digest};
use terms::{Reason, Rejection, ShardId, Slot, TenantId};

use crate::Error;
use crate::policy::asker::Asker;
use crate::reply::{Outcome, SlotStand, SlotState};
use crate::store::feed::ChangeKind;
use crate::store::indexed::Indexed;
use crate::store::keys;
use crate::store::keys::Owner;
use crate::store::principal::Principal;
use crate::store::record::{Address, Head, Stored};
use crate::store::slot_move::{self, Coming, ComingState, Handover, SlotMoveId};
use crate::store::subject::{Subject, SubjectRow};
use crate::store::types::{LogId, Minute};
use crate::store::{foreign_log, slots};
use crate::write::entries::rule_into;
use crate::write::index_rows::{self, ChangedRows};
use crate::write::record_rows::EXPIRES_FORMAT;
use crate::write::slot_move_command::{SlotMove, SlotStep};
use crate::write::slots_out::{is_of_source, slot_statement};
use crate::write::transaction::{Done, Transaction};

/// Rows that one commit puts in their places, and their bytes.
const INSTALL: ScanLimit = ScanLimit { rows: 1_024, bytes: 4 << 20 };
/// The format of a row that says that something is due: it is the whole value.
const DUE_FORMAT: u8 = 1;

/// Subjects whose rows are put in their places in one commit, by what their rows begin with.
type Installed = HashMap<Vec<u8>, (Owner, Arc<Subject>)>;

impl Transaction<'_> {
    /// Does one step of a move of a slot.
    pub(super) fn move_slot(&mut self, asker: &Asker, of: SlotMove) -> Result<Done, Rejection> {
        if is_of_source(&of.step) {
            return self.slot_goes(asker, of);
        }
        self.slot_comes(asker, of)
    }

    /// Does one step of a move of a slot to here.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are treated alike")]
    fn slot_comes(&mut self, asker: &Asker, of: SlotMove) -> Result<Done, Rejection> {
        self.kept.slots_changed = true;
        let SlotMove { slot, move_id, step, .. } = of;
        if let SlotStep::Forget(from) = &step {
            return self.forget_slots(asker, from);
        }
        let known = self.coming(slot, &move_id)?;
        let Some(coming) = known else {
            return match step {
                SlotStep::Begin { from, origins } => {
                    self.name_logs(origins);
                    self.begin_slot(asker, slot, &move_id, from)
                }
                SlotStep::Drop(from) => {
                    // A beginning of it that comes late is refused.
                    let (origin, index) = (self.entries.own_origin().to_string(), 0);
                    let state = ComingState::Dropped;
                    Ok(self.keep_coming(slot, &move_id, Coming { from, origin, index, state }))
                }
                _ => Ok(stands(SlotState::None, None, false)),
            };
        };
        let next = match (step, &coming.state) {
            (SlotStep::Rows { after, next, rows }, ComingState::Staging(last))
                if after == *last =>
            {
                for (key, value) in rows {
                    self.batch.put(slot_move::came(&key), value);
                }
                ComingState::Staging(next)
            }
            (SlotStep::Adopt { checked, handover }, ComingState::Staging(last))
                if checked == *last =>
            {
                ComingState::Installing(handover)
            }
            (SlotStep::Install, ComingState::Installing(handover)) => {
                let handover = handover.clone();
                return self.install(asker, slot, &move_id, coming, &handover);
            }
            (SlotStep::Drop(_), ComingState::Staging(_)) => {
                return self.discard(asker, slot, &move_id, coming);
            }
            // It came before, or late: the other shard goes on from where this one is.
            _ => return Ok(self.slot_stand(slot, &coming)),
        };
        Ok(self.keep_coming(slot, &move_id, Coming { state: next, ..coming }))
    }

    /// Notes the logs of other shards that rows of the slot may name.
    fn name_logs(&mut self, origins: Vec<String>) {
        for origin in origins {
            self.batch.put(foreign_log::key(LogId::of(&origin)), foreign_log::row(&origin));
        }
    }

    fn coming(&self, slot: Slot, move_id: &SlotMoveId) -> Result<Option<Coming>, Rejection> {
        let rows =
            self.node.engine.get_many(&[&Coming::key(slot, move_id)]).map_err(Error::from)?;
        let row = rows.into_iter().next().flatten();
        Ok(row.map(|row| Coming::read(&row)).transpose()?)
    }

    fn keep_coming(&mut self, slot: Slot, move_id: &SlotMoveId, coming: Coming) -> Done {
        self.batch.put(Coming::key(slot, move_id), coming.row());
        self.slot_stand(slot, &coming)
    }

    fn slot_stand(&self, slot: Slot, coming: &Coming) -> Done {
        let held = self.node.slots.borrow().holds(slot);
        stands(SlotState::of(&coming.state), Some(coming), held)
    }

    /// Whether a slot may begin to come, and that it does.
    fn begin_slot(
        &mut self,
        asker: &Asker,
        slot: Slot,
        move_id: &SlotMoveId,
        from: ShardId,
    ) -> Result<Done, Rejection> {
        let own = self.node.slots.borrow().clone();
        for (_, row) in slots::all(&*self.node.engine, Coming::all_of(slot))? {
            let before = Coming::read(&row)?;
            let came = before.from == from && before.state == ComingState::Adopted;
            if came && own.served.contains(slot) {
                // It came before the store of the other shard was restored.
                return Ok(self.slot_stand(slot, &before));
            }
        }
        // What it was made with, and never served, it lets go: the other shard has it.
        let unconfirmed = own.unconfirmed.contains(slot);
        if own.claimed().contains(slot) && !unconfirmed {
            let fault = Rejection::new(Reason::FieldInvalid).field("slots");
            let number = slot.number();
            return Err(
                fault.problem(format!("the other shard has slot {number}, or is to have it"))
            );
        }
        for span in slot_move::travelling(slot).chain(slot_move::staying(slot)) {
            if !self.scan(&span, 1)?.rows.is_empty() {
                let fault = Rejection::new(Reason::FieldInvalid).field("slots");
                let number = slot.number();
                return Err(fault.problem(format!("the other shard has rows of slot {number}")));
            }
        }
        if unconfirmed {
            own.let_go(slot, &mut self.batch);
        }
        let mut entry = self.entries.about_subject(Kind::MoveIn, asker);
        entry.say(Said::Reason(format!("slot {} comes from shard {from}", slot.number())));
        let (origin, index) = (self.entries.own_origin().to_string(), self.entries.next_index().0);
        self.entries.append(&entry.in_order())?;
        let state = ComingState::Staging(Vec::new());
        Ok(self.keep_coming(slot, move_id, Coming { from, origin, index, state }))
    }

    /// Discards what has come of a slot, as much as one commit takes.
    fn discard(
        &mut self,
        asker: &Asker,
        slot: Slot,
        move_id: &SlotMoveId,
        coming: Coming,
    ) -> Result<Done, Rejection> {
        for span in slot_move::all_came(slot) {
            if !self.scan(&span, 1)?.rows.is_empty() {
                self.take_rows(span)?;
                return Ok(self.slot_stand(slot, &coming));
            }
        }
        let mut entry = self.entries.about_subject(Kind::MoveIn, asker);
        let number = slot.number();
        entry.say(Said::Count(0));
        entry.say(Said::Reason(format!("slot {number} of shard {} does not come", coming.from)));
        self.entries.append(&entry.in_order())?;
        Ok(self.keep_coming(slot, move_id, Coming { state: ComingState::Dropped, ..coming }))
    }

    /// Discards all that comes from a shard whose store is another one now, in as many calls as it takes.
    fn forget_slots(&mut self, asker: &Asker, from: &ShardId) -> Result<Done, Rejection> {
        for (key, row) in slots::all(&*self.node.engine, Coming::all())? {
            let (slot, move_id) = Coming::of_key(&key).ok_or(Error::Damaged("slots"))?;
            let coming = Coming::read(&row)?;
            if coming.from == *from && matches!(coming.state, ComingState::Staging(_)) {
                return self.discard(asker, slot, &move_id, coming);
            }
        }
        Ok(stands(SlotState::None, None, false))
    }

    /// Puts rows that have come in their places, as many as one commit takes. After the last of them, the
    /// slot is served.
    fn install(
        &mut self,
        asker: &Asker,
        slot: Slot,
        move_id: &SlotMoveId,
        coming: Coming,
        handover: &Handover,
    ) -> Result<Done, Rejection> {
        let mut installed = Installed::new();
        for span in slot_move::all_came(slot) {
            let page = self.node.engine.scan(&span, Order::Ascending, INSTALL);
            let page = page.map_err(Error::from)?;
            for (key, row) in page.rows {
                let place = slot_move::of_came(&key).ok_or(Error::Damaged("slots"))?.to_vec();
                self.put_in_place(place, row, &mut installed)?;
                self.batch.delete(key);
            }
            if !self.batch.is_empty() {
                return Ok(self.slot_stand(slot, &coming));
            }
        }
        let mut entry = self.entries.about_subject(Kind::MoveIn, asker);
        let Handover { origin, index, opening, digest, live } = handover;
        entry.say(Said::Count(*live));
        entry.say(Said::Peer { origin: origin.clone(), index: *index });
        let statement = slot_statement(slot, content_digest(opening, digest));
        entry.commitment = Some(commitment(opening, &statement));
        self.entries.append(&entry.in_order())?;
        slots::own(&mut self.batch, slot);
        // Who asked the other shard whether an id is free counts on it that it is not given away here.
        self.node.claims.begin_run();
        Ok(self.keep_coming(slot, move_id, Coming { state: ComingState::Adopted, ..coming }))
    }

    /// Puts one row in its place.
    fn put_in_place(
        &mut self,
        key: Key,
        row: Value,
        installed: &mut Installed,
    ) -> Result<(), Rejection> {
        if key.first() != Some(&0x10) {
            self.batch.put(key, row);
            return Ok(());
        }
        let (prefix, tag) = keys::of_subject(&key).ok_or(Error::Damaged("subjects"))?;
        let node = self.node;
        if keys::is_subject(&key) {
            node.subjects.remove(&tag);
            if let Some(owner) = Subject::owner_of(&row, tag, node.subject_keys())?
                && let SubjectRow::Kept(subject) = node.open_subject(&owner, &row)?
            {
                if let Some(due) = subject.due() {
                    self.batch.put(keys::subject_due(due, &key), vec![DUE_FORMAT]);
                }
                installed.insert(prefix.to_vec(), (owner, Arc::new(subject)));
            }
            self.batch.put(key, row);
            return Ok(());
        }
        let (owner, subject) = match installed.get(prefix) {
            Some((owner, subject)) => (owner.clone(), Arc::clone(subject)),
            None => {
                // An earlier commit has put it there.
                let of = keys::subject_row(prefix);
                let rows = node.engine.get_many(&[&of]).map_err(Error::from)?;
                let row = rows.into_iter().next().flatten().ok_or(Error::Damaged("subjects"))?;
                let owner = Subject::owner_of(&row, tag, node.subject_keys())?;
                let owner = owner.ok_or(Error::Damaged("records"))?;
                let SubjectRow::Kept(subject) = node.open_subject(&owner, &row)? else {
                    return Err(Error::Damaged("records").into());
                };
                let subject = Arc::new(subject);
                installed.insert(prefix.to_vec(), (owner.clone(), Arc::clone(&subject)));
                (owner, subject)
            }
        };
        self.install_head(&key, &row, &owner, &subject)
    }

    /// Puts the head of a record in its place: under an entry of this log, if the record is live, and with
    /// what finds it by the map here.
    fn install_head(
        &mut self,
        key: &[u8],
        row: &[u8],
        owner: &Owner,
        subject: &Subject,
    ) -> Result<(), Rejection> {
        let node = self.node;
        let stored = Stored::read(row).map_err(|_| Error::Damaged("records"))?;
        let of_key = subject.key_of(key).map_err(Error::from)?;
        let opened = stored.named(owner, key, &node.region, of_key);
        let (address, mut head) = opened.map_err(|_| Error::Damaged("records"))?;
        let rules = self.rules.map().collection(&address.collection);
        let fed = rules.and_then(atlas::CollectionRules::feed).is_some();
        if !head.is_deleted() {
            let old = std::mem::take(&mut head.indexed);
            head.indexed = Indexed::arrived(rules, old.attributes);
            (head.indexed.participants, head.indexed.bound) = (old.participants, old.bound);
            self.say_installed(&address, &mut head, subject)?;
            let to = ChangedRows { batch: &mut self.batch, listed: &mut self.kept.in_hand };
            index_rows::change(to, &node.namer, &address, None, &head.indexed);
            if let Some(at) = head.expires {
                let due = keys::expires(Minute::of(at), &address.row);
                self.batch.put(due, vec![EXPIRES_FORMAT]);
            }
        }
        head.indexed.fed = fed;
        if fed {
            self.feed.begin(|| node.random())?;
            let kind = if head.is_deleted() { ChangeKind::Deleted } else { ChangeKind::Written };
            self.feed.add(&address, head.version, kind);
        }
        let body = stored.sealed_body(&head);
        let rows = body.into_rows(&address, &node.region, &head, of_key, node.random()?);
        self.batch.put(address.row.clone(), rows.head);
        Ok(())
    }

    /// The entry of a live record that comes with its slot.
    fn say_installed(
        &mut self,
        address: &Address,
        head: &mut Head,
        subject: &Subject,
    ) -> Result<(), Rejection> {
        let (owner, collection) = (&address.owner, &address.collection);
        let of_tenant = self.own_asker(&owner.tenant);
        let mut entry = self.entries.entry(Kind::MoveIn, &of_tenant, collection.as_str());
        // A map that has come in between may place it elsewhere: it is here all the same, until it moves.
        if let Some(own) = self.standing_ruling(owner, collection, Some(subject)) {
            let (named, gateway) = (&head.indexed.participants, self.node.territory);
            let together = self.rules.together(&owner.tenant, &own, named, gateway);
            let together = together.ok().flatten();
            rule_into(&mut entry, together.as_ref().unwrap_or(&own));
        }
        let statement = address.statement(head.version, head.digest);
        entry.commitment = Some(commitment(&head.opening, &statement));
        head.entry = self.entries.next();
        let (at, version) = (head.entry, head.version);
        let newest = head.recent.iter_mut().filter(|recent| recent.version == version);
        newest.for_each(|recent| recent.entry = at);
        self.entries.append(&entry.in_order())?;
        Ok(())
    }

    /// This shard itself, for records of a tenant.
    fn own_asker(&self, tenant: &TenantId) -> Asker {
        let log = self.node.growing();
        let name = self.node.shard.as_str();
        let who = Principal::new(&log, Some(tenant.clone()), name, Role::Shard, None);
        Asker {
            who: Arc::new(who),
            ..Asker::of_shards(&self.node.growing(), name, self.node.territory)
        }
    }
}

fn stands(state: SlotState, coming: Option<&Coming>, held: bool) -> Done {
    let (origin, index) = coming.map(|of| (of.origin.clone(), of.index)).unwrap_or_default();
    let after = match coming.map(|of| &of.state) {
        Some(ComingState::Staging(after)) => after.clone(),
        _ => Vec::new(),
    };
    let stand = SlotStand { state, after, origin, index, held, digest: None };
    Done::Answer(Outcome::SlotStand(Box::new(stand)))
}
