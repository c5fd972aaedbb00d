//! The order of writes: home first, copies after; and under which clause.

use ledger::{Entry, Kind};

use super::capped::{Capped, Names};
use super::links::{At, Links};
use crate::details::peer;
use crate::report::figure::{Figure, SMALL, Section, Value};

/// Region, kind, other region and clause that are told apart.
pub(crate) const COPY_KEYS_MAX: usize = 4_096;
/// Copies that came in whose first write is looked for.
pub(crate) const COPIES_CHECKED_MAX: usize = 1 << 20;
/// Clauses, and regions of others, that are told apart.
const NAMES_MAX: usize = 1_024;

/// A copy that came in: where the first write is said to stand.
#[derive(Debug, Clone, Copy)]
struct CameIn {
    place: usize,
    minute: u32,
    home: Option<At>,
}

/// What was found of the order of copies and the first write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    HomeFirst,
    CopyFirst,
    NotShown,
}

impl Order {
    const fn as_str(self) -> &'static str {
        match self {
            Self::HomeFirst => "home-first",
            Self::CopyFirst => "copy-first",
            Self::NotShown => "not-shown",
        }
    }
}

/// Copies, moves and placements that rest on a clause.
#[derive(Debug)]
pub(crate) struct Copies {
    names: Names,
    counts: Capped<(usize, u8, u16, u16)>,
    orders: Capped<(usize, u8, Order)>,
    came_in: Vec<CameIn>,
    /// Copies that found no room among those that are checked.
    pub(crate) unchecked: u64,
}

impl Copies {
    pub(crate) fn new() -> Self {
        Self {
            names: Names::new(NAMES_MAX),
            counts: Capped::new(COPY_KEYS_MAX),
            orders: Capped::new(COPY_KEYS_MAX),
            came_in: Vec::new(),
            unchecked: 0,
        }
    }

    /// Takes one entry of the period.
    pub(crate) fn entry(&mut self, place: usize, at: At, entry: &Entry, links: &Links) {
        let copy = [Kind::CopyOut, Kind::CopyIn, Kind::MoveOut, Kind::MoveIn].contains(&entry.kind);
        let write = [Kind::Place, Kind::Replace, Kind::Create].contains(&entry.kind);
        if !copy && (!write || entry.clauses.is_empty()) {
            return;
        }
        let other = peer(entry).and_then(|(origin, _)| origin.split('/').nth(1)).unwrap_or("");
        let other = if copy { self.names.id(other) } else { self.names.id("") };
        let kind = entry.kind.code();
        if entry.clauses.is_empty() {
            let none = self.names.id("");
            self.counts.add((place, kind, other, none), 1);
        }
        for clause in &entry.clauses {
            let clause = self.names.id(clause);
            self.counts.add((place, kind, other, clause), 1);
        }
        if entry.kind == Kind::CopyOut {
            let home = entry.earlier.filter(|earlier| *earlier < at.index);
            let home = home.and_then(|index| links.write(At { log: at.log, index }));
            let order = if home.is_some() { Order::HomeFirst } else { Order::NotShown };
            self.orders.add((place, kind, order), 1);
        } else if entry.kind == Kind::CopyIn {
            if self.came_in.len() < COPIES_CHECKED_MAX {
                let (minute, home) = (entry.minute, links.peer(entry));
                self.came_in.push(CameIn { place, minute, home });
            } else {
                self.unchecked += 1;
            }
        }
    }

    /// Looks for the first writes of copies that came in, once all logs were read.
    pub(crate) fn settle(&mut self, links: &Links) {
        for copy in std::mem::take(&mut self.came_in) {
            let order = match copy.home.and_then(|home| links.write(home)) {
                Some((_, written)) if written <= copy.minute => Order::HomeFirst,
                Some(_) => Order::CopyFirst,
                None => Order::NotShown,
            };
            self.orders.add((copy.place, Kind::CopyIn.code(), order), 1);
        }
    }

    /// The figures, for the whole period. A clause leads from one jurisdiction, and whoever is
    /// counted under it is of it: so what is small is not shown. `place` gives region, shard and logs.
    pub(crate) fn figures<'a>(
        &self,
        place: impl Fn(usize) -> (&'a str, &'a str, &'a [usize]),
    ) -> Vec<Figure> {
        let figure = |at: usize, dimension, key, value| {
            let (region, shard, logs) = place(at);
            Figure {
                section: Section::Order,
                region: region.to_owned(),
                shard: shard.to_owned(),
                month: None,
                dimension,
                key,
                value,
                logs: logs.to_vec(),
            }
        };
        let shown = |count| match count {
            1..SMALL => Value::Small,
            count => Value::Count(count),
        };
        let kind = |code: u8| Kind::from_code(code).map_or("", Kind::as_str).to_owned();
        let text = |id: u16| self.names.text(id).to_owned();
        let mut figures = Vec::new();
        for ((at, code, other, clause), count) in self.counts.iter() {
            let key = vec![kind(*code), text(*other), text(*clause)];
            figures.push(figure(*at, "transfer", key, shown(count)));
        }
        for ((at, code, order), count) in self.orders.iter() {
            let key = vec![kind(*code), order.as_str().to_owned()];
            figures.push(figure(*at, "order", key, shown(count)));
        }
        figures
    }

    /// How much was cut off.
    pub(crate) fn cut(&self) -> u64 {
        self.names.cut() + self.counts.cut() + self.orders.cut()
    }
}
