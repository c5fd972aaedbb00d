//! A shard's placement log in its configuration: auditors, witnesses and the length of a period.

use std::net::SocketAddr;
use std::time::Duration;

use ledger::cosignature::Cosigner;
use link::net::https_client::Address;
use link::tls::{CallerFiles, Files};
use shard::{LogSettings, PeriodMax, Witness};

use super::reading::Section;

/// Seconds between two submissions to witnesses.
const EVERY_S: u64 = 5;
/// The auditors' listener.
#[derive(Debug)]
pub(crate) struct AuditorsConfig {
    pub(crate) listen: SocketAddr,
    /// The files of its certificates, and the URIs of the certificates that have access. None:
    /// every client on this machine.
    pub(crate) certificates: Option<(CallerFiles, Vec<String>)>,
}

/// `audit_listen` and `[auditors]`. Its certificate is that of `[tls]` unless it names another.
pub(super) fn auditors(root: &Section<'_>, tls: Option<&Files>) -> Option<AuditorsConfig> {
    let section = root.section("auditors");
    let Some(at) = root.place("audit_listen") else {
        if let Some(section) = section {
            let problem = "[auditors] names auditors, and there is no `audit_listen`";
            let help = "add `audit_listen`, or remove [auditors]";
            section.wrong(section.at(), "KEY_MISSING", problem, help);
        }
        return None;
    };
    let listen = root.parse("audit_listen", |text| text.parse::<SocketAddr>().ok())?;
    let Some(section) = section else {
        if let Err(refused) = link::net::listener::require_loopback(listen.it, true) {
            let help = "add [auditors] with their certificates, or listen on 127.0.0.1 or [::1]";
            root.wrong(at, "PLAINTEXT_REFUSED", format!("`audit_listen`: {refused}"), help);
        }
        return Some(AuditorsConfig { listen: listen.it, certificates: None });
    };
    let named = |key| section.path(key).map(|path| path.it);
    let own = |key, of_tls: Option<&std::path::PathBuf>| named(key).or_else(|| of_tls.cloned());
    let certificate = own("certificate", tls.map(|tls| &tls.certificate));
    let key = own("key", tls.map(|tls| &tls.key));
    let (Some(certificate), Some(key)) = (certificate, key) else {
        let problem = "a listener for auditors with certificates needs a certificate of its own";
        let help = "add a [tls] table, or `certificate` and `key` here";
        section.wrong(section.at(), "KEY_MISSING", problem, help);
        return None;
    };
    let (authorities, revoked) = (named("authorities"), named("revoked"));
    let uris = section.texts("uris").unwrap_or_default();
    let uris = uris.iter().map(|uri| uri.it.to_owned()).collect();
    authorities.as_ref()?;
    let files = CallerFiles { certificate, key, authorities, revoked, pages: true };
    Some(AuditorsConfig { listen: listen.it, certificates: Some((files, uris)) })
}

/// `[log]`.
pub(super) fn settings(root: &Section<'_>) -> Option<LogSettings> {
    let Some(section) = root.section("log") else { return Some(LogSettings::default()) };
    let most = |key| section.number(key).map(|number| number.it);
    let days = most("period_days_max").and_then(|days| u32::try_from(days).ok());
    let period_max = PeriodMax { entries: most("period_entries_max"), days };
    let every = section.number_or("witness_every_s", EVERY_S);
    let mut witnesses: Vec<Witness> = Vec::new();
    let mut whole = true;
    for table in &section.sections("witnesses") {
        let Some((witness, at)) = witness(table) else {
            whole = false;
            continue;
        };
        let twice = |other: &Witness| {
            other.key.same_key(&witness.key) || other.key.name() == witness.key.name()
        };
        if witnesses.iter().any(twice) {
            let problem = "this witness, or its name, is there already";
            section.wrong(at, "WITNESS_TWICE", problem, "remove one of them");
        }
        witnesses.push(witness);
    }
    let witness_every = Duration::from_secs(every);
    whole.then_some(LogSettings { period_max, witnesses, witness_every })
}

fn witness(table: &Section<'_>) -> Option<(Witness, usize)> {
    let key = table.parse("key", |text| Cosigner::from_vkey(text).ok());
    let url = table.parse("url", |text| {
        Address::parse_or_local(&format!("{}/add-checkpoint", text.trim_end_matches('/'))).ok()
    });
    let authorities = match table.path("ca") {
        None => None,
        Some(named) => Some(table.authorities(&named)?),
    };
    let (key, address) = (key?, url?.it);
    Some((Witness { key: key.it, address, authorities }, key.at))
}
