//! Asks a server for its page of readiness, as `bailiwick health` does from the same machine and
//! by the same configuration.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme,
    StreamOwned,
};
use terms::pem;

use crate::tls::provider;

/// Time in which a server that is there answers.
const ANSWER: Duration = Duration::from_secs(3);
/// Bytes of a page at the most.
const PAGE_BYTES_MAX: u64 = 64 * 1024;

/// Where a server has its pages, and how they are reached.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The address.
    pub admin: SocketAddr,
    /// The file of the certificate that the listener shows. None: it is in plaintext.
    pub certificate: Option<PathBuf>,
    /// The file of the token that opens the whole page.
    pub token: Option<PathBuf>,
}

impl Probe {
    /// What the server says at `/readyz`, the head of the answer included.
    ///
    /// # Errors
    /// When nothing answers, the certificate is not the one in the file, or the answer is no HTTP.
    pub fn ready_page(&self) -> io::Result<String> {
        let stream = TcpStream::connect_timeout(&self.admin, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        let text = match &self.certificate {
            None => self.ask(stream)?,
            Some(file) => {
                let name = ServerName::IpAddress(self.admin.ip().into());
                let config = trusting(&std::fs::read(file)?)?;
                let tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
                self.ask(StreamOwned::new(tls, stream))?
            }
        };
        if text.starts_with("HTTP/1.1 ") {
            Ok(text)
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }

    fn ask(&self, mut stream: impl Read + Write) -> io::Result<String> {
        let token = self.token.as_ref().map(std::fs::read_to_string).transpose()?;
        let token = token.map(|token| format!("Authorization: Bearer {}\r\n", token.trim()));
        let token = token.unwrap_or_default();
        let request =
            format!("GET /readyz HTTP/1.1\r\nHost: localhost\r\n{token}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut text = Vec::new();
        let read = stream.take(PAGE_BYTES_MAX).read_to_end(&mut text);
        // A peer that ends the connection without saying so in TLS has sent its page all the same.
        if let Err(error) = read
            && (text.is_empty() || error.kind() != io::ErrorKind::UnexpectedEof)
        {
            return Err(error);
        }
        String::from_utf8(text).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

/// TLS towards the holder of the first certificate of a file, and no other: the name in it is
/// that of the listener for others, and may not be of this machine.
fn trusting(file: &[u8]) -> io::Result<Arc<ClientConfig>> {
    let chain = pem::certificates(file).map_err(io::Error::other)?;
    let leaf = chain.into_iter().next().ok_or(io::ErrorKind::InvalidData)?;
    let provider = provider();
    let pinned = Pinned { leaf: leaf.into(), provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let config = builder.dangerous().with_custom_certificate_verifier(Arc::new(pinned));
    Ok(Arc::new(config.with_no_client_auth()))
}

/// Takes one certificate, byte for byte.
#[derive(Debug)]
struct Pinned {
    leaf: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.leaf {
            return Ok(ServerCertVerified::assertion());
        }
        let other = CertificateError::ApplicationVerificationFailure;
        Err(rustls::Error::InvalidCertificate(other))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
