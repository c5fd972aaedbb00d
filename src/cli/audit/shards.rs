//! Which shards are audited: those that a gateway names, or those whose addresses were given.

use std::time::Duration;

use clap::Args;
use client::{Access, Client, Ledger, Settings, api};

use super::{Exit, Failure, wrong};
use crate::cli::access;
use crate::cli::terminal::warn;

/// Time for one call to the gateway.
const CALL_MAX: Duration = Duration::from_secs(30);
/// Attempts at one call.
const ATTEMPTS_MAX: u32 = 3;

/// Where shards are found, and as whom they are asked.
#[derive(Debug, Args)]
pub(super) struct Found {
    /// The gateway that says where shards have their auditor listeners, and what maps there were
    #[arg(long, value_name = "URL", required_unless_present = "shards")]
    gateway: Option<String>,
    /// The auditor listener of a shard; may be repeated. No gateway is needed then
    #[arg(long = "shard", value_name = "URL")]
    shards: Vec<String>,
    /// Only the shards of this region
    #[arg(long, value_name = "REGION", requires = "gateway")]
    region: Option<String>,
    #[command(flatten)]
    access: access::Options,
}

/// A shard's auditor listener.
pub(super) struct Shard {
    pub(super) url: String,
    pub(super) ledger: Ledger,
}

// === impl Found ===

impl Found {
    /// The gateway, if there is one.
    pub(super) async fn gateway(&self) -> Result<Option<Client>, Failure> {
        let Some(url) = &self.gateway else { return Ok(None) };
        let settings = Settings { deadline: CALL_MAX, attempts_max: ATTEMPTS_MAX };
        let client = Client::connect_with(url, settings, self.access.read().await?).await;
        client.map(Some).map_err(|error| failed(url, &error))
    }

    /// The shards. They are called when they are first asked.
    pub(super) async fn shards(&self, gateway: Option<&Client>) -> Result<Vec<Shard>, Failure> {
        let access: Access = self.access.read().await?;
        let mut urls = self.shards.clone();
        if let Some(client) = gateway.filter(|_| urls.is_empty()) {
            let status = client.map_status(&api::RegionMapStatusRequest {}).await;
            let url = self.gateway.as_deref().unwrap_or_default();
            let status = status.map_err(|error| failed(url, &error))?;
            urls = self.named(&status);
        }
        if urls.is_empty() {
            return Err(wrong("no shard has an auditor listener: the annex's `audit` names them"));
        }
        let open = |url: String| match Ledger::lazy(&url, &access) {
            Ok(ledger) => Ok(Shard { url, ledger }),
            Err(error) => Err(failed(&url, &error)),
        };
        urls.into_iter().map(open).collect()
    }

    /// The addresses that a gateway names. A shard without one is not passed over in silence.
    fn named(&self, status: &api::RegionMapStatus) -> Vec<String> {
        let mut urls = Vec::new();
        for shard in &status.shards {
            if self.region.as_ref().is_some_and(|region| *region != shard.region) {
                continue;
            }
            if shard.audit_address.is_empty() {
                warn(format!("{}/{} has no auditor listener", shard.region, shard.shard));
            } else {
                urls.push(url_of(&shard.audit_address));
            }
        }
        urls
    }
}

/// An address as a URL: without a scheme it is that of a TLS listener, unless it is this machine's.
fn url_of(address: &str) -> String {
    if address.contains("://") {
        return address.to_owned();
    }
    let socket = address.parse::<std::net::SocketAddr>();
    let plain = socket.is_ok_and(|socket| socket.ip().is_loopback());
    format!("{}://{address}", if plain { "http" } else { "https" })
}

/// A call that failed. The client speaks of gateways; here a shard may be meant.
pub(super) fn failed(url: &str, error: &client::Error) -> Failure {
    let said = if let client::Error::Refused(refused) = error {
        crate::cli::refusal_text(refused)
    } else {
        audit::mirror::not_answered(error)
    };
    Failure::said(access::exit(error), format!("{url}: {said}"))
}

/// The exit code of a mirror that did not come about.
pub(super) fn not_mirrored(url: &str, error: &audit::mirror::Error) -> Failure {
    match error {
        audit::mirror::Error::Call(error) => failed(url, error),
        audit::mirror::Error::Alarm(alarm) => wrong(format!("{url}: {alarm}")),
        audit::mirror::Error::Folder { origin, error } => {
            Failure::said(Exit::Data, format!("{origin}: {}", folder_said(error)))
        }
    }
}

/// What is wrong with a folder, with what the system says of it.
pub(super) fn folder_said(error: &audit::folder::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) if !error.to_string().contains(&cause.to_string()) => {
            format!("{error}: {cause}")
        }
        _ => error.to_string(),
    }
}
