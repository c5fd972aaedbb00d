//! What a scan asks for, and what it gives.

use std::fmt;

use crate::{Key, Value};

/// Keys from `from` on and below `until`. Its `Debug` shows lengths only.
#[derive(Clone, PartialEq, Eq)]
pub struct Span {
    /// The first key that may be in it.
    pub from: Key,
    /// The first key past it. Empty: no end (no key is below the empty one).
    pub until: Key,
}

impl Span {
    /// All keys that start with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        let mut until = prefix.to_vec();
        while let Some(last) = until.pop() {
            if last < u8::MAX {
                until.push(last + 1);
                break;
            }
        }
        Self { from: prefix.to_vec(), until }
    }

    /// All keys.
    pub const fn all() -> Self {
        Self { from: Key::new(), until: Key::new() }
    }

    /// Whether no key can be in it.
    pub fn is_empty(&self) -> bool {
        !self.until.is_empty() && self.from >= self.until
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Span")
            .field("from_bytes", &self.from.len())
            .field("until_bytes", &self.until.len())
            .finish()
    }
}

/// Which end of a span comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The smallest key first.
    Ascending,
    /// The largest key first.
    Descending,
}

/// How much one page may hold. Both bounds hold; one row is always given if there is one and
/// `rows` is not 0, so that a value larger than `bytes` does not stop the scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimit {
    /// Rows at most.
    pub rows: usize,
    /// Bytes of keys and values at most.
    pub bytes: usize,
}

/// Rows of a span, in the order asked for, all from one moment. Its `Debug` shows sizes only.
///
/// To go on ascending, scan from the last key with a zero byte appended; descending, until the
/// last key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and values.
    pub rows: Vec<(Key, Value)>,
    /// Whether the span had further rows at that moment.
    pub more: bool,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("rows", &self.rows.len()).field("more", &self.more).finish()
    }
}

/// Fills a page up to its limit: the one place where the limits are counted.
#[derive(Debug)]
pub(crate) struct Filling {
    page: Page,
    limit: ScanLimit,
    bytes: usize,
}

impl Filling {
    pub(crate) fn new(limit: ScanLimit) -> Self {
        Self { page: Page::default(), limit, bytes: 0 }
    }

    /// Whether a row of that size still fits. If not, the page has `more` and is finished.
    pub(crate) fn admits(&mut self, key_bytes: usize, value_bytes: usize) -> bool {
        let bytes = self.bytes.saturating_add(key_bytes).saturating_add(value_bytes);
        let first = self.page.rows.is_empty();
        let fits = self.page.rows.len() < self.limit.rows && (first || bytes <= self.limit.bytes);
        self.page.more |= !fits;
        fits
    }

    /// Adds a row that was admitted.
    pub(crate) fn push(&mut self, key: Key, value: Value) {
        self.bytes = self.bytes.saturating_add(key.len()).saturating_add(value.len());
        self.page.rows.push((key, value));
    }

    pub(crate) fn page(self) -> Page {
        self.page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_begins() {
        let until = |prefix: &[u8]| Span::prefix(prefix).until;
        assert_eq!(until(b"ab"), b"ac");
        assert_eq!(until(b"a\xff\xff"), b"b");
        assert_eq!(until(b"\xff\xff"), b"");
        assert_eq!(Span::prefix(b""), Span::all());
        assert!(!Span::all().is_empty());
        assert!(Span { from: b"b".to_vec(), until: b"b".to_vec() }.is_empty());
    }
}
