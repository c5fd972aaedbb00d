//! Making an authority.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};

use crate::authority::{at, name, serial};
use crate::files::{self, Named};
use crate::{Authority, BACKDATED_S, DAY_S, Error, Scope, TrustDomain, now, revoke};

/// Days for which an authority is valid.
const AUTHORITY_DAYS: u64 = 5 * 365;

/// Makes an authority with an empty revocation list in `folder`.
///
/// # Errors
/// A folder that has one already, or cannot be written.
pub fn init(folder: &Path, scope: &Scope, domain: &TrustDomain) -> Result<Authority, Error> {
    let key = KeyPair::generate().map_err(Error::unmade)?;
    let mut params = CertificateParams::default();
    let key_id = params.key_identifier(&key);
    // Two authorities of one region differ in name too: it tells their revocation lists apart.
    let short = hex::encode(key_id.get(..4).unwrap_or_default());
    params.distinguished_name = name(domain, scope, &format!("bailiwick authority {short}"));
    let now = now();
    params.not_before = at(now.saturating_sub(BACKDATED_S));
    params.not_after = at(now.saturating_add(AUTHORITY_DAYS * DAY_S));
    params.serial_number = Some(serial()?);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.self_signed(&key).map_err(Error::unmade)?;
    files::write_pair(
        folder,
        &Named { name: files::AUTHORITY_KEY, text: &key.serialize_pem() },
        &Named { name: files::AUTHORITY, text: &certificate.pem() },
    )?;
    let authority = Authority::open(folder)?;
    revoke::first_list(&authority)?;
    Ok(authority)
}
