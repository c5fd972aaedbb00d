//! Fewer system calls: small writes to a connection go out together.
//!
//! h2 writes each DATA frame above a quarter of a KiB by itself when the connection takes several
//! buffers at once (`is_write_vectored`), so every answer costs a system call of its own, and every
//! TLS record holds one frame. Over this stream it copies small frames into one buffer instead, and
//! what is ready at one moment leaves in one write when h2 flushes, as it does before it waits.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// Bytes that wait for a flush at most. The largest DATA frame, with which they leave if they must
/// leave before.
const BUFFER_BYTES_MAX: usize = 16 << 10;

/// A connection whose small writes leave together. What is written leaves at the next flush, or
/// when the buffer is full.
#[derive(Debug)]
pub struct Coalesced<S> {
    inner: S,
    buffer: Vec<u8>,
    /// Bytes at the buffer's front that have left.
    sent: usize,
}

impl<S> Coalesced<S> {
    /// Wraps a connection.
    pub const fn new(inner: S) -> Self {
        Self { inner, buffer: Vec::new(), sent: 0 }
    }

    fn waiting(&self) -> &[u8] {
        self.buffer.get(self.sent..).unwrap_or_default()
    }

    /// Notes that so many bytes of the buffer have left.
    fn left(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent >= self.buffer.len() {
            self.buffer.clear();
            self.sent = 0;
        }
    }
}

impl<S: AsyncWrite + Unpin> Coalesced<S> {
    /// Writes what waits, and as much of `more` as goes with it. Ready with the bytes of `more` that
    /// were written once nothing waits.
    fn poll_drain(&mut self, cx: &mut Context<'_>, more: &[u8]) -> Poll<io::Result<usize>> {
        while !self.waiting().is_empty() {
            let waiting = self.buffer.get(self.sent..).unwrap_or_default();
            let both = [IoSlice::new(waiting), IoSlice::new(more)];
            let inner = Pin::new(&mut self.inner);
            let wrote = if more.is_empty() {
                ready!(inner.poll_write(cx, waiting))?
            } else {
                ready!(inner.poll_write_vectored(cx, &both))?
            };
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let own = wrote.min(waiting.len());
            self.left(own);
            if wrote > own {
                return Poll::Ready(Ok(wrote - own));
            }
        }
        Poll::Ready(Ok(0))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Coalesced<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.buffer.len() + bytes.len() > BUFFER_BYTES_MAX {
            let more = if bytes.len() < BUFFER_BYTES_MAX { &[] } else { bytes };
            let written = ready!(this.poll_drain(cx, more))?;
            if written > 0 {
                return Poll::Ready(Ok(written));
            }
            if !more.is_empty() {
                return Pin::new(&mut this.inner).poll_write(cx, bytes);
            }
        }
        this.buffer.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx, &[]))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx, &[]))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        false
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Coalesced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(cx, buffer)
    }
}

impl<S: Connected> Connected for Coalesced<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.inner.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Takes `room` bytes a call, and keeps what each call wrote.
    struct Taker {
        room: usize,
        calls: Vec<Vec<u8>>,
        blocked: bool,
    }

    impl Taker {
        fn all(&self) -> Vec<u8> {
            self.calls.concat()
        }
    }

    impl AsyncWrite for Taker {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            // Every second call waits.
            self.blocked = !self.blocked;
            if self.blocked {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let taken: Vec<u8> = bytes.iter().take(self.room).copied().collect();
            let length = taken.len();
            self.calls.push(taken);
            Poll::Ready(Ok(length))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all = slices.iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<u8>>();
            self.poll_write(cx, &all)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn over(room: usize) -> Coalesced<Taker> {
        Coalesced::new(Taker { room, calls: Vec::new(), blocked: false })
    }

    #[tokio::test]
    async fn small_writes_leave_together_and_at_the_flush() {
        let mut stream = over(usize::MAX);
        for part in 0..40_u8 {
            stream.write_all(&[part; 300]).await.unwrap();
        }
        assert!(stream.inner.calls.is_empty(), "nothing leaves before the flush");
        stream.flush().await.unwrap();
        assert_eq!(stream.inner.calls.len(), 1);
        assert_eq!(stream.inner.all().len(), 40 * 300);
        assert!(!stream.is_write_vectored());
    }

    #[tokio::test]
    async fn every_byte_leaves_in_order_whatever_the_sizes() {
        for room in [3, 1_000, 20_000, usize::MAX] {
            let mut stream = over(room);
            let mut wanted = Vec::new();
            for n in 0..30_usize {
                let size = n * n * 37 % 40_000;
                let part: Vec<u8> =
                    (0..size).map(|at| u8::try_from((at + n) % 251).unwrap()).collect();
                wanted.extend_from_slice(&part);
                stream.write_all(&part).await.unwrap();
                if n % 7 == 0 {
                    stream.flush().await.unwrap();
                    assert_eq!(stream.inner.all().len(), wanted.len(), "room {room}");
                }
            }
            stream.shutdown().await.unwrap();
            assert!(stream.inner.all() == wanted, "room {room}");
        }
    }
}
