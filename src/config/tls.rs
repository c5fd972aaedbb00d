//! The `[tls]` table of both servers: the files of a process's certificates, and the authorities
//! that the map pins.

use atlas::RegionMap;
use link::tls::{Files, Pins};
use terms::RegionId;

use super::read::{At, Section};

/// Where this process's certificates lie. None: the table is left out, or what is wrong with it is
/// noted. The files are read when TLS is opened, and again whenever they change.
pub(super) fn files(root: &Section<'_>) -> Option<Files> {
    let tls = root.table("tls", "[tls]")?;
    tls.only(&["certificate", "key", "authorities", "revoked"]);
    let path = |key| tls.parsed(key, "a path", |text| Some(tls.file.beside(text)));
    let (certificate, key, authorities) = (path("certificate"), path("key"), path("authorities"));
    let revoked = tls.text("revoked").map(|text| tls.file.beside(text.it));
    let (certificate, key) = (certificate?.it, key?.it);
    Some(Files { certificate, key, authorities: authorities?.it, revoked })
}

/// The authorities that the map pins.
pub(crate) fn pins(map: &RegionMap) -> Pins {
    let pinned = |region: &atlas::Region| (region.name().clone(), region.authorities().to_vec());
    Pins {
        trust_domain: map.trust_domain().to_owned(),
        regions: map.regions().iter().map(pinned).collect(),
    }
}

/// Notes it when the map pins no authority for this process's own region: nobody would take its
/// certificate.
pub(super) fn pinned(root: &Section<'_>, map: &RegionMap, region: &At<RegionId>) {
    if map.region(&region.it).is_some_and(|own| own.authorities().is_empty()) {
        let problem = format!("the map pins no authority for `{}`", region.it);
        let cure = "add `authorities` to the region in the map: `bailiwick pki show` prints them";
        root.file.wrong(region.at, "AUTHORITY_MISSING", problem, cure);
    }
}
