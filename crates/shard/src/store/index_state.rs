//! Which indexes the map in force declares, which of them do not have all stored records yet, and how
//! far the walk has come that writes what is missing ([`crate::write::index_walk`]).
//!
//! A record's head says by which rows of indexes it is found. When a map declares an index or drops
//! one, the heads of stored records say what an earlier map said, until the walk has come to them. It
//! goes through all heads, from the first key to the last, and each new map with other indexes begins
//! it again. Writes are done by the map in force, so a head that the walk has passed stays right.
//!
//! Layout of the state: `01`, then of each collection that any map has declared its name, whether the
//! walk has to look at its records (1 byte), and its indexes with their number (4 bytes): the
//! attribute's name (empty: the collection's list), the codes of type and kind (1 byte each; 0 for the
//! list), and whether it is being built (1 byte). Of the walk: `01`, the records that it has changed (8
//! bytes), the key at which it goes on. There is no such row while nothing is to be done.

use std::collections::BTreeMap;

use atlas::{AttributeRules, CollectionRules, Index, RegionMap};
use engine::{Batch, Engine, Key, Order, ScanLimit, View};
use terms::{Collection, SlotSet};

use crate::Error;
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keys;

const FORMAT: u8 = 1;

/// One index of a collection.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IndexName {
    /// Empty: the collection's list.
    attribute: String,
    kind: u8,
    index: u8,
}

impl IndexName {
    /// The list of a collection.
    fn list() -> Self {
        Self { attribute: String::new(), kind: 0, index: 0 }
    }

    /// The index over an attribute. None: it has none.
    fn of_attribute(own: &AttributeRules) -> Option<Self> {
        let (kind, index) = (own.kind().code(), own.index());
        let attribute = own.name().as_str().to_owned();
        (index != Index::None).then(|| Self { attribute, kind, index: index.code() })
    }

    /// All of a collection.
    fn all(rules: &CollectionRules) -> impl Iterator<Item = Self> + '_ {
        let list = rules.listed().then(Self::list);
        rules.attributes().iter().filter_map(Self::of_attribute).chain(list)
    }
}

/// The indexes of one collection.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct CollectionIndexes {
    /// Heads of its records may say what an earlier map said.
    walked: bool,
    /// Whether each is being built.
    indexes: BTreeMap<IndexName, bool>,
}

impl CollectionIndexes {
    fn is_complete(&self, index: &IndexName) -> bool {
        self.indexes.get(index) == Some(&false)
    }

    /// Whether the index over that attribute has all records.
    pub(crate) fn has_all_by(&self, own: &AttributeRules) -> bool {
        IndexName::of_attribute(own).is_some_and(|index| self.is_complete(&index))
    }

    /// Whether the collection's list has all records.
    pub(crate) fn lists_all(&self) -> bool {
        self.is_complete(&IndexName::list())
    }
}

/// The indexes of all collections.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct IndexState(BTreeMap<String, CollectionIndexes>);

impl IndexState {
    /// What the store says. None: it has said nothing yet.
    pub(crate) fn read(view: &dyn View) -> Result<Option<Self>, Error> {
        let row = view.get_many(&[keys::INDEX_STATE])?.pop().flatten();
        Ok(row.map(|row| Self::decode(&row)).transpose()?)
    }

    /// Those of one collection. What the store does not know has no record.
    pub(crate) fn of(view: &dyn View, collection: &Collection) -> Result<CollectionIndexes, Error> {
        let state = Self::read(view)?.unwrap_or_default();
        Ok(state.0.get(collection.as_str()).cloned().unwrap_or_default())
    }

    /// Changes to the indexes of a map. `unknown`: there are records, and what earlier maps said of
    /// them was not written down. True: heads of stored records may say something else.
    fn follow(&mut self, map: &RegionMap, unknown: bool) -> bool {
        let mut changed = false;
        for rules in map.collections() {
            let wanted: Vec<IndexName> = IndexName::all(rules).collect();
            let name = rules.name().as_str();
            // Only a collection that a map has declared can have records.
            let known = unknown || self.0.contains_key(name);
            let own = self.0.entry(name.to_owned()).or_default();
            if own.indexes.len() == wanted.len()
                && wanted.iter().all(|index| own.indexes.contains_key(index))
            {
                continue;
            }
            let building = |index: &IndexName| own.indexes.get(index).copied().unwrap_or(known);
            own.indexes = wanted.iter().map(|index| (index.clone(), building(index))).collect();
            own.walked |= known;
            changed |= known;
        }
        for (name, own) in &mut self.0 {
            let declared = map.collections().any(|rules| rules.name().as_str() == name);
            if !declared && !own.indexes.is_empty() {
                own.indexes.clear();
                own.walked = true;
                changed = true;
            }
        }
        changed
    }

    /// The walk has come to the end.
    pub(crate) fn complete(&mut self) {
        for own in self.0.values_mut() {
            own.walked = false;
            own.indexes.values_mut().for_each(|building| *building = false);
        }
    }

    /// The collections of which the walk has to look at records.
    pub(crate) fn walked(&self) -> Result<Vec<Collection>, Error> {
        let walked = self.0.iter().filter(|(_, own)| own.walked);
        let parsed = walked.map(|(name, _)| Collection::parse(name).map_err(|_| Malformed.into()));
        parsed.collect()
    }

    /// What is being built: collection, and attribute (empty: the list).
    pub(crate) fn building(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(name, own)| {
            let building = own.indexes.iter().filter(|(_, building)| **building);
            building.map(|(index, _)| (name.as_str(), index.attribute.as_str()))
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = Writer::with_capacity(1024);
        row.u8(FORMAT);
        for (name, own) in &self.0 {
            row.text(name).u8(u8::from(own.walked));
            row.u32(u32::try_from(own.indexes.len()).expect("a collection has few indexes"));
            for (index, building) in &own.indexes {
                row.text(&index.attribute).u8(index.kind).u8(index.index).u8(u8::from(*building));
            }
        }
        row.0
    }

    fn decode(row: &[u8]) -> Result<Self, Malformed> {
        let flag = |row: &mut Reader<'_>| match row.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        };
        let mut row = Reader::new(row);
        row.format(FORMAT)?;
        let mut all = BTreeMap::new();
        while !row.rest().is_empty() {
            let name = row.text()?.to_owned();
            let walked = flag(&mut row)?;
            let mut indexes = BTreeMap::new();
            for _ in 0..row.u32()? {
                let attribute = row.text()?.to_owned();
                let index = IndexName { attribute, kind: row.u8()?, index: row.u8()? };
                indexes.insert(index, flag(&mut row)?);
            }
            all.insert(name, CollectionIndexes { walked, indexes });
        }
        Ok(Self(all))
    }
}

/// How far the walk has come.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct WalkPlace {
    /// Records whose rows it has changed.
    pub(crate) changed: u64,
    /// The first key that it has not looked at.
    pub(crate) next: Key,
}

impl WalkPlace {
    fn start() -> Self {
        Self { changed: 0, next: keys::subjects().from }
    }

    fn percent(&self, owned: &SlotSet) -> u32 {
        // Behind the prefix of subjects' rows.
        let next =
            self.next.get(1..3).and_then(|slot| slot.try_into().ok()).map_or(0, u16::from_be_bytes);
        let done = owned.iter().filter(|slot| slot.number() < next).count();
        u32::try_from(done * 100 / owned.len().max(1)).unwrap_or(100)
    }

    /// None: nothing is to be done.
    pub(crate) fn read(view: &dyn View) -> Result<Option<Self>, Error> {
        let row = view.get_many(&[keys::INDEX_WALK])?.pop().flatten();
        let Some(row) = row else { return Ok(None) };
        let mut row = Reader::new(&row);
        row.format(FORMAT)?;
        Ok(Some(Self { changed: row.u64()?, next: row.rest().to_vec() }))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = Writer::with_capacity(64);
        row.u8(FORMAT).u64(self.changed).fixed(&self.next);
        row.0
    }
}

/// Adds to the commit that takes a map what it changes of the indexes. A map that is in force already
/// changes nothing.
pub(crate) fn take_map(
    batch: &mut Batch,
    engine: &dyn Engine,
    map: &RegionMap,
) -> Result<(), Error> {
    let view = engine.view()?;
    let stored = IndexState::read(&*view)?;
    let unknown = stored.is_none() && {
        let limit = ScanLimit { rows: 1, bytes: 1 };
        !view.scan(&keys::subjects(), Order::Ascending, limit)?.rows.is_empty()
    };
    let mut state = stored.clone().unwrap_or_default();
    if state.follow(map, unknown) {
        batch.put(keys::INDEX_WALK.to_vec(), WalkPlace::start().encode());
    }
    if stored.as_ref() != Some(&state) {
        batch.put(keys::INDEX_STATE.to_vec(), state.encode());
    }
    Ok(())
}

/// What is not complete, for those who wait for it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct IndexesBuilding {
    /// Each by collection and attribute; without an attribute, the collection's list.
    pub(crate) indexes: Vec<(String, String)>,
    /// How much of the walk is done. Subjects lie by slot, so it is the part of the slots.
    pub(crate) percent: u32,
}

impl IndexesBuilding {
    /// What the store says. `owned`: the slots of the shard.
    pub(crate) fn read(engine: &dyn Engine, owned: &SlotSet) -> Result<Self, Error> {
        let view = engine.view()?;
        let state = IndexState::read(&*view)?.unwrap_or_default();
        let own = |(collection, attribute): (&str, &str)| (collection.into(), attribute.into());
        let indexes = state.building().map(own).collect();
        let percent = WalkPlace::read(&*view)?.map_or(100, |place| place.percent(owned));
        Ok(Self { indexes, percent })
    }
}
