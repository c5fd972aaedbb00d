//! A shard's configuration of its placement log: auditors, witnesses, and the end of a period.

use std::net::SocketAddr;
use std::time::Duration;

use ledger::cosignature::Cosigner;
use link::net::https_client::Address;
use link::tls::{CallerFiles, Files};
use shard::{LogSettings, PeriodMax, Witness};

use super::read::{At, Section};

/// Entries of a period, and days of one: a period of no entries would never end to end.
const ENTRIES_RANGE: (u64, u64) = (100_000, u64::MAX >> 1);
const DAYS_RANGE: (u64, u64) = (1, 36_500);
/// Seconds between two submissions to witnesses.
const EVERY_S_RANGE: (u64, u64) = (1, 3_600);
const EVERY_S: u64 = 5;
/// Witnesses at the most.
const WITNESSES_MAX: usize = 16;

/// The auditors' listener.
#[derive(Debug)]
pub(crate) struct AuditorsConfig {
    pub(crate) listen: SocketAddr,
    /// The files of its certificates, and the URIs of those who may come in. None: whoever is on
    /// this machine.
    pub(crate) certificates: Option<(CallerFiles, Vec<String>)>,
}

/// `audit_listen` and `[auditors]`. Its certificate is that of `[tls]` unless it names another.
pub(super) fn auditors(root: &Section<'_>, tls: Option<&Files>) -> Option<AuditorsConfig> {
    let section = root.table("auditors", "[auditors]");
    let Some(at) = root.place("audit_listen") else {
        if let Some(section) = section {
            let problem = "[auditors] names auditors, and there is no `audit_listen`";
            let cure = "add `audit_listen`, or leave [auditors] out";
            section.file.wrong(section.at(), "KEY_MISSING", problem, cure);
        }
        return None;
    };
    let wanted = "an address and port such as 127.0.0.1:7420";
    let listen = root.parsed("audit_listen", wanted, |text| text.parse::<SocketAddr>().ok())?;
    let Some(section) = section else {
        if let Err(refused) = link::net::listener::require_loopback(listen.it, true) {
            let cure = "add [auditors] with their certificates, or listen on 127.0.0.1 or [::1]";
            root.file.wrong(at, "PLAINTEXT_REFUSED", format!("`audit_listen`: {refused}"), cure);
        }
        return Some(AuditorsConfig { listen: listen.it, certificates: None });
    };
    section.only(&["uris", "authorities", "revoked", "certificate", "key"]);
    let named = |key| section.text(key).map(|text| section.file.beside(text.it));
    let own = |key, of_tls: Option<&std::path::PathBuf>| named(key).or_else(|| of_tls.cloned());
    let certificate = own("certificate", tls.map(|tls| &tls.certificate));
    let key = own("key", tls.map(|tls| &tls.key));
    let (Some(certificate), Some(key)) = (certificate, key) else {
        let problem = "a listener for certificates needs one of the shard's too";
        let cure = "add a [tls] table, or `certificate` and `key` here";
        section.file.wrong(section.at(), "KEY_MISSING", problem, cure);
        return None;
    };
    let authorities =
        section.parsed("authorities", "a path", |text| Some(section.file.beside(text)));
    let uris: Vec<String> = section.texts("uris").iter().map(|uri| uri.it.to_owned()).collect();
    if uris.is_empty() {
        let cure = "list the URI in the certificate of each auditor";
        section.file.wrong(section.at(), "KEY_MISSING", "[auditors] names no auditor", cure);
    }
    let (authorities, revoked) = (Some(authorities?.it), named("revoked"));
    let files = CallerFiles { certificate, key, authorities, revoked, pages: true };
    Some(AuditorsConfig { listen: listen.it, certificates: Some((files, uris)) })
}

/// `[log]`.
pub(super) fn settings(root: &Section<'_>) -> Option<LogSettings> {
    let Some(section) = root.table("log", "[log]") else { return Some(LogSettings::default()) };
    section.only(&["period_entries_max", "period_days_max", "witness_every_s", "witnesses"]);
    let most = |key, range| section.place(key).map(|_| section.number(key, range, 0));
    let days = most("period_days_max", DAYS_RANGE).and_then(|days| u32::try_from(days).ok());
    let period_max = PeriodMax { entries: most("period_entries_max", ENTRIES_RANGE), days };
    let every = section.number("witness_every_s", EVERY_S_RANGE, EVERY_S);
    let tables = section.tables("witnesses", "[[log.witnesses]]");
    if tables.len() > WITNESSES_MAX {
        let problem = format!("there are more than {WITNESSES_MAX} witnesses");
        section.file.wrong(section.at(), "LIMIT_COUNT", problem, "leave some out");
    }
    let mut witnesses: Vec<Witness> = Vec::new();
    let mut whole = true;
    for table in &tables {
        let Some((witness, at)) = witness(table) else {
            whole = false;
            continue;
        };
        let twice = |other: &Witness| {
            other.key.same_key(&witness.key) || other.key.name() == witness.key.name()
        };
        if witnesses.iter().any(twice) {
            let problem = "this witness, or its name, is there already";
            section.file.wrong(at, "WITNESS_TWICE", problem, "remove one of them");
        }
        witnesses.push(witness);
    }
    let witness_every = Duration::from_secs(every);
    whole.then_some(LogSettings { period_max, witnesses, witness_every })
}

fn witness(table: &Section<'_>) -> Option<(Witness, usize)> {
    table.only(&["key", "url", "ca"]);
    let wanted = "the witness's key: <name>+<id>+<key>";
    let key = table.parsed("key", wanted, |text| Cosigner::from_vkey(text).ok());
    let wanted = "its submission prefix, https://host/path, or http:// on this machine";
    let url = table.parsed("url", wanted, |text| {
        Address::parse_or_local(&format!("{}/add-checkpoint", text.trim_end_matches('/'))).ok()
    });
    let authorities = match table.text("ca") {
        None => None,
        Some(At { it, at }) => {
            let file = table.file.beside(it);
            Some(super::authorities(table, at, &file)?)
        }
    };
    let (key, address) = (key?, url?.it);
    Some((Witness { key: key.it, address, authorities }, key.at))
}
