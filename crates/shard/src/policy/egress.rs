//! What a caller's role lets it ask for, and whether a record may cross a border to those who read
//! it.
//!
//! The caller's country is what the gateway says of it; the gateway's own is what the map says of
//! the region in its certificate. Both must pass, so a stolen gateway sees no more than a gateway
//! of its region may, whatever it claims of its callers.
//!
//! An answer to a reader abroad is the same for a record that is not for them and for one that is
//! not there: otherwise the answer itself would tell of the person.

use std::sync::{Arc, OnceLock};

use atlas::{Country, Moment, Question};
use bytes::Bytes;
use ledger::entry::Role;
use sealed::{AnswerSecret, Binding};
use terms::{Collection, Detail, Reason, RegionId, Rejection};

use crate::log::access_counters::AccessCounters;
use crate::node::Node;
use crate::policy::asker::{Asker, Stands};
use crate::policy::participants::let_read;
use crate::policy::subject_status;
use crate::store::damage::Row;
use crate::store::indexed::Indexed;
use crate::store::keys::Owner;
use crate::store::participants::Participant;
use crate::store::record::Address;
use crate::store::subject::{Subject, SubjectRow};
use crate::store::types::EpochNumber;

/// What a call asks for, as far as roles go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    Read,
    Write,
    /// To erase subjects, to block them, and to replace their keys.
    Erase,
    /// To propose the region of a subject.
    Propose,
    /// To confirm what another caller has proposed.
    Confirm,
    /// What a map would do.
    MapImpact,
    /// Which maps were taken.
    MapHistory,
}

impl Right {
    /// The right to one of the two steps of a choice.
    pub(crate) const fn adjudicate(confirm: bool) -> Self {
        if confirm { Self::Confirm } else { Self::Propose }
    }
}

/// Whether a role has a right. The gateway has asked the same; the shard trusts none.
pub(crate) fn permitted(role: Role, right: Right) -> bool {
    let wanted: &[Role] = match right {
        Right::Read => &[Role::Reader],
        Right::Write => &[Role::Writer],
        Right::Erase => &[Role::Eraser],
        Right::Propose => &[Role::Adjudicator],
        Right::Confirm => &[Role::Approver],
        Right::MapImpact => &[Role::Operator],
        Right::MapHistory => &[Role::Operator, Role::Auditor],
    };
    wanted.contains(&role)
}

/// A read, ready to be looked up.
pub(crate) struct Lookup {
    pub(crate) address: Address,
    pub(crate) asker: Asker,
    /// Why, for the log; empty: not stated.
    pub(crate) purpose: String,
    /// Which part of the body is asked for. None: the whole, which may be no attachment.
    pub(crate) part: Option<BodyPart>,
    /// The copy here of a record whose home is that region. None: the record.
    pub(crate) copy_of: Option<RegionId>,
    /// What the body is answered sealed to. None: it is answered plain.
    pub(crate) question: Option<SealedQuestion>,
}

/// A sealed question, and the key to which it is sealed. It is opened before anything is told.
pub(crate) struct SealedQuestion {
    pub(crate) key: String,
    pub(crate) sealed: Bytes,
    /// What seals the answer, once the question has been opened.
    pub(crate) answer: OnceLock<AnswerSecret>,
}

impl SealedQuestion {
    /// What seals the answer: the question is opened once.
    ///
    /// # Errors
    /// `TRANSIT_KEY_UNKNOWN`, `TRANSIT_SEAL_INVALID`.
    pub(crate) fn open(
        &self,
        node: &Node,
        binding: &Binding<'_>,
    ) -> Result<&AnswerSecret, Rejection> {
        let Self { key, sealed, answer } = self;
        if let Some(answer) = answer.get() {
            return Ok(answer);
        }
        let opened = node.transit.open(key, node.now(), binding, sealed, "sealed_question")?;
        Ok(answer.get_or_init(|| opened.1))
    }
}

/// A part of a body.
pub(crate) struct BodyPart {
    pub(crate) offset: u64,
    pub(crate) length: u32,
    /// Only if the record has this etag; empty: whatever it has.
    pub(crate) etag: String,
}

/// The egress policy for one read, or one list.
pub(crate) struct EgressPolicy<'a> {
    pub(crate) node: &'a Node,
    pub(crate) counts: &'a AccessCounters,
    pub(crate) collection: &'a Collection,
    pub(crate) asker: &'a Asker,
    /// The map under which it is judged.
    pub(crate) judged: EpochNumber,
}

impl EgressPolicy<'_> {
    /// Notes that a record was kept from its readers, whatever they are answered: for the log, too,
    /// where those who are protected must be able to see it.
    pub(crate) fn barred(&self) {
        let asker = self.asker;
        asker.stands.refused(self.node, Reason::EgressNotCovered);
        let collection = Some(self.collection);
        self.counts.refused(Reason::EgressNotCovered, self.judged, &asker.who, collection);
    }

    /// The subject, if those who ask may have its records. `row`: its row as it was read.
    pub(crate) fn admit(&self, owner: &Owner, row: Row) -> Result<Arc<Subject>, Rejection> {
        self.admit_one(owner, row, self.node.subjects.get(&owner.tag))
    }

    /// The same of the subject as the row says it, whatever the cache says.
    pub(crate) fn admit_row(&self, owner: &Owner, row: Row) -> Result<Arc<Subject>, Rejection> {
        self.admit_one(owner, row, None)
    }

    fn admit_one(
        &self,
        owner: &Owner,
        row: Row,
        cached: Option<Arc<Subject>>,
    ) -> Result<Arc<Subject>, Rejection> {
        let row = match row {
            Ok(None) => {
                self.absent()?;
                return Err(unknown());
            }
            Ok(Some(row)) => Ok(row),
            Err(fault) => Err(fault),
        };
        let opened = row.and_then(|row| match cached {
            Some(cached) => Ok(Ok(cached)),
            None => Ok(match self.node.open_subject(owner, &row)? {
                SubjectRow::Kept(subject) => Ok(Arc::new(subject)),
                SubjectRow::Erased(stone) => Err(stone),
            }),
        });
        let subject = match opened {
            Ok(Ok(subject)) => subject,
            Ok(Err(stone)) => {
                // Abroad, one that was erased is as one that never was. Readers that no law of this
                // place could bar are told where one has moved.
                self.absent()?;
                let told = self.at_home() || stone.moved.is_some();
                return Err(if told { subject_status::gone(&stone) } else { unknown() });
            }
            Err(damaged) => {
                // That there is a row at all is not for everybody.
                self.absent()?;
                return Err(damaged);
            }
        };
        self.known(&subject)?;
        subject_status::admit_read(&subject, self.node.now())?;
        if subject.is_erasing(self.collection) {
            return Err(subject_status::collection_erased().field("collection"));
        }
        Ok(subject)
    }

    /// Whether what is known of this subject lets the readers have its records of the collection.
    pub(crate) fn lets_read(&self, subject: &Subject) -> bool {
        self.at_home() || self.covered(subject)
    }

    /// Whether what binds the people that a record names lets the readers have it.
    pub(crate) fn lets_read_of(&self, participants: &[Participant]) -> bool {
        let (tenant, readers) = (&self.asker.tenant, self.readers());
        let judged = || {
            let map = self.node.map();
            let_read(&map, tenant, self.collection, self.today(), &readers, participants)
        };
        participants.is_empty() || self.at_home() || judged()
    }

    /// The same of a record that may be deleted, by what is kept of those that it named.
    pub(crate) fn lets_know_of(&self, indexed: &Indexed) -> bool {
        let (tenant, bound) = (&self.asker.tenant, &indexed.bound);
        let judged = || {
            let (map, at, readers) = (self.node.map(), self.today(), self.readers());
            atlas::egress_of_participant(&map, bound, tenant, self.collection, at, &readers).is_ok()
        };
        let is_home = self.at_home() || bound.is_empty();
        self.lets_read_of(&indexed.participants) && (is_home || judged())
    }

    /// The same, and notes it if not. The record is then answered as one that is not there: others of
    /// its owner may be read, so another answer would tell that there is one.
    pub(crate) fn gives(&self, participants: &[Participant]) -> bool {
        let gives = self.lets_read_of(participants);
        if !gives {
            self.barred();
        }
        gives
    }

    /// Lets those who ask have copies of records that rest on these findings. `None`: there are none. If they
    /// may not, the answer is what it would be were there none.
    pub(crate) fn admit_copy(&self, findings: Option<&atlas::Findings>) -> Result<(), Rejection> {
        if findings.is_some_and(|findings| self.at_home() || self.ruled_and_covered(findings)) {
            return Ok(());
        }
        self.absent()?;
        if findings.is_some() {
            self.barred();
        }
        Err(unknown())
    }

    /// Whether what is known of this subject lets the readers have its records of the collection.
    /// If not, the answer is what it would be were there no such record.
    fn known(&self, subject: &Subject) -> Result<(), Rejection> {
        if self.lets_read(subject) {
            return Ok(());
        }
        self.absent()?;
        self.barred();
        Err(unknown())
    }

    /// Whether the readers may learn that there is no such record here.
    fn absent(&self) -> Result<(), Rejection> {
        self.of_absent().map_err(|barred| {
            self.barred();
            // The same for every record: the laws of the place, not those of the person.
            barred.egress_fault().with(Detail::Region, &self.node.region)
        })
    }

    /// Whether a law may keep some record of the collection here from the readers.
    pub(crate) fn may_bar(&self) -> bool {
        self.of_absent().is_err()
    }

    /// Whether a law may keep some record that is stored here from the readers: that of its owner, or of
    /// a person that it names.
    pub(crate) fn may_withhold(&self) -> bool {
        let (map, place, at) = (self.node.map(), self.node.territory, self.today());
        let readers = self.readers();
        let any = || atlas::egress_of_any(&map, place, self.collection, at, &readers).is_err();
        !self.at_home() && any()
    }

    fn of_absent(&self) -> Result<(), atlas::Barred> {
        if self.at_home() {
            return Ok(());
        }
        let (map, date, territory) = (self.node.map(), self.today(), self.node.territory);
        atlas::egress_of_absent(&map, territory, self.collection, date, &self.readers())
    }

    /// Whether caller and gateway stand where the record lies: then it crosses no border.
    pub(crate) fn at_home(&self) -> bool {
        self.asker.stands.at_home(self.node.territory)
    }

    /// Whether the ruling that stands, made again under the map in force, lets the readers read.
    /// Where no ruling stands, or it cannot be made again, no reader is let.
    ///
    /// What is known of citizenship and residence beside its basis would change the ruling at the
    /// next write; until then a read must satisfy both.
    fn covered(&self, subject: &Subject) -> bool {
        let Some(standing) = subject.standing(self.collection) else {
            return false;
        };
        let Ok(weighed) = standing.weighed(&subject.findings) else { return false };
        self.ruled_and_covered(&standing.basis)
            && (weighed == standing.basis || self.ruled_and_covered(&weighed))
    }

    fn ruled_and_covered(&self, findings: &atlas::Findings) -> bool {
        let (asker, collection) = (self.asker, self.collection);
        let (map, date) = (self.node.map(), self.today());
        let question = Question { tenant: &asker.tenant, collection, findings, date };
        let Ok(ruling) = atlas::decide(&map, &question) else { return false };
        // Refused for want of a region or a clause, the laws that attach are known all the same.
        let undetermined =
            ruling.refusal().is_some_and(|no| no.reason() == Reason::JurisdictionUndetermined);
        !undetermined
            && atlas::egress(&map, ruling.attachments(), collection, date, &self.readers()).is_ok()
    }

    fn readers(&self) -> [Option<Country>; 2] {
        let Stands { gateway, caller } = self.asker.stands;
        [caller, Some(gateway)]
    }

    fn today(&self) -> Moment {
        Moment::of(self.node.now())
    }
}

/// Whether those who ask may know of a subject as a whole, and act on it: what lies here of it, under the
/// rulings that stand, they may read. Where a law of the place may bar them, the answer is the same
/// whether there is such a subject or not. None: there is none, or it has no ruling.
pub(crate) fn crosses_no_border(
    node: &Node,
    counts: &AccessCounters,
    asker: &Asker,
    subject: Option<&Subject>,
) -> Result<(), Rejection> {
    let map = node.map();
    let judged = EpochNumber::of(&map);
    let policy = |collection| EgressPolicy { node, counts, collection, asker, judged };
    let mut names = map.collections().map(atlas::CollectionRules::name);
    let of_place = names.find(|name| policy(name).may_bar());
    let barred = match subject.filter(|subject| !subject.standings().is_empty()) {
        Some(subject) => {
            let mut names = subject.standings().iter().map(|standing| &standing.collection);
            names.find(|name| !policy(name).lets_read(subject))
        }
        None => of_place,
    };
    let Some(barred) = barred else { return Ok(()) };
    policy(barred).barred();
    if of_place.is_none() {
        return Err(unknown());
    }
    Err(Rejection::new(Reason::EgressNotCovered).with(Detail::Region, &node.region))
}

/// The answer when there is no such subject.
pub(crate) fn unknown() -> Rejection {
    Rejection::new(Reason::SubjectUnknown).field("subject.id")
}
