//! `bailiwick shard convert`: copies a store into one of another engine, and compares the two.

use std::sync::Arc;

use atlas::{Annex, RegionMap};
use aws_lc_rs::digest::{Context, SHA256};
use engine::{Backend, Batch, Engine, Order, ScanLimit, Span};

use crate::startup::open::{Opened, Opening};
use crate::{Environment, Error, Settings};

/// What is read, and then written, at once.
const STEP: ScanLimit = ScanLimit { rows: 4_096, bytes: 4 << 20 };

/// A store that was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// Where the copy lies.
    pub place: String,
    /// Rows in each of the two.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Entries of the placement log.
    pub entries: u64,
    /// The root of its tree.
    pub root: [u8; 32],
}

/// Copies the store of a shard that does not run into `to`, where there is none yet. The store is
/// opened as a start does, and so is the copy; rows and log must be the same in both. The store is
/// left as it is.
///
/// # Errors
/// [`Error::Exists`] when there is something at `to` already; [`Error::CopyDiffers`]; else whatever
/// would keep the shard from starting on either of the two.
pub fn convert(
    settings: &Settings,
    map: &RegionMap,
    annex: &Annex,
    outside: &Environment,
    to: &Arc<dyn Backend>,
) -> Result<Converted, Error> {
    if to.exists()? {
        return Err(Error::Exists { place: to.place() });
    }
    let Opened { engine, log, head, .. } =
        Opening { settings, map, annex, outside }.open_to(true)?;
    let copy = to.open()?;
    let term = copy.head()?;
    each_step(&*engine, |rows| {
        let mut batch = Batch::new();
        rows.iter().for_each(|(key, value)| batch.put(key.clone(), value.clone()));
        Ok(copy.commit(batch, term, 0)?)
    })?;
    // Only now is it a store that opens: its head is that of its log.
    copy.commit(Batch::new(), term, head.size)?;
    let (here, there) = (Sum::of(&*engine)?, Sum::of(&*copy)?);
    drop((engine, copy));
    let at_copy = Environment {
        store: Arc::clone(to),
        clock: Arc::clone(&outside.clock),
        entropy: Arc::clone(&outside.entropy),
        cipher: outside.cipher,
    };
    let opened = Opening { settings, map, annex, outside: &at_copy }.open_to(true)?;
    let (entries, root) = (log.edge.size(), log.edge.root());
    if here != there || (opened.log.edge.size(), opened.log.edge.root()) != (entries, root) {
        return Err(Error::CopyDiffers { place: to.place() });
    }
    let Sum { rows, bytes, .. } = here;
    Ok(Converted { place: to.place(), rows, bytes, entries, root: root.0 })
}

/// Calls `step` with all rows in the order of their keys, so many at a time.
fn each_step(
    engine: &dyn Engine,
    mut step: impl FnMut(&[(Vec<u8>, Vec<u8>)]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut span = Span::all();
    loop {
        let page = engine.scan(&span, Order::Ascending, STEP)?;
        step(&page.rows)?;
        match page.rows.last() {
            Some((last, _)) if page.more => span.from = [&**last, &[0]].concat(),
            _ => return Ok(()),
        }
    }
}

/// All rows of a store: how many, and a digest of them in their order.
#[derive(Debug, PartialEq, Eq)]
struct Sum {
    rows: u64,
    bytes: u64,
    digest: Vec<u8>,
}

impl Sum {
    fn of(engine: &dyn Engine) -> Result<Self, Error> {
        let (mut rows, mut bytes, mut digest) = (0, 0, Context::new(&SHA256));
        each_step(engine, |step| {
            for part in step.iter().flat_map(|(key, value)| [key, value]) {
                let len = u64::try_from(part.len()).unwrap_or(u64::MAX);
                digest.update(&len.to_be_bytes());
                digest.update(part);
                bytes += len;
            }
            rows += u64::try_from(step.len()).unwrap_or(u64::MAX);
            Ok(())
        })?;
        Ok(Self { rows, bytes, digest: digest.finish().as_ref().to_vec() })
    }
}
