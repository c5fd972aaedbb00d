//! A constant sealed under each generation of the region's key, kept in the store since its first
//! commit. Every start opens all of them, so that a keyring with a changed, missing or foreign
//! generation is refused before anything is written under it.
//!
//! The row, of format 1: `01`, then the constant, wrapped as a subject's key is.

use std::collections::BTreeSet;

use engine::{Batch, Engine, Order, ScanLimit, Span};
use terms::{Entropy, RegionId};

use crate::Error;
use crate::store::aead::{KEY_BYTES, NONCE_BYTES, binding};
use crate::store::attachment::{self, ALL_UPLOADS, UploadFront};
use crate::store::codec::Reader;
use crate::store::keyring::{Keyring, WRAPPED_BYTES};
use crate::store::keys;
use crate::store::subject::Subject;

const FORMAT: u8 = 1;
/// What is sealed. It says nothing: only that it opens counts.
const CONSTANT: [u8; KEY_BYTES] = *b"bailiwick generation constant v1";
/// Generations of one keyring that are looked at.
const GENERATIONS_MAX: usize = 4_096;

/// How a store and a keyring differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Differs {
    pub(crate) generation: u32,
    pub(crate) why: &'static str,
}

fn bound(region: &RegionId, generation: u32) -> Vec<u8> {
    binding("generation constant v1", &[region.as_str()], Some(u64::from(generation)))
}

/// Adds a row for each generation to the first commit of a store.
pub(crate) fn put(
    batch: &mut Batch,
    keyring: &dyn Keyring,
    region: &RegionId,
    entropy: &dyn Entropy,
) -> Result<(), Error> {
    for generation in keyring.generations() {
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce).map_err(|_| Error::NoEntropy)?;
        let bound = bound(region, generation);
        if let Some(wrapped) = keyring.wrap_under(generation, &CONSTANT, &bound, nonce) {
            let mut row = vec![FORMAT];
            row.extend_from_slice(&wrapped);
            batch.put(keys::generation(generation), row);
        }
    }
    Ok(())
}

/// The first generation in which store and keyring differ: each must have all that the other has,
/// and open what the store sealed under it.
pub(crate) fn differs(
    engine: &dyn Engine,
    keyring: &dyn Keyring,
    region: &RegionId,
) -> Result<Option<Differs>, Error> {
    let limit = ScanLimit { rows: GENERATIONS_MAX, bytes: 1 << 20 };
    let page = engine.scan(&keys::generations(), Order::Ascending, limit)?;
    let held = keyring.generations();
    let mut stored = Vec::new();
    for (key, row) in &page.rows {
        let (generation, fits) = fits(key, row, keyring, region)?;
        let differs = |why| Ok(Some(Differs { generation, why }));
        if !held.contains(&generation) {
            return differs("is missing from it");
        }
        if !fits {
            return differs("is not the key of this store");
        }
        stored.push(generation);
    }
    let unknown = held.into_iter().find(|generation| !stored.contains(generation));
    Ok(unknown.map(|generation| Differs { generation, why: "is not one of this store" }))
}

/// Makes the rows of a store that is older than the last change of the keyring those of the keyring:
/// adds what is missing, and deletes rows of generations that were destroyed and wrap no subject. The
/// first generation that keeps it from that is returned.
pub(crate) fn bring_up(
    batch: &mut Batch,
    engine: &dyn Engine,
    keyring: &dyn Keyring,
    region: &RegionId,
    entropy: &dyn Entropy,
) -> Result<Option<Differs>, Error> {
    let limit = ScanLimit { rows: GENERATIONS_MAX, bytes: 1 << 20 };
    let page = engine.scan(&keys::generations(), Order::Ascending, limit)?;
    let held = keyring.generations();
    let mut destroyed = BTreeSet::new();
    for (key, row) in &page.rows {
        let (generation, fits) = fits(key, row, keyring, region)?;
        if !held.contains(&generation) {
            batch.delete(key.clone());
            destroyed.insert(generation);
        } else if !fits {
            return Ok(Some(Differs { generation, why: "is not the key of this store" }));
        }
    }
    if let Some(generation) = wraps(engine, &destroyed)? {
        let why = "is not in it any more, and people in this store are wrapped under it: it cannot \
                   be read. Restore a newer backup";
        return Ok(Some(Differs { generation, why }));
    }
    discard_uploads(batch, engine, &destroyed)?;
    put(batch, keyring, region, entropy)?;
    Ok(None)
}

/// Discards the uploads whose stand-in one of these generations wraps: their callers begin again.
fn discard_uploads(
    batch: &mut Batch,
    engine: &dyn Engine,
    destroyed: &BTreeSet<u32>,
) -> Result<(), Error> {
    for (key, row) in engine.scan(&keys::uploads(), Order::Ascending, ALL_UPLOADS)?.rows {
        // One that cannot be read is left, and keeps no shard from starting.
        let generation = attachment::generation_of(&row).ok().flatten();
        if generation.is_some_and(|it| destroyed.contains(&it)) {
            let (Ok(front), Some(head)) = (UploadFront::read(&row), keys::uploaded_record(&key))
            else {
                continue;
            };
            attachment::discard(batch, &head, front.tag, front.bytes);
            batch.delete(key);
        }
    }
    Ok(())
}

/// The first of these generations that wraps a subject.
fn wraps(engine: &dyn Engine, of: &BTreeSet<u32>) -> Result<Option<u32>, Error> {
    let limit = ScanLimit { rows: 1, bytes: 1 };
    let Span { mut from, until } = keys::subjects();
    while !of.is_empty() {
        // Each subject's own row comes before those of its records, which are passed over.
        let span = Span { from, until: until.clone() };
        let mut page = engine.scan(&span, Order::Ascending, limit)?;
        let Some((key, row)) = page.rows.pop() else { break };
        let (prefix, _) = keys::of_subject(&key).ok_or(Error::Damaged("subjects"))?;
        from = keys::past_subject(prefix);
        if keys::is_subject(&key)
            && let Some(generation) = Subject::generation_of(&row)?
            && of.contains(&generation)
        {
            return Ok(Some(generation));
        }
    }
    Ok(None)
}

/// The generation of a row, and whether the keyring's of that number opens it.
pub(crate) fn fits(
    key: &[u8],
    row: &[u8],
    keyring: &dyn Keyring,
    region: &RegionId,
) -> Result<(u32, bool), Error> {
    let generation = key.last_chunk().map(|number| u32::from_be_bytes(*number));
    let generation = generation.ok_or(Error::Damaged("generations"))?;
    let mut row = Reader::new(row);
    row.format(FORMAT)?;
    let wrapped = row.array::<WRAPPED_BYTES>()?;
    row.end()?;
    let opened = keyring.unwrap(generation, &wrapped, &bound(region, generation));
    Ok((generation, opened.is_some_and(|opened| *opened == CONSTANT)))
}

#[cfg(test)]
mod tests {
    use engine::{Disk, Memory};

    use super::*;
    use crate::store::codec::Writer;
    use crate::store::keyring::FileKeyring;
    use crate::store::secret_files::to_hex;
    use crate::store::subject::KEPT;

    struct Zeros;
    impl Entropy for Zeros {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), terms::EntropyFailed> {
            buffer.fill(7);
            Ok(())
        }
    }

    fn ring(folder: &std::path::Path, region: &RegionId, keys: &[(u32, u8)]) -> FileKeyring {
        let lines = keys.iter().map(|(number, byte)| {
            format!("[[generations]]\nnumber = {number}\nkey = \"{}\"\n", to_hex(&[*byte; 32]))
        });
        let index = to_hex(&[1; 32]);
        let text = format!("format = 1\nregion = \"{region}\"\nindex = \"{index}\"\n")
            + &lines.collect::<String>();
        let path = FileKeyring::path(folder, region);
        std::fs::remove_file(&path).unwrap_or_default();
        crate::store::secret_files::write_secret(&path, text.as_bytes()).unwrap();
        FileKeyring::open(folder, region, None).unwrap()
    }

    #[test]
    fn a_keyring_fits_its_store_by_every_generation_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let region = RegionId::parse("ru-msk").unwrap();
        let ring = |keys: &[(u32, u8)]| ring(folder.path(), &region, keys);
        let engine = Memory::open(&Disk::new(1));
        let mut batch = Batch::new();
        put(&mut batch, &ring(&[(1, 3), (2, 4)]), &region, &Zeros).unwrap();
        engine.commit(batch, engine.head().unwrap(), 0).unwrap();
        let found = |keys: &[(u32, u8)]| {
            differs(&engine, &ring(keys), &region)
                .unwrap()
                .map(|found| (found.generation, found.why))
        };
        assert_eq!(found(&[(1, 3), (2, 4)]), None);
        assert_eq!(found(&[(2, 4), (1, 3)]), None);
        for (keys, generation, why) in [
            (&[(1, 3), (2, 5)][..], 2, "is not the key of this store"),
            (&[(1, 4), (2, 3)], 1, "is not the key of this store"),
            (&[(2, 4)], 1, "is missing from it"),
            (&[(1, 3)], 2, "is missing from it"),
            (&[(1, 3), (2, 4), (3, 4)], 3, "is not one of this store"),
        ] {
            assert_eq!(found(keys), Some((generation, why)));
        }
    }

    #[test]
    fn a_damaged_upload_keeps_no_older_store_from_being_brought_up() {
        let folder = tempfile::tempdir().unwrap();
        let region = RegionId::parse("ru-msk").unwrap();
        let engine = Memory::open(&Disk::new(1));
        let mut batch = Batch::new();
        let ring = |keys: &[(u32, u8)]| ring(folder.path(), &region, keys);
        put(&mut batch, &ring(&[(1, 3), (2, 4)]), &region, &Zeros).unwrap();
        // Its generation can be read, and its front cannot: the first byte is another.
        let mut stand_in = Writer::with_capacity(100);
        stand_in.u8(1).u8(KEPT).u32(1).u32(1).fixed(&[0; WRAPPED_BYTES]).bytes(&[]);
        let mut row = Writer::with_capacity(200);
        row.fixed(&[9; 45]).bytes(&stand_in.0);
        assert_eq!(attachment::generation_of(&row.0).unwrap(), Some(1));
        assert!(UploadFront::read(&row.0).is_err());
        batch.put(vec![0x13; 40], row.0);
        engine.commit(batch, engine.head().unwrap(), 0).unwrap();
        let mut batch = Batch::new();
        let found = bring_up(&mut batch, &engine, &ring(&[(2, 4)]), &region, &Zeros).unwrap();
        assert_eq!(found.map(|found| found.why), None);
        engine.commit(batch, engine.head().unwrap(), 0).unwrap();
        let page = engine.scan(&keys::uploads(), Order::Ascending, ALL_UPLOADS).unwrap();
        assert_eq!(page.rows.len(), 1);
    }
}
