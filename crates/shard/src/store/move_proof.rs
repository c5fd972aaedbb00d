//! What shows that a subject came by a move: the entry of the log that gave it away, with its proof, as
//! it was checked here, and where the entry stands that took it. One row a subject, of its last move to
//! here, encrypted under its key. It goes with the subject.
//!
//! The row ([`crate::store::own_row`]) has the digest of all that moved, the other log's origin, index,
//! entry, opening and proof, then where the own entry stands, and its opening.

use terms::RegionId;

use crate::Error;
use crate::store::aead::{NONCE_BYTES, SealKey};
use crate::store::codec::{Malformed, Reader};
use crate::store::keys::Owner;
use crate::store::own_row::OwnRow;
use crate::store::types::{EntryAt, Incarnation};

/// The entry with which another region gave a subject away.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct GaveAway {
    pub(crate) origin: String,
    pub(crate) index: u64,
    pub(crate) entry: Vec<u8>,
    pub(crate) opening: [u8; 32],
    /// A C2SP tlog-proof.
    pub(crate) proof: String,
}

/// The proof of the move by which a subject came.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct MoveProof {
    /// Of all that moved.
    pub(crate) digest: [u8; 32],
    pub(crate) source: GaveAway,
    /// The MOVE_IN entry, and its opening.
    pub(crate) entry: EntryAt,
    pub(crate) opening: [u8; 32],
}

const fn row_of<'a>(
    owner: &'a Owner,
    incarnation: Incarnation,
    region: &'a RegionId,
    key: &'a SealKey,
) -> OwnRow<'a> {
    let (label, table) = ("subject move proof v1", "moves");
    OwnRow { label, table, owner, incarnation, region, key }
}

impl MoveProof {
    /// The row as it is stored.
    pub(crate) fn seal(
        &self,
        owner: &Owner,
        incarnation: Incarnation,
        region: &RegionId,
        key: &SealKey,
        nonce: [u8; NONCE_BYTES],
    ) -> Vec<u8> {
        let GaveAway { origin, index, entry, opening, proof } = &self.source;
        let bytes = 512 + entry.len() + proof.len();
        row_of(owner, incarnation, region, key).seal(nonce, bytes, |row| {
            row.fixed(&self.digest).text(origin).u64(*index).bytes(entry).fixed(opening);
            row.text(proof);
            self.entry.write(row);
            row.fixed(&self.opening);
        })
    }

    /// Opens a stored row.
    pub(crate) fn open(
        row: &[u8],
        owner: &Owner,
        incarnation: Incarnation,
        region: &RegionId,
        key: &SealKey,
    ) -> Result<Self, Error> {
        row_of(owner, incarnation, region, key).open(row, Self::read)
    }

    fn read(row: &mut Reader<'_>) -> Result<Self, Malformed> {
        let digest = row.array()?;
        let source = GaveAway {
            origin: row.text()?.to_owned(),
            index: row.u64()?,
            entry: row.bytes()?.to_vec(),
            opening: row.array()?,
            proof: row.text()?.to_owned(),
        };
        let (entry, opening) = (EntryAt::read(row)?, row.array()?);
        row.end()?;
        Ok(Self { digest, source, entry, opening })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::types::{LogId, LogIndex};
    use crate::testing;

    #[test]
    fn a_proof_is_read_back_and_is_of_one_incarnation_of_one_subject() {
        let folder = tempfile::tempdir().unwrap();
        let node = testing::node(folder.path(), &engine::Disk::new(1));
        let [anna, boris] = ["anna", "boris"].map(|name| testing::address(&node, name).owner);
        let proof = MoveProof {
            digest: [1; 32],
            source: GaveAway {
                origin: "sample/eu-fra/s1/1".to_owned(),
                index: 7,
                entry: vec![2; 80],
                opening: [3; 32],
                proof: "a proof".to_owned(),
            },
            entry: EntryAt { log: LogId([4; 8]), index: LogIndex(5), first: LogIndex(4) },
            opening: [6; 32],
        };
        let (key, first) = (SealKey::new(&[9; 32]), Incarnation::FIRST);
        let row = proof.seal(&anna, first, &node.region, &key, [8; NONCE_BYTES]);
        let open = |owner: &Owner, incarnation| {
            MoveProof::open(&row, owner, incarnation, &node.region, &key)
        };
        assert!(open(&anna, first).is_ok_and(|read| read == proof));
        assert!(open(&boris, first).is_err() && open(&anna, Incarnation(9)).is_err());
    }
}
