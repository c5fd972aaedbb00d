//! All rows of a store, in the order of their keys, for what copies or compares a whole store.

use aws_lc_rs::digest::{Context, SHA256};
use engine::{Key, Order, ScanLimit, Span, Value, View};

use crate::Error;

/// What is read at once.
const PAGE: ScanLimit = ScanLimit { rows: 4_096, bytes: 4 << 20 };

/// Calls `each` with all rows of a view, a page at a time. A page has at most 4 MiB, or one row.
pub(crate) fn each_page(
    view: &dyn View,
    mut each: impl FnMut(&[(Key, Value)]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut span = Span::all();
    loop {
        let page = view.scan(&span, Order::Ascending, PAGE)?;
        each(&page.rows)?;
        match page.rows.last() {
            Some((last, _)) if page.more => span.from = [&**last, &[0]].concat(),
            _ => return Ok(()),
        }
    }
}

/// How many rows there are, and a digest of them in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowSum {
    pub(crate) rows: u64,
    /// Bytes of their keys and values.
    pub(crate) bytes: u64,
    pub(crate) digest: [u8; 32],
}

impl RowSum {
    pub(crate) fn of(view: &dyn View) -> Result<Self, Error> {
        let mut summing = Summing::new();
        each_page(view, |rows| {
            summing.add(rows);
            Ok(())
        })?;
        Ok(summing.sum())
    }
}

/// A [`RowSum`] of the rows so far.
pub(crate) struct Summing {
    rows: u64,
    bytes: u64,
    digest: Context,
}

impl Summing {
    pub(crate) fn new() -> Self {
        Self { rows: 0, bytes: 0, digest: Context::new(&SHA256) }
    }

    pub(crate) fn add(&mut self, rows: &[(Key, Value)]) {
        for part in rows.iter().flat_map(|(key, value)| [key, value]) {
            let len = u64::try_from(part.len()).unwrap_or(u64::MAX);
            self.digest.update(&len.to_be_bytes());
            self.digest.update(part);
            self.bytes += len;
        }
        self.rows += u64::try_from(rows.len()).unwrap_or(u64::MAX);
    }

    pub(crate) fn sum(self) -> RowSum {
        let Self { rows, bytes, digest } = self;
        let digest = *digest.finish().as_ref().first_chunk().expect("SHA-256 has 32 bytes");
        RowSum { rows, bytes, digest }
    }
}
