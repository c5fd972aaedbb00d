//! An answer's body holds the call's permits until it has left the process. A caller decides how much
//! it reads, and when: without this, answers that are not read would take memory that no limit counts.
//!
//! HTTP/2 gets the body in parts of [`PART_BYTES_MAX`], and each part holds the permits as well. An
//! answer that is not read keeps them; they are bounded for each tenant, and the connection is closed
//! when it takes no part of any answer (see `http::connection`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use crate::http::connection::{ClientConnection, HealthPermit, UnsentPart};
use crate::limits::{GatewayPermit, TenantPermit};

/// Bytes of an answer that HTTP/2 gets at once.
const PART_BYTES_MAX: usize = 32 << 10;

/// What a call holds until its answer has left the process.
#[derive(Default)]
pub(crate) struct Held {
    _gateway: Option<Arc<GatewayPermit>>,
    _tenant: Option<Arc<TenantPermit>>,
    _health: Option<Arc<HealthPermit>>,
    connection: Arc<ClientConnection>,
}

impl Held {
    /// What a request has in its extensions.
    pub(crate) fn of<T>(request: &http::Request<T>) -> Self {
        let extensions = request.extensions();
        Self {
            _gateway: extensions.get().cloned(),
            _tenant: extensions.get().cloned(),
            _health: extensions.get().cloned(),
            connection: extensions.get().cloned().unwrap_or_default(),
        }
    }
}

/// The same body, which holds that.
pub(crate) fn holding(body: Body, held: Held) -> Body {
    if http_body::Body::is_end_stream(&body) {
        return body;
    }
    Body::new(ResponseBody { body, rest: Bytes::new(), held: Arc::new(held) })
}

struct ResponseBody {
    body: Body,
    /// What is left of a frame of `body`.
    rest: Bytes,
    held: Arc<Held>,
}

/// A part of an answer, held by HTTP/2.
struct Part {
    bytes: Bytes,
    _unsent: UnsentPart,
    _held: Arc<Held>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => self.rest = data,
                Some(Err(trailers)) => return Poll::Ready(Some(Ok(trailers))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PART_BYTES_MAX);
        let bytes = self.rest.split_to(length);
        let (unsent, held) = (self.held.connection.begin_part(), Arc::clone(&self.held));
        let part = Part { bytes, _unsent: unsent, _held: held };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(part)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    /// Of an answer of gRPC nothing is known; that in JSON gets its length, which HTTP/1.1 states.
    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests;
