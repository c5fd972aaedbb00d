//! The move of a subject from another region, at the region that takes it.
//!
//! The shard of the source asks for each step, over a session between the two. Everything that comes is
//! ruled and placed again by this shard's own map, in the commit that stores it, and lies here unseen: a
//! subject that arrives is neither read nor written. It is served from the one commit on that adopts it,
//! once the source has proven that its log has given it away. Each step may come twice or late: `after`
//! says how far an arrival is, and a row under `35` says of each that has ended how it did.
//!
//! Records keep version, opening and digest, so etags and receipts stay good. Each live one has a MOVE_IN
//! entry of its own with its ruling. MOVE_IN entries about the subject: one when it begins to arrive; one
//! with the number 0 if that is given up; one with the entry of the other log when it is adopted.
//!
//! A row under `35`: `01`; 1 if the subject was adopted, 0 if the move was given up.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::Key;
use ledger::entry::{Detail as Said, Entry, Kind};
use ledger::statement::{commitment, content_digest};
use terms::{Collection, Detail, Reason, Rejection};

use crate::Error;
use crate::policy::asker::Asker;
use crate::policy::ingress::may_enter;
use crate::policy::rulings::{Ruled, Verdict};
use crate::policy::subject_status;
use crate::reply::{Arrived, ArrivedState, Outcome};
use crate::store::erasure::CollectionErased;
use crate::store::indexed::Indexed;
use crate::store::keys;
use crate::store::keys::Owner;
use crate::store::moving::Arriving;
use crate::store::record::{Body, Head};
use crate::store::subject::{Standing, Status, Subject};
use crate::store::types::{EntryAt, Fingerprint, Incarnation, Minute, Recent, Version};
use crate::write::command::{Arrive, ArriveStep};
use crate::write::entries::{rule_into, subject_statement};
use crate::write::index_rows;
use crate::write::move_command::{
    Adoption, ArrivingRecord, ArrivingSubject, Ended, ErasedElsewhere,
};
use crate::write::record_rows::{EXPIRES_FORMAT, copy_due};
use crate::write::transaction::{Done, Known, Transaction};

/// Of the row of a move that has ended.
const ENDED_FORMAT: u8 = 1;
/// Why what has arrived is erased, for the log.
const GIVEN_UP: &str = "the move was given up";

/// Where a subject comes to lie.
struct Place {
    /// The tombstone that is here.
    before: Option<Vec<u8>>,
    incarnation: Incarnation,
}

impl Transaction<'_> {
    /// Does one step of a move to here.
    pub(super) fn arrive(&mut self, asker: &Asker, arrive: Arrive) -> Result<Done, Rejection> {
        let Arrive { owner, from, move_id, opening, step, .. } = arrive;
        let known = self.known_subject(&owner)?;
        if let Some(Known::Kept(subject)) = &known {
            if let Status::Arriving(here) = &subject.status
                && here.move_id == move_id
                && here.from == from
            {
                let (subject, here) = (Arc::clone(subject), Arriving::clone(here));
                let of = Arrival { asker, owner: &owner, subject: &subject, here };
                return self.go_on(of, step, &opening);
            }
            if subject.arrived == Some(move_id) {
                return Ok(adopted());
            }
        }
        match (known, step) {
            (known, ArriveStep::Begin(what)) => {
                let place = self.place(&owner, move_id, known.as_ref())?;
                let began = Began { owner: &owner, from, move_id, opening };
                self.begin(asker, began, *what, place)
            }
            (_, ArriveStep::Drop) => {
                if self.ended(&owner, move_id)? == Some(Ended::Adopted) {
                    return Ok(adopted());
                }
                // A beginning of it that comes late is refused.
                self.note_ended(&owner, move_id, Ended::GivenUp);
                Ok(none())
            }
            // Nothing but an adoption ends an arrival that was complete: the erasure came after.
            (Some(Known::Erased(stone)), ArriveStep::Adopt(_)) if stone.moved.is_none() => {
                Ok(adopted())
            }
            (_, ArriveStep::Adopt(_)) => match self.ended(&owner, move_id)? {
                Some(Ended::Adopted) => Ok(adopted()),
                Some(Ended::GivenUp) | None => Ok(none()),
            },
            (_, ArriveStep::Rows { .. }) => Ok(none()),
        }
    }

    /// A step of an arrival that has begun.
    fn go_on(
        &mut self,
        of: Arrival<'_>,
        step: ArriveStep,
        opening: &[u8; 32],
    ) -> Result<Done, Rejection> {
        match step {
            ArriveStep::Begin(_) => self.staging(&of.here),
            ArriveStep::Rows { after, next, records } if of.here.after == after => {
                self.stage(of, next, records)
            }
            // A late one: the source goes on from where this is.
            ArriveStep::Rows { .. } => self.staging(&of.here),
            ArriveStep::Adopt(adoption) => self.adopt_subject(of, *adoption, opening),
            ArriveStep::Drop => self.drop_arrival(of, opening),
        }
    }

    /// Whether a subject may begin to arrive, and where it comes to lie.
    fn place(
        &self,
        owner: &Owner,
        move_id: [u8; 16],
        known: Option<&Known>,
    ) -> Result<Place, Rejection> {
        let place = match known {
            None => Place { before: None, incarnation: Incarnation::FIRST },
            Some(Known::Erased(stone)) if stone.moved.is_some() => Place {
                before: Some(stone.row(owner.tag, &self.node.namer)),
                incarnation: Incarnation(stone.incarnation.0.saturating_add(1)),
            },
            Some(Known::Erased(stone)) => return Err(subject_status::gone(stone)),
            Some(Known::Kept(subject)) if matches!(subject.status, Status::Arriving(_)) => {
                return Err(Rejection::new(Reason::SubjectMoving).field("subject.id"));
            }
            Some(Known::Kept(_)) => {
                return Err(Rejection::new(Reason::SubjectExists).field("subject.id"));
            }
        };
        // A third region was told that no such subject is here.
        if self.node.claims.is_claimed(owner.tag) {
            return Err(Rejection::new(Reason::UniquenessUnsettled).field("subject.id"));
        }
        if self.ended(owner, move_id)?.is_some() {
            let fault = Rejection::new(Reason::RequestIdReused).field("request_id");
            return Err(fault.problem("is of a move that has ended"));
        }
        Ok(place)
    }

    fn begin(
        &mut self,
        asker: &Asker,
        began: Began<'_>,
        what: ArrivingSubject,
        place: Place,
    ) -> Result<Done, Rejection> {
        let Began { owner, from, move_id, opening } = began;
        let ArrivingSubject { findings, bases, created, erased } = what;
        let (node, minute) = (self.node, self.entries.minute());
        let mut standings = Vec::with_capacity(bases.len());
        for (collection, basis) in bases {
            let ruled = self.placed_here(asker, owner, &collection, &basis)?;
            let mirrors = ruled.mirrors.clone();
            standings.push(Standing { collection, basis, mirrors, minute });
        }
        let entry = self.entries.about_subject(Kind::MoveIn, asker);
        let at = self.entries.next();
        self.append_about(owner, None, &opening, entry)?;
        let (request_id, fingerprint) = (created.0, Fingerprint::ELSEWHERE);
        let (minute, version) = (created.1, Version::NONE);
        let by = Recent { request_id, fingerprint, minute, version, entry: at };
        let (keyring, entropy) = (&*node.keyring, &*node.entropy);
        let Place { before, incarnation } = place;
        let mut subject =
            Subject::create_again(owner, &node.region, keyring, entropy, by, incarnation)?;
        (subject.opening, subject.findings) = (opening, findings);
        subject.stand(standings, owner, node.subject_keys(), entropy)?;
        subject.was_erased(erased.into_iter().map(|one| erased_elsewhere(one, at)).collect());
        let after = Vec::new();
        let here = Arriving { from, move_id, began: at, after, heads: 0, live: 0, before };
        subject.status = Status::Arriving(Box::new(here.clone()));
        let done = self.staging(&here)?;
        self.keep(owner, subject)?;
        Ok(done)
    }

    /// The ruling, if it places the collection here, by the map of this moment.
    fn placed_here(
        &mut self,
        asker: &Asker,
        owner: &Owner,
        collection: &Collection,
        basis: &atlas::Findings,
    ) -> Result<Arc<Ruled>, Rejection> {
        match self.rules.decide(&owner.tenant, collection, basis) {
            Verdict::Here(ruled) => {
                may_enter(self.node, &ruled, asker.stands.gateway)?;
                Ok(ruled)
            }
            Verdict::Refused(fault) => Err(fault),
            Verdict::Elsewhere(region) => {
                let fault = Rejection::new(Reason::PlacementNotAdmitted).field("region");
                Err(fault.with(Detail::Region, region))
            }
        }
    }

    /// Stores the next records.
    fn stage(
        &mut self,
        of: Arrival<'_>,
        next: Vec<u8>,
        records: Vec<ArrivingRecord>,
    ) -> Result<Done, Rejection> {
        let Arrival { asker, owner, subject, mut here } = of;
        let mut ruled = BTreeMap::new();
        for record in &records {
            let collection = &record.address.collection;
            if !ruled.contains_key(collection) {
                let standing = subject.standing(collection).ok_or(Reason::PlacementNotAdmitted)?;
                let own = self.placed_here(asker, owner, collection, &standing.basis)?;
                ruled.insert(collection.clone(), own);
            }
        }
        for record in records {
            let Some(own) = ruled.get(&record.address.collection) else { continue };
            here.heads += 1;
            here.live += u64::from(record.content.sealed.body() != Body::Deleted);
            self.store_arrived(asker, subject, record, own, here.began)?;
        }
        here.after = next;
        let mut after = Subject::clone(subject);
        after.status = Status::Arriving(Box::new(here.clone()));
        let done = self.staging(&here)?;
        self.keep(owner, after)?;
        Ok(done)
    }

    /// Stores one record: its rows, what finds it, and its entry.
    fn store_arrived(
        &mut self,
        asker: &Asker,
        subject: &Subject,
        record: ArrivingRecord,
        ruled: &Ruled,
        began: EntryAt,
    ) -> Result<(), Rejection> {
        let ArrivingRecord { address, version, content, expires, attributes, requests } = record;
        let node = self.node;
        let rules = self.rules.map().collection(&address.collection);
        let indexed = Indexed::arrived(rules, attributes);
        let body = content.sealed.body();
        // What is deleted is found by nothing.
        let indexed = if body == Body::Deleted { Indexed::default() } else { indexed };
        // One that is deleted has no entry of its own: nothing of it has come but its version.
        let mut entry = began;
        if body != Body::Deleted {
            let mut said = self.entries.entry(Kind::MoveIn, asker, address.collection.as_str());
            rule_into(&mut said, ruled);
            let statement = address.statement(version, content.digest);
            said.commitment = Some(commitment(&content.opening, &statement));
            entry = self.entries.next();
            self.entries.append(&said)?;
        }
        let fingerprint = Fingerprint::ELSEWHERE;
        let recent = |(request_id, minute, version)| Recent {
            request_id,
            fingerprint,
            minute,
            version,
            entry,
        };
        index_rows::change(&mut self.batch, &node.namer, &address, None, &indexed);
        let head = Head {
            incarnation: subject.incarnation,
            version,
            body,
            entry,
            opening: content.opening,
            digest: content.digest,
            body_key: content.body_key,
            expires,
            indexed,
            recent: requests.into_iter().map(recent).collect(),
        };
        let key = subject.key_of(&address.row).map_err(Error::from)?;
        let rows = content.sealed.into_rows(&address, &node.region, &head, key, content.nonce);
        self.batch.put(address.row.clone(), rows.head);
        rows.body.into_iter().for_each(|row| self.batch.put(keys::body(&address.row), row));
        if let Some(at) = expires.filter(|_| body != Body::Deleted) {
            let key = keys::expires(Minute::of(at), &address.row);
            self.batch.put(key, vec![EXPIRES_FORMAT]);
        }
        for mirror in &ruled.mirrors {
            let due = copy_due(version, entry, self.entries.minute());
            self.batch.put(keys::copy_due(mirror, &address.row), due);
        }
        Ok(())
    }

    /// Serves the subject from now on.
    fn adopt_subject(
        &mut self,
        of: Arrival<'_>,
        adoption: Adoption,
        opening: &[u8; 32],
    ) -> Result<Done, Rejection> {
        let Arrival { asker, owner, subject, here } = of;
        let Adoption { after, digest, source: (origin, index), accesses } = adoption;
        if here.after != after {
            // It was checked before more came.
            return self.staging(&here);
        }
        let mut entry = self.entries.about_subject(Kind::MoveIn, asker);
        entry.say(Said::Peer { origin, index });
        let statement = subject_statement(owner, None, content_digest(opening, &digest));
        entry.commitment = Some(commitment(opening, &statement));
        let nonce = self.node.random()?;
        self.entries.append(&entry.in_order())?;
        if !accesses.0.is_empty() {
            let (region, key) = (&self.node.region, subject.key());
            let row = accesses.seal(owner, subject.incarnation, region, key, nonce);
            self.batch.put(owner.accesses(), row);
        }
        let mut after = Subject::clone(subject);
        after.status = Status::Live;
        after.arrived = Some(here.move_id);
        self.keep(owner, after)?;
        self.note_ended(owner, here.move_id, Ended::Adopted);
        Ok(adopted())
    }

    /// Erases what has arrived, as much as one commit takes.
    fn drop_arrival(&mut self, of: Arrival<'_>, opening: &[u8; 32]) -> Result<Done, Rejection> {
        let Arrival { asker, owner, subject, here } = of;
        let gone = self.take_records(owner, subject, owner.records(), None)?;
        for (collection, live) in &gone.live {
            let entry: Entry = self.of_collection(asker, owner, subject, collection, *live);
            self.entries.append(&entry)?;
        }
        if gone.more {
            return self.staging(&here);
        }
        let mut entry = self.entries.about_subject(Kind::MoveIn, asker);
        entry.say(Said::Count(0));
        entry.say(Said::Reason(GIVEN_UP.to_owned()));
        self.append_about(owner, None, opening, entry)?;
        match here.before {
            Some(stone) => self.batch.put(owner.row(), stone),
            None => self.batch.delete(owner.row()),
        }
        self.batch.delete(owner.accesses());
        self.note_ended(owner, here.move_id, Ended::GivenUp);
        self.subjects.remove(&owner.tag);
        self.erased.push(owner.tag);
        Ok(none())
    }

    /// Notes that a move has ended, so that a late beginning of it is refused.
    fn note_ended(&mut self, owner: &Owner, move_id: [u8; 16], how: Ended) {
        let key: Key = keys::move_ended(&owner.row(), &move_id);
        self.batch.put(key.clone(), vec![ENDED_FORMAT, how as u8]);
        self.moves_ended.insert(key, how);
    }

    /// How a move has ended, as this group has left it. None: it has not.
    fn ended(&self, owner: &Owner, move_id: [u8; 16]) -> Result<Option<Ended>, Rejection> {
        let key = keys::move_ended(&owner.row(), &move_id);
        if let Some(how) = self.moves_ended.get(&key) {
            return Ok(Some(*how));
        }
        let rows = self.node.engine.get_many(&[&key]).map_err(Error::from)?;
        match rows.into_iter().next().flatten().as_deref() {
            None => Ok(None),
            Some([ENDED_FORMAT, 0]) => Ok(Some(Ended::GivenUp)),
            Some([ENDED_FORMAT, 1]) => Ok(Some(Ended::Adopted)),
            Some(_) => Err(Error::Damaged("moves").into()),
        }
    }

    /// How far an arrival is.
    fn staging(&self, here: &Arriving) -> Result<Done, Rejection> {
        let origin = self.entries.origin_of(here.began)?;
        Ok(Done::Answer(Outcome::Arrived(Arrived {
            state: ArrivedState::Staging,
            after: here.after.clone(),
            heads: here.heads,
            began: Some((origin, here.began.index)),
            digest: None,
        })))
    }
}

/// How an arrival begins.
struct Began<'a> {
    owner: &'a Owner,
    from: terms::RegionId,
    move_id: [u8; 16],
    opening: [u8; 32],
}

/// An arrival that has begun.
struct Arrival<'a> {
    asker: &'a Asker,
    owner: &'a Owner,
    subject: &'a Subject,
    here: Arriving,
}

fn erased_elsewhere(one: ErasedElsewhere, at: EntryAt) -> CollectionErased {
    let ErasedElsewhere { collection, records, request_id, minute } = one;
    let (fingerprint, version, entry) = (Fingerprint::ELSEWHERE, Version::NONE, at);
    let by = Recent { request_id, fingerprint, minute, version, entry };
    CollectionErased { collection, records, by }
}

fn adopted() -> Done {
    Done::Answer(Outcome::Arrived(Arrived::of(ArrivedState::Adopted)))
}

fn none() -> Done {
    Done::Answer(Outcome::Arrived(Arrived::of(ArrivedState::None)))
}
