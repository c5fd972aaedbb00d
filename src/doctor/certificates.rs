//! Checks certificates: whether peers will accept the server's own, and until when.

use std::path::PathBuf;
use std::sync::Arc;

use link::host::clock::SystemClock;
use link::ops::metrics::Registry;
use link::tls::{CallerFiles, CallerTls, Expected, Files, Tls, TlsMetrics, bundle_digests};
use terms::{RegionId, UnixMillis, with_causes};

use crate::config;
use crate::doctor::line::{Line, days};
use crate::doctor::target::Target;

/// Days before its end from which on a certificate should have been renewed.
const DAYS_MIN: u64 = 7;
/// Days before its end from which on an authority should be changed: that takes longer.
const AUTHORITY_DAYS_MIN: u64 = 60;
const CURE: &str = "see docs/identity.md";

/// What is said of certificates, and TLS towards the other processes, if it can be had.
pub(super) fn all(target: &Target, now: UnixMillis) -> (Vec<Line>, Option<Tls>) {
    let Some((files, region)) = &target.tls else {
        let none = Line::ok("certificates", "none: plaintext, on loopback only");
        return (std::iter::once(none).chain(listeners(target, None, now)).collect(), None);
    };
    let metrics = TlsMetrics::new(&mut Registry::new());
    let (mut lines, tls) = match own(target, files, region, metrics) {
        Ok(tls) => (both_ends(&tls, now), Some(tls)),
        Err(line) => (vec![line], None),
    };
    lines.extend(strangers(target, files));
    // One certificate that is bad is said once.
    let bad = tls.is_none().then_some(&files.certificate);
    lines.extend(listeners(target, bad, now));
    (lines, tls)
}

/// What the listeners for others than our own processes show, but for a certificate that is known
/// to be bad.
fn listeners(target: &Target, bad: Option<&PathBuf>, now: UnixMillis) -> Vec<Line> {
    let callers = if target.shard().is_some() { "auditors see" } else { "callers see" };
    let all = [(&target.callers, callers), (&target.pages, "readers of metrics see")];
    let shown = all.into_iter().filter_map(|(files, who)| Some((files.as_ref()?, who)));
    let good = shown.filter(|(files, _)| bad != Some(&files.certificate));
    let line = |(files, who): (&CallerFiles, &str)| {
        let metrics = TlsMetrics::new(&mut Registry::new());
        match CallerTls::open(files.clone(), Arc::new(SystemClock), metrics) {
            Ok(tls) => ending(who, tls.not_after(), now, DAYS_MIN),
            Err(error) => Line::bad("certificates", with_causes(&error), CURE),
        }
    };
    good.map(line).collect()
}

/// Opens TLS exactly as the server does: chain, pins, region, revocation, validity and key. And
/// looks at the name: by another one, the other processes refuse its sessions.
fn own(
    target: &Target,
    files: &Files,
    region: &RegionId,
    metrics: TlsMetrics,
) -> Result<Tls, Line> {
    let bad = |what: String| Line::bad("certificates", what, CURE);
    let (kind, name) = (target.kind(), target.name());
    let configured = format!("{} {name} of {region}", kind.as_str());
    let (pins, clock) = (config::tls::pins(&target.map), Arc::new(SystemClock));
    let expect = Expected { kind, region: region.clone() };
    let tls = Tls::open(files.clone(), pins, expect, clock, metrics);
    let tls = tls.map_err(|error| bad(format!("of the {configured}: {}", with_causes(&error))))?;
    if tls.own().name() != name {
        let path = files.certificate.display();
        let what = format!("{path} is that of {}, not of the {configured}", tls.own());
        return Err(bad(what));
    }
    Ok(tls)
}

/// Authorities that lie in the bundle for nothing: no region of the map pins them.
fn strangers(target: &Target, files: &Files) -> Vec<Line> {
    let pins = config::tls::pins(&target.map).regions;
    // A bundle that cannot be read is said already.
    let digests = bundle_digests(&files.authorities).unwrap_or_default();
    let unpinned =
        digests.into_iter().filter(|digest| !pins.values().flatten().any(|pin| pin == digest));
    let said = unpinned.map(|digest| {
        let digest = hex::encode(digest);
        let bundle = files.authorities.display();
        let what = format!("sha256:{digest} in {bundle} is pinned by no region of the map");
        Line::warn("certificates", what, "pin it in the map, or remove it: it is not used")
    });
    said.collect()
}

fn both_ends(tls: &Tls, now: UnixMillis) -> Vec<Line> {
    let own = ending(&tls.own().to_string(), tls.not_after(), now, DAYS_MIN);
    let authority = tls.authority_not_after();
    let authority =
        authority.map(|end| ending("the first authority", end, now, AUTHORITY_DAYS_MIN));
    [own].into_iter().chain(authority).collect()
}

fn ending(who: &str, end: UnixMillis, now: UnixMillis, least: u64) -> Line {
    let what = format!("{who}: {} days left", days(now, end));
    if end <= now {
        return Line::bad("certificates", format!("{who}: ended"), "renew it");
    }
    if days(now, end) < least {
        return Line::warn("certificates", what, "renew it: a running server reads the new file");
    }
    Line::ok("certificates", what)
}
