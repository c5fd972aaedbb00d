//! What TLS stands on, read from files: our own certificate and key, authorities, revocations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use terms::UnixMillis;

use super::lists::Lists;
use super::trust::{Authority, Trust};
use super::{Error, Pins, trust};
use crate::watched;

/// Our own certificate.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) not_after: UnixMillis,
}

/// Reads certificate and key, and sees that they belong together.
pub(super) fn own(certificate: &Path, key: &Path) -> Result<Own, Error> {
    let chain = certificates(certificate)?;
    let leaf = chain.first().ok_or_else(|| wrong(certificate, "it holds no certificate"))?;
    let not_after =
        trust::read(leaf).map_err(|_| wrong(certificate, "it cannot be read"))?.not_after;
    let secret = PrivateKeyDer::from_pem_slice(&bytes(key)?)
        .map_err(|_| wrong(key, "it holds no private key in PEM"))?;
    let signing = any_supported_type(&secret)
        .map_err(|_| wrong(key, "its key is of a kind that is not supported"))?;
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
        if trust.callers.is_empty() {
            return Err(wrong(path, "it holds no certificate"));
        }
    }
    trust.revoked = lists(revoked)?;
    Ok(trust)
}

fn authority(path: &Path, certificate: &CertificateDer<'_>) -> Result<Authority, Error> {
    Authority::new(certificate)
        .map_err(|_| wrong(path, "it holds a certificate that is no authority"))
}

/// Reads the lists of revoked certificates.
pub(super) fn lists(path: Option<&PathBuf>) -> Result<Lists, Error> {
    let mut lists = Lists::default();
    let Some(path) = path else { return Ok(lists) };
    let bytes = bytes(path)?;
    let broken = |_| wrong(path, "it holds a revocation list that cannot be read");
    for list in CertificateRevocationListDer::pem_slice_iter(&bytes) {
        let list = list.map_err(|_| wrong(path, "it holds PEM that cannot be read"))?;
        lists.add(&list).map_err(broken)?;
    }
    if lists.is_empty() {
        return Err(wrong(path, "it holds no revocation list in PEM"));
    }
    Ok(lists)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bytes = bytes(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    all.map_err(|_| wrong(path, "it holds a certificate that cannot be read"))
}

fn bytes(path: &Path) -> Result<Vec<u8>, Error> {
    watched::read(path).map_err(|source| Error::Unread { path: path.to_path_buf(), source })
}

fn wrong(path: &Path, why: &'static str) -> Error {
    Error::File { path: path.to_path_buf(), why }
}
