//! Who may be a peer.

use super::*;

/// Two regions with an authority each, and a shard of the second.
struct House {
    folder: tempfile::TempDir,
    eu: Ca,
    ru: Ca,
    shard: Tls,
}

fn house(lists: &[String]) -> House {
    let (eu, ru) = (Ca::new("eu"), Ca::new("ru"));
    house_of(eu, ru, lists)
}

fn house_of(eu: Ca, ru: Ca, lists: &[String]) -> House {
    let folder = tempfile::tempdir().unwrap();
    let pins = pins(&[("eu-fra", &[&eu]), ("ru-msk", &[&ru])]);
    let files = files(&folder.path().join("shard"), &ru.leaf(&[SHARD]), &[&eu, &ru], lists);
    let shard = open(&files, &pins, PeerKind::Shard, "ru-msk").unwrap();
    House { folder, eu, ru, shard }
}

impl House {
    fn pins(&self) -> Pins {
        pins(&[("eu-fra", &[&self.eu]), ("ru-msk", &[&self.ru])])
    }

    fn gateway(&self, leaf: &Leaf) -> Tls {
        let files = files(&self.folder.path().join("gateway"), leaf, &[&self.eu, &self.ru], &[]);
        open(&files, &self.pins(), PeerKind::Gateway, "eu-fra").unwrap()
    }

    /// Presents any certificate to the shard, without our own checks of it: as an attacker does.
    async fn refused(&self, leaf: &Leaf) {
        let provider = super::super::provider();
        let chain = rustls::pki_types::CertificateDer::from_pem_slice(leaf.pem.as_bytes());
        let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(leaf.key.as_bytes());
        use rustls::pki_types::pem::PemObject as _;
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_client_auth_cert(vec![chain.unwrap()], key.unwrap())
            .unwrap();
        let (dialled, arrived) = meet(&self.shard, async |stream| {
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
            let mut stream = connector.connect(name, stream).await.map_err(Error::Handshake)?;
            let read = tokio::io::AsyncReadExt::read(&mut stream, &mut [0]).await;
            Err(Error::Handshake(
                read.err().unwrap_or_else(|| std::io::ErrorKind::NotConnected.into()),
            ))
        })
        .await;
        assert!(dialled.is_err());
        assert!(arrived.is_none(), "it was let in");
    }
}

/// Takes every server: the attacker does not care who takes its certificate.
#[derive(Debug)]
struct Anybody;

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        super::super::provider().signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn a_gateway_and_a_shard_know_each_other() {
    let house = house(&[]);
    let gateway = house.gateway(&house.eu.leaf(&[GATEWAY]));
    let (dialled, arrived) = meet(&house.shard, async |stream| dial(&gateway, stream).await).await;
    assert_eq!(dialled.unwrap().id, shard_id());
    let arrived = arrived.unwrap();
    assert!(!arrived.plaintext && arrived.caller.is_none());
    assert_eq!(arrived.peer.unwrap().id.to_string(), GATEWAY);
}

#[tokio::test]
async fn nobody_else_is_let_in() {
    let first = house(&[]);
    let revoked = first.eu.leaf(&[GATEWAY]);
    let lists = [first.eu.list(&[&revoked], 2027)];
    let house = house_of(first.eu, first.ru, &lists);
    let stranger = Ca::new("eu");
    for leaf in [
        // The authority of one region cannot speak for another.
        house.ru.leaf(&[GATEWAY]),
        house.eu.leaf(&["spiffe://sample/region/ru-msk/gateway/g1"]),
        // Nor can one of the same name that is not pinned, nor nobody.
        stranger.leaf(&[GATEWAY]),
        self_signed(&[GATEWAY]),
        house.eu.leaf_of(&[GATEWAY], (2024, 2025), true),
        house.eu.leaf_of(&[GATEWAY], (2028, 2029), true),
        revoked,
        house.eu.leaf(&[GATEWAY, "spiffe://sample/region/eu-fra/gateway/g2"]),
        house.eu.leaf(&[]),
        house.eu.leaf(&["spiffe://other/region/eu-fra/gateway/g1"]),
        house.eu.leaf(&["spiffe://sample/region/eu-fra/shard/s1"]),
        house.eu.leaf(&["spiffe://sample/caller/billing"]),
        house.eu.leaf(&["spiffe://sample/region/nowhere/gateway/g1"]),
    ] {
        house.refused(&leaf).await;
    }
    // One that is like the revoked one in all but its serial number is let in.
    let gateway = house.gateway(&house.eu.leaf(&[GATEWAY]));
    let (dialled, _) = meet(&house.shard, async |stream| dial(&gateway, stream).await).await;
    assert!(dialled.is_ok());
}

#[tokio::test]
async fn an_expired_list_trusts_nobody() {
    let first = house(&[]);
    let lists = [first.eu.list(&[], 2026)];
    let leaf = first.eu.leaf(&[GATEWAY]);
    let house = house_of(first.eu, first.ru, &lists);
    house.refused(&leaf).await;
}

#[tokio::test]
async fn a_gateway_takes_the_shard_it_looks_for_and_no_other() {
    let house = house(&[]);
    let gateway = house.gateway(&house.eu.leaf(&[GATEWAY]));
    for (n, (leaf, kind, own)) in [
        (house.ru.leaf(&["spiffe://sample/region/ru-msk/shard/s2"]), PeerKind::Shard, "ru-msk"),
        (house.eu.leaf(&["spiffe://sample/region/eu-fra/shard/s1"]), PeerKind::Shard, "eu-fra"),
        (house.eu.leaf(&[GATEWAY]), PeerKind::Gateway, "eu-fra"),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = house.folder.path().join(n.to_string());
        let files = files(&folder, &leaf, &[&house.eu, &house.ru], &[]);
        let fake = open(&files, &house.pins(), kind, own).unwrap();
        let (dialled, _) = meet(&fake, async |stream| dial(&gateway, stream).await).await;
        assert!(matches!(dialled, Err(Error::Handshake(_))), "fake {n}");
    }
}

#[test]
fn our_own_certificate_must_be_one_that_others_take() {
    let (eu, ru) = (Ca::new("eu"), Ca::new("ru"));
    let pins = pins(&[("eu-fra", &[&eu]), ("ru-msk", &[&ru])]);
    let folder = tempfile::tempdir().unwrap();
    let check = |leaf: &Leaf, kind, own| {
        open(&files(folder.path(), leaf, &[&eu, &ru], &[]), &pins, kind, own)
    };
    assert!(check(&eu.leaf(&[GATEWAY]), PeerKind::Gateway, "eu-fra").is_ok());
    for (leaf, kind, own, cause) in [
        (eu.leaf(&[GATEWAY]), PeerKind::Shard, "eu-fra", super::super::Cause::Other),
        (eu.leaf(&[GATEWAY]), PeerKind::Gateway, "ru-msk", super::super::Cause::Other),
        (ru.leaf(&[GATEWAY]), PeerKind::Gateway, "eu-fra", super::super::Cause::Authority),
        (self_signed(&[GATEWAY]), PeerKind::Gateway, "eu-fra", super::super::Cause::Authority),
        (
            eu.leaf_of(&[GATEWAY], (2024, 2025), true),
            PeerKind::Gateway,
            "eu-fra",
            super::super::Cause::Expired,
        ),
    ] {
        let error = check(&leaf, kind, own).unwrap_err();
        assert!(matches!(error, Error::Own { cause: got, .. } if got == cause), "{error}");
    }
    // A key of another certificate.
    let mut mixed = eu.leaf(&[GATEWAY]);
    mixed.key = eu.leaf(&[GATEWAY]).key;
    let unpaired = check(&mixed, PeerKind::Gateway, "eu-fra").unwrap_err();
    assert!(matches!(unpaired, Error::Unpaired { .. }));
}
