//! `bailiwick gateway`: runs a gateway.

use std::path::Path;
use std::sync::Arc;

use ::gateway::Gateway;
use link::host::clock::{SystemClock, SystemEntropy};
use link::net::admin_http::serve_admin;
use link::ops::health::Health;
use link::ops::logging::Level;
use link::ops::metrics::Registry;
use link::spiffe_id::PeerKind;
use link::tls::Expected;

use super::{Stop, bind, endings, enter, geoip, maps, serve_on, start_logs, tls as certificates};
use crate::config;
use crate::error::{Exit, Failure};

/// Runs a gateway until a signal stops it.
pub(crate) fn run(path: &Path) -> Result<(), Failure> {
    let config = config::gateway::read(path)?;
    start_logs(true, Level::Info)?;
    // Before the runtime starts the first thread.
    let sandbox = enter(&link::host::sandbox::gateway(), config.require_sandbox)?;
    serve_on(config.threads, async {
        let stop = Stop::on_signals()?;
        let (mut registry, health) = (Registry::new(), Health::new());
        sandbox.announce(&health, &mut registry);
        let mut settings = config.settings;
        if let Some((files, region)) = config.tls {
            let expect = Expected { kind: PeerKind::Gateway, region };
            settings.tls =
                Some(certificates::open(files, &config.map, expect, &mut registry, &health)?);
        }
        settings.listener = match config.listener {
            Some(files) => Some(certificates::open_listener(files, &mut registry, &health)?),
            None => {
                tracing::warn!(
                    listen = %config.listen,
                    "plaintext: calls are accepted on loopback only"
                );
                None
            }
        };
        if settings.tls.is_none() {
            health.set_fact("tls", "off: loopback only");
        }
        let (tls, callers) = (settings.tls.clone(), settings.listener.clone());
        let gateway = Gateway::new(
            settings,
            config.map,
            config.annexes,
            config.sources,
            Arc::new(SystemClock),
            Arc::new(SystemEntropy),
            &mut registry,
            health.clone(),
        );
        let gateway = gateway.map_err(|e| error(path, e))?;
        let handle = gateway.handle();
        let (own, shown) = (tls.clone(), callers);
        let ending = endings::Sources {
            map: Box::new(move || handle.map()),
            tls: Box::new(move || {
                let own = own.iter().flat_map(link::tls::Tls::endings);
                own.chain(shown.iter().flat_map(link::tls::CallerTls::endings)).collect()
            }),
        };
        endings::watch(ending, &mut registry, &health);
        if let Some(tls) = tls {
            maps::pin_with_gateway(tls, gateway.handle());
        }
        maps::follow_annexes(gateway.handle(), config.annex_files);
        if let Some(file) = config.geoip {
            geoip::follow(gateway.handle(), file, health.clone());
        }
        let listener = bind(config.listen).await?;
        let admin = bind(config.admin_listen).await?;
        let guard = certificates::guard(config.metrics, &health)?;
        let registry = Arc::new(registry);
        let pages = tokio::spawn(serve_admin(admin, guard, health, registry, stop.never()));
        let served = gateway.serve(listener, stop.asked()).await;
        pages.abort();
        served.map_err(|e| error(path, e))?;
        tracing::info!("drained");
        Ok(())
    })
}

/// The failure of a process whose gateway ended with this error.
pub(crate) fn error(path: &Path, error: ::gateway::Error) -> Failure {
    let exit = match &error {
        ::gateway::Error::Routing(_)
        | ::gateway::Error::TenantUnknown
        | ::gateway::Error::Keys(_)
        | ::gateway::Error::InFlightMax => Exit::Config,
        ::gateway::Error::Entropy(_) | ::gateway::Error::Serve(_) => Exit::Unavailable,
    };
    let context = path.display().to_string();
    Failure::new(exit, anyhow::Error::new(error).context(context))
}
