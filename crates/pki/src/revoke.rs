//! Revocation lists. An authority has a list from its creation, so that processes can be configured
//! with it in advance.

use std::path::{Path, PathBuf};

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use terms::pem;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::authority::at;
use crate::files::{self, LockedList};
use crate::{Authority, BACKDATED_S, DAY_S, Error, LIST_DAYS, now, read};

/// A list as it was written.
#[derive(Debug)]
pub struct List {
    /// Where it is.
    pub path: PathBuf,
    /// How many certificates are on it.
    pub revoked: usize,
    /// Seconds since 1970 by which it must be renewed.
    pub next_update: u64,
}

/// What stands on a list: its number, and each certificate's serial number with the seconds since
/// 1970 at which it was revoked.
struct Content {
    number: u64,
    revoked: Vec<(Vec<u8>, u64)>,
}

/// Writes the empty list of a new authority.
pub(crate) fn first_list(authority: &Authority) -> Result<List, Error> {
    let locked = LockedList::wait(&authority.folder)?;
    write(authority, &locked, &Content { number: 1, revoked: Vec::new() }, LIST_DAYS)
}

/// Whether a certificate that this authority has issued is on its list.
pub(crate) fn is_revoked(
    authority: &Authority,
    certificate: &X509Certificate<'_>,
) -> Result<bool, Error> {
    let serial = trimmed(certificate.raw_serial());
    Ok(content(authority)?.revoked.iter().any(|(own, _)| own == serial))
}

impl Authority {
    /// Writes the list again, with one more certificate if one is given.
    ///
    /// # Errors
    /// A certificate of another authority, a list that is damaged or away, a folder that cannot be
    /// written.
    pub fn revoke(&self, path: Option<&Path>, days: u32) -> Result<List, Error> {
        // From before the list is read until it is replaced.
        let locked = LockedList::wait(&self.folder)?;
        let mut content = content(self)?;
        content.number = content.number.saturating_add(1);
        if let Some(path) = path {
            let der = read::first_certificate(path)?;
            let certificate = read::certificate(&der, path)?;
            self.require_own(&certificate, path)?;
            let serial = trimmed(certificate.raw_serial());
            if !content.revoked.iter().any(|(own, _)| own == serial) {
                content.revoked.push((serial.to_vec(), now()));
            }
        }
        write(self, &locked, &content, days)
    }
}

/// What stands on an authority's list.
fn content(authority: &Authority) -> Result<Content, Error> {
    let path = authority.folder.join(files::REVOKED);
    let damaged = || {
        let text = format!("{}: is not a revocation list of this authority", path.display());
        Error::refused(format!(
            "{text}; restore the last one, or revoked certificates would be accepted again"
        ))
    };
    let pem = read::pems(&path)?.into_iter().find(|pem| pem.label == pem::REVOCATION_LIST);
    let pem = pem.ok_or_else(damaged)?;
    let Ok(([], list)) = CertificateRevocationList::from_der(&pem.der) else {
        return Err(damaged());
    };
    let certificate = read::certificate(&authority.der, &path)?;
    if list.issuer().as_raw() != certificate.subject().as_raw() {
        return Err(damaged());
    }
    let number = list.crl_number().and_then(|number| match number.to_u64_digits().as_slice() {
        [] => Some(0),
        [number] => Some(*number),
        _ => None,
    });
    let revoked = list
        .iter_revoked_certificates()
        .map(|one| (trimmed(one.raw_serial()).to_vec(), read::seconds(&one.revocation_date)));
    Ok(Content { number: number.ok_or_else(damaged)?, revoked: revoked.collect() })
}

fn write(
    authority: &Authority,
    locked: &LockedList,
    content: &Content,
    days: u32,
) -> Result<List, Error> {
    let now = now();
    let next_update = now.saturating_add(u64::from(days) * DAY_S);
    let revoked = content.revoked.iter().map(|(serial, time)| RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: at(*time),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: at(now.saturating_sub(BACKDATED_S)),
        next_update: at(next_update),
        crl_number: SerialNumber::from(content.number),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::PreSpecified(authority.key_id().to_vec()),
    };
    let list = params.signed_by(&authority.issuer).map_err(Error::unmade)?;
    let path = locked.replace(&list.pem().map_err(Error::unmade)?)?;
    Ok(List { path, revoked: content.revoked.len(), next_update })
}

/// A serial number without the zeros that DER may put before it.
fn trimmed(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    serial.get(zeros..).unwrap_or_default()
}
