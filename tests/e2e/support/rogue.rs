//! Attackers between our processes: gateways and shards made by hand, with whatever certificate
//! they got hold of.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};
use wire::session as proto;
use wire::session::session_client::SessionClient;
use wire::session::session_server::{Session, SessionServer};

use super::secure::now;

/// Time in which a peer must answer.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// A certificate chain and its key, as PEM.
pub(crate) type Pair = (String, String);

/// Forges a certificate with the key of an authority that was stolen, or with none: then it is
/// signed by itself. It ends so many seconds from now.
pub(crate) fn forge(authority: Option<&Path>, uri: &str, ends_in: i64) -> Pair {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    let local = SanType::IpAddress(Ipv4Addr::LOCALHOST.into());
    params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("a name")), local];
    let end = now().checked_add_signed(ends_in).expect("a time");
    let at = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    params.not_before = at(end - 86_400);
    params.not_after = at(end);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = match authority {
        None => params.self_signed(&key),
        Some(folder) => {
            let read = |file| std::fs::read_to_string(folder.join(file)).expect("a file");
            let stolen = KeyPair::from_pem(&read("authority.key")).expect("a key");
            let issuer = Issuer::from_ca_cert_pem(&read("authority.pem"), stolen);
            params.signed_by(&key, &issuer.expect("an authority"))
        }
    };
    (certificate.expect("a certificate").pem(), key.serialize_pem())
}

/// A session that a gateway made by hand holds with a shard.
pub(crate) struct Held {
    /// What the shard said first.
    pub(crate) first: proto::ToGateway,
    calls: mpsc::Sender<proto::ToShard>,
    answers: Streaming<proto::ToGateway>,
}

/// Opens a session with the shard on that port. An error is what the connection or the call said:
/// in TLS 1.3, a certificate that is refused shows at the first answer only.
pub(crate) async fn open(
    port: u16,
    authorities: &str,
    own: Option<&Pair>,
    hello: proto::Hello,
) -> Result<Held, String> {
    open_with(port, authorities, own, proto::ToShard { hello: Some(hello), calls: Vec::new() })
        .await
}

/// The same, with a first frame that may hold anything: calls beside the hello, or no hello.
pub(crate) async fn open_with(
    port: u16,
    authorities: &str,
    own: Option<&Pair>,
    first: proto::ToShard,
) -> Result<Held, String> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities));
    if let Some((chain, key)) = own {
        tls = tls.identity(Identity::from_pem(chain, key));
    }
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{port}"));
    let endpoint = endpoint.and_then(|endpoint| endpoint.tls_config(tls)).expect("an address");
    let channel = endpoint.connect().await.map_err(|error| format!("{error:?}"))?;
    let (calls, receiver) = mpsc::channel(64);
    calls.send(first).await.expect("room");
    let mut client = SessionClient::new(channel);
    let opened = timeout(ANSWER_MAX, client.open(ReceiverStream::new(receiver))).await;
    let mut answers = opened
        .map_err(|_| "no answer".to_owned())?
        .map_err(|status| format!("{status:?}"))?
        .into_inner();
    let first = next(&mut answers).await?;
    Ok(Held { first, calls, answers })
}

async fn next(answers: &mut Streaming<proto::ToGateway>) -> Result<proto::ToGateway, String> {
    match timeout(ANSWER_MAX, answers.message()).await {
        Err(_) => Err("no answer".to_owned()),
        Ok(Err(status)) => Err(format!("{status:?}")),
        Ok(Ok(None)) => Err("the session ended".to_owned()),
        Ok(Ok(Some(frame))) => Ok(frame),
    }
}

impl Held {
    /// Sends a frame, and gives the first answer to a call.
    pub(crate) async fn call(&mut self, call: proto::Call) -> Result<proto::Reply, String> {
        let frame = proto::ToShard { hello: None, calls: vec![call] };
        self.calls.send(frame).await.map_err(|_| "the session ended".to_owned())?;
        loop {
            let frame = next(&mut self.answers).await?;
            if let Some(goodbye) = frame.goodbye {
                return Err(goodbye.reason);
            }
            if let Some(reply) = frame.replies.into_iter().next() {
                return Ok(reply);
            }
        }
    }

    /// Waits until the shard ends the session, and says how.
    pub(crate) async fn ended(mut self) -> String {
        loop {
            match next(&mut self.answers).await {
                Err(how) => return how,
                Ok(frame) => {
                    if let Some(goodbye) = frame.goodbye {
                        return goodbye.reason;
                    }
                }
            }
        }
    }
}

// === a fake shard ===

/// Something that takes a shard's place on its port. It counts the sessions that it was offered.
pub(crate) struct Fake {
    offered: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

struct Takes(Arc<AtomicUsize>);

#[tonic::async_trait]
impl Session for Takes {
    type OpenStream = ReceiverStream<Result<proto::ToGateway, Status>>;

    async fn open(
        &self,
        _request: Request<Streaming<proto::ToShard>>,
    ) -> Result<Response<Self::OpenStream>, Status> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let (_, receiver) = mpsc::channel(1);
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

impl Fake {
    /// Listens with that certificate. It asks nobody who they are.
    pub(crate) fn start(port: u16, (chain, key): &Pair) -> Self {
        let offered = Arc::new(AtomicUsize::new(0));
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(chain, key));
        let mut server = Server::builder().tls_config(tls).expect("a certificate");
        let router = server.add_service(SessionServer::new(Takes(Arc::clone(&offered))));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let server = tokio::spawn(async move {
            router.serve(address).await.expect("the port is free");
        });
        Self { offered, server }
    }

    /// How many sessions it was offered so far.
    pub(crate) fn offered(&self) -> usize {
        self.offered.load(Ordering::Relaxed)
    }

    /// Ends it, and frees its port.
    pub(crate) async fn stop(self) -> usize {
        self.server.abort();
        self.server.await.ok();
        self.offered.load(Ordering::Relaxed)
    }
}
