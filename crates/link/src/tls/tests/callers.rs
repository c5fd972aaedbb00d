//! Callers: with a certificate, without one, and with one that does not hold.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::TlsConnector;

use super::*;
use crate::tls::{CallerFiles, CallerTls};

/// Connects to a public listener as a caller, and gives what the listener made of it.
async fn call(tls: &CallerTls, authority: &Ca, leaf: Option<&Leaf>) -> Option<ConnectionInfo> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut incoming = incoming_by(listener, Entrance::Callers(tls.clone()));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(crate::tls::provider())
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
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("gateway.example").unwrap();
    let mut dialled = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    // It arrives, or is told no: with TLS 1.3 only after the client is done.
    let refused = async {
        if let Ok(stream) = &mut dialled {
            drop(tokio::io::AsyncReadExt::read(stream, &mut [0]).await);
        }
    };
    tokio::select! {
        met = incoming.next() => Some(met.unwrap().unwrap().connect_info()),
        () = refused => None,
    }
}

#[tokio::test]
async fn a_caller_is_whoever_its_certificate_names() {
    let (own, callers) = (Ca::new("own"), Ca::new("callers"));
    let folder = tempfile::tempdir().unwrap();
    let (mut params, key, serial) = params(&[], 2020..2090, true);
    params.subject_alt_names = vec![SanType::DnsName("gateway.example".try_into().unwrap())];
    let pem = params.signed_by(&key, &own.issuer).unwrap().pem();
    let server = Leaf { pem, key: key.serialize_pem(), serial };
    let billing = callers.leaf_of(&["spiffe://sample/caller/billing"], 2026..2027, false);
    let gone = callers.leaf_of(&["spiffe://sample/caller/gone"], 2026..2027, false);
    let files = files(folder.path(), &server, &[&callers], &[callers.list(&[&gone], 2030)]);
    let files = CallerFiles {
        certificate: files.certificate,
        key: files.key,
        authorities: Some(files.authorities),
        revoked: files.revoked,
        pages: false,
    };
    let tls = CallerTls::open(files, clock(), TlsMetrics::default()).unwrap();

    let nobody = call(&tls, &own, None).await.unwrap();
    assert!(nobody.caller.is_none() && nobody.peer.is_none() && !nobody.plaintext);
    let known = call(&tls, &own, Some(&billing)).await.unwrap().caller.unwrap();
    assert_eq!(known.uris, ["spiffe://sample/caller/billing"]);
    assert!(tls.trusts(&known));
    for other in [
        gone,
        own.leaf(&["spiffe://sample/caller/billing"]),
        self_signed(&["spiffe://sample/caller/billing"]),
        callers.leaf_of(&["spiffe://sample/caller/billing"], 2024..2025, false),
        // Which of the two it acts for would be a guess.
        callers.leaf_of(
            &["spiffe://sample/caller/billing", "spiffe://sample/caller/other"],
            2026..2027,
            false,
        ),
    ] {
        assert!(call(&tls, &own, Some(&other)).await.is_none());
    }
    // What was good when the connection began is asked again when the list has changed.
    std::fs::write(folder.path().join("revoked.pem"), callers.numbered(&[&billing], 2025..2030, 2))
        .unwrap();
    tls.reload();
    assert!(!tls.trusts(&known));
}
