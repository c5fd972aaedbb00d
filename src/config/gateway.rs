//! A gateway's configuration: addresses, callers, map and annexes.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atlas::{Annex, RegionMap};
use evidence::{DatabaseRefused, Sources};
use link::tls::{CallerFiles, Files};
use terms::RegionId;
use terms::limits::GATEWAY_IN_FLIGHT_MAX;

use super::callers::{self, ListenerFiles};
use super::maps::{self, AnnexFiles};
use super::metrics::{self, MetricsConfig};
use super::read::{At, Section};
use super::{listeners, named_file, noted, read_file, tls, unreadable};
use crate::commands::Failure;

/// A gateway's configuration, with everything that it names read.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) settings: gateway::Settings,
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    /// None: its pages are shown to whoever reaches them.
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
    /// Every file and folder that it names, so that nobody who looks at it forgets one.
    pub(crate) files: Vec<PathBuf>,
}

/// Reads a gateway's configuration.
pub(crate) fn read(path: &Path) -> Result<Config, Failure> {
    read_file(path, |_, root| {
        root.only(&[
            "name",
            "listen",
            "admin_listen",
            "map",
            "map_packs",
            "map_note",
            "map_signers",
            "annexes",
            "geoip",
            "plaintext",
            "plaintext_metrics",
            "metrics",
            "in_flight_max",
            "caller",
            "callers",
            "limits",
            "region",
            "tls",
            "require_sandbox",
        ]);
        let require_sandbox = root.switch("require_sandbox");
        let name = root.parsed("name", "a name", |name| Some(name.to_owned()));
        let (listen, admin_listen) = listeners(root);
        let map = maps::named_map(root);
        let trust = maps::trust(root, map.as_ref(), maps::First::Always);
        let annex_files = annex_files(root);
        let annexes = annexes(root, &annex_files, map.as_ref());
        let sources = sources(root);
        let most = u64::try_from(GATEWAY_IN_FLIGHT_MAX).unwrap_or(u64::MAX);
        let in_flight_max = root.number("in_flight_max", (1, most), most);
        let callers = callers::callers(root, map.as_ref());
        let limits = callers::limits(root, map.as_ref());
        let tls = own_tls(root, map.as_ref());
        let metrics = metrics::metrics(root, tls.as_ref().map(|(files, _)| files));
        let (callers, files) = callers?;
        let listener = listener(root, tls.as_ref(), &files);
        Some(Config {
            settings: gateway::Settings {
                name: name?.it,
                callers,
                limits,
                signers: trust.signers,
                tls: None,
                listener: None,
                in_flight_max: usize::try_from(in_flight_max).unwrap_or(GATEWAY_IN_FLIGHT_MAX),
            },
            listen: listen?,
            admin_listen: admin_listen?,
            metrics,
            map: Arc::new(map?),
            annexes,
            annex_files: AnnexFiles(annex_files.into_iter().map(|file| file.it).collect()),
            tls,
            listener,
            sources: sources?,
            geoip: root.text("geoip").map(|named| root.file.beside(named.it)),
            require_sandbox,
            files: root.file.named(),
        })
    })
}

/// The files and folders that are named for annexes.
fn annex_files(root: &Section<'_>) -> Vec<At<PathBuf>> {
    let named = root.texts("annexes");
    named.iter().map(|annex| At { it: root.file.beside(annex.it), at: annex.at }).collect()
}

/// The annexes: one for each region of the map. In a folder, those of other regions are passed
/// over: a later map may have them.
fn annexes(root: &Section<'_>, named: &[At<PathBuf>], map: Option<&RegionMap>) -> Vec<Annex> {
    let mut annexes: Vec<Annex> = Vec::new();
    let mut whole = true;
    for place in named {
        let folder = place.it.is_dir();
        for annex_path in AnnexFiles(vec![place.it.clone()]).files() {
            let text = named_file(root, place.at, &annex_path);
            let read = text.zip(map).map(|(text, map)| maps::annex(&annex_path, &text, map));
            if folder && matches!(&read, Some(Err(wrong)) if maps::of_another_map(wrong)) {
                continue;
            }
            let Some(read) = read.and_then(|read| noted(root.file, &annex_path, read)) else {
                whole = false;
                continue;
            };
            if annexes.iter().any(|other| other.region() == read.region()) {
                let problem = format!("there is an annex of region `{}` already", read.region());
                root.file.wrong(place.at, "ANNEX_TWICE", problem, "remove one of them");
            }
            annexes.push(read);
        }
    }
    // What a file that could not be read would have said is not known.
    let (Some(map), Some(first), true) = (map, named.first(), whole) else { return annexes };
    for region in map.regions() {
        if !annexes.iter().any(|annex| annex.region() == region.name()) {
            let problem = format!("there is no annex for region `{}`", region.name());
            let cure = "add that region's annex to the list";
            root.file.wrong(first.at, "ANNEX_MISSING", problem, cure);
        }
    }
    annexes
}

/// The gateway's own certificate, and the region that it names.
fn own_tls(root: &Section<'_>, map: Option<&RegionMap>) -> Option<(Files, RegionId)> {
    let files = tls::files(root)?;
    let region = root.parsed("region", "a region's name", |text| RegionId::parse(text).ok())?;
    if let Some(map) = map {
        if map.region(&region.it).is_none() {
            let problem = format!("the map has no region `{}`", region.it);
            let cure = "name the gateway's region, as its certificate does";
            root.file.wrong(region.at, "REGION_UNKNOWN", problem, cure);
        }
        tls::pinned(root, map, &region);
    }
    Some((files, region.it))
}

/// The listener's certificates: those of `[callers]`, or the gateway's own. With
/// `plaintext = true` it has none.
fn listener(
    root: &Section<'_>,
    tls: Option<&(Files, RegionId)>,
    files: &ListenerFiles,
) -> Option<CallerFiles> {
    if root.switch("plaintext") {
        if let Some(at) = root.place("callers").filter(|_| files.authorities.is_some()) {
            let problem = "a plaintext listener sees no certificates";
            let cure = "leave out `plaintext`, or the certificates of [callers]";
            root.file.wrong(at, "CERTIFICATES_NEED_TLS", problem, cure);
        }
        return None;
    }
    let (own, _) = tls?;
    Some(CallerFiles {
        certificate: files.certificate.as_ref().unwrap_or(&own.certificate).clone(),
        key: files.key.as_ref().unwrap_or(&own.key).clone(),
        authorities: files.authorities.clone(),
        revoked: files.revoked.clone(),
        pages: false,
    })
}

/// What reads evidence; the IP database may be left out.
fn sources(root: &Section<'_>) -> Option<Sources> {
    let database = match root.text("geoip") {
        None => None,
        Some(named) => {
            let database = root.file.beside(named.it);
            let read = fs::read(&database);
            Some((
                read.map_err(|error| unreadable(root, named.at, &database, &error)).ok()?,
                named.at,
            ))
        }
    };
    let (bytes, at) = database.unzip();
    let sources = Sources::new(bytes);
    sources
        .map_err(|refused| {
            let code = match refused {
                DatabaseRefused::Damaged(_) => "GEOIP_DAMAGED",
                DatabaseRefused::Kind(_, _) => "GEOIP_KIND",
            };
            let cure = "name a database of countries in MaxMind's format, or leave `geoip` out";
            root.file.wrong(at.unwrap_or(0), code, refused.to_string(), cure);
        })
        .ok()
}
