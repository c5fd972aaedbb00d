//! Who was erased, in a file of its own outside the data folder.
//!
//! A backup still holds those who were erased after it was made. This file names them, by the keyed
//! hashes of their rows, so that a restore erases them again. An erasure is acknowledged only once
//! it stands here. The store lists the same erasures, so a file that is missing, or lags because of
//! a crash, is completed from it.
//!
//! Records of 256 bytes, the first of which names no erasure: format `01`, a nonce (12 bytes), and
//! sealed under a key of the region, bound to the shard and to the record's place: period and index
//! of the ERASE entry, the key of the subject's row, what was erased (`00` and its tombstone, or `01`,
//! the collection and the request), zeros.
//!
//! The store's list has a row for each: `33` and the place of the entry; and in it `01`, the key of the
//! subject's row, and the collection and the request, if it was not the whole subject.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, ErrorKind, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use engine::{Batch, Engine, Key, Order, ScanLimit, Span, Value};
use terms::{Collection, Entropy};

use crate::store::aead::{NONCE_BYTES, SealKey, TAG_BYTES, binding};
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keyring::Keyring;
use crate::store::types::{CommitAt, Period, Recent};
use crate::store::{directories, keys};
use crate::{Error, Settings};

const FORMAT: u8 = 1;
/// The prefix of the store's list.
const LISTED: u8 = 0x33;
const RECORD_BYTES: usize = 256;
/// Bytes that are sealed.
const PLAIN_BYTES: usize = RECORD_BYTES - 1 - NONCE_BYTES - TAG_BYTES;
/// Erasures that are added at once.
const AT_ONCE: usize = 256;
/// The place of the first record, which names no erasure.
const NO_ENTRY: CommitAt = CommitAt { period: Period(0), index: 0 };

/// An erasure that the file names.
pub(crate) struct KnownErasure {
    /// Its ERASE entry.
    pub(crate) entry: CommitAt,
    /// The key of the subject's row.
    pub(crate) row: Key,
    pub(crate) what: What,
}

/// What was erased.
pub(crate) enum What {
    /// The subject; this stands in the place of its row.
    Subject(Value),
    /// A collection of it, by that request.
    Collection(Collection, Recent),
}

impl What {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Subject(tombstone) => {
                to.u8(0).bytes(tombstone);
            }
            Self::Collection(collection, by) => {
                to.u8(1).text(collection.as_str());
                by.write(to);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Ok(Self::Subject(from.bytes()?.to_vec())),
            1 => {
                let collection = Collection::parse(from.text()?).map_err(|_| Malformed)?;
                Ok(Self::Collection(collection, Recent::read(from)?))
            }
            _ => Err(Malformed),
        }
    }
}

/// Lists an erasure in the store, in the commit that ends it.
pub(crate) fn list(
    batch: &mut Batch,
    entry: CommitAt,
    row: &[u8],
    collection: Option<(&Collection, &Recent)>,
) {
    let mut listed = Writer::with_capacity(192);
    listed.u8(FORMAT).bytes(row);
    if let Some((collection, by)) = collection {
        listed.text(collection.as_str());
        by.write(&mut listed);
    }
    batch.put(listed_at(entry), listed.0);
}

/// The key of the row that lists an erasure.
fn listed_at(entry: CommitAt) -> Key {
    let mut key = Writer::with_capacity(16);
    key.u8(LISTED).u32(entry.period.0).u64(entry.index);
    key.0
}

/// Reads such a row; of a whole subject, the tombstone is in the subject's own.
fn listed(engine: &dyn Engine, key: &[u8], value: &[u8]) -> Result<KnownErasure, Error> {
    let damaged = || Error::Damaged("subjects");
    let entry = keys::fed_commit(key).ok_or_else(damaged)?;
    let mut reader = Reader::new(value);
    reader.format(FORMAT)?;
    let row = reader.bytes()?.to_vec();
    let what = if reader.rest().is_empty() {
        What::Subject(engine.get_many(&[&row])?.pop().flatten().ok_or_else(damaged)?)
    } else {
        let collection = Collection::parse(reader.text()?).map_err(|_| damaged())?;
        What::Collection(collection, Recent::read(&mut reader)?)
    };
    Ok(KnownErasure { entry, row, what })
}

/// What the records of one shard's file are sealed with.
pub(crate) struct ErasureKey {
    key: SealKey,
    shard: [String; 2],
}

impl ErasureKey {
    pub(crate) fn new(settings: &Settings, keyring: &dyn Keyring) -> Self {
        let Settings { region, shard, .. } = settings;
        let key = SealKey::derived(&keyring.derive("erasures"), b"erasure file v1");
        Self { key, shard: [region.to_string(), shard.to_string()] }
    }

    fn bound(&self, place: u64) -> Vec<u8> {
        let [region, shard] = &self.shard;
        binding("erasure v1", &[region, shard], Some(place))
    }

    fn seal(&self, place: u64, of: &KnownErasure, entropy: &dyn Entropy) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce).map_err(|_| Error::NoEntropy)?;
        let mut record = Writer::with_capacity(RECORD_BYTES);
        record.u8(FORMAT).fixed(&nonce).u32(of.entry.period.0).u64(of.entry.index);
        record.bytes(&of.row);
        of.what.write(&mut record);
        let from = 1 + NONCE_BYTES;
        assert!(record.0.len() <= from + PLAIN_BYTES, "the longest name of a collection fits");
        record.0.resize(from + PLAIN_BYTES, 0);
        self.key.seal_tail(nonce, &self.bound(place), &mut record.0, from);
        Ok(record.0)
    }

    fn open(&self, place: u64, record: &[u8; RECORD_BYTES]) -> Result<KnownErasure, Malformed> {
        let mut reader = Reader::new(record);
        reader.format(FORMAT)?;
        let nonce = reader.array()?;
        let mut sealed = reader.rest().to_vec();
        let plain = self.key.open(nonce, &self.bound(place), &mut sealed).map_err(|_| Malformed)?;
        let mut plain = Reader::new(plain);
        let entry = CommitAt { period: Period(plain.u32()?), index: plain.u64()? };
        let (row, what) = (plain.bytes()?.to_vec(), What::read(&mut plain)?);
        Ok(KnownErasure { entry, row, what })
    }
}

impl Settings {
    /// Where the erasures of this shard are named.
    pub(crate) fn erasures_path(&self) -> PathBuf {
        self.checkpoint_path().with_extension("erasures")
    }
}

/// The file of a shard, which is added to.
pub(crate) struct ErasureFile {
    path: PathBuf,
    key: ErasureKey,
    records: u64,
    /// The newest erasure that it names.
    last: CommitAt,
}

impl ErasureFile {
    /// Opens the file, or makes it.
    pub(crate) fn open(
        settings: &Settings,
        keyring: &dyn Keyring,
        entropy: &dyn Entropy,
    ) -> Result<Self, Error> {
        let (path, key) = (settings.erasures_path(), ErasureKey::new(settings, keyring));
        let io = |source| Error::Io { path: path.clone(), source };
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = file.open(&path).map_err(io)?;
        let whole = file.metadata().map_err(io)?.len() / RECORD_BYTES as u64;
        // The last record may be torn: then it was never acknowledged, and the store has it.
        for records in (whole.saturating_sub(1).max(1)..=whole).rev() {
            let mut record = [0; RECORD_BYTES];
            file.read_exact_at(&mut record, offset(records - 1)).map_err(io)?;
            if let Ok(KnownErasure { entry, .. }) = key.open(records - 1, &record) {
                return Ok(Self { path, key, records, last: entry });
            }
        }
        if whole > 1 {
            return Err(Error::Erasures { path, why: "its last records do not open".to_owned() });
        }
        let first =
            KnownErasure { entry: NO_ENTRY, row: Vec::new(), what: What::Subject(Vec::new()) };
        file.write_all_at(&key.seal(0, &first, entropy)?, 0).map_err(io)?;
        file.sync_all().map_err(io)?;
        directories::sync_parent(&path)?;
        Ok(Self { path, key, records: 1, last: NO_ENTRY })
    }

    /// Adds what the store lists and the file does not, and syncs it.
    pub(crate) fn catch_up(
        &mut self,
        engine: &dyn Engine,
        entropy: &dyn Entropy,
    ) -> Result<(), Error> {
        let limit = ScanLimit { rows: AT_ONCE, bytes: 1 << 20 };
        loop {
            let from = [listed_at(self.last), vec![0]].concat();
            let span = Span { from, until: vec![LISTED + 1] };
            let page = engine.scan(&span, Order::Ascending, limit)?;
            if page.rows.is_empty() {
                return Ok(());
            }
            let (mut added, mut place, mut last) = (Vec::new(), self.records, self.last);
            for (key, value) in &page.rows {
                let known = listed(engine, key, value)?;
                added.extend(self.key.seal(place, &known, entropy)?);
                (place, last) = (place + 1, known.entry);
            }
            self.add(&added)?;
            (self.records, self.last) = (place, last);
        }
    }

    /// Adds an erasure of a log that was lost in part, which the store lists out of turn.
    pub(crate) fn add_known(
        &mut self,
        known: &KnownErasure,
        entropy: &dyn Entropy,
    ) -> Result<(), Error> {
        self.add(&self.key.seal(self.records, known, entropy)?)?;
        self.records += 1;
        Ok(())
    }

    /// Writes records behind the last one, if the file is still the one that was opened.
    fn add(&self, records: &[u8]) -> Result<(), Error> {
        let io = |source| Error::Io { path: self.path.clone(), source };
        let file = OpenOptions::new().write(true).open(&self.path).map_err(io)?;
        if file.metadata().map_err(io)?.len() < offset(self.records) {
            let why = "it was replaced while the shard ran: restart the shard, which completes it";
            return Err(Error::Erasures { path: self.path.clone(), why: why.to_owned() });
        }
        file.write_all_at(records, offset(self.records)).map_err(io)?;
        file.sync_data().map_err(io)
    }
}

const fn offset(record: u64) -> u64 {
    record * RECORD_BYTES as u64
}

/// Calls `each` with all erasures that a file names. How many there are.
///
/// A record that is cut short at the end was never acknowledged. Any other that does not open is
/// refused: what it names cannot be read.
pub(crate) fn each_erasure(
    path: &Path,
    key: &ErasureKey,
    mut each: impl FnMut(KnownErasure) -> Result<(), Error>,
) -> Result<u64, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let refused = |why| Error::Erasures { path: path.to_owned(), why };
    let file = File::open(path).map_err(|error| {
        if error.kind() == ErrorKind::NotFound { refused(MISSING.to_owned()) } else { io(error) }
    })?;
    // What is added from here on is what `each` itself does.
    let records = file.metadata().map_err(io)?.len() / RECORD_BYTES as u64;
    let mut file = BufReader::new(file);
    for place in 0..records {
        let mut record = [0; RECORD_BYTES];
        file.read_exact(&mut record).map_err(io)?;
        if place + 1 == records && place > 0 && record == [0; RECORD_BYTES] {
            return Ok(records - 2);
        }
        let known = key.open(place, &record).map_err(|_| {
            refused(format!("record {place} does not open: it is another shard's, or was changed"))
        })?;
        if place > 0 {
            each(known)?;
        }
    }
    if records == 0 { Err(refused("it is empty".to_owned())) } else { Ok(records - 1) }
}

const MISSING: &str = "it is missing: without it nothing says who was erased after the backup. Give \
                       a copy with `--erasures FILE`, or accept that the backup may bring people \
                       back who were erased, with `--accept-erasures-unknown`";
