//! The last signed checkpoint, in a file of its own outside the data folder.
//!
//! It is what makes a loss visible: a store that does not extend the checkpoint in this file has
//! lost, or replaced, what was acknowledged. Two slots of 4 KiB are preallocated and written in
//! turn, each synced before the checkpoint is published, so that a torn write leaves the other.
//!
//! A slot: `BWCP`, format `01`, sequence (8 bytes), length (4 bytes), the signed note, zeros, and
//! CRC-32C over all of it in the last four bytes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ledger::checkpoint::Checkpoint;
use ledger::note::Verifier;

use crate::Error;
use crate::store::codec::{Malformed, Reader, Writer};

const SLOT_BYTES: usize = 4096;
const MAGIC: &[u8; 4] = b"BWCP";
const FORMAT: u8 = 1;

/// The open file.
#[derive(Debug)]
pub(crate) struct CheckpointFile {
    path: PathBuf,
    file: File,
    /// Of the slot written last.
    sequence: u64,
    /// What stands in it.
    note: String,
}

impl CheckpointFile {
    /// Makes the file, with both slots allocated and `note` in one of them.
    pub(crate) fn create(path: &Path, note: &str) -> Result<Self, Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        crate::store::directories::make(folder)?;
        if path.exists() {
            return Err(io(io::ErrorKind::AlreadyExists.into()));
        }
        // Under its own name only once it is whole: a crash leaves nothing that reads as torn.
        let new = path.with_extension("checkpoint.new");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .map_err(io)?;
        file.write_all_at(&[0; 2 * SLOT_BYTES], 0).map_err(io)?;
        file.sync_all().map_err(io)?;
        let (path_owned, empty) = (path.to_owned(), String::new());
        let mut anchor = Self { path: path_owned, file, sequence: 0, note: empty };
        anchor.write(note)?;
        fs::rename(&new, path).map_err(io)?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
        Ok(anchor)
    }

    /// Opens the file and reads the newest whole slot. `None`: there is no such file.
    pub(crate) fn open(path: &Path) -> Result<Option<(Self, String)>, Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let file = match File::options().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let newest = newest(&file).map_err(io)?;
        let Some((sequence, note)) = newest else {
            return Err(Error::CheckpointFile {
                path: path.to_owned(),
                why: "neither slot is whole",
            });
        };
        Ok(Some((Self { path: path.to_owned(), file, sequence, note: note.clone() }, note)))
    }

    /// Stores a signed note, if the file is still the one under its name: a checkpoint in a file
    /// that was removed would warn of no loss.
    pub(crate) fn store(&mut self, note: &str) -> Result<(), Error> {
        let io = |source| Error::Io { path: self.path.clone(), source };
        let own = self.file.metadata().map_err(io)?;
        match fs::metadata(&self.path) {
            Ok(named) if (named.dev(), named.ino()) == (own.dev(), own.ino()) => {}
            Ok(_) => self.adopt()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let why = "it was removed while the shard ran: put it back, or an empty file in its \
                           place";
                return Err(Error::CheckpointFile { path: self.path.clone(), why });
            }
            Err(error) => return Err(io(error)),
        }
        self.write(note)
    }

    /// Goes on with the file that now stands under the name, if it holds what was stored last, or
    /// nothing: an operator makes an empty one to have it filled.
    fn adopt(&mut self) -> Result<(), Error> {
        let io = |source| Error::Io { path: self.path.clone(), source };
        let file = File::options().read(true).write(true).open(&self.path).map_err(io)?;
        if file.metadata().map_err(io)?.len() == 0 {
            file.write_all_at(&[0; 2 * SLOT_BYTES], 0).map_err(io)?;
            file.sync_all().map_err(io)?;
        } else {
            let held = newest(&file).map_err(io)?;
            if held != Some((self.sequence, self.note.clone())) {
                let why = "another file was put in its place while the shard ran: put the right one \
                           back, or an empty file";
                return Err(Error::CheckpointFile { path: self.path.clone(), why });
            }
        }
        self.file = file;
        crate::store::directories::sync_parent(&self.path)
    }

    /// Writes a note into the slot that is not the newest, and syncs it.
    fn write(&mut self, note: &str) -> Result<(), Error> {
        let io = |source| Error::Io { path: self.path.clone(), source };
        let sequence = self.sequence + 1;
        let slot = encode(sequence, note);
        let offset = if sequence.is_multiple_of(2) { 0 } else { SLOT_BYTES as u64 };
        self.file.write_all_at(&slot, offset).map_err(io)?;
        self.file.sync_data().map_err(io)?;
        self.sequence = sequence;
        note.clone_into(&mut self.note);
        Ok(())
    }
}

/// Opens the note of a checkpoint file under the key that the store names.
pub(crate) fn open_note(note: &str, vkey: &str, path: &Path) -> Result<Checkpoint, Error> {
    let why = "its checkpoint is not signed by this store's log key";
    let broken = || Error::CheckpointFile { path: path.to_owned(), why };
    let verifier = Verifier::from_vkey(vkey).map_err(|_| broken())?;
    Checkpoint::open(note, &verifier).map_err(|_| broken())
}

/// The checkpoint of a note whose key may be lost with the store: its signature is not checked,
/// because a new period names what the file says, right or wrong, and auditors hold the signed
/// original.
pub(crate) fn unverified(note: &str) -> Option<Checkpoint> {
    let (text, _) = note.rsplit_once("\n\n")?;
    Checkpoint::parse(&format!("{text}\n")).ok()
}

/// The period of the log that a checkpoint is of.
pub(crate) fn period_of(head: &Checkpoint) -> Option<u32> {
    head.origin.rsplit('/').next()?.parse().ok()
}

/// The newest whole slot: its sequence, and its note.
fn newest(file: &File) -> io::Result<Option<(u64, String)>> {
    let mut newest: Option<(u64, String)> = None;
    for offset in [0, SLOT_BYTES as u64] {
        let mut slot = vec![0; SLOT_BYTES];
        match file.read_exact_at(&mut slot, offset) {
            Ok(()) => {}
            // A file that was cut short has no whole slot there. A disk that cannot be read
            // may hold a newer one.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            Err(error) => return Err(error),
        }
        if let Ok(read) = decode(&slot)
            && newest.as_ref().is_none_or(|(sequence, _)| read.0 > *sequence)
        {
            newest = Some(read);
        }
    }
    Ok(newest)
}

fn encode(sequence: u64, note: &str) -> Vec<u8> {
    let mut slot = Writer::with_capacity(SLOT_BYTES);
    slot.fixed(MAGIC).u8(FORMAT).u64(sequence).text(note);
    assert!(slot.0.len() <= SLOT_BYTES - 4, "a checkpoint of ours is below 1 KiB");
    slot.0.resize(SLOT_BYTES - 4, 0);
    let sum = crc32c::crc32c(&slot.0);
    slot.u32(sum);
    slot.0
}

fn decode(slot: &[u8]) -> Result<(u64, String), Malformed> {
    let (front, sum) = slot.split_last_chunk::<4>().ok_or(Malformed)?;
    if crc32c::crc32c(front) != u32::from_be_bytes(*sum) {
        return Err(Malformed);
    }
    let mut reader = Reader::new(front);
    if reader.array::<4>()? != *MAGIC {
        return Err(Malformed);
    }
    reader.format(FORMAT)?;
    Ok((reader.u64()?, reader.text()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_removed_or_replaced_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("anchor");
        let path = inner.join("ru-msk-s1.checkpoint");
        let mut anchor = CheckpointFile::create(&path, "one").unwrap();
        let newest = || CheckpointFile::open(&path).map(|found| found.unwrap().1).unwrap();
        let mut refused = |text: &str| {
            let refused = anchor.store("two").unwrap_err();
            assert!(refused.to_string().contains(text), "{refused}");
        };
        // The whole folder, then a foreign file in its place, then the folder back.
        let aside = folder.path().join("aside");
        fs::rename(&inner, &aside).unwrap();
        refused("it was removed while the shard ran");
        drop(CheckpointFile::create(&path, "foreign").unwrap());
        refused("another file was put in its place");
        fs::remove_dir_all(&inner).unwrap();
        fs::rename(&aside, &inner).unwrap();
        anchor.store("two").unwrap();
        assert_eq!(newest(), "two");
        // A copy of what was stored last is as good, and an empty file is filled.
        let copy = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, copy).unwrap();
        anchor.store("three").unwrap();
        assert_eq!(newest(), "three");
        fs::remove_file(&path).unwrap();
        fs::write(&path, []).unwrap();
        anchor.store("four").unwrap();
        assert_eq!(newest(), "four");
        assert_eq!(fs::metadata(&path).unwrap().len(), 2 * SLOT_BYTES as u64);
    }

    #[test]
    fn the_newest_whole_slot_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ru-msk-s1.checkpoint");
        assert!(CheckpointFile::open(&path).unwrap().is_none());
        let mut anchor = CheckpointFile::create(&path, "one").unwrap();
        assert!(CheckpointFile::create(&path, "again").is_err());
        anchor.store("two").unwrap();
        anchor.store("three").unwrap();
        let read = || CheckpointFile::open(&path).map(|found| found.unwrap().1);
        assert_eq!(read().unwrap(), "three");

        // "three" stands in the slot of odd numbers, the second; any torn byte there leaves "two".
        let whole = fs::read(&path).unwrap();
        for at in [SLOT_BYTES, SLOT_BYTES + 14, 2 * SLOT_BYTES - 1] {
            let mut torn = whole.clone();
            torn[at] ^= 1;
            fs::write(&path, &torn).unwrap();
            assert_eq!(read().unwrap(), "two", "byte {at}");
        }
        fs::write(&path, &whole[..SLOT_BYTES]).unwrap();
        assert_eq!(read().unwrap(), "two");
        fs::write(&path, []).unwrap();
        assert!(matches!(read(), Err(Error::CheckpointFile { .. })));
    }
}
