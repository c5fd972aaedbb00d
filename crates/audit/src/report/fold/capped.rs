//! Counters that cannot grow without bound: names and keys up to a limit, the rest together.

use std::collections::{BTreeMap, HashMap};

/// How what is beyond a limit is called.
pub(crate) const OTHER: &str = "(other)";

/// Texts by number. The first is what is beyond the limit.
#[derive(Debug)]
pub(crate) struct Names {
    max: usize,
    ids: HashMap<String, u16>,
    all: Vec<String>,
    cut: u64,
}

impl Names {
    /// None yet, and `max` at most.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, ids: HashMap::new(), all: vec![OTHER.to_owned()], cut: 0 }
    }

    /// The number of that text: 0 once there is no room for a new one.
    pub(crate) fn id(&mut self, text: &str) -> u16 {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let next = u16::try_from(self.all.len()).ok().filter(|_| self.all.len() <= self.max);
        let Some(next) = next else {
            self.cut += 1;
            return 0;
        };
        self.ids.insert(text.to_owned(), next);
        self.all.push(text.to_owned());
        next
    }

    /// The text of that number.
    pub(crate) fn text(&self, id: u16) -> &str {
        self.all.get(usize::from(id)).map_or(OTHER, String::as_str)
    }

    /// How often there was no room.
    pub(crate) fn cut(&self) -> u64 {
        self.cut
    }
}

/// Counts by key, `max` keys at most.
#[derive(Debug)]
pub(crate) struct Capped<K> {
    max: usize,
    counts: BTreeMap<K, u64>,
    cut: u64,
}

impl<K: Ord> Capped<K> {
    /// None yet, and `max` at most.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, counts: BTreeMap::new(), cut: 0 }
    }

    /// Adds `count` under `key`, if there is room for it.
    pub(crate) fn add(&mut self, key: K, count: u64) {
        if let Some(counted) = self.counts.get_mut(&key) {
            *counted = counted.saturating_add(count);
        } else if self.counts.len() < self.max {
            self.counts.insert(key, count);
        } else {
            self.cut = self.cut.saturating_add(1);
        }
    }

    /// Keys and counts, by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, u64)> {
        self.counts.iter().map(|(key, count)| (key, *count))
    }

    /// How many additions found no room.
    pub(crate) fn cut(&self) -> u64 {
        self.cut
    }
}

/// A list, `max` items at most.
#[derive(Debug)]
pub(crate) struct Listed<T> {
    max: usize,
    /// The items, in the order in which they came.
    pub(crate) items: Vec<T>,
    cut: u64,
}

impl<T> Listed<T> {
    /// None yet, and `max` at most.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, items: Vec::new(), cut: 0 }
    }

    /// Adds one, if there is room for it.
    pub(crate) fn push(&mut self, item: T) {
        if self.items.len() < self.max {
            self.items.push(item);
        } else {
            self.cut += 1;
        }
    }

    /// How many found no room.
    pub(crate) fn cut(&self) -> u64 {
        self.cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_a_limit_is_counted_together() {
        let mut names = Names::new(2);
        assert_eq!(["a", "b", "c", "a", "d"].map(|text| names.id(text)), [1, 2, 0, 1, 0]);
        assert_eq!((names.text(2), names.text(0), names.cut()), ("b", OTHER, 2));
        let mut counts = Capped::new(1);
        for key in ["a", "b", "a"] {
            counts.add(key, 2);
        }
        assert_eq!((counts.iter().collect::<Vec<_>>(), counts.cut()), (vec![(&"a", 4)], 1));
        let mut list = Listed::new(1);
        list.push(1);
        list.push(2);
        assert_eq!((list.items.as_slice(), list.cut()), (&[1][..], 1));
    }
}
