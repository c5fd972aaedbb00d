//! HTTP/2 by hand: what no client library would send.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

/// What begins every connection.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Frame types.
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const CONTINUATION: u8 = 9;
/// Flags.
pub(crate) const END_HEADERS: u8 = 4;

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut bytes = length.into_iter().skip(1).collect::<Vec<u8>>();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The headers of a gRPC call, as HPACK literals that are not indexed.
pub(crate) fn headers(path: &str) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// One header field whose name and value are shorter than 127 bytes.
pub(crate) fn literal(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).expect("a short text");
    let mut bytes = vec![0, length(name)];
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(length(value));
    bytes.extend_from_slice(value.as_bytes());
    bytes
}

/// A connection that nobody keeps to the rules on.
pub(crate) struct Raw(TcpStream);

impl Raw {
    /// Connects, and says nothing.
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("somebody listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_write_timeout(Some(Duration::from_secs(5))).expect("a socket");
        Self(stream)
    }

    /// Connects so often from another address of this machine, and begins as a client must.
    pub(crate) async fn many_from(from: Ipv4Addr, port: u16, count: usize) -> Vec<Self> {
        let mut all = Vec::new();
        for _ in 0..count {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind((from, 0).into()).expect("an address of this machine");
            let to = (Ipv4Addr::LOCALHOST, port).into();
            let stream = socket.connect(to).await.expect("somebody listens");
            let stream = stream.into_std().expect("a socket");
            stream.set_nonblocking(false).expect("a socket");
            stream.set_write_timeout(Some(Duration::from_secs(5))).expect("a socket");
            let mut raw = Self(stream);
            // It may be closed already.
            let _begun = raw.send(PREFACE) && raw.send(&frame(SETTINGS, 0, 0, &[]));
            all.push(raw);
        }
        all
    }

    /// Connects and begins as a client must.
    pub(crate) fn open(port: u16) -> Self {
        let mut raw = Self::connect(port);
        assert!(raw.send(PREFACE) && raw.send(&frame(SETTINGS, 0, 0, &[])));
        raw
    }

    /// Sends bytes. False: the other end has closed, or takes nothing more.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Whether the other end has closed by now. What it has sent is thrown away.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.0.set_nonblocking(true).expect("a socket");
        let mut buffer = [0; 4096];
        let closed = loop {
            match self.0.read(&mut buffer) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        self.0.set_nonblocking(false).expect("a socket");
        closed
    }

    /// Waits until the other end has closed; gives the time that it took.
    #[expect(clippy::disallowed_methods, reason = "a test waits for another process in real time")]
    pub(crate) fn wait_closed(&mut self, most: Duration) -> Option<Duration> {
        let start = Instant::now();
        while start.elapsed() < most {
            if self.is_closed() {
                return Some(start.elapsed());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}
