//! Revocation lists. An authority has a list from its creation, so that processes can be configured
//! with it in advance.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber, date_time_ymd,
};
use terms::pem;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::commands::Failure;
use crate::commands::pki::authority::{BACKDATED_S, DAY_S, serial, unmade};
use crate::commands::pki::files::HeldList;
use crate::commands::pki::{Authority, LIST_DAYS, files, now, read, wrong};

/// A list as it was written.
#[derive(Debug)]
pub(super) struct List {
    pub(super) path: PathBuf,
    /// How many certificates are on it.
    pub(super) revoked: usize,
    /// Seconds since 1970 at which it must have been renewed.
    pub(super) next_update: u64,
}

/// What stands on a list: its number, and each certificate's serial number with the seconds since
/// 1970 at which it was revoked.
struct Content {
    number: u64,
    revoked: Vec<(Vec<u8>, u64)>,
}

/// Writes the empty list of a new authority.
pub(super) fn first_list(authority: &Authority) -> Result<List, Failure> {
    let held = HeldList::wait(&authority.folder)?;
    write(authority, &held, &Content { number: 1, revoked: Vec::new() }, LIST_DAYS)
}

/// Whether a certificate that this authority has issued is on its list.
pub(super) fn is_revoked(
    authority: &Authority,
    certificate: &X509Certificate<'_>,
) -> Result<bool, Failure> {
    let serial = trimmed(certificate.raw_serial());
    Ok(content(authority)?.revoked.iter().any(|(own, _)| own == serial))
}

impl Authority {
    /// Writes the list anew, with one more certificate if one is given.
    ///
    /// # Errors
    /// A certificate of another authority, a list that is damaged or away, a folder that cannot be
    /// written.
    pub(super) fn revoke(&self, path: Option<&Path>, days: u32) -> Result<List, Failure> {
        // From before the list is read until it is replaced.
        let held = HeldList::wait(&self.folder)?;
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
        write(self, &held, &content, days)
    }
}

/// What stands on an authority's list.
fn content(authority: &Authority) -> Result<Content, Failure> {
    let path = authority.folder.join(files::REVOKED);
    let damaged = || {
        let text = format!("{}: is not a revocation list of this authority", path.display());
        wrong(format!(
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
    held: &HeldList,
    content: &Content,
    days: u32,
) -> Result<List, Failure> {
    let now = now();
    let next_update = now.saturating_add(u64::from(days) * DAY_S);
    let at = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
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
    let list = params.signed_by(&authority.issuer).map_err(|_| unmade())?;
    let mark = read::hex(&serial()?.to_bytes());
    let path = held.replace(&list.pem().map_err(|_| unmade())?, &mark)?;
    Ok(List { path, revoked: content.revoked.len(), next_update })
}

/// A serial number without the zeros that DER may put before it.
fn trimmed(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    serial.get(zeros..).unwrap_or_default()
}
