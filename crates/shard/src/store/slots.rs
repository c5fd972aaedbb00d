//! The small rows that a start reads: the slots owned, the map accepted.

use engine::{Batch, Engine};
use ledger::entry::MapRef;
use terms::{Slot, SlotSet};

use crate::Error;
use crate::store::{codec, keys};

const FORMAT: u8 = 1;

/// The slots of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnSlots {
    /// Those that it serves.
    pub(crate) served: SlotSet,
    /// Those of which it has the ownership row, as another shard of the region may have. It serves them
    /// once each other shard has said that it does not have them.
    pub(crate) unconfirmed: SlotSet,
}

impl OwnSlots {
    /// What the store says.
    pub(crate) fn read(engine: &dyn Engine) -> Result<Self, Error> {
        let owned = owned_slots(engine)?;
        let row = engine.get_many(&[keys::UNCONFIRMED_SLOTS])?.pop().flatten();
        let unconfirmed = match row {
            None => SlotSet::NONE,
            Some(row) => {
                let mut row = codec::Reader::new(&row);
                row.format(FORMAT)?;
                let slots = row.rest();
                SlotSet::from_bytes(slots).ok_or(Error::Damaged("slots"))?.and(&owned)
            }
        };
        Ok(Self { served: owned.without(&unconfirmed), unconfirmed })
    }

    /// All of which it has the ownership row.
    pub(crate) fn all(&self) -> SlotSet {
        self.served.or(&self.unconfirmed)
    }

    /// Whether it has the ownership row of that slot.
    pub(crate) fn holds(&self, slot: Slot) -> bool {
        self.served.contains(slot) || self.unconfirmed.contains(slot)
    }

    /// The same once no other shard has these.
    pub(crate) fn confirmed(&self, free: &SlotSet) -> Self {
        let now = self.unconfirmed.and(free);
        Self { served: self.served.or(&now), unconfirmed: self.unconfirmed.without(&now) }
    }

    /// Notes which of them are not confirmed.
    pub(crate) fn put_unconfirmed(&self, batch: &mut Batch) {
        if self.unconfirmed.is_empty() {
            return batch.delete(keys::UNCONFIRMED_SLOTS.to_vec());
        }
        let mut row = codec::Writer::with_capacity(160);
        row.u8(FORMAT).fixed(self.unconfirmed.as_bytes());
        batch.put(keys::UNCONFIRMED_SLOTS.to_vec(), row.0);
    }

    /// What operators are told.
    pub(crate) fn shown(&self) -> String {
        let Self { served, unconfirmed } = self;
        let mut text = if served.is_empty() { "none".to_owned() } else { served.to_string() };
        if !unconfirmed.is_empty() {
            text += &format!("; not served until the other shards confirm them: {unconfirmed}");
        }
        text
    }
}

/// The slots of which the store has the ownership row.
fn owned_slots(engine: &dyn Engine) -> Result<SlotSet, Error> {
    let limit = engine::ScanLimit { rows: usize::from(terms::SLOTS), bytes: 1 << 20 };
    let page = engine.scan(&keys::slots(), engine::Order::Ascending, limit)?;
    let mut owned = SlotSet::NONE;
    for (key, row) in &page.rows {
        codec::Reader::new(row).format(FORMAT)?;
        let number = key.last_chunk().map(|number| u16::from_be_bytes(*number));
        owned.insert(number.and_then(Slot::new).ok_or(Error::Damaged("slots"))?);
    }
    Ok(owned)
}

/// Bytes of the row that says which region map is in force.
pub(crate) const MAP_ROW_BYTES: usize = 1 + 8 + 32;

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
