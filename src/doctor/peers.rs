//! Peers: the server itself, if it runs, and the shards of a gateway's annexes.

use std::time::Duration;

use atlas::Annex;
use link::spiffe_id::PeerId;
use link::tls::Tls;
use terms::with_causes;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::doctor::line::Line;
use crate::doctor::target::Target;
use crate::serve::readyz::probe;

/// Time in which a reachable peer answers.
const ANSWER: Duration = Duration::from_secs(3);

/// The health page of the server.
pub(super) struct Page(String);

impl Page {
    /// The value of a fact.
    pub(super) fn fact(&self, name: &str) -> String {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or("unknown").to_owned()
    }
}

/// Whether the server runs, and what its health page shows.
pub(super) fn itself(target: &Target, page: Option<&Page>) -> Line {
    let Some(page) = page else {
        return Line::ok("server", format!("it does not run: nothing answers on {}", target.admin));
    };
    let (sandbox, tls) = (page.fact("sandbox"), page.fact("tls"));
    let what = format!("it runs; sandbox: {sandbox}; tls: {tls}");
    if !page.0.starts_with("HTTP/1.1 200") {
        return Line::bad("server", format!("{what}; it is not ready"), "read its log");
    }
    for files in ["tls_files", "listener_tls_files", "metrics_tls_files"] {
        let state = page.fact(files);
        if state.starts_with("refused") {
            let cure = "correct the file: the previous content stays in use until then";
            return Line::bad("server", format!("{what}; {files}: {state}"), cure);
        }
    }
    if sandbox.starts_with("on") {
        return Line::ok("server", what);
    }
    let cure = "see the line `sandbox`, and restart the server";
    Line::bad("server", what, cure).softened(!target.require_sandbox)
}

/// The page of a server that runs.
pub(super) fn page(target: &Target) -> Option<Page> {
    let table = std::fs::read_to_string(&target.config).ok()?.parse().ok()?;
    probe(&target.config, &table)?.ready_page().ok().map(Page)
}

/// Whether each shard that a gateway sends to answers, and is who the annex says.
pub(super) async fn shards(target: &Target, tls: Option<Tls>) -> Vec<Line> {
    if target.shard().is_some() {
        return Vec::new();
    }
    let mut lines = Vec::new();
    for annex in &target.annexes {
        for shard in annex.shards() {
            lines.push(reach(target, annex, shard, tls.as_ref()).await);
        }
    }
    lines
}

async fn reach(target: &Target, annex: &Annex, shard: &atlas::Shard, tls: Option<&Tls>) -> Line {
    let (region, name, address) = (annex.region(), shard.name(), shard.address());
    let who = format!("{region}/{name} at {address}");
    let cure = "start the shard, or correct its address in the annex";
    let (secure, host) = match address.split_once("://") {
        Some(("https", host)) => (true, host),
        Some((_, host)) => (false, host),
        None => return Line::bad("shards", format!("{who}: no address"), cure),
    };
    let stream = match timeout(ANSWER, TcpStream::connect(host.trim_end_matches('/'))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Line::bad("shards", format!("{who} ({error})"), cure),
        Err(_) => return Line::bad("shards", format!("{who}: no answer in {ANSWER:?}"), cure),
    };
    if !secure {
        return Line::ok("shards", format!("{who} answers"));
    }
    let trust_domain = target.map.trust_domain();
    let wanted = format!("spiffe://{trust_domain}/region/{region}/shard/{name}");
    let (Some(tls), Some(wanted)) = (tls, PeerId::parse(&wanted)) else {
        let what =
            format!("{who} answers, but without certificates its identity cannot be verified");
        return Line::bad("shards", what, "see the lines `certificates`");
    };
    match tls.connect(stream, &wanted).await {
        Ok(_) => {
            Line::ok("shards", format!("{who} answers, and is the shard that the annex names"))
        }
        Err(error) => {
            let cure = "see docs/identity.md: its certificate, its clock, or the pins of the map";
            Line::bad("shards", format!("{who}: {}", with_causes(&error)), cure)
        }
    }
}
