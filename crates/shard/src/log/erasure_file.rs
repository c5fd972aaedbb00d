//! Who was erased, in a file of its own outside the data folder.
//!
//! A backup still holds those who were erased after it was made. This file names them, by the keyed
//! hashes of their rows, so that a restore erases them again. An erasure is acknowledged only once
//! it stands here. The store lists the same erasures, so a file that is missing, damaged or another
//! shard's, or lags because of a crash, is completed from it. Every start opens all records.
//!
//! Records of 256 bytes, the first of which names no erasure: format `01`, a nonce (12 bytes), and
//! sealed under a key of the region, bound to the shard and to the record's place: period and index
//! of the ERASE entry, the key of the subject's row, what was erased (`00` and its tombstone, or `01`,
//! the collection and the request; `02`: nothing, a subject that had moved away came back; `03`: nothing,
//! a subject was taken from another region, by which move), zeros.
//!
//! The store's list has a row for each: `33` and the place of the entry; and in it `01`, the key of the
//! subject's row, and the collection and the request, if it was not the whole subject. Of a subject that
//! was given away to another region, it has in their place an empty name and the tombstone that will
//! stand for it: a restore must not bring it back either. Without a tombstone: it came back; or, if more
//! follows, it was taken by that move.

mod comparison;

use std::fs;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use engine::{Batch, Engine, Key, Order, ScanLimit, Span, Value};
use terms::{Collection, Entropy};

use crate::store::aead::{NONCE_BYTES, SealKey, TAG_BYTES, binding};
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keyring::Keyring;
use crate::store::moving::Taken;
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

impl KnownErasure {
    /// What the first record of a file names.
    const fn none() -> Self {
        Self { entry: NO_ENTRY, row: Vec::new(), what: What::Subject(Vec::new()) }
    }

    pub(super) fn name(&self) -> Name {
        (self.entry, self.row.clone())
    }
}

/// What was erased.
pub(crate) enum What {
    /// The subject; this stands in the place of its row.
    Subject(Value),
    /// A collection of it, by that request.
    Collection(Collection, Recent),
    /// Nothing: a subject that had moved to another region came back. What was known of its departure
    /// before counts no more. Files from before [`What::Taken`] say this.
    Returned,
    /// Nothing: a subject was taken from another region. A store from before that does not know that
    /// whatever stands here after it has been done to what this move brought.
    Taken(Taken),
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
            Self::Returned => {
                to.u8(2);
            }
            Self::Taken(taken) => {
                to.u8(3);
                taken.write(to);
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
            2 => Ok(Self::Returned),
            3 => Ok(Self::Taken(Taken::read(from)?)),
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

/// Lists that a subject was given away, in the commit that does so; `tombstone` will stand for it.
pub(crate) fn list_moved(batch: &mut Batch, entry: CommitAt, row: &[u8], tombstone: &[u8]) {
    let mut listed = Writer::with_capacity(256);
    listed.u8(FORMAT).bytes(row).text("").bytes(tombstone);
    batch.put(listed_at(entry), listed.0);
}

/// Lists that a subject was taken from another region, in the commit that serves it.
pub(crate) fn list_taken(batch: &mut Batch, entry: CommitAt, row: &[u8], taken: &Taken) {
    let mut listed = Writer::with_capacity(256);
    listed.u8(FORMAT).bytes(row).text("").bytes(&[]);
    taken.write(&mut listed);
    batch.put(listed_at(entry), listed.0);
}

/// The key of the row that lists an erasure.
fn listed_at(entry: CommitAt) -> Key {
    let mut key = Writer::with_capacity(16);
    key.u8(LISTED).u32(entry.period.0).u64(entry.index);
    key.0
}

/// What such a row says.
struct Listed {
    entry: CommitAt,
    row: Key,
    what: ListedWhat,
}

enum ListedWhat {
    /// The tombstone is in the subject's own row.
    Subject,
    /// The subject was given away to another region: the tombstone that will stand for it. Empty: it came
    /// back.
    Away(Vec<u8>),
    /// It was taken from another region.
    Taken(Taken),
    /// Only this collection was erased, by that request.
    Collection(Collection, Recent),
}

impl Listed {
    fn read(key: &[u8], value: &[u8]) -> Result<Self, Error> {
        let damaged = || Error::Damaged("subjects");
        let entry = keys::fed_commit(key).ok_or_else(damaged)?;
        let mut reader = Reader::new(value);
        reader.format(FORMAT)?;
        let row = reader.bytes()?.to_vec();
        let what = if reader.rest().is_empty() {
            ListedWhat::Subject
        } else {
            match reader.text()? {
                "" => {
                    let tombstone = reader.bytes()?.to_vec();
                    if reader.rest().is_empty() {
                        ListedWhat::Away(tombstone)
                    } else {
                        ListedWhat::Taken(Taken::read(&mut reader)?)
                    }
                }
                name => {
                    let collection = Collection::parse(name).map_err(|_| damaged())?;
                    ListedWhat::Collection(collection, Recent::read(&mut reader)?)
                }
            }
        };
        Ok(Self { entry, row, what })
    }

    fn name(&self) -> Name {
        (self.entry, self.row.clone())
    }

    /// The erasure.
    fn known(self, engine: &dyn Engine) -> Result<KnownErasure, Error> {
        let Self { entry, row, what } = self;
        let what = match what {
            ListedWhat::Collection(collection, by) => What::Collection(collection, by),
            ListedWhat::Away(tombstone) if tombstone.is_empty() => What::Returned,
            ListedWhat::Away(tombstone) => What::Subject(tombstone),
            ListedWhat::Taken(taken) => What::Taken(taken),
            ListedWhat::Subject => {
                let tombstone = engine.get_many(&[&row])?.pop().flatten();
                What::Subject(tombstone.ok_or(Error::Damaged("subjects"))?)
            }
        };
        Ok(KnownErasure { entry, row, what })
    }
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
        if record.0.len() > from + PLAIN_BYTES {
            // The longest name of a collection fits, and every tombstone.
            return Err(Error::Damaged("erasures"));
        }
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

/// By its entry and the subject's row, one erasure is known from another.
pub(super) type Name = (CommitAt, Key);

/// The file of a shard, which is added to.
pub(crate) struct ErasureFile {
    path: PathBuf,
    key: ErasureKey,
    records: u64,
    /// The last record. A file that does not end with it is another one.
    last: [u8; RECORD_BYTES],
    /// The place in the log from which the store's list is not noted yet.
    next: CommitAt,
}

impl ErasureFile {
    /// Opens the file, or makes it, and every record of it: one that does not open would otherwise be
    /// found when the store is lost. Then the file is made again of the other ones. Calls `each` with those
    /// that open.
    pub(super) fn opened(
        settings: &Settings,
        keyring: &dyn Keyring,
        entropy: &dyn Entropy,
        each: &mut dyn FnMut(KnownErasure) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let (path, key) = (settings.erasures_path(), ErasureKey::new(settings, keyring));
        let io = |source| Error::Io { path: path.clone(), source };
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = file.open(&path).map_err(io)?;
        let found = each_record(&path, &file, &key, each)?;
        let Found { mut records, failed, .. } = found;
        match failed {
            // The last one may be torn: then it was never acknowledged, and the store has it.
            Some(place) if place + 1 == records => records = place,
            Some(place) => {
                let aside = set_aside(&path)?;
                records = remake(&path, &file, &key, entropy)?;
                file = File::open(&path).map_err(io)?;
                let (path, aside) = (path.display(), aside.display());
                tracing::error!(
                    "file of erasures {path}: record {place} does not open. It was set aside as \
                     {aside}, and made again from its other records and the store"
                );
            }
            None => {}
        }
        if records == 0 {
            file.write_all_at(&key.seal(0, &KnownErasure::none(), entropy)?, 0).map_err(io)?;
            file.sync_all().map_err(io)?;
            directories::sync_parent(&path)?;
            records = 1;
        }
        let mut last = [0; RECORD_BYTES];
        file.read_exact_at(&mut last, offset(records - 1)).map_err(io)?;
        Ok(Self { path, key, records, last, next: NO_ENTRY })
    }

    /// Adds what the store has listed since the last time, and syncs it.
    pub(crate) fn catch_up(
        &mut self,
        engine: &dyn Engine,
        entropy: &dyn Entropy,
    ) -> Result<(), Error> {
        loop {
            let listed = listed_from(engine, listed_at(self.next))?;
            let Some(Listed { entry, .. }) = listed.last() else { return Ok(()) };
            let next = CommitAt { index: entry.index + 1, ..*entry };
            let known: Result<Vec<_>, _> = listed.into_iter().map(|it| it.known(engine)).collect();
            self.add(&known?, entropy)?;
            self.next = next;
        }
    }

    /// Writes erasures behind the last record and syncs them, if the file is still the one that was
    /// opened.
    pub(super) fn add<'a>(
        &mut self,
        known: impl IntoIterator<Item = &'a KnownErasure>,
        entropy: &dyn Entropy,
    ) -> Result<(), Error> {
        let io = |source| Error::Io { path: self.path.clone(), source };
        let (mut added, mut place) = (Vec::<u8>::new(), self.records);
        for known in known {
            added.extend(self.key.seal(place, known, entropy)?);
            place += 1;
        }
        let Some(last) = added.last_chunk::<RECORD_BYTES>() else { return Ok(()) };
        let file = OpenOptions::new().read(true).write(true).open(&self.path).map_err(io)?;
        let mut found = [0; RECORD_BYTES];
        let read = file.read_exact_at(&mut found, offset(self.records - 1));
        if read.is_err() || found != self.last {
            let why = "it was replaced while the shard ran: restart the shard, which completes it, or \
                       makes it again if it is another shard's";
            return Err(Error::Erasures { path: self.path.clone(), why: why.to_owned() });
        }
        file.write_all_at(&added, offset(self.records)).map_err(io)?;
        file.sync_data().map_err(io)?;
        (self.records, self.last) = (place, *last);
        Ok(())
    }
}

/// A page of the store's list.
fn listed_from(engine: &dyn Engine, from: Key) -> Result<Vec<Listed>, Error> {
    let limit = ScanLimit { rows: AT_ONCE, bytes: 1 << 20 };
    let page = engine.scan(&Span { from, until: vec![LISTED + 1] }, Order::Ascending, limit)?;
    page.rows.iter().map(|(key, value)| Listed::read(key, value)).collect()
}

/// Keeps a copy of a file that cannot be read to its end, under a name of its own.
fn set_aside(path: &Path) -> Result<PathBuf, Error> {
    let name = |number: u32| path.with_extension(format!("erasures.unreadable-{number}"));
    let aside = (1..).map(name).find(|aside| !aside.exists()).unwrap_or_default();
    fs::copy(path, &aside).map_err(|source| Error::Io { path: aside.clone(), source })?;
    Ok(aside)
}

/// Makes the file again, of those records of `old` that open. How many there are.
fn remake(path: &Path, old: &File, key: &ErasureKey, entropy: &dyn Entropy) -> Result<u64, Error> {
    let new = path.with_extension("erasures.new");
    let io = |source| Error::Io { path: new.clone(), source };
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
    let mut file = BufWriter::new(file.map_err(io)?);
    let mut records = 0;
    let mut write = |known: &KnownErasure| -> Result<(), Error> {
        file.write_all(&key.seal(records, known, entropy)?).map_err(io)?;
        records += 1;
        Ok(())
    };
    write(&KnownErasure::none())?;
    each_record(path, old, key, &mut |known| write(&known))?;
    let file = file.into_inner().map_err(|error| io(error.into_error()))?;
    file.sync_all().map_err(io)?;
    fs::rename(&new, path).map_err(io)?;
    directories::sync_parent(path)?;
    Ok(records)
}

const fn offset(record: u64) -> u64 {
    record * RECORD_BYTES as u64
}

/// What a file was found to be.
pub(super) struct Found {
    /// Whole records, the first one with them.
    pub(super) records: u64,
    /// The first that does not open.
    pub(super) failed: Option<u64>,
    /// The last record is nothing but zeros.
    pub(super) blank_end: bool,
}

/// Calls `each` with all erasures whose records open.
pub(super) fn each_record(
    path: &Path,
    file: &File,
    key: &ErasureKey,
    each: &mut dyn FnMut(KnownErasure) -> Result<(), Error>,
) -> Result<Found, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let records = file.metadata().map_err(io)?.len() / RECORD_BYTES as u64;
    let (mut failed, mut record) = (None, [0; RECORD_BYTES]);
    let mut file = BufReader::new(file);
    file.rewind().map_err(io)?;
    for place in 0..records {
        file.read_exact(&mut record).map_err(io)?;
        match key.open(place, &record) {
            Ok(known) if place > 0 => each(known)?,
            Ok(_) => {}
            Err(_) => failed = failed.or(Some(place)),
        }
    }
    Ok(Found { records, failed, blank_end: record == [0; RECORD_BYTES] })
}
