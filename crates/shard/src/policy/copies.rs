//! Whether a record may have a copy in another region: ruled and placed again, at the home and where the copy
//! is to lie, each by its own map.

use std::sync::Arc;

use atlas::{Constraint, Findings, HomeFor, Moment, Region, RegionMap, Statute};
use ledger::entry::Copied;
use terms::{Collection, Detail, Reason, RegionId, Rejection, TenantId};

use crate::policy::rulings::{Ruled, Rules, Verdict};
use crate::policy::second_check::{Here, admits_copy};
use crate::store::participants::Participant;
use crate::store::subject::Subject;

/// A copy that is asked about.
pub(crate) struct CopyQuestion<'a> {
    /// Where the record is.
    pub(crate) home: &'a RegionId,
    /// Where the copy is to lie.
    pub(crate) there: Here<'a>,
    pub(crate) tenant: &'a TenantId,
    pub(crate) collection: &'a Collection,
    pub(crate) findings: &'a Findings,
    /// The people that the record names besides its owner.
    pub(crate) participants: &'a [Participant],
    /// The region that was chosen for the person, where the home asks. A mirror need not know it: a choice
    /// counts only where no law wants a copy, and then the rules give none without it either.
    pub(crate) chosen: Option<&'a RegionId>,
}

/// The regions where the ruling that stands wants copies of a subject's records of a collection.
pub(crate) fn standing_mirrors(subject: &Subject, collection: &Collection) -> Vec<RegionId> {
    subject.standing(collection).map(|standing| standing.mirrors.clone()).unwrap_or_default()
}

/// The ruling under which the copy may lie there.
///
/// # Errors
/// `PLACEMENT_NOT_ADMITTED` if the rules place the record, but no copy there, or place it elsewhere; the
/// reason of the rules if they refuse it.
pub(crate) fn copy_ruling(
    map: &Arc<RegionMap>,
    at: Moment,
    of: &CopyQuestion<'_>,
) -> Result<Arc<Ruled>, Rejection> {
    let not_admitted = || Rejection::new(Reason::PlacementNotAdmitted).field("region");
    let territory = map.region(of.home).map(Region::territory).ok_or_else(not_admitted)?;
    let mut rules = Rules::new(Arc::clone(map), of.home.clone(), territory);
    rules.set_date(at);
    let own = match rules.decide_stored(of.tenant, of.collection, of.findings, of.chosen) {
        Verdict::Here(ruled) => ruled,
        Verdict::Elsewhere(region) => return Err(not_admitted().with(Detail::Region, region)),
        Verdict::Refused(fault) => return Err(fault),
    };
    if !own.mirrors.contains(of.there.region) {
        return Err(not_admitted());
    }
    let (placement, laws) = (&own.placement, &own.attachments);
    if !admits_copy(placement, laws, map, of.home, &of.there, at.date()) {
        let problem = "the second check does not admit a copy that the rules gave";
        return Err(not_admitted().problem(problem));
    }
    let together = rules.together(of.tenant, &own, of.participants, territory)?;
    Ok(together.unwrap_or(own))
}

/// Refuses an attachment of which a law wants a copy: none would be made.
///
/// # Errors
/// `NOT_BUILT`, with the region.
pub(crate) fn admit_attachment(ruled: &Ruled) -> Result<(), Rejection> {
    let Some(mirror) = ruled.mirrors.first() else { return Ok(()) };
    let fault = Rejection::new(Reason::NotBuilt).field("collection").with(Detail::Region, mirror);
    let problem =
        "a law wants a copy of the record in another region, and none is made of an attachment";
    Err(fault.problem(problem).cure("store it as the bodies of records, of which copies are made"))
}

/// The regions in which some law of the map, whatever the day, may want copies of records in another one.
pub(crate) fn mirrors_by(map: &RegionMap, home: &RegionId) -> Vec<RegionId> {
    let wants = |law: &&Statute| law.demands().any(|(_, of)| of == Constraint::Mirror);
    let laws = map.statutes().iter().filter(wants);
    let homes = laws.filter_map(|law| map.home(HomeFor::Territory(law.jurisdiction())));
    let mut mirrors: Vec<RegionId> = homes.map(|home| home.region().clone()).collect();
    mirrors.retain(|region| region != home);
    mirrors.sort_unstable();
    mirrors.dedup();
    mirrors
}

/// What the map states as reference of each clause of a ruling, in their order.
pub(crate) fn references<'a>(map: &'a RegionMap, ruled: &Ruled) -> Vec<&'a str> {
    let stated = |id: &String| {
        let clause = map.clauses().iter().find(|clause| clause.id().as_str() == id);
        clause.map_or("", atlas::Clause::reference)
    };
    ruled.clauses.iter().map(stated).collect()
}

/// What an entry about a copy says of its ruling.
pub(crate) fn copied<'a>(
    call: ledger::entry::Call<'a>,
    ruled: &'a Ruled,
    references: &'a [&'a str],
    region: &'a RegionId,
    commitment: [u8; 32],
) -> Copied<'a> {
    let ruled = ledger::entry::Ruled {
        jurisdictions: &ruled.jurisdictions,
        statutes: &ruled.statutes,
        clauses: &ruled.clauses,
        evidence_kinds: ruled.evidence_kinds,
        map: ruled.map,
    };
    Copied { call, ruled, references, region: region.as_str(), commitment }
}

#[cfg(test)]
mod tests {
    use atlas::{Country, Date, EvidenceKind, Finding};

    use super::*;
    use crate::testing;

    /// Asks for a copy of a record of a Russian citizen: from where, to where, and what the person's
    /// residence, the collection and the day are.
    fn asked(
        [home, there, territory]: [&str; 3],
        residence: &str,
        collection: &str,
        day: &str,
    ) -> Result<Arc<Ruled>, Reason> {
        let map = Arc::new(RegionMap::parse(testing::MAP).expect("a map"));
        let region = |name| RegionId::parse(name).expect("a region");
        let (home, there) = (region(home), region(there));
        let mut findings = Findings::new();
        for (kind, code) in
            [(EvidenceKind::Citizenship, "RU"), (EvidenceKind::Residence, residence)]
        {
            let finding = Finding::parse(kind, code).expect("a finding");
            findings.insert(finding).expect("room");
        }
        let territory = Country::parse(territory).expect("a country");
        let question = CopyQuestion {
            home: &home,
            there: Here { region: &there, territory },
            tenant: &TenantId::parse("sample").expect("a tenant"),
            collection: &Collection::parse(collection).expect("a name"),
            findings: &findings,
            participants: &[],
            chosen: None,
        };
        let ruled = copy_ruling(&map, Date::parse(day).expect("a day").into(), &question);
        if let Ok(ruled) = &ruled {
            assert_eq!(references(&map, ruled).len(), ruled.clauses.len());
        }
        ruled.map_err(|fault| fault.reason)
    }

    #[test]
    fn a_copy_lies_where_a_law_wants_it_and_a_clause_lets_it_go() {
        const TODAY: &str = "2026-11-30";
        let right = ["ru-msk", "kz-ala", "KZ"];
        let ruled =
            asked(right, "KZ", "profiles", TODAY).unwrap_or_else(|_| panic!("it may lie there"));
        assert_eq!(ruled.clauses, ["ru-kz"]);
        let refused = Some(Reason::PlacementNotAdmitted);
        for (of, residence) in [
            // Not from there, not to there, not where the store says that it is, and not of this person.
            (["eu-fra", "kz-ala", "KZ"], "KZ"),
            (["kz-ala", "ru-msk", "RU"], "KZ"),
            (["ru-msk", "in-bom", "IN"], "KZ"),
            (["ru-msk", "ru-msk", "RU"], "KZ"),
            (["ru-msk", "kz-ala", "RU"], "KZ"),
            (["ru-msk", "kz-ala", "KZ"], "RU"),
        ] {
            let said = asked(of, residence, "profiles", TODAY).err();
            assert_eq!(said, refused, "{of:?} {residence}");
        }
        // No clause covers the collection, or the day.
        for (collection, day) in [("messages", TODAY), ("profiles", "2100-01-02")] {
            assert!(asked(right, "KZ", collection, day).is_err(), "{collection} {day}");
        }
    }
}
