//! What a listener takes, and how long it waits.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_stream::StreamExt as _;
use tonic::transport::server::Connected as _;

use super::*;
use crate::host::clock::SystemClock;
use crate::tls::CallerFiles;

#[test]
fn plaintext_is_for_loopback_and_must_be_asked_for() {
    let check = |addr: &str, plaintext| require_loopback(addr.parse().unwrap(), plaintext);
    assert_eq!(check("127.0.0.1:7400", true), Ok(()));
    assert_eq!(check("[::1]:7400", true), Ok(()));
    assert_eq!(check("127.0.0.1:7400", false), Err(ListenerRefused::PlaintextNotAllowed));
    for open in ["0.0.0.0:7400", "[::]:7400", "10.0.0.1:7400"] {
        assert_eq!(check(open, true), Err(ListenerRefused::NotLoopback), "{open}");
    }
}

#[tokio::test]
async fn a_taken_address_is_an_error() {
    let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    assert!(bind(first.local_addr().unwrap()).await.is_err());
}

/// A limit of a listener under test: a peer that keeps to it has time enough.
const SHORT: Duration = Duration::from_secs(2);
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the other end has closed it.
async fn is_closed(mut stream: TcpStream) -> bool {
    // A TLS alert may come before the end.
    let mut last = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut last)).await.is_ok()
}

async fn knock(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

#[tokio::test]
async fn a_connection_above_the_quota_is_closed_at_once() {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let quotas = QuotaLimits { all: 2, ..Limits::OF_A_LISTENER.quotas };
    let limits = Limits { quotas, ..Limits::OF_A_LISTENER };
    let mut incoming = incoming_within(listener, Entrance::Plaintext, limits);
    let first = knock(address, b"P").await;
    let met = incoming.next().await.unwrap().unwrap();
    met.connect_info().authenticated();
    let _second = knock(address, b"P").await;
    let other = incoming.next().await.unwrap().unwrap();
    other.connect_info().authenticated();
    assert!(is_closed(knock(address, b"").await).await);
    // The permit is free when our end is dropped, not when the other end is.
    drop(first);
    assert!(is_closed(knock(address, b"").await).await);
    drop(met);
    let _third = knock(address, b"P").await;
    let taken = timeout(PATIENCE, incoming.next()).await;
    assert!(taken.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn idle_connections_are_evicted_and_keep_no_client_out() {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let quotas = QuotaLimits { unauthenticated_of_one: 3, ..Limits::OF_A_LISTENER.quotas };
    let limits = Limits { quotas, ..Limits::OF_A_LISTENER };
    let mut incoming = incoming_within(listener, Entrance::Plaintext, limits);
    // An authenticated one, two silent ones, and one that has sent its preface.
    let _known = knock(address, b"P").await;
    let mut authenticated = incoming.next().await.unwrap().unwrap();
    authenticated.connect_info().authenticated();
    let silent = [knock(address, b"").await, knock(address, b"").await];
    let _begun = knock(address, &[b'P'; 24]).await;
    let mut begun = incoming.next().await.unwrap().unwrap();
    // Each later one is admitted and evicts the oldest.
    let mut later = Vec::new();
    for _ in 0..3 {
        let stream = knock(address, b"P").await;
        let met = timeout(PATIENCE, incoming.next()).await.unwrap().unwrap();
        later.push((stream, met.unwrap()));
    }
    for stream in silent {
        assert!(is_closed(stream).await);
    }
    let mut bytes = [0; 64];
    let ended = timeout(PATIENCE, async { while let Ok(1..) = begun.read(&mut bytes).await {} });
    assert!(ended.await.is_ok(), "the one with a preface is evicted, too");
    assert_eq!(authenticated.read(&mut bytes).await.unwrap(), 1, "the authenticated one stays");
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits { handshake_timeout: SHORT, ..Limits::OF_A_LISTENER };
    let mut incoming = incoming_within(listener, Entrance::Plaintext, limits);
    assert!(is_closed(knock(address, b"").await).await);
    let _talks = knock(address, b"P").await;
    assert!(incoming.next().await.unwrap().is_ok());
}

#[tokio::test]
async fn an_unauthenticated_connection_may_not_stay() {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits { authentication_timeout: SHORT, ..Limits::OF_A_LISTENER };
    let mut incoming = incoming_within(listener, Entrance::Plaintext, limits);
    let mut ends = Vec::new();
    for authenticated in [false, true] {
        // It sends its preface and goes on.
        let mut talks = knock(address, &[b'P'; 24]).await;
        let mut met = incoming.next().await.unwrap().unwrap();
        if authenticated {
            met.connect_info().authenticated();
        }
        let talk = async {
            while talks.write_all(b"x").await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let read = async {
            let mut bytes = [0; 64];
            while let Ok(1..) = met.read(&mut bytes).await {}
        };
        let most = if authenticated { 2 * SHORT } else { PATIENCE };
        let ended = timeout(most, async {
            tokio::select! {
                () = read => {}
                () = talk => {}
            }
        });
        ends.push(ended.await.is_ok());
    }
    assert_eq!(ends, [true, false]);
}

#[tokio::test]
async fn who_does_not_finish_the_handshake_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("certificate"), folder.path().join("key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, closed).unwrap();
    let files = CallerFiles { certificate, key, authorities: None, revoked: None, pages: false };
    let tls = CallerTls::open(files, Arc::new(SystemClock), TlsMetrics::default()).unwrap();

    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits { handshake_timeout: SHORT, handshakes: 1, ..Limits::OF_A_LISTENER };
    let entrance = Entrance::Callers(tls.clone());
    let mut incoming = incoming_within(listener, entrance, limits);
    // The beginning of a ClientHello; the other waits for its turn, and no longer than it may.
    let hello = [22, 3, 1, 2, 0, 1, 0];
    let (slow, waits) = (knock(address, &hello).await, knock(address, &hello).await);
    assert!(is_closed(slow).await && is_closed(waits).await);
    assert!(is_closed(knock(address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await).await);
    assert!(timeout(Duration::from_millis(50), incoming.next()).await.is_err());
    assert_eq!(tls.metrics().closures(Closed::Slow), 2);
    assert_eq!(tls.metrics().closures(Closed::Handshake), 1);
}
