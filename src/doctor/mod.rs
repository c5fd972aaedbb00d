//! The checks of `bailiwick doctor`: configuration, machine, files, store, certificates and peers of
//! a server, or a whole deployment through its gateway. They change nothing. Each check is a
//! function that gives one finding, or one for each thing that it looks at.
//!
//! They stand in this package and not in a crate: they read what the servers read, by `config`, and
//! so would need every crate that a server needs.

mod certificates;
mod folders;
mod line;
mod live;
mod machine;
mod peers;
mod revocations;
mod store;
mod target;
mod tokens;
mod witnesses;
mod writable;

use std::path::Path;
use std::sync::Arc;

use link::host::clock::SystemClock;
use terms::Clock as _;

use crate::error::Failure;

pub(crate) use line::{Line, State};
pub(crate) use live::{Live, of_deployment};
use target::Target;

/// Checks a server by its configuration.
pub(crate) fn of_server(config: &Path) -> Result<Vec<Line>, Failure> {
    // Before the keys are looked at: this process will have held them.
    let memory = machine::memory();
    let target = Target::read(config)?;
    let now = SystemClock.now();
    let page = peers::page(&target);
    let (store, held) = store::look(&target, page.is_some());
    let map = held.unwrap_or_else(|| Arc::clone(&target.map));
    let mut lines = vec![target.map_age(&map, now), machine::clock(&target, now)];
    lines.push(machine::sandbox(&target));
    lines.extend([memory, machine::swap(), machine::file_limit()]);
    lines.extend(folders::all(&target));
    lines.extend(store);
    lines.extend(target.evidence.clone().map(|what| Line::ok("evidence", what)));
    let (found, tls) = certificates::all(&target, now);
    lines.extend(found);
    lines.extend(revocations::all(&target, now));
    let asked = async {
        let keys = tokens::keys(&target).await;
        let shards = peers::shards(&target, tls).await;
        Ok((keys, shards, witnesses::all(&target).await))
    };
    let (keys, shards, witnesses) = crate::serve::block_on(asked)?;
    lines.extend(keys);
    lines.push(peers::itself(&target, page.as_ref()));
    lines.extend(store::endings(&map, page.as_ref(), now));
    lines.extend(shards);
    lines.extend(witnesses);
    Ok(lines)
}
