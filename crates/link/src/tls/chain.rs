//! Whom a certificate makes its holder: chains, names, validity and revocation.

use std::collections::BTreeMap;

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use sha2::{Digest as _, Sha256};
use terms::{RegionId, UnixMillis};
use webpki::{
    EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth, RevocationOptionsBuilder,
    UnknownStatusPolicy, VerifiedPath,
};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::tls::Pins;
use crate::tls::crl::{Lists, millis};
use crate::tls::peer::PeerId;

/// Why a certificate does not make its holder anybody. A closed set, for logs and metrics: it
/// says nothing that stands in the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Cause {
    /// There is none.
    #[error("no certificate was presented")]
    Missing,
    /// It cannot be read.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// It does not have exactly one URI name of our form, in our trust domain; or, of a caller, it
    /// has several.
    #[error("the certificate does not name a process of this deployment")]
    Name,
    /// It names somebody else than who was looked for, or who may call here.
    #[error("the certificate names another process than the one that is expected here")]
    Other,
    /// No authority that may speak for it has issued it.
    #[error("no authority that may speak for this name has issued the certificate")]
    Authority,
    /// It is past its end, or before its beginning.
    #[error("the certificate is not valid at this time")]
    Expired,
    /// Its authority is past its end, or before its beginning.
    #[error("the authority that issued the certificate is not valid at this time")]
    AuthorityExpired,
    /// Its key usage or extended key usage does not allow what it is used for.
    #[error(
        "the certificate's (extended) key usage does not allow this use: one of our processes \
         needs clientAuth and serverAuth, a caller clientAuth"
    )]
    Usage,
    /// A name constraint of its authorities forbids its name.
    #[error("a name constraint of the authorities forbids this name, or cannot be judged")]
    Constraint,
    /// Its authority has revoked it.
    #[error("the certificate is revoked")]
    Revoked,
    /// The authority's list of revocations is past its end: nobody is trusted by it.
    #[error("the list of revoked certificates has expired")]
    ListExpired,
}

impl Cause {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Missing,
        Self::Unreadable,
        Self::Name,
        Self::Other,
        Self::Authority,
        Self::Expired,
        Self::AuthorityExpired,
        Self::Usage,
        Self::Constraint,
        Self::Revoked,
        Self::ListExpired,
    ];

    /// The word for a metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
            Self::Name => "name",
            Self::Other => "other",
            Self::Authority => "authority",
            Self::Expired => "expired",
            Self::AuthorityExpired => "authority_expired",
            Self::Usage => "usage",
            Self::Constraint => "constraint",
            Self::Revoked => "revoked",
            Self::ListExpired => "list_expired",
        }
    }
}

/// What a certificate says of its holder, before anybody has verified it.
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
/// judge such a constraint and refuses everybody below: whoever reads an authority should say so at
/// once.
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
    anchor: TrustAnchor<'static>,
    /// SHA-256 of its certificate, by which maps pin it.
    digest: [u8; 32],
    not_before: UnixMillis,
    pub(super) not_after: UnixMillis,
    /// What lists of its own name its key by.
    pub(super) key_id: Option<Vec<u8>>,
    /// Its public key, as certificates hold it.
    pub(super) key: Vec<u8>,
    /// How many intermediates a path may have below it; none: as many as they like. The library
    /// does not ask this of an anchor.
    below_max: Option<usize>,
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
        let digest: String = self.digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{digest}")
    }

    const fn is_valid(&self, now: UnixMillis) -> bool {
        self.not_before.0 <= now.0 && now.0 < self.not_after.0
    }

    /// Its name, as those that it has issued bear it.
    pub(super) fn name(&self) -> &[u8] {
        &self.anchor.subject
    }
}

/// Authorities by the region for which they may speak, and what they have revoked.
#[derive(Debug, Default)]
pub(super) struct Trust {
    pub(super) trust_domain: String,
    pub(super) regions: BTreeMap<RegionId, Vec<Authority>>,
    /// Authorities of callers: they speak for no process of ours.
    pub(super) callers: Vec<Authority>,
    pub(super) revoked: Lists,
}

/// What a chain must be good for.
struct Asked<'a> {
    now: UnixTime,
    usage: KeyUsage,
    /// Public keys that may not stand between the holder and the authority.
    foreign: &'a [&'a [u8]],
}

/// A chain as it was presented: the holder's certificate first.
pub(super) type Chain<'a> = (&'a CertificateDer<'a>, &'a [CertificateDer<'a>]);

impl Trust {
    /// The same authorities, with other lists of what they have revoked.
    pub(super) fn with_lists(&self, revoked: Lists) -> Self {
        let Self { trust_domain, regions, callers, revoked: _older } = self;
        let (trust_domain, regions) = (trust_domain.clone(), regions.clone());
        Self { trust_domain, regions, callers: callers.clone(), revoked }.keeping(&self.revoked)
    }

    /// Those of the same authorities that other pins name for the same region, too.
    pub(super) fn pinned_by(&self, pins: &Pins) -> Self {
        let mut trust = self.with_lists(Lists::default());
        trust.trust_domain.clone_from(&pins.trust_domain);
        trust.regions.retain(|region, authorities| {
            let pinned = pins.regions.get(region).map(Vec::as_slice).unwrap_or_default();
            authorities.retain(|authority| pinned.contains(&authority.digest));
            !authorities.is_empty()
        });
        trust
    }

    /// Keeps the lists that were in use before, where these here are not at least as new.
    pub(super) fn keeping(mut self, before: &Lists) -> Self {
        let all: Vec<&Authority> = self.regions.values().flatten().chain(&self.callers).collect();
        self.revoked.keep(before, &all);
        let kept = self.revoked.kept();
        if kept > 0 {
            tracing::warn!(
                kept,
                "lists of revoked certificates that were read before are missing, or were replaced \
                 by older ones: those that were in use stay"
            );
        }
        self
    }

    /// Which process of ours presents this chain.
    pub(super) fn member(
        &self,
        chain: Chain<'_>,
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(PeerId, UnixMillis), Cause> {
        let said = read(chain.0)?;
        let [uri] = said.uris.as_slice() else { return Err(Cause::Name) };
        let id = PeerId::parse(uri).ok_or(Cause::Name)?;
        if id.trust_domain() != self.trust_domain {
            return Err(Cause::Name);
        }
        // Only the authorities of the region that it names: those of all others cannot help.
        let authorities = self.regions.get(id.region()).ok_or(Cause::Authority)?;
        // Nor may one of those stand in the middle: an authority that issues for other regions'
        // authorities, too, would let each of them speak for it.
        let others = self.regions.iter().filter(|(region, _)| *region != id.region());
        let foreign: Vec<&[u8]> =
            others.flat_map(|(_, all)| all).map(|authority| &*authority.key).collect();
        self.chain(authorities, chain, &Asked { now, usage, foreign: &foreign })?;
        Ok((id, said.not_after))
    }

    /// Which names a caller's chain gives.
    ///
    /// One that names several is nobody's: which it acts for would be a guess, and SPIFFE allows
    /// one (X509-SVID, section 2).
    pub(super) fn caller(&self, chain: Chain<'_>, now: UnixTime) -> Result<Said, Cause> {
        let said = read(chain.0)?;
        if said.uris.len() > 1 {
            return Err(Cause::Name);
        }
        let usage = KeyUsage::client_auth();
        self.chain(&self.callers, chain, &Asked { now, usage, foreign: &[] })?;
        Ok(said)
    }

    fn chain(
        &self,
        authorities: &[Authority],
        chain: Chain<'_>,
        asked: &Asked<'_>,
    ) -> Result<(), Cause> {
        let now = UnixMillis(asked.now.as_secs().saturating_mul(1000));
        let mut refused = Cause::Authority;
        for authority in authorities {
            match self.path(authority, chain, asked) {
                Ok(()) if authority.is_valid(now) => return Ok(()),
                Ok(()) => refused = Cause::AuthorityExpired,
                // Another one's authority says nothing of why its own one refuses it.
                Err(Cause::Authority) => {}
                Err(cause) => refused = cause,
            }
        }
        Err(refused)
    }

    fn path(
        &self,
        authority: &Authority,
        (leaf, others): Chain<'_>,
        asked: &Asked<'_>,
    ) -> Result<(), Cause> {
        let lists = self.revoked.of(authority);
        // An authority without a list has revoked nobody; one whose list is past its end might
        // have, so nobody is trusted by it until there is a new one.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Allow)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let certificate = EndEntityCert::try_from(leaf).map_err(|_| Cause::Unreadable)?;
        let anchors = std::slice::from_ref(&authority.anchor);
        let own = |path: &VerifiedPath<'_>| {
            let foreign = |key: &[u8]| asked.foreign.contains(&key);
            let count = path.intermediate_certificates().count();
            let long = authority.below_max.is_some_and(|max| count > max);
            let mut between = path.intermediate_certificates();
            if long || between.any(|one| foreign(&one.subject_public_key_info())) {
                return Err(webpki::Error::UnknownIssuer);
            }
            Ok(())
        };
        let (all, now, usage) = (webpki::ALL_VERIFICATION_ALGS, asked.now, asked.usage);
        certificate
            .verify_for_usage(all, anchors, others, now, usage, revocation, Some(&own))
            .map(|_path| ())
            .map_err(|error| cause(&error))
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else is wrong refuses, too")]
fn cause(error: &webpki::Error) -> Cause {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } | E::CertNotValidYet { .. } | E::InvalidCertValidity => {
            Cause::Expired
        }
        E::CertRevoked => Cause::Revoked,
        E::CrlExpired { .. } => Cause::ListExpired,
        E::BadDer | E::BadDerTime => Cause::Unreadable,
        E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => Cause::Usage,
        E::NameConstraintViolation | E::MalformedNameConstraint | E::UnsupportedNameType => {
            Cause::Constraint
        }
        // Whatever else is wrong with a path, it does not lead to an authority of ours.
        _ => Cause::Authority,
    }
}
