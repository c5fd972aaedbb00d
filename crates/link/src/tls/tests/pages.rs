//! The operators' pages over TLS: whom a token or a certificate shows all of them.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::*;
use crate::net::admin_http::{Guard, serve_admin};
use crate::net::admin_probe::Probe;
use crate::ops::health::Health;
use crate::ops::metrics::Registry;
use crate::tls::{CallerFiles, CallerTls, provider};

const MONITOR: &str = "spiffe://sample/caller/monitor";
const TOKEN: &str = "a token of some length";

/// A listener of pages, and what its clients trust.
struct Pages {
    tls: CallerTls,
    address: std::net::SocketAddr,
    authority: Ca,
    folder: tempfile::TempDir,
}

impl Pages {
    async fn start(callers: &Ca, lists: &[String]) -> Self {
        let (authority, folder) = (Ca::new("own"), tempfile::tempdir().unwrap());
        let (mut params, key, serial) = params(&[], 2020..2090, true);
        params.subject_alt_names = vec![SanType::DnsName("gateway.example".try_into().unwrap())];
        let pem = params.signed_by(&key, &authority.issuer).unwrap().pem();
        let server = Leaf { pem, key: key.serialize_pem(), serial };
        let files = files(folder.path(), &server, &[callers], lists);
        let files = CallerFiles {
            certificate: files.certificate,
            key: files.key,
            authorities: Some(files.authorities),
            revoked: files.revoked,
            pages: true,
        };
        let tls = CallerTls::open(files, clock(), TlsMetrics::default()).unwrap();
        let token = folder.path().join("token");
        std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
        let guard =
            Guard { tls: Some(tls.clone()), uris: vec![MONITOR.to_owned()], token: Some(token) };
        let listener = crate::net::listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let health = Health::new();
        health.set_ready(true);
        health.set_fact("region/eu-fra", "within reach");
        let registry = Arc::new(Registry::new());
        tokio::spawn(serve_admin(listener, Some(guard), health, registry, std::future::pending()));
        Self { tls, address, authority, folder }
    }

    /// What a client with this certificate and token is answered. None: TLS ends before.
    async fn get(&self, path: &str, leaf: Option<&Leaf>, token: Option<&str>) -> Option<String> {
        let mut roots = rustls::RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.authority.pem.as_bytes()).unwrap();
        roots.add(authority).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match leaf {
            None => builder.with_no_client_auth(),
            Some(leaf) => {
                let chain = vec![CertificateDer::from_pem_slice(leaf.pem.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("gateway.example").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n"));
        let token = token.unwrap_or_default();
        let ask = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{token}connection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer).await;
        (read.is_ok() || !answer.is_empty()).then(|| String::from_utf8(answer).unwrap())
    }

    async fn sees_all(&self, leaf: Option<&Leaf>, token: Option<&str>) -> bool {
        let metrics = self.get("/metrics", leaf, token).await.expect("an answer");
        let ready = self.get("/readyz", leaf, token).await.expect("an answer");
        assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
        let all = ready.contains("region/eu-fra: within reach");
        assert_eq!(all, metrics.starts_with("HTTP/1.1 200") && metrics.ends_with("# EOF\n"));
        if !all {
            assert!(metrics.starts_with("HTTP/1.1 401") && !metrics.contains("EOF"), "{metrics}");
            assert!(ready.ends_with("\r\n\r\nready\n"), "{ready}");
        }
        all
    }
}

#[tokio::test]
async fn pages_over_tls_show_all_to_a_token_or_a_certificate_that_is_named() {
    let callers = Ca::new("callers");
    let leaf = |uri: &str| callers.leaf_of(&[uri], 2026..2027, false);
    let (monitor, other, gone) =
        (leaf(MONITOR), leaf("spiffe://sample/caller/billing"), leaf(MONITOR));
    let pages = Pages::start(&callers, &[callers.list(&[&gone], 2030)]).await;
    assert!(!pages.sees_all(None, None).await);
    assert!(!pages.sees_all(None, Some("another token of some length")).await);
    assert!(pages.sees_all(None, Some(TOKEN)).await);
    assert!(pages.sees_all(Some(&monitor), None).await);
    // Of the same authority, and not named.
    assert!(!pages.sees_all(Some(&other), None).await);
    assert!(pages.sees_all(Some(&other), Some(TOKEN)).await);
    for refused in [&gone, &Ca::new("callers").leaf(&[MONITOR]), &self_signed(&[MONITOR])] {
        assert!(pages.get("/metrics", Some(refused), Some(TOKEN)).await.is_none());
    }
    // What was revoked since is refused without a restart.
    let list = callers.numbered(&[&gone, &monitor], 2025..2030, 2);
    std::fs::write(pages.folder.path().join("revoked.pem"), list).unwrap();
    pages.tls.reload();
    assert!(pages.get("/metrics", Some(&monitor), None).await.is_none());
    // A plaintext request is no request.
    let mut plain = TcpStream::connect(pages.address).await.unwrap();
    plain.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).await.ok();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_knows_its_server_by_the_certificate_in_its_configuration() {
    let pages = Pages::start(&Ca::new("callers"), &[]).await;
    let probe = |file: &str, token: Option<&str>| {
        let folder = pages.folder.path();
        let probe = Probe {
            admin: pages.address,
            certificate: Some(folder.join(file)),
            token: token.map(|token| folder.join(token)),
        };
        tokio::task::spawn_blocking(move || probe.ready_page())
    };
    let first = probe("certificate.pem", None).await.unwrap().unwrap();
    assert!(first.starts_with("HTTP/1.1 200") && first.ends_with("\r\n\r\nready\n"), "{first}");
    let all = probe("certificate.pem", Some("token")).await.unwrap().unwrap();
    assert!(all.ends_with("\r\n\r\nready\nregion/eu-fra: within reach\n"), "{all}");
    // Somebody else who listens there is not believed.
    assert!(probe("authorities.pem", None).await.unwrap().is_err());
    assert!(probe("nothing.pem", None).await.unwrap().is_err());
}
