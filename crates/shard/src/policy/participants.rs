//! Records that name other people: where they may lie, and who may read them, by what binds the owner
//! and each of the others.

use std::sync::{Arc, OnceLock};

use atlas::{Country, Jurisdiction, Moment, Question, RegionMap};
use terms::{Collection, Detail, Reason, RegionId, Rejection, SubjectId, TenantId};

use crate::policy::rulings::{Ruled, Rules};
use crate::policy::second_check::{Here, admits_participant};
use crate::store::participants::Participant;

impl Rules {
    /// The ruling of a record that names participants: the owner's, with what binds the others. `None`:
    /// it names none.
    ///
    /// # Errors
    /// `UNSATISFIABLE` or `TRANSFER_NOT_COVERED`, with the participant and the pair that conflicts;
    /// `WRONG_INGRESS`, if the law of one wants another gateway than that in `gateway`.
    pub(crate) fn together(
        &self,
        tenant: &TenantId,
        ruled: &Ruled,
        participants: &[Participant],
        gateway: Country,
    ) -> Result<Option<Arc<Ruled>>, Rejection> {
        if participants.is_empty() {
            return Ok(None);
        }
        let (map, date, findings) = (self.map(), self.date(), atlas::Findings::new());
        let collection = ruled.placement.collection();
        let question = Question { tenant, collection, findings: &findings, date };
        let named: Vec<&[Jurisdiction]> =
            participants.iter().map(|one| one.jurisdictions.as_slice()).collect();
        for (n, of) in named.iter().enumerate() {
            let enters = atlas::ingress_of_participant(map, of, collection, date, Some(gateway));
            enters.map_err(|barred| wrong_ingress(&barred, n))?;
        }
        let placement = atlas::together(map, &question, &ruled.placement, &named);
        let placement = placement.map_err(|conflict| Rejection::from(&conflict))?;
        let (region, territory) = self.here();
        let here = Here { region, territory };
        if !named.iter().all(|of| admits_participant(&placement, of, map, &here, &question)) {
            let fault = Rejection::new(Reason::PlacementNotAdmitted)
                .problem("the second check does not admit participants that the rules admit");
            return Err(fault.with(Detail::MapEpoch, map.epoch().number));
        }
        let own = |all: &[String], more: Vec<String>| {
            let mut all: Vec<String> = all.iter().cloned().chain(more).collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        // What an entry can name.
        let fits = |all: usize| all <= ledger::entry::LIST_ITEMS_MAX;
        if !fits(placement.jurisdictions().len())
            || !fits(placement.statutes().len())
            || !fits(placement.clauses().len())
        {
            return Err(Rejection::new(Reason::TooManyItems).field("participants"));
        }
        let jurisdictions = placement.jurisdictions().iter().map(|one| one.as_str().to_owned());
        let statutes = placement.statutes().map(|id| id.as_str().to_owned());
        let clauses = placement.clauses().iter().map(|id| id.as_str().to_owned());
        Ok(Some(Arc::new(Ruled {
            jurisdictions: own(&ruled.jurisdictions, jurisdictions.collect()),
            statutes: own(&ruled.statutes, statutes.collect()),
            clauses: own(&ruled.clauses, clauses.collect()),
            evidence_kinds: ruled.evidence_kinds,
            mirrors: ruled.mirrors.clone(),
            attachments: ruled.attachments.clone(),
            map: ruled.map,
            placement,
            encoded: OnceLock::new(),
        })))
    }
}

/// The answer where the law of that participant bars the gateway.
fn wrong_ingress(barred: &atlas::Barred, n: usize) -> Rejection {
    barred
        .ingress_fault()
        .field(format!("participants[{n}]"))
        .problem(
            "the law of this participant wants another gateway; where the request names none, this is \
             a participant that the record names already",
        )
        .cure(
            "send the request through a gateway in the territory of the law that is named, if the \
             owner's law allows it; or put the record with other participants",
        )
}

/// Refuses a record that would name its own owner as a person of the region to which the owner moves.
pub(crate) fn names_others(
    owner: &SubjectId,
    region: &RegionId,
    participants: &[Participant],
) -> Result<(), Rejection> {
    if participants.iter().all(|one| one.id != *owner || one.region != *region) {
        return Ok(());
    }
    let fault = Rejection::new(Reason::FieldInvalid).field("subject.id");
    Err(fault
        .problem("is named in a record of its own, as a person of the region to which it moves"))
}

/// Whether what binds the participants lets these readers have a record that names them.
pub(crate) fn let_read(
    map: &RegionMap,
    tenant: &TenantId,
    collection: &Collection,
    at: Moment,
    readers: &[Option<Country>],
    participants: &[Participant],
) -> bool {
    participants.iter().all(|one| {
        let of = &one.jurisdictions;
        atlas::egress_of_participant(map, of, tenant, collection, at, readers).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use atlas::{Date, EvidenceKind, Finding, Findings};
    use terms::{RegionId, SubjectId};

    use super::*;
    use crate::policy::rulings::Verdict;
    use crate::testing;

    #[test]
    fn a_gateway_that_the_law_of_a_participant_bars_is_told_what_to_do() {
        let id = "id = \"eu-gdpr\"\n";
        let text = testing::MAP.replace(id, &format!("{id}ingress = \"in-territory\"\n"));
        let map = Arc::new(RegionMap::parse(&text).expect("a map"));
        let region = RegionId::parse("ru-msk").expect("a region");
        let here = Country::parse(testing::HERE).expect("a country");
        let mut rules = Rules::new(map, region, here);
        rules.set_date(Date::parse("2026-11-30").expect("a day").into());
        let tenant = TenantId::parse("sample").expect("a tenant");
        let collection = Collection::parse("profiles").expect("a name");
        let mut findings = Findings::new();
        let resident = Finding::parse(EvidenceKind::Residence, "RU").expect("a finding");
        findings.insert(resident).expect("room");
        let Verdict::Here(ruled) = rules.decide(&tenant, &collection, &findings, None) else {
            unreachable!("a Russian's record lies in Russia")
        };
        let dora = Participant {
            id: SubjectId::parse("dora").expect("an id"),
            region: RegionId::parse("eu-fra").expect("a region"),
            jurisdictions: vec![Jurisdiction::parse("EEA").expect("a jurisdiction")],
        };
        let together = |from: &str| {
            let gateway = Country::parse(from).expect("a country");
            rules.together(&tenant, &ruled, std::slice::from_ref(&dora), gateway)
        };
        assert!(matches!(together("DE"), Ok(Some(_))));
        let fault = together("RU").err().expect("it is barred");
        assert_eq!(
            (fault.reason, fault.field.as_deref()),
            (Reason::WrongIngress, Some("participants[0]"))
        );
        assert_eq!(fault.detail(Detail::Conflicting), Some("EEA"));
        // The reason's own words send to a gateway in the metadata, which names none.
        assert_eq!(fault.detail(Detail::Ingress), None);
        assert_ne!(fault.cure_text(), Reason::WrongIngress.cure());
    }
}
