//! What an authority looks for first: where records lie, what the law claims, how far it was
//! verified.

use std::collections::{BTreeMap, BTreeSet};

use atlas::{Country, Territory};
use serde_json::{Map, Value, json};
use terms::Rounded;

use crate::fold::{Figure, Fold, LIVE, MEASURES, Row, range};
use crate::law::Law;

/// The regions: site, shards, and records by the set of jurisdictions that claims them. A row of
/// all of them is a total of its own, rounded by [`Rounded::total`].
pub(crate) fn regions(fold: &Fold, law: &Law) -> Vec<Value> {
    let mut shards: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for log in &fold.logs {
        shards.entry(&log.facts.region).or_default().insert(&log.facts.shard);
    }
    for site in law.sites.iter() {
        shards.entry(site.fact.get("region").and_then(Value::as_str).unwrap_or("")).or_default();
    }
    let one = |(region, shards): (&str, BTreeSet<&str>)| {
        let rows: Vec<(Option<&[String]>, &Row)> = fold
            .records()
            .filter(|(of, ..)| *of == region)
            .map(|(_, jurisdictions, row)| (jurisdictions, row))
            .collect();
        let records = rows.iter().map(|(jurisdictions, row)| {
            let counts = MEASURES.iter().enumerate();
            let mut object: Map<String, Value> = counts
                .map(|(at, name)| ((*name).to_owned(), range(Rounded::of(row.get(at)))))
                .collect();
            object.insert("jurisdictions".to_owned(), json!(jurisdictions));
            Value::Object(object)
        });
        let total: Map<String, Value> = MEASURES
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let all = || Rounded::total(rows.iter().map(|(_, row)| row.get(at)));
                let total = if at == LIVE { fold.live(region) } else { all() };
                ((*name).to_owned(), range(total))
            })
            .collect();
        json!({
            "region": region,
            "shards": shards,
            "site": law.site(region).map(|site| &site.fact),
            "records": records.collect::<Vec<_>>(),
            "total": total,
        })
    };
    shards.into_iter().map(one).collect()
}

/// For each jurisdiction that claims records: how many live inside its territory, and how many
/// outside of it, in which regions. These are sums of ranges that the report gives elsewhere.
pub(crate) fn localisation(fold: &Fold, law: &Law) -> Vec<Value> {
    let mut by: BTreeMap<&str, [(Rounded, BTreeSet<&str>); 2]> = BTreeMap::new();
    for (region, jurisdictions, row) in fold.records() {
        let live = Rounded::of(row.get(LIVE));
        let country = law.territory(region).and_then(Country::parse);
        for name in jurisdictions.into_iter().flatten().filter(|_| !live.is_none()) {
            let lies_in = Territory::parse(name).zip(country);
            let inside = lies_in.is_some_and(|(of, country)| of.contains(country));
            let sides = by.entry(name).or_default();
            let side = if inside { &mut sides[0] } else { &mut sides[1] };
            side.0 = side.0.plus(live);
            side.1.insert(region);
        }
    }
    let one = |(jurisdiction, [inside, outside]): (&str, [(Rounded, BTreeSet<&str>); 2])| {
        json!({
            "jurisdiction": jurisdiction,
            "inside": range(inside.0), "inside_regions": inside.1,
            "outside": range(outside.0), "outside_regions": outside.1,
        })
    };
    by.into_iter().map(one).collect()
}

/// The figures that matter, and the conclusion of the verification.
pub(crate) fn of(fold: &Fold, law: &Law, regions: &[Value], signatures_checked: bool) -> Value {
    let whole: Vec<_> = fold.logs.iter().filter(|log| log.is_whole()).collect();
    let sum = |wanted: &dyn Fn(&Figure) -> bool| {
        let figures = fold.figures.iter().filter(|(figure, _)| wanted(figure));
        range(figures.fold(Rounded::default(), |sum, (_, count)| sum.plus(Rounded::of(*count))))
    };
    let inside = |figure: &Figure| {
        let Figure::Read { region, territory, .. } = figure else { return None };
        Some(law.territory(region) == Some(territory.as_str()))
    };
    let asked =
        |figure: &Figure| matches!(figure, Figure::Question { role: "auditor", of: "entries", .. });
    let mut summary = json!({
        "regions": regions.len(),
        "shards": fold.logs.iter().map(|log| (&log.facts.region, &log.facts.shard))
            .collect::<BTreeSet<_>>().len(),
        "logs": fold.logs.len(),
        "logs_whole": whole.len(),
        "entries_verified": whole.iter().map(|log| log.facts.size).sum::<u64>(),
        "keys_by_policy": fold.logs.iter().filter(|log| log.facts.key_by_policy).count(),
        "logs_cosigned": fold.logs.iter().filter(|log| !log.facts.witnesses.is_empty()).count(),
        "map_signatures_checked": signatures_checked,
        "maps_missing": fold.maps_missing(law),
        "refused": sum(&|figure| matches!(figure, Figure::Refusal { .. })),
        "reads_inside": sum(&|figure| inside(figure) == Some(true)),
        "reads_outside": sum(&|figure| inside(figure) == Some(false)),
        "opened_for_auditors": sum(&asked),
        "clauses": sum(&|figure| matches!(figure, Figure::Clause { .. })),
        "erasures": sum(&|figure| matches!(figure, Figure::Erasure { .. })),
        "erasures_late": sum(&|figure| matches!(figure, Figure::Erasure { outcome: "late", .. })),
    });
    for (at, name) in MEASURES.iter().enumerate() {
        // A region whose classes do not add up has its total of those that live.
        let odd: BTreeSet<&str> = fold
            .records()
            .filter(|(.., row)| at == LIVE && row.is_below_nothing())
            .map(|(region, ..)| region)
            .collect();
        let parts = fold.records().filter(|(region, ..)| !odd.contains(region));
        let parts = parts.map(|(_, _, row)| Rounded::of(row.get(at)));
        let sum = parts.chain(odd.iter().map(|region| fold.live(region)));
        let sum = sum.fold(Rounded::default(), Rounded::plus);
        if let Some(summary) = summary.as_object_mut() {
            summary.insert((*name).to_owned(), range(sum));
        }
    }
    summary
}
