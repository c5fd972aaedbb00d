//! The region maps that this shard has taken: each in a row of its own, whole, with who signed it.
//! The newest is in force. It never goes back to an older one.

use std::sync::Arc;

use atlas::{RegionMap, SignedMap, Succession, VerifiedMap};
use engine::{Batch, Engine, Order, ScanLimit};
use ledger::Signers;
use ledger::entry::{Entry, MapRef};
use terms::{Reason, Rejection};

use crate::Error;
use crate::store::codec::{Reader, Writer};
use crate::store::slots::{decode_map, encode_map};
use crate::store::types::{EpochNumber, Minute};
use crate::store::{feed, keys};

const FORMAT: u8 = 1;
/// Maps on one page of the history.
const HISTORY_PAGE_MAX: usize = 256;
/// Bytes of rows that one look at the history reads.
const HISTORY_BYTES_MAX: usize = 64 << 20;

/// A map that this shard has taken, as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) digest: [u8; 32],
    pub(crate) minute: Minute,
    pub(crate) by: Vec<String>,
    pub(crate) signed: SignedMap,
}

/// A map that is to be taken: whose signatures are good, and which was read.
#[derive(Debug, Clone)]
pub(crate) struct Offered {
    pub(crate) sealed: VerifiedMap,
    pub(crate) signed: SignedMap,
}

pub(crate) fn map_ref(map: &RegionMap) -> MapRef {
    let epoch = map.epoch();
    MapRef { epoch: epoch.number, digest: epoch.digest }
}

/// Opens a map that is brought, with the keys that this process knows.
///
/// # Errors
/// `MAP_UNSIGNED`, also when no keys are known; `MAP_INVALID`.
pub(crate) fn open(signed: SignedMap, signers: Option<&Signers>) -> Result<Offered, Rejection> {
    let Some(signers) = signers else {
        let fault = Rejection::new(Reason::MapUnsigned).field("map");
        return Err(fault
            .problem("this shard knows no signers of maps")
            .cure("name `map_signers` in its configuration"));
    };
    let sealed = signed.open(|note| signers.signed_by(note))?;
    Ok(Offered { sealed, signed })
}

/// Whether an offered map may follow the one in force.
///
/// # Errors
/// As [`atlas::succeeds`].
pub(crate) fn may_follow(
    in_force: Option<&RegionMap>,
    offered: &Offered,
) -> Result<Succession, Rejection> {
    atlas::succeeds(in_force, &offered.sealed.map, offered.sealed.by.len())
}

/// The rows and the entry of a map that is taken.
pub(crate) fn take_into(batch: &mut Batch, offered: &Offered, minute: Minute) -> Entry {
    let map = map_ref(&offered.sealed.map);
    let mut by = offered.sealed.by.clone();
    by.sort_unstable();
    let taken =
        Taken { digest: map.digest, minute, by: by.clone(), signed: offered.signed.clone() };
    batch.put(keys::MAP, encode_map(map));
    batch.put(keys::map_taken(EpochNumber(map.epoch)), taken.encode());
    batch.put(keys::map_feeds(EpochNumber(map.epoch)), feed::of_map(&offered.sealed.map));
    Entry::map_taken(minute.0, map, &by)
}

impl Taken {
    fn encode(&self) -> Vec<u8> {
        let mut row = Writer::with_capacity(self.signed.text.len() + 1024);
        row.u8(FORMAT).fixed(&self.digest).u32(self.minute.0);
        write_texts(&mut row, &self.by);
        row.text(&self.signed.text).text(&self.signed.note);
        write_texts(&mut row, &self.signed.packs);
        row.0
    }

    /// Reads the row of one.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut row = Reader::new(bytes);
        row.format(FORMAT)?;
        let (digest, minute) = (row.array()?, Minute(row.u32()?));
        let by = texts(&mut row)?;
        let (text, note) = (row.text()?.to_owned(), row.text()?.to_owned());
        let packs = texts(&mut row)?;
        row.end()?;
        Ok(Self { digest, minute, by, signed: SignedMap { text, note, packs } })
    }
}

fn write_texts(row: &mut Writer, texts: &[String]) {
    row.u32(u32::try_from(texts.len()).unwrap_or(u32::MAX));
    for text in texts {
        row.text(text);
    }
}

fn texts(row: &mut Reader<'_>) -> Result<Vec<String>, Error> {
    let mut texts = Vec::new();
    for _ in 0..row.u32()? {
        texts.push(row.text()?.to_owned());
    }
    Ok(texts)
}

/// Which map the store says is in force.
pub(crate) fn in_force(engine: &dyn Engine) -> Result<MapRef, Error> {
    let row = engine.get_many(&[keys::MAP])?.pop().flatten();
    decode_map(&row.ok_or(Error::Damaged("region map"))?)
}

/// The map of exactly that number, if the shard has taken it and kept it whole.
pub(crate) fn exactly(engine: &dyn Engine, epoch: EpochNumber) -> Result<Option<Taken>, Error> {
    let row = engine.get_many(&[&keys::map_taken(epoch)])?.pop().flatten();
    row.map(|row| Taken::decode(&row)).transpose()
}

/// The first map that was taken after that number.
pub(crate) fn after(engine: &dyn Engine, epoch: EpochNumber) -> Result<Option<Taken>, Error> {
    let Some(next) = epoch.next() else { return Ok(None) };
    let limit = ScanLimit { rows: 1, bytes: 1 };
    let page = engine.scan(&keys::maps_taken(next), Order::Ascending, limit)?;
    page.rows.first().map(|(_, row)| Taken::decode(row)).transpose()
}

/// A page of those that were taken after that number, oldest first: number, and the map without
/// its text; and whether more may follow.
pub(crate) fn history(
    engine: &dyn Engine,
    after: EpochNumber,
) -> Result<(Vec<(EpochNumber, Taken)>, bool), Error> {
    let mut page = Vec::new();
    let mut last = after;
    while page.len() < HISTORY_PAGE_MAX {
        let Some(next) = last.next() else { return Ok((page, false)) };
        let rows = (HISTORY_PAGE_MAX - page.len()).min(64);
        let limit = ScanLimit { rows, bytes: HISTORY_BYTES_MAX };
        let read = engine.scan(&keys::maps_taken(next), Order::Ascending, limit)?;
        if read.rows.is_empty() {
            return Ok((page, false));
        }
        for (key, row) in &read.rows {
            last = keys::map_taken_epoch(key).ok_or(Error::Damaged("region maps"))?;
            let mut taken = Taken::decode(row)?;
            taken.signed = SignedMap::default();
            page.push((last, taken));
        }
    }
    Ok((page, true))
}

/// A map that came into force, and with it the sessions' reason to say so.
pub(crate) type InForce = tokio::sync::watch::Sender<Arc<RegionMap>>;

#[cfg(test)]
mod tests {
    use engine::{Disk, Memory};

    use super::*;

    #[test]
    fn a_history_comes_in_pages_and_loses_none() {
        let engine = Memory::open(&Disk::new(1));
        let head = engine.head().unwrap();
        let mut batch = Batch::new();
        let many = 2 * HISTORY_PAGE_MAX as u64 + 10;
        for epoch in (1..=many).map(EpochNumber) {
            let signed = SignedMap { text: "text".to_owned(), ..SignedMap::default() };
            let by = vec!["anna".to_owned()];
            let taken = Taken { digest: [1; 32], minute: Minute(7), by, signed };
            batch.put(keys::map_taken(epoch), taken.encode());
        }
        engine.commit(batch, head, head.size).unwrap();
        let (mut after, mut seen, mut pages) = (EpochNumber(0), Vec::new(), 0);
        loop {
            let (page, more) = history(&engine, after).unwrap();
            assert!(page.len() <= HISTORY_PAGE_MAX);
            seen.extend(page.iter().map(|(epoch, _)| *epoch));
            after = seen.last().copied().unwrap();
            pages += 1;
            if !more {
                break;
            }
        }
        assert_eq!(seen, (1..=many).map(EpochNumber).collect::<Vec<_>>());
        assert_eq!(pages, 3);
        assert_eq!(history(&engine, EpochNumber(many)).unwrap(), (Vec::new(), false));
        assert_eq!(history(&engine, EpochNumber(u64::MAX)).unwrap(), (Vec::new(), false));
    }
}
