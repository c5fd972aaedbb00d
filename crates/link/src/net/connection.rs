//! A connection that was taken: its bytes, what is known of it, and until when it may stay.

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

use crate::net::http2_preface::Beginning;
use crate::net::listener::Arrived;
use crate::net::quotas::Place;

/// A connection, its handshake done.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
    arrived: Arrived,
    /// What must come before anything else, and in time.
    beginning: Option<Beginning>,
    /// Until when it must have shown who it is; none when it has.
    stranger: Option<Patience>,
    /// Its place among those that are allowed.
    place: Arc<Place>,
}

impl Connection {
    /// Takes it up from a stranger, who has so long to show who it is.
    pub(super) fn new(wire: Wire, arrived: Arrived, place: Arc<Place>, patience: Duration) -> Self {
        let arrived = Arrived { place: Some(Arc::clone(&place)), ..arrived };
        let held = Arc::clone(&place);
        let stranger = Some(Patience(Box::pin(async move {
            // Its time is over, or somebody else has its place.
            drop(timeout(patience, held.until_crowded_out()).await);
        })));
        Self { wire, arrived, beginning: Some(Beginning::new()), stranger, place }
    }

    /// Ready when it may stay no longer: it is a stranger's still, and its time is over.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.place.is_known() {
            self.stranger = None;
        }
        match &mut self.stranger {
            Some(patience) => patience.0.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

/// How long a stranger may stay.
struct Patience(Pin<Box<dyn Future<Output = ()> + Send>>);

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Patience")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Requests may hold on to what is known of it for longer.
        self.place.leave();
    }
}

/// Its bytes.
#[derive(Debug)]
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected for Connection {
    type ConnectInfo = Arrived;

    fn connect_info(&self) -> Arrived {
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
        let read = match &mut this.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        if let Some(mut beginning) = this.beginning.take() {
            if read.is_pending() && beginning.poll_late(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            this.beginning = beginning.after(buffer.filled().len() - before);
        }
        if this.stranger.is_some() && this.poll_over(cx).is_ready() {
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
        match &mut self.get_mut().wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Wire::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Plain(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
