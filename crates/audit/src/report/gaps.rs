//! What is missing or weak: found while a report is made, so that nobody has to ask.

use std::collections::BTreeSet;

use atlas::{Site, Verified};

use super::figure::{Figure, Section};
use super::fold::history::Event;
use super::fold::{Fold, Log};
use super::input::Verification;
use super::law::{Law, SiteFacts, hex};
use super::period::{MONTHS_MAX, Period, date_of};
use super::words::GapKind;
use crate::rules::OldHead;

/// One thing that is missing, weak or cut off.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// What kind.
    pub kind: GapKind,
    /// What it is about: the values of its sentence.
    pub about: Vec<String>,
}

/// All gaps, by kind and then by what they are about.
pub(crate) fn find(period: Period, fold: &Fold, law: &Law, figures: &[Figure]) -> Vec<Gap> {
    let mut gaps = Found::default();
    for (number, log) in fold.logs.iter().enumerate() {
        verification(log, &mut gaps);
        let events: Vec<&Event> =
            fold.history.events.items.iter().filter(|event| event.log == number).collect();
        begins(log, &events, fold, &mut gaps);
        let followed =
            |event: &Event| event.old_head.as_ref().is_some_and(|old| old.origin == log.origin);
        if !fold.history.events.items.iter().any(followed) {
            ends(log, &events, period, &mut gaps);
        }
    }
    for origin in &fold.doubles {
        gaps.add(GapKind::Double, [origin]);
    }
    maps(fold, law, &mut gaps);
    regions(period, fold, law, &mut gaps);
    statutes(law, &mut gaps);
    transfers(law, figures, &mut gaps);
    cuts(period, fold, law, &mut gaps);
    gaps.0.into_iter().collect()
}

/// What was found; each gap once.
#[derive(Default)]
struct Found(BTreeSet<Gap>);

impl Found {
    fn add<T: ToString>(&mut self, kind: GapKind, about: impl IntoIterator<Item = T>) {
        let about = about.into_iter().map(|value| value.to_string()).collect();
        self.0.insert(Gap { kind, about });
    }
}

fn verification(log: &Log, gaps: &mut Found) {
    match &log.verified {
        Verification::Whole { .. } => {}
        Verification::Partly { why, .. } => gaps.add(GapKind::LogPartly, [&log.origin, why]),
        Verification::Not { why } => gaps.add(GapKind::LogUnverified, [&log.origin, why]),
    }
    if log.read < log.size {
        let numbers = [log.read.to_string(), log.size.to_string()];
        gaps.add(GapKind::LogShort, [&log.origin].into_iter().chain(&numbers));
    }
    if let Some((count, first)) = &log.unreadable {
        gaps.add(GapKind::Unreadable, [&log.origin, &count.to_string(), first]);
    }
    if log.backwards > 0 {
        gaps.add(GapKind::Backwards, [&log.origin, &log.backwards.to_string()]);
    }
}

/// How a log begins: with its key, and after which other log.
fn begins(log: &Log, events: &[&Event], fold: &Fold, gaps: &mut Found) {
    let genesis = events.iter().find(|event| event.kind == ledger::Kind::Genesis);
    let Some(genesis) = genesis.filter(|genesis| genesis.index == 0) else {
        if log.read > 0 {
            gaps.add(GapKind::NoGenesis, [&log.origin]);
        }
        return;
    };
    if genesis.log_key.as_ref().is_some_and(|key| *key != log.vkey) {
        gaps.add(GapKind::OtherKey, [&log.origin]);
    }
    if !genesis.reason.is_empty() {
        gaps.add(GapKind::Loss, [&log.origin, &genesis.reason]);
    }
    let Some(OldHead { origin, size, .. }) = &genesis.old_head else { return };
    if genesis.reason.is_empty() {
        gaps.add(GapKind::Loss, [&log.origin, &format!("{origin}, {size}")]);
    }
    let before = fold.links.log_of(origin).and_then(|number| fold.logs.get(number));
    match before {
        None => gaps.add(GapKind::OldLogMissing, [&log.origin, origin]),
        Some(before) if before.size > *size => {
            let sizes = [size.to_string(), before.size.to_string()];
            gaps.add(GapKind::OldLogLonger, [&log.origin, origin].into_iter().chain(&sizes));
        }
        Some(_) => {}
    }
}

/// Whether a log may say nothing of the end of the period.
fn ends(log: &Log, events: &[&Event], period: Period, gaps: &mut Found) {
    let sealed = events.iter().any(|event| event.kind == ledger::Kind::Seal);
    let Some((_, last)) = log.span.filter(|_| !sealed) else { return };
    // A day without an entry is nothing to wonder at; the last day of the period is not over.
    let last_day = period.days().1;
    if date_of(last).after_days(1) < last_day {
        gaps.add(GapKind::EndsEarly, [&log.origin, &date_of(last).to_string()]);
    }
}

fn maps(fold: &Fold, law: &Law, gaps: &mut Found) {
    let given: BTreeSet<(u64, &str)> =
        law.maps.iter().map(|map| (map.epoch, map.digest.as_str())).collect();
    for (epoch, digest) in &fold.history.map_refs {
        let digest = hex(digest);
        if !given.contains(&(*epoch, digest.as_str())) {
            gaps.add(GapKind::MapMissing, [epoch.to_string(), digest]);
        }
    }
    for map in &law.maps {
        let about = [map.epoch.to_string(), map.digest.clone()];
        if let Some(why) = &map.unusable {
            gaps.add(GapKind::MapUnusable, about.iter().chain([why]));
        }
        if map.signers.is_empty() {
            gaps.add(GapKind::MapUnsigned, about);
        }
        if law.maps.iter().filter(|other| other.epoch == map.epoch).count() > 1 {
            gaps.add(GapKind::MapFork, [map.epoch]);
        }
    }
}

fn regions(period: Period, fold: &Fold, law: &Law, gaps: &mut Found) {
    let logged: BTreeSet<&str> = fold.logs.iter().map(|log| log.region.as_str()).collect();
    let (_, last) = period.days();
    for site in &law.sites {
        let SiteFacts { region, site, .. } = &site.fact;
        let Site { address, operator, contract, register, attestation, .. } = site;
        if !logged.contains(region.as_str()) {
            gaps.add(GapKind::RegionWithoutLog, [region]);
        }
        let missing: Vec<&str> = [
            ("address", address),
            ("operator", operator),
            ("contract", contract),
            ("register", register),
            ("attestation", attestation),
        ]
        .into_iter()
        .filter(|(_, said)| said.is_none())
        .map(|(name, _)| name)
        .collect();
        if !missing.is_empty() {
            gaps.add(GapKind::SiteBare, [region, &missing.join(" ")]);
        }
        if let Some(expires) = site.attestation_expires.filter(|expires| *expires < last) {
            gaps.add(GapKind::AttestationExpired, [region, &expires.to_string()]);
        }
    }
    for region in logged {
        if !law.maps.is_empty() && law.territory(region).is_none() {
            gaps.add(GapKind::RegionUnknown, [region]);
        }
    }
}

fn statutes(law: &Law, gaps: &mut Found) {
    for statute in &law.statutes {
        let fact = &statute.fact;
        let weak: Vec<String> = fact
            .marks
            .iter()
            .filter(|(mark, _)| *mark != Verified::Seen)
            .map(|(mark, count)| format!("{mark}={count}"))
            .collect();
        if !weak.is_empty() {
            gaps.add(GapKind::StatuteWeak, [&fact.id, &weak.join(" ")]);
        }
        if let Some(why) = &fact.draft {
            gaps.add(GapKind::StatuteDraft, [&fact.id, why]);
        }
    }
}

fn transfers(law: &Law, figures: &[Figure], gaps: &mut Found) {
    let known = |clause: &str| law.clauses.iter().any(|known| known.fact.id == clause);
    for figure in figures.iter().filter(|figure| figure.section == Section::Order) {
        match (figure.dimension, figure.key.as_slice()) {
            ("transfer", [_, _, clause]) if !clause.is_empty() && !known(clause) => {
                gaps.add(GapKind::ClauseMissing, [clause]);
            }
            ("order", [_, order]) if order == "copy-first" => {
                let count = figure.value.to_string();
                gaps.add(GapKind::CopyFirst, [&figure.region, &figure.shard, &count]);
            }
            _ => {}
        }
    }
}

fn cuts(period: Period, fold: &Fold, law: &Law, gaps: &mut Found) {
    if period.cut {
        gaps.add(GapKind::PeriodCut, [MONTHS_MAX]);
    }
    if fold.people.unstated > 0 {
        gaps.add(GapKind::Unstated, [fold.people.unstated]);
    }
    let small = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    for (what, count) in [
        ("logs", small(fold.logs_cut)),
        ("maps", small(law.maps_cut)),
        ("map references", u64::from(fold.history.map_refs_cut)),
        ("maps taken", fold.history.taken.cut()),
        ("events", fold.history.events.cut()),
        ("entries remembered", fold.links.cut),
        ("transfers", fold.copies.cut()),
        ("copies checked", fold.copies.unchecked),
        ("refusals, erasures, accesses", fold.acts.cut()),
        ("late erasures listed", fold.acts.late.cut()),
    ] {
        if count > 0 {
            gaps.add(GapKind::Cut, [what.to_owned(), count.to_string()]);
        }
    }
}
