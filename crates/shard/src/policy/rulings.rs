//! The ruling, made again in the region from the findings, with this shard's own map.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use atlas::{
    Attachment, Country, Date, Findings, Lifetime, Moment, Outcome, Placement, Question, RegionMap,
};
use bytes::Bytes;
use ledger::entry::{EvidenceKind, EvidenceKinds, MapRef};
use terms::{Collection, Detail, Reason, RegionId, Rejection, TenantId, UnixMillis, limits};

use crate::policy::second_check::{Here, admits};
use crate::store::region_maps::map_ref;
use crate::store::types::EpochNumber;

/// Rulings that are remembered. A ruling is a pure function of what is in the key.
const REMEMBERED_MAX: usize = 4096;

/// Reasons for which a map refuses: another map may not.
const BY_THE_MAP: &[Reason] = &[
    Reason::CollectionUnknown,
    Reason::AttributeUnknown,
    Reason::AttributeInvalid,
    Reason::NotPermitted,
    Reason::BodyTooLarge,
    Reason::ExpiryTooLate,
    Reason::Unsatisfiable,
    Reason::NoRegion,
    Reason::RegionExcluded,
    Reason::TransferNotCovered,
    Reason::CitizenAbroad,
    Reason::WrongIngress,
    Reason::WrongDomicile,
    Reason::JurisdictionChanged,
    Reason::ChoiceNotOpen,
];

/// What follows from the findings, for this store.
#[derive(Clone)]
pub(crate) enum Verdict {
    /// The record belongs here.
    Here(Arc<Ruled>),
    /// It belongs to another region.
    Elsewhere(RegionId),
    /// It belongs nowhere.
    Refused(Rejection),
}

/// A placement in this region: what the log's entry says of it.
pub(crate) struct Ruled {
    pub(crate) jurisdictions: Vec<String>,
    pub(crate) statutes: Vec<String>,
    pub(crate) clauses: Vec<String>,
    pub(crate) evidence_kinds: EvidenceKinds,
    pub(crate) mirrors: Vec<RegionId>,
    /// The laws that attach, for what they ask of the way in.
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) map: MapRef,
    pub(crate) placement: Placement,
    /// The ruling as callers read it: the server encodes it once.
    pub(crate) encoded: OnceLock<Bytes>,
}

/// Whether a body is within the map's limit for its collection.
pub(crate) fn body_fits(
    map: &RegionMap,
    collection: &Collection,
    bytes: usize,
) -> Result<(), Rejection> {
    let rules = map.collection(collection);
    let most = rules.map_or(limits::BODY_BYTES_DEFAULT, atlas::CollectionRules::body_bytes_max);
    if bytes <= most {
        return Ok(());
    }
    Err(Rejection::new(Reason::BodyTooLarge).field("body").with(Detail::Limit, most))
}

/// When a record of the collection expires that is written now: when its writer says, within the
/// longest life that the map gives it. `ends`: None: it does not expire.
pub(crate) fn expiry(
    map: &RegionMap,
    collection: &Collection,
    ends: Option<UnixMillis>,
    now: UnixMillis,
) -> Result<Option<UnixMillis>, Rejection> {
    let fault = |reason| Rejection::new(reason).field("expire_time");
    if ends.is_some_and(|at| at <= now) {
        return Err(fault(Reason::FieldInvalid).problem("is not in the future"));
    }
    let Some(longest) = life_ends(map, collection, now) else { return Ok(ends) };
    match ends {
        Some(at) if at > longest.at => {
            Err(fault(Reason::ExpiryTooLate).with(Detail::Limit, longest.life))
        }
        Some(_) => Ok(ends),
        None => Ok(Some(longest.at)),
    }
}

/// The same for a record that keeps its time of expiry: one that is too late becomes the latest.
pub(crate) fn kept_expiry(
    map: &RegionMap,
    collection: &Collection,
    ends: Option<UnixMillis>,
    now: UnixMillis,
) -> Option<UnixMillis> {
    match life_ends(map, collection, now) {
        Some(longest) => Some(ends.map_or(longest.at, |at| at.min(longest.at))),
        None => ends,
    }
}

/// The end of the longest life of a record.
struct Longest {
    life: Lifetime,
    at: UnixMillis,
}

fn life_ends(map: &RegionMap, collection: &Collection, now: UnixMillis) -> Option<Longest> {
    let life = map.collection(collection)?.life_max()?;
    Some(Longest { life, at: UnixMillis(now.0.saturating_add(life.millis())) })
}

/// The rules in force here, and the rulings made under them at one moment.
pub(crate) struct Rules {
    map: Arc<RegionMap>,
    region: RegionId,
    territory: Country,
    date: Moment,
    made: HashMap<(TenantId, Collection, Findings, By), Verdict>,
}

/// What a ruling rests on besides findings.
#[derive(PartialEq, Eq, Hash)]
struct By {
    chosen: Option<RegionId>,
    /// It is of what is stored here.
    stored: bool,
}

impl Rules {
    pub(crate) fn new(map: Arc<RegionMap>, region: RegionId, territory: Country) -> Self {
        Self { map, region, territory, date: Date::from_day(0).into(), made: HashMap::new() }
    }

    /// Rules from now on as of `date`: clauses and statutes carry dates. It is another four times
    /// an hour, as somewhere a day begins then.
    pub(crate) fn set_date(&mut self, date: Moment) {
        if date != self.date {
            self.date = date;
            self.made.clear();
        }
    }

    /// Rules from now on by another map.
    pub(crate) fn set_map(&mut self, map: Arc<RegionMap>) {
        self.map = map;
        self.made.clear();
    }

    /// The map in force.
    pub(crate) fn map(&self) -> &RegionMap {
        &self.map
    }

    /// The moment as of which it rules.
    pub(crate) const fn date(&self) -> Moment {
        self.date
    }

    /// Where it rules: region, and its territory.
    pub(crate) const fn here(&self) -> (&RegionId, Country) {
        (&self.region, self.territory)
    }

    /// The map in force, by its number and digest.
    pub(crate) fn map_ref(&self) -> MapRef {
        map_ref(&self.map)
    }

    /// The number of the map in force.
    pub(crate) fn epoch(&self) -> EpochNumber {
        EpochNumber::of(&self.map)
    }

    /// Whether it is only for want of the same map that a write of a gateway fails: then it is told
    /// to send it again. What the newer map refuses is refused.
    pub(crate) fn differ(&self, of_gateway: Option<EpochNumber>, fault: &mut Rejection) {
        let (own, Some(of_gateway)) = (self.epoch(), of_gateway) else { return };
        let by_older = own < of_gateway && BY_THE_MAP.contains(&fault.reason);
        let passing =
            by_older || (own != of_gateway && fault.reason == Reason::PlacementNotAdmitted);
        if passing {
            *fault = Rejection::new(Reason::MapsDiffer).with(Detail::MapEpoch, own.0);
        }
    }

    /// Rules and places again a subject for which that region was chosen, if one was. A choice that the
    /// map does not leave counts for nothing.
    pub(crate) fn decide(
        &mut self,
        tenant: &TenantId,
        collection: &Collection,
        findings: &Findings,
        chosen: Option<&RegionId>,
    ) -> Verdict {
        let by = By { chosen: chosen.cloned(), stored: false };
        self.remembered(tenant, collection, findings, by)
    }

    /// The same for what is stored here: where the rules place it here without the choice, it may stay
    /// until it is moved.
    pub(crate) fn decide_stored(
        &mut self,
        tenant: &TenantId,
        collection: &Collection,
        findings: &Findings,
        chosen: Option<&RegionId>,
    ) -> Verdict {
        // Without a choice it is the same ruling.
        let by = By { chosen: chosen.cloned(), stored: chosen.is_some() };
        self.remembered(tenant, collection, findings, by)
    }

    fn remembered(
        &mut self,
        tenant: &TenantId,
        collection: &Collection,
        findings: &Findings,
        by: By,
    ) -> Verdict {
        let key = (tenant.clone(), collection.clone(), findings.clone(), by);
        if let Some(verdict) = self.made.get(&key) {
            return verdict.clone();
        }
        let verdict = self.rule(tenant, collection, findings, &key.3);
        if self.made.len() >= REMEMBERED_MAX {
            self.made.clear();
        }
        self.made.insert(key, verdict.clone());
        verdict
    }

    fn rule(
        &self,
        tenant: &TenantId,
        collection: &Collection,
        findings: &Findings,
        by: &By,
    ) -> Verdict {
        // The people of a tenant that the map does not name are not stored, whatever a gateway says.
        if self.map.tenant(tenant).is_none() {
            let fault = Rejection::new(Reason::NotPermitted);
            return Verdict::Refused(fault.problem("the region map does not name the tenant"));
        }
        let question = Question { tenant, collection, findings, date: self.date };
        let chosen = by.chosen.as_ref();
        let ruling = if by.stored {
            atlas::decide_stored(&self.map, &question, chosen, &self.region)
        } else {
            atlas::decide_chosen(&self.map, &question, chosen)
        };
        let ruling = match ruling {
            Ok(ruling) => ruling,
            Err(unknown) => return Verdict::Refused(unknown.into()),
        };
        let placement = match ruling.outcome() {
            Outcome::Placed(placement) => placement,
            Outcome::Refused(refusal) => return Verdict::Refused(refusal.into()),
        };
        if *placement.region() != self.region {
            return Verdict::Elsewhere(placement.region().clone());
        }
        let here = Here { region: &self.region, territory: self.territory };
        if !admits(placement, &ruling, &self.map, &here, self.date.date()) {
            let fault = Rejection::new(Reason::PlacementNotAdmitted)
                .problem("the second check does not admit a placement that the rules gave");
            return Verdict::Refused(fault.with(Detail::MapEpoch, self.epoch().0));
        }
        let mut kinds = EvidenceKinds::new();
        for kind in ruling.kinds().iter() {
            kinds.insert(ledger_kind(kind));
        }
        let mut ruled = Ruled {
            jurisdictions: placement
                .jurisdictions()
                .iter()
                .map(|j| j.as_str().to_owned())
                .collect(),
            statutes: placement.statutes().map(|id| id.as_str().to_owned()).collect(),
            clauses: placement.clauses().iter().map(|id| id.as_str().to_owned()).collect(),
            evidence_kinds: kinds,
            mirrors: placement.mirrors().to_vec(),
            attachments: ruling.attachments().to_vec(),
            map: self.map_ref(),
            placement: placement.clone(),
            encoded: OnceLock::new(),
        };
        for list in [&mut ruled.jurisdictions, &mut ruled.statutes, &mut ruled.clauses] {
            list.sort_unstable();
            list.dedup();
        }
        Verdict::Here(Arc::new(ruled))
    }
}

const fn ledger_kind(kind: atlas::EvidenceKind) -> EvidenceKind {
    match kind {
        atlas::EvidenceKind::Citizenship => EvidenceKind::Citizenship,
        atlas::EvidenceKind::Document => EvidenceKind::Document,
        atlas::EvidenceKind::Residence => EvidenceKind::Residence,
        atlas::EvidenceKind::CollectedIn => EvidenceKind::CollectedIn,
        atlas::EvidenceKind::Ip => EvidenceKind::Ip,
        atlas::EvidenceKind::Phone => EvidenceKind::Phone,
        atlas::EvidenceKind::Sim => EvidenceKind::Sim,
    }
}
