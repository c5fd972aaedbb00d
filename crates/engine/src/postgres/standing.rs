//! Who writes to a store: the writer's heartbeat, and the wait of another process for its end.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::postgres::connect::Session;
use crate::postgres::settings::{Occupied, Postgres};
use crate::postgres::{fault, sql};
use crate::{Error, Head};

/// Time between two heartbeats, and between two looks at them.
pub(super) const BEAT_EVERY: Duration = Duration::from_millis(250);
/// A writer without a heartbeat for this long is taken for dead. It is counted by the clock of the
/// process that waits, over looks that were answered.
const SILENT_AFTER: Duration = Duration::from_millis(1_500);

/// The head of a store, and its writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The head.
    pub head: Head,
    /// The process that took the term: a host and a process id.
    pub holder: String,
    /// Its heartbeats so far.
    pub beat: u64,
    /// It has ended, and said so.
    pub released: bool,
}

/// Reads who writes.
pub(super) async fn look(session: &Session) -> Result<Standing, Error> {
    let row = session.client.query_one(sql::STANDING, &[]).await;
    let row = row.map_err(|error| fault::of("read the writer", &error))?;
    let number = |at: usize| u64::try_from(row.get::<_, i64>(at)).unwrap_or_default();
    let head = Head { term: number(0), size: number(1) };
    // A term that was taken without a heartbeat row of its own counts as one that is held.
    let released = row.get::<_, bool>(5) && number(2) == head.term;
    Ok(Standing { head, holder: row.get(4), beat: number(3), released })
}

/// The term that may be followed now: its writer has ended, or is to be replaced.
pub(super) async fn vacant(store: &Postgres, session: &mut Session) -> Result<u64, Error> {
    let mut seen = look(session).await?;
    let mut since = Instant::now();
    while !seen.released && seen.head.term > 0 && store.occupied != Occupied::Replace {
        sleep(BEAT_EVERY).await;
        let now = match look(session).await {
            Ok(now) => now,
            // A failover: the silence is counted again from its end.
            Err(error) if fault::is_connection(&error) && store.occupied == Occupied::Wait => {
                if let Ok(again) = Session::open(&store.access).await {
                    again.expect_owner(&store.access, &store.owner).await?;
                    *session = again;
                }
                since = Instant::now();
                continue;
            }
            Err(error) => return Err(error),
        };
        let alive = (now.head.term, now.beat) != (seen.head.term, seen.beat);
        seen = now;
        let locked = || Err(Error::Locked { path: store.place().into() });
        if !alive && since.elapsed() >= SILENT_AFTER {
            if store.occupied == Occupied::RefuseUnlessEnded && !seen.released {
                return locked();
            }
            break;
        }
        if alive {
            since = Instant::now();
            if matches!(store.occupied, Occupied::Refuse | Occupied::RefuseUnlessEnded) {
                return locked();
            }
            report(store, Some(seen.holder.clone()));
        }
    }
    report(store, None);
    Ok(seen.head.term)
}

/// Reports which writer an opening waits for, if that has changed.
fn report(store: &Postgres, holder: Option<String>) {
    store.waiting.send_if_modified(|waits| {
        let changed = *waits != holder;
        *waits = holder;
        changed
    });
}
