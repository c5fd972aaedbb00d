//! Certificates: whether others will take the server's own, and until when.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use link::metrics::Registry;
use link::peer::PeerId;
use link::system::SystemClock;
use link::tls::{CallerTls, Files, Tls, TlsMetrics};
use terms::UnixMillis;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

use super::patient::Patient;
use super::peers::whole;
use super::{Line, days};
use crate::config;

/// Days before its end from which on a certificate should have been renewed.
const DAYS_MIN: u64 = 7;
/// Days before its end from which on an authority should be changed: that takes longer.
const AUTHORITY_DAYS_MIN: u64 = 60;

/// What is said of certificates, and TLS towards the other processes, if it can be had.
pub(super) fn all(patient: &Patient, now: UnixMillis) -> (Vec<Line>, Option<Tls>) {
    let Some(files) = &patient.tls else {
        return (vec![Line::ok("certificates", "none: plaintext, on loopback only")], None);
    };
    let mut registry = Registry::new();
    let metrics = TlsMetrics::new(&mut registry);
    let (mut lines, tls) = match own(patient, files, metrics.clone()) {
        Ok(tls) => (both_ends(&tls, now), Some(tls)),
        Err(line) => (vec![line], None),
    };
    if let Some(callers) = &patient.callers {
        let opened = CallerTls::open(callers.clone(), Arc::new(SystemClock), metrics);
        lines.push(match opened {
            Ok(tls) => ending("callers see", tls.not_after(), now, DAYS_MIN),
            Err(error) => Line::bad("certificates", whole(&error), "see docs/identity.md"),
        });
    }
    (lines, tls)
}

/// Opens TLS exactly as the server does: chain, pins, name, region, revocation, validity and key.
fn own(patient: &Patient, files: &Files, metrics: TlsMetrics) -> Result<Tls, Line> {
    let bad = |what: String| Line::bad("certificates", what, "see docs/identity.md");
    let region = match &patient.shard {
        Some(shard) => shard.region.clone(),
        // A gateway stands where its certificate says; whether that is so, the pins show.
        None => match peer_of(&files.certificate) {
            Ok(peer) => peer.region().clone(),
            Err(why) => return Err(bad(format!("{}: {why}", files.certificate.display()))),
        },
    };
    let pins = config::tls::pins(&patient.map);
    let expect = (patient.kind(), region);
    let tls = Tls::open(files.clone(), pins, expect, Arc::new(SystemClock), metrics)
        .map_err(|error| bad(whole(&error)))?;
    if let Some(shard) = &patient.shard
        && tls.own().name() != shard.shard.as_str()
    {
        let what = format!("{} is not this shard, {}", tls.own(), shard.shard);
        return Err(bad(what));
    }
    Ok(tls)
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
        return Line::warn("certificates", what, "renew it: a running server takes the new file");
    }
    Line::ok("certificates", what)
}

/// Whom the first certificate of a file names.
fn peer_of(path: &Path) -> Result<PeerId, String> {
    let text = fs::read(path).map_err(|error| format!("cannot be read ({error})"))?;
    let mut pems = Pem::iter_from_buffer(&text);
    let first = pems.find_map(|pem| pem.ok().filter(|pem| pem.label == "CERTIFICATE"));
    let first = first.ok_or("there is no certificate in it")?;
    let certificate = first.parse_x509().map_err(|_| "it is no X.509 certificate")?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let mut names = names.iter().flat_map(|names| &names.value.general_names);
    let peer = names.find_map(|name| {
        let GeneralName::URI(uri) = name else { return None };
        PeerId::parse(uri)
    });
    peer.ok_or_else(|| "its names are none of a process of ours".to_owned())
}
