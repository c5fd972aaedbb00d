//! What ends: certificates, authorities and revocation lists, with their names for people.

use std::path::{Path, PathBuf};

use terms::UnixMillis;

use crate::tls::caller_tls::CallerTls;
use crate::tls::certificate::Authority;
use crate::tls::chain::Trust;
use crate::tls::error::Error;
use crate::tls::files;
use crate::tls::files::Own;
use crate::tls::peer_tls::Tls;

/// Something that trust rests on, and when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// What it is, for an operator.
    pub what: String,
    /// When it ends.
    pub at: UnixMillis,
    /// Whether the process can serve nothing more once it has ended: what it shows to others.
    pub needed: bool,
}

impl Tls {
    /// When what this process shows to the others, and what it trusts, ends.
    pub fn endings(&self) -> Vec<Ending> {
        let loaded = self.loaded();
        all(&format!("the certificate of {}", loaded.id), &loaded.own, &loaded.trust)
    }
}

impl CallerTls {
    /// When what callers are shown, and what they are known by, ends.
    pub fn endings(&self) -> Vec<Ending> {
        let loaded = self.loaded();
        all("the certificate that callers see", &loaded.own, &loaded.trust)
    }
}

fn all(own: &str, certificate: &Own, trust: &Trust) -> Vec<Ending> {
    let mut all = vec![Ending { what: own.to_owned(), at: certificate.not_after, needed: true }];
    let mut add = |who: &str, authorities: &[Authority]| {
        let named = |authority: &Authority| Ending {
            what: format!("the authority of {who}, {}", authority.shown()),
            at: authority.not_after,
            needed: false,
        };
        all.extend(authorities.iter().map(named));
        all.extend(lists(trust, authorities));
    };
    for (region, authorities) in &trust.regions {
        add(region.as_str(), authorities);
    }
    add("callers", &trust.callers);
    all
}

fn lists(trust: &Trust, authorities: &[Authority]) -> Vec<Ending> {
    let ends = trust.revoked.ends(authorities).into_iter();
    let named = |issuer| format!("the revocation list of {issuer}");
    ends.map(|(issuer, at)| Ending { what: named(issuer), at, needed: false }).collect()
}

/// The revocation lists of a file that are of these authorities, as a server takes them: for
/// commands that look at files that no server may have opened. What is said names the issuer.
///
/// # Errors
/// [`Error`].
pub fn revocation_endings(authorities: &Path, revoked: &PathBuf) -> Result<Vec<Ending>, Error> {
    let trust = files::callers(Some(&authorities.to_path_buf()), Some(revoked))?;
    Ok(lists(&trust, &trust.callers))
}

/// SHA-256 of the certificates of a bundle, as maps pin them.
///
/// # Errors
/// [`Error`].
pub fn bundle_digests(authorities: &Path) -> Result<Vec<[u8; 32]>, Error> {
    let trust = files::callers(Some(&authorities.to_path_buf()), None)?;
    Ok(trust.callers.iter().map(Authority::digest).collect())
}
