//! Plans of small maps.

use super::*;

const MAP: &str = include_str!("../../../../tests/evidence/map.toml");

fn map(text: &str) -> RegionMap {
    RegionMap::parse(text).unwrap_or_else(|wrong| panic!("{wrong:#?}"))
}

fn day() -> Date {
    Date::parse("2026-11-25").unwrap()
}

#[test]
fn a_plan_says_what_it_leaves_out() {
    let old = map(MAP);
    let new = map(&MAP.replace("lead = false", "lead = true").replace("\"attach\"", "\"ignore\""));
    let whole = plan(&old, &new, day());
    assert_eq!(whole.cut, None);
    assert!(whole.acts() && whole.widens());
    assert!(!whole.table().contains("CUT"));
    let asked = |number| {
        let bounds = Bounds { questions: whole.questions - number, effects: 1000 };
        within(bounds, &old, &new, day())
    };
    assert_eq!(asked(0).cut, None);
    let less = asked(1);
    let cut = less.cut.unwrap();
    assert_eq!((cut.findings, cut.questions, cut.unlisted), (2, whole.questions, 0));
    assert!(less.questions < whole.questions && less.table().contains("CUT"));
    let bounds = Bounds { questions: usize::MAX, effects: 1 };
    let short = within(bounds, &old, &new, day());
    let all: usize = whole.effects.iter().map(|effect| effect.classes).sum();
    assert_eq!(short.effects.as_slice(), &whole.effects[..1]);
    assert_eq!(short.cut.unwrap().unlisted, all - short.effects[0].classes);
}

#[test]
fn the_same_map_changes_nothing() {
    let same = plan(&map(MAP), &map(MAP), day());
    assert!(same.changes.is_empty() && same.effects.is_empty() && same.cut.is_none());
    assert!(!same.acts() && !same.widens());
    assert!(same.questions > 1000);
}

#[test]
fn what_is_counted_has_a_key_that_stays() {
    let region = |name| terms::RegionId::parse(name).unwrap();
    let reason = terms::Reason::NoRegion;
    let (a, b) = (region("a"), region("b"));
    for (moved, key) in [
        (Move::Stays, "stays"),
        (Move::Elsewhere { from: a.clone(), to: b.clone() }, "elsewhere/a/b"),
        (Move::Refused { from: a.clone(), reason }, "refused/a/NO_REGION"),
        (Move::NewlyAllowed { reason, to: b }, "newly-allowed/NO_REGION/b"),
        (Move::Copies { region: a.clone() }, "copies/a"),
        (Move::Grounds { region: a }, "grounds/a"),
        (
            Move::StillRefused { before: reason, after: terms::Reason::Unsatisfiable },
            "still-refused/NO_REGION/UNSATISFIABLE",
        ),
    ] {
        assert_eq!(moved.key(), key);
    }
}

#[test]
fn what_is_stored_is_judged_by_where_it_lies() {
    use crate::{EvidenceKind, Finding, Findings};
    let map = map(MAP);
    let region = |name: &str| terms::RegionId::parse(name).unwrap();
    let mut findings = Findings::new();
    for (kind, code) in [(EvidenceKind::Citizenship, "RU"), (EvidenceKind::Residence, "KZ")] {
        findings.insert(Finding::parse(kind, code).unwrap()).unwrap();
    }
    let asked = |tenant: &str, collection: &str, (place, copies): (&str, &[&str])| {
        let tenant = TenantId::parse(tenant).unwrap();
        let collection = Collection::parse(collection).unwrap();
        let (tenant, collection) = (&tenant, &collection);
        let question = Question { tenant, collection, findings: &findings, date: day().into() };
        let copies: Vec<_> = copies.iter().map(|copy| region(copy)).collect();
        Move::of_stored(&region(place), &copies, &map, &question, None).key()
    };
    let home = ("ru-msk", &["kz-ala"][..]);
    assert_eq!(asked("sample", "profiles", home), "stays");
    assert_eq!(asked("sample", "profiles", ("ru-msk", &[])), "copies/ru-msk");
    assert_eq!(asked("sample", "profiles", ("kz-ala", &[])), "elsewhere/kz-ala/ru-msk");
    assert_eq!(asked("sample", "messages", home), "refused/ru-msk/TRANSFER_NOT_COVERED");
    assert_eq!(asked("sample", "letters", home), "refused/ru-msk/COLLECTION_UNKNOWN");
    assert_eq!(asked("other", "profiles", home), "refused/ru-msk/NOT_PERMITTED");
}
