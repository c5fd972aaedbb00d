//! A map that opens nothing, by the word of `widening`, opens nothing: for every person.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::small::ask::{collections, days, people, tenants};
use crate::small::{COUNTRIES, Small, steps};
use atlas::{
    Country, Findings, Move, Question, RegionMap, Ruling, decide, egress, ingress, plan, widening,
};
use proptest::prelude::*;

/// What the new map allows and the old one does not, for one question.
fn opened(old: &RegionMap, new: &RegionMap, question: &Question<'_>) -> Option<&'static str> {
    let after = decide(new, question).ok()?;
    let placed = after.placement()?;
    let before = decide(old, question).ok();
    let Some(stood) = before.as_ref().and_then(Ruling::placement) else {
        return Some("placed, and was not");
    };
    if placed.region() != stood.region() || placed.territory() != stood.territory() {
        return Some("placed elsewhere");
    }
    if !placed.mirrors().iter().all(|copy| stood.mirrors().contains(copy)) {
        return Some("one more copy");
    }
    let before = before.as_ref()?;
    let readers = COUNTRIES.iter().map(|code| Country::parse(code)).chain([None]);
    for reader in readers {
        let reads = |map, ruling: &Ruling| {
            egress(map, ruling.attachments(), question.collection, question.date, &[reader]).is_ok()
        };
        if reads(new, &after) && !reads(old, before) {
            return Some("one more reader");
        }
        let enters = |ruling: &Ruling| ingress(ruling.attachments(), reader).is_ok();
        if enters(&after) && !enters(before) {
            return Some("one more gateway");
        }
    }
    None
}

/// What the new map allows and the old one does not, for anybody.
fn opens(old: &RegionMap, new: &RegionMap, people: &[Findings]) -> Option<String> {
    for rules in new.collections() {
        let Some(before) = old.collection(rules.name()) else { return Some("a collection".into()) };
        if before.reads() == atlas::Reads::Logged && rules.reads() != atlas::Reads::Logged {
            return Some("reads are not logged".into());
        }
        if rules.body_bytes_max() > before.body_bytes_max() {
            return Some("larger bodies".into());
        }
    }
    for region in new.regions() {
        let Some(before) = old.region(region.name()) else { return Some("a region".into()) };
        let known = |own| before.authorities().contains(own);
        // From where an operator is controlled is judged by where data lie.
        let mut site = region.site().clone();
        site.controlled_from.clone_from(&before.site().controlled_from);
        if !region.authorities().iter().all(known) || site != *before.site() {
            return Some("other processes or another site".into());
        }
    }
    for tenant in &tenants() {
        for collection in &collections() {
            for date in days() {
                for findings in people {
                    let question = Question { tenant, collection, findings, date: date.into() };
                    if let Some(what) = opened(old, new, &question) {
                        let who: Vec<_> = findings.iter().map(|f| (f.kind(), f.code())).collect();
                        return Some(format!("{what}: {tenant}, {collection}, {date}, {who:?}"));
                    }
                }
            }
        }
    }
    None
}

static SHUT: AtomicU32 = AtomicU32::new(0);
static OTHER: AtomicU32 = AtomicU32::new(0);

#[test]
fn what_does_not_widen_opens_nothing() {
    let countries: Vec<Country> = COUNTRIES.iter().filter_map(|c| Country::parse(c)).collect();
    let people = people(&countries);
    let strategy = (steps(0..12), steps(1..4));
    proptest!(ProptestConfig::with_cases(4096), |((base, change) in strategy)| {
        let small = Small::after(&base);
        let mut next = small.clone();
        change.iter().for_each(|step| next.step(*step));
        let (Some(old), Some(new)) = (small.map(), next.map()) else { return Ok(()) };
        if !widening(Some(&old), &new).is_empty() {
            return Ok(());
        }
        SHUT.fetch_add(1, Ordering::Relaxed);
        OTHER.fetch_add(u32::from(small.text() != next.text()), Ordering::Relaxed);
        if small.text() != next.text() {
            prop_assert_eq!(opens(&old, &new, &people), None);
        }
    });
    let (shut, other) = (SHUT.load(Ordering::Relaxed), OTHER.load(Ordering::Relaxed));
    println!("{shut} open nothing, {other} of them differ");
    assert!(other > 200, "only {other} of {shut} pairs that open nothing differ");
}

#[test]
fn a_tenant_taken_away_meets_the_laws_of_every_sector() {
    // No law of establishments is left, nor of the group; one of a sector is.
    let small = Small::after(&[[7, 0, 0, 0], [7, 6, 0, 0], [7, 7, 0, 0]]);
    let mut next = small.clone();
    next.step([1, 1, 0, 0]);
    let (old, new) = (small.map().expect("a map"), next.map().expect("a map"));
    assert_eq!(widening(Some(&old), &new).len(), 1);
    let countries: Vec<Country> = COUNTRIES.iter().filter_map(|c| Country::parse(c)).collect();
    assert!(opens(&old, &new, &people(&countries)).is_some());
}

#[test]
fn a_plan_of_what_does_not_widen_moves_nobody() {
    let strategy = (steps(0..12), steps(1..3), 0..3_usize);
    proptest!(ProptestConfig::with_cases(512), |((base, change, day) in strategy)| {
        let small = Small::after(&base);
        let mut next = small.clone();
        change.iter().for_each(|step| next.step(*step));
        let (Some(old), Some(new)) = (small.map(), next.map()) else { return Ok(()) };
        if small.text() == next.text() || !widening(Some(&old), &new).is_empty() {
            return Ok(());
        }
        // With three findings, and over all countries.
        let plan = plan(&old, &new, *days().get(day).expect("a day"));
        prop_assert!(!plan.widens());
        for effect in &plan.effects {
            let shut = match effect.moved {
                Move::Refused { .. } | Move::StillRefused { .. } | Move::Stays => true,
                Move::Elsewhere { .. } | Move::NewlyAllowed { .. } => false,
                Move::Copies { .. } => effect.differences.copies_gained.is_empty(),
                // A stricter reading, or another clause than the one that is gone.
                Move::Grounds { .. } => true,
            };
            prop_assert!(shut, "{effect:#?}");
        }
    });
}
