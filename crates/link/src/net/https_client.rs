//! One document over HTTPS: the keys of an issuer of tokens, and the answer of a witness.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use terms::Clock;
use terms::pem::{self, PemInvalid};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::host::clock::SystemClock;
use crate::tls::{Time, provider};

/// The ports of HTTPS, and of HTTP on this machine.
const PORT: u16 = 443;
const PORT_PLAIN: u16 = 80;

/// Where a document lies: `https://host[:port]/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    uri: Uri,
    /// The host as one connects to it: an IPv6 address without its brackets.
    host: String,
    name: ServerName<'static>,
    port: u16,
    secure: bool,
}

impl Address {
    /// The address that a text gives.
    ///
    /// # Errors
    /// [`Error::Address`] for any other scheme, for a host or port that cannot be one, and for
    /// `user:password@host`: we present no such thing, and the log would show it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::read(text, true)
    }

    /// The same, or `http://` on this machine.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub fn parse_or_local(text: &str) -> Result<Self, Error> {
        Self::read(text, !text.starts_with("http://"))
    }

    fn read(text: &str, secure: bool) -> Result<Self, Error> {
        let uri: Uri = text.parse().map_err(|_| Error::Address)?;
        if uri.scheme_str() != Some(if secure { "https" } else { "http" }) {
            return Err(Error::Address);
        }
        let authority = uri.authority().ok_or(Error::Address)?;
        if authority.as_str().contains('@') {
            return Err(Error::Address);
        }
        let after = authority.as_str().strip_prefix(authority.host()).ok_or(Error::Address)?;
        let usual = if secure { PORT } else { PORT_PLAIN };
        let port = if after.is_empty() { Some(usual) } else { authority.port_u16() };
        let port = port.filter(|port| *port != 0).ok_or(Error::Address)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let local = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()) || host == "localhost";
        if !secure && !local {
            return Err(Error::Address);
        }
        let name = match host.parse::<IpAddr>() {
            Ok(address) => ServerName::IpAddress(address.into()),
            Err(_) => ServerName::try_from(host.clone()).map_err(|_| Error::Address)?,
        };
        Ok(Self { uri, host, name, port, secure })
    }
}

impl fmt::Display for Address {
    /// Without what follows a question mark: it may be for the issuer alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.uri.path())
    }
}

/// Why a document was not had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not `https://host[:port]/path`.
    #[error("the address is not of the form https://host/path")]
    Address,
    /// The system has no authorities.
    #[error("the system has no authorities by which the server could be verified")]
    Authorities,
    /// The authorities are not certificates in PEM.
    #[error("the authorities, {0}")]
    Bundle(#[from] PemInvalid),
    /// One of them is damaged, or no authority.
    #[error("a certificate among the authorities cannot be used ({0})")]
    Unusable(#[source] rustls::Error),
    /// TLS refuses our settings.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
    /// Nothing answers.
    #[error("nothing answers at the address ({0})")]
    Unreachable(#[source] io::Error),
    /// The server is not who it should be, or does not speak TLS.
    #[error("the TLS handshake failed ({0})")]
    Handshake(#[source] io::Error),
    /// What it speaks is not HTTP.
    #[error("the answer cannot be read")]
    Http(#[from] hyper::Error),
    /// It did not answer with 200. A redirect is not followed: it would lead to a server that
    /// is not configured.
    #[error("the server answered {0}")]
    Status(StatusCode),
    /// The document has more bytes than are allowed.
    #[error("the document is too large")]
    TooLarge,
    /// It broke off.
    #[error("the document broke off")]
    Broken,
    /// It took too long.
    #[error("the document was not there in time")]
    Slow,
}

/// The document at `address`, of at most `limit` bytes, within that time from beginning to end.
/// `authorities` is a PEM bundle by which the server is verified; without one, the system's.
///
/// # Errors
/// [`Error`].
pub async fn https_get(
    address: &Address,
    authorities: Option<&[u8]>,
    limit: usize,
    within: Duration,
) -> Result<Bytes, Error> {
    let fetching = exchange(address, authorities, None, limit);
    let (status, body) = timeout(within, fetching).await.map_err(|_| Error::Slow)??;
    if status == StatusCode::OK { Ok(body) } else { Err(Error::Status(status)) }
}

/// What `address` answers to a text that is posted there, whatever its status. The rest is as for
/// [`https_get`].
///
/// # Errors
/// [`Error`].
pub async fn post(
    address: &Address,
    authorities: Option<&[u8]>,
    text: String,
    limit: usize,
    within: Duration,
) -> Result<(u16, Bytes), Error> {
    let posting = exchange(address, authorities, Some(text), limit);
    let (status, body) = timeout(within, posting).await.map_err(|_| Error::Slow)??;
    Ok((status.as_u16(), body))
}

async fn exchange(
    address: &Address,
    authorities: Option<&[u8]>,
    text: Option<String>,
    limit: usize,
) -> Result<(StatusCode, Bytes), Error> {
    ask(connect(address, authorities).await?, &address.uri, text, limit).await
}

/// A connection that bytes go through both ways.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection to an address: with TLS, unless it is `http://` on this machine. `authorities` is as for
/// [`https_get`].
pub(super) async fn connect(
    address: &Address,
    authorities: Option<&[u8]>,
) -> Result<Box<dyn Duplex>, Error> {
    let connect = || TcpStream::connect((address.host.as_str(), address.port));
    if !address.secure {
        let stream = connect().await.map_err(Error::Unreachable)?;
        // A name may lead anywhere.
        on_this_machine(stream.peer_addr().map_err(Error::Unreachable)?.ip())?;
        return Ok(Box::new(stream));
    }
    let roots = match authorities {
        Some(pem) => configured(pem)?,
        // It reads some hundred files.
        None => tokio::task::spawn_blocking(native).await.map_err(|_| Error::Authorities)??,
    };
    let stream = connect().await.map_err(Error::Unreachable)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Ok(Box::new(secured(stream, address, roots, &clock).await?))
}

/// Refuses a connection without TLS to another machine.
fn on_this_machine(peer: IpAddr) -> Result<(), Error> {
    if peer.to_canonical().is_loopback() { Ok(()) } else { Err(Error::Address) }
}

fn configured(pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(pem)? {
        roots.add(CertificateDer::from(certificate)).map_err(Error::Unusable)?;
    }
    Ok(roots)
}

/// Whether these are authorities in PEM, for code that reads a configuration.
///
/// # Errors
/// [`Error::Bundle`] and [`Error::Unusable`].
pub fn check_authorities(pem: &[u8]) -> Result<(), Error> {
    configured(pem).map(|_roots| ())
}

/// Those that the system has. One that cannot be read makes the others no worse.
fn native() -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(Error::Authorities) } else { Ok(roots) }
}

async fn secured(
    stream: TcpStream,
    address: &Address,
    roots: RootCertStore,
    clock: &Arc<dyn Clock>,
) -> Result<TlsStream<TcpStream>, Error> {
    let mut config = ClientConfig::builder_with_details(provider(), Time::of(clock))
        .with_safe_default_protocol_versions()
        .map_err(Error::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connecting = TlsConnector::from(Arc::new(config)).connect(address.name.clone(), stream);
    connecting.await.map_err(Error::Handshake)
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    uri: &Uri,
    text: Option<String>,
    limit: usize,
) -> Result<(StatusCode, Bytes), Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let authority = uri.authority().ok_or(Error::Address)?.as_str();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = if text.is_some() { Request::post(path) } else { Request::get(path) };
    let accept = if text.is_some() { "text/plain" } else { "application/json" };
    let request = request
        .header(HOST, authority)
        .header(ACCEPT, accept)
        .body(Full::new(Bytes::from(text.unwrap_or_default())))
        .map_err(|_| Error::Address)?;
    let answering = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), limit).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() { Error::TooLarge } else { Error::Broken }
        })?;
        Ok((status, body.to_bytes()))
    };
    driven(connection, answering).await
}

/// Waits for an answer while its connection is driven.
pub(super) async fn driven<T>(connection: impl Future, answering: impl Future<Output = T>) -> T {
    let driving = async {
        // The future that waits for the answer says what goes wrong with the connection.
        drop(connection.await);
        std::future::pending().await
    };
    tokio::select! {
        answer = answering => answer,
        never = driving => never,
    }
}

#[cfg(test)]
mod tests;
