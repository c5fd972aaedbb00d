//! `bailiwick shard status`: which process writes to a shard's database.

use std::path::Path;
use std::time::Duration;

use engine::Standing;
use serde_json::json;
use tokio::time::sleep;

use super::block_on;
use crate::config;
use crate::config::store::Store;
use crate::error::{Exit, Failure};
use crate::terminal;

/// Time between two looks at a writer's heartbeat: a writer has one four times a second.
const LOOK_AGAIN: Duration = Duration::from_millis(1_200);

/// Says who writes.
pub(crate) fn run(path: &Path, json: bool) -> Result<(), Failure> {
    let config = config::shard::read(path)?;
    let Store::Postgres(postgres) = &config.store else {
        let text = "only a shard on postgres has several processes; of this one, `bailiwick doctor` \
                    says whether it runs";
        return Err(Failure::said(Exit::Config, text));
    };
    let look = || {
        let standing = postgres.standing();
        standing.map_err(|error| super::shard::error(shard::Error::Engine(error)))
    };
    let Some(before) = look()? else {
        let text = "the database has no store yet: run `bailiwick shard init`";
        return Err(Failure::said(Exit::Data, text));
    };
    block_on(async {
        sleep(LOOK_AGAIN).await;
        Ok(())
    })?;
    let now = look()?.unwrap_or_else(|| before.clone());
    let state = if now.released {
        "ended"
    } else if (now.head.term, now.beat) == (before.head.term, before.beat) {
        "silent"
    } else {
        "writes"
    };
    let Standing { head, holder, .. } = now;
    let place = postgres.place();
    if json {
        let status = json!({
            "database": place, "writer": holder, "state": state, "term": head.term,
            "log_size": head.size,
        });
        return terminal::say(status);
    }
    let said = match state {
        "writes" => format!("{holder} writes"),
        "silent" => {
            format!("no process writes: {holder} was the last, and has not said that it ended")
        }
        _ => format!("no process writes: {holder} was the last, and has ended"),
    };
    terminal::say(format!("{place}\n{said}\nterm {}, {} log entries", head.term, head.size))
}
