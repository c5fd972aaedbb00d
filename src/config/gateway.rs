//! A gateway's configuration: its listeners, its callers, and the map that it starts with.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atlas::toml::At;
use atlas::{Annex, RegionMap};
use evidence::{DatabaseRefused, Sources};
use gateway::HttpApis;
use link::tls::{CallerFiles, Files};
use terms::RegionId;
use terms::limits::GATEWAY_IN_FLIGHT_MAX;

use super::callers::{self, ListenerFiles};
use super::maps::{self, AnnexFiles};
use super::metrics::{self, MetricsConfig};
use super::reading::{Section, read_file};
use super::{listeners, schema, tls};
use crate::error::Failure;

/// A gateway's configuration, with everything that it names read.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) settings: gateway::Settings,
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    /// Worker threads. None: by the processors.
    pub(crate) threads: Option<usize>,
    /// None: its pages are shown to every client that reaches them.
    pub(crate) metrics: Option<MetricsConfig>,
    pub(crate) map: Arc<RegionMap>,
    pub(crate) annexes: Vec<Annex>,
    /// Where they are, to be read again.
    pub(crate) annex_files: AnnexFiles,
    /// Where the certificates are with which it speaks to shards, and the region that they name.
    /// None: shards on loopback only.
    pub(crate) tls: Option<(Files, RegionId)>,
    /// Where the certificates of the listener are. None: plaintext, on loopback.
    pub(crate) listener: Option<CallerFiles>,
    pub(crate) sources: Sources,
    /// Where the IP database is, to be read again.
    pub(crate) geoip: Option<PathBuf>,
    pub(crate) require_sandbox: bool,
    /// Every file and folder that it names, for `doctor`.
    pub(crate) files: Vec<PathBuf>,
}

/// Reads a gateway's configuration.
pub(crate) fn read(path: &Path) -> Result<Config, Failure> {
    read_file(path, &schema::GATEWAY, |root| {
        let require_sandbox = root.switch("require_sandbox");
        let name = root.text("name").map(|name| name.it.to_owned());
        let (listen, admin_listen) = listeners(root);
        let threads = root.threads();
        let map = maps::named_map(root);
        let trust = maps::trust(root, map.as_ref(), maps::First::Always);
        let annex_files = root.paths("annexes");
        let annexes = annexes(root, &annex_files, map.as_ref());
        let geoip = root.path("geoip");
        let sources = sources(root, geoip.as_ref());
        let in_flight_max = root.number("in_flight_max").map(|number| number.it);
        let callers = callers::callers(root, map.as_ref());
        let limits = callers::limits(root, map.as_ref());
        let tls = own_tls(root, map.as_ref());
        let metrics = metrics::metrics(root, tls.as_ref().map(|(files, _)| files));
        let (callers, files) = callers?;
        let apis = apis(root);
        let listener = listener(root, tls.as_ref(), &files, apis.any());
        Some(Config {
            settings: gateway::Settings {
                name: name?,
                callers,
                limits,
                signers: trust.signers,
                tls: None,
                listener: None,
                apis,
                in_flight_max: in_flight_max
                    .and_then(|most| usize::try_from(most).ok())
                    .unwrap_or(GATEWAY_IN_FLIGHT_MAX),
            },
            listen: listen?,
            admin_listen: admin_listen?,
            threads,
            metrics,
            map: Arc::new(map?),
            annexes,
            annex_files: AnnexFiles(annex_files.into_iter().map(|file| file.it).collect()),
            tls,
            listener,
            sources: sources?,
            geoip: geoip.map(|named| named.it),
            require_sandbox,
            files: root.reading.named(),
        })
    })
}

/// The annexes: one for each region of the map. In a folder, those of other regions are ignored: a
/// later map may have them.
fn annexes(root: &Section<'_>, named: &[At<PathBuf>], map: Option<&RegionMap>) -> Vec<Annex> {
    let mut annexes: Vec<Annex> = Vec::new();
    let mut whole = true;
    for place in named {
        let folder = place.it.is_dir();
        for annex_path in AnnexFiles(vec![place.it.clone()]).files() {
            let (Some(text), Some(map)) = (root.read_from(place.at, &annex_path), map) else {
                whole = false;
                continue;
            };
            let read = maps::annex(&annex_path, &text, map);
            if folder && matches!(&read, Err(wrong) if maps::of_another_map(wrong)) {
                continue;
            }
            let Some(read) = root.reading.noted(&annex_path, &text, read) else {
                whole = false;
                continue;
            };
            if annexes.iter().any(|other| other.region() == read.region()) {
                let problem = format!("there is an annex of region `{}` already", read.region());
                root.wrong(place.at, "ANNEX_TWICE", problem, "remove one of them");
            }
            annexes.push(read);
        }
    }
    // A file that could not be read may be the annex of any region.
    let (Some(map), Some(first), true) = (map, named.first(), whole) else { return annexes };
    for region in map.regions() {
        if !annexes.iter().any(|annex| annex.region() == region.name()) {
            let problem = format!("there is no annex for region `{}`", region.name());
            let help = "add that region's annex to the list";
            root.wrong(first.at, "ANNEX_MISSING", problem, help);
        }
    }
    annexes
}

/// The gateway's own certificate, and the region that it names.
fn own_tls(root: &Section<'_>, map: Option<&RegionMap>) -> Option<(Files, RegionId)> {
    let files = tls::files(root)?;
    let region = root.parse("region", |text| RegionId::parse(text).ok());
    if region.is_none() && root.place("region").is_none() {
        root.missing("region");
    }
    let region = region?;
    if let Some(map) = map {
        if map.region(&region.it).is_none() {
            let problem = format!("the map has no region `{}`", region.it);
            let help = "name the region in which the gateway stands, as its certificate does";
            root.wrong(region.at, "REGION_UNKNOWN", problem, help);
        }
        tls::pinned(root, map, &region);
    }
    Some((files, region.it))
}

/// The listener's certificates: those of `[callers]`, or the gateway's own. With
/// `plaintext = true` it has none. `pages`: it takes HTTP/1.1 too.
fn listener(
    root: &Section<'_>,
    tls: Option<&(Files, RegionId)>,
    files: &ListenerFiles,
    pages: bool,
) -> Option<CallerFiles> {
    if root.switch("plaintext") {
        if let Some(at) = root.place("callers").filter(|_| files.authorities.is_some()) {
            let problem = "a plaintext listener sees no certificates";
            let help = "remove `plaintext`, or the certificates of [callers]";
            root.wrong(at, "CERTIFICATES_NEED_TLS", problem, help);
        }
        return None;
    }
    let (own, _) = tls?;
    Some(CallerFiles {
        certificate: files.certificate.as_ref().unwrap_or(&own.certificate).clone(),
        key: files.key.as_ref().unwrap_or(&own.key).clone(),
        authorities: files.authorities.clone(),
        revoked: files.revoked.clone(),
        pages,
    })
}

/// `[http]`: what the listener speaks beside gRPC.
fn apis(root: &Section<'_>) -> HttpApis {
    let Some(section) = root.section("http") else { return HttpApis::default() };
    let origins = section.list("cors_origins", |text| is_origin(text).then(|| text.to_owned()));
    let apis = HttpApis {
        json: section.switch("json"),
        grpc_web: section.switch("grpc_web"),
        cors_origins: origins.into_iter().map(|origin| origin.it).collect(),
    };
    if let Some(at) = section.place("cors_origins").filter(|_| !apis.any()) {
        let problem = "no page can call: neither `json` nor `grpc_web` is on";
        section.wrong(at, "ORIGINS_UNUSED", problem, "turn on one of them, or remove the origins");
    }
    apis
}

/// Whether a text is an origin as browsers write it: no path, no upper case, no usual port.
fn is_origin(text: &str) -> bool {
    let (host, usual) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(host), _) => (host, ":443"),
        (_, Some(host)) => (host, ":80"),
        (None, None) => return false,
    };
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:[]".contains(c);
    !host.is_empty() && !host.ends_with(usual) && host.chars().all(known)
}

/// What reads evidence; the IP database may be left out.
fn sources(root: &Section<'_>, geoip: Option<&At<PathBuf>>) -> Option<Sources> {
    let bytes = match geoip {
        None => None,
        Some(named) => {
            let read = fs::read(&named.it);
            Some(read.map_err(|error| root.unreadable(named.at, &named.it, &error)).ok()?)
        }
    };
    let sources = Sources::new(bytes);
    sources
        .map_err(|refused| {
            let code = match refused {
                DatabaseRefused::Damaged(_) => "GEOIP_DAMAGED",
                DatabaseRefused::Kind(_, _) => "GEOIP_KIND",
            };
            let help = "name a database of countries in MaxMind's format, or remove `geoip`";
            root.wrong(geoip.map_or(0, |named| named.at), code, refused.to_string(), help);
        })
        .ok()
}
