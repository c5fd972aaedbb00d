//! The entries of a folder, one after the other.

use std::ops::Range;

use ledger::bundle;
use ledger::tile::{BundleId, TILE_WIDTH};

use super::{Error, Folder};

/// The entries of a range, in order: each one's number and bytes. It ends with the first error.
#[derive(Debug)]
pub struct Entries<'f> {
    folder: &'f Folder,
    size: u64,
    at: u64,
    until: u64,
    /// The bundle that was read last, and where in it the entries that are left lie.
    bytes: Vec<u8>,
    places: std::vec::IntoIter<Range<usize>>,
}

impl<'f> Entries<'f> {
    pub(super) fn new(folder: &'f Folder, size: u64, from: u64, until: u64) -> Self {
        let until = until.min(size);
        let places = Vec::new().into_iter();
        Self { folder, size, at: from, until, bytes: Vec::new(), places }
    }

    /// Reads the bundle in which the next entry lies.
    fn fill(&mut self) -> Result<(), Error> {
        let width = u64::from(TILE_WIDTH);
        let Some(id) = BundleId::of_size(self.at / width, self.size) else { return Ok(()) };
        self.bytes = self.folder.bundle(id)?;
        let entries = bundle::decode(&self.bytes, id.width)
            .map_err(|error| Error::Bundle { path: id.path(), error })?;
        let mut start = 0;
        let mut places = Vec::with_capacity(entries.len());
        for entry in entries {
            start += 2;
            places.push(start..start + entry.len());
            start += entry.len();
        }
        self.places = places.into_iter();
        let before = usize::try_from(self.at % width).unwrap_or(0);
        self.places.by_ref().take(before).for_each(drop);
        Ok(())
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<(u64, Vec<u8>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.until {
            return None;
        }
        if self.places.len() == 0
            && let Err(error) = self.fill()
        {
            self.at = self.until;
            return Some(Err(error));
        }
        let entry = self.places.next().and_then(|place| self.bytes.get(place))?.to_vec();
        let index = self.at;
        self.at += 1;
        Some(Ok((index, entry)))
    }
}
