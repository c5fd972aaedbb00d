//! Reading certificates and revocation lists.

use std::net::IpAddr;
use std::path::Path;

use terms::pem::{self, Block};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use crate::{Error, files};

/// Everything in a PEM file.
pub(crate) fn pems(path: &Path) -> Result<Vec<Block>, Error> {
    let blocks = pem::blocks(&files::bytes(path)?);
    let blocks =
        blocks.map_err(|problem| Error::refused(format!("{}, {problem}", path.display())))?;
    if blocks.is_empty() {
        return Err(Error::refused(format!("{}: is not PEM", path.display())));
    }
    Ok(blocks)
}

/// The first certificate of a PEM file, as DER: the one that those after it vouch for.
pub(crate) fn first_certificate(path: &Path) -> Result<Vec<u8>, Error> {
    let found = pems(path)?.into_iter().find(|pem| pem.label == pem::CERTIFICATE);
    let none = || Error::refused(format!("{}: contains no certificate", path.display()));
    found.map(|pem| pem.der.to_vec()).ok_or_else(none)
}

/// A certificate. `path` is where it stood, for the message.
pub(crate) fn certificate<'d>(der: &'d [u8], path: &Path) -> Result<X509Certificate<'d>, Error> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Error::refused(format!("{}: its certificate is damaged", path.display()))),
    }
}

/// The names that a certificate speaks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) uris: Vec<String>,
    pub(crate) dns: Vec<String>,
    pub(crate) ips: Vec<IpAddr>,
}

impl Names {
    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Self {
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
pub(crate) fn only<'a>(mut values: impl Iterator<Item = Option<&'a str>>) -> Option<&'a str> {
    let first = values.next()??;
    values.next().is_none().then_some(first)
}

/// The identifier of a certificate's key.
pub(crate) fn key_id<'c>(certificate: &'c X509Certificate<'_>) -> Option<&'c [u8]> {
    certificate.extensions().iter().find_map(|extension| {
        let parsed = extension.parsed_extension();
        if let ParsedExtension::SubjectKeyIdentifier(id) = parsed { Some(id.0) } else { None }
    })
}

/// The identifier of the key that signed a certificate.
pub(crate) fn issuer_key_id<'c>(certificate: &'c X509Certificate<'_>) -> Option<&'c [u8]> {
    let found = certificate.extensions().iter().find_map(|extension| {
        let parsed = extension.parsed_extension();
        if let ParsedExtension::AuthorityKeyIdentifier(id) = parsed { Some(id) } else { None }
    })?;
    found.key_identifier.as_ref().map(|id| id.0)
}

/// Seconds since 1970 of a time in a certificate; times before are 1970.
pub(crate) fn seconds(time: &x509_parser::time::ASN1Time) -> u64 {
    u64::try_from(time.timestamp()).unwrap_or(0)
}

/// A time in UTC, as 2026-11-24 06:13:00Z, from seconds since 1970.
pub fn moment(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().map(OffsetDateTime::from_unix_timestamp);
    let Some(Ok(time)) = time else { return format!("{seconds} s after 1970") };
    let (hour, minute, second) = time.to_hms();
    format!("{} {hour:02}:{minute:02}:{second:02}Z", time.date())
}
