//! Which jurisdictions bind a person in a collection: what another region is told that stores a record
//! in which the person takes part. It is told neither findings nor records.

use std::collections::BTreeSet;

use atlas::{Findings, Jurisdiction, Moment, Question, RegionMap};
use terms::{Collection, Reason, Rejection};

use crate::Error;
use crate::policy::asker::Asker;
use crate::policy::ingress::{barred_of_absent, wrong};
use crate::policy::subject_status;
use crate::read::reader::Reader;
use crate::reply::{Binding, Outcome, ReplySlot, busy};
use crate::store::damage::{is_over, read_row};
use crate::store::keys::Owner;
use crate::store::subject::{Subject, SubjectRow};
use crate::store::types::EpochNumber;

/// A question about one person.
pub(crate) struct AskBinding {
    pub(crate) reply: ReplySlot,
    pub(crate) asker: Asker,
    pub(crate) owner: Owner,
    pub(crate) collection: Collection,
}

impl AskBinding {
    /// Reads, counts what is told, and answers. Blocks its thread.
    pub(crate) fn serve(self, reader: &Reader) {
        let map = reader.node.map();
        let judged = EpochNumber::of(&map);
        let bound = self.jurisdictions(reader, &map);
        let bound = reader.node.still_owns(self.owner.slot).and(bound);
        let Self { reply, asker, collection, .. } = self;
        match bound {
            // No question about a person is silent.
            Ok(_) if !reader.counts.add(judged, &asker.who, &collection, 1) => reply.send(busy()),
            Ok(jurisdictions) => reply.send(Outcome::Binding(Binding { jurisdictions, judged })),
            Err(fault) => {
                reader.node.report(&fault);
                reply.send(fault.into());
            }
        }
    }

    fn jurisdictions(
        &self,
        reader: &Reader,
        map: &RegionMap,
    ) -> Result<Vec<Jurisdiction>, Rejection> {
        if map.collection(&self.collection).is_none() {
            return Err(Rejection::new(Reason::CollectionUnknown).field("collection"));
        }
        let (node, gateway) = (&*reader.node, self.asker.stands.gateway);
        // Through a gateway that may bring in no record of such people, the answer is the same whether
        // there is the person or not.
        if gateway != node.territory
            && let Some(barred) = barred_of_absent(node, Some(&self.collection), gateway)
        {
            return Err(wrong(node, &barred, gateway));
        }
        let subject = self.subject(reader)?;
        subject_status::admit(&subject, reader.node.now())?;
        let mut bases = Vec::new();
        match subject.standing(&self.collection) {
            Some(standing) => {
                // What is known besides would change the ruling: both count until it is made again.
                let weighed = standing.weighed(&subject.findings);
                bases.push(standing.basis.clone());
                bases.push(weighed.map_err(|_| Reason::TooManyItems)?);
            }
            None => bases.push(subject.findings.clone()),
        }
        let mut all = BTreeSet::new();
        for findings in &bases {
            all.extend(self.ruled(reader, map, findings)?);
        }
        Ok(all.into_iter().collect())
    }

    /// The jurisdictions that attach. A ruling that is refused has them too, unless it names none.
    fn ruled(
        &self,
        reader: &Reader,
        map: &RegionMap,
        findings: &Findings,
    ) -> Result<Vec<Jurisdiction>, Rejection> {
        let (tenant, collection) = (&self.owner.tenant, &self.collection);
        let date = Moment::of(reader.node.now());
        let ruling = atlas::decide(map, &Question { tenant, collection, findings, date })?;
        match ruling.refusal() {
            Some(no) if no.reason() == Reason::JurisdictionUndetermined => Err(no.into()),
            Some(_) | None => Ok(ruling.jurisdictions().to_vec()),
        }
    }

    fn subject(&self, reader: &Reader) -> Result<Subject, Rejection> {
        let broken = |error| {
            if is_over(&error) {
                reader.queue.recover();
            }
            Rejection::from(Error::from(error))
        };
        let unknown = || Rejection::new(Reason::SubjectUnknown).field("subject.id");
        let view = reader.node.engine.view().map_err(broken)?;
        let row = read_row(&*view, &self.owner.row()).map_err(broken)??.ok_or_else(unknown)?;
        match reader.node.open_subject(&self.owner, &row)? {
            SubjectRow::Kept(subject) => Ok(subject),
            SubjectRow::Erased(stone) => Err(subject_status::gone(&stone)),
        }
    }
}
