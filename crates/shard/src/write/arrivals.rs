//! The move of a subject from another region, at the region that takes it.
//!
//! The shard of the source asks for each step, over a session between the two. Everything that comes is
//! ruled and placed again by this shard's own map, in the commit that stores it, and lies here unseen: a
//! subject that arrives is neither read nor written. It is served from the one commit on that adopts it,
//! once the source has proven that its log has given it away. Each step may come twice or late: `after`
//! says how far an arrival is, and a row under `35` says of each that has ended how it did.
//!
//! Records keep version, opening and digest, so etags and receipts stay good. Each live one has a MOVE_IN
//! entry of its own with its ruling, in which those that it names have their say. MOVE_IN entries about
//! the subject: one when it begins to arrive; one with the number 0 if that is given up; one with the
//! entry of the other log when it is adopted, which commits to the same as that. A subject that was
//! blocked comes blocked: a BLOCK entry says until when.
//!
//! A row under `35`: `01`; 0 if the move was given up; 1 if the subject was adopted, and where the entry
//! of that stands: the source asks for its proof, and keeps what it has until then; 2 if a restore has lost
//! that it was adopted, and what is known of it (`write/lost_moves.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use ledger::entry::Kind;
use ledger::statement::commitment;
use terms::{Collection, Detail, Reason, RegionId, Rejection};

use crate::Error;
use crate::policy::asker::Asker;
use crate::policy::ingress::may_enter;
use crate::policy::participants::names_others;
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
use crate::write::arriving_chunks::{Arrival, left};
use crate::write::command::{Arrive, ArriveStep};
use crate::write::entries::rule_into;
use crate::write::index_rows::{self, ChangedRows};
use crate::write::lost_moves::is_gone;
use crate::write::move_command::{
    ArrivingRecord, ArrivingSubject, Ended, ErasedElsewhere, WhyDropped,
};
use crate::write::record_rows::{EXPIRES_FORMAT, copy_due};
use crate::write::transaction::{Done, Known, Transaction};

/// Of the row of a subject that arrives: it alone.
const ARRIVING_FORMAT: u8 = 1;

/// Where a subject comes to lie.
struct Place {
    /// The tombstone that is here.
    before: Option<Vec<u8>>,
    incarnation: Incarnation,
}

impl Transaction<'_> {
    /// Does one step of a move to here.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are treated alike")]
    pub(super) fn arrive(&mut self, asker: &Asker, arrive: Arrive) -> Result<Done, Rejection> {
        let Arrive { owner, from, move_id, opening, step, .. } = arrive;
        let known = self.known_subject(&owner)?;
        let ended = self.ended(&owner, &from, move_id)?;
        if let Some(Ended::Adopted(at)) = &ended {
            // Whatever has become of the subject since.
            return match step {
                ArriveStep::SayAgain(lost) if lost.at == *at => {
                    self.adopted_again(asker, &owner, &from, move_id, lost.entry)
                }
                _ => Ok(adopted()),
            };
        }
        if let Some(Known::Kept(subject)) = &known {
            if let Status::Arriving(here) = &subject.status
                && here.move_id == move_id
                && here.from == from
            {
                let (subject, here) = (Arc::clone(subject), Arriving::clone(here));
                let of = Arrival { asker, owner: &owner, subject: &subject, here };
                return self.go_on(of, step, &opening);
            }
            if let Status::Arriving(here) = &subject.status
                && here.from == from
                && matches!(step, ArriveStep::Begin(_) | ArriveStep::Drop)
                && ended.is_none()
            {
                let (subject, here) = (Arc::clone(subject), Arriving::clone(here));
                let of = Arrival { asker, owner: &owner, subject: &subject, here };
                return self.supersede(of, move_id, &step, &opening);
            }
        }
        match (known, step) {
            (known, ArriveStep::Begin(what)) => {
                let place = self.place(&owner, &from, move_id, known.as_ref())?;
                let began = Began { owner: &owner, from, move_id, opening };
                self.begin(asker, began, *what, place)
            }
            (_, ArriveStep::Drop) => {
                // A beginning of it that comes late is refused.
                self.note_ended(&owner, &from, move_id, Ended::GivenUp)?;
                Ok(none())
            }
            (_, ArriveStep::Reopen) => Ok(self.reopen(&owner, &from, move_id, ended.as_ref())),
            (known, ArriveStep::SayTaken(said))
                if is_gone(ended.as_ref(), known.as_ref(), &said) =>
            {
                self.adopted_again(asker, &owner, &from, move_id, *said)
            }
            (
                _,
                ArriveStep::Adopt(_)
                | ArriveStep::Rows { .. }
                | ArriveStep::Chunk(_)
                | ArriveStep::Look
                | ArriveStep::Forget
                | ArriveStep::SayAgain(_)
                | ArriveStep::SayTaken(_),
            ) => Ok(none()),
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
            // What was proven is all of it.
            ArriveStep::Rows { .. } | ArriveStep::Chunk(_) if of.here.proven.is_some() => {
                self.staging(&of.here)
            }
            ArriveStep::Rows { after, next, records } if of.here.after == after => {
                self.stage(of, next, records)
            }
            // A late one: the source goes on from where this is.
            ArriveStep::Rows { .. } | ArriveStep::Look => self.staging(&of.here),
            ArriveStep::Chunk(chunk) => self.stage_chunk(of, *chunk),
            ArriveStep::Adopt(Some(adoption)) => self.adopt_subject(of, *adoption),
            ArriveStep::Adopt(None) | ArriveStep::Reopen => self.staging(&of.here),
            ArriveStep::SayAgain(_) | ArriveStep::SayTaken(_) => self.staging(&of.here),
            ArriveStep::Drop => self.drop_arrival(of, opening, WhyDropped::GivenUp),
            ArriveStep::Forget => self.drop_arrival(of, opening, WhyDropped::Lost),
        }
    }

    /// Whether a subject may begin to arrive, and where it comes to lie.
    fn place(
        &self,
        owner: &Owner,
        from: &RegionId,
        move_id: [u8; 16],
        known: Option<&Known>,
    ) -> Result<Place, Rejection> {
        // The map decides what may begin, never whether something that has begun may end.
        if !self.rules.map().may_move(from, &self.node.region) {
            let fault = Rejection::new(Reason::NotPermitted).field("region");
            return Err(fault.problem("the map lets no subject move from that region to here"));
        }
        let place = match known {
            None => Place { before: None, incarnation: Incarnation::FIRST },
            Some(Known::Erased(stone)) if stone.moved.is_some() => Place {
                before: Some(stone.row(owner.tag, &self.node.namer)),
                incarnation: Incarnation(stone.incarnation.0.saturating_add(1)),
            },
            Some(Known::Erased(stone)) => return Err(subject_status::gone(stone)),
            // Until that has ended: one that goes back may come while the way there is not confirmed.
            Some(Known::Kept(subject))
                if matches!(subject.status, Status::Arriving(_) | Status::Left(_)) =>
            {
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
        match self.ended(owner, from, move_id)? {
            None => Ok(place),
            // It comes once more, and is still to be erased in part.
            Some(Ended::Lost(lost)) if !lost.gone => Ok(place),
            Some(_) => {
                let fault = Rejection::new(Reason::RequestIdReused).field("request_id");
                Err(fault.problem("is of a move that has ended"))
            }
        }
    }

    fn begin(
        &mut self,
        asker: &Asker,
        began: Began<'_>,
        what: ArrivingSubject,
        place: Place,
    ) -> Result<Done, Rejection> {
        let Began { owner, from, move_id, opening } = began;
        let ArrivingSubject { findings, bases, created, erased, blocked, chosen } = what;
        let (node, minute) = (self.node, self.entries.minute());
        if bases.is_empty() {
            let fault = Rejection::new(Reason::FieldInvalid).field("arrival");
            return Err(fault.problem("has no ruling, and nothing to move"));
        }
        let mut standings = Vec::with_capacity(bases.len());
        for (collection, basis) in bases {
            let ruled = self.placed_here(asker, owner, &collection, &basis, chosen.as_ref())?;
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
        subject.choice.chosen = chosen;
        subject.stand(standings, owner, node.subject_keys(), entropy)?;
        subject.was_erased(erased.into_iter().map(|one| erased_elsewhere(one, at)).collect());
        let after = Vec::new();
        let here = Arriving {
            from,
            move_id,
            began: at,
            after,
            heads: 0,
            live: 0,
            before,
            blocked,
            attachment: None,
            proven: None,
        };
        subject.status = Status::Arriving(Box::new(here.clone()));
        let done = self.staging(&here)?;
        self.batch.put(keys::arriving(&owner.row()), vec![ARRIVING_FORMAT]);
        self.keep(owner, subject)?;
        Ok(done)
    }

    /// The ruling, if it places the collection here, by the map of this moment.
    pub(super) fn placed_here(
        &mut self,
        asker: &Asker,
        owner: &Owner,
        collection: &Collection,
        basis: &atlas::Findings,
        chosen: Option<&RegionId>,
    ) -> Result<Arc<Ruled>, Rejection> {
        match self.rules.decide(&owner.tenant, collection, basis, chosen) {
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
                let chosen = subject.choice.chosen.as_ref();
                let own = self.placed_here(asker, owner, collection, &standing.basis, chosen)?;
                ruled.insert(collection.clone(), own);
            }
        }
        let chunks = here.attachment.take();
        if let Some(chunks) = left(chunks, &records) {
            self.discard_chunks(&chunks);
        }
        for record in records {
            let Some(own) = ruled.get(&record.address.collection) else { continue };
            here.heads += 1;
            here.live += u64::from(record.content.sealed.body() != Body::Deleted);
            let named = &record.participants;
            names_others(&owner.subject, &self.node.region, named)?;
            let gateway = asker.stands.gateway;
            // What binds those that it names is ruled here again, as of a put.
            let together = self.rules.together(&owner.tenant, own, named, gateway)?;
            let own = together.as_ref().unwrap_or(own);
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
        let ArrivingRecord {
            address,
            version,
            content,
            expires,
            attributes,
            participants,
            requests,
            whole,
        } = record;
        let node = self.node;
        let rules = self.rules.map().collection(&address.collection);
        let mut indexed = Indexed::arrived(rules, attributes);
        indexed.participants = participants;
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
        let to = ChangedRows { batch: &mut self.batch, listed: &mut self.kept.in_hand };
        index_rows::change(to, &node.namer, &address, None, &indexed);
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
        whole.into_iter().for_each(|(key, row)| self.batch.put(key, row));
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

    /// How far an arrival is.
    pub(super) fn staging(&self, here: &Arriving) -> Result<Done, Rejection> {
        let origin = self.entries.origin_of(here.began)?;
        Ok(Done::Answer(Outcome::Arrived(Arrived {
            state: ArrivedState::Staging,
            after: here.after.clone(),
            heads: here.heads,
            chunks: here.attachment.as_ref().map_or(0, |chunks| chunks.next),
            began: Some((origin, here.began.index)),
            digest: None,
            taken: None,
        })))
    }
}

/// How an arrival begins.
struct Began<'a> {
    owner: &'a Owner,
    from: RegionId,
    move_id: [u8; 16],
    opening: [u8; 32],
}

fn erased_elsewhere(one: ErasedElsewhere, at: EntryAt) -> CollectionErased {
    let ErasedElsewhere { collection, records, request_id, minute } = one;
    let (fingerprint, version, entry) = (Fingerprint::ELSEWHERE, Version::NONE, at);
    let by = Recent { request_id, fingerprint, minute, version, entry };
    CollectionErased { collection, records, by }
}

pub(super) fn adopted() -> Done {
    Done::Answer(Outcome::Arrived(Arrived::of(ArrivedState::Adopted)))
}

pub(super) fn none() -> Done {
    Done::Answer(Outcome::Arrived(Arrived::of(ArrivedState::None)))
}
