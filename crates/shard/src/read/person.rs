//! What the region holds of one subject, without its records: for the person who asks where the data
//! is, and as the first part of an export. Each answer has an entry in the log.
//!
//! It is about all collections at once. So a reader abroad is refused wherever a law may keep records
//! of some collection here from such readers, whether there is such a subject or not.

use std::collections::BTreeMap;

use atlas::Moment;
use bytes::Bytes;
use engine::{Order, ScanLimit, View};
use ledger::entry::Kind;
use sealed::{AnswerPart, AnswerSecret};
use terms::{Collection, Detail, Reason, Rejection};
use tokio::time::Instant;

use crate::Error;
use crate::node::Node;
use crate::policy::asker::Asker;
use crate::policy::egress::{EgressPolicy, SealedQuestion, unknown};
use crate::policy::erasure_terms;
use crate::policy::rulings::{Rules, Verdict};
use crate::policy::subject_status;
use crate::read::reader::Reader;
use crate::reply::{Held, HeldCollection, Outcome, ReplySlot};
use crate::store::accesses::Accesses;
use crate::store::damage::{is_over, read_row};
use crate::store::keys::Owner;
use crate::store::record::Stored;
use crate::store::region_maps::map_ref;
use crate::store::subject::{Standing, Subject, SubjectRow};
use crate::store::transit::of_export;
use crate::store::types::EpochNumber;
use crate::write::command::Errand;
use crate::write::question::{NotedAnswer, Question};

/// Heads that are read at once, and their bytes.
const ROWS_AT_ONCE: usize = 256;
const BYTES_AT_ONCE: usize = 4 << 20;
/// Why, in the log, where no purpose was stated.
const UNSTATED: &str = "no purpose stated";

/// A question about one subject.
pub(crate) struct AboutPerson {
    pub(crate) reply: ReplySlot,
    pub(crate) deadline: Instant,
    pub(crate) asker: Asker,
    pub(crate) asked: PersonAsked,
}

/// What is asked.
pub(crate) struct PersonAsked {
    pub(crate) owner: Owner,
    /// It is the first part of an export.
    pub(crate) export: bool,
    /// Empty: none was stated.
    pub(crate) purpose: String,
    /// What the bodies of the export are answered sealed to. None: they are plain.
    pub(crate) question: Option<SealedQuestion>,
}

impl AboutPerson {
    /// Reads, notes the read, and answers. Blocks its thread.
    pub(crate) fn serve(self, reader: &Reader) {
        // Before anything is judged: should another map come in, it is judged again.
        let judged = EpochNumber::of(&reader.node.map());
        let held = self.held(reader);
        match reader.node.still_owns(self.asked.owner.slot).and(held) {
            Ok(held) => self.note(reader, held, judged),
            Err(fault) => {
                reader.node.report(&fault);
                self.reply.send(fault.into());
            }
        }
    }

    fn note(self, reader: &Reader, held: Held, judged: EpochNumber) {
        let Self { reply, asker, asked: PersonAsked { export, purpose, .. }, .. } = self;
        let records = held.collections.iter().map(|collection| collection.records).sum();
        let why = if purpose.is_empty() { UNSTATED.into() } else { purpose.into() };
        let outcome = Outcome::Held(Box::new(held));
        let question = Question {
            kind: if export { Kind::Export } else { Kind::Count },
            answer: NotedAnswer::Session(reply, Box::new(outcome)),
            who: asker.who,
            collection: None,
            judged: Some(judged),
            map: map_ref(&reader.node.map()),
            count: records,
            why,
        };
        reader.queue.submit_errand(Errand::Note(Box::new(question)));
    }

    fn held(&self, reader: &Reader) -> Result<Held, Rejection> {
        let node = &*reader.node;
        let broken = |error| {
            if is_over(&error) {
                reader.queue.recover();
            }
            Rejection::from(Error::from(error))
        };
        // Before anything is told: a question that does not open is told nothing.
        let secret = self.secret(node)?;
        self.crosses_no_border(reader, &Standings::OfTheMap)?;
        // All of it is that of one moment.
        let view = node.engine.view().map_err(broken)?;
        let row = read_row(&*view, &self.asked.owner.row()).map_err(broken)??;
        let row = row.ok_or_else(unknown)?;
        let subject = match node.open_subject(&self.asked.owner, &row)? {
            SubjectRow::Kept(subject) => subject,
            // Abroad, one that was erased is as one that never was.
            SubjectRow::Erased(_) if !self.at_home(reader) => return Err(unknown()),
            SubjectRow::Erased(stone) if self.asked.export => {
                return Err(subject_status::gone(&stone));
            }
            SubjectRow::Erased(stone) => return Ok(Held::erased(&stone)),
        };
        // Before its status is told: one that may not be read is as one that never was.
        self.crosses_no_border(reader, &Standings::Of(&subject))?;
        let served = subject_status::admit_read(&subject, node.now());
        if served.is_err() {
            return if self.asked.export {
                Err(served.err().unwrap_or_else(subject_status::erased))
            } else {
                Ok(Held::of(&subject))
            };
        }
        if self.asked.export && subject.erasing.is_some() {
            // It is whole, or refused.
            return Err(subject_status::collection_erased());
        }
        let collections = self.collections(reader, &*view, &subject)?;
        if self.asked.export && secret.is_none() {
            // It is whole, or refused. What is refused has no entry.
            let map = node.map();
            let field = "sealed_question";
            collections.iter().try_for_each(|held| map.admit_plain(&held.name, field))?;
        }
        let seal = secret.map(|secret| seal(node, secret, &collections)).transpose()?;
        let seal = seal.unwrap_or_default();
        let accesses = match read_row(&*view, &self.asked.owner.accesses()).map_err(broken)?? {
            Some(row) => {
                let (incarnation, key) = (subject.incarnation, subject.key());
                Accesses::open(&row, &self.asked.owner, incarnation, &node.region, key)?
            }
            None => Accesses::default(),
        };
        let erased = subject.all_erased().iter();
        let erased = erased.map(|it| (it.collection.clone(), it.by.minute)).collect();
        let findings = Some(subject.findings.clone());
        let chosen = subject.choice.chosen.clone();
        Ok(Held { findings, collections, erased, accesses, chosen, seal, ..Held::of(&subject) })
    }

    /// What seals the export, if that was asked for.
    fn secret(&self, node: &Node) -> Result<Option<&AnswerSecret>, Rejection> {
        let Some(question) = &self.asked.question else { return Ok(None) };
        let asks = [self.asked.purpose.as_str()];
        let Owner { tenant, subject, .. } = &self.asked.owner;
        question.open(node, &of_export(tenant, subject.expose(), &asks)).map(Some)
    }

    /// Refuses a reader abroad if a law may bar that reader from some collection.
    fn crosses_no_border(
        &self,
        reader: &Reader,
        standings: &Standings<'_>,
    ) -> Result<(), Rejection> {
        let map = reader.node.map();
        let judged = EpochNumber::of(&map);
        let policy = |collection| EgressPolicy {
            node: &reader.node,
            counts: &reader.counts,
            collection,
            asker: &self.asker,
            judged,
        };
        let barred = match standings {
            Standings::OfTheMap => {
                map.collections().map(atlas::CollectionRules::name).find(|it| policy(it).may_bar())
            }
            Standings::Of(subject) => {
                let collections = subject.standings().iter().map(|standing| &standing.collection);
                collections.into_iter().find(|it| !policy(it).lets_read(subject))
            }
        };
        let Some(collection) = barred else { return Ok(()) };
        policy(collection).barred();
        Err(match standings {
            // The same for every subject: the laws of the place, not those of the person.
            Standings::OfTheMap if self.asked.export => {
                self.withheld(Reason::ExportWithheld, reader)
            }
            Standings::OfTheMap => self.withheld(Reason::EgressNotCovered, reader),
            Standings::Of(_) => unknown(),
        })
    }

    fn withheld(&self, reason: Reason, reader: &Reader) -> Rejection {
        Rejection::new(reason).with(Detail::Region, &reader.node.region)
    }

    /// Whether caller and gateway stand where the subject's records lie.
    fn at_home(&self, reader: &Reader) -> bool {
        self.asker.stands.at_home(reader.node.territory)
    }

    fn collections(
        &self,
        reader: &Reader,
        view: &dyn View,
        subject: &Subject,
    ) -> Result<Vec<HeldCollection>, Rejection> {
        let node = &*reader.node;
        let mut rules = Rules::new(node.map(), node.region.clone(), node.territory);
        rules.set_date(Moment::of(node.now()));
        let mut found = self.tally(reader, view, subject)?;
        let held = |standing: &Standing| {
            let Standing { collection: name, basis, mirrors, minute } = standing;
            let chosen = subject.choice.chosen.as_ref();
            let ruling = match rules.decide_stored(&self.asked.owner.tenant, name, basis, chosen) {
                Verdict::Here(ruled) => Some(ruled),
                Verdict::Elsewhere(_) | Verdict::Refused(_) => None,
            };
            let Tally { records, bytes, expires } = found.remove(name).unwrap_or_default();
            let (name, mirrors, since) = (name.clone(), mirrors.clone(), *minute);
            let mut terms = Vec::new();
            if let Some(ruled) = &ruling {
                erasure_terms::add(&mut terms, &ruled.attachments, None, node.now());
            }
            HeldCollection { name, ruling, since, mirrors, records, bytes, expires, terms }
        };
        Ok(subject.standings().iter().map(held).collect())
    }

    /// The live records of each collection.
    fn tally(
        &self,
        reader: &Reader,
        view: &dyn View,
        subject: &Subject,
    ) -> Result<BTreeMap<Collection, Tally>, Rejection> {
        let (node, now) = (&*reader.node, reader.node.now());
        let (mut span, mut tallies) = (self.asked.owner.records(), BTreeMap::<_, Tally>::new());
        let limit = ScanLimit { rows: ROWS_AT_ONCE, bytes: BYTES_AT_ONCE };
        loop {
            if Instant::now() > self.deadline {
                return Err(Rejection::new(Reason::DeadlinePassed));
            }
            let page = view.scan(&span, Order::Ascending, limit).map_err(Error::from)?;
            let Some((last, _)) = page.rows.last() else { return Ok(tallies) };
            span.from = [last.as_slice(), &[0]].concat();
            for (key, row) in &page.rows {
                let (address, head) = Stored::read(row)
                    .and_then(|row| {
                        row.named(&self.asked.owner, key, &node.region, subject.key_of(key)?)
                    })
                    .map_err(|_| Error::Damaged("records"))?;
                if head.is_deleted() || head.has_expired(now) {
                    continue;
                }
                let tally = tallies.entry(address.collection).or_default();
                tally.records += 1;
                tally.bytes += u64::try_from(head.body.bytes()).unwrap_or(u64::MAX);
                tally.expires = tally.expires.into_iter().chain(head.expires).min();
            }
        }
    }
}

/// The seal of the first part of an export.
fn seal(
    node: &Node,
    secret: &AnswerSecret,
    collections: &[HeldCollection],
) -> Result<Bytes, Rejection> {
    let names: Vec<&str> = collections.iter().map(|held| held.name.as_str()).collect();
    Ok(secret.seal_part(node.random()?, &AnswerPart::Collections(&names), &[]).into())
}

/// About which collections it is.
enum Standings<'a> {
    OfTheMap,
    Of(&'a Subject),
}

/// The live records of one collection.
#[derive(Default)]
struct Tally {
    records: u64,
    bytes: u64,
    expires: Option<terms::UnixMillis>,
}
