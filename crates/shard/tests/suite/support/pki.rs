//! Authorities and certificates for sessions with TLS, and a gateway's end of one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use atlas::RegionMap;
use hyper_util::rt::TokioIo;
use link::host::clock::SystemClock;
use link::spiffe_id::{PeerId, PeerKind};
use link::tls::{Expected, Files, Pins, Tls, TlsMetrics};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use terms::RegionId;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use wire::session::session_client::SessionClient;

/// The serial number of the one certificate that a test may revoke.
const SERIAL: u64 = 7;
/// Certificates last from before any clock that runs these tests to after.
const FROM: i32 = 2024;
const UNTIL: i32 = 2060;

/// The authority of one region.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    digest: [u8; 32],
}

/// An authority for each region of a map, and folders of certificates.
pub(crate) struct Pki {
    folder: tempfile::TempDir,
    authorities: BTreeMap<String, Authority>,
}

impl Authority {
    fn new(region: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, region);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(FROM, 1, 1);
        params.not_after = date_time_ymd(UNTIL, 1, 1);
        let certificate = params.self_signed(&key).expect("a certificate");
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.der());
        let digest = digest.as_ref().try_into().expect("32 bytes");
        Self { pem: certificate.pem(), digest, issuer: Issuer::new(params, key) }
    }

    fn list(&self, revoked: bool) -> String {
        let one = RevokedCertParams {
            serial_number: SerialNumber::from(SERIAL),
            revocation_time: date_time_ymd(FROM, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(FROM, 1, 1),
            next_update: date_time_ymd(UNTIL, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.then_some(one).into_iter().collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("a list").pem().expect("PEM")
    }
}

impl Pki {
    /// Authorities for these regions.
    pub(crate) fn new(regions: &[&str]) -> Self {
        let authorities = regions.iter().map(|name| ((*name).to_owned(), Authority::new(name)));
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder, authorities: authorities.collect() }
    }

    /// The map with the authorities of its regions pinned.
    pub(crate) fn pin(&self, map: &str) -> String {
        self.authorities.iter().fold(map.to_owned(), |map, (name, authority)| {
            let digest = hex::encode(authority.digest);
            let line = format!("[[regions]]\nname = \"{name}\"\n");
            map.replace(&line, &format!("{line}authorities = \"sha256:{digest}\"\n"))
        })
    }

    /// TLS as the process of that name, with a certificate of its region's authority.
    pub(crate) fn tls(&self, map: &RegionMap, uri: &str) -> Tls {
        let pins = Pins {
            trust_domain: map.trust_domain().to_owned(),
            regions: map
                .regions()
                .iter()
                .map(|region| (region.name().clone(), region.authorities().to_vec()))
                .collect(),
        };
        let id = PeerId::parse(uri).expect("a name");
        let files = self.files(uri, id.region());
        let expect = Expected { kind: id.kind(), region: id.region().clone() };
        Tls::open(files, pins, expect, Arc::new(SystemClock), TlsMetrics::default())
            .expect("a certificate of a pinned authority")
    }

    /// Issues a new certificate to the process of that name, in the place of its old one.
    pub(crate) fn renew(&self, uri: &str) {
        let id = PeerId::parse(uri).expect("a name");
        self.files(uri, id.region());
    }

    fn files(&self, uri: &str, region: &RegionId) -> Files {
        let issuer = &self.authorities.get(region.as_str()).expect("an authority").issuer;
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("a URI"))];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = date_time_ymd(FROM, 1, 1);
        params.not_after = date_time_ymd(UNTIL, 1, 1);
        params.serial_number = Some(SerialNumber::from(SERIAL));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, issuer).expect("a certificate");
        let folder = self.folder_of(uri);
        std::fs::create_dir_all(&folder).expect("a folder");
        let all: String = self.authorities.values().map(|one| one.pem.as_str()).collect();
        Files {
            certificate: write(&folder, "certificate.pem", &certificate.pem()),
            key: write(&folder, "key.pem", &key.serialize_pem()),
            authorities: write(&folder, "authorities.pem", &all),
            revoked: Some(write(&folder, "revoked.pem", &self.lists(None))),
        }
    }

    fn folder_of(&self, uri: &str) -> PathBuf {
        self.folder.path().join(uri.replace(['/', ':'], "_"))
    }

    fn lists(&self, revoked: Option<&str>) -> String {
        let list = |(name, one): (&String, &Authority)| one.list(Some(name.as_str()) == revoked);
        self.authorities.iter().map(list).collect()
    }

    /// Tells the process of that name that the certificates of a region are revoked.
    pub(crate) fn revoke(&self, uri: &str, region: &str) {
        write(&self.folder_of(uri), "revoked.pem", &self.lists(Some(region)));
    }
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    if name == "key.pem" {
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, closed).expect("it is ours");
    }
    path
}

/// A connection to a shard's port as that process. None: one of the two refuses the other.
pub(crate) async fn dial(tls: &Tls, port: u16, shard: &str) -> Option<SessionClient<Channel>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the shard listens");
    let wanted = PeerId::parse(shard).expect("a name");
    assert_eq!(wanted.kind(), PeerKind::Shard);
    let (stream, _peer) = tls.connect(stream, &wanted).await.ok()?;
    let once = Arc::new(Mutex::new(Some(TokioIo::new(stream))));
    let connector = tower::service_fn(move |_: tonic::transport::Uri| {
        let stream = once.lock().expect("no panic").take();
        let gone = || std::io::Error::from(std::io::ErrorKind::NotConnected);
        std::future::ready(stream.ok_or_else(gone))
    });
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).expect("an address");
    let endpoint = link::session::endpoint(endpoint);
    Some(SessionClient::new(endpoint.connect_with_connector(connector).await.ok()?))
}
