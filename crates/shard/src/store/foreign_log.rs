//! Logs of other shards of the region that rows here name: those of slots that came from there. A row under
//! `44` has the origin of each: `01`, the text.

use engine::{Engine, Key};

use crate::Error;
use crate::store::codec::{Reader, Writer};
use crate::store::types::LogId;

const FORMAT: u8 = 1;
const LOG: u8 = 0x44;

/// The key of such a row.
pub(crate) fn key(log: LogId) -> Key {
    [&[LOG][..], &log.0].concat()
}

/// The row of that log.
pub(crate) fn row(origin: &str) -> Vec<u8> {
    let mut row = Writer::with_capacity(64);
    row.u8(FORMAT).fixed(origin.as_bytes());
    row.0
}

/// The origin of a log of another shard. None: nothing here names it.
pub(crate) fn origin(engine: &dyn Engine, log: LogId) -> Result<Option<String>, Error> {
    let row = engine.get_many(&[&key(log)])?.pop().flatten();
    row.map(|row| read(&row)).transpose()
}

/// The origins of all such logs.
pub(crate) fn all(engine: &dyn Engine) -> Result<Vec<String>, Error> {
    let rows = crate::store::slots::all(engine, engine::Span::prefix(&[LOG]))?;
    rows.iter().map(|(_, row)| read(row)).collect()
}

fn read(row: &[u8]) -> Result<String, Error> {
    let mut row = Reader::new(row);
    row.format(FORMAT)?;
    String::from_utf8(row.rest().to_vec()).map_err(|_| Error::Damaged("logs"))
}
