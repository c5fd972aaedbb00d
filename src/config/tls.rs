//! The `[tls]` table, which both servers have: where the certificates of a process lie, and which
//! authorities the map pins.

use atlas::RegionMap;
use atlas::toml::At;
use link::tls::{Files, Pins};
use terms::RegionId;

use super::reading::Section;

/// Where this process's certificates lie. None: the table is left out, or it has diagnostics. The files
/// are read when TLS is opened, and again whenever they change.
pub(super) fn files(root: &Section<'_>) -> Option<Files> {
    let tls = root.section("tls")?;
    let [certificate, key, authorities, revoked] =
        ["certificate", "key", "authorities", "revoked"].map(|key| tls.path(key).map(|at| at.it));
    let (certificate, key, authorities) = (certificate?, key?, authorities?);
    Some(Files { certificate, key, authorities, revoked })
}

/// The authorities that the map pins.
pub(crate) fn pins(map: &RegionMap) -> Pins {
    let pinned = |region: &atlas::Region| (region.name().clone(), region.authorities().to_vec());
    Pins {
        trust_domain: map.trust_domain().to_owned(),
        regions: map.regions().iter().map(pinned).collect(),
    }
}

/// Reports a map that pins no authority for this process's own region: every peer would refuse its
/// certificate.
pub(super) fn pinned(root: &Section<'_>, map: &RegionMap, region: &At<RegionId>) {
    if map.region(&region.it).is_some_and(|own| own.authorities().is_empty()) {
        let problem = format!("the map pins no authority for `{}`", region.it);
        let help = "add `authorities` to the region in the map: `bailiwick pki show` prints them";
        root.wrong(region.at, "AUTHORITY_MISSING", problem, help);
    }
}
