//! Periods of the log that have ended with a SEAL entry: their keys and last checkpoints.

use engine::{Batch, Engine, Order, ScanLimit};

use crate::Error;
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keys;
use crate::store::types::Period;

const FORMAT: u8 = 1;
/// Sealed periods whose keys an auditor is told: the newest.
const SEALED_MAX: usize = 4_096;

/// A period that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// The public key of its log.
    pub(crate) vkey: String,
    /// Its last checkpoint, over all of its entries, the SEAL among them.
    pub(crate) note: String,
    /// Its entries.
    pub(crate) size: u64,
}

impl Sealed {
    /// Adds its row to the commit with which the next period begins.
    pub(crate) fn put(&self, batch: &mut Batch, period: Period) {
        let mut row = Writer::with_capacity(1024);
        row.u8(FORMAT).text(&self.vkey).text(&self.note).u64(self.size);
        batch.put(keys::sealed(period), row.0);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut row = Reader::new(bytes);
        row.format(FORMAT)?;
        let (vkey, note) = (row.text()?.to_owned(), row.text()?.to_owned());
        let size = row.u64()?;
        row.end()?;
        Ok(Self { vkey, note, size })
    }
}

/// The newest of them, the oldest first, each with its period.
pub(crate) fn all(engine: &dyn Engine) -> Result<Vec<(Period, Sealed)>, Error> {
    let mut newest = newest(engine, SEALED_MAX)?;
    newest.reverse();
    Ok(newest)
}

/// The last one, with its period.
pub(crate) fn last(engine: &dyn Engine) -> Result<Option<(Period, Sealed)>, Error> {
    Ok(newest(engine, 1)?.pop())
}

/// That of a period.
pub(crate) fn of(engine: &dyn Engine, period: Period) -> Result<Option<Sealed>, Error> {
    match engine.get_many(&[&keys::sealed(period)])?.pop().flatten() {
        Some(row) => Ok(Some(Sealed::decode(&row)?)),
        None => Ok(None),
    }
}

fn newest(engine: &dyn Engine, count: usize) -> Result<Vec<(Period, Sealed)>, Error> {
    let limit = ScanLimit { rows: count, bytes: count << 12 };
    let page = engine.scan(&keys::all_sealed(), Order::Descending, limit)?;
    let read = |(key, row): &(Vec<u8>, Vec<u8>)| {
        let period = key.last_chunk().map(|period| Period(u32::from_be_bytes(*period)));
        Ok((period.ok_or(Error::Damaged("placement log"))?, Sealed::decode(row)?))
    };
    page.rows.iter().map(read).collect()
}
