//! A look at the store of a shard that does not run, by every check of a start.

use std::sync::Arc;
use std::time::Duration;

use atlas::{Annex, RegionMap};
use terms::UnixMillis;

use crate::startup::open::Opening;
use crate::{Environment, Error, Settings};

/// A store that a start would take.
#[derive(Debug)]
pub struct Inspected {
    /// The map in force: the newest of the store's and the configuration's.
    pub map: Arc<RegionMap>,
    /// Entries of the log.
    pub entries: u64,
    /// When it was written last.
    pub last_commit: UnixMillis,
    /// By how much the clock is ahead of what a start would believe. None: it is believed.
    pub clock_ahead: Option<Duration>,
}

/// Opens a store as a start does: keys, identity, log, checkpoint and map. Nothing is made, no map
/// is taken, no entry is written and nothing is signed; the engine itself notes a new term and may
/// tidy up after a crash, as each opening does. None: there is no store yet.
///
/// # Errors
/// [`Error`]: whatever would keep the shard from starting. While it runs, its store is locked.
pub fn inspect(
    settings: &Settings,
    map: &RegionMap,
    annex: &Annex,
    outside: &Environment,
) -> Result<Option<Inspected>, Error> {
    let opening = Opening { settings, map, annex, outside };
    if settings.nothing_there(&*outside.store)? {
        return Ok(None);
    }
    let opened = opening.open_to(true)?;
    let entries = opened.log.edge.size();
    let clock_ahead = opened.clock.ahead().map(Duration::from_millis);
    let (map, last_commit) = (opened.map, opened.last_commit);
    Ok(Some(Inspected { map, entries, last_commit, clock_ahead }))
}
