//! Whether the region holds a subject that is asked for without its id, and in which collections.
//!
//! A reader abroad is told of a collection only if that reader could read the subject's records of it.
//! Where a law may keep the records of a collection from such readers, the answer says so, whether
//! there is such a subject or not. What is told counts as a read.

use ledger::entry::Kind;
use terms::{Collection, Reason, Rejection};

use crate::Error;
use crate::policy::asker::Asker;
use crate::policy::egress::EgressPolicy;
use crate::policy::subject_status;
use crate::read::reader::Reader;
use crate::reply::{Located, Outcome, ReplySlot};
use crate::store::damage::{is_over, read_row};
use crate::store::keys::Asked;
use crate::store::region_maps::map_ref;
use crate::store::subject::{Status, Subject, SubjectRow};
use crate::store::types::EpochNumber;
use crate::write::command::Errand;
use crate::write::question::{NotedAnswer, Question};

/// A question for one subject.
pub(crate) struct Locate {
    pub(crate) reply: ReplySlot,
    pub(crate) asker: Asker,
    pub(crate) asked: Asked,
}

impl Locate {
    /// Reads, counts what is told, and answers. Blocks its thread.
    pub(crate) fn serve(self, reader: &Reader) {
        // Before anything is judged: should another map come in, it is judged again.
        let judged = EpochNumber::of(&reader.node.map());
        let located = self.located(reader, judged);
        match reader.node.still_owns(self.asked.slot).and(located) {
            Ok(located) => self.answer(reader, located, judged),
            Err(fault) => {
                reader.node.report(&fault);
                self.reply.send(fault.into());
            }
        }
    }

    fn answer(self, reader: &Reader, located: Located, judged: EpochNumber) {
        let Self { reply, asker, .. } = self;
        let map = reader.node.map();
        let count = |name| reader.counts.add(judged, &asker.who, name, 1);
        // Each is counted, whether another one is or not.
        let left = located.collections.iter().filter(|name| !count(name)).count();
        let outcome = Outcome::Located(located);
        if left == 0 {
            return reply.send(outcome);
        }
        // No counter is left for it: it has an entry of its own.
        let question = Question {
            kind: Kind::Count,
            answer: NotedAnswer::Session(reply, Box::new(outcome)),
            who: asker.who,
            collection: None,
            judged: Some(judged),
            map: map_ref(&map),
            count: u64::try_from(left).unwrap_or(u64::MAX),
            why: "a subject was located".into(),
        };
        reader.queue.submit_errand(Errand::Note(Box::new(question)));
    }

    fn located(&self, reader: &Reader, judged: EpochNumber) -> Result<Located, Rejection> {
        let (node, asker) = (&*reader.node, &self.asker);
        let map = node.map();
        if !map.tenant(&asker.tenant).is_some_and(atlas::Tenant::locate) {
            return Err(Reason::LocateNotAllowed.into());
        }
        let policy =
            |collection| EgressPolicy { node, counts: &reader.counts, collection, asker, judged };
        let mut names: Vec<&Collection> = map.collections().map(|rules| rules.name()).collect();
        let subject = match self.subject(reader) {
            // That there is a row at all is not for everybody.
            Err(_) if names.iter().any(|name| policy(name).may_bar()) => None,
            subject => subject?,
        };
        let mut located = Located::default();
        if let Some(subject) = &subject {
            // Those that the map has dropped, too.
            names.extend(subject.standings().iter().map(|standing| &standing.collection));
            names.sort_unstable();
            names.dedup();
        }
        for name in names {
            let policy = policy(name);
            let told = subject.as_ref().filter(|subject| {
                subject.standing(name).is_some()
                    && !subject.is_erasing(name)
                    && policy.lets_read(subject)
                    && is_here(subject, &policy)
            });
            match told {
                Some(_) => located.collections.push(name.clone()),
                None => located.withheld |= map.collection(name).is_some() && policy.may_bar(),
            }
        }
        if located.withheld {
            asker.stands.refused(node, Reason::EgressNotCovered);
            reader.counts.refused(Reason::EgressNotCovered, judged, &asker.who, None);
        }
        Ok(located)
    }

    /// The subject, if there is one of that tenant.
    fn subject(&self, reader: &Reader) -> Result<Option<Subject>, Rejection> {
        let node = &*reader.node;
        let broken = |error| {
            if is_over(&error) {
                reader.queue.recover();
            }
            Rejection::from(Error::from(error))
        };
        let view = node.engine.view().map_err(broken)?;
        let Some(row) = read_row(&*view, &self.asked.row).map_err(broken)?? else {
            return Ok(None);
        };
        let owner = Subject::owner_of(&row, self.asked.tag, node.subject_keys())?;
        let Some(owner) = owner.filter(|owner| owner.tenant == self.asker.tenant) else {
            return Ok(None);
        };
        match node.open_subject(&owner, &row)? {
            SubjectRow::Kept(subject) => Ok(Some(subject)),
            SubjectRow::Erased(_) => Ok(None),
        }
    }
}

/// Whether the subject counts as held here. Abroad that is told of one that is served alone.
fn is_here(subject: &Subject, policy: &EgressPolicy<'_>) -> bool {
    match &subject.status {
        Status::Live => true,
        // One that was given away is still here for those who ask: the other region does not say yet
        // that it has it.
        Status::Blocked(_) | Status::Moving(_) | Status::Left(_) => {
            policy.at_home() || subject_status::admit_read(subject, policy.node.now()).is_ok()
        }
        Status::Arriving(_) | Status::Erasing(_) => false,
    }
}
