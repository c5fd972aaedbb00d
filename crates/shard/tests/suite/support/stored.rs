//! What lies in a stopped shard's folders, read by the documented formats alone.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use engine::{Backend, Embedded, Engine, Error};
use ledger::checkpoint::Checkpoint;
use ledger::entry::{Detail, Entry, Kind};
use ledger::note::Verifier;
use tokio::time::Instant;

/// How long a store may still be held.
const LOCKED_MAX: Duration = Duration::from_secs(60);

/// The rows of a stopped shard's store under a prefix.
pub(crate) fn rows(data: &Path, kind: engine::Kind, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let options = engine::Options { cache_bytes: 16 << 20 };
    rows_in(&Embedded { kind, folder: data.to_owned(), options }, prefix)
}

/// Opens the store of a stopped shard: in one process, its tasks may hold it for a moment more.
pub(crate) fn opened(store: &dyn Backend) -> Box<dyn Engine> {
    let until = Instant::now() + LOCKED_MAX;
    loop {
        match store.open() {
            Err(Error::Locked { .. }) if Instant::now() < until => {
                std::thread::park_timeout(Duration::from_millis(20));
            }
            opened => return opened.unwrap(),
        }
    }
}

/// The same, wherever it lies.
pub(crate) fn rows_in(store: &dyn Backend, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let store = opened(store);
    let limit = engine::ScanLimit { rows: usize::MAX, bytes: usize::MAX };
    store.scan(&engine::Span::prefix(prefix), engine::Order::Ascending, limit).unwrap().rows
}

/// The entries of a period, in order, from the store's rows.
pub(crate) fn entries(data: &Path, kind: engine::Kind, period: u32) -> Vec<Vec<u8>> {
    let options = engine::Options { cache_bytes: 16 << 20 };
    entries_in(&Embedded { kind, folder: data.to_owned(), options }, period)
}

/// The same, wherever it lies.
pub(crate) fn entries_in(store: &dyn Backend, period: u32) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    let mut prefix = vec![0x40];
    prefix.extend_from_slice(&period.to_be_bytes());
    for (key, row) in rows_in(store, &prefix) {
        let first = u64::from_be_bytes(key[5..13].try_into().unwrap());
        assert_eq!(first, entries.len() as u64, "rows follow each other without a gap");
        let mut rest = &row[1..];
        while !rest.is_empty() {
            let length = usize::from(u16::from_be_bytes(rest[..2].try_into().unwrap()));
            entries.push(rest[2..2 + length].to_vec());
            rest = &rest[2 + length..];
        }
    }
    entries
}

/// The last checkpoint, taken out of the anchor's file as an auditor would find it.
pub(crate) fn checkpoint(anchor: &Path, vkey: &str) -> Checkpoint {
    let file = fs::read(anchor).unwrap();
    let verifier = Verifier::from_vkey(vkey).unwrap();
    let slots = file.chunks(4096).map(|slot| {
        let sequence = u64::from_be_bytes(slot[5..13].try_into().unwrap());
        let length = u32::from_be_bytes(slot[13..17].try_into().unwrap()) as usize;
        (sequence, String::from_utf8(slot[17..17 + length].to_vec()).unwrap())
    });
    let (_, note) = slots.max().unwrap();
    Checkpoint::open(&note, &verifier).unwrap()
}

pub(crate) fn log_key(entries: &[Vec<u8>]) -> String {
    let genesis = Entry::decode(&entries[0]).unwrap();
    assert_eq!(genesis.kind, Kind::Genesis);
    let named = genesis.details.iter().find_map(|detail| {
        if let Detail::LogKey(vkey) = detail { Some(vkey.clone()) } else { None }
    });
    named.unwrap()
}
