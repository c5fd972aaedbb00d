//! The move of a subject to another region, at the region that gives it away.
//!
//! A caller orders it: from then on the subject is read and not written. `relocate/drive.rs` copies it,
//! and then has it given away, in one commit with a MOVE_OUT entry that commits to the digest of all
//! that was copied. From that commit on this region neither reads nor writes it. Its rows stay until the
//! other region has confirmed that it serves the subject; then a tombstone that names that region takes
//! their place. Until it is given away, the move may be given up.
//!
//! MOVE_OUT entries about a subject: one when the move is ordered; one with the number 0 if it is given
//! up; one with the entry of the other log when the subject is given away, together with one for each
//! collection that has the number of its records.
//!
//! A subject that is blocked moves blocked. Records that name other people move if they may lie in the
//! other region together with what binds those people; that is ruled when the move is ordered, before
//! anything is copied, at the other region for each record, and once more when the subject is given away.

use std::collections::BTreeMap;
use std::sync::Arc;

use atlas::{Findings, Moment};
use ledger::entry::{CopyEnd, Detail as Said, Kind};
use ledger::statement::{commitment, content_digest};
use terms::limits::REQUEST_IDS_KEPT_HOURS;
use terms::{Collection, Detail, Reason, RegionId, Rejection};

use crate::log::erasure_file;
use crate::policy::asker::Asker;
use crate::policy::ingress::may_enter;
use crate::policy::participants::names_others;
use crate::policy::rulings::{Ruled, Rules, Verdict};
use crate::policy::standing_ruling::{Given, full};
use crate::policy::subject_status;
use crate::reply::Written;
use crate::store::block::Blocked;
use crate::store::index_keys::Named;
use crate::store::keys;
use crate::store::keys::Owner;
use crate::store::moving::{Left, Move, MovesTo};
use crate::store::participants::Participant;
use crate::store::subject::{Status, Subject};
use crate::store::tombstone::Tombstone;
use crate::store::types::{EntryAt, Fingerprint, Minute, Recent, Version};
use crate::write::command::{Depart, DepartStep, Request};
use crate::write::entries::{rule_into, say_data, subject_statement};
use crate::write::erase::unknown;
use crate::write::move_command::{Looked, Order, Switch};
use crate::write::transaction::reassess::replaced;
use crate::write::transaction::{Done, Known, Transaction};

/// Heads that are looked at together.
const ROWS_AT_ONCE: usize = 256;

impl Transaction<'_> {
    /// Does one step of a move from here.
    pub(super) fn depart(&mut self, asker: &Asker, depart: &Depart) -> Result<Done, Rejection> {
        let owner = &depart.owner;
        if depart.is_of_caller() {
            self.lets_in(asker, owner, None, false)?;
            self.crosses_no_border(asker, owner)?;
        }
        if let DepartStep::Dropped { move_id } = &depart.step {
            return self.dropped(owner, *move_id);
        }
        let subject = match (self.known_subject(owner)?, &depart.step) {
            (None, _) => return Err(unknown()),
            (Some(Known::Erased(stone)), DepartStep::Order(order)) => {
                return ordered_before(&stone, &order.request);
            }
            // It was done before.
            (Some(Known::Erased(stone)), DepartStep::Finish { move_id })
                if stone.moved.is_some() && stone.by.request_id == *move_id =>
            {
                return Ok(replayed());
            }
            (Some(Known::Erased(stone)), _) => return Err(subject_status::gone(&stone)),
            (Some(Known::Kept(subject)), _) => subject,
        };
        match &depart.step {
            DepartStep::Order(order) => self.order(asker, depart, order, &subject),
            DepartStep::GiveUp(why) => self.give_up(asker, depart, why, &subject),
            DepartStep::TakeCopiesBack { move_id } => {
                self.take_copies_back(owner, *move_id, &subject)
            }
            DepartStep::Switch(switch) => self.switch(asker, depart, switch, &subject),
            DepartStep::Dropped { move_id } => self.dropped(owner, *move_id),
            DepartStep::Finish { move_id } => self.finish(owner, *move_id, &subject),
        }
    }

    /// Orders a move.
    fn order(
        &mut self,
        asker: &Asker,
        depart: &Depart,
        order: &Order,
        subject: &Subject,
    ) -> Result<Done, Rejection> {
        let (owner, Order { to, request, reason, given, .. }) = (&depart.owner, order);
        let known = subject.status.moving().map(|of| (of.request_id, of.fingerprint));
        let ended = subject.given_up.as_ref().map(|of| (of.request_id, of.fingerprint));
        for (id, fingerprint) in known.into_iter().chain(ended) {
            if id == request.id {
                return same(request, fingerprint).map(|()| replayed());
            }
        }
        let blocked = self.travels(subject)?;
        self.nothing_left_at(owner, to)?;
        let bases = next_bases(subject, given.as_ref())?;
        let there = self.placed_there(owner, to, &bases, subject.choice.chosen.as_ref())?;
        let Movable { heads, shared } =
            self.movable(owner, subject, &there, order.looked.as_ref())?;
        if order.validate_only {
            return Ok(Done::written(Written::default()));
        }
        let mut entry = self.entries.about_subject(Kind::MoveOut, asker);
        entry.say(Said::Reason(reason.clone()));
        say_data(&mut entry, given.as_ref());
        let index = self.entries.next_index();
        let receipt = self.append_about(owner, None, &depart.opening, entry)?;
        let mut after = Subject::clone(subject);
        after.given_up = None;
        after.status = Status::Moving(Box::new(Move {
            to: to.clone(),
            request_id: request.id,
            fingerprint: request.fingerprint,
            began: self.entries.minute(),
            reason: reason.clone(),
            heads,
            findings: replaced(&subject.findings, given.as_ref(), true)?,
            bases,
            blocked,
            shared,
        }));
        // What is due of a block is due in the other region.
        self.change_due(owner, subject.due(), None);
        let row = MovesTo { to: to.clone(), left: false, since: self.entries.minute() };
        self.batch.put(keys::moving(&owner.row()), row.row());
        self.keep(owner, after)?;
        self.node.moves.ordered.notify_one();
        let (origin, receipt) = (Some(self.entries.own_origin()), Some(receipt));
        Ok(Done::written(Written { index, origin, receipt, ..Default::default() }))
    }

    /// The block with which a subject moves, if its status lets it move.
    fn travels(&self, subject: &Subject) -> Result<Option<Blocked>, Rejection> {
        if let Status::Blocked(blocked) = &subject.status {
            if !subject_status::is_over(blocked, self.now) {
                return Ok(Some(*blocked));
            }
            if !blocked.then_erase {
                // It ends by itself within seconds.
                return Err(Reason::ShardBusy.into());
            }
        }
        // One that is due to be erased stays.
        subject_status::admit(subject, self.now).map(|()| None)
    }

    /// What a subject has, if all of it can be copied, and may lie there. `looked`: its records are looked
    /// at here only if one was written since.
    fn movable(
        &self,
        owner: &Owner,
        subject: &Subject,
        there: &There,
        looked: Option<&Looked>,
    ) -> Result<Movable, Rejection> {
        if subject.erasing.is_some() || subject.rotation().is_some() {
            // It goes on by itself: within seconds, or once the block of a subject with new keys has ended.
            return Err(Reason::ShardBusy.into());
        }
        let hours = u32::try_from(REQUEST_IDS_KEPT_HOURS).expect("a day or so");
        let oldest = self.entries.minute().minus_hours(hours);
        if subject.all_erased().iter().any(|erased| erased.by.minute >= oldest) {
            let fault = Rejection::new(Reason::CollectionErased).field("subject.id");
            return Err(fault.problem("a collection of it was erased within a day").cure(
                "order the move a day after the erasure: until then late retries must be refused here",
            ));
        }
        if !self.scan(&owner.uploads(), 1)?.rows.is_empty() {
            let fault = Rejection::new(Reason::BodyIsAttachment).field("subject.id");
            let fault = fault.problem("an upload of an attachment is in progress");
            return Err(fault.cure(
                "finish the upload, or wait a day until the shard discards it; then order the move",
            ));
        }
        let named = Named { layout: &self.node.namer, tenant: &owner.tenant };
        if !self.scan(&named.all(&owner.subject, &self.node.region), 1)?.rows.is_empty() {
            let fault = Rejection::new(Reason::FieldInvalid).field("subject.id");
            let fault = fault.problem(
                "is named in records of other people here, which say where the person's own lie",
            );
            return Err(fault.cure(
                "delete those records (`record list --participant` finds them), and put again \
                 without the person what is to stay",
            ));
        }
        if let Some(Looked { heads, .. }) = looked.filter(|looked| looked.look.holds()) {
            return Ok(Movable { heads: *heads, shared: false });
        }
        let (mut span, mut found) = (owner.records(), Movable { heads: 0, shared: false });
        loop {
            let page = self.scan(&span, ROWS_AT_ONCE)?;
            let Some((last, _)) = page.rows.last() else { return Ok(found) };
            span.from = [last.as_slice(), &[0]].concat();
            for (key, row) in &page.rows {
                let (address, head) = self.opened(owner, subject, key, row)?;
                let named = &head.indexed.participants;
                if !named.is_empty() {
                    found.shared = true;
                    self.shared_there(owner, &address.collection, named, there)?;
                }
                found.heads += 1;
            }
        }
    }

    /// Whether a record may lie there together with what binds those that it names.
    fn shared_there(
        &self,
        owner: &Owner,
        collection: &Collection,
        named: &[Participant],
        there: &There,
    ) -> Result<(), Rejection> {
        names_others(&owner.subject, there.rules.here().0, named)?;
        let ruled = there.ruled.get(collection).ok_or(Reason::PlacementNotAdmitted)?;
        let gateway = self.node.territory;
        let together = there.rules.together(&owner.tenant, ruled, named, gateway);
        together.map(drop).map_err(|fault| {
            let why = fault.problem.as_deref().unwrap_or_else(|| fault.reason.as_str());
            let problem = format!(
                "has a record of collection {collection} that may not lie there with those that it \
                 names: {why}"
            );
            let fault = fault.field("subject.id").problem(problem);
            fault.cure(
                "delete the record before the move, and put it again without them if it is to stay",
            )
        })
    }

    /// Whether the rules place all of it in that region, by this shard's map and its second check.
    fn placed_there(
        &self,
        owner: &Owner,
        to: &RegionId,
        bases: &[(Collection, Findings)],
        chosen: Option<&RegionId>,
    ) -> Result<There, Rejection> {
        let (node, map) = (self.node, self.node.map());
        let invalid = |problem| {
            let fault = Rejection::new(Reason::FieldInvalid).field("region");
            Err(fault.problem(problem))
        };
        if *to == node.region {
            return invalid("is the region in which the subject is");
        }
        let Some(region) = map.region(to) else {
            return Err(Rejection::new(Reason::DomicileUnknown).field("region"));
        };
        if !map.may_move(&node.region, to) {
            return invalid("is no home of anyone by the region map");
        }
        if bases.is_empty() {
            let fault = Rejection::new(Reason::FieldInvalid).field("subject.id");
            return Err(fault.problem("has no ruling, and nothing to move"));
        }
        let mut rules = Rules::new(Arc::clone(&map), to.clone(), region.territory());
        rules.set_date(Moment::of(self.now));
        let mut there = There { rules, ruled: BTreeMap::new() };
        for (collection, basis) in bases {
            match there.rules.decide(&owner.tenant, collection, basis, chosen) {
                Verdict::Here(ruled) => {
                    // What the law there asks of the way in holds for a shard abroad as for a gateway.
                    may_enter(node, &ruled, node.territory)?;
                    there.ruled.insert(collection.clone(), ruled);
                }
                Verdict::Refused(fault) => return Err(fault),
                Verdict::Elsewhere(region) => {
                    let fault = Rejection::new(Reason::WrongDomicile).field("region");
                    let problem = format!("is not where the rules place collection {collection}");
                    let cure = "name the region in the metadata, for all collections; or send the \
                                evidence that has changed";
                    return Err(fault.problem(problem).cure(cure).with(Detail::Region, region));
                }
            }
        }
        Ok(there)
    }

    /// Gives the subject away. Done once more, it changes nothing: then it is noted outside the store.
    fn switch(
        &mut self,
        asker: &Asker,
        depart: &Depart,
        switch: &Switch,
        subject: &Subject,
    ) -> Result<Done, Rejection> {
        let (owner, opening) = (&depart.owner, &depart.opening);
        let of = subject.status.moving().filter(|of| of.request_id == switch.move_id);
        let of = of.cloned().ok_or(Reason::SubjectMoving)?;
        if matches!(subject.status, Status::Left(_)) {
            return Ok(replayed());
        }
        // It stands in this log for ever: nothing but the name of a log of that region.
        let theirs = format!("{}/{}/", self.node.deployment, of.to);
        if !switch.peer.0.starts_with(&theirs) {
            let fault = Rejection::new(Reason::FieldInvalid).field("arrived.origin");
            return Err(fault.problem("is no log of the other region"));
        }
        // By the map of this moment.
        let chosen = subject.choice.chosen.as_ref();
        let there = self.placed_there(owner, &of.to, &of.bases, chosen)?;
        if of.shared {
            self.movable(owner, subject, &there, None)?;
        }
        for (collection, live) in &switch.live {
            let mut entry = self.entries.entry(Kind::MoveOut, asker, collection.as_str());
            // Where a new map moves the subject, nothing places it here any more: the laws are those that
            // go with it.
            let own = self.standing_ruling(owner, collection, Some(subject));
            let ruled = own.or_else(|| there.ruled.get(collection).cloned());
            ruled.into_iter().for_each(|ruled| rule_into(&mut entry, &ruled));
            entry.say(Said::Count(*live));
            self.entries.append(&entry)?;
        }
        let live = switch.live.values().sum();
        let mut entry = self.entries.about_subject(Kind::MoveOut, asker);
        entry.say(Said::Reason(of.reason.clone()));
        let (origin, index) = switch.peer.clone();
        entry.say(Said::Peer { origin, index });
        let digest = content_digest(opening, &switch.digest);
        entry.commitment = Some(commitment(opening, &subject_statement(owner, None, digest)));
        let at = self.entries.next();
        self.entries.append(&entry.in_order())?;
        let stone = tombstone(subject, &of, at, self.entries.minute(), live);
        let stone = stone.row(owner.tag, &self.node.namer);
        let place = self.entries.place(at);
        erasure_file::list_moved(&mut self.batch, place, &owner.row(), &stone);
        let row = MovesTo { to: of.to.clone(), left: true, since: self.entries.minute() };
        self.batch.put(keys::moving(&owner.row()), row.row());
        let mut after = Subject::clone(subject);
        let (entry, opening) = (at, *opening);
        after.status = Status::Left(Box::new(Left { of, entry, opening, live }));
        self.keep(owner, after)?;
        self.erased.push(owner.tag);
        let origin = Some(self.entries.own_origin());
        Ok(Done::written(Written { index: at.index, origin, ..Default::default() }))
    }

    /// The other region has confirmed: a tombstone takes the place of the subject. What goes has its
    /// entry, that of the move.
    fn finish(
        &mut self,
        owner: &Owner,
        move_id: [u8; 16],
        subject: &Subject,
    ) -> Result<Done, Rejection> {
        let Status::Left(left) = &subject.status else { return Err(Reason::SubjectMoving.into()) };
        if left.of.request_id != move_id {
            return Err(Reason::SubjectMoving.into());
        }
        let gone = self.take_records(owner, subject, owner.records(), None)?;
        if gone.more || self.take_rows(owner.gone_requests())? {
            return Ok(Done::written(Written { unfinished: true, ..Default::default() }));
        }
        self.take_uploads(owner.uploads())?;
        // They went before it was given away. Of others, the mirrors are told.
        self.drop_copies(owner, None, CopyEnd::Moved)?;
        let stone = tombstone(subject, &left.of, left.entry, self.entries.minute(), left.live);
        self.batch.put(owner.row(), stone.row(owner.tag, &self.node.namer));
        self.batch.delete(owner.accesses());
        self.batch.delete(owner.move_proof());
        self.batch.delete(keys::moving(&owner.row()));
        self.subjects.remove(&owner.tag);
        self.erased.push(owner.tag);
        self.node.moves.end(owner.tag);
        Ok(Done::written(Written { records: left.live, ..Default::default() }))
    }
}

/// The rules of another region, and what they rule of the subject's collections.
struct There {
    rules: Rules,
    ruled: BTreeMap<Collection, Arc<Ruled>>,
}

/// What a subject has that can be copied.
struct Movable {
    /// Heads of records.
    heads: u64,
    /// Some of them name other people.
    shared: bool,
}

/// What will stand for a subject that was given away.
fn tombstone(subject: &Subject, of: &Move, at: EntryAt, minute: Minute, live: u64) -> Tombstone {
    let (request_id, fingerprint) = (of.request_id, of.fingerprint);
    let by = Recent { request_id, fingerprint, minute, version: Version::NONE, entry: at };
    let moved = Some(of.to.clone());
    Tombstone { incarnation: subject.incarnation, records: live, by, moved }
}

/// On what the rulings of all collections would rest in another region.
fn next_bases(
    subject: &Subject,
    given: Option<&Given>,
) -> Result<Vec<(Collection, Findings)>, Rejection> {
    let findings = replaced(&subject.findings, given, true)?;
    let mut bases = Vec::new();
    for standing in subject.standings() {
        let basis = replaced(&standing.basis, given, false)?;
        let mut next = standing.clone();
        next.basis = basis;
        bases.push((standing.collection.clone(), next.weighed(&findings).map_err(full)?));
    }
    Ok(bases)
}

/// The answer to the order of a move that is done, or to a subject that is erased.
fn ordered_before(stone: &Tombstone, request: &Request) -> Result<Done, Rejection> {
    if stone.moved.is_none() || stone.by.request_id != request.id {
        return Err(subject_status::gone(stone));
    }
    same(request, stone.by.fingerprint).map(|()| replayed())
}

/// Whether it is the same request, whose id was seen before.
fn same(request: &Request, fingerprint: Fingerprint) -> Result<(), Rejection> {
    if request.fingerprint == fingerprint {
        return Ok(());
    }
    Err(Rejection::new(Reason::RequestIdReused).field("request_id"))
}

pub(super) fn replayed() -> Done {
    Done::written(Written { replayed: true, ..Default::default() })
}
