//! The copy of one record, at the region that has it.
//!
//! Its row: `01`; a nonce (12 bytes); with its length, sealed under the key of its set: where the COPY_OUT
//! entry stands at the home, the log and the index of the entry that placed the version there, and two
//! minutes, of the write and of the copy; then the row of a head as records have it, sealed under the same
//! key and bound to this place. What is deleted at the home keeps its row, without content.

use terms::{RecordKey, RegionId};
use zeroize::Zeroizing;

use crate::Error;
use crate::store::aead::{NONCE_BYTES, binding};
use crate::store::codec::{Reader, Writer};
use crate::store::copied_set::{CopiedSet, HomePlace};
use crate::store::copy_keys;
use crate::store::keys::SubjectKeys;
use crate::store::record::{Address, Head, Rows, SealedBody, Stored};
use crate::store::types::Minute;

const FORMAT: u8 = 1;
const DAMAGED: Error = Error::Damaged("copies");

/// What is known of a copy apart from its head.
#[derive(Clone)]
pub(crate) struct CopiedFrom {
    /// Of a version its COPY_OUT entry; of a deletion, how many entries the home's log had.
    pub(crate) place: HomePlace,
    /// The entry that placed the version: origin and index.
    pub(crate) placed: (String, u64),
    /// When the home wrote the version.
    pub(crate) written: Minute,
    /// When it came here.
    pub(crate) taken: Minute,
}

/// A copy that was opened.
pub(crate) struct CopiedRecord<'a> {
    pub(crate) from: CopiedFrom,
    pub(crate) head: Head,
    pub(crate) stored: Stored<'a>,
}

fn bound(region: &RegionId, at: &[u8]) -> Vec<u8> {
    let mut bound = binding("copied from v1", &[region.as_str()], None);
    bound.extend_from_slice(at);
    bound
}

/// Where the copy of a record of that set is.
pub(crate) fn address(set: &CopiedSet, key: &RecordKey, keys: SubjectKeys<'_>) -> Address {
    let record = keys.layout.record(&set.owner, &set.collection, key);
    let row = copy_keys::copy(&set.at(keys), &record);
    Address { owner: set.owner.clone(), collection: set.collection.clone(), key: key.clone(), row }
}

/// A copy that is to be stored.
pub(crate) struct NewCopy<'a> {
    pub(crate) from: &'a CopiedFrom,
    pub(crate) head: &'a Head,
    pub(crate) body: SealedBody,
    /// Of the front, and of the head.
    pub(crate) nonces: [[u8; NONCE_BYTES]; 2],
}

/// The rows of a copy: that of its head, and that of its body if it has one of its own.
pub(crate) fn rows(
    set: &CopiedSet,
    address: &Address,
    new: NewCopy<'_>,
    region: &RegionId,
) -> Rows {
    let NewCopy { from, head, body, nonces: [of_front, of_head] } = new;
    let mut front = Writer::with_capacity(256);
    from.place.write(&mut front);
    front.text(&from.placed.0).u64(from.placed.1).u32(from.written.0).u32(from.taken.0);
    let mut front = front.0;
    set.key().seal_tail(of_front, &bound(region, &address.row), &mut front, 0);
    let rows = body.into_rows(address, region, head, set.key(), of_head);
    let mut row = Writer::with_capacity(64 + front.len() + rows.head.len());
    row.u8(FORMAT).fixed(&of_front).bytes(&front).fixed(&rows.head);
    Rows { head: row.0, body: rows.body }
}

/// Opens the row of a copy.
pub(crate) fn open<'a>(
    set: &CopiedSet,
    address: &Address,
    row: &'a [u8],
    region: &RegionId,
) -> Result<CopiedRecord<'a>, Error> {
    let mut reader = Reader::new(row);
    reader.format(FORMAT)?;
    let nonce = reader.array::<NONCE_BYTES>()?;
    let mut front = Zeroizing::new(reader.bytes()?.to_vec());
    let opened = set.key().open(nonce, &bound(region, &address.row), &mut front);
    let mut front = Reader::new(opened.map_err(|_| DAMAGED)?);
    let place = HomePlace::read(&mut front)?;
    let placed = (front.text()?.to_owned(), front.u64()?);
    let from =
        CopiedFrom { place, placed, written: Minute(front.u32()?), taken: Minute(front.u32()?) };
    front.end()?;
    let stored = Stored::read(reader.rest()).map_err(|_| DAMAGED)?;
    let head = stored.head(address, region, set.key()).map_err(|_| DAMAGED)?;
    Ok(CopiedRecord { from, head, stored })
}
