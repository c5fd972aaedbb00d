//! Checks a shard's store by opening it as a start would, and the map in force, which may be newer
//! than the map file.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use atlas::RegionMap;
use link::tls::Ending;
use terms::{UnixMillis, with_causes};

use crate::doctor::line::Line;
use crate::doctor::peers::Page;
use crate::doctor::target::Target;
use crate::doctor::writable::own_user;
use crate::serve;
use crate::serve::endings;

const CHECK: &str = "store";

/// What is said of the store, and the map that it holds, if this process may look.
pub(super) fn look(target: &Target, running: bool) -> (Option<Line>, Option<Arc<RegionMap>>) {
    let (Some(settings), Some(store)) = (target.shard(), target.store()) else {
        return (None, None);
    };
    if running {
        let what = "the shard has it open, and has passed every check at its start";
        return (Some(Line::ok(CHECK, what)), None);
    }
    // An engine makes files: they must be the shard's own.
    let folder = store.folder().unwrap_or(&settings.anchor);
    let owner = fs::metadata(folder).map(|about| about.uid()).ok();
    if owner.is_some() && owner != own_user() {
        let what = format!("{} belongs to another user: it was not opened", folder.display());
        return (
            Some(Line::warn(CHECK, what, "run this as the user that the shard runs as")),
            None,
        );
    }
    let [annex] = target.annexes.as_slice() else { return (None, None) };
    match shard::inspect(settings, &target.map, annex, &serve::outside(store.backend())) {
        Ok(None) => (Some(Line::ok(CHECK, "none yet: `bailiwick shard init` creates it")), None),
        Ok(Some(found)) => {
            let (entries, epoch) = (found.entries, found.map.epoch().number);
            let what = format!(
                "it passes every check of a start: {entries} log entries, map version {epoch}"
            );
            let line = match found.clock_ahead {
                None => Line::ok(CHECK, what),
                Some(ahead) => Line::bad(
                    CHECK,
                    format!("{what}; the clock is {} s ahead of its last commit", ahead.as_secs()),
                    "set the clock right, or run `bailiwick shard confirm-clock`",
                ),
            };
            (Some(line), Some(found.map))
        }
        Err(error) => {
            let cure = "see docs/operations.md: the shard would not start either";
            (Some(Line::bad(CHECK, with_causes(&error), cure)), None)
        }
    }
}

/// What of the map in force ends soon; of a server that runs, it says so itself.
pub(super) fn endings(map: &RegionMap, page: Option<&Page>, now: UnixMillis) -> Vec<Line> {
    const CHECK: &str = "ends";
    let cure = "apply a map with later dates, or renew what ends";
    if let Some(page) = page {
        let (held, soon) = (page.fact("map"), page.fact("ends_soon"));
        let what = format!("of the map {held} in force and of certificates: {soon}");
        return vec![match soon.as_str() {
            "nothing in 30 days" => Line::ok(CHECK, what),
            _ => Line::warn(CHECK, what, cure),
        }];
    }
    let all = endings::of_map(map);
    // The map's own end has a line of its own.
    let named = |ending: &&Ending| !ending.what.starts_with("the map ");
    let lines = all.iter().filter(named).filter_map(|ending| {
        let what = endings::said(ending, now)?;
        Some(Line::warn(CHECK, what, cure))
    });
    let lines: Vec<Line> = lines.collect();
    if lines.is_empty() {
        let days = endings::SOON_DAYS;
        return vec![Line::ok(CHECK, format!("nothing of the map in {days} days"))];
    }
    lines
}
