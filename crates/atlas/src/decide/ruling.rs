//! Which laws claim a person's record, and what follows from it. Pure: the same question always
//! has the same answer.

use smallvec::SmallVec;
use terms::{Collection, Reason, Rejection, TenantId};

use crate::decide::place;
use crate::geo::country::Countries;
use crate::map::Statute;
use crate::{
    Aspect, CitizensAbroad, Constraint, Country, Epoch, EvidenceKind, Findings, Ingress,
    Jurisdiction, Kinds, Moment, Placement, Refusal, RegionMap, StatuteId, StatutePack, Trigger,
    UnknownCitizenship,
};

/// What is asked: where one person's records of one collection belong on one day.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The platform, from the caller's identity.
    pub tenant: &'a TenantId,
    /// The collection.
    pub collection: &'a Collection,
    /// What is known of the person.
    pub findings: &'a Findings,
    /// The day, or the time.
    pub date: Moment,
}

/// The map declares no such collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the region map declares no such collection")]
pub struct UnknownCollection;

impl From<UnknownCollection> for Rejection {
    fn from(_: UnknownCollection) -> Self {
        Self::new(Reason::CollectionUnknown).field("collection")
    }
}

/// Why a law attaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AttachReason {
    Citizen,
    CitizenAbroad,
    CitizenshipUnknown,
    Located,
    Reached,
    Established,
    TenantUnknown,
}

/// One law that attaches with one demand, and why. A law may attach with several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attachment {
    pack: &'static StatutePack,
    constraint: Constraint,
    ingress: Ingress,
    kinds: Kinds,
    because: AttachReason,
}

/// A placement, or the refusal of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The record may be stored, there and nowhere else.
    Placed(Placement),
    /// It may not be stored.
    Refused(Refusal),
}

/// The laws that attach to one person's records of one collection, and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    attachments: Attachments,
    outcome: Outcome,
    epoch: Epoch,
    kinds: Kinds,
}

pub(crate) type Attachments = SmallVec<[Attachment; 4]>;

/// The findings that play a part, sorted out by what they say.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Countries by aspect, in the order of [`Aspect::ALL`].
    resident: Countries,
    citizen: Countries,
    present: Countries,
    contact: Countries,
    /// Whether anything was said of citizenship, be it that there is none.
    citizenship_known: bool,
    kinds: Kinds,
}

/// Rules on a question: which laws attach, and where the record may lie.
///
/// A tenant that the map does not declare is taken to be established wherever a law asks for
/// that, and to work in every sector, which is the stricter reading; who answers callers refuses such a tenant before.
///
/// # Errors
/// [`UnknownCollection`]. A refusal is no error: it is an [`Outcome`].
pub fn decide(map: &RegionMap, question: &Question<'_>) -> Result<Ruling, UnknownCollection> {
    if map.collection(question.collection).is_none() {
        return Err(UnknownCollection);
    }
    let facts = Facts::of(question.findings);
    let tenant = map.tenant(question.tenant);
    let established = tenant.map(|tenant| tenant.established);
    let mut attachments = Attachments::new();
    let mut abroad = None;
    for statute in map.statutes() {
        if !statute.covers(question.collection) {
            continue;
        }
        let demands = statute.demands_at(question.date).filter(|(scope, _)| scope.concerns(tenant));
        for (scope, constraint) in demands {
            let trigger = scope.trigger();
            let Some(because) = attach(statute, (trigger, constraint), &facts, established) else {
                continue;
            };
            if because == AttachReason::CitizenAbroad
                && statute.citizens_abroad() == CitizensAbroad::Refuse
            {
                abroad = abroad.or_else(|| Some(statute.pack()));
            }
            let pack = statute.pack();
            let same =
                |own: &Attachment| own.pack.id() == pack.id() && own.constraint == constraint;
            if !attachments.iter().any(same) {
                let kinds = because.kinds(question.findings, &facts, statute.jurisdiction());
                let ingress = statute.ingress();
                attachments.push(Attachment { pack, constraint, ingress, kinds, because });
            }
        }
    }
    let outcome = place::settle(map, question, &attachments, &facts, abroad);
    Ok(Ruling { attachments, outcome, epoch: map.epoch(), kinds: facts.kinds })
}

/// Whether a scope of a law attaches, and why. `established`: none if the tenant is not known.
fn attach(
    statute: &Statute,
    (trigger, constraint): (Trigger, Constraint),
    facts: &Facts,
    established: Option<Countries>,
) -> Option<AttachReason> {
    let members = statute.jurisdiction().members();
    let meets = |countries: Countries| !countries.and(members).is_empty();
    let placed = facts.resident.or(facts.present);
    match trigger {
        Trigger::Citizen if meets(facts.citizen) => {
            if facts.resident.is_empty() || meets(placed) {
                return Some(AttachReason::Citizen);
            }
            match statute.citizens_abroad() {
                CitizensAbroad::Ignore => None,
                CitizensAbroad::Attach | CitizensAbroad::Refuse => {
                    Some(AttachReason::CitizenAbroad)
                }
            }
        }
        Trigger::Citizen if facts.citizenship_known => None,
        Trigger::Citizen => {
            let hints = match statute.unknown() {
                UnknownCitizenship::AnyHint => placed.or(facts.contact),
                UnknownCitizenship::Territory => placed,
                UnknownCitizenship::Never => Countries::EMPTY,
            };
            meets(hints).then_some(AttachReason::CitizenshipUnknown)
        }
        Trigger::Located if meets(placed) => Some(AttachReason::Located),
        // Contacts count only where nothing is known of residence and presence: see `Facts::of`.
        Trigger::Located => (meets(facts.contact) && constraint != Constraint::Mirror)
            .then_some(AttachReason::Reached),
        Trigger::Operator => match established {
            None => Some(AttachReason::TenantUnknown),
            Some(countries) => meets(countries).then_some(AttachReason::Established),
        },
    }
}

// === impl Facts ===

impl Facts {
    fn of(findings: &Findings) -> Self {
        let kinds = findings.counted();
        let mut facts = Self {
            resident: Countries::EMPTY,
            citizen: Countries::EMPTY,
            present: Countries::EMPTY,
            contact: Countries::EMPTY,
            citizenship_known: kinds.contains(EvidenceKind::Citizenship)
                || kinds.contains(EvidenceKind::Document),
            kinds,
        };
        for finding in findings.iter().filter(|finding| kinds.contains(finding.kind())) {
            let Some(country) = finding.country() else { continue };
            let countries = match finding.aspect() {
                Aspect::Resident => &mut facts.resident,
                Aspect::Citizen => &mut facts.citizen,
                Aspect::Present => &mut facts.present,
                Aspect::Contact => &mut facts.contact,
            };
            *countries = countries.with(country);
        }
        facts
    }

    /// The countries in the order in which they count: resident, citizen, present, contact; by
    /// code within each. One that is there in two ways comes twice.
    pub(crate) fn countries(&self) -> impl Iterator<Item = Country> {
        let in_order = [self.resident, self.citizen, self.present, self.contact];
        in_order.into_iter().flat_map(Countries::iter)
    }
}

impl Findings {
    /// The kinds whose findings play a part in a ruling: see [`Kinds::counted`].
    pub fn counted(&self) -> Kinds {
        self.kinds().counted()
    }
}

impl Kinds {
    /// Those of them that play a part in a ruling: `ip` does not beside `collected_in`, and
    /// contacts do only where nothing is known of residence and presence.
    #[must_use]
    pub fn counted(self) -> Self {
        use EvidenceKind::{CollectedIn, Ip, Phone, Residence, Sim};
        let without = |kind| match kind {
            Ip => self.contains(CollectedIn),
            Phone | Sim => [Residence, CollectedIn, Ip].iter().any(|kind| self.contains(*kind)),
            Residence | CollectedIn | EvidenceKind::Citizenship | EvidenceKind::Document => false,
        };
        self.iter().filter(|kind| !without(*kind)).fold(Self::EMPTY, Self::with)
    }
}

// === impl Attachment ===

impl AttachReason {
    /// The kinds of evidence behind it.
    fn kinds(self, findings: &Findings, facts: &Facts, jurisdiction: Jurisdiction) -> Kinds {
        let speaks = |aspect| match self {
            Self::Citizen | Self::CitizenAbroad => aspect == Aspect::Citizen,
            Self::CitizenshipUnknown | Self::Located | Self::Reached => aspect != Aspect::Citizen,
            Self::Established | Self::TenantUnknown => false,
        };
        let behind = findings.iter().filter(|finding| {
            facts.kinds.contains(finding.kind())
                && speaks(finding.aspect())
                && finding.country().is_some_and(|country| jurisdiction.contains(country))
        });
        behind.fold(Kinds::EMPTY, |kinds, finding| kinds.with(finding.kind()))
    }
}

impl Attachment {
    /// Whose law attaches.
    pub fn jurisdiction(&self) -> Jurisdiction {
        self.pack.jurisdiction()
    }

    /// Which law.
    pub fn statute(&self) -> &'static StatuteId {
        self.pack.id()
    }

    /// The law itself.
    pub fn pack(&self) -> &'static StatutePack {
        self.pack
    }

    /// What it demands: by the reading that the map chose, where readings are in dispute.
    pub fn constraint(&self) -> Constraint {
        self.constraint
    }

    /// Whether it forbids that the record lies in, or is read from, that country, whatever clauses
    /// there are.
    pub fn denies(&self, country: Country) -> bool {
        self.pack.denies(country)
    }

    /// Through which gateways the map lets its records come in.
    pub fn ingress(&self) -> Ingress {
        self.ingress
    }

    /// The kinds of evidence that made it attach; none where the tenant's establishment did.
    pub fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// Why it attaches: one sentence for a person, without a value of the evidence.
    pub fn reason(&self) -> String {
        let place = self.jurisdiction();
        let kinds = self.kinds;
        match self.because {
            AttachReason::Citizen => format!("citizen of {place} ({kinds})"),
            AttachReason::CitizenAbroad => {
                format!("citizen of {place} ({kinds}), with residence elsewhere")
            }
            AttachReason::CitizenshipUnknown => {
                format!("citizenship is not known, and {kinds} points to {place}")
            }
            AttachReason::Located => format!("lives or is in {place} ({kinds})"),
            AttachReason::Reached => {
                format!("nothing says where the person lives or is, and {kinds} points to {place}")
            }
            AttachReason::Established => format!("the tenant is established in {place}"),
            AttachReason::TenantUnknown => format!(
                "the map does not say where the tenant is established, so {place} is taken as one"
            ),
        }
    }
}

// === impl Ruling ===

impl Ruling {
    /// The laws that attach, by jurisdiction and id.
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// What follows.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// What follows, for keeps.
    pub fn into_outcome(self) -> Outcome {
        self.outcome
    }

    /// The placement, if it is one.
    pub fn placement(&self) -> Option<&Placement> {
        match &self.outcome {
            Outcome::Placed(placement) => Some(placement),
            Outcome::Refused(_) => None,
        }
    }

    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.outcome {
            Outcome::Placed(_) => None,
            Outcome::Refused(refusal) => Some(refusal),
        }
    }

    /// The map that ruled.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The jurisdictions that attach, by code, each once.
    pub fn jurisdictions(&self) -> &[Jurisdiction] {
        match &self.outcome {
            Outcome::Placed(placement) => placement.jurisdictions(),
            Outcome::Refused(refusal) => refusal.jurisdictions(),
        }
    }

    /// The kinds of evidence that played a part.
    pub fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// Why it ended so: one sentence for a person, without a value of the evidence.
    pub fn reason(&self) -> String {
        match &self.outcome {
            Outcome::Placed(placement) => placement.reason(),
            Outcome::Refused(refusal) => format!("{}; {}", refusal.problem(), refusal.cure()),
        }
    }
}
