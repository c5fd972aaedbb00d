//! A gateway under the sample map, and shards that speak the session protocol and otherwise do
//! nothing by themselves.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atlas::{Annex, Country, RegionMap};
use evidence::Sources;
use ledger::entry::Role;
use link::host::clock::{SystemClock, SystemEntropy};
use link::ops::health::Health;
use link::ops::metrics::{Counter, Registry};
use link::session::PROTOCOL;
use prost::Message as _;
use terms::{Entropy, Reason, TenantId};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};
use tonic_types::{StatusExt as _, pb};
use wire::session as proto;
use wire::session::session_server::{self, SessionServer};
use wire::v1;
use wire::v1::records_client::RecordsClient;

use crate::api::context::{Admitted, CallContext};
use crate::auth::caller::Acting;
use crate::shards::metrics::SessionMetrics;
use crate::{
    Caller, CallerLocation, Callers, Error, Gateway, HttpApis, Scope, Settings, TenantLimit,
    TenantLimits,
};

pub(crate) const MAP: &str = include_str!("../../../../tests/evidence/map.toml");
/// The tenants of the sample map, and another one.
pub(crate) const TWO_TENANTS: &str =
    "[[tenants]]\nname = \"other\"\n\n[[tenants]]\nname = \"sample\"\n";
/// An address at which no process listens.
pub(super) const UNUSED_ADDRESS: &str = "http://127.0.0.1:1";
/// Longer than anything here takes, shorter than a person waits.
const PATIENCE: Duration = Duration::from_secs(20);

// === shards ===

/// One session, in the hands of a test.
pub(super) struct Conn {
    pub(super) hello: proto::Hello,
    pub(super) calls: mpsc::UnboundedReceiver<proto::Call>,
    pub(super) out: mpsc::Sender<Result<proto::ToGateway, Status>>,
}

/// A shard that welcomes as `welcome` says and leaves the rest to the test.
pub(super) struct Shard {
    pub(super) address: String,
    spoiled: Arc<Mutex<VecDeque<Option<Spoiled>>>>,
    conns: mpsc::UnboundedReceiver<Conn>,
    server: JoinHandle<()>,
}

/// How an attempt at a session ends before there is one.
pub(super) enum Spoiled {
    Headers(Status),
    Trailers(Status),
}

struct Service {
    welcome: proto::Welcome,
    spoiled: Arc<Mutex<VecDeque<Option<Spoiled>>>>,
    conns: mpsc::UnboundedSender<Conn>,
}

#[tonic::async_trait]
impl session_server::Session for Service {
    type OpenStream = ReceiverStream<Result<proto::ToGateway, Status>>;

    async fn open(
        &self,
        request: Request<Streaming<proto::ToShard>>,
    ) -> Result<Response<Self::OpenStream>, Status> {
        let spoiled = self.spoiled.lock().unwrap().pop_front().flatten();
        match spoiled {
            Some(Spoiled::Headers(status)) => return Err(status),
            Some(Spoiled::Trailers(status)) => {
                let (out, receiver) = mpsc::channel(1);
                out.send(Err(status)).await.expect("room");
                return Ok(Response::new(ReceiverStream::new(receiver)));
            }
            None => {}
        }
        let mut frames = request.into_inner();
        let hello = frames.message().await?.and_then(|frame| frame.hello).expect("a hello");
        assert_eq!(hello.protocol, PROTOCOL);
        let (out, receiver) = mpsc::channel(4096);
        let welcome =
            proto::ToGateway { welcome: Some(self.welcome.clone()), ..Default::default() };
        out.send(Ok(welcome)).await.expect("room");
        let (sender, calls) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(frame)) = frames.message().await {
                for call in frame.calls {
                    sender.send(call).ok();
                }
            }
        });
        self.conns.send(Conn { hello, calls, out }).ok();
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

pub(super) fn welcome(region: &str, territory: &str) -> proto::Welcome {
    proto::Welcome {
        region: region.to_owned(),
        shard: "s1".to_owned(),
        territory: territory.to_owned(),
        origin: format!("sample/{region}/s1/1"),
        ..Default::default()
    }
}

impl Shard {
    pub(super) async fn start(welcome: proto::Welcome) -> Self {
        let listener = link::net::listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (sender, conns) = mpsc::unbounded_channel();
        let spoiled = Arc::default();
        let service = Service { welcome, spoiled: Arc::clone(&spoiled), conns: sender };
        let service =
            SessionServer::new(service).max_decoding_message_size(link::session::MESSAGE_BYTES_MAX);
        let server = tokio::spawn(async move {
            let incoming = link::net::listener::incoming(listener);
            let mut server = link::session::server(Server::builder(), Counter::default());
            let server = server.add_service(service);
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self { address, spoiled, conns, server }
    }

    /// Spoils the next attempts at a session; `None` leaves one as it is.
    pub(super) fn spoil(&self, spoiled: impl IntoIterator<Item = Option<Spoiled>>) {
        self.spoiled.lock().unwrap().extend(spoiled);
    }

    /// The next session that a gateway opens.
    pub(super) async fn conn(&mut self) -> Conn {
        within(self.conns.recv()).await.expect("a session")
    }

    /// Takes no new connections.
    pub(super) fn stop(&self) {
        self.server.abort();
    }
}

impl Conn {
    pub(super) async fn call(&mut self) -> proto::Call {
        within(self.calls.recv()).await.expect("a call")
    }

    pub(super) async fn reply(&self, id: u64, outcome: proto::reply::Outcome) {
        let reply = proto::Reply { id, outcome: Some(outcome) };
        let frame = proto::ToGateway { replies: vec![reply], ..Default::default() };
        self.out.send(Ok(frame)).await.expect("an open session");
    }

    pub(super) async fn written(&self, id: u64) {
        self.reply(id, proto::reply::Outcome::Written(a_write())).await;
    }

    /// Answers the next call, a write.
    pub(super) async fn accept(&mut self) -> proto::Call {
        let call = self.call().await;
        self.written(call.id).await;
        call
    }

    pub(super) async fn goodbye(&self) {
        let rejection = link::session::to_wire(&terms::Rejection::new(Reason::ShuttingDown));
        let frame = proto::ToGateway { goodbye: Some(rejection), ..Default::default() };
        self.out.send(Ok(frame)).await.expect("an open session");
    }

    pub(super) async fn dial_again(&self) {
        let frame = proto::ToGateway { dial_again: true, ..Default::default() };
        self.out.send(Ok(frame)).await.expect("an open session");
    }

    /// Ends the session by an error.
    pub(super) async fn break_off(self) {
        self.out.send(Err(Status::internal("as the test wants it"))).await.ok();
    }
}

pub(super) fn a_write() -> proto::Written {
    proto::Written {
        version: 3,
        etag: "\"e3\"".to_owned(),
        index: 41,
        entry: "entry".into(),
        opening: "opening".into(),
        statement: "statement".into(),
        ..Default::default()
    }
}

// === the gateway ===

pub(super) struct Rig {
    pub(super) ctx: Arc<CallContext>,
    pub(super) session_metrics: Arc<SessionMetrics>,
    pub(super) health: Health,
    pub(super) addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    pub(super) served: JoinHandle<Result<(), Error>>,
}

pub(crate) fn caller() -> Caller {
    Caller {
        tenant: TenantId::parse("sample").unwrap(),
        name: "signup".to_owned(),
        roles: vec![Role::Writer, Role::Reader],
        location: CallerLocation::In(Country::parse("DE").unwrap()),
        collections: Scope::All,
        regions: Scope::All,
    }
}

/// A plaintext gateway's, with the one caller.
pub(super) fn settings() -> Settings {
    Settings {
        name: "gw-1".to_owned(),
        callers: Callers::Fixed(caller()),
        // More than one stream holds: what these tests bound is the stream.
        limits: TenantLimits {
            usual: TenantLimit { calls_in_flight: Some(4_096), ..TenantLimit::default() },
            ..TenantLimits::default()
        },
        signers: None,
        tls: None,
        listener: None,
        apis: HttpApis::default(),
        in_flight_max: 64,
    }
}

/// A caller that may write.
pub(super) fn admitted(ctx: &CallContext, caller: Caller) -> Admitted {
    let permit = ctx.limits.admit(&caller.tenant).unwrap();
    Admitted { acting: Acting { caller: Arc::new(caller), role: Role::Writer }, permit }
}

pub(crate) fn caller_named(name: &str) -> Caller {
    Caller { name: name.to_owned(), ..caller() }
}

/// The context of a gateway whose shards are out of reach.
pub(crate) fn context() -> Arc<CallContext> {
    context_with(map(), Callers::Fixed(caller()))
}

/// The same under that map, with these callers.
pub(crate) fn context_with(map: Arc<RegionMap>, callers: Callers) -> Arc<CallContext> {
    let settings =
        Settings { callers, limits: TenantLimits::default(), in_flight_max: 8, ..settings() };
    let gateway = gateway_of(map, &[], settings, Health::new(), Arc::new(SystemEntropy));
    gateway.ctx
}

pub(crate) fn map() -> Arc<RegionMap> {
    Arc::new(RegionMap::parse(MAP).unwrap())
}

/// The sample map with other tenants.
pub(crate) fn map_with(tenants: &str) -> RegionMap {
    RegionMap::parse(&MAP.replace("[[tenants]]\nname = \"sample\"\n", tenants)).unwrap()
}

pub(super) fn annex(map: &RegionMap, region: &str, address: &str) -> Annex {
    let text = format!(
        "region = \"{region}\"\n[[shards]]\nname = \"s1\"\naddress = \"{address}\"\nslots = [\"0-1023\"]\n"
    );
    Annex::parse(&text, map).unwrap()
}

/// A gateway whose regions lie at these addresses, the others nowhere.
pub(super) fn gateway(at: &[(&str, &str)], in_flight_max: usize, health: Health) -> Gateway {
    let settings = Settings { in_flight_max, ..settings() };
    gateway_with(at, settings, health, Arc::new(SystemEntropy))
}

/// The same with these settings, and this randomness.
pub(super) fn gateway_with(
    at: &[(&str, &str)],
    settings: Settings,
    health: Health,
    entropy: Arc<dyn Entropy>,
) -> Gateway {
    gateway_of(map(), at, settings, health, entropy)
}

fn gateway_of(
    map: Arc<RegionMap>,
    at: &[(&str, &str)],
    settings: Settings,
    health: Health,
    entropy: Arc<dyn Entropy>,
) -> Gateway {
    let address = |region: &str| {
        at.iter().find(|(name, _)| *name == region).map_or(UNUSED_ADDRESS, |(_, address)| *address)
    };
    let annexes = map
        .regions()
        .iter()
        .map(|r| annex(&map, r.name().as_str(), address(r.name().as_str())))
        .collect();
    let (sources, clock) = (Sources::new(None).unwrap(), Arc::new(SystemClock));
    let mut registry = Registry::new();
    Gateway::new(settings, map, annexes, sources, clock, entropy, &mut registry, health).unwrap()
}

impl Rig {
    pub(super) async fn start(at: &[(&str, &str)]) -> Self {
        Self::with(at, 64).await
    }

    pub(super) async fn with(at: &[(&str, &str)], in_flight_max: usize) -> Self {
        Self::of(gateway(at, in_flight_max, Health::new())).await
    }

    pub(super) async fn of(gateway: Gateway) -> Self {
        let health = gateway.health.clone();
        let (ctx, session_metrics) =
            (Arc::clone(&gateway.ctx), Arc::clone(&gateway.session_metrics));
        let listener: TcpListener =
            link::net::listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(gateway.serve(listener, async {
            stopped.await.ok();
        }));
        Self { ctx, session_metrics, health, addr, stop: Some(stop), served }
    }

    /// A shard of that region, and a gateway that has its session.
    pub(super) async fn with_shard(region: &str, territory: &str) -> (Self, Shard, Conn) {
        let mut shard = Shard::start(welcome(region, territory)).await;
        let rig = Self::start(&[(region, &shard.address)]).await;
        let conn = shard.conn().await;
        rig.until_up(region).await;
        (rig, shard, conn)
    }

    pub(super) async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.addr)).unwrap().connect().await.unwrap()
    }

    pub(super) async fn client(&self) -> RecordsClient<Channel> {
        RecordsClient::new(self.channel().await)
    }

    /// Waits until calls to that region find a session.
    pub(super) async fn until_up(&self, region: &str) {
        self.until(region, true).await;
    }

    pub(super) async fn until(&self, region: &str, up: bool) {
        let session = self
            .ctx
            .map
            .pin()
            .sessions()
            .find(|session| session.target.region.as_str() == region)
            .map(Arc::clone)
            .unwrap();
        within(async {
            while session.is_up() != up {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    pub(super) fn shut_down(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Waits until no call is in flight.
    pub(super) async fn until_idle(&self) {
        within(async {
            while self.ctx.metrics.in_flight.get() != 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }
}

// === requests ===

pub(super) fn request_id(n: u128) -> String {
    terms::RequestId::from_bytes(n.to_be_bytes()).to_string()
}

pub(super) fn evidence(kind: v1::EvidenceKind, value: &str) -> v1::Evidence {
    v1::Evidence { kind: kind.into(), value: value.to_owned(), observe_time: None }
}

/// A put that the rules send to that country's region.
pub(super) fn put_from(country: &str) -> v1::PutRecordRequest {
    v1::PutRecordRequest {
        subject: Some(v1::SubjectRef { id: "p-1".to_owned(), domicile: String::new() }),
        collection: "profiles".to_owned(),
        key: "main".to_owned(),
        body: "hello".into(),
        request_id: request_id(1),
        create_subject: true,
        evidence: vec![
            evidence(v1::EvidenceKind::Residence, country),
            evidence(v1::EvidenceKind::Citizenship, country),
        ],
        ..Default::default()
    }
}

pub(super) fn get_in(region: &str) -> v1::GetRecordRequest {
    v1::GetRecordRequest {
        subject: Some(v1::SubjectRef { id: "p-1".to_owned(), domicile: region.to_owned() }),
        collection: "profiles".to_owned(),
        key: "main".to_owned(),
        ..Default::default()
    }
}

// === answers ===

/// The reason in a status, which must be the only one.
pub(super) fn reason(status: &Status) -> Reason {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "bailiwick.v1");
    assert_eq!(info.metadata["call_id"].len(), 32);
    Reason::parse(&info.reason).expect("a reason of ours")
}

/// The same of an item of a stream or a batch.
pub(super) fn item_reason(status: &pb::Status) -> String {
    let info = status.details.iter().find(|any| any.type_url.ends_with("ErrorInfo"));
    let info = pb::ErrorInfo::decode(&*info.expect("an ErrorInfo").value).unwrap();
    assert_eq!((info.domain.as_str(), info.metadata["call_id"].len()), ("bailiwick.v1", 32));
    info.reason
}

pub(super) fn refused<T>(answer: Result<T, Status>) -> Status {
    match answer {
        Ok(_) => panic!("it was done"),
        Err(status) => status,
    }
}

/// What the future gives, if it does so before a person would lose patience.
pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing happened for too long")
}
