//! An accepted connection: its bytes, its peer, and its deadlines.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::net::http2_preface::Preface;
use crate::net::quotas::Permit;
use crate::tls::{CallerCertificate, Peer};

/// What a listener found out about a connection. Every request over it has this as an extension.
#[derive(Debug, Clone, Default)]
pub struct ConnectionInfo {
    /// Whether it is without TLS, and so from this machine.
    pub plaintext: bool,
    /// Which process of ours it is.
    pub peer: Option<Arc<Peer>>,
    /// The certificate that a caller has presented.
    pub caller: Option<Arc<CallerCertificate>>,
    pub(super) permit: Option<Arc<Permit>>,
}

impl ConnectionInfo {
    /// The peer has authenticated itself: the connection may stay.
    pub fn authenticated(&self) {
        if let Some(permit) = &self.permit {
            permit.authenticated();
        }
    }
}

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct Connection {
    transport: Transport,
    arrived: ConnectionInfo,
    /// What is still missing of HTTP/2's preface.
    preface: Option<Preface>,
    /// When it is closed unless authenticated before; `None` once it is.
    deadline: Option<Deadline>,
    /// Its part of the listener's quotas.
    permit: Arc<Permit>,
}

impl Connection {
    /// An unauthenticated connection, which is closed after `within`.
    pub(super) fn new(
        transport: Transport,
        arrived: ConnectionInfo,
        permit: Arc<Permit>,
        within: Duration,
    ) -> Self {
        let arrived = ConnectionInfo { permit: Some(Arc::clone(&permit)), ..arrived };
        let own = Arc::clone(&permit);
        let deadline = Some(Deadline(Box::pin(async move {
            // Its time is over, or it was evicted.
            drop(timeout(within, own.until_evicted()).await);
        })));
        Self { transport, arrived, preface: Some(Preface::new()), deadline, permit }
    }

    /// Ready when it must be closed: it is still unauthenticated, and its time is over.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.permit.is_authenticated() {
            self.deadline = None;
        }
        match &mut self.deadline {
            Some(deadline) => deadline.0.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

/// How long a connection may be unauthenticated.
struct Deadline(Pin<Box<dyn Future<Output = ()> + Send>>);

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deadline")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Requests may hold a clone of the permit for longer.
        self.permit.release();
    }
}

/// The bytes of a connection.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected for Connection {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.arrived.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = match &mut this.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        if let Some(mut preface) = this.preface.take() {
            if read.is_pending() && preface.poll_late(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            this.preface = preface.after(buffer.filled().len() - before);
        }
        if this.deadline.is_some() && this.poll_over(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
