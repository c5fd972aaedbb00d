//! The placement logs in a backup: their trees, computed again from the entries.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use ledger::Hash;
use ledger::checkpoint::Checkpoint;
use ledger::hash::leaf_hash;
use ledger::note::Verifier;
use ledger::tile::TileId;
use ledger::tree::Edge;

use crate::Error;
use crate::log::closed_periods::Sealed;
use crate::log::entries_of;
use crate::store::keys;
use crate::store::types::Period;

const DAMAGED: Error = Error::Damaged("placement log");

/// The logs of all periods, of which the rows come in the order of their keys.
#[derive(Default)]
pub(super) struct Logs {
    /// The one whose entries come now.
    current: Option<(Period, Edge)>,
    /// Size and root of each, once its entries are over.
    ended: BTreeMap<Period, (u64, Hash)>,
    /// Full tiles by period and level: those that the entries give, and those that are stored.
    given: BTreeMap<(Period, u8), Tiles>,
    stored: BTreeMap<(Period, u8), Tiles>,
}

/// Tiles of one level, in their order.
struct Tiles(Context);

impl Default for Tiles {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Tiles {
    fn add(&mut self, tile: TileId, hashes: &[u8]) {
        self.0.update(&tile.index.to_be_bytes());
        self.0.update(hashes);
    }
}

impl Logs {
    /// Takes the next row, if it is a log's.
    pub(super) fn row(&mut self, key: &[u8], row: &[u8]) -> Result<(), Error> {
        match key.first() {
            Some(0x40) => self.entries(key, row),
            Some(0x42) => {
                let (period, tile) = tile_of(key).ok_or(DAMAGED)?;
                let hashes = row.get(1..).ok_or(DAMAGED)?;
                self.stored.entry((period, tile.level)).or_default().add(tile, hashes);
                Ok(())
            }
            Some(0x43) => {
                self.end();
                let period = key.last_chunk().map(|period| Period(u32::from_be_bytes(*period)));
                let period = period.ok_or(DAMAGED)?;
                let sealed = Sealed::decode(row)?;
                self.signed(period, &sealed.vkey, &sealed.note).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn entries(&mut self, key: &[u8], row: &[u8]) -> Result<(), Error> {
        let at = keys::fed_commit(key).ok_or(DAMAGED)?;
        if self.current.as_ref().is_none_or(|(period, _)| *period != at.period) {
            self.end();
        }
        let (_, edge) = self.current.get_or_insert_with(|| (at.period, Edge::new()));
        if edge.size() != at.index {
            return Err(DAMAGED);
        }
        let mut tiles = Vec::new();
        for entry in entries_of(row)? {
            edge.append(leaf_hash(entry?), &mut tiles);
        }
        for (tile, hashes) in tiles.iter().filter(|(tile, _)| tile.is_full()) {
            self.given.entry((at.period, tile.level)).or_default().add(*tile, hashes);
        }
        Ok(())
    }

    fn end(&mut self) {
        if let Some((period, edge)) = self.current.take() {
            self.ended.insert(period, (edge.size(), edge.root()));
        }
    }

    /// Whether a period's log is the one that its checkpoint signs. The checkpoint.
    fn signed(&self, period: Period, vkey: &str, note: &str) -> Result<Checkpoint, Error> {
        let verifier = Verifier::from_vkey(vkey).map_err(|_| DAMAGED)?;
        let checkpoint = Checkpoint::open(note, &verifier).map_err(|_| DAMAGED)?;
        let found = self.ended.get(&period);
        if found == Some(&(checkpoint.size, checkpoint.root)) {
            Ok(checkpoint)
        } else {
            Err(DAMAGED)
        }
    }

    /// After the last row: the newest checkpoint, if all of its log is there.
    pub(super) fn finish(
        mut self,
        period: Period,
        vkey: &str,
        note: &str,
    ) -> Result<Checkpoint, Error> {
        self.end();
        let digests = |tiles: BTreeMap<(Period, u8), Tiles>| -> BTreeMap<_, Vec<u8>> {
            let digest = |tiles: Tiles| tiles.0.finish().as_ref().to_vec();
            tiles.into_iter().map(|(level, tiles)| (level, digest(tiles))).collect()
        };
        let checkpoint = self.signed(period, vkey, note)?;
        if digests(self.given) == digests(self.stored) { Ok(checkpoint) } else { Err(DAMAGED) }
    }
}

/// The period and the tile in the key of a full tile.
fn tile_of(key: &[u8]) -> Option<(Period, TileId)> {
    let (period, tile) = key.get(1..)?.split_first_chunk()?;
    let (level, index) = tile.split_first()?;
    let index = u64::from_be_bytes(index.try_into().ok()?);
    Some((Period(u32::from_be_bytes(*period)), TileId::full(*level, index)))
}
