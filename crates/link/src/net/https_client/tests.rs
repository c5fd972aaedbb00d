//! Documents from a server of these tests.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const WITHIN: Duration = Duration::from_secs(60);

/// Answers every connection with these bytes; gives its port, and its authority in PEM.
async fn server(answer: Vec<u8>) -> (u16, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut asked = [0; 1024];
                let read = stream.read(&mut asked).await.unwrap();
                assert!(asked[..read].starts_with(b"GET /keys?of=all HTTP/1.1\r\n"));
                stream.write_all(&answer).await.unwrap();
                drop(stream.shutdown().await);
            }
        }
    });
    (port, authority)
}

fn at(url: &str) -> Address {
    Address::parse(url).unwrap()
}

async fn get(answer: &[u8], limit: usize) -> Result<Bytes, Error> {
    let (port, authority) = server(answer.to_vec()).await;
    let url = format!("https://localhost:{port}/keys?of=all");
    https_get(&at(&url), Some(authority.as_bytes()), limit, WITHIN).await
}

#[tokio::test]
async fn a_document_is_fetched_within_its_limit() {
    let fixed = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    assert_eq!(get(fixed, 5).await.unwrap(), "hello");
    assert!(matches!(get(fixed, 4).await, Err(Error::TooLarge)));
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(get(chunked, 5).await.unwrap(), "hello");
    assert!(matches!(get(chunked, 4).await, Err(Error::TooLarge)));
    let short = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello";
    assert!(matches!(get(short, 9).await, Err(Error::Broken)));
}

#[tokio::test]
async fn another_answer_is_no_document() {
    let moved = b"HTTP/1.1 302 Found\r\nlocation: https://other/\r\ncontent-length: 0\r\n\r\n";
    assert!(matches!(get(moved, 9).await, Err(Error::Status(StatusCode::FOUND))));
    assert!(matches!(get(b"SSH-2.0-x\r\n\r\n", 9).await, Err(Error::Http(_))));
}

#[tokio::test]
async fn a_server_that_cannot_be_verified_is_not_asked() {
    let (port, authority) = server(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()).await;
    let (_, other) = server(Vec::new()).await;
    let url = format!("https://localhost:{port}/keys?of=all");
    let fetched = https_get(&at(&url), Some(other.as_bytes()), 9, WITHIN).await;
    assert!(matches!(fetched, Err(Error::Handshake(_))));
    // The right authority, and not the name in the certificate.
    let url = format!("https://127.0.0.1:{port}/keys?of=all");
    let fetched = https_get(&at(&url), Some(authority.as_bytes()), 9, WITHIN).await;
    assert!(matches!(fetched, Err(Error::Handshake(_))));
}

#[tokio::test]
async fn only_plain_https_addresses_are_taken() {
    for url in [
        "",
        "/keys",
        "keys",
        "https://",
        "https:///keys",
        "http://localhost/keys",
        "HTTPS//localhost/keys",
        "https://local host/keys",
        "https://user:word@localhost/keys",
        "https://user@localhost/keys",
        "https://localhost:/keys",
        "https://localhost:0/keys",
        "https://localhost:65536/keys",
        "https://localhost:a/keys",
        "https://[::1/keys",
        "https://localhost:8443@localhost:8443/keys",
    ] {
        assert!(matches!(Address::parse(url), Err(Error::Address)), "{url}");
    }
    for (url, host, port) in [
        ("https://localhost", "localhost", 443),
        ("https://issuer.example:8443/keys?of=all", "issuer.example", 8443),
        ("https://192.0.2.7/keys", "192.0.2.7", 443),
        ("https://[::1]:8443/keys", "::1", 8443),
    ] {
        let address = at(url);
        assert_eq!((address.host.as_str(), address.port), (host, port), "{url}");
    }
    let fetched = https_get(&at("https://localhost/keys"), Some(b"nothing"), 9, WITHIN).await;
    assert!(matches!(fetched, Err(Error::Bundle(_))));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let (_, authority) = server(Vec::new()).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", silent.local_addr().unwrap().port());
    let within = Duration::from_millis(200);
    let fetched = https_get(&at(&url), Some(authority.as_bytes()), 9, within).await;
    assert!(matches!(fetched, Err(Error::Slow)));
}

#[test]
fn without_tls_no_other_machine_is_spoken_to() {
    for own in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
        assert!(on_this_machine(own.parse().unwrap()).is_ok(), "{own}");
    }
    for other in ["10.1.2.3", "192.0.2.1", "0.0.0.0", "2001:db8::1", "::ffff:10.1.2.3"] {
        assert!(matches!(on_this_machine(other.parse().unwrap()), Err(Error::Address)), "{other}");
    }
}
