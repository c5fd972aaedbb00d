//! `bailiwick shard convert`: moves a shard that does not run to another engine.

use std::path::Path;

use link::ops::logging::Level;

use super::{outside, shard, start_logs};
use crate::config;
use crate::error::{Exit, Failure};
use crate::terminal;

/// Copies the store of one configuration into that of the other.
pub(crate) fn run(from: &Path, to: &Path) -> Result<(), Failure> {
    let (old, new) = (config::shard::read(from)?, config::shard::read(to)?);
    start_logs(true, Level::Warn)?;
    // The region's keys will be in it, as in a server's.
    let _closed = link::host::sandbox::close_memory();
    let of = |settings: &::shard::Settings| {
        let ::shard::Settings { region, shard, anchor, keys, .. } = settings;
        // Two spellings of one folder are one.
        let place = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        (region.clone(), shard.clone(), place(anchor), place(keys))
    };
    if of(&old.settings) != of(&new.settings) {
        let text = format!(
            "{} and {} must name the same region, shard, `anchor` and `keys`: they differ in the \
             store alone",
            from.display(),
            to.display()
        );
        return Err(Failure::said(Exit::Config, text));
    }
    let outside = outside(old.store.backend());
    let target = new.store.backend();
    let done = ::shard::convert(&old.settings, &old.map, &old.annex, &outside, &target);
    let ::shard::Converted { place, rows, bytes, entries, root } = done.map_err(shard::error)?;
    let root: String = root.iter().map(|byte| format!("{byte:02x}")).collect();
    terminal::say(format!(
        "{place} is a copy: {rows} rows of {bytes} bytes, {entries} log entries with the root {root}, \
         the same in both\nstart the shard with {}, and remove the old store once it serves",
        to.display()
    ))
}
