//! TLS of a server: opened before any port is bound, reloaded while it runs.

use std::sync::Arc;

use atlas::RegionMap;
use link::host::clock::SystemClock;
use link::net::admin_http::Guard;
use link::ops::health::Health;
use link::ops::metrics::Registry;
use link::tls::{CallerFiles, CallerTls, Cause, Error, Expected, Files, Tls, TlsMetrics};

use crate::config;
use crate::config::metrics::MetricsConfig;
use crate::error::{Exit, Failure};

/// Opens TLS between our own processes, as a process of that kind and region, and reads its files
/// again whenever they change. Needs a running runtime.
pub(super) fn open(
    files: Files,
    map: &RegionMap,
    expect: Expected,
    registry: &mut Registry,
    health: &Health,
) -> Result<Tls, Failure> {
    let metrics = TlsMetrics::new(registry).telling(health, "tls_files");
    let pins = config::tls::pins(map);
    let tls = Tls::open(files, pins, expect, Arc::new(SystemClock), metrics).map_err(error)?;
    let own = tls.own();
    health.set_fact("tls", format!("on: {own}"));
    tracing::info!(own = %own, "certificates were read");
    let kept = tls.clone();
    tokio::spawn(async move { kept.keep().await });
    Ok(tls)
}

/// Opens TLS of a gateway's listener, as [`open`] does.
pub(super) fn open_listener(
    files: CallerFiles,
    registry: &mut Registry,
    health: &Health,
) -> Result<CallerTls, Failure> {
    listener(files, TlsMetrics::of_listener(registry).telling(health, "listener_tls_files"))
}

fn listener(files: CallerFiles, metrics: TlsMetrics) -> Result<CallerTls, Failure> {
    let tls = CallerTls::open(files, Arc::new(SystemClock), metrics).map_err(error)?;
    let kept = tls.clone();
    tokio::spawn(async move { kept.keep().await });
    Ok(tls)
}

/// Who may see the pages of health and metrics, with TLS as [`open`] does.
pub(super) fn guard(
    config: Option<MetricsConfig>,
    health: &Health,
) -> Result<Option<Guard>, Failure> {
    let Some(MetricsConfig { files, uris, token }) = config else { return Ok(None) };
    // What it counts is not on the page: the names are those of the listener of callers.
    let tls = files.map(|files| {
        let metrics = TlsMetrics::of_listener(&mut Registry::new());
        listener(files, metrics.telling(health, "metrics_tls_files"))
    });
    let tls = tls.transpose()?;
    Ok(Some(Guard { tls, uris, token }))
}

fn error(error: Error) -> Failure {
    let exit = match &error {
        // Time, a new list or the second half of a renewal cures it: a supervisor should start the
        // process again.
        Error::Own {
            cause: Cause::Expired | Cause::AuthorityExpired | Cause::ListExpired, ..
        }
        | Error::Unpaired { .. }
        | Error::Handshake(_)
        | Error::Slow => Exit::Unavailable,
        Error::Unread { .. }
        | Error::File { .. }
        | Error::Pem { .. }
        | Error::Own { .. }
        | Error::Setup(_) => Exit::Config,
    };
    let context = "TLS: name files under [tls] that this process can use (`bailiwick pki show`)";
    Failure::new(exit, anyhow::Error::new(error).context(context))
}
