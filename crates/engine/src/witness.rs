//! The last acknowledged head, kept beside the store.
//!
//! Both libraries take a damaged record for the torn end of a crash and cut the log there, without
//! a word: acknowledged commits would be gone and the store would open. So every commit, once it is
//! durable in the store, notes its head here, and an opening whose store has less is refused.
//!
//! The note costs one small write and is not synced: after a power cut it may be older than the
//! store, which raises no alarm, and never newer. Two slots, written in turn, outlive a torn write.
//! It is an alarm, not a proof: the shard's signed checkpoint, which lies outside this folder, is.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Head};

/// Distance between the slots: a sector of any disk.
const SLOT_BYTES: u64 = 4096;
/// The head, and the head with every bit turned, by which a torn or damaged slot shows.
const NOTE_BYTES: usize = 32;

#[derive(Debug)]
pub(crate) struct Witness {
    file: File,
    head: Head,
    notes: AtomicU64,
}

impl Witness {
    /// A new one, that knows of nothing.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let make = || {
            let file = options().create(true).truncate(true).mode(0o600).open(path)?;
            for slot in 0..2 {
                file.write_all_at(&encode(Head::default()), slot * SLOT_BYTES)?;
            }
            file.sync_all()?;
            Ok(file)
        };
        let file = make().map_err(|e: io::Error| Error::io("create", path, &e))?;
        Ok(Self { file, head: Head::default(), notes: AtomicU64::new(0) })
    }

    /// The one that is there.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = match options().open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::damaged(path, "the file is missing"));
            }
            Err(e) => return Err(Error::io("open", path, &e)),
        };
        let mut found = [None; 2];
        for (slot, at) in found.iter_mut().zip([0, SLOT_BYTES]) {
            let mut note = [0; NOTE_BYTES];
            match file.read_exact_at(&mut note, at) {
                Ok(()) => *slot = decode(&note),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(e) => return Err(Error::io("read", path, &e)),
            }
        }
        let newest = match found {
            [None, None] => return Err(Error::damaged(path, "neither slot reads back")),
            [first, second] => first.max(second).unwrap_or_default(),
        };
        // Go on with the slot that is not the newest, so that the newest outlives a torn write.
        let next = u64::from(found.first() == Some(&Some(newest)));
        Ok(Self { file, head: newest, notes: AtomicU64::new(next) })
    }

    /// The head that was noted when this was opened.
    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// Notes a head that is durable in the store.
    pub(crate) fn note(&self, head: Head) -> io::Result<()> {
        let slot = self.notes.fetch_add(1, Ordering::Relaxed) % 2;
        self.file.write_all_at(&encode(head), slot * SLOT_BYTES)
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

fn encode(head: Head) -> [u8; NOTE_BYTES] {
    let mut note = [0; NOTE_BYTES];
    let words = [head.term, head.size, !head.term, !head.size];
    for (at, word) in note.chunks_exact_mut(8).zip(words) {
        at.copy_from_slice(&word.to_le_bytes());
    }
    note
}

fn decode(note: &[u8; NOTE_BYTES]) -> Option<Head> {
    let mut words =
        note.chunks_exact(8).filter_map(|word| Some(u64::from_le_bytes(word.try_into().ok()?)));
    let (term, size) = (words.next()?, words.next()?);
    let whole = words.next()? == !term && words.next()? == !size;
    whole.then_some(Head { term, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_note_outlives_a_torn_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("WITNESS");
        let head = |size| Head { term: 1, size };
        let witness = Witness::create(&path).unwrap();
        for size in 1..=5 {
            witness.note(head(size)).unwrap();
            assert_eq!(Witness::open(&path).unwrap().head(), head(size));
        }
        for torn in 6..=9 {
            // A note that only half reached the disk leaves the one before it.
            let witness = Witness::open(&path).unwrap();
            let slot = witness.notes.load(Ordering::Relaxed) % 2;
            witness.file.write_all_at(&encode(head(torn))[..9], slot * SLOT_BYTES).unwrap();
            let after = Witness::open(&path).unwrap();
            assert_eq!(after.head(), head(torn - 1));
            after.note(head(torn)).unwrap();
        }
        std::fs::write(&path, [7; 5000]).unwrap();
        assert!(matches!(Witness::open(&path), Err(Error::Damaged { .. })));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Witness::open(&path), Err(Error::Damaged { .. })));
    }
}
