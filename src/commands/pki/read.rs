//! Reading certificates and revocation lists.

use std::net::IpAddr;
use std::path::Path;

use atlas::Date;
use terms::UnixMillis;
use terms::pem::{self, Block};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use crate::commands::Failure;
use crate::commands::pki::{files, wrong};

/// Everything in a PEM file.
pub(super) fn pems(path: &Path) -> Result<Vec<Block>, Failure> {
    let blocks = pem::blocks(&files::bytes(path)?);
    let blocks = blocks.map_err(|problem| wrong(format!("{}, {problem}", path.display())))?;
    if blocks.is_empty() {
        return Err(wrong(format!("{}: is not PEM", path.display())));
    }
    Ok(blocks)
}

/// The first certificate of a PEM file, as DER: the one that those after it vouch for.
pub(super) fn first_certificate(path: &Path) -> Result<Vec<u8>, Failure> {
    let found = pems(path)?.into_iter().find(|pem| pem.label == pem::CERTIFICATE);
    let none = || wrong(format!("{}: contains no certificate", path.display()));
    found.map(|pem| pem.der.to_vec()).ok_or_else(none)
}

/// A certificate. `path` is where it stood, for the message.
pub(super) fn certificate<'d>(der: &'d [u8], path: &Path) -> Result<X509Certificate<'d>, Failure> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(wrong(format!("{}: its certificate is damaged", path.display()))),
    }
}

/// The names that a certificate speaks for.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) uris: Vec<String>,
    pub(super) dns: Vec<String>,
    pub(super) ips: Vec<IpAddr>,
}

impl Names {
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let mut names = Self::default();
        let extension = certificate.subject_alternative_name().ok().flatten();
        for name in extension.iter().flat_map(|found| &found.value.general_names) {
            if let GeneralName::URI(uri) = name {
                names.uris.push((*uri).to_owned());
            } else if let GeneralName::DNSName(name) = name {
                names.dns.push((*name).to_owned());
            } else if let GeneralName::IPAddress(bytes) = name {
                names.ips.extend(address(bytes));
            }
        }
        names
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// The one value of that kind in a certificate's own name.
pub(super) fn only<'a>(mut values: impl Iterator<Item = Option<&'a str>>) -> Option<&'a str> {
    let first = values.next()??;
    values.next().is_none().then_some(first)
}

/// The identifier of a certificate's key.
pub(super) fn key_id<'c>(certificate: &'c X509Certificate<'_>) -> Option<&'c [u8]> {
    certificate.extensions().iter().find_map(|extension| {
        let parsed = extension.parsed_extension();
        if let ParsedExtension::SubjectKeyIdentifier(id) = parsed { Some(id.0) } else { None }
    })
}

/// The identifier of the key that signed a certificate.
pub(super) fn issuer_key_id<'c>(certificate: &'c X509Certificate<'_>) -> Option<&'c [u8]> {
    let found = certificate.extensions().iter().find_map(|extension| {
        let parsed = extension.parsed_extension();
        if let ParsedExtension::AuthorityKeyIdentifier(id) = parsed { Some(id) } else { None }
    })?;
    found.key_identifier.as_ref().map(|id| id.0)
}

/// Seconds since 1970 of a time in a certificate; times before are 1970.
pub(super) fn seconds(time: &x509_parser::time::ASN1Time) -> u64 {
    u64::try_from(time.timestamp()).unwrap_or(0)
}

/// A time as people read it, in UTC: 2026-11-24 06:13:00Z.
pub(super) fn moment(seconds: u64) -> String {
    let day = Date::of(UnixMillis(seconds.saturating_mul(1000)));
    let of_day = seconds % 86_400;
    format!("{day} {:02}:{:02}:{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// Bytes in lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
