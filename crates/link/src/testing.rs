//! For tests alone: a server that gives one document over HTTPS, as an issuer of tokens does, and TLS in
//! front of any other server.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::tls::provider;

/// A server on loopback. It ends when it is dropped.
#[derive(Debug)]
pub struct HttpsServer {
    port: u16,
    asked: Arc<AtomicU64>,
    serving: JoinHandle<()>,
}

impl HttpsServer {
    /// Serves with that certificate and key, in PEM, whatever `document` gives; with the status
    /// 503 when it gives nothing.
    ///
    /// # Errors
    /// When there is no port, or certificate and key cannot be used.
    pub async fn start(
        certificate: &[u8],
        key: &[u8],
        document: impl Fn() -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let acceptor = acceptor(certificate, key)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let asked = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&asked);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                // Who hangs up has its reasons.
                drop(answer(&acceptor, stream, document()).await);
            }
        });
        Ok(Self { port, asked, serving })
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// How many have connected so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn acceptor(certificate: &[u8], key: &[u8]) -> io::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(key).map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain.map_err(io::Error::other)?, key)
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// TLS in front of a server on loopback that has none. It ends when it is dropped.
#[derive(Debug)]
pub struct TlsFront {
    port: u16,
    serving: JoinHandle<()>,
}

impl TlsFront {
    /// Passes on what connections with that certificate and key, in PEM, bring to a port, and back.
    ///
    /// # Errors
    /// When there is no port, or certificate and key cannot be used.
    pub async fn start(certificate: &[u8], key: &[u8], to: u16) -> io::Result<Self> {
        let acceptor = acceptor(certificate, key)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut from) = acceptor.accept(stream).await else { return };
                    let Ok(mut to) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else {
                        return;
                    };
                    drop(copy_bidirectional(&mut from, &mut to).await);
                });
            }
        });
        Ok(Self { port, serving })
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    document: Option<Vec<u8>>,
) -> io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let (mut request, mut read) = (Vec::new(), [0; 1024]);
    while !request.ends_with(b"\r\n\r\n") {
        let bytes = stream.read(&mut read).await?;
        request.extend(read.iter().take(bytes));
        if bytes == 0 {
            return Ok(());
        }
    }
    let status = if document.is_some() { "200 OK" } else { "503 Service Unavailable" };
    let document = document.unwrap_or_default();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", document.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&document).await?;
    stream.shutdown().await
}
