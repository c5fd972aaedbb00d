//! Part 5: home first, copies after; and the clauses under which records go elsewhere.

use std::collections::BTreeMap;

use super::pivot::{named, place};
use super::{Block, Cell, Label, Part, Section, Sentence, Speaker, Table, epochs, text};
use crate::report::figure::{Figure, SMALL, Value};

pub(super) fn part(speaker: Speaker<'_>) -> Part {
    let figures = speaker.figures(Section::Order);
    let of = |dimension: &str| -> Vec<&Figure> {
        figures.iter().copied().filter(|figure| figure.dimension == dimension).collect()
    };
    let (transfers, orders) = (of("transfer"), of("order"));
    let mut blocks = vec![speaker.text(Sentence::OrderSay)];
    if transfers.is_empty() {
        blocks.push(speaker.text(Sentence::NoTransfers));
    } else {
        blocks.push(Block::Table(table(speaker, &transfers, |figure| match &*figure.key {
            [kind, other, clause] => vec![
                text(kind),
                // A placement has no other side.
                match kind.as_str() {
                    "PLACE" | "REPLACE" | "CREATE" => text("–"),
                    _ => Cell::Text(named(speaker, other)),
                },
                Cell::Text(named(speaker, clause)),
            ],
            _ => Vec::new(),
        })));
    }
    if !orders.is_empty() {
        blocks.push(speaker.text(Sentence::HomeFirstSay));
        blocks.push(Block::Table(table(speaker, &orders, |figure| match &*figure.key {
            [kind, order] => vec![text(kind), Cell::Text(found(speaker, order))],
            _ => Vec::new(),
        })));
    }
    if speaker.report.law.clauses.is_empty() {
        blocks.push(speaker.text(Sentence::NoClauses));
    } else {
        blocks.push(speaker.text(Sentence::ClausesSay));
        blocks.push(Block::Table(clauses(speaker, &transfers)));
    }
    speaker.part("order", Label::Order, blocks)
}

/// Figures of the whole period, a row for each.
fn table(speaker: Speaker<'_>, figures: &[&Figure], names: impl Fn(&Figure) -> Vec<Cell>) -> Table {
    let transfer = figures.iter().any(|figure| figure.dimension == "transfer");
    let mut columns = vec![Label::Region, Label::Transfer];
    if transfer {
        columns.extend([Label::Peer, Label::Clause]);
    } else {
        columns.push(Label::Finding);
    }
    let heads = columns.len();
    columns.extend([Label::Number, Label::Source]);
    let rows = figures.iter().map(|figure| {
        let mut cells = vec![Cell::Text(place(figure))];
        cells.extend(names(figure));
        cells.push(Cell::Number(figure.value.to_string()));
        cells.push(Cell::Logs(figure.logs.clone()));
        cells
    });
    Table {
        caption: speaker.label(if transfer { Label::Transfers } else { Label::Found }),
        columns: speaker.labels(&columns),
        heads,
        rows: rows.collect(),
    }
}

fn found(speaker: Speaker<'_>, order: &str) -> String {
    speaker.label(match order {
        "home-first" => Label::HomeFirst,
        "copy-first" => Label::CopyFirst,
        _ => Label::NotShown,
    })
}

/// The clauses of the maps, and how many entries rely on each.
fn clauses(speaker: Speaker<'_>, transfers: &[&Figure]) -> Table {
    let mut relied: BTreeMap<&str, Option<u64>> = BTreeMap::new();
    for figure in transfers {
        let Some(clause) = figure.key.last() else { continue };
        let sum = relied.entry(clause).or_insert(Some(0));
        // A sum with a count that is not shown in it is not shown either.
        *sum = sum.zip(figure.value.count()).map(|(sum, count)| sum.saturating_add(count));
    }
    let rows = speaker.report.law.clauses.iter().map(|clause| {
        let fact = &clause.fact;
        let relied = match relied.get(fact.id.as_str()) {
            None => Value::Count(0).to_string(),
            Some(Some(count)) => count.to_string(),
            Some(None) if count_of(transfers, &fact.id) == 1 => format!("<{SMALL}"),
            Some(None) => Value::Withheld.to_string(),
        };
        let collections = fact.collections.as_ref().map(|names| names.join(", "));
        vec![
            text(&fact.id),
            Cell::Text(format!("{} → {}", fact.from, fact.to)),
            Cell::Text(collections.unwrap_or_else(|| speaker.label(Label::AllCollections))),
            text(&fact.legal_basis),
            text(&fact.importer),
            text(&fact.reference),
            speaker.or_none(fact.notified.map(|date| date.to_string()).as_deref()),
            Cell::Text(format!("{} – {}", fact.not_before, fact.expires)),
            epochs(&clause.epochs),
            Cell::Number(relied),
        ]
    });
    Table {
        caption: speaker.label(Label::Clauses),
        columns: speaker.labels(&[
            Label::Clause,
            Label::FromTo,
            Label::Collection,
            Label::LegalBasis,
            Label::Importer,
            Label::Reference,
            Label::Notified,
            Label::Holds,
            Label::InMaps,
            Label::Relied,
        ]),
        heads: 1,
        rows: rows.collect(),
    }
}

/// In how many figures a clause stands.
fn count_of(transfers: &[&Figure], clause: &str) -> usize {
    transfers.iter().filter(|figure| figure.key.last().is_some_and(|own| own == clause)).count()
}
