//! What a PEM file holds: certificates and revocation lists, as JSON objects to print.

use std::path::Path;

use serde_json::{Value, json};
use terms::pem;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::authority::pin;
use crate::{DAY_S, Error, moment, now, read};

/// Reads every block of a PEM file, as one object each. Of a key it states only that it is one.
///
/// # Errors
/// A file that cannot be read, is not PEM, or holds a damaged certificate or list.
pub fn inspect(path: &Path) -> Result<Vec<Value>, Error> {
    let part = |block: pem::Block| match block.label.as_str() {
        pem::CERTIFICATE => Ok(certificate(&read::certificate(&block.der, path)?, &block.der)),
        pem::REVOCATION_LIST => match CertificateRevocationList::from_der(&block.der) {
            Ok(([], found)) => Ok(list(&found)),
            _ => {
                let text = format!("{}: its revocation list is damaged", path.display());
                Err(Error::refused(text))
            }
        },
        other => Ok(json!({"not_shown": other.to_lowercase()})),
    };
    read::pems(path)?.into_iter().map(part).collect()
}

fn certificate(found: &X509Certificate<'_>, der: &[u8]) -> Value {
    let read::Names { uris, dns, ips } = read::Names::of(found);
    let usage = found.extended_key_usage().ok().flatten().map(|usage| usage.value);
    let end = read::seconds(&found.validity().not_after);
    json!({
        "kind": if found.is_ca() { "authority" } else { "certificate" },
        "subject": found.subject().to_string(),
        "issuer": found.issuer().to_string(),
        "names": uris, "dns": dns, "ips": ips,
        "server": usage.map(|usage| usage.server_auth),
        "client": usage.map(|usage| usage.client_auth),
        "serial": hex::encode(found.raw_serial()),
        "valid_from": moment(read::seconds(&found.validity().not_before)),
        "valid_until": moment(end),
        "days_left": days_left(end),
        "digest": pin(der),
    })
}

fn list(found: &CertificateRevocationList<'_>) -> Value {
    let revoked = found.iter_revoked_certificates().map(|revoked| {
        let time = moment(read::seconds(&revoked.revocation_date));
        json!({"serial": hex::encode(revoked.raw_serial()), "revoked": time})
    });
    let end = found.next_update().map(|time| read::seconds(&time));
    json!({
        "kind": "revocation list",
        "issuer": found.issuer().to_string(),
        "number": found.crl_number().map(ToString::to_string),
        "valid_from": moment(read::seconds(&found.last_update())),
        "next_update": end.map(moment),
        "days_left": end.and_then(days_left),
        "revoked": revoked.collect::<Vec<_>>(),
    })
}

/// Whole days until that time. None: it is over.
fn days_left(end: u64) -> Option<u64> {
    end.checked_sub(now()).filter(|left| *left > 0).map(|seconds| seconds / DAY_S)
}
