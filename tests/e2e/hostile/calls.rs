//! gRPC calls whose bodies are in the hands of a test, over the `h2` crate.

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::Request;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than any limit of the server, shorter than a person waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A connection. It lives on until the runtime ends.
pub(crate) async fn connect(port: u16) -> SendRequest<Bytes> {
    connect_taking(port, 65_535).await
}

/// A connection whose end takes so many bytes of each answer before it reads.
pub(crate) async fn connect_taking(port: u16, window: u32) -> SendRequest<Bytes> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("somebody listens");
    stream.set_nodelay(true).expect("a socket");
    let mut builder = h2::client::Builder::new();
    builder.initial_max_send_streams(4_096).max_concurrent_reset_streams(8_192);
    builder.initial_window_size(window);
    let (sender, connection) = builder.handshake(stream).await.expect("a handshake");
    tokio::spawn(async move { drop(connection.await) });
    sender
}

/// A call that has begun.
pub(crate) struct Call {
    pub(crate) body: SendStream<Bytes>,
    answer: ResponseFuture,
}

/// Begins a call; None when the connection has ended.
pub(crate) async fn begin(sender: &SendRequest<Bytes>, path: &str) -> Option<Call> {
    begin_with(sender, path, &[]).await
}

/// Begins a call with further headers.
pub(crate) async fn begin_with(
    sender: &SendRequest<Bytes>,
    path: &str,
    headers: &[(&str, &str)],
) -> Option<Call> {
    let mut sender = sender.clone().ready().await.ok()?;
    let mut request = Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(()).expect("a request");
    let (answer, body) = sender.send_request(request, false).ok()?;
    Some(Call { body, answer })
}

/// A message's prefix: not compressed, and its length.
pub(crate) fn prefix(length: usize) -> Bytes {
    let length = u32::try_from(length).expect("a length").to_be_bytes();
    std::iter::once(0).chain(length).collect()
}

impl Call {
    /// Sends all of `bytes`, as fast as it is taken. False: the call is over.
    pub(crate) async fn send(&mut self, mut bytes: Bytes) -> bool {
        while !bytes.is_empty() {
            self.body.reserve_capacity(bytes.len());
            let capacity = std::future::poll_fn(|cx| self.body.poll_capacity(cx));
            let Ok(Some(Ok(room))) = timeout(PATIENCE, capacity).await else { return false };
            if self.body.send_data(bytes.split_to(room.min(bytes.len())), false).is_err() {
                return false;
            }
        }
        true
    }

    /// Ends the body.
    pub(crate) fn end(&mut self) {
        drop(self.body.send_data(Bytes::new(), true));
    }

    /// Waits for the head of the answer, and reads no more of it: the status code, if the call ends
    /// there, or what is unread while it is kept. None: the call is cut off.
    pub(crate) async fn head(self) -> Option<Result<i32, Unread>> {
        let answer = timeout(PATIENCE, self.answer).await.expect("an answer").ok()?;
        Some(match code(answer.headers()) {
            Some(code) => Ok(code),
            None => Err(Unread { _body: self.body, answer: answer.into_body() }),
        })
    }

    /// The status code with which the call ends; None when it is cut off without one. The body
    /// stays open meanwhile.
    pub(crate) async fn status(self) -> Option<i32> {
        let Self { body, answer } = self;
        let ended = timeout(PATIENCE, status(answer)).await.expect("an end of the call");
        drop(body);
        ended
    }
}

/// An answer that is not read.
pub(crate) struct Unread {
    _body: SendStream<Bytes>,
    answer: RecvStream,
}

impl Unread {
    /// Waits until the other end has had enough.
    pub(crate) async fn cut_off(&mut self) -> bool {
        timeout(PATIENCE, async {
            while let Some(Ok(data)) = self.answer.data().await {
                // Taken, and never said so: the window stays shut.
                drop(data);
            }
        })
        .await
        .is_ok()
    }
}

fn code(headers: &http::HeaderMap) -> Option<i32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

async fn status(answer: ResponseFuture) -> Option<i32> {
    let answer = answer.await.ok()?;
    if let Some(code) = code(answer.headers()) {
        return Some(code);
    }
    let mut body: RecvStream = answer.into_body();
    while let Some(data) = body.data().await {
        let length = data.ok()?.len();
        body.flow_control().release_capacity(length).ok()?;
    }
    code(&body.trailers().await.ok()??)
}
