//! Which laws attach to a person's records, and why.

use std::sync::Arc;

use smallvec::SmallVec;
use terms::{Collection, TenantId};

use crate::geo::country::Countries;
use crate::map::Statute;
use crate::{
    Aspect, CitizensAbroad, Constraint, Country, EvidenceKind, Findings, Ingress, Jurisdiction,
    Kinds, Moment, RegionMap, StatuteId, StatutePack, Tenant, Trigger, UnknownCitizenship,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pack: Arc<StatutePack>,
    constraint: Constraint,
    ingress: Ingress,
    kinds: Kinds,
    because: AttachReason,
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
    pub(crate) kinds: Kinds,
}

/// The laws that attach, and the first that the map refuses to apply to a citizen abroad.
pub(crate) struct Attached {
    pub(crate) laws: Attachments,
    pub(crate) refused_abroad: Option<Arc<StatutePack>>,
}

/// Finds the laws that attach.
pub(crate) fn attached(map: &RegionMap, question: &Question<'_>, facts: &Facts) -> Attached {
    let tenant = map.tenant(question.tenant);
    let established = tenant.map(|tenant| tenant.established);
    let sectors = tenant.map(Tenant::sectors);
    let mut attached = Attached { laws: Attachments::new(), refused_abroad: None };
    for statute in map.statutes().iter().filter(|law| law.covers(question.collection)) {
        let demands =
            statute.demands_at(question.date).filter(|(scope, _)| scope.concerns(sectors));
        for (scope, constraint) in demands {
            let trigger = scope.trigger();
            let Some(because) = attach(statute, trigger, constraint, facts, established) else {
                continue;
            };
            let pack = statute.pack();
            if because == AttachReason::CitizenAbroad
                && statute.citizens_abroad() == CitizensAbroad::Refuse
            {
                attached.refused_abroad.get_or_insert_with(|| Arc::clone(pack));
            }
            let same =
                |own: &Attachment| own.pack.id() == pack.id() && own.constraint == constraint;
            if !attached.laws.iter().any(same) {
                let kinds = because.kinds(question.findings, facts, statute.jurisdiction());
                let (pack, ingress) = (Arc::clone(pack), statute.ingress());
                attached.laws.push(Attachment { pack, constraint, ingress, kinds, because });
            }
        }
    }
    attached
}

/// Whether a scope of a law attaches, and why. `established`: none if the tenant is not known.
fn attach(
    statute: &Statute,
    trigger: Trigger,
    constraint: Constraint,
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
    pub(crate) fn of(findings: &Findings) -> Self {
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
    pub fn statute(&self) -> &StatuteId {
        self.pack.id()
    }

    /// The law itself.
    pub fn pack(&self) -> &StatutePack {
        &self.pack
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
