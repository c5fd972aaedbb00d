//! Which shards to audit: those that a gateway names, or those given by address.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use audit::mirror::Mirrors;
use audit::{Policy, shown};
use clap::Args;
use client::{Access, Client, Ledger, Settings, api, ledger_url};
use terms::with_causes;

use crate::arguments::access;
use crate::commands::audit::inputs::wrong;
use crate::error::{Exit, Failure};
use crate::terminal::answers::refusal_text;

/// Time for one call to the gateway.
const CALL_MAX: Duration = Duration::from_secs(30);
/// Attempts at one call.
const ATTEMPTS_MAX: u32 = 3;

/// Where shards are found, and the caller's access to them.
#[derive(Debug, Args)]
pub(super) struct Found {
    /// Gateway that tells the shards' auditor listeners and the maps
    #[arg(long, value_name = "URL", required_unless_present = "shards")]
    gateway: Option<String>,
    /// Auditor listener of a shard; may be repeated. Needs no gateway
    #[arg(long = "shard", value_name = "URL")]
    shards: Vec<String>,
    /// Only the shards of this region
    #[arg(long, value_name = "REGION", requires = "gateway")]
    region: Option<String>,
    /// Maximum number of new entries of one log; a log with more is refused [default: unlimited]
    #[arg(long, value_name = "N")]
    pub(super) max_entries: Option<u64>,
    #[command(flatten)]
    access: access::Options,
}

/// A shard's auditor listener.
pub(super) struct Shard {
    pub(super) url: String,
    pub(super) ledger: Ledger,
    /// The region and the shard that the gateway names for that address.
    pub(super) named: Option<(String, String)>,
    /// New entries of one log that are taken at the most.
    pub(super) entries_max: Option<u64>,
}

/// The shards that are audited, and those of which the gateway says no address.
pub(super) struct Audited {
    pub(super) shards: Vec<Shard>,
    /// A sentence for each shard that cannot be asked.
    pub(super) lacking: Vec<String>,
}

/// An address, and what the gateway names for it.
type Named = (String, Option<(String, String)>);

// === impl Found ===

impl Found {
    /// The gateway, if there is one.
    pub(super) async fn gateway(&self) -> Result<Option<Client>, Failure> {
        let Some(url) = &self.gateway else { return Ok(None) };
        let settings =
            Settings { deadline: CALL_MAX, attempts_max: ATTEMPTS_MAX, ..Settings::DEFAULT };
        let client = Client::connect_with(url, settings, self.access.read().await?).await;
        client.map(Some).map_err(|error| failed(url, &error))
    }

    /// The shards. They are called when they are first asked. An address counts once.
    pub(super) async fn shards(&self, gateway: Option<&Client>) -> Result<Audited, Failure> {
        let access: Access = self.access.read().await?;
        let mut urls: Vec<Named> = self.shards.iter().map(|url| (url.clone(), None)).collect();
        let mut lacking = Vec::new();
        if let Some(client) = gateway.filter(|_| urls.is_empty()) {
            let status = client.map_status(&api::RegionMapStatusRequest {}).await;
            let url = self.gateway.as_deref().unwrap_or_default();
            let status = status.map_err(|error| failed(url, &error))?;
            (urls, lacking) = self.named(&status);
        }
        let mut seen = BTreeSet::new();
        urls.retain(|(url, _)| seen.insert(url.clone()));
        if urls.is_empty() {
            return Err(wrong("no shard has an auditor listener: the annex's `audit` names them"));
        }
        let open = |(url, named): Named| match Ledger::lazy(&url, &access) {
            Ok(ledger) => Ok(Shard { url, ledger, named, entries_max: self.max_entries }),
            Err(error) => Err(failed(&url, &error)),
        };
        let shards = urls.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(Audited { shards, lacking })
    }

    /// The addresses that a gateway names, and the shards without one: who is not asked has not
    /// been audited.
    fn named(&self, status: &api::RegionMapStatus) -> (Vec<Named>, Vec<String>) {
        let (mut urls, mut lacking) = (Vec::new(), Vec::new());
        for shard in &status.shards {
            if self.region.as_ref().is_some_and(|region| *region != shard.region) {
                continue;
            }
            if shard.audit_address.is_empty() {
                let name = shown(&format!("{}/{}", shard.region, shard.shard));
                lacking.push(format!(
                    "{name} has no auditor listener and was not checked: its region's annex names \
                     none"
                ));
            } else {
                let named = Some((shard.region.clone(), shard.shard.clone()));
                urls.push((ledger_url(&shard.audit_address), named));
            }
        }
        (urls, lacking)
    }
}

// === impl Shard ===

impl Shard {
    /// Where its mirrors are, and what is believed.
    pub(super) fn into<'a>(&'a self, place: &'a Path, policy: Option<&'a Policy>) -> Mirrors<'a> {
        let named = self.named.as_ref().map(|(region, shard)| (region.as_str(), shard.as_str()));
        Mirrors { place, policy, named, entries_max: self.entries_max }
    }
}

/// A call that failed. The client speaks of gateways; here a shard may be meant.
pub(super) fn failed(url: &str, error: &client::Error) -> Failure {
    let said = if let client::Error::Refused(refused) = error {
        shown(&refusal_text(refused))
    } else {
        audit::mirror::not_answered(error)
    };
    // Busy, or about to end: it is away, and has done nothing wrong.
    let busy = matches!(error, client::Error::Refused(refused) if refused.retryable);
    let exit = if busy { Exit::Unavailable } else { Exit::from(error) };
    Failure::said(exit, format!("{url}: {said}"))
}

/// The exit code of a mirror that did not come about.
pub(super) fn not_mirrored(url: &str, error: &audit::mirror::Error) -> Failure {
    match error {
        audit::mirror::Error::Call(error) => failed(url, error),
        audit::mirror::Error::Alarm(alarm) => wrong(format!("{url}: {alarm}")),
        audit::mirror::Error::TooMany { .. } => wrong(format!("{url}: {error}")),
        audit::mirror::Error::OtherDeployment { .. } => Failure::said(Exit::Config, error),
        audit::mirror::Error::Folder { origin, error } => {
            Failure::said(Exit::Data, format!("{origin}: {}", with_causes(error)))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        found: Found,
    }

    #[test]
    fn a_shard_that_nobody_can_ask_is_not_passed_over() {
        let shard = |region: &str, address: &str| api::ShardMap {
            region: region.to_owned(),
            shard: "s1".to_owned(),
            audit_address: address.to_owned(),
            ..Default::default()
        };
        let shards = vec![shard("eu-fra", "127.0.0.1:7500"), shard("ru-msk", "")];
        let status = api::RegionMapStatus { shards, ..Default::default() };
        let line = ["x", "--gateway", "http://127.0.0.1:1"];
        let (urls, lacking) = Line::parse_from(line).found.named(&status);
        let named = Some(("eu-fra".to_owned(), "s1".to_owned()));
        assert_eq!(urls, [("http://127.0.0.1:7500".to_owned(), named)]);
        assert_eq!(lacking.len(), 1);
        assert!(lacking.iter().all(|text| text.starts_with("ru-msk/s1 has no auditor listener")));
        let line = [&line[..], &["--region", "eu-fra"]].concat();
        assert!(Line::parse_from(line).found.named(&status).1.is_empty());
    }
}
