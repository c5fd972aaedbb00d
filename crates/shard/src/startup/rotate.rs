//! `bailiwick shard rotate-log` on a shard that does not run: its period ends as that of a running one
//! does, by the same committer.

use link::ops::health::Health;
use link::ops::metrics::Registry;

use crate::log::rotation_request::Rotated;
use crate::metrics::Metrics;
use crate::startup::open::Opening;
use crate::startup::shard::Parts;
use crate::write::rotate::Ending;
use crate::{Environment, Error, Settings};

/// Ends the period of a shard that does not run, and begins the next.
///
/// # Errors
/// [`Error`]: whatever would keep the shard from starting.
pub fn rotate_log(
    settings: &Settings,
    map: &atlas::RegionMap,
    annex: &atlas::Annex,
    outside: &Environment,
) -> Result<Rotated, Error> {
    let opened = Opening { settings, map, annex, outside }.open()?;
    let metrics = Metrics::new(&mut Registry::new());
    let mut parts = Parts::new(settings, None, outside, metrics, opened, Health::new())?;
    let ending = parts.sealed.take().map_or(Ending::Due, Ending::Sealed);
    parts.committer.rotate(ending)?
}
