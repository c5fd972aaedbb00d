//! How a listener establishes who calls: by a client certificate, by a token, or, on loopback without
//! TLS, by the configuration, which names one caller for all calls.
//!
//! Everything that is presented must be valid: a valid certificate does not make up for an invalid
//! token, nor the other way round. A caller that presents both must have one tenant by both; then the
//! token decides what the caller may do, since it names the person or service behind a certificate
//! that several may share. A certificate that verifies and has no grant identifies no caller.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use link::net::https_client::Address;
use link::net::listener::ConnectionInfo;
use link::tls::{CallerCertificate, CallerTls};
use terms::{Clock, Reason, Rejection};

use crate::auth::caller::Caller;
use crate::auth::jwt::{TokenRules, Tokens, Verified, bearer, invalid};

/// The callers of a gateway.
#[derive(Debug, Clone)]
pub enum Callers {
    /// Every call is from this caller. For a plaintext listener, which is for loopback.
    Fixed(Caller),
    /// Callers present a certificate or a token.
    Known(Known),
}

/// The callers that a gateway can identify.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// For each URI of a client certificate: the caller.
    pub certificates: HashMap<String, Caller>,
    /// Which tokens are taken, and where the keys are that verify them.
    pub tokens: Option<(TokenRules, KeySource)>,
}

impl Callers {
    /// The callers that the configuration itself describes.
    pub(crate) fn configured(&self) -> impl Iterator<Item = &Caller> {
        let (fixed, known) = match self {
            Self::Fixed(caller) => (Some(caller), None),
            Self::Known(known) => (None, Some(known.certificates.values())),
        };
        fixed.into_iter().chain(known.into_iter().flatten())
    }

    /// Where the keys are that verify tokens.
    pub(crate) const fn keys(&self) -> Option<&KeySource> {
        match self {
            Self::Known(Known { tokens: Some((_, source)), .. }) => Some(source),
            Self::Known(_) | Self::Fixed(_) => None,
        }
    }

    /// Whether any caller needs no token.
    pub(crate) fn without_tokens(&self) -> bool {
        self.configured().next().is_some()
    }
}

/// Where an issuer's keys are found.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// In a file, which is read every second.
    File(PathBuf),
    /// At an address, over HTTPS.
    Url {
        /// The address.
        address: Address,
        /// The authorities of that server, in PEM; none: those of the operating system.
        authorities: Option<Vec<u8>>,
    },
}

/// How callers are identified while the gateway runs. Clones share everything.
#[derive(Clone)]
pub(crate) enum Identity {
    Fixed(Arc<Caller>),
    Known(Arc<Directory>),
}

/// The known callers, and what verifies their certificates and tokens.
pub(crate) struct Directory {
    certificates: HashMap<String, Arc<Caller>>,
    tls: Option<CallerTls>,
    tokens: Option<Arc<Tokens>>,
}

/// A caller, and the credentials that identified it.
#[derive(Clone)]
pub(crate) struct Identified {
    pub(crate) caller: Arc<Caller>,
    certificate: Option<Arc<CallerCertificate>>,
    token: Option<Arc<Verified>>,
}

impl Identity {
    /// By the configuration; `tls` is the listener's, if it has TLS.
    pub(crate) fn new(callers: Callers, tls: Option<CallerTls>, clock: Arc<dyn Clock>) -> Self {
        match callers {
            Callers::Fixed(caller) => Self::Fixed(Arc::new(caller)),
            Callers::Known(Known { certificates, tokens }) => {
                let own = |(uri, caller)| (uri, Arc::new(caller));
                Self::Known(Arc::new(Directory {
                    certificates: certificates.into_iter().map(own).collect(),
                    tls,
                    tokens: tokens.map(|(rules, _)| Arc::new(Tokens::new(rules, clock))),
                }))
            }
        }
    }

    /// The tokens that are taken, whose keys must be kept up to date.
    pub(crate) fn tokens(&self) -> Option<&Arc<Tokens>> {
        match self {
            Self::Fixed(_) => None,
            Self::Known(directory) => directory.tokens.as_ref(),
        }
    }

    /// The caller behind a request.
    ///
    /// # Errors
    /// `IDENTITY_MISSING` when it presents nothing, `IDENTITY_INVALID` when a credential is not valid,
    /// `KEYS_UNAVAILABLE` when a token cannot be verified at present, `NOT_PERMITTED` when its
    /// certificate is valid and has no grant.
    pub(crate) fn of<B>(&self, request: &http::Request<B>) -> Result<Identified, Rejection> {
        match self {
            Self::Fixed(caller) => {
                let caller = Arc::clone(caller);
                Ok(Identified { caller, certificate: None, token: None })
            }
            Self::Known(directory) => directory.of(request),
        }
    }

    /// Checks that the caller's credentials are still valid: for streams, which outlive their start.
    ///
    /// # Errors
    /// `IDENTITY_INVALID`, or `KEYS_UNAVAILABLE`.
    pub(crate) fn still(&self, identified: &Identified) -> Result<(), Rejection> {
        let Self::Known(directory) = self else { return Ok(()) };
        if let Some(certificate) = &identified.certificate {
            directory.trusted(certificate)?;
        }
        match (&directory.tokens, &identified.token) {
            (Some(tokens), Some(token)) => tokens.still(token),
            (_, None) => Ok(()),
            (None, Some(_)) => Err(Reason::Internal.into()),
        }
    }
}

impl Directory {
    fn of<B>(&self, request: &http::Request<B>) -> Result<Identified, Rejection> {
        let arrived = request.extensions().get::<ConnectionInfo>();
        let certificate = arrived.and_then(|arrived| arrived.caller.clone());
        let token = match bearer(request.headers())? {
            None => None,
            Some(token) => Some(self.token(token)?),
        };
        let granted = match &certificate {
            None => None,
            Some(certificate) => Some(self.granted(certificate)?),
        };
        let caller = match (granted, &token) {
            (None, None) => return Err(Reason::IdentityMissing.into()),
            (Some(granted), None) => granted,
            (None, Some(token)) => Arc::clone(&token.caller),
            (Some(granted), Some(token)) if granted.tenant == token.caller.tenant => {
                Arc::clone(&token.caller)
            }
            (Some(_), Some(_)) => {
                return Err(invalid("certificate and token are not of one tenant"));
            }
        };
        Ok(Identified { caller, certificate, token })
    }

    fn token(&self, token: &[u8]) -> Result<Arc<Verified>, Rejection> {
        match &self.tokens {
            Some(tokens) => tokens.verify(token),
            None => Err(invalid("tokens are not taken here")),
        }
    }

    /// The caller that a certificate names. One that names several identifies none: which of them it
    /// acts for would be a guess.
    fn granted(&self, certificate: &CallerCertificate) -> Result<Arc<Caller>, Rejection> {
        self.trusted(certificate)?;
        match self.named(&certificate.uris) {
            Some(caller) => Ok(Arc::clone(caller)),
            None => Err(Rejection::new(Reason::NotPermitted)
                .problem("the certificate names no caller, or several")),
        }
    }

    fn named(&self, uris: &[String]) -> Option<&Arc<Caller>> {
        let mut named = uris.iter().filter_map(|uri| self.certificates.get(uri));
        let first = named.next()?;
        named.next().is_none().then_some(first)
    }

    fn trusted(&self, certificate: &CallerCertificate) -> Result<(), Rejection> {
        match &self.tls {
            Some(tls) if tls.trusts(certificate) => Ok(()),
            Some(_) | None => Err(invalid("the certificate has expired or is no longer trusted")),
        }
    }
}

#[cfg(test)]
mod tests;
