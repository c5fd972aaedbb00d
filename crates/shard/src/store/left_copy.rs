//! What of a subject is in another region after a move that was given up: it is to be erased there,
//! whatever becomes of the subject here. So this row outlives the subject's own: it has the name that the
//! other region must be told, sealed under a key of the shard's own region, until that region has
//! confirmed.
//!
//! The row: `01`, the other region with its length, a nonce (12 bytes), the sealed tenant and id.

use terms::{RegionId, SubjectId, TenantId};
use zeroize::Zeroizing;

use crate::Error;
use crate::store::aead::{NONCE_BYTES, SealKey, binding};
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keyring::Keyring;
use crate::store::keys;
use crate::store::keys::{Owner, SubjectKeys};

const FORMAT: u8 = 1;
const DAMAGED: Error = Error::Damaged("moves");

/// A copy that another region is to erase.
pub(crate) struct LeftCopy {
    pub(crate) owner: Owner,
    /// Where it is.
    pub(crate) to: RegionId,
    pub(crate) move_id: [u8; 16],
}

fn seal_key(keyring: &dyn Keyring) -> SealKey {
    SealKey::derived(&keyring.derive("left copies"), b"left copy v1")
}

/// What binds the name to its row.
fn bound(here: &RegionId, to: &RegionId, key: &[u8]) -> Vec<u8> {
    let mut bound = binding("left copy v1", &[here.as_str(), to.as_str()], None);
    bound.extend_from_slice(key);
    bound
}

impl LeftCopy {
    /// Its key and its row.
    pub(crate) fn row(&self, of: SubjectKeys<'_>, nonce: [u8; NONCE_BYTES]) -> (Vec<u8>, Vec<u8>) {
        let key = keys::left_copy(&self.owner.row(), &self.move_id);
        let mut row = Writer::with_capacity(256);
        row.u8(FORMAT).text(self.to.as_str()).fixed(&nonce);
        let from = row.0.len();
        row.text(self.owner.tenant.as_str()).text(self.owner.subject.expose());
        let bound = bound(of.region, &self.to, &key);
        seal_key(of.keyring).seal_tail(nonce, &bound, &mut row.0, from);
        (key, row.0)
    }

    /// The region of a stored row.
    pub(crate) fn region_of(row: &[u8]) -> Result<RegionId, Error> {
        let mut row = Reader::new(row);
        row.format(FORMAT)?;
        Ok(RegionId::parse(row.text()?).map_err(|_| Malformed)?)
    }

    /// Opens a stored row.
    pub(crate) fn open(key: &[u8], row: &[u8], of: SubjectKeys<'_>) -> Result<Self, Error> {
        let (_, move_id) = keys::of_left_copy(key).ok_or(DAMAGED)?;
        let mut reader = Reader::new(row);
        reader.format(FORMAT)?;
        let to = RegionId::parse(reader.text()?).map_err(|_| Malformed)?;
        let nonce = reader.array::<NONCE_BYTES>()?;
        let mut sealed = Zeroizing::new(reader.rest().to_vec());
        let bound = bound(of.region, &to, key);
        let plain = seal_key(of.keyring).open(nonce, &bound, &mut sealed);
        let mut plain = Reader::new(plain.map_err(|_| DAMAGED)?);
        let tenant = TenantId::parse(plain.text()?).map_err(|_| Malformed)?;
        let subject = SubjectId::parse(plain.text()?).map_err(|_| Malformed)?;
        Ok(Self { owner: of.layout.owner(tenant, subject), to, move_id })
    }
}
