//! What TLS stands on, read from files: our own certificate and key, authorities, revocations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer,
    PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use terms::UnixMillis;
use terms::pem::{self, KeyForm, PemInvalid};

use crate::host::file_watch;
use crate::tls::certificate::{self, Authority};
use crate::tls::chain::{Pins, Trust};
use crate::tls::crl::Lists;
use crate::tls::error::{Cause, Error};

/// What is said of an authority that no certificate of ours could be verified by.
const NAME_CONSTRAINT: &str = "an authority in it has a name constraint of URIs or directory \
                               names, which is not supported: issue one without (the map pins \
                               what it may speak for)";

/// Our own certificate.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) not_after: UnixMillis,
}

/// Reads certificate and key, and sees that they belong together.
pub(super) fn own(certificate: &Path, key: &Path) -> Result<Own, Error> {
    let chain = certificates(certificate)?;
    let mut not_after = None;
    for (place, one) in chain.iter().enumerate() {
        let damaged = |_| wrong(certificate, "a certificate in it is damaged");
        let said = certificate::read(one).map_err(damaged)?;
        not_after.get_or_insert(said.not_after);
        // A peer that verifies our chain could not judge it.
        if place > 0 && certificate::constrains_names(one).map_err(damaged)? {
            return Err(wrong(certificate, NAME_CONSTRAINT));
        }
    }
    let not_after = not_after.ok_or_else(|| wrong(certificate, "it holds no certificate"))?;
    let secret = file_watch::read_secret(key)
        .map_err(|source| Error::Unread { path: key.to_path_buf(), source })?;
    let (form, der) = pem::private_key(&secret).map_err(invalid(key))?;
    let secret = match form {
        KeyForm::Pkcs8 => PrivateKeyDer::from(PrivatePkcs8KeyDer::from(der.as_slice())),
        KeyForm::Pkcs1 => PrivatePkcs1KeyDer::from(der.as_slice()).into(),
        KeyForm::Sec1 => PrivateSec1KeyDer::from(der.as_slice()).into(),
    };
    let signing = any_supported_type(&secret)
        .map_err(|_| wrong(key, "its key is damaged, or of a kind that is not supported"))?;
    let own = CertifiedKey::new(chain, signing);
    own.keys_match().map_err(|_| Error::Unpaired { path: key.to_path_buf() })?;
    Ok(Own { key: Arc::new(own), not_after })
}

/// Reads the authorities of our own processes. One that the map does not pin is left out, and
/// said so in the log.
pub(super) fn regions(
    authorities: &Path,
    revoked: Option<&PathBuf>,
    pins: &Pins,
) -> Result<Trust, Error> {
    let mut trust = Trust { trust_domain: pins.trust_domain.clone(), ..Trust::default() };
    for certificate in certificates(authorities)? {
        let digest: [u8; 32] = Sha256::digest(&certificate).into();
        let mut pinned = false;
        for (region, all) in &pins.regions {
            if all.contains(&digest) {
                pinned = true;
                let authority = authority(authorities, &certificate)?;
                trust.regions.entry(region.clone()).or_default().push(authority);
            }
        }
        if !pinned {
            let file = authorities.display();
            tracing::warn!(%file, "an authority that no region of the map pins is not used");
        }
    }
    if shared_key(&trust) {
        let why =
            "it holds one key as the authority of two regions: each could speak for the other";
        return Err(wrong(authorities, why));
    }
    trust.revoked = lists(revoked)?;
    Ok(trust)
}

/// Whether two regions have an authority with the same key, in whatever certificates.
fn shared_key(trust: &Trust) -> bool {
    let mut all = BTreeMap::new();
    for (region, authorities) in &trust.regions {
        for authority in authorities {
            let before = all.insert(&authority.key, region);
            if before.is_some_and(|before| before != region) {
                return true;
            }
        }
    }
    false
}

/// Reads the authorities of callers.
pub(super) fn callers(
    authorities: Option<&PathBuf>,
    revoked: Option<&PathBuf>,
) -> Result<Trust, Error> {
    let mut trust = Trust::default();
    if let Some(path) = authorities {
        for certificate in certificates(path)? {
            trust.callers.push(authority(path, &certificate)?);
        }
    }
    trust.revoked = lists(revoked)?;
    Ok(trust)
}

fn authority(path: &Path, certificate: &CertificateDer<'_>) -> Result<Authority, Error> {
    let why = |cause| {
        if cause == Cause::Constraint {
            NAME_CONSTRAINT
        } else if cause == Cause::Authority {
            "a certificate in it is no authority (basicConstraints without CA): name the bundle of \
             authorities"
        } else {
            "a certificate in it is damaged"
        }
    };
    Authority::new(certificate).map_err(|cause| wrong(path, why(cause)))
}

/// Reads the lists of revoked certificates.
pub(super) fn lists(path: Option<&PathBuf>) -> Result<Lists, Error> {
    let mut lists = Lists::default();
    let Some(path) = path else { return Ok(lists) };
    for list in pem::revocation_lists(&bytes(path)?).map_err(invalid(path))? {
        let list = CertificateRevocationListDer::from(list);
        lists.add(&list).map_err(|why| wrong(path, why))?;
    }
    Ok(lists)
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all = pem::certificates(&bytes(path)?).map_err(invalid(path))?;
    Ok(all.into_iter().map(CertificateDer::from).collect())
}

fn invalid(path: &Path) -> impl Fn(PemInvalid) -> Error {
    move |problem| Error::Pem { path: path.to_path_buf(), problem }
}

fn bytes(path: &Path) -> Result<Vec<u8>, Error> {
    file_watch::read(path).map_err(|source| Error::Unread { path: path.to_path_buf(), source })
}

pub(super) fn wrong(path: &Path, why: &'static str) -> Error {
    Error::File { path: path.to_path_buf(), why }
}
