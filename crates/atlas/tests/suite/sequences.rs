//! What holds through any sequence of maps, findings and failures: a record never lies outside of
//! the territory of a law that attaches and wants the first copy, and a law that wants the only
//! copy never gets one abroad.

use crate::random::{COUNTRIES, date, findings, map, rule};
use crate::support::PACKS;
use atlas::{
    Constraint, Country, Date, EvidenceKind, Finding, Findings, RegionMap, Ruling, Trigger,
};
use proptest::prelude::*;
use proptest::sample::select;

/// What may happen, one after the other.
#[derive(Debug, Clone)]
enum Step {
    /// Another map is applied.
    Map(Box<RegionMap>),
    /// Somebody applies what is no map.
    NoMap(String),
    /// More becomes known of the person.
    Learn(Vec<Finding>),
    /// More is sent than anybody keeps.
    TooMuch,
    /// Days pass, or a clock goes wrong.
    Day(Date),
    /// The region does not answer, and the question is asked once more.
    Down,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        map().prop_map(|map| Step::Map(Box::new(map))),
        "[a-z]{1,8} = [0-9]{1,4}\n".prop_map(Step::NoMap),
        findings().prop_map(Step::Learn),
        Just(Step::TooMuch),
        date().prop_map(Step::Day),
        Just(Step::Down),
    ]
}

/// As many findings as anybody keeps, and none of those that are known.
fn too_much(known: &Findings) -> Findings {
    let mut findings = Findings::new();
    let all = EvidenceKind::ALL.iter().flat_map(|kind| Country::all().map(move |c| (*kind, c)));
    let new = all.map(|(kind, country)| Finding::new(kind, country));
    for finding in new.filter(|finding| !known.contains(finding)) {
        if findings.insert(finding).is_err() {
            break;
        }
    }
    findings
}

/// What went wrong with a ruling, if anything.
fn broken(map: &RegionMap, ruling: &Ruling, known: &Findings, day: Date) -> Option<String> {
    let said = |text: &str| Some(format!("{text}: {ruling:?}"));
    let profiles = terms::Collection::parse("profiles").expect("a name");
    let tenant = map.tenants().next();
    for law in ruling.attachments() {
        let statute = map.statute(law.statute()).expect("a statute of the map");
        if !statute.constraints().contains(&law.constraint()) {
            return said("another reading than the map's");
        }
        let of_scope = statute.demands_at(day.into()).any(|(scope, constraint)| {
            constraint == law.constraint() && scope.concerns(tenant.map(atlas::Tenant::sectors))
        });
        if !statute.covers(&profiles) || !of_scope {
            return said("a law that must not attach");
        }
    }
    // Who is known to be a citizen, and to live nowhere else, is claimed by every law of citizens.
    let of = |kinds: &[EvidenceKind]| known.iter().filter(|f| kinds.contains(&f.kind())).collect();
    let citizen: Vec<&Finding> = of(&[EvidenceKind::Citizenship, EvidenceKind::Document]);
    let resident: Vec<&Finding> = of(&[EvidenceKind::Residence]);
    for statute in map.statutes() {
        let mut demands = statute.demands_at(day.into());
        let asked = demands.any(|(scope, _)| {
            scope.trigger() == Trigger::Citizen
                && scope.concerns(tenant.map(atlas::Tenant::sectors))
        });
        let applies = asked && statute.covers(&profiles);
        let claims = citizen.iter().filter_map(|finding| finding.country());
        let claimed = claims.into_iter().any(|country| statute.jurisdiction().contains(country));
        let attached = ruling.attachments().iter().any(|law| law.statute() == statute.id());
        if applies && claimed && resident.is_empty() && !attached {
            return said("a law that must attach does not");
        }
    }
    let placement = ruling.placement()?;
    let country = |region| map.region(region).expect("a region of the map").territory();
    let primary = country(placement.region());
    for law in ruling.attachments() {
        let home = |place: Country| law.jurisdiction().contains(place);
        let mut copies = placement.mirrors().iter().map(country);
        match law.constraint() {
            Constraint::Exclusive if !home(primary) || !copies.all(home) => {
                return said("a copy outside of an exclusive law");
            }
            Constraint::PrimaryFirst if !home(primary) => return said("a first copy abroad"),
            Constraint::Exclusive | Constraint::PrimaryFirst => {}
            Constraint::Mirror | Constraint::ConditionalTransfer | Constraint::None => {}
        }
        let mut places = placement.mirrors().iter().map(country).chain([primary]);
        if places.any(|place| law.denies(place) && !home(place)) {
            return said("a copy where the law denies it");
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn nothing_lies_outside_of_a_law_that_wants_the_first_copy(
        first in map(), steps in prop::collection::vec(step(), 1..12), code in select(COUNTRIES)
    ) {
        let (mut map, mut day) = (first, Date::parse("2026-11-23").expect("a day"));
        let mut known = Findings::new();
        known.insert(Finding::parse(EvidenceKind::Citizenship, code).expect("a finding")).expect("room");
        let mut before = None;
        for step in steps {
            let failed = matches!(step, Step::NoMap(_) | Step::TooMuch | Step::Down);
            match step {
                Step::Map(other) => map = *other,
                Step::NoMap(text) => prop_assert!(RegionMap::parse_carrying(&text, &PACKS).is_err()),
                Step::Learn(items) => {
                    let mut more = Findings::new();
                    for item in items {
                        more.insert(item).expect("room");
                    }
                    known.merge(&more).expect("room");
                }
                Step::TooMuch => prop_assert!(known.merge(&too_much(&known)).is_err()),
                Step::Day(other) => day = other,
                Step::Down => {}
            }
            let items: Vec<Finding> = known.iter().copied().collect();
            let ruling = rule(&map, &items, day);
            prop_assert_eq!(broken(&map, &ruling, &known, day), None);
            // A failure changes nothing: there is no second choice of a region.
            if failed {
                prop_assert!(before.is_none_or(|before| before == ruling));
            }
            before = Some(ruling);
        }
    }
}
