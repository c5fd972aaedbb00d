//! Stands between a gateway and a shard, keeps what goes from the one to the other, and counts the
//! requests that are opened: a call whose headers were handed on would open one.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::support::Deployment;

/// What a client of HTTP/2 says before its first frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The type of a frame that opens a request.
const HEADERS: u8 = 1;

/// What one connection's client said.
type Heard = Arc<Mutex<Vec<u8>>>;

/// A listener that hands everything on, in both directions.
pub(crate) struct Tap {
    address: SocketAddr,
    /// For each connection, what the client said.
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Tap {
    /// Listens, and hands on to `target`.
    pub(crate) fn start(runtime: &Runtime, target: SocketAddr) -> Self {
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let all = Arc::clone(&heard);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(target).await else { continue };
                let own = Heard::default();
                all.lock().expect("a lock").push(Arc::clone(&own));
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pass(from_client, to_server, Some(own)));
                tokio::spawn(pass(from_server, to_client, None));
            }
        });
        Self { address, heard }
    }

    /// Listens between the gateway of a deployment and the shard of a region. Starts the gateway again.
    pub(crate) fn between(runtime: &Runtime, deployment: &mut Deployment, region: &str) -> Self {
        let annex = deployment.root().join(format!("annex-{region}.toml"));
        let text = fs::read_to_string(&annex).expect("an annex");
        let (before, rest) = text.split_once("http://").expect("an address");
        let (address, after) = rest.split_once('"').expect("an address");
        let tap = Self::start(runtime, address.parse().expect("an address"));
        fs::write(&annex, format!("{before}http://{}\"{after}", tap.address())).expect("an annex");
        deployment.gateway().restart();
        deployment.wait_session(region, true);
        tap
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients have said, connection after connection.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let heard = self.heard.lock().expect("a lock");
        let each = heard.iter().map(|own| own.lock().expect("a lock").clone());
        each.collect::<Vec<_>>().concat()
    }

    /// How many requests they have opened.
    pub(crate) fn requests(&self) -> usize {
        let heard = self.heard.lock().expect("a lock");
        heard.iter().map(|own| opened(&own.lock().expect("a lock"))).sum()
    }
}

/// How many frames of a client's side of an HTTP/2 connection open a request.
fn opened(said: &[u8]) -> usize {
    let mut rest = said.strip_prefix(PREFACE).unwrap_or_default();
    let mut count = 0;
    while let [a, b, c, kind, _, _, _, _, _, after @ ..] = rest {
        count += usize::from(*kind == HEADERS);
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        rest = after.get(length..).unwrap_or_default();
    }
    count
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, keep: Option<Arc<Mutex<Vec<u8>>>>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let bytes = buffer.get(..length).unwrap_or_default();
        if let Some(keep) = &keep {
            keep.lock().expect("a lock").extend_from_slice(bytes);
        }
        if to.write_all(bytes).await.is_err() {
            break;
        }
    }
}

/// A server that reads, and says nothing.
pub(crate) async fn sink() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                while let Ok(1..) = client.read(&mut buffer).await {}
            });
        }
    });
    address
}

/// Says three requests and a frame of data with a marker through a tap, and sees three counted.
pub(crate) fn check_counting(runtime: &Runtime, tap: &Tap) {
    let frame = |kind: u8, stream: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).expect("a short payload");
        let mut frame = vec![0, 0, length, kind, 4, 0, 0, 0, stream];
        frame.extend_from_slice(payload);
        frame
    };
    let mut said = PREFACE.to_vec();
    said.extend(frame(4, 0, b""));
    for stream in [1, 3, 5] {
        said.extend(frame(HEADERS, stream, b"\x82"));
    }
    said.extend(frame(0, 5, super::MARKER.as_bytes()));
    assert_eq!(opened(&said), 3);
    let cut = said.split_at(said.len() - 2).0;
    assert_eq!(opened(cut), 3);
    runtime.block_on(async {
        let mut stream = TcpStream::connect(tap.address()).await.expect("a tap");
        stream.write_all(&said).await.expect("it reads");
        stream.flush().await.expect("it reads");
    });
    super::wait_until("three requests pass", std::time::Duration::from_secs(60), || {
        tap.requests() == 3
    });
}
