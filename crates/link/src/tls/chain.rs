//! Who the holder of a certificate is: chains, names, validity and revocation.

use std::collections::BTreeMap;

use rustls::pki_types::{CertificateDer, UnixTime};
use terms::{RegionId, UnixMillis};
use webpki::{
    EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth, RevocationOptionsBuilder,
    UnknownStatusPolicy, VerifiedPath,
};

use crate::spiffe_id::PeerId;
use crate::tls::certificate::{Authority, Said, read};
use crate::tls::crl::Lists;
use crate::tls::error::Cause;

/// The authorities that the region map pins.
#[derive(Debug, Clone)]
pub struct Pins {
    /// The deployment's trust domain.
    pub trust_domain: String,
    /// SHA-256 of the DER of each region's authorities.
    pub regions: BTreeMap<RegionId, Vec<[u8; 32]>>,
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
    /// One that names several is refused: which it acts for would be a guess, and SPIFFE allows
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
        // An authority without a list has revoked no certificate; one whose list is past its end
        // might have, so none is trusted by it until there is a new one.
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
