//! Whom TLS lets in: real handshakes over loopback, with authorities and certificates made here.

mod between;
mod callers;
mod pages;
mod peers;
mod rotation;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use sha2::{Digest, Sha256};
use terms::{Clock, RegionId, UnixMillis};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::StreamExt as _;

use crate::net::listener::{ConnectionInfo, Entrance, incoming_by};
use crate::spiffe_id::{PeerId, PeerKind};
use crate::tls::{Error, Expected, Files, Peer, Pins, Tls, TlsMetrics};
use tonic::transport::server::Connected as _;

/// 2026-06-01, in the middle of what certificates made here last.
const NOW: u64 = 1_780_272_000;

/// A clock that stands where it is put.
#[derive(Debug)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::Relaxed) * 1000)
    }
}

fn clock() -> Arc<Hand> {
    Arc::new(Hand(AtomicU64::new(NOW)))
}

fn region(name: &str) -> RegionId {
    RegionId::parse(name).unwrap()
}

/// An authority.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    digest: [u8; 32],
}

/// A certificate with its key.
struct Leaf {
    pem: String,
    key: String,
    serial: SerialNumber,
}

impl Ca {
    fn new(name: &str) -> Self {
        Self::changed(name, |_params| {})
    }

    fn changed(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2030, 1, 1);
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap();
        let digest = Sha256::digest(certificate.der()).into();
        let pem = certificate.pem();
        Self { issuer: Issuer::new(params, key), pem, digest }
    }

    /// A certificate with these URIs, for both ends of a session, valid in 2026.
    fn leaf(&self, uris: &[&str]) -> Leaf {
        self.leaf_of(uris, 2026..2027, true)
    }

    fn leaf_of(&self, uris: &[&str], years: Range<i32>, server: bool) -> Leaf {
        let (params, key, serial) = params(uris, years, server);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf { pem: certificate.pem(), key: key.serialize_pem(), serial }
    }

    /// A list of revoked certificates, good until that year.
    fn list(&self, revoked: &[&Leaf], until: i32) -> String {
        self.list_of(revoked, 2025..until)
    }

    fn list_of(&self, revoked: &[&Leaf], years: Range<i32>) -> String {
        self.numbered(revoked, years, 1)
    }

    fn numbered(&self, revoked: &[&Leaf], years: Range<i32>, number: u64) -> String {
        let revoked = revoked.iter().map(|leaf| RevokedCertParams {
            serial_number: leaf.serial.clone(),
            revocation_time: date_time_ymd(2026, 2, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(years.start, 1, 1),
            next_update: date_time_ymd(years.end, 1, 1),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

fn params(
    uris: &[&str],
    years: Range<i32>,
    server: bool,
) -> (CertificateParams, KeyPair, SerialNumber) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut params = CertificateParams::default();
    let uri = |uri: &&str| SanType::URI((*uri).try_into().unwrap());
    params.subject_alt_names = uris.iter().map(uri).collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if server {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    params.not_before = date_time_ymd(years.start, 1, 1);
    params.not_after = date_time_ymd(years.end, 1, 1);
    let serial = SerialNumber::from(NEXT.fetch_add(1, Ordering::Relaxed));
    params.serial_number = Some(serial.clone());
    (params, KeyPair::generate().unwrap(), serial)
}

fn self_signed(uris: &[&str]) -> Leaf {
    let (params, key, serial) = params(uris, 2026..2027, true);
    let certificate = params.self_signed(&key).unwrap();
    Leaf { pem: certificate.pem(), key: key.serialize_pem(), serial }
}

/// Writes what a process reads, into a folder of its own.
fn files(folder: &Path, leaf: &Leaf, authorities: &[&Ca], lists: &[String]) -> Files {
    std::fs::create_dir_all(folder).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        if name == "key.pem" {
            set_mode(&path, 0o600);
        }
        path
    };
    let all: String = authorities.iter().map(|ca| ca.pem.as_str()).collect();
    Files {
        certificate: write("certificate.pem", &leaf.pem),
        key: write("key.pem", &leaf.key),
        authorities: write("authorities.pem", &all),
        revoked: (!lists.is_empty()).then(|| write("revoked.pem", &lists.concat())),
    }
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn pins(regions: &[(&str, &[&Ca])]) -> Pins {
    let digests = |all: &[&Ca]| all.iter().map(|ca| ca.digest).collect();
    let regions: BTreeMap<_, _> =
        regions.iter().map(|(name, all)| (region(name), digests(all))).collect();
    Pins { trust_domain: "sample".to_owned(), regions }
}

fn open(files: &Files, pins: &Pins, kind: PeerKind, own: &str) -> Result<Tls, Error> {
    Tls::open(
        files.clone(),
        pins.clone(),
        Expected { kind, region: region(own) },
        clock(),
        TlsMetrics::default(),
    )
}

const GATEWAY: &str = "spiffe://sample/region/eu-fra/gateway/g1";
const SHARD: &str = "spiffe://sample/region/ru-msk/shard/s1";

fn shard_id() -> PeerId {
    PeerId::parse(SHARD).unwrap()
}

/// A listener of a shard, and what becomes of the first connection to it.
async fn meet(
    shard: &Tls,
    dial: impl AsyncFnOnce(TcpStream) -> Result<Arc<Peer>, Error>,
) -> (Result<Arc<Peer>, Error>, Option<ConnectionInfo>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut incoming = incoming_by(listener, Entrance::Members(shard.clone()));
    let stream = TcpStream::connect(address).await.unwrap();
    let dialled = dial(stream).await;
    // What was taken arrives; what was refused has had its time.
    let most = if dialled.is_ok() { 60_000 } else { 500 };
    let next = tokio::time::timeout(std::time::Duration::from_millis(most), incoming.next());
    let arrived = next.await.ok().flatten().map(|met| met.unwrap().connect_info());
    (dialled, arrived)
}

/// Connects as `gateway`, asks for the shard of these tests, and waits for its verdict: with TLS
/// 1.3 a server refuses a client's certificate only after the client is done.
async fn dial(gateway: &Tls, stream: TcpStream) -> Result<Arc<Peer>, Error> {
    let (mut stream, peer) = gateway.connect(stream, &shard_id()).await?;
    let mut byte = [0];
    let read = tokio::io::AsyncReadExt::read(&mut stream, &mut byte);
    match tokio::time::timeout(std::time::Duration::from_secs(2), read).await {
        // Nothing was said: the shard waits for us.
        Err(_) => Ok(peer),
        Ok(Ok(_)) => Err(Error::Handshake(std::io::Error::other("closed"))),
        Ok(Err(error)) => Err(Error::Handshake(error)),
    }
}
