//! Records by the set of jurisdictions that claims them, by region and month.

use std::collections::BTreeMap;

use ledger::{Entry, Kind};

use super::links::{At, Class, Links, UNSTATED};
use crate::details::count;
use crate::report::figure::{Figure, Section};
use crate::report::period::{Month, Period};
use crate::report::small::Cells;
use crate::report::solve::Line;

/// What is counted of records, in the order of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    Created,
    Placed,
    Replaced,
    Deleted,
    Expired,
    Erased,
    MovedIn,
    MovedOut,
    Live,
}

impl Measure {
    pub(crate) const ALL: [Self; 9] = [
        Self::Created,
        Self::Placed,
        Self::Replaced,
        Self::Deleted,
        Self::Expired,
        Self::Erased,
        Self::MovedIn,
        Self::MovedOut,
        Self::Live,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Placed => "placed",
            Self::Replaced => "replaced",
            Self::Deleted => "deleted",
            Self::Expired => "expired",
            Self::Erased => "erased",
            Self::MovedIn => "moved-in",
            Self::MovedOut => "moved-out",
            Self::Live => "live",
        }
    }

    /// Whether records that it counts come or go.
    const fn adds_to_live(self) -> Option<bool> {
        match self {
            Self::Created | Self::Replaced | Self::Live => None,
            Self::Placed | Self::MovedIn => Some(true),
            Self::Deleted | Self::Expired | Self::Erased | Self::MovedOut => Some(false),
        }
    }
}

/// The name of the row over all classes.
pub(crate) const ALL_CLASSES: &str = "(all)";

/// What one class of a region did in one month.
#[derive(Debug, Clone, Default)]
struct Did {
    counts: [u64; Measure::ALL.len()],
    /// By how much the records that live changed.
    delta: i64,
}

/// One class of one region.
#[derive(Debug, Clone, Default)]
struct Row {
    before: i64,
    months: Vec<Did>,
}

/// Records by region and class.
#[derive(Debug)]
pub(crate) struct People {
    period: Period,
    months: Vec<Month>,
    rows: BTreeMap<(usize, Class), Row>,
    /// Records that went and whose jurisdictions could not be told.
    pub(crate) unstated: u64,
}

impl People {
    pub(crate) fn new(period: Period) -> Self {
        Self { period, months: period.months(), rows: BTreeMap::new(), unstated: 0 }
    }

    /// Takes one entry of a region, and says its class if it is a write.
    pub(crate) fn entry(
        &mut self,
        region: usize,
        at: At,
        entry: &Entry,
        links: &mut Links,
    ) -> Option<Class> {
        let before = links.about(at.log, entry).and_then(|about| links.write(about));
        let before = before.map(|(class, _)| class);
        let many = count(entry).unwrap_or(1);
        let mut one = |class, measure, count, change| {
            self.add((region, class), entry.minute, (measure, count, change));
        };
        let own = |links: &mut Links| links.class(&entry.jurisdictions);
        let gone = |links: &mut Links| match before {
            _ if !entry.jurisdictions.is_empty() => links.class(&entry.jurisdictions),
            Some(class) => class,
            None => UNSTATED,
        };
        let signed = i64::try_from(many).unwrap_or(i64::MAX);
        let class = match entry.kind {
            Kind::Create => {
                let class = own(links);
                one(class, Measure::Created, 1, 0);
                class
            }
            Kind::Place => {
                let class = own(links);
                one(class, Measure::Placed, 1, 1);
                class
            }
            Kind::Replace => {
                let class = own(links);
                one(class, Measure::Replaced, 1, 0);
                // Another law claims it now: it is counted there from here on.
                if let Some(before) = before.filter(|before| *before != class) {
                    one(before, Measure::Live, 0, -1);
                    one(class, Measure::Live, 0, 1);
                }
                class
            }
            Kind::Delete => gone_as(gone(links), Measure::Deleted, (1, -1), &mut one),
            Kind::Expire => gone_as(gone(links), Measure::Expired, (1, -1), &mut one),
            Kind::Erase => {
                // An erasure that gives no number says of no record that it went.
                let many = count(entry).unwrap_or(0);
                let signed = i64::try_from(many).unwrap_or(i64::MAX);
                gone_as(gone(links), Measure::Erased, (many, -signed), &mut one)
            }
            Kind::MoveOut => gone_as(gone(links), Measure::MovedOut, (many, -signed), &mut one),
            Kind::MoveIn => gone_as(gone(links), Measure::MovedIn, (many, signed), &mut one),
            Kind::Genesis | Kind::Map | Kind::Read | Kind::Count | Kind::Refuse => return None,
            Kind::CopyOut | Kind::CopyIn | Kind::Export | Kind::Key | Kind::Backup => return None,
            Kind::Restore | Kind::Seal => return None,
        };
        if class == UNSTATED && self.period.holds(entry.minute) {
            self.unstated += 1;
        }
        Some(class)
    }

    fn add(
        &mut self,
        key: (usize, Class),
        minute: u32,
        (measure, count, change): (Measure, u64, i64),
    ) {
        let months = self.months.len();
        let row = self
            .rows
            .entry(key)
            .or_insert_with(|| Row { before: 0, months: vec![Did::default(); months] });
        if minute < self.period.from {
            row.before = row.before.saturating_add(change);
            return;
        }
        let month = Month::of(minute).after(self.period.first());
        let Some(cells) = month.and_then(|month| row.months.get_mut(month)) else { return };
        if let Some(counted) = cells.counts.get_mut(position(measure)) {
            *counted = counted.saturating_add(count);
        }
        cells.delta = cells.delta.saturating_add(change);
    }

    /// The figures of one region, with what is small kept back. Its logs are `logs`.
    pub(crate) fn figures(
        &self,
        (region, name): (usize, &str),
        links: &Links,
        logs: &[usize],
    ) -> Vec<Figure> {
        let mut rows: Vec<(String, Row)> = Vec::new();
        let mut all = Row { before: 0, months: vec![Did::default(); self.months.len()] };
        for ((_, class), row) in self.rows.iter().filter(|((of, _), _)| *of == region) {
            all.add(row);
            rows.push((links.name(*class), row.clone()));
        }
        if rows.is_empty() {
            return Vec::new();
        }
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        rows.push((ALL_CLASSES.to_owned(), all));
        let cells: Vec<u64> = rows.iter().flat_map(|(_, row)| row.cells()).collect();
        let (dear, lines) = (|cell| self.dear(cell, rows.len()), self.lines(rows.len()));
        let shown = Cells { counts: &cells, lines: &lines, dear }.suppress();
        let mut shown = shown.into_iter();
        let mut figures = Vec::new();
        for (class, _) in &rows {
            for month in &self.months {
                for measure in Measure::ALL {
                    let Some(value) = shown.next() else { return figures };
                    figures.push(Figure {
                        section: Section::Records,
                        region: name.to_owned(),
                        shard: String::new(),
                        month: Some(*month),
                        dimension: measure.as_str(),
                        key: vec![class.clone()],
                        value,
                        logs: logs.to_vec(),
                    });
                }
            }
        }
        figures
    }

    /// How dear a cell is. What lives at a month's end stands in the next month's line too and
    /// would take that with it, an early month more of them; and most is asked for what lives
    /// whatever law claims it.
    fn dear(&self, cell: usize, rows: usize) -> usize {
        let (months, measures) = (self.months.len(), Measure::ALL.len());
        if cell % measures != position(Measure::Live) {
            return 0;
        }
        let month = cell / measures % months.max(1);
        let all = cell / measures / months.max(1) + 1 == rows;
        months - month + if all { months } else { 0 }
    }

    /// Which cells give away which: the classes and their sum; and what lived a month before, what
    /// came and went, and what lives. What lived before the period is taken as known.
    fn lines(&self, rows: usize) -> Vec<Line> {
        let (months, measures) = (self.months.len(), Measure::ALL.len());
        let cell =
            |row: usize, month: usize, measure: usize| (row * months + month) * measures + measure;
        let mut lines = Vec::new();
        for month in 0..months {
            for measure in 0..measures {
                let sum = rows - 1;
                lines.push((0..rows).map(|row| (cell(row, month, measure), row < sum)).collect());
            }
            for row in 0..rows {
                let live = |month| cell(row, month, position(Measure::Live));
                let moving = Measure::ALL.into_iter().filter_map(|measure| {
                    Some((cell(row, month, position(measure)), measure.adds_to_live()?))
                });
                let mut line: Line = moving.collect();
                line.push((live(month), false));
                line.extend(month.checked_sub(1).map(|before| (live(before), true)));
                lines.push(line);
            }
        }
        lines
    }
}

/// Counts records that came or went, all of one class.
fn gone_as(
    class: Class,
    measure: Measure,
    (count, change): (u64, i64),
    one: &mut impl FnMut(Class, Measure, u64, i64),
) -> Class {
    one(class, measure, count, change);
    class
}

fn position(measure: Measure) -> usize {
    Measure::ALL.iter().position(|one| *one == measure).unwrap_or(0)
}

// === impl Row ===

impl Row {
    fn add(&mut self, other: &Self) {
        self.before = self.before.saturating_add(other.before);
        for (own, others) in self.months.iter_mut().zip(&other.months) {
            own.delta = own.delta.saturating_add(others.delta);
            for (count, more) in own.counts.iter_mut().zip(&others.counts) {
                *count = count.saturating_add(*more);
            }
        }
    }

    /// The counts of all months, with what lives at the end of each.
    fn cells(&self) -> Vec<u64> {
        let mut live = self.before;
        let mut cells = Vec::with_capacity(self.months.len() * Measure::ALL.len());
        for month in &self.months {
            live = live.saturating_add(month.delta);
            for (measure, count) in Measure::ALL.into_iter().zip(&month.counts) {
                // Below nothing: more went than came, because a log began after a loss.
                let lives = u64::try_from(live).unwrap_or(0);
                cells.push(if measure == Measure::Live { lives } else { *count });
            }
        }
        cells
    }
}
