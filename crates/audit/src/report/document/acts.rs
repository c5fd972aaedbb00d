//! Parts 6 to 8: refusals, erasures, accesses.

use std::collections::BTreeMap;

use ledger::entry::{Minute, Role};

use super::pivot::{Shape, named, place, tables};
use super::{Block, Cell, Label, Part, Section, Sentence, Speaker, Table, text};
use crate::report::figure::Figure;
use crate::report::svg::{Chart, ChartKind};

/// Bars of the chart of refusals at most; the table has all.
const BARS_MAX: usize = 16;

/// Part 6.
pub(super) fn refusals(speaker: Speaker<'_>) -> Part {
    let figures = speaker.figures(Section::Refusals);
    if figures.is_empty() {
        let blocks = vec![speaker.text(Sentence::NoRefusals)];
        return speaker.part("refusals", Label::Refusals, blocks);
    }
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for figure in &figures {
        let reason = figure.key.first().map_or("", String::as_str);
        *reasons.entry(reason).or_default() += figure.value.count().unwrap_or(0);
    }
    let mut reasons: Vec<(&str, u64)> = reasons.into_iter().collect();
    reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
    reasons.truncate(BARS_MAX);
    let chart = Chart {
        kind: ChartKind::Bars,
        title: speaker.label(Label::RefusalsChart),
        labels: reasons.iter().map(|(reason, _)| named(speaker, reason)).collect(),
        series: vec![(String::new(), reasons.iter().map(|(_, count)| Some(*count)).collect())],
    };
    let names = |figure: &Figure| {
        let reason = figure.key.first().map_or("", String::as_str);
        vec![place(figure), named(speaker, reason)]
    };
    let shape = Shape {
        caption: Label::Refusals,
        heads: &[Label::Region, Label::Reason],
        names: &names,
        keep_empty: &|_| false,
    };
    let mut blocks = vec![speaker.text(Sentence::RefusalsSay), Block::Chart(chart)];
    blocks.extend(tables(speaker, &figures, &shape));
    speaker.part("refusals", Label::Refusals, blocks)
}

/// Part 7.
pub(super) fn erasures(speaker: Speaker<'_>) -> Part {
    let figures = speaker.figures(Section::Erasures);
    if figures.is_empty() {
        let blocks = vec![speaker.text(Sentence::NoErasures)];
        return speaker.part("erasures", Label::Erasures, blocks);
    }
    let names = |figure: &Figure| match &*figure.key {
        [outcome, reason] => {
            vec![place(figure), deadline(speaker, outcome), named(speaker, reason)]
        }
        _ => Vec::new(),
    };
    let shape = Shape {
        caption: Label::Erasures,
        heads: &[Label::Region, Label::Outcome, Label::Reason],
        names: &names,
        keep_empty: &|_| false,
    };
    let mut blocks = vec![speaker.text(Sentence::ErasuresSay)];
    blocks.extend(tables(speaker, &figures, &shape));
    if speaker.report.late.is_empty() {
        blocks.push(speaker.text(Sentence::NoLate));
    } else {
        blocks.push(speaker.text(Sentence::LateSay));
        blocks.push(Block::Table(late(speaker)));
    }
    speaker.part("erasures", Label::Erasures, blocks)
}

fn deadline(speaker: Speaker<'_>, outcome: &str) -> String {
    speaker.label(match outcome {
        "in-time" => Label::InTime,
        "late" => Label::Late,
        _ => Label::NoDeadline,
    })
}

/// Erasures after their deadline, one by one: whoever has the log finds them by their number.
fn late(speaker: Speaker<'_>) -> Table {
    let rows = speaker.report.late.iter().map(|late| {
        vec![
            Cell::Logs(vec![late.log]),
            Cell::Number(late.index.to_string()),
            text(Minute(late.deadline)),
            text(Minute(late.minute)),
        ]
    });
    Table {
        caption: speaker.label(Label::LateListed),
        columns: speaker.labels(&[Label::Log, Label::Index, Label::Deadline, Label::Time]),
        heads: 2,
        rows: rows.collect(),
    }
}

/// Part 8.
pub(super) fn accesses(speaker: Speaker<'_>) -> Part {
    let figures = speaker.figures(Section::Accesses);
    if figures.is_empty() {
        let blocks = vec![speaker.text(Sentence::NoAccesses)];
        return speaker.part("accesses", Label::Accesses, blocks);
    }
    let names = |figure: &Figure| match &*figure.key {
        [by, purpose, territory] => vec![
            place(figure),
            noted(speaker, figure.dimension),
            role(speaker, by),
            // What is counted together has no purpose of its own.
            if figure.dimension == "logged" { named(speaker, purpose) } else { "–".to_owned() },
            named(speaker, territory),
        ],
        _ => Vec::new(),
    };
    let shape = Shape {
        caption: Label::Accesses,
        heads: &[Label::Region, Label::How, Label::Role, Label::Purpose, Label::CallerTerritory],
        names: &names,
        keep_empty: &|_| false,
    };
    let (abroad, all) = abroad(speaker, &figures);
    let blocks = vec![
        speaker.text(Sentence::AccessesSay),
        Block::Text(speaker.say(Sentence::Abroad, &[&abroad.to_string(), &all.to_string()])),
        Block::Chart(reads(speaker, &figures)),
    ];
    let blocks = blocks.into_iter().chain(tables(speaker, &figures, &shape)).collect();
    speaker.part("accesses", Label::Accesses, blocks)
}

fn noted(speaker: Speaker<'_>, dimension: &str) -> String {
    speaker.label(match dimension {
        "logged" => Label::Logged,
        "counted" => Label::Counted,
        _ => Label::Plan,
    })
}

/// The name of a role.
pub(super) fn role(speaker: Speaker<'_>, role: &str) -> String {
    let label = Role::parse(role).map(|role| match role {
        Role::Writer => Label::Writer,
        Role::Reader => Label::Reader,
        Role::Eraser => Label::Eraser,
        Role::Operator => Label::OperatorRole,
        Role::Auditor => Label::Auditor,
        Role::Shard => Label::ShardRole,
    });
    speaker.label(label.unwrap_or(Label::NoneSaid))
}

/// Reads of callers who are not known to be in the region's territory, and all reads.
fn abroad(speaker: Speaker<'_>, figures: &[&Figure]) -> (u64, u64) {
    let (mut abroad, mut all) = (0_u64, 0_u64);
    for figure in figures.iter().filter(|figure| figure.dimension != "plan") {
        let count = figure.value.count().unwrap_or(0);
        let home = speaker.report.law.territory(&figure.region);
        all = all.saturating_add(count);
        if home.is_none() || figure.key.last().map(String::as_str) != home {
            abroad = abroad.saturating_add(count);
        }
    }
    (abroad, all)
}

/// Reads by month and role, of all regions.
fn reads(speaker: Speaker<'_>, figures: &[&Figure]) -> Chart {
    let months = speaker.report.period.months();
    let first = speaker.report.period.first();
    let mut roles: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for figure in figures.iter().filter(|figure| figure.dimension != "plan") {
        let by = figure.key.first().map_or("", String::as_str);
        let counts = roles.entry(by).or_insert_with(|| vec![0; months.len()]);
        let at = figure.month.and_then(|month| month.after(first));
        if let Some(count) = at.and_then(|at| counts.get_mut(at)) {
            *count = count.saturating_add(figure.value.count().unwrap_or(0));
        }
    }
    let series = roles
        .into_iter()
        .map(|(by, counts)| (role(speaker, by), counts.into_iter().map(Some).collect()));
    Chart {
        kind: ChartKind::Stacked,
        title: speaker.label(Label::ReadsChart),
        labels: months.iter().map(ToString::to_string).collect(),
        series: series.collect(),
    }
}
