//! Connects to one shard, at the address that its region's annex gives: for gateways, and for other
//! shards.

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::net::coalesce::Coalesced;
use crate::spiffe_id::PeerId;
use crate::tls::{Peer, Tls};

/// Time in which a connection must be established.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Why there is no connection. It holds nothing that a peer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The address is no URI of ours.
    #[error("the annex gives an address that cannot be used")]
    Address,
    /// One end has TLS, and the other has not.
    #[error("the shard's address is https, and the configuration has no [tls]; or the reverse")]
    NoTls,
    /// The other end is not the shard that was meant.
    #[error("the TLS handshake failed, or another process than this shard answered it")]
    Handshake,
    /// There is no such host.
    #[error("the address does not resolve")]
    Unresolved,
    /// Without TLS, only this machine is reached.
    #[error("plaintext to an address that is not loopback")]
    NotLoopback,
    /// Nothing listens there.
    #[error("nothing answers at the address")]
    Unreachable,
}

/// A connection to a shard.
#[derive(Debug)]
pub struct Dialled {
    /// The one connection.
    pub channel: Channel,
    /// The verified process at its other end, if it has TLS.
    pub peer: Option<Arc<Peer>>,
}

/// Connects to the one shard of that name. With TLS, it must have a certificate of its region's
/// authorities; without, it is on this machine.
///
/// # Errors
/// [`DialError`].
pub async fn dial(address: &str, wanted: &PeerId, tls: Option<&Tls>) -> Result<Dialled, DialError> {
    let uri: Uri = address.parse().map_err(|_| DialError::Address)?;
    let tls = match uri.scheme_str() {
        Some("https") => Some(tls.ok_or(DialError::NoTls)?),
        // An annex must not take TLS away from a process that has it.
        Some("http") if tls.is_some() => return Err(DialError::NoTls),
        Some("http") => None,
        Some(_) | None => return Err(DialError::Address),
    };
    let (Some(host), Some(port)) = (uri.host(), uri.port_u16()) else {
        return Err(DialError::Address);
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // Resolved each time: an address may change while the shard is out of reach.
    let found = tokio::net::lookup_host((host, port)).await.map_err(|_| DialError::Unresolved)?;
    let mut end = DialError::Unresolved;
    for addr in found {
        let done = match tls {
            Some(tls) => secured(addr, wanted, tls).await,
            None => plain(addr).await,
        };
        match done {
            Ok(connected) => return Ok(connected),
            Err(why) => end = why,
        }
    }
    Err(end)
}

async fn plain(addr: SocketAddr) -> Result<Dialled, DialError> {
    if !addr.ip().is_loopback() {
        return Err(DialError::NotLoopback);
    }
    let stream = connect(addr).await?;
    Ok(Dialled { channel: over(addr, stream).await?, peer: None })
}

/// Connects to the one shard that has a certificate of this region and this name.
async fn secured(addr: SocketAddr, wanted: &PeerId, tls: &Tls) -> Result<Dialled, DialError> {
    let stream = connect(addr).await?;
    let (stream, peer) = tls.connect(stream, wanted).await.map_err(|_| DialError::Handshake)?;
    // The one connection whose other end was verified.
    let channel = over(addr, stream).await?;
    Ok(Dialled { channel, peer: Some(peer) })
}

async fn connect(addr: SocketAddr) -> Result<TcpStream, DialError> {
    let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(addr)).await;
    let stream =
        connecting.map_err(|_| DialError::Unreachable)?.map_err(|_| DialError::Unreachable)?;
    stream.set_nodelay(true).map_err(|_| DialError::Unreachable)?;
    Ok(stream)
}

/// A channel over this one connection. A channel that wants to connect again has ended.
async fn over<S>(addr: SocketAddr, stream: S) -> Result<Channel, DialError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let once = Arc::new(Mutex::new(Some(TokioIo::new(Coalesced::new(stream)))));
    let connector = tower::service_fn(move |_: Uri| {
        let stream = once.lock().unwrap_or_else(PoisonError::into_inner).take();
        ready(stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
    });
    let endpoint =
        Endpoint::from_shared(format!("http://{addr}")).map_err(|_| DialError::Address)?;
    let connecting = super::endpoint(endpoint).connect_with_connector(connector).await;
    connecting.map_err(|_| DialError::Unreachable)
}
