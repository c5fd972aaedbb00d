//! Numbered commits: what a store of `n` of them holds, exactly. A store of a crash is compared
//! with it whole, so that a missing, torn or resurrected row shows.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Duration;

use engine::{Batch, Engine, Error, Key, Kind, Options, Order, ScanLimit, Span, Value};

pub(crate) const OPTIONS: Options = Options { cache_bytes: 16 << 20 };

/// Opens a store. A process that another test starts holds the locks of this one for a moment,
/// between its fork and its exec: that is waited out.
pub(crate) fn open(kind: Kind, folder: &Path) -> Result<Box<dyn Engine>, Error> {
    for _ in 0..6_000 {
        match engine::open(kind, folder, OPTIONS) {
            Err(Error::Locked { .. }) => thread::park_timeout(Duration::from_millis(5)),
            outcome => return outcome,
        }
    }
    engine::open(kind, folder, OPTIONS)
}

/// Bytes that follow from `seed` and do not compress (SplitMix64).
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    });
    words.flatten().take(len).collect()
}

/// What commit `number` writes: rows of its own, rows that it shares with others, and a large
/// value that grows, shrinks and goes.
fn rows(number: u64) -> Vec<(Key, Option<Value>)> {
    let mut rows = Vec::new();
    for row in 0..3_u8 {
        let key = [b"own".as_slice(), &number.to_be_bytes(), &[row]].concat();
        rows.push((key, Some(bytes(number * 3 + u64::from(row), 700))));
    }
    rows.push((b"latest".to_vec(), Some(number.to_be_bytes().to_vec())));
    let large = match number % 4 {
        0 => Some(bytes(number, 100_000)),
        1 => Some(bytes(number, 20_000)),
        2 => Some(bytes(number, 10)),
        _ => None,
    };
    rows.push((b"large".to_vec(), large));
    rows.push((
        [b"shared".as_slice(), &(number % 7).to_be_bytes()].concat(),
        Some(bytes(number, 90)),
    ));
    rows
}

/// Commit `number` as a batch.
pub(crate) fn batch(number: u64) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in rows(number) {
        match value {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        }
    }
    batch
}

/// Whether `engine` holds exactly the first `size` commits, where `size` is its head's.
pub(crate) fn check(engine: &dyn Engine) -> Result<u64, String> {
    let size = engine.head().map_err(|e| e.to_string())?.size;
    let mut expected = BTreeMap::new();
    for (key, value) in (0..size).flat_map(rows) {
        match value {
            Some(value) => expected.insert(key, value),
            None => expected.remove(&key),
        };
    }
    let limit = ScanLimit { rows: usize::MAX, bytes: usize::MAX };
    let found = engine.scan(&Span::all(), Order::Ascending, limit).map_err(|e| e.to_string())?.rows;
    if found.len() != expected.len() {
        return Err(format!("{} rows instead of {}: WRONG", found.len(), expected.len()));
    }
    if !found.into_iter().eq(expected) {
        return Err("rows of another content: WRONG".to_owned());
    }
    Ok(size)
}
