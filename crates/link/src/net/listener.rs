//! Listeners: what they accept, when they may do without TLS, and how unauthenticated connections
//! are bounded in number and time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;

use crate::net::connection::Transport;
use crate::net::quotas::{Admitted, Permit, QuotaLimits, Quotas};
use crate::tls::{CallerTls, Closed, HANDSHAKE_TIMEOUT, SESSION_BUFFER_BYTES, Tls, TlsMetrics};

pub use crate::net::connection::{Connection, ConnectionInfo};

/// Connections of one listener at once. What comes above is closed at once.
pub const CONNECTIONS_MAX: usize = 8_192;
/// Of them, unauthenticated ones. The handshake authenticates a gateway, the first permitted call a
/// caller.
pub const UNAUTHENTICATED_MAX: usize = 4_096;
/// Of those, from one IPv4 address or one IPv6 network of 64 bits. A proxy's connections are
/// unauthenticated only until their first call. A new connection above the quota evicts the oldest.
pub const UNAUTHENTICATED_OF_ONE_ADDRESS_MAX: usize = 512;
/// Connections under one name of a gateway to one listener: its session, the next one while it
/// moves, and what has not ended yet. A few replicas may share a name and fit as well.
pub const CONNECTIONS_OF_ONE_PEER_MAX: usize = 16;
/// Time after the handshake in which a connection must be authenticated.
const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(30);
/// Handshakes of one listener at once. Others wait, within their own time limit.
const HANDSHAKES_MAX: usize = 1_024;
/// Pause after a failed accept (no file descriptors are left).
const REST: Duration = Duration::from_millis(50);
/// Connections that are set up and not yet served.
const READY_MAX: usize = 64;

/// Why a listener without TLS may not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListenerRefused {
    /// Without TLS, and the configuration does not allow it.
    #[error("without TLS a listener needs `plaintext = true`, and a loopback address")]
    PlaintextNotAllowed,
    /// Without TLS on an address that other machines can reach.
    #[error("plaintext is allowed on a loopback address only")]
    NotLoopback,
}

/// Whether `addr` may be listened on without TLS: on loopback only, and only if the configuration
/// says `plaintext = true`.
///
/// # Errors
/// [`ListenerRefused`], which says what is in the way.
pub const fn require_loopback(addr: SocketAddr, plaintext: bool) -> Result<(), ListenerRefused> {
    if !plaintext {
        return Err(ListenerRefused::PlaintextNotAllowed);
    }
    if !addr.ip().is_loopback() {
        return Err(ListenerRefused::NotLoopback);
    }
    Ok(())
}

/// Listens on `addr`; port 0 takes a free one.
///
/// # Errors
/// What the operating system says: the address is taken, or is none of this machine.
pub async fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(addr).await
}

/// How a listener takes connections.
#[derive(Debug, Clone)]
pub enum Entrance {
    /// As they come: for loopback.
    Plaintext,
    /// From our own gateways and shards, with their certificates.
    Members(Tls),
    /// From callers, with or without a certificate.
    Callers(CallerTls),
}

/// The connections of a listener, for tonic's `serve_with_incoming`. `TCP_NODELAY` is on: small
/// frames must not wait for each other's acknowledgements.
///
/// Closes a connection that sends nothing for ten seconds, that takes longer for its handshake or
/// for HTTP/2's preface, or that is not authenticated within thirty seconds
/// ([`ConnectionInfo::authenticated`]). Handshakes do not wait for each other. At most [`CONNECTIONS_MAX`]
/// are open at once, and at most [`UNAUTHENTICATED_MAX`] unauthenticated ones. Needs a running
/// runtime; ends when the stream is dropped.
pub fn incoming_by(
    listener: TcpListener,
    entrance: Entrance,
) -> impl Stream<Item = io::Result<Connection>> + Send + Unpin {
    incoming_within(listener, entrance, Limits::OF_A_LISTENER)
}

fn incoming_within(
    listener: TcpListener,
    entrance: Entrance,
    limits: Limits,
) -> impl Stream<Item = io::Result<Connection>> + Send + Unpin {
    let (ready, stream) = mpsc::channel(READY_MAX);
    tokio::spawn(accept(listener, entrance, ready, limits));
    ReceiverStream::new(stream)
}

/// Bounds of a listener.
#[derive(Debug, Clone, Copy)]
struct Limits {
    quotas: QuotaLimits,
    handshakes: usize,
    /// Time for the first byte, and again for the handshake.
    handshake_timeout: Duration,
    /// Time to authenticate.
    authentication_timeout: Duration,
}

impl Limits {
    const OF_A_LISTENER: Self = Self {
        quotas: QuotaLimits {
            all: CONNECTIONS_MAX,
            unauthenticated: UNAUTHENTICATED_MAX,
            unauthenticated_of_one: UNAUTHENTICATED_OF_ONE_ADDRESS_MAX,
            of_one_peer: CONNECTIONS_OF_ONE_PEER_MAX,
        },
        handshakes: HANDSHAKES_MAX,
        handshake_timeout: HANDSHAKE_TIMEOUT,
        authentication_timeout: AUTHENTICATION_TIMEOUT,
    };
}

/// The connections of a listener without TLS, which is for loopback: see [`incoming_by`].
pub fn incoming(
    listener: TcpListener,
) -> impl Stream<Item = io::Result<Connection>> + Send + Unpin {
    incoming_by(listener, Entrance::Plaintext)
}

async fn accept(
    listener: TcpListener,
    entrance: Entrance,
    ready: mpsc::Sender<io::Result<Connection>>,
    limits: Limits,
) {
    let quotas = Quotas::new(limits.quotas);
    let acceptor =
        Acceptor { entrance, handshakes: Arc::new(Semaphore::new(limits.handshakes)), limits };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(kind = ?error.kind(), "a connection could not be taken");
                sleep(REST).await;
                continue;
            }
        };
        let admitted = quotas.admit(from.ip());
        if admitted.as_ref().is_none_or(|admitted| admitted.evicted) {
            acceptor.closed(Closed::Full);
        }
        let Some(Admitted { permit, .. }) = admitted else { continue };
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            let set_up = acceptor.set_up(stream, Arc::clone(&permit));
            // A failure here concerns the other end alone: it is counted.
            tokio::select! {
                set_up = set_up => match set_up {
                    Ok(connection) => drop(ready.send(Ok(connection)).await),
                    Err(cause) => acceptor.closed(cause),
                },
                () = permit.until_evicted() => {}
            }
        });
    }
}

/// Sets up the connections that a listener accepts.
#[derive(Debug, Clone)]
struct Acceptor {
    entrance: Entrance,
    /// Permits for handshakes.
    handshakes: Arc<Semaphore>,
    limits: Limits,
}

impl Acceptor {
    /// One connection, from its first byte to the end of its handshake.
    async fn set_up(&self, stream: TcpStream, permit: Arc<Permit>) -> Result<Connection, Closed> {
        let handshake_timeout = self.limits.handshake_timeout;
        stream.set_nodelay(true).map_err(|_| Closed::Handshake)?;
        let first = timeout(handshake_timeout, stream.peek(&mut [0])).await;
        if !matches!(first, Ok(Ok(1..))) {
            return Err(Closed::Silent);
        }
        let (wire, arrived) = match &self.entrance {
            Entrance::Plaintext => (
                Transport::Plain(stream),
                ConnectionInfo { plaintext: true, ..ConnectionInfo::default() },
            ),
            Entrance::Members(tls) => {
                let (config, ours) = tls.server();
                let mut stream = self.handshake(config, stream).await?;
                stream.get_mut().1.set_buffer_limit(Some(SESSION_BUFFER_BYTES));
                let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let peer = tls.peer(chain, true, ours);
                let peer = peer.map_err(|_| Closed::Handshake)?;
                if !permit.authenticated_as(&peer.id) {
                    return Err(Closed::PeerFull);
                }
                let peer = Some(Arc::new(peer));
                (Transport::Tls(stream), ConnectionInfo { peer, ..ConnectionInfo::default() })
            }
            Entrance::Callers(tls) => {
                let stream = self.handshake(tls.server(), stream).await?;
                let caller = match stream.get_ref().1.peer_certificates() {
                    None | Some([]) => None,
                    Some(chain) => {
                        let caller = tls.certificate(chain).map_err(|_| Closed::Handshake)?;
                        Some(Arc::new(caller))
                    }
                };
                (Transport::Tls(stream), ConnectionInfo { caller, ..ConnectionInfo::default() })
            }
        };
        Ok(Connection::new(wire, arrived, permit, self.limits.authentication_timeout))
    }

    async fn handshake(
        &self,
        config: Arc<rustls::ServerConfig>,
        stream: TcpStream,
    ) -> Result<Box<TlsStream<TcpStream>>, Closed> {
        let accepting = async {
            let _handshake = self.handshakes.acquire().await.ok();
            TlsAcceptor::from(config).accept(stream).await
        };
        let accepted =
            timeout(self.limits.handshake_timeout, accepting).await.map_err(|_| Closed::Slow)?;
        accepted.map(Box::new).map_err(|_| Closed::Handshake)
    }

    fn closed(&self, cause: Closed) {
        tracing::debug!(?cause, "a connection was closed before it was up");
        let metrics: Option<&TlsMetrics> = match &self.entrance {
            Entrance::Plaintext => None,
            Entrance::Members(tls) => Some(tls.metrics()),
            Entrance::Callers(tls) => Some(tls.metrics()),
        };
        if let Some(metrics) = metrics {
            metrics.closed(cause);
        }
    }
}

#[cfg(test)]
mod tests;
