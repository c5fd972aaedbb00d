//! Showing certificates and revocation lists.

use std::path::Path;

use serde_json::{Value, json};
use terms::pem;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::commands::Failure;
use crate::commands::pki::authority::{DAY_S, pin};
use crate::commands::pki::{now, read, wrong};
use crate::terminal::{Output, one_line};

/// Shows everything in a PEM file that is a certificate or a revocation list; a key is only named.
pub(super) fn run(path: &Path, json: bool) -> Result<(), Failure> {
    let mut output = Output::new();
    for block in read::pems(path)? {
        match block.label.as_str() {
            pem::CERTIFICATE => {
                let shown = read::certificate(&block.der, path)?;
                if json {
                    output.line(certificate_json(&shown, &block.der))?;
                } else {
                    certificate(&mut output, &shown, &block.der)?;
                }
            }
            pem::REVOCATION_LIST => match CertificateRevocationList::from_der(&block.der) {
                Ok(([], shown)) if json => output.line(list_json(&shown))?,
                Ok(([], shown)) => list(&mut output, &shown)?,
                _ => {
                    let text = format!("{}: its revocation list is damaged", path.display());
                    return Err(wrong(text));
                }
            },
            other if json => output.line(json!({"not_shown": other.to_lowercase()}))?,
            other => output.line(format!("{}: not shown", other.to_lowercase().escape_debug()))?,
        }
    }
    output.flush()
}

fn certificate(
    output: &mut Output,
    shown: &X509Certificate<'_>,
    der: &[u8],
) -> Result<(), Failure> {
    let names = read::Names::of(shown);
    output.line(if shown.is_ca() { "authority" } else { "certificate" })?;
    output.line(format!("  subject    {}", one_line(&shown.subject().to_string())))?;
    output.line(format!("  issuer     {}", one_line(&shown.issuer().to_string())))?;
    for uri in &names.uris {
        output.line(format!("  name       {}", one_line(uri)))?;
    }
    for dns in &names.dns {
        output.line(format!("  dns        {}", one_line(dns)))?;
    }
    for ip in &names.ips {
        output.line(format!("  ip         {ip}"))?;
    }
    let usage = shown.extended_key_usage().ok().flatten().map(|usage| usage.value);
    if let Some(usage) = usage {
        let server = usage.server_auth.then_some("server");
        let client = usage.client_auth.then_some("client");
        let both: Vec<&str> = [client, server].into_iter().flatten().collect();
        output.line(format!("  usage      {}", both.join(", ")))?;
    }
    output.line(format!("  serial     {}", read::hex(shown.raw_serial())))?;
    let validity = shown.validity();
    output.line(format!("  from       {}", read::moment(read::seconds(&validity.not_before))))?;
    let end = read::seconds(&validity.not_after);
    output.line(format!("  until      {} ({})", read::moment(end), left(end)))?;
    output.line(format!("  digest     {}", pin(der)))?;
    if shown.is_ca() {
        output.line(format!("  map        authorities = [\"{}\"]", pin(der)))?;
    }
    Ok(())
}

fn list(output: &mut Output, shown: &CertificateRevocationList<'_>) -> Result<(), Failure> {
    output.line("revocation list")?;
    output.line(format!("  issuer     {}", one_line(&shown.issuer().to_string())))?;
    if let Some(number) = shown.crl_number() {
        output.line(format!("  number     {number}"))?;
    }
    output.line(format!("  from       {}", read::moment(read::seconds(&shown.last_update()))))?;
    if let Some(next) = shown.next_update() {
        let end = read::seconds(&next);
        output.line(format!("  until      {} ({})", read::moment(end), left(end)))?;
    }
    for revoked in shown.iter_revoked_certificates() {
        let (serial, time) = (revoked.raw_serial(), read::seconds(&revoked.revocation_date));
        output.line(format!("  revoked    {} {}", read::hex(serial), read::moment(time)))?;
    }
    Ok(())
}

fn certificate_json(shown: &X509Certificate<'_>, der: &[u8]) -> Value {
    let names = read::Names::of(shown);
    let usage = shown.extended_key_usage().ok().flatten().map(|usage| usage.value);
    let ips: Vec<String> = names.ips.iter().map(ToString::to_string).collect();
    json!({
        "kind": if shown.is_ca() { "authority" } else { "certificate" },
        "subject": shown.subject().to_string(),
        "issuer": shown.issuer().to_string(),
        "names": names.uris, "dns": names.dns, "ips": ips,
        "server": usage.as_ref().map(|usage| usage.server_auth),
        "client": usage.as_ref().map(|usage| usage.client_auth),
        "serial": read::hex(shown.raw_serial()),
        "valid_from": read::moment(read::seconds(&shown.validity().not_before)),
        "valid_until": read::moment(read::seconds(&shown.validity().not_after)),
        "digest": pin(der),
    })
}

fn list_json(shown: &CertificateRevocationList<'_>) -> Value {
    let revoked = shown.iter_revoked_certificates().map(|revoked| {
        let time = read::moment(read::seconds(&revoked.revocation_date));
        json!({"serial": read::hex(revoked.raw_serial()), "revoked": time})
    });
    json!({
        "kind": "revocation list",
        "issuer": shown.issuer().to_string(),
        "number": shown.crl_number().map(ToString::to_string),
        "valid_from": read::moment(read::seconds(&shown.last_update())),
        "next_update": shown.next_update().map(|time| read::moment(read::seconds(&time))),
        "revoked": revoked.collect::<Vec<_>>(),
    })
}

/// What is left until then.
fn left(end: u64) -> String {
    match end.checked_sub(now()) {
        None | Some(0) => "over".to_owned(),
        Some(seconds) => format!("{} days left", seconds / DAY_S),
    }
}
