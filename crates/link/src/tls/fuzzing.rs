//! For the fuzz targets alone (feature `fuzzing`): what others may put into certificates and lists
//! of revoked ones, read as it is when they present it.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use webpki::KeyUsage;

use crate::tls::certificate::{Authority, read};
use crate::tls::chain::Trust;

/// Reads bytes as one certificate.
pub fn certificate(der: &[u8]) {
    let leaf = CertificateDer::from(der);
    if let Ok(said) = read(&leaf) {
        said.uris.iter().for_each(|uri| drop(crate::spiffe_id::PeerId::parse(uri)));
    }
    drop(Authority::new(&leaf));
}

/// Reads a bundle, whose certificates are authorities, a chain and its end all at once, and whose
/// lists say who is revoked. It does not say whether any certificate is trusted by it.
pub fn bundle(pem: &[u8]) {
    let blocks = terms::pem::blocks(pem).unwrap_or_default();
    let (mut all, mut trust) = (Vec::new(), Trust::default());
    for block in blocks {
        let der = block.der.to_vec();
        if block.label == terms::pem::CERTIFICATE && all.len() < 8 {
            all.push(CertificateDer::from(der));
        } else if block.label == terms::pem::REVOCATION_LIST {
            let _unreadable = trust.revoked.add(&CertificateRevocationListDer::from(der));
        }
    }
    trust.trust_domain.push_str("example");
    trust.callers.extend(all.iter().filter_map(|der| Authority::new(der).ok()));
    for region in ["eu-fra", "us-iad"] {
        if let Ok(region) = terms::RegionId::parse(region) {
            trust.regions.insert(region, trust.callers.clone());
        }
    }
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_795_000_000));
    for leaf in &all {
        drop(trust.caller((leaf, &all), now));
        drop(trust.member((leaf, &all), now, KeyUsage::client_auth()));
        drop(trust.member((leaf, &all), now, KeyUsage::server_auth()));
        certificate(leaf);
    }
}
