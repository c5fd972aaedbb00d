//! Gaps: what is missing or weak. Each has a code, under which the texts of a language hold its
//! sentence, and the values that the sentence names.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::fold::{Fold, Log};
use crate::law::Law;
use crate::member;
use crate::period::{Period, date_of, origin_period};

/// Findings of one log that the report lists.
const FINDINGS_MAX: usize = 100;

/// All gaps, by code and then by what they are about.
pub(crate) fn find(period: Period, fold: &Fold, law: &Law) -> Value {
    let mut gaps = Found::default();
    for log in &fold.logs {
        verification(log, &mut gaps);
        begins(log, fold, &mut gaps);
        let followed = |other: &Log| {
            let head = other.genesis.as_ref().and_then(Option::as_ref);
            head.is_some_and(|old| old.origin == log.facts.origin)
        };
        if !fold.logs.iter().any(followed) {
            ends(log, period, &mut gaps);
        }
    }
    for origin in &fold.doubles {
        gaps.add("double", &[origin]);
    }
    maps(fold, law, &mut gaps);
    regions(period, fold, law, &mut gaps);
    statutes(law, &mut gaps);
    for (what, count) in fold.cuts().into_iter().filter(|(_, count)| *count > 0) {
        gaps.add("cut", &[what, &count.to_string()]);
    }
    for (region, ..) in fold.records().filter(|(.., row)| row.is_below_nothing()) {
        gaps.add("below_nothing", &[region]);
    }
    if fold.unstated > 0 {
        gaps.add("unstated", &[&terms::Rounded::of(fold.unstated).to_string()]);
    }
    gaps.0.into_iter().map(|(code, about)| json!({"code": code, "about": about})).collect()
}

/// What was found; each gap once.
#[derive(Default)]
struct Found(BTreeSet<(&'static str, Vec<String>)>);

impl Found {
    fn add(&mut self, code: &'static str, about: &[&str]) {
        self.0.insert((code, about.iter().map(|value| (*value).to_owned()).collect()));
    }
}

fn verification(log: &Log, gaps: &mut Found) {
    let origin = &log.facts.origin;
    for finding in log.facts.findings.iter().take(FINDINGS_MAX) {
        gaps.add("finding", &[origin, finding]);
    }
    if log.read < log.facts.size {
        gaps.add("short", &[origin, &log.read.to_string(), &log.facts.size.to_string()]);
    }
    if let Some((count, first)) = &log.unreadable {
        gaps.add("unreadable", &[origin, &count.to_string(), first]);
    }
}

/// After which other log a log begins.
fn begins(log: &Log, fold: &Fold, gaps: &mut Found) {
    let (origin, first) = (&log.facts.origin, origin_period(&log.facts.origin) == Some(1));
    let old = match &log.genesis {
        None if log.read > 0 => return gaps.add("no_genesis", &[origin]),
        None => return,
        Some(None) if first => return,
        Some(None) => return gaps.add("loss", &[origin, "?"]),
        Some(Some(old)) => old,
    };
    let before = fold.links.log_of(&old.origin).and_then(|number| fold.logs.get(number));
    match before {
        None => gaps.add("old_log_missing", &[origin, &old.origin]),
        Some(before) if before.facts.size > old.size => {
            let sizes = [old.size.to_string(), before.facts.size.to_string()];
            gaps.add("old_log_longer", &[origin, &old.origin, &sizes[0], &sizes[1]]);
        }
        Some(before) if !before.sealed => gaps.add("loss", &[origin, &old.origin]),
        Some(_) => {}
    }
}

/// Whether a log may say nothing of the end of the period.
fn ends(log: &Log, period: Period, gaps: &mut Found) {
    let Some((_, last)) = log.span.filter(|_| !log.sealed) else { return };
    // A day without an entry is nothing to wonder at; the last day of the period is not over.
    if date_of(last).after_days(1) < period.days().1 {
        gaps.add("ends_early", &[&log.facts.origin, &date_of(last).to_string()]);
    }
}

fn maps(fold: &Fold, law: &Law, gaps: &mut Found) {
    for (epoch, digest) in fold.maps_missing(law) {
        gaps.add("map_missing", &[&epoch.to_string(), &digest]);
    }
    for map in law.maps.iter().filter(|map| !member(map, "since").is_null()) {
        let (epoch, digest) =
            (member(map, "epoch").to_string(), member(map, "digest").as_str().unwrap_or(""));
        if let Some(why) = member(map, "unusable").as_str() {
            gaps.add("map_unusable", &[&epoch, digest, why]);
        }
        if member(map, "signers").as_array().is_none_or(Vec::is_empty) {
            gaps.add("map_unsigned", &[&epoch, digest]);
        }
        if law.maps.iter().filter(|other| member(other, "epoch") == member(map, "epoch")).count()
            > 1
        {
            gaps.add("map_fork", &[&epoch]);
        }
    }
}

fn regions(period: Period, fold: &Fold, law: &Law, gaps: &mut Found) {
    let logged: BTreeSet<&str> = fold.logs.iter().map(|log| log.facts.region.as_str()).collect();
    let (_, last) = period.days();
    for site in law.sites.iter() {
        let fact = &site.fact;
        let region = member(fact, "region").as_str().unwrap_or("");
        if !logged.contains(region) {
            gaps.add("region_without_log", &[region]);
        }
        for name in ["address", "operator", "contract", "register", "attestation"] {
            if member(fact, name).is_null() {
                gaps.add("site_bare", &[region, name]);
            }
        }
        let expires = member(fact, "attestation_expires").as_str();
        if let Some(expires) = expires.filter(|expires| **expires < *last.to_string()) {
            gaps.add("attestation_expired", &[region, expires]);
        }
    }
    for region in logged.iter().filter(|region| law.territory(region).is_none()) {
        gaps.add("region_unknown", &[region]);
    }
}

fn statutes(law: &Law, gaps: &mut Found) {
    for statute in law.statutes.iter() {
        let id = member(&statute.fact, "id").as_str().unwrap_or("");
        let marks = member(&statute.fact, "marks").as_object();
        for (mark, count) in marks.into_iter().flatten().filter(|(mark, _)| *mark != "seen") {
            gaps.add("statute_weak", &[id, mark, &count.to_string()]);
        }
        if !member(&statute.fact, "draft").is_null() {
            gaps.add("statute_draft", &[id]);
        }
    }
}
