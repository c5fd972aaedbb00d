//! A row of one subject that stands apart from the subject's own, and is encrypted under its key: bound to
//! the region, the subject and its incarnation.
//!
//! Layout: the format (1 byte), a nonce (12 bytes), and encrypted, what the row says.

use terms::RegionId;
use zeroize::Zeroizing;

use crate::Error;
use crate::store::aead::{NONCE_BYTES, SealKey};
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keys::Owner;
use crate::store::subject::bound;
use crate::store::types::Incarnation;

const FORMAT: u8 = 1;

/// Which row of which subject.
pub(super) struct OwnRow<'a> {
    /// What binds it to its kind.
    pub(super) label: &'static str,
    /// What is damaged if it does not open.
    pub(super) table: &'static str,
    pub(super) owner: &'a Owner,
    pub(super) incarnation: Incarnation,
    pub(super) region: &'a RegionId,
    /// The subject's.
    pub(super) key: &'a SealKey,
}

impl OwnRow<'_> {
    fn bound(&self) -> Vec<u8> {
        bound(self.label, self.owner, self.region, self.incarnation)
    }

    /// The row as it is stored. `bytes`: as long as it will be, roughly.
    pub(super) fn seal(
        &self,
        nonce: [u8; NONCE_BYTES],
        bytes: usize,
        write: impl FnOnce(&mut Writer),
    ) -> Vec<u8> {
        let mut row = Writer::with_capacity(1 + NONCE_BYTES + bytes);
        row.u8(FORMAT).fixed(&nonce);
        let from = row.0.len();
        write(&mut row);
        self.key.seal_tail(nonce, &self.bound(), &mut row.0, from);
        row.0
    }

    /// Opens a stored row.
    pub(super) fn open<T>(
        &self,
        row: &[u8],
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
    ) -> Result<T, Error> {
        let damaged = || Error::Damaged(self.table);
        let mut reader = Reader::new(row);
        reader.format(FORMAT)?;
        let nonce = reader.array()?;
        let mut sealed = Zeroizing::new(reader.rest().to_vec());
        let plain = self.key.open(nonce, &self.bound(), &mut sealed).map_err(|_| damaged())?;
        read(&mut Reader::new(plain)).map_err(|Malformed| damaged())
    }
}
