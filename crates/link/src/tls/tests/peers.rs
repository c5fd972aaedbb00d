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
        let provider = crate::tls::provider();
        use rustls::pki_types::pem::PemObject as _;
        let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(leaf.key.as_bytes());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_client_auth_cert(chain_of(leaf), key.unwrap())
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
        crate::tls::provider().signature_verification_algorithms.supported_schemes()
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
        house.eu.leaf_of(&[GATEWAY], 2024..2025, true),
        house.eu.leaf_of(&[GATEWAY], 2028..2029, true),
        revoked,
        house.eu.leaf(&[GATEWAY, "spiffe://sample/region/eu-fra/gateway/g2"]),
        house.eu.leaf(&[]),
        house.eu.leaf(&["spiffe://other/region/eu-fra/gateway/g1"]),
        house.ru.leaf(&["spiffe://sample/region/eu-fra/shard/s1"]),
        house.eu.leaf(&["spiffe://sample/caller/billing"]),
        house.eu.leaf(&["spiffe://sample/region/nowhere/gateway/g1"]),
    ] {
        house.refused(&leaf).await;
    }
    // One that is like the revoked one in all but its serial number is let in.
    let gateway = house.gateway(&house.eu.leaf(&[GATEWAY]));
    let (dialled, _) = meet(&house.shard, async |stream| dial(&gateway, stream).await).await;
    assert!(dialled.is_ok());
    // So is a shard of another region. What it may ask, its session says.
    let other = house.eu.leaf(&["spiffe://sample/region/eu-fra/shard/s1"]);
    assert!(cause_of(&house, &other).is_none());
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
        (eu.leaf(&[GATEWAY]), PeerKind::Shard, "eu-fra", crate::tls::Cause::Other),
        (eu.leaf(&[GATEWAY]), PeerKind::Gateway, "ru-msk", crate::tls::Cause::Other),
        (ru.leaf(&[GATEWAY]), PeerKind::Gateway, "eu-fra", crate::tls::Cause::Authority),
        (self_signed(&[GATEWAY]), PeerKind::Gateway, "eu-fra", crate::tls::Cause::Authority),
        (
            eu.leaf_of(&[GATEWAY], 2024..2025, true),
            PeerKind::Gateway,
            "eu-fra",
            crate::tls::Cause::Expired,
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

// === chains ===

/// An authority: by itself, or issued by the one above it.
fn authority(name: &str, is_ca: IsCa, above: Option<&Ca>) -> Ca {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = is_ca;
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    params.serial_number = Some(SerialNumber::from(SERIAL_OF_AUTHORITIES));
    let certificate = match above {
        None => params.self_signed(&key),
        Some(above) => params.signed_by(&key, &above.issuer),
    };
    let certificate = certificate.unwrap();
    let digest = Sha256::digest(certificate.der()).into();
    Ca { pem: certificate.pem(), issuer: Issuer::new(params, key), digest }
}

/// No leaf has this one.
const SERIAL_OF_AUTHORITIES: u64 = 1 << 40;

/// An authority that may have so many others below it in a path.
const fn over(others: u8) -> IsCa {
    IsCa::Ca(BasicConstraints::Constrained(others))
}

/// A gateway's certificate by the last of these, with all of them in its file.
fn chained(intermediates: &[&Ca]) -> Leaf {
    let [.., issuer] = intermediates else { panic!("nobody issues it") };
    let mut leaf = issuer.leaf(&[GATEWAY]);
    leaf.pem.extend(intermediates.iter().rev().map(|ca| ca.pem.as_str()));
    leaf
}

fn chain_of(leaf: &Leaf) -> Vec<rustls::pki_types::CertificateDer<'static>> {
    use rustls::pki_types::pem::PemObject as _;
    let all = rustls::pki_types::CertificateDer::pem_slice_iter(leaf.pem.as_bytes());
    all.map(Result::unwrap).collect()
}

/// What the house's shard makes of a chain, beside the handshake.
fn cause_of(house: &House, leaf: &Leaf) -> Option<crate::tls::Cause> {
    let ours = house.shard.server().1;
    house.shard.peer(&chain_of(leaf), true, ours).err()
}

/// A house whose two roots allow so many intermediates in a path.
fn house_over(others: u8, lists: impl FnOnce(&Ca) -> Vec<String>) -> House {
    let eu = authority("eu", over(others), None);
    let lists = lists(&eu);
    house_of(eu, authority("ru", over(others), None), &lists)
}

#[tokio::test]
async fn a_leaf_by_an_intermediate_of_a_pinned_root_is_let_in() {
    let house = house_over(1, |_| Vec::new());
    let between = authority("eu between", over(0), Some(&house.eu));
    // Our own certificate is checked at the opening, by the same rules.
    let gateway = house.gateway(&chained(&[&between]));
    let (dialled, arrived) = meet(&house.shard, async |stream| dial(&gateway, stream).await).await;
    assert_eq!(dialled.unwrap().id, shard_id());
    assert_eq!(arrived.unwrap().peer.unwrap().id.to_string(), GATEWAY);
    // Without the intermediate nobody can tell whose it is.
    let bare = between.leaf(&[GATEWAY]);
    assert_eq!(cause_of(&house, &bare), Some(crate::tls::Cause::Authority));
    house.refused(&bare).await;
}

#[tokio::test]
async fn an_intermediate_that_may_not_speak_for_the_name_lets_nobody_in() {
    use crate::tls::Cause;
    let house = house_over(1, |_| Vec::new());
    // Of another region, whose root is pinned, too; of nobody; and no authority at all.
    let abroad = authority("ru between", over(0), Some(&house.ru));
    let stranger = Ca::new("eu");
    let strange = authority("eu between", over(0), Some(&stranger));
    let no_authority = authority("eu gateway", IsCa::ExplicitNoCa, Some(&house.eu));
    for (what, chain) in [
        ("another region's", &[&abroad][..]),
        ("another region's, with the right root beside it", &[&house.eu, &abroad]),
        ("a stranger's", &[&strange]),
        ("a stranger's, with the stranger", &[&stranger, &strange]),
        ("no authority", &[&no_authority]),
    ] {
        let leaf = chained(chain);
        assert_eq!(cause_of(&house, &leaf), Some(Cause::Authority), "{what}");
        house.refused(&leaf).await;
    }
}

#[tokio::test]
async fn a_path_longer_than_its_intermediate_allows_is_refused() {
    use crate::tls::Cause;
    // The intermediate allows none below it.
    let house = house_over(2, |_| Vec::new());
    let first = authority("eu first", over(0), Some(&house.eu));
    let second = authority("eu second", over(0), Some(&first));
    let leaf = chained(&[&first, &second]);
    assert_eq!(cause_of(&house, &leaf), Some(Cause::Authority));
    house.refused(&leaf).await;
}

#[tokio::test]
async fn a_path_longer_than_its_root_allows_is_refused() {
    use crate::tls::Cause;
    // The root allows none, or fewer than there are.
    for allowed in [0, 1] {
        let house = house_over(allowed, |_| Vec::new());
        let first = authority("eu first", over(1), Some(&house.eu));
        let second = authority("eu second", over(0), Some(&first));
        let chains = [&[&first][..], &[&first, &second]];
        for chain in chains.iter().filter(|chain| chain.len() > usize::from(allowed)) {
            let leaf = chained(chain);
            let what = format!("{} where {allowed} are allowed", chain.len());
            assert_eq!(cause_of(&house, &leaf), Some(Cause::Authority), "{what}");
            house.refused(&leaf).await;
        }
    }
}

#[tokio::test]
async fn a_root_that_revokes_its_intermediate_revokes_all_that_it_has_issued() {
    let serial = SerialNumber::from(SERIAL_OF_AUTHORITIES);
    let gone = Leaf { pem: String::new(), key: String::new(), serial };
    let house = house_over(1, |eu| vec![eu.list(&[&gone], 2030)]);
    let between = authority("eu between", over(0), Some(&house.eu));
    let leaf = chained(&[&between]);
    assert_eq!(cause_of(&house, &leaf), Some(crate::tls::Cause::Revoked));
    house.refused(&leaf).await;
    assert_eq!(cause_of(&house, &house.eu.leaf(&[GATEWAY])), None, "by the root itself");
}
