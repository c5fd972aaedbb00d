//! `bailiwick shard convert`: copies a store into one of another engine, and compares the two.

use std::sync::Arc;

use atlas::{Annex, RegionMap};
use engine::{Backend, Batch};

use crate::startup::open::{Opened, Opening};
use crate::store::all_rows::{RowSum, each_page};
use crate::{Environment, Error, Settings};

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
    each_page(&*engine.view()?, |rows| {
        let mut batch = Batch::new();
        rows.iter().for_each(|(key, value)| batch.put(key.clone(), value.clone()));
        Ok(copy.commit(batch, term, 0)?)
    })?;
    // Only now is it a store that opens: its head is that of its log.
    copy.commit(Batch::new(), term, head.size)?;
    let (here, there) = (RowSum::of(&*engine.view()?)?, RowSum::of(&*copy.view()?)?);
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
    let RowSum { rows, bytes, .. } = here;
    Ok(Converted { place: to.place(), rows, bytes, entries, root: root.0 })
}
