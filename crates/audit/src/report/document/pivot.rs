//! Figures by month as tables: a row for what is counted, a column for each month.

use std::collections::BTreeMap;

use super::{Block, Cell, Label, Speaker, Table, text};
use crate::report::figure::{Figure, Value};
use crate::report::fold::capped::OTHER;
use crate::report::period::Month;

/// Months side by side at most, so that a table fits on a page; more become further tables.
const COLUMNS_MAX: usize = 12;

/// How figures become rows.
pub(super) struct Shape<'a> {
    pub(super) caption: Label,
    /// Titles of the columns of a row's names.
    pub(super) heads: &'a [Label],
    /// The names of a row, by a figure of it.
    pub(super) names: &'a dyn Fn(&Figure) -> Vec<String>,
    /// Whether a row in which nothing happened is shown.
    pub(super) keep_empty: &'a dyn Fn(&Figure) -> bool,
}

/// One row on its way.
struct Row<'a> {
    first: &'a Figure,
    names: Vec<String>,
    values: BTreeMap<Month, Value>,
    logs: Vec<usize>,
}

/// The tables of these figures, in their order.
pub(super) fn tables(speaker: Speaker<'_>, figures: &[&Figure], shape: &Shape<'_>) -> Vec<Block> {
    let mut places = BTreeMap::new();
    let mut rows: Vec<Row<'_>> = Vec::new();
    for figure in figures {
        let about = (&figure.region, &figure.shard, figure.dimension, &figure.key);
        let place = *places.entry(about).or_insert(rows.len());
        if place == rows.len() {
            let names = (shape.names)(figure);
            let (values, logs) = (BTreeMap::new(), figure.logs.clone());
            rows.push(Row { first: figure, names, values, logs });
        }
        if let (Some(row), Some(month)) = (rows.get_mut(place), figure.month) {
            row.values.insert(month, figure.value);
        }
    }
    let months = speaker.report.period.months();
    months.chunks(COLUMNS_MAX).map(|months| table(speaker, &rows, months, shape)).collect()
}

fn table(speaker: Speaker<'_>, rows: &[Row<'_>], months: &[Month], shape: &Shape<'_>) -> Block {
    let mut columns = speaker.labels(shape.heads);
    columns.extend(months.iter().map(ToString::to_string));
    columns.push(speaker.label(Label::Source));
    let value = |row: &Row<'_>, month| row.values.get(month).copied().unwrap_or(Value::Count(0));
    let shown = rows.iter().filter(|row| {
        let happened = months.iter().any(|month| value(row, month) != Value::Count(0));
        happened || (shape.keep_empty)(row.first)
    });
    let rows = shown.map(|row| {
        let mut cells: Vec<Cell> = row.names.iter().map(text).collect();
        cells.extend(months.iter().map(|month| Cell::Number(value(row, month).to_string())));
        cells.push(Cell::Logs(row.logs.clone()));
        cells
    });
    let span = match (months.first(), months.last()) {
        (Some(first), Some(last)) => format!(", {first} – {last}"),
        _ => String::new(),
    };
    Block::Table(Table {
        caption: format!("{}{span}", speaker.label(shape.caption)),
        heads: shape.heads.len(),
        rows: rows.collect(),
        columns,
    })
}

/// A name that an entry gives, or what stands for none and for those beyond a limit.
pub(super) fn named(speaker: Speaker<'_>, name: &str) -> String {
    match name {
        "" => speaker.label(Label::NoneSaid),
        OTHER => speaker.label(Label::Other),
        name => name.to_owned(),
    }
}

/// Region and shard as one name.
pub(super) fn place(figure: &Figure) -> String {
    if figure.shard.is_empty() {
        figure.region.clone()
    } else {
        format!("{}/{}", figure.region, figure.shard)
    }
}
