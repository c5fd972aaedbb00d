//! What one certificate says: its names, its end, and what an authority may do.

use rustls::pki_types::{CertificateDer, TrustAnchor};
use sha2::{Digest as _, Sha256};
use terms::UnixMillis;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::tls::error::Cause;

/// What a certificate says of its holder, before it is verified.
pub(super) struct Said {
    pub(super) uris: Vec<String>,
    pub(super) not_after: UnixMillis,
}

/// Reads names and end of a certificate.
pub(super) fn read(leaf: &CertificateDer<'_>) -> Result<Said, Cause> {
    let (rest, parsed) = X509Certificate::from_der(leaf).map_err(|_| Cause::Unreadable)?;
    if !rest.is_empty() {
        return Err(Cause::Unreadable);
    }
    let mut uris = Vec::new();
    for extension in parsed.extensions() {
        if let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() {
            for name in &names.general_names {
                if let GeneralName::URI(uri) = name {
                    uris.push((*uri).to_owned());
                }
            }
        }
    }
    Ok(Said { uris, not_after: millis(parsed.validity().not_after.timestamp()) })
}

/// Whether a certificate restricts the URIs or the own names of those below it. The library does not
/// judge such a constraint and refuses all certificates below: code that reads an authority should say so
/// at once.
pub(super) fn constrains_names(certificate: &CertificateDer<'_>) -> Result<bool, Cause> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| Cause::Unreadable)?;
    let constraints = parsed.name_constraints().map_err(|_| Cause::Unreadable)?;
    let Some(constraints) = constraints.map(|found| found.value) else { return Ok(false) };
    let mut trees = [&constraints.permitted_subtrees, &constraints.excluded_subtrees]
        .into_iter()
        .flatten()
        .flatten();
    let judged = |name: &GeneralName<'_>| {
        !matches!(name, GeneralName::URI(_) | GeneralName::DirectoryName(_))
    };
    Ok(trees.any(|tree| !judged(&tree.base)))
}

/// One authority: what chains end in, and until when it may be ended in.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    pub(super) anchor: TrustAnchor<'static>,
    /// SHA-256 of its certificate, by which maps pin it.
    pub(super) digest: [u8; 32],
    not_before: UnixMillis,
    pub(super) not_after: UnixMillis,
    /// What lists of its own name its key by.
    pub(super) key_id: Option<Vec<u8>>,
    /// Its public key, as certificates hold it.
    pub(super) key: Vec<u8>,
    /// How many intermediates a path may have below it; none: as many as they like. The library
    /// does not ask this of an anchor.
    pub(super) below_max: Option<usize>,
}

impl Authority {
    pub(super) fn new(certificate: &CertificateDer<'_>) -> Result<Self, Cause> {
        let anchor = webpki::anchor_from_trusted_cert(certificate);
        let anchor = anchor.map_err(|_| Cause::Unreadable)?.to_owned();
        let not_after = read(certificate)?.not_after;
        if constrains_names(certificate)? {
            return Err(Cause::Constraint);
        }
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| Cause::Unreadable)?;
        // The library takes any certificate for an anchor.
        if !parsed.is_ca() {
            return Err(Cause::Authority);
        }
        let key = parsed.public_key().raw.to_vec();
        let (mut key_id, mut below_max) = (None, None);
        for extension in parsed.extensions() {
            if let ParsedExtension::SubjectKeyIdentifier(id) = extension.parsed_extension() {
                key_id = Some(id.0.to_vec());
            }
            if let ParsedExtension::BasicConstraints(own) = extension.parsed_extension() {
                let max = own.path_len_constraint;
                below_max = max.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
            }
        }
        let digest = Sha256::digest(certificate).into();
        let not_before = millis(parsed.validity().not_before.timestamp());
        Ok(Self { anchor, digest, not_before, not_after, key_id, key, below_max })
    }

    /// SHA-256 of its certificate.
    pub(super) const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// As maps pin it, and people tell it from others.
    pub(super) fn shown(&self) -> String {
        format!("sha256:{}", hex::encode(self.digest))
    }

    pub(super) const fn is_valid(&self, now: UnixMillis) -> bool {
        self.not_before.0 <= now.0 && now.0 < self.not_after.0
    }

    /// Its name, as those that it has issued bear it.
    pub(super) fn name(&self) -> &[u8] {
        &self.anchor.subject
    }
}

/// Seconds since 1970, as a certificate says them.
pub(super) fn millis(seconds: i64) -> UnixMillis {
    UnixMillis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}
