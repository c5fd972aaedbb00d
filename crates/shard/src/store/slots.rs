//! The small rows that a start reads: the slots owned, the map accepted.

use engine::{Batch, Engine, Key, Span, Value};
use ledger::entry::MapRef;
use terms::{Slot, SlotSet};

use crate::Error;
use crate::store::slot_move::{Coming, ComingState, Going, GoingState, SlotsOnTheWay};
use crate::store::{codec, keys, slot_move};

const FORMAT: u8 = 1;

/// The slots of a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct OwnSlots {
    /// Those that it serves.
    pub(crate) served: SlotSet,
    /// Those of which it has the ownership row, as another shard of the region may have. It serves them
    /// once each other shard has said that it does not have them.
    pub(crate) unconfirmed: SlotSet,
    /// Those that move between it and another shard of the region.
    pub(crate) on_the_way: SlotsOnTheWay,
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
        let on_the_way = on_the_way(engine)?;
        let served = owned.without(&unconfirmed).without(&on_the_way.installing);
        Ok(Self { served, unconfirmed, on_the_way })
    }

    /// All of which it has the ownership row.
    pub(crate) fn all(&self) -> SlotSet {
        self.served.or(&self.unconfirmed)
    }

    /// All that no other shard of the region may have: those that are its own, those that come, and those
    /// that were given away, until the other shard has said that they are its own.
    pub(crate) fn claimed(&self) -> SlotSet {
        let SlotsOnTheWay { left, staging, installing, .. } = &self.on_the_way;
        self.all().or(left).or(staging).or(installing)
    }

    /// Whether each slot is served by this store, or has nothing in it: then what goes over all people
    /// finds those of its slots, and no others.
    pub(crate) fn are_settled(&self) -> bool {
        let SlotsOnTheWay { left, installing, .. } = &self.on_the_way;
        self.unconfirmed.is_empty() && left.is_empty() && installing.is_empty()
    }

    /// Whether it has the ownership row of that slot.
    pub(crate) fn holds(&self, slot: Slot) -> bool {
        self.served.contains(slot) || self.unconfirmed.contains(slot)
    }

    /// Whether anything of that slot may be written.
    pub(crate) fn is_written(&self, slot: Slot) -> bool {
        self.holds(slot) && !self.on_the_way.frozen.contains(slot)
    }

    /// The same once no other shard has these.
    pub(crate) fn confirmed(&self, free: &SlotSet) -> Self {
        let now = self.unconfirmed.and(free);
        let unconfirmed = self.unconfirmed.without(&now);
        // One whose rows are not all in their places is served once they are.
        let served = self.served.or(&now.without(&self.on_the_way.installing));
        Self { served, unconfirmed, on_the_way: self.on_the_way.clone() }
    }

    /// Takes back the ownership row of a slot that is not confirmed.
    pub(crate) fn let_go(mut self, slot: Slot, batch: &mut Batch) {
        self.unconfirmed = self.unconfirmed.without(&std::iter::once(slot).collect());
        self.put_unconfirmed(batch);
        batch.delete(keys::slot(slot));
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
        let Self { served, unconfirmed, on_the_way } = self;
        let mut text = if served.is_empty() { "none".to_owned() } else { served.to_string() };
        if !unconfirmed.is_empty() {
            text += &format!("; not served until the other shards confirm them: {unconfirmed}");
        }
        let SlotsOnTheWay { frozen, left, staging, installing } = on_the_way;
        for (what, slots) in [
            ("being moved away, and not written", frozen),
            ("given away, with rows that are left here", left),
            ("coming", &staging.or(installing)),
        ] {
            if !slots.is_empty() {
                text += &format!("; {what}: {slots}");
            }
        }
        text
    }
}

/// Writes the ownership row of a slot.
pub(crate) fn own(batch: &mut Batch, slot: Slot) {
    batch.put(keys::slot(slot), vec![FORMAT]);
}

/// The slots that move between the store and another shard.
fn on_the_way(engine: &dyn Engine) -> Result<SlotsOnTheWay, Error> {
    let damaged = || Error::Damaged("slots");
    let mut slots = SlotsOnTheWay::default();
    for (key, row) in all(engine, slot_move::all_going())? {
        let slot = slot_move::slot_of_going(&key).ok_or_else(damaged)?;
        match Going::read(&row)?.state {
            GoingState::Frozen => slots.frozen.insert(slot),
            GoingState::Left(_) => slots.left.insert(slot),
            GoingState::Ordered | GoingState::GivenUp => {}
        }
    }
    for (key, row) in all(engine, Coming::all())? {
        let (slot, _) = Coming::of_key(&key).ok_or_else(damaged)?;
        match Coming::read(&row)?.state {
            ComingState::Staging(_) => slots.staging.insert(slot),
            ComingState::Installing(_) => slots.installing.insert(slot),
            ComingState::Adopted | ComingState::Dropped => {}
        }
    }
    Ok(slots)
}

/// All rows of a span of small rows.
pub(crate) fn all(engine: &dyn Engine, mut span: Span) -> Result<Vec<(Key, Value)>, Error> {
    let limit = engine::ScanLimit { rows: usize::from(terms::SLOTS), bytes: 1 << 20 };
    let mut found = Vec::new();
    loop {
        let page = engine.scan(&span, engine::Order::Ascending, limit)?;
        let Some((last, _)) = page.rows.last() else { return Ok(found) };
        span.from = [last.as_slice(), &[0]].concat();
        found.extend(page.rows);
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
