//! The report for programs. Members stand by name, whatever order a map of JSON keeps.

use atlas::Date;
use ledger::entry::Minute;
use serde_json::{Map, Value as Json};

use super::figure::SMALL;
use super::fold::Log;
use super::law::{ClauseFacts, CollectionFacts, MapFacts, SiteFacts, Stated, StatuteFacts, hex};
use super::{Event, Figure, Late, Report, Taken, Verification};
use crate::rules::OldHead;

/// The version of this form. A member may be added to it; one that changes its meaning is a new
/// version.
const FORMAT: u32 = 1;

/// The whole report.
pub(crate) fn value(report: &Report) -> Json {
    let (from, last) = report.period.days();
    object([
        ("format", FORMAT.into()),
        ("deployment", report.deployment.clone().into()),
        ("generated", minute(report.generated)),
        ("first_day", day(from)),
        ("last_day", day(last)),
        ("small", SMALL.into()),
        ("logs", all(&report.logs, log)),
        ("maps", all(&report.law.maps, map)),
        ("sites", all(&report.law.sites, |it| stated(it, site))),
        ("statutes", all(&report.law.statutes, |it| stated(it, statute))),
        ("collections", all(&report.law.collections, |it| stated(it, collection))),
        ("clauses", all(&report.law.clauses, |it| stated(it, clause))),
        ("figures", all(&report.figures, figure)),
        ("late_erasures", all(&report.late, late)),
        ("maps_taken", all(&report.taken, taken)),
        ("events", all(&report.events, event)),
        (
            "gaps",
            all(&report.gaps, |gap| {
                let kind = format!("{:?}", gap.kind);
                object([("kind", kind.into()), ("about", gap.about.clone().into())])
            }),
        ),
    ])
}

fn object<const N: usize>(mut members: [(&str, Json); N]) -> Json {
    members.sort_by_key(|(name, _)| *name);
    let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
    Json::Object(members.collect::<Map<_, _>>())
}

fn all<T>(items: &[T], each: impl Fn(&T) -> Json) -> Json {
    items.iter().map(each).collect()
}

fn minute(minute: u32) -> Json {
    Minute(minute).to_string().into()
}

fn day(date: Date) -> Json {
    date.to_string().into()
}

/// The key by which other members name a log.
fn log_key(number: usize) -> Json {
    format!("L{}", number + 1).into()
}

fn log(log: &Log) -> Json {
    let (verified, by, why) = match &log.verified {
        Verification::Whole { by } => ("whole", by.as_str(), ""),
        Verification::Partly { by, why } => ("partly", by.as_str(), why.as_str()),
        Verification::Not { why } => ("not", "", why.as_str()),
    };
    let span =
        log.span.map_or(Json::Null, |(first, last)| vec![minute(first), minute(last)].into());
    object([
        ("origin", log.origin.clone().into()),
        ("region", log.region.clone().into()),
        ("shard", log.shard.clone().into()),
        ("vkey", log.vkey.clone().into()),
        ("checkpoint", log.checkpoint.clone().into()),
        ("size", log.size.into()),
        ("root", log.root.to_string().into()),
        ("verified", verified.into()),
        ("verified_by", by.into()),
        ("unverified_why", why.into()),
        ("entries_read", log.read.into()),
        ("entries_in_period", log.in_period.into()),
        ("span", span),
    ])
}

fn map(map: &MapFacts) -> Json {
    object([
        ("epoch", map.epoch.into()),
        ("digest", map.digest.clone().into()),
        ("name", map.name.clone().into()),
        ("valid_until", map.valid_until.map_or(Json::Null, day)),
        ("predecessors", map.predecessors.clone().into()),
        ("signers", map.signers.clone().into()),
        ("unusable", map.unusable.clone().into()),
    ])
}

/// A fact, with the epochs of the maps that state it.
fn stated<T>(it: &Stated<T>, fact: impl Fn(&T) -> Json) -> Json {
    object([("fact", fact(&it.fact)), ("epochs", it.epochs.clone().into())])
}

fn site(facts: &SiteFacts) -> Json {
    let SiteFacts { region, territory, site } = facts;
    object([
        ("region", region.clone().into()),
        ("territory", territory.clone().into()),
        ("address", site.address.clone().into()),
        ("operator", site.operator.clone().into()),
        ("contract", site.contract.clone().into()),
        ("register", site.register.clone().into()),
        ("attestation", site.attestation.clone().into()),
        ("attestation_expires", site.attestation_expires.map_or(Json::Null, day)),
    ])
}

fn statute(statute: &StatuteFacts) -> Json {
    let marks = statute.marks.iter().map(|(mark, count)| {
        object([("verified", mark.to_string().into()), ("count", (*count).into())])
    });
    object([
        ("jurisdiction", statute.jurisdiction.clone().into()),
        ("id", statute.id.clone().into()),
        ("title", statute.title.clone().into()),
        ("citation", statute.citation.clone().into()),
        ("digest", statute.digest.clone().into()),
        ("from", day(statute.from)),
        ("until", statute.until.map_or(Json::Null, day)),
        ("constraint", statute.constraint.clone().into()),
        ("readings", statute.readings.clone().into()),
        ("settings", statute.settings.clone().into()),
        ("draft", statute.draft.clone().into()),
        ("marks", marks.collect()),
    ])
}

fn collection(collection: &CollectionFacts) -> Json {
    object([
        ("name", collection.name.clone().into()),
        ("category", collection.category.clone().into()),
        ("grounds", collection.grounds.clone().into()),
        ("reads", collection.reads.clone().into()),
        ("exempt", collection.exempt.clone().into()),
    ])
}

fn clause(clause: &ClauseFacts) -> Json {
    object([
        ("id", clause.id.clone().into()),
        ("from", clause.from.clone().into()),
        ("to", clause.to.clone().into()),
        ("collections", clause.collections.clone().into()),
        ("legal_basis", clause.legal_basis.clone().into()),
        ("importer", clause.importer.clone().into()),
        ("reference", clause.reference.clone().into()),
        ("notified", clause.notified.map_or(Json::Null, day)),
        ("not_before", day(clause.not_before)),
        ("expires", day(clause.expires)),
    ])
}

fn figure(figure: &Figure) -> Json {
    let value = figure.value.count().map_or_else(|| figure.value.to_string().into(), Json::from);
    object([
        ("section", figure.section.as_str().into()),
        ("region", figure.region.clone().into()),
        ("shard", figure.shard.clone().into()),
        ("month", figure.month.map(|month| month.to_string()).into()),
        ("dimension", figure.dimension.into()),
        ("key", figure.key.clone().into()),
        ("value", value),
        ("logs", figure.logs.iter().map(|log| log_key(*log)).collect()),
    ])
}

fn late(late: &Late) -> Json {
    object([
        ("log", log_key(late.log)),
        ("index", late.index.into()),
        ("time", minute(late.minute)),
        ("deadline", minute(late.deadline)),
    ])
}

fn taken(taken: &Taken) -> Json {
    object([
        ("log", log_key(taken.log)),
        ("index", taken.index.into()),
        ("time", minute(taken.minute)),
        ("epoch", taken.epoch.into()),
        ("digest", hex(&taken.digest).into()),
        ("signers", taken.signers.clone().into()),
    ])
}

fn event(event: &Event) -> Json {
    let old_head = event.old_head.as_ref().map_or(Json::Null, |OldHead { origin, size, root }| {
        object([
            ("origin", origin.clone().into()),
            ("size", (*size).into()),
            ("root", root.to_string().into()),
        ])
    });
    object([
        ("log", log_key(event.log)),
        ("index", event.index.into()),
        ("time", minute(event.minute)),
        ("kind", event.kind.as_str().into()),
        ("reason", event.reason.clone().into()),
        ("count", event.count.into()),
        ("log_key", event.log_key.clone().into()),
        ("old_head", old_head),
    ])
}
