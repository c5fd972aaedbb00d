//! A shard that waits until the process that writes to its database has ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use link::net::admin_http::{Guard, serve_admin};
use link::ops::health::Health;
use link::ops::metrics::Registry;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::bind;
use crate::config::store::Store;
use crate::error::Failure;

/// Time for the connections on which pages are read to end.
const END_WITHIN: Duration = Duration::from_millis(300);
/// Attempts to listen again, and the time between them.
const ATTEMPTS: u32 = 50;
const ATTEMPT_EVERY: Duration = Duration::from_millis(20);
/// The name of a fact on the operators' page.
const STANDBY: &str = "standby";

/// What a shard shows while it opens its store, which may take as long as another process lives.
pub(super) struct Standby {
    listen: SocketAddr,
    health: Health,
    /// Its pages, and what ends them.
    pages: Option<(JoinHandle<std::io::Result<()>>, oneshot::Sender<()>)>,
    report: Option<JoinHandle<()>>,
}

/// Serves health while the store is opened: it is alive, and not ready. A store in a folder is opened
/// at once or not at all, and needs none of this.
pub(super) async fn begin(
    store: &Store,
    listen: SocketAddr,
    guard: Option<Guard>,
    health: &Health,
) -> Result<Standby, Failure> {
    let Some(mut waits_for) = store.waits_for() else {
        return Ok(Standby { listen, health: health.clone(), pages: None, report: None });
    };
    let listener = bind(listen).await?;
    // What is counted is counted from the takeover on.
    let registry = Arc::new(Registry::new());
    let (end, ended) = oneshot::channel();
    let ended = async {
        ended.await.ok();
    };
    let pages = serve_admin(listener, guard, health.clone(), registry, ended);
    let shown = health.clone();
    let report = async move {
        while waits_for.changed().await.is_ok() {
            let holder = waits_for.borrow_and_update().clone();
            match holder {
                Some(holder) => {
                    tracing::info!(%holder, "another process writes: waiting to take over");
                    shown.set_fact(STANDBY, format!("waits for {holder}"));
                }
                None => {
                    tracing::info!("taking over: no other process writes any more");
                    shown.unset_fact(STANDBY);
                }
            }
        }
    };
    let pages = Some((tokio::spawn(pages), end));
    let report = Some(tokio::spawn(report));
    Ok(Standby { listen, health: health.clone(), pages, report })
}

impl Standby {
    /// Ends its pages, with the connections on which they were read. The listener of those that
    /// come after them.
    pub(super) async fn end(self) -> Result<TcpListener, Failure> {
        if let Some(report) = self.report {
            report.abort();
            self.health.unset_fact(STANDBY);
        }
        if let Some((mut pages, end)) = self.pages {
            end.send(()).ok();
            if timeout(END_WITHIN, &mut pages).await.is_err() {
                pages.abort();
            }
            // The address is free once the task that accepts has noticed.
            for _ in 0..ATTEMPTS {
                if let Ok(listener) = bind(self.listen).await {
                    return Ok(listener);
                }
                sleep(ATTEMPT_EVERY).await;
            }
        }
        bind(self.listen).await
    }
}
