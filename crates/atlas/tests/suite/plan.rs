//! The classes of a plan find every change that asking about every country finds.

use std::collections::BTreeSet;

use crate::small::ask::{collections, days, people, tenants};
use crate::small::{COUNTRIES, Small, steps};
use atlas::{
    Country, Date, Differences, EvidenceKind, Finding, Findings, Move, Plan, Question, RegionMap,
    plan,
};
use proptest::prelude::*;
use proptest::sample::select;

/// What becomes of whose records, and by what.
type Moves = BTreeSet<(String, Differences, String, String)>;

/// What becomes of these people, one by one.
fn one_by_one(old: &RegionMap, new: &RegionMap, people: &[Findings], date: Date) -> Moves {
    let mut moves = Moves::new();
    // Of what neither map declares, a plan says nothing.
    let (mut tenants, mut collections) = (tenants(), collections());
    tenants.retain(|name| [old, new].iter().any(|map| map.tenant(name).is_some()));
    collections.retain(|name| [old, new].iter().any(|map| map.collection(name).is_some()));
    for tenant in &tenants {
        for collection in &collections {
            for findings in people {
                let question = Question { tenant, collection, findings, date: date.into() };
                let moved = Move::of(old, new, &question);
                if moved != Move::Stays {
                    let by = Differences::of(old, new, &question);
                    moves.insert((moved.key(), by, tenant.to_string(), collection.to_string()));
                }
            }
        }
    }
    moves
}

/// What becomes of people by the plan, of those with at most that number of findings.
fn by_class(plan: &Plan, findings: usize) -> Moves {
    assert_eq!(plan.cut, None);
    let effects = plan.effects.iter().filter(|effect| effect.findings <= findings);
    let each = effects.flat_map(|effect| {
        let pairs = effect.tenants.iter().flat_map(|tenant| {
            effect.collections.iter().map(move |collection| (tenant, collection))
        });
        let (key, by) = (effect.moved.key(), &effect.differences);
        pairs.map(move |(t, c)| (key.clone(), by.clone(), t.to_string(), c.to_string()))
    });
    each.collect()
}

fn pair(
    base: &[crate::small::Step],
    change: &[crate::small::Step],
) -> Option<(RegionMap, RegionMap)> {
    let small = Small::after(base);
    let mut next = small.clone();
    change.iter().for_each(|step| next.step(*step));
    Some((small.map()?, next.map()?))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn classes_find_what_becomes_of_anybody_of_some_countries(
        base in steps(0..12), change in steps(1..8), day in 0..3_usize
    ) {
        let Some((old, new)) = pair(&base, &change) else { return Ok(()) };
        let more = ["AD", "AT", "BY", "CZ", "GB", "IT", "NO", "RS", "SE", "UZ", "VA", "ZW"];
        let countries: Vec<Country> =
            COUNTRIES.iter().chain(&more).filter_map(|code| Country::parse(code)).collect();
        let date = *days().get(day).expect("a day");
        let found = one_by_one(&old, &new, &people(&countries), date);
        let planned = by_class(&plan(&old, &new, date), 2);
        prop_assert!(found.is_subset(&planned), "{:#?}", found.difference(&planned).next());
    }
}

/// Anybody of any country, with up to three findings of any kind, and at most two in one aspect: a
/// plan asks about no more (three citizenships of three classes of countries, for example).
fn anybody() -> impl Strategy<Value = Findings> {
    let countries: Vec<Country> = Country::all().collect();
    // Those with laws come up more often.
    let some = COUNTRIES.iter().filter_map(|code| Country::parse(code)).collect::<Vec<_>>();
    let country = prop_oneof![select(countries), select(some)];
    let one =
        (select(EvidenceKind::ALL), country, 0..12_u8).prop_map(|(kind, country, stateless)| {
            let stateless = (stateless == 0).then(|| Finding::stateless(kind)).flatten();
            stateless.unwrap_or_else(|| Finding::new(kind, country))
        });
    let all = prop::collection::vec(one, 0..=3);
    let few = |all: &Vec<Finding>| {
        let first = all.first().map(Finding::aspect);
        all.len() < 3 || all.iter().any(|one| Some(one.aspect()) != first)
    };
    all.prop_filter("three in one aspect", few).prop_map(|all| {
        let mut findings = Findings::new();
        for one in all {
            findings.insert(one).expect("room");
        }
        findings
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn classes_find_what_becomes_of_people_with_three_findings_of_any_kind(
        base in steps(0..12), change in steps(1..8), day in 0..3_usize,
        people in prop::collection::vec(anybody(), 1000)
    ) {
        let Some((old, new)) = pair(&base, &change) else { return Ok(()) };
        let date = *days().get(day).expect("a day");
        let found = one_by_one(&old, &new, &people, date);
        let planned = by_class(&plan(&old, &new, date), 3);
        prop_assert!(found.is_subset(&planned), "{:#?}", found.difference(&planned).next());
    }
}

#[test]
fn classes_find_what_becomes_of_anybody_of_any_country() {
    let everybody = people(&Country::all().collect::<Vec<_>>());
    assert_eq!(everybody.len(), 1 + 1001 * 1002 / 2);
    let date = *days().get(1).expect("a day");
    let mut changed = 0;
    // Homes and laws turned around, one way and the other.
    for change in [
        vec![[4, 2, 2, 0], [4, 4, 1, 0], [7, 8, 2, 1], [4, 9, 0, 8]],
        vec![[4, 1, 0, 4], [4, 7, 2, 8], [7, 1, 0, 0], [11, 3, 0, 0], [11, 1, 7, 0], [1, 2, 1, 8]],
    ] {
        let (old, new) = pair(&[], &change).unwrap_or_else(|| panic!("{change:?} is no map"));
        let found = one_by_one(&old, &new, &everybody, date);
        let planned = by_class(&plan(&old, &new, date), 2);
        assert_eq!(found, planned);
        changed += found.len();
    }
    assert!(changed > 30, "only {changed} kinds of change");
}

/// What the golden plan changes in the sample map.
const CHANGES: &[(&str, &str)] = &[
    ("version = 1", "version = 2\npredecessor = \"@1\""),
    ("citizens_abroad = \"attach\"", "citizens_abroad = \"ignore\""),
    ("id = \"gb-ru\"", "id = \"gb-ru-2\""),
    ("reads = \"logged\"", "reads = \"counted\""),
    ("for = \"GB\"\nregion = \"eu-fra\"", "for = \"GB\"\nregion = \"us-iad\""),
    (
        "[[collections]]\nname = \"messages\"",
        "[[collections]]\nname = \"letters\"\ncategory = \"letters\"\nreads = \"logged\"\n\n\
         [[collections]]\nname = \"messages\"",
    ),
];

#[test]
fn a_plan_is_told_as_written() {
    let first =
        crate::support::read(&crate::support::golden().join("../../../../tests/evidence/map.toml"));
    let old = RegionMap::parse(&first).expect("the sample map is sound");
    let digest = hex::encode(old.epoch().digest);
    let second = CHANGES.iter().fold(first, |text, (was, is)| {
        assert!(text.contains(was), "{was}");
        text.replace(was, is)
    });
    let second = second.replace("@1", &format!("sha256:{digest}"));
    let new = RegionMap::parse(&second).expect("a sound map");
    let plan = plan(&old, &new, Date::parse("2026-11-25").expect("a day"));
    let table = plan.table();
    crate::support::expect::expect(&crate::support::golden().join("plan.txt"), &table);
    // What machines read says the same.
    let json: serde_json::Value = serde_json::from_str(&plan.json()).expect("JSON");
    assert_eq!(json["effects"].as_array().map(Vec::len), Some(plan.effects.len()));
    assert_eq!(json["changes"].as_array().map(Vec::len), Some(plan.changes.len()));
    assert_eq!(json["effects"][0]["key"], plan.effects[0].moved.key());
    assert_eq!((&json["widens"], &json["acts"]), (&true.into(), &true.into()));
    assert_eq!((&json["cut"], &json["as_of"]), (&serde_json::Value::Null, &"2026-11-25".into()));
}
