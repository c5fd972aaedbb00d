//! The small rows that a start reads: the slots owned, the map accepted.

use engine::Engine;
use ledger::entry::MapRef;

use crate::Error;
use crate::store::{codec, keys};

const FORMAT: u8 = 1;

pub(crate) fn owned_slots(engine: &dyn Engine) -> Result<Vec<bool>, Error> {
    let limit = engine::ScanLimit { rows: usize::from(terms::SLOTS), bytes: 1 << 20 };
    let page = engine.scan(&keys::slots(), engine::Order::Ascending, limit)?;
    let mut owned = vec![false; usize::from(terms::SLOTS)];
    for (key, row) in &page.rows {
        codec::Reader::new(row).format(FORMAT)?;
        let number = key.last_chunk().map(|number| usize::from(u16::from_be_bytes(*number)));
        let place = number.and_then(|number| owned.get_mut(number));
        *place.ok_or(Error::Damaged("slots"))? = true;
    }
    Ok(owned)
}

pub(crate) fn encode_map(map: MapRef) -> Vec<u8> {
    let mut row = codec::Writer::with_capacity(48);
    row.u8(FORMAT).u64(map.epoch).fixed(&map.digest);
    row.0
}

pub(crate) fn decode_map(row: &[u8]) -> Result<MapRef, Error> {
    let mut row = codec::Reader::new(row);
    row.format(FORMAT)?;
    let map = MapRef { epoch: row.u64()?, digest: row.array()? };
    row.end()?;
    Ok(map)
}
