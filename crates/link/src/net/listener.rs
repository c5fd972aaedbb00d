//! Sockets that take connections, the rule under which they may do so without TLS, and what keeps
//! strangers from holding them all.

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
use webpki::KeyUsage;

use crate::net::connection::Wire;
use crate::net::quotas::{Entered, Place, Places, Room};
use crate::tls::{
    CallerCertificate, CallerTls, Closed, HANDSHAKE_TIMEOUT, Peer, SESSION_BUFFER_BYTES, Tls,
    TlsMetrics,
};

pub use crate::net::connection::Connection;

/// Connections of one listener at once. What comes above is closed at once.
pub const CONNECTIONS_MAX: usize = 8_192;
/// Of them, such as have not shown who they are: a gateway by its handshake, a caller by its first
/// call that is let in.
pub const STRANGERS_MAX: usize = 4_096;
/// Of those, such as come from one address, or of IPv6 from one network of 64 bits. A proxy's
/// connections are strangers only until their first call. A newcomer above takes the place of the
/// one that came first.
pub const STRANGERS_OF_ONE_ADDRESS_MAX: usize = 512;
/// Connections under one name of a gateway to one listener: its session, the next one while it
/// moves, and what has not ended yet. A few replicas may share a name and fit as well.
pub const CONNECTIONS_OF_ONE_PEER_MAX: usize = 16;
/// Time after its handshake in which a connection must have shown who it is.
const STRANGER_TIME_MAX: Duration = Duration::from_secs(30);
/// Handshakes of one listener at once; others wait for their turn, within their own time.
const HANDSHAKES_MAX: usize = 1_024;
/// Time to rest when no connection can be taken (no descriptors are left).
const REST: Duration = Duration::from_millis(50);
/// Connections that are ready and not yet taken up.
const READY_MAX: usize = 64;

/// A listener that this configuration may not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListenerRefused {
    /// Without TLS, and nobody said that this is meant.
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
    /// From our own gateways, with their certificates.
    Gateways(Tls),
    /// From callers, with or without a certificate.
    Callers(CallerTls),
}

/// What is known of a connection. It stands beside every request that comes over it.
#[derive(Debug, Clone, Default)]
pub struct Arrived {
    /// Whether it is without TLS, and so from this machine.
    pub plaintext: bool,
    /// Which process of ours it is.
    pub peer: Option<Arc<Peer>>,
    /// The certificate that a caller has presented.
    pub caller: Option<Arc<CallerCertificate>>,
    pub(super) place: Option<Arc<Place>>,
}

impl Arrived {
    /// Whoever is at the other end has shown to be somebody: its connection is a stranger's no
    /// more, and may stay.
    pub fn known(&self) {
        if let Some(place) = &self.place {
            place.known();
        }
    }
}

/// The connections of a listener, for tonic's `serve_with_incoming`. `TCP_NODELAY` is on: small
/// frames must not wait for each other's acknowledgements.
///
/// A connection that says nothing for ten seconds is closed, and so is one that takes longer for
/// its handshake, or after it for HTTP/2's preface, and one that within thirty has not shown who it
/// is ([`Arrived::known`]). Handshakes do not wait for each other. At most [`CONNECTIONS_MAX`] are
/// open at once, and fewer of strangers. Needs a running runtime; ends when the stream is dropped.
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

/// What strangers may take of a listener.
#[derive(Debug, Clone, Copy)]
struct Limits {
    room: Room,
    handshakes: usize,
    /// Time for the first byte, and again for the handshake.
    patience: Duration,
    /// Time to show who it is.
    stranger: Duration,
}

impl Limits {
    const OF_A_LISTENER: Self = Self {
        room: Room {
            all: CONNECTIONS_MAX,
            strangers: STRANGERS_MAX,
            strangers_of_one: STRANGERS_OF_ONE_ADDRESS_MAX,
            of_one_peer: CONNECTIONS_OF_ONE_PEER_MAX,
        },
        handshakes: HANDSHAKES_MAX,
        patience: HANDSHAKE_TIMEOUT,
        stranger: STRANGER_TIME_MAX,
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
    let places = Places::new(limits.room);
    let door = Door { entrance, turns: Arc::new(Semaphore::new(limits.handshakes)), limits };
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
        let entered = places.enter(from.ip());
        if entered.as_ref().is_none_or(|entered| entered.crowded_out) {
            door.closed(Closed::Full);
        }
        let Some(Entered { place, .. }) = entered else { continue };
        let (door, ready) = (door.clone(), ready.clone());
        tokio::spawn(async move {
            let welcome = door.welcome(stream, Arc::clone(&place));
            // What goes wrong here is the other end's affair, and says nothing to anybody else.
            tokio::select! {
                welcome = welcome => match welcome {
                    Ok(connection) => drop(ready.send(Ok(connection)).await),
                    Err(cause) => door.closed(cause),
                },
                () = place.until_crowded_out() => {}
            }
        });
    }
}

/// Where connections come in.
#[derive(Debug, Clone)]
struct Door {
    entrance: Entrance,
    /// Turns to do a handshake.
    turns: Arc<Semaphore>,
    limits: Limits,
}

impl Door {
    /// One connection, from its first byte to the end of its handshake.
    async fn welcome(&self, stream: TcpStream, place: Arc<Place>) -> Result<Connection, Closed> {
        let patience = self.limits.patience;
        stream.set_nodelay(true).map_err(|_| Closed::Handshake)?;
        let first = timeout(patience, stream.peek(&mut [0])).await;
        if !matches!(first, Ok(Ok(1..))) {
            return Err(Closed::Silent);
        }
        let (wire, arrived) = match &self.entrance {
            Entrance::Plaintext => {
                (Wire::Plain(stream), Arrived { plaintext: true, ..Arrived::default() })
            }
            Entrance::Gateways(tls) => {
                let (config, ours) = tls.server();
                let mut stream = self.handshake(config, stream).await?;
                stream.get_mut().1.set_buffer_limit(Some(SESSION_BUFFER_BYTES));
                let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let peer = tls.peer(chain, KeyUsage::client_auth(), ours);
                let peer = peer.map_err(|_| Closed::Handshake)?;
                if !place.known_as(&peer.id) {
                    return Err(Closed::PeerFull);
                }
                let peer = Some(Arc::new(peer));
                (Wire::Tls(stream), Arrived { peer, ..Arrived::default() })
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
                (Wire::Tls(stream), Arrived { caller, ..Arrived::default() })
            }
        };
        Ok(Connection::new(wire, arrived, place, self.limits.stranger))
    }

    async fn handshake(
        &self,
        config: Arc<rustls::ServerConfig>,
        stream: TcpStream,
    ) -> Result<Box<TlsStream<TcpStream>>, Closed> {
        let accepting = async {
            let _turn = self.turns.acquire().await.ok();
            TlsAcceptor::from(config).accept(stream).await
        };
        let accepted = timeout(self.limits.patience, accepting).await.map_err(|_| Closed::Slow)?;
        accepted.map(Box::new).map_err(|_| Closed::Handshake)
    }

    fn closed(&self, cause: Closed) {
        tracing::debug!(?cause, "a connection was closed before it was up");
        let metrics: Option<&TlsMetrics> = match &self.entrance {
            Entrance::Plaintext => None,
            Entrance::Gateways(tls) => Some(tls.metrics()),
            Entrance::Callers(tls) => Some(tls.metrics()),
        };
        if let Some(metrics) = metrics {
            metrics.closed(cause);
        }
    }
}

#[cfg(test)]
mod tests;
