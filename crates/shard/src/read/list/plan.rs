//! By which rows a question is answered, and in which order.

use atlas::{AttributeName, AttributeRules, Comparison, Index, Operator};
use engine::{Key, Span};
use terms::{Reason, Rejection, TenantId};

use crate::read::list::query::{Asked, ListQuery};
use crate::store::index_keys::{IndexKeys, Indexes, ListKeys, Named};
use crate::store::keys::{self, KeyLayout};

/// What a question needs of the store.
pub(crate) struct Plan {
    /// Where the candidates lie: ascending, none touching another.
    pub(crate) spans: Vec<Span>,
    /// Whether these are rows of an index; otherwise they are heads.
    pub(crate) by_index: bool,
    /// Whether that index is the list of the collection.
    pub(crate) listed: bool,
    /// Whether every row in them is wanted.
    pub(crate) exact: bool,
    /// The list of the collection, if all of it is wanted.
    pub(crate) list: Option<ListKeys>,
    pub(crate) sequence: Sequence,
}

/// In which order records come.
#[derive(Debug, Clone)]
pub(crate) enum Sequence {
    /// As their rows lie. `ordered`: that is the order that was asked for.
    AsStored { ordered: bool, descending: bool },
    /// All candidates are read, and sorted.
    Sorted {
        descending: bool,
        /// Where the records lie in that order, should there be too many to sort.
        instead: Option<Vec<Span>>,
    },
}

/// Finds the plan of a question.
struct Planner<'a> {
    indexes: Indexes<'a>,
    asked: &'a Asked<'a>,
}

/// Rows of an index that a filter wants.
struct Found {
    spans: Vec<Span>,
    /// Whether they answer the whole filter.
    exact: bool,
    /// How good it is: the lowest is used.
    rank: u8,
    attribute: AttributeName,
}

impl Plan {
    /// `guarded`: records may be withheld, and nothing may tell by what they can be found.
    pub(crate) fn new(
        layout: &KeyLayout,
        tenant: &TenantId,
        query: &ListQuery,
        asked: &Asked<'_>,
        guarded: bool,
    ) -> Result<Self, Rejection> {
        let indexes = Indexes { layout, tenant, collection: &query.collection };
        let planner = Planner { indexes, asked };
        let order = asked.order.as_ref();
        let descending = order.is_some_and(|order| order.descending);
        let ordered_by = order.and_then(|order| order.attribute.as_ref());
        let in_order = || ordered_by.map(|name| planner.range(name)).transpose();
        let sorted = |instead| Sequence::Sorted { descending, instead };
        let stored = Sequence::AsStored { ordered: false, descending: false };
        if let Some(owner) = &query.subject {
            let span = layout.records(owner, &query.collection);
            let sequence = match order {
                Some(_) => sorted(in_order()?.filter(|_| !guarded)),
                None => stored,
            };
            let (by_index, listed, exact) = (false, false, false);
            let (spans, list) = (vec![span], None);
            return Ok(Self { spans, by_index, listed, exact, list, sequence });
        }
        if let Some(wanted) = query.participant.as_ref().filter(|_| !guarded) {
            let named = Named { layout, tenant };
            let of_region = |region| named.all(&wanted.id, region);
            let mut spans: Vec<Span> = asked.regions.iter().map(of_region).collect();
            spans.sort_by(|a, b| a.from.cmp(&b.from));
            let sequence = order.map_or(stored, |_| sorted(None));
            let (by_index, listed, exact, list) = (true, false, false, None);
            return Ok(Self { spans, by_index, listed, exact, list, sequence });
        }
        let found = if guarded { None } else { planner.best() };
        let mut listed = false;
        let (spans, exact, attribute, by_index) = match found {
            // Not all of the collection, unless an order says by what it is read.
            Some(Found { spans, exact, attribute, rank }) if rank == 0 || ordered_by.is_none() => {
                (spans, exact, Some(attribute), true)
            }
            _ => match in_order()?.filter(|_| !guarded) {
                Some(spans) => (spans, false, ordered_by.cloned(), true),
                None => {
                    let (span, by_index) = planner.all();
                    listed = by_index;
                    let unfiltered = asked.filter.comparisons().is_empty();
                    let exact = by_index && unfiltered && query.participant.is_none();
                    (vec![span], exact, None, by_index)
                }
            },
        };
        let list = (exact && listed).then(|| indexes.list());
        let sequence = match order {
            None => stored,
            Some(_) if ordered_by.is_some() && ordered_by == attribute.as_ref() => {
                Sequence::AsStored { ordered: true, descending }
            }
            Some(_) => sorted(in_order()?.filter(|_| !guarded)),
        };
        Ok(Self { spans, by_index, listed, exact, list, sequence })
    }
}

impl Planner<'_> {
    /// Where all records of the collection are found: in its list, if it has a complete one. Otherwise
    /// that is among all heads of the shard.
    fn all(&self) -> (Span, bool) {
        if self.asked.listed {
            (self.indexes.list().all(), true)
        } else {
            (keys::subjects(), false)
        }
    }

    /// The rows that answer the filter with the fewest candidates.
    fn best(&self) -> Option<Found> {
        let comparisons = self.asked.filter.comparisons();
        let found = comparisons.iter().filter_map(|one| self.found(one));
        found.min_by_key(|found| (found.rank, found.spans.len()))
    }

    /// The rows of one comparison's attribute.
    fn found(&self, one: &Comparison) -> Option<Found> {
        let keys = self.keys(self.asked.rules.attribute(&one.attribute)?);
        let alone = self.asked.filter.comparisons();
        let of_it = alone.iter().all(|other| other.attribute == one.attribute);
        let layout = self.indexes.layout;
        let attribute = one.attribute.clone();
        Some(match one.operator {
            Operator::Equal => {
                let mut spans: Vec<Span> =
                    one.values.iter().map(|value| keys.equal(layout, value)).collect();
                spans.sort_by(|a, b| a.from.cmp(&b.from));
                Found { spans, exact: alone.len() == 1, rank: 0, attribute }
            }
            Operator::NotEqual => {
                Found { spans: vec![keys.all()], exact: false, rank: 2, attribute }
            }
            Operator::Less
            | Operator::LessOrEqual
            | Operator::Greater
            | Operator::GreaterOrEqual => {
                let bounds = |other: &Comparison| {
                    !matches!(other.operator, Operator::Equal | Operator::NotEqual)
                };
                let exact = of_it && alone.iter().all(bounds);
                Found { spans: self.range(&one.attribute).ok()?, exact, rank: 1, attribute }
            }
        })
    }

    fn keys(&self, own: &AttributeRules) -> IndexKeys {
        self.indexes.of_attribute(own.name(), own.kind(), own.index())
    }

    /// The rows of an attribute in its order, within the bounds that the filter has for it.
    fn range(&self, name: &AttributeName) -> Result<Vec<Span>, Rejection> {
        let own = self.asked.rules.attribute(name).filter(|own| own.index() == Index::Range);
        // The order and the filter were read under the same rules.
        let keys = self.keys(own.ok_or(Reason::Internal)?);
        let mut span = keys.all();
        for one in self.asked.filter.comparisons().iter().filter(|one| one.attribute == *name) {
            let Some(value) = one.values.first() else { continue };
            let equal = keys.equal(self.indexes.layout, value);
            let raise = |from: &mut Key, to: Key| *from = to.max(std::mem::take(from));
            let lower = |until: &mut Key, to: Key| *until = to.min(std::mem::take(until));
            match one.operator {
                Operator::Greater => raise(&mut span.from, equal.until),
                Operator::GreaterOrEqual => raise(&mut span.from, equal.from),
                Operator::Less => lower(&mut span.until, equal.from),
                Operator::LessOrEqual => lower(&mut span.until, equal.until),
                Operator::Equal | Operator::NotEqual => {}
            }
        }
        Ok(if span.is_empty() { Vec::new() } else { vec![span] })
    }
}
