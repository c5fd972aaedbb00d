//! The placement log in the store: its rows, its right edge, and what one commit adds.

pub(crate) mod access_counters;
pub(crate) mod begun_backup;
pub(crate) mod checkpoint_file;
pub(crate) mod checkpointer;
pub(crate) mod closed_periods;
pub(crate) mod erasure_file;
pub(crate) mod first_commit;
pub(crate) mod key_request;
pub(crate) mod known_erasures;
pub(crate) mod rotation_request;
pub(crate) mod slots_request;
pub(crate) mod verifier_keys;
pub(crate) mod view;
pub(crate) mod witness;

use engine::{Batch, Engine, Order, ScanLimit, View};
use ledger::entry::{Entry, Kind};
use ledger::hash::{Hash, leaf_hash};
use ledger::tile::{HashReader, TileId};
use ledger::tree::Edge;
use terms::UnixMillis;

use crate::Error;
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keys;
use crate::store::types::{EntryAt, LogIndex, Minute, Period};

const FORMAT: u8 = 1;
const DAMAGED: Error = Error::Damaged("placement log");
/// Rows of entries read at once.
const ROWS_AT_ONCE: usize = 64;
/// Bytes of entries read at once.
const BYTES_AT_ONCE: usize = 4 << 20;

/// The right edge row: where the log ends, and when the last commit was.
#[derive(Clone)]
pub(crate) struct EdgeRow {
    pub(crate) period: Period,
    /// Entries of the periods before this one, so that the store's head never falls.
    pub(crate) base: u64,
    pub(crate) size: u64,
    pub(crate) committed: UnixMillis,
    peaks: Vec<Hash>,
}

impl EdgeRow {
    /// Reads the row.
    pub(crate) fn read(engine: &dyn Engine) -> Result<Self, Error> {
        Self::read_in(&*engine.view()?)
    }

    /// Reads the row of a view.
    pub(crate) fn read_in(view: &dyn View) -> Result<Self, Error> {
        let row = view.get_many(&[keys::EDGE])?.pop().flatten().ok_or(DAMAGED)?;
        Ok(Self::decode(&row)?)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut row = Reader::new(bytes);
        row.format(FORMAT)?;
        let (period, base, size) = (Period(row.u32()?), row.u64()?, row.u64()?);
        let committed = UnixMillis(row.u64()?);
        let mut peaks = Vec::new();
        for _ in 0..row.u32()? {
            peaks.push(Hash(row.array()?));
        }
        row.end()?;
        Ok(Self { period, base, size, committed, peaks })
    }
}

/// One period of the log, as it is durable.
pub(crate) struct Log {
    pub(crate) period: Period,
    pub(crate) base: u64,
    pub(crate) edge: Edge,
}

impl Log {
    /// A period that has no entry yet.
    pub(crate) fn new(period: Period, base: u64) -> Self {
        Self { period, base, edge: Edge::new() }
    }

    /// Reads the edge back from full tiles and the last entries, and compares it with what the
    /// last commit stored of it.
    pub(crate) fn restore(engine: &dyn Engine, row: &EdgeRow) -> Result<Self, Error> {
        let edge = edge_at(engine, row.period, row.size)?;
        if edge.peaks() != row.peaks {
            return Err(DAMAGED);
        }
        Ok(Self { period: row.period, base: row.base, edge })
    }

    /// The head that the store has with this log.
    pub(crate) fn head_size(&self) -> u64 {
        self.base + self.edge.size()
    }
}

/// The edge that a log had when it had `size` entries.
pub(crate) fn edge_at(engine: &dyn Engine, period: Period, size: u64) -> Result<Edge, Error> {
    let mut leaves = Vec::new();
    let unfinished = size - size % u64::from(ledger::tile::TILE_WIDTH);
    each_entry(engine, period, unfinished, size, &mut |_, entry| {
        leaves.push(leaf_hash(entry));
        Ok(())
    })?;
    let mut tiles = FullTiles { engine, period };
    Edge::restore(size, &mut tiles, &leaves).map_err(|_| DAMAGED)
}

/// The root that the log had at `size`, from its tiles and, for the rest, `edge`.
pub(crate) fn root_at(
    engine: &dyn Engine,
    period: Period,
    edge: &Edge,
    size: u64,
) -> Result<Hash, Error> {
    let mut tiles = Tiles { engine, period, edge };
    ledger::tree::root_at(size, &mut tiles).map_err(|_| DAMAGED)
}

/// All tiles of a log: those that are stored, which are full, and the unfinished ones of its edge.
pub(crate) struct Tiles<'a> {
    pub(crate) engine: &'a dyn Engine,
    pub(crate) period: Period,
    pub(crate) edge: &'a Edge,
}

impl HashReader for Tiles<'_> {
    type Error = Error;

    fn read_tile(&mut self, tile: TileId) -> Result<Vec<u8>, Error> {
        match self.edge.read(tile) {
            Some(bytes) => Ok(bytes),
            None => FullTiles { engine: self.engine, period: self.period }.read_tile(tile),
        }
    }
}

/// Stored full tiles, cut to what is asked for.
struct FullTiles<'a> {
    engine: &'a dyn Engine,
    period: Period,
}

impl HashReader for FullTiles<'_> {
    type Error = Error;

    fn read_tile(&mut self, tile: TileId) -> Result<Vec<u8>, Error> {
        let key = keys::tile(self.period, tile);
        let row = self.engine.get_many(&[&key])?.pop().flatten().ok_or(DAMAGED)?;
        let (format, hashes) = row.split_first().ok_or(DAMAGED)?;
        match hashes.get(..tile.bytes()) {
            Some(cut) if *format == FORMAT => Ok(cut.to_vec()),
            _ => Err(DAMAGED),
        }
    }
}

/// What is done with an entry: its index, its bytes.
pub(crate) type Each<'a> = dyn FnMut(u64, &[u8]) -> Result<(), Error> + 'a;

/// Calls `each` with the index and the bytes of every entry in `from..until`, in order.
pub(crate) fn each_entry(
    engine: &dyn Engine,
    period: Period,
    from: u64,
    until: u64,
    each: &mut Each<'_>,
) -> Result<(), Error> {
    if from >= until {
        return Ok(());
    }
    // The row that holds `from` is the last one that begins at or before it.
    let one = ScanLimit { rows: 1, bytes: BYTES_AT_ONCE };
    let before = keys::entries_span(period, 0, from + 1);
    let page = engine.scan(&before, Order::Descending, one)?;
    let mut at = page.rows.first().and_then(|(key, _)| keys::entries_index(key)).ok_or(DAMAGED)?;
    let limit = ScanLimit { rows: ROWS_AT_ONCE, bytes: BYTES_AT_ONCE };
    while at < until {
        let page = engine.scan(&keys::entries_span(period, at, until), Order::Ascending, limit)?;
        if page.rows.is_empty() {
            return Err(DAMAGED);
        }
        for (key, row) in &page.rows {
            if keys::entries_index(key) != Some(at) {
                return Err(DAMAGED);
            }
            for entry in entries_of(row)? {
                let entry = entry?;
                if (from..until).contains(&at) {
                    each(at, entry)?;
                }
                at += 1;
            }
        }
    }
    Ok(())
}

/// The bytes of an entry of a period, by where a record says that it stands: one point read.
pub(crate) fn entry_in_row(
    engine: &dyn Engine,
    period: Period,
    at: EntryAt,
) -> Result<Vec<u8>, Error> {
    let row = engine.get_many(&[&keys::entries(period, at.first.0)])?.pop().flatten();
    let place = at.index.0.checked_sub(at.first.0).and_then(|place| usize::try_from(place).ok());
    let (row, place) = (row.ok_or(DAMAGED)?, place.ok_or(DAMAGED)?);
    entries_of(&row)?.nth(place).ok_or(DAMAGED)?.map(<[u8]>::to_vec)
}

/// The bytes of the entry at `index`, wherever its row begins.
pub(crate) fn entry_at(engine: &dyn Engine, period: Period, index: u64) -> Result<Vec<u8>, Error> {
    let mut found = None;
    each_entry(engine, period, index, index + 1, &mut |_, entry| {
        found = Some(entry.to_vec());
        Ok(())
    })?;
    found.ok_or(DAMAGED)
}

/// Whether a log ends with a SEAL: nothing may follow it.
pub(crate) fn ends_in_seal(engine: &dyn Engine, log: &Log) -> Result<bool, Error> {
    let Some(last) = log.edge.size().checked_sub(1) else { return Ok(false) };
    Ok(decoded(engine, log.period, last)?.kind == Kind::Seal)
}

/// When a period began.
pub(crate) fn began(engine: &dyn Engine, period: Period) -> Result<Minute, Error> {
    Ok(Minute(decoded(engine, period, 0)?.minute))
}

fn decoded(engine: &dyn Engine, period: Period, index: u64) -> Result<Entry, Error> {
    Entry::decode(&entry_at(engine, period, index)?).map_err(|_| DAMAGED)
}

/// An entries row taken apart: a format byte, then each entry with its length, as in a bundle.
pub(crate) fn entries_of(row: &[u8]) -> Result<Entries<'_>, Error> {
    match row.split_first() {
        Some((format, rest)) if *format == FORMAT && !rest.is_empty() => Ok(Entries { rest }),
        _ => Err(DAMAGED),
    }
}

/// The entries of one row. It ends with the first that is cut short.
pub(crate) struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<&'a [u8], Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let entry = rest.split_first_chunk::<2>().and_then(|(length, tail)| {
            tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        });
        Some(entry.map_or(Err(DAMAGED), |(entry, tail)| {
            self.rest = tail;
            Ok(entry)
        }))
    }
}

/// What one commit adds to the log. It becomes the log only when the commit is durable.
pub(crate) struct Draft {
    period: Period,
    base: u64,
    first: u64,
    /// The edge before its first entry.
    before: Edge,
    edge: Edge,
    /// Entries of records whose time had come.
    expired: u64,
    row: Vec<u8>,
    tiles: Vec<(TileId, Vec<u8>)>,
}

/// How far a draft was.
#[derive(Clone, Copy)]
pub(crate) struct DraftMark {
    bytes: usize,
    expired: u64,
}

impl Draft {
    pub(crate) fn new(log: &Log) -> Self {
        Self {
            period: log.period,
            base: log.base,
            first: log.edge.size(),
            before: log.edge.clone(),
            edge: log.edge.clone(),
            expired: 0,
            row: vec![FORMAT],
            tiles: Vec::new(),
        }
    }

    /// The index of its first entry.
    pub(crate) const fn first_index(&self) -> LogIndex {
        LogIndex(self.first)
    }

    /// The index that the next entry will have.
    pub(crate) fn next_index(&self) -> LogIndex {
        LogIndex(self.edge.size())
    }

    /// Adds an entry and returns its bytes.
    pub(crate) fn append(&mut self, entry: &Entry) -> Result<Vec<u8>, ledger::entry::Error> {
        let bytes = entry.encode()?;
        let length = u16::try_from(bytes.len()).expect("ENTRY_BYTES_MAX is below 64 KiB");
        self.row.extend_from_slice(&length.to_be_bytes());
        self.row.extend_from_slice(&bytes);
        self.edge.append(leaf_hash(&bytes), &mut self.tiles);
        self.expired += u64::from(entry.kind == Kind::Expire);
        Ok(bytes)
    }

    /// How far it is, so that what is added from here on can be taken back.
    pub(crate) const fn mark(&self) -> DraftMark {
        DraftMark { bytes: self.row.len(), expired: self.expired }
    }

    /// Takes back the entries that were added since that mark.
    pub(crate) fn back_to(&mut self, mark: DraftMark) -> Result<(), Error> {
        if self.row.len() == mark.bytes {
            return Ok(());
        }
        self.row.truncate(mark.bytes);
        self.expired = mark.expired;
        self.edge = self.before.clone();
        self.tiles.clear();
        if self.row.len() > 1 {
            for entry in entries_of(&self.row)? {
                self.edge.append(leaf_hash(entry?), &mut self.tiles);
            }
        }
        Ok(())
    }

    /// The bytes of an entry that this draft added.
    pub(crate) fn entry(&self, index: LogIndex) -> Option<Vec<u8>> {
        let place = usize::try_from(index.0.checked_sub(self.first)?).ok()?;
        entries_of(&self.row).ok()?.nth(place)?.ok().map(<[u8]>::to_vec)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.edge.size() == self.first
    }

    /// Records that it deletes, since their time had come.
    pub(crate) const fn expired(&self) -> u64 {
        self.expired
    }

    /// Bytes of what it adds.
    pub(crate) fn bytes(&self) -> usize {
        self.row.len() + self.tiles.iter().map(|(_, hashes)| hashes.len()).sum::<usize>()
    }

    /// Adds the log's rows to the batch: entries, finished tiles, the new right edge. Returns the
    /// new edge and the head that the store gets with it.
    pub(crate) fn finish(self, batch: &mut Batch, now: UnixMillis) -> (Edge, u64) {
        batch.put(keys::entries(self.period, self.first), self.row);
        for (tile, hashes) in self.tiles {
            let mut row = Writer::with_capacity(1 + hashes.len());
            row.u8(FORMAT).fixed(&hashes);
            batch.put(keys::tile(self.period, tile), row.0);
        }
        let mut row = Writer::with_capacity(512);
        row.u8(FORMAT).u32(self.period.0).u64(self.base).u64(self.edge.size()).u64(now.0);
        row.u32(u32::try_from(self.edge.peaks().len()).expect("at most 64 peaks"));
        for peak in self.edge.peaks() {
            row.fixed(&peak.0);
        }
        batch.put(keys::EDGE, row.0);
        let head = self.base + self.edge.size();
        (self.edge, head)
    }
}
