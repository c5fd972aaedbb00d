//! What the handshake asks: is this the peer that may be here?

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use webpki::KeyUsage;

use crate::spiffe_id::PeerId;
use crate::tls::chain::Trust;
use crate::tls::error::Cause;
use crate::tls::metrics::TlsMetrics;

/// Which peers a listener, or a dialler, takes.
#[derive(Debug)]
pub(super) enum Wanted {
    /// Any gateway or shard of ours. What each may ask is for those who serve it.
    Members,
    /// This one process, and no other.
    One(PeerId),
    /// Callers: a certificate need not be presented, but if it is, it must verify.
    Callers,
}

/// Verifies chains against one generation of trust.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) trust: Arc<Trust>,
    pub(super) wanted: Wanted,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) metrics: TlsMetrics,
}

impl Verifier {
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let checked = match &self.wanted {
            Wanted::Members => {
                self.trust.member((leaf, others), now, KeyUsage::client_auth()).map(drop)
            }
            Wanted::One(wanted) => self
                .trust
                .member((leaf, others), now, KeyUsage::server_auth())
                .and_then(|(id, _)| expect(id == *wanted)),
            Wanted::Callers => self.trust.caller((leaf, others), now).map(|_said| ()),
        };
        checked.map_err(|cause| {
            if let Some(unsaid) = self.metrics.refused(cause, now) {
                tracing::warn!(cause = cause.as_str(), unsaid, "a certificate was refused");
            }
            rustls::Error::InvalidCertificate(alert(cause))
        })
    }
}

const fn expect(right: bool) -> Result<(), Cause> {
    if right { Ok(()) } else { Err(Cause::Other) }
}

/// What the other end is told: enough for its operator, and nothing of whom we look for.
fn alert(cause: Cause) -> CertificateError {
    match cause {
        Cause::Missing | Cause::Unreadable => CertificateError::BadEncoding,
        Cause::Name | Cause::Other => CertificateError::ApplicationVerificationFailure,
        Cause::Authority => CertificateError::UnknownIssuer,
        Cause::Expired | Cause::AuthorityExpired => CertificateError::Expired,
        Cause::Usage => CertificateError::InvalidPurpose,
        Cause::Constraint => CertificateError::NotValidForName,
        Cause::Revoked => CertificateError::Revoked,
        Cause::ListExpired => CertificateError::UnknownRevocationStatus,
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        !matches!(self.wanted, Wanted::Callers)
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify(leaf, others, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for Verifier {
    /// The name in the handshake plays no part: who is meant stands in the certificate's URI.
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(leaf, others, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ClientCertVerifier::verify_tls12_signature(self, message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ClientCertVerifier::verify_tls13_signature(self, message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ClientCertVerifier::supported_verify_schemes(self)
    }
}
