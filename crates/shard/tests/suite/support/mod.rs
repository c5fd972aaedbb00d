//! A real shard on a temporary folder, and a gateway's end of a real session to it.

#![allow(
    dead_code,
    unused_imports,
    clippy::allow_attributes,
    reason = "each test file uses its own part"
)]
#![expect(clippy::panic, reason = "a test that cannot go on fails")]

pub(crate) mod auditor;
pub(crate) mod pki;
mod requests;
pub(crate) mod secure_shard;
pub(crate) mod store;
pub(crate) mod stored;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use atlas::{Annex, RegionMap};
use engine::{Backend, Disk, Embedded};
use link::host::clock::{SystemClock, SystemEntropy};
use link::ops::health::Health;
use link::ops::metrics::Registry;
use link::tls::Tls;
use shard::{
    AuditorEntrance, Auditors, Environment, Error, KeyringSource, LogSettings, Settings, Shard,
};
use terms::{Clock, RegionId, ShardId, UnixMillis};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use wire::session as proto;
use wire::session::session_client::SessionClient;

pub(crate) use requests::{delete, findings, get, put_ru, request_id};
pub(crate) use store::{Database, Stand, copy_folder};

/// Time in which a shard that has ended lets go of its store.
const LOCKED_MAX: Duration = Duration::from_secs(60);

pub(crate) const MAP: &str = include_str!("../../../../../tests/evidence/map.toml");
pub(crate) const TENANT: &str = "sample";

/// Where a shard lives; it outlives the shard.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) region: &'static str,
    /// Of the store in its folder.
    pub(crate) engine: engine::Kind,
    /// In place of that folder: a database, which is made when it is first used.
    pub(crate) database: Option<OnceLock<Database>>,
    /// In place of the folder of the store: the engine in memory, which fails when told to.
    pub(crate) disk: Option<Disk>,
    pub(crate) map: String,
    pub(crate) annex: String,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A clock that tests set.
pub(crate) struct SetClock(pub(crate) AtomicU64);

impl Clock for SetClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::Relaxed))
    }
}

impl SetClock {
    /// Sets the clock of a shard at `place`, as an operator confirms it: before, so that no look at
    /// the clock comes in between.
    pub(crate) fn set(&self, place: &Place, time: u64) {
        let confirmed = SetClock(AtomicU64::new(time));
        shard::confirm_clock(&place.settings(), &confirmed).expect("a clock can be confirmed");
        self.0.store(time, Ordering::Relaxed);
    }
}

impl Place {
    pub(crate) fn new(region: &'static str) -> Self {
        Self::in_folder(region, tempfile::tempdir().expect("a temporary folder"))
    }

    /// On the disk of `parent`, for benches: temporary folders may lie in memory.
    pub(crate) fn new_in(region: &'static str, parent: &str) -> Self {
        Self::in_folder(region, tempfile::tempdir_in(parent).expect("a temporary folder"))
    }

    fn in_folder(region: &'static str, folder: tempfile::TempDir) -> Self {
        let annex = format!(
            "region = \"{region}\"\n[[shards]]\nname = \"s1\"\naddress = \"http://127.0.0.1:1\"\nslots = \"0-1023\"\n"
        );
        Self {
            folder,
            region,
            engine: engine::Kind::Sled,
            database: store::postgres_alone().then(OnceLock::new),
            disk: None,
            map: MAP.to_owned(),
            annex,
            clock: Arc::new(SystemClock),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            region: RegionId::parse(self.region).expect("a region"),
            shard: ShardId::parse("s1").expect("a shard"),
            anchor: self.path("anchor"),
            keys: self.path("keys"),
            token: None,
            disk_reserve_bytes: 1 << 20,
            beat: Duration::from_millis(20),
            signers: None,
            map_note: String::new(),
            log: LogSettings::default(),
        }
    }

    pub(crate) fn map(&self) -> RegionMap {
        RegionMap::parse(&self.map).expect("a valid map")
    }

    /// Where the store lies: on the disk in memory, if there is one, or in the database.
    pub(crate) fn store(&self) -> Arc<dyn Backend> {
        if let Some(disk) = &self.disk {
            return Arc::new(disk.clone());
        }
        if let Some(store) = self.in_database() {
            return store;
        }
        let options = engine::Options { cache_bytes: 16 << 20 };
        Arc::new(Embedded { kind: self.engine, folder: self.path("data"), options })
    }

    pub(crate) fn outside(&self) -> Environment {
        Environment {
            store: self.store(),
            clock: Arc::clone(&self.clock),
            entropy: Arc::new(SystemEntropy),
            cipher: &shard::AesGcm,
        }
    }

    pub(crate) async fn open(&self) -> Result<Shard, Error> {
        self.open_as(self.settings()).await
    }

    /// Opens it, and makes it before if nothing of it is there.
    pub(crate) async fn open_as(&self, settings: Settings) -> Result<Shard, Error> {
        if settings.nothing_there(&*self.store())? {
            self.init_as(&settings)?;
        }
        self.open_made(settings).await
    }

    /// Makes it.
    pub(crate) fn init_as(&self, settings: &Settings) -> Result<shard::Initialised, Error> {
        self.init_with(settings, &KeyringSource::Folder)
    }

    /// Makes it with that keyring.
    pub(crate) fn init_with(
        &self,
        settings: &Settings,
        keyring: &KeyringSource,
    ) -> Result<shard::Initialised, Error> {
        let map = self.map();
        let annex = Annex::parse(&self.annex, &map).expect("a valid annex");
        shard::init(settings, &map, &annex, &self.outside(), keyring)
    }

    /// Opens it as it is.
    pub(crate) async fn open_made(&self, settings: Settings) -> Result<Shard, Error> {
        self.open_watched(settings, &mut Registry::new(), Health::new()).await
    }

    /// The same, with its metrics and its page in the test's hands.
    pub(crate) async fn open_watched(
        &self,
        settings: Settings,
        registry: &mut Registry,
        health: Health,
    ) -> Result<Shard, Error> {
        let map = Arc::new(self.map());
        let annex = Annex::parse(&self.annex, &map).expect("a valid annex");
        // In one process, tasks of the shard before may hold its store for a moment after it ended.
        let until = tokio::time::Instant::now() + LOCKED_MAX;
        loop {
            let (settings, map, annex) = (settings.clone(), Arc::clone(&map), annex.clone());
            let (outside, health) = (self.outside(), health.clone());
            match Shard::open(settings, map, annex, outside, registry, health).await {
                Err(Error::Engine(engine::Error::Locked { .. }))
                    if tokio::time::Instant::now() < until =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                opened => return opened,
            }
        }
    }

    pub(crate) fn recover(&self) -> Result<shard::Recovered, Error> {
        self.recover_as(&self.settings(), &shard::Erasures::Known(Vec::new()))
    }

    pub(crate) fn recover_as(
        &self,
        settings: &Settings,
        erasures: &shard::Erasures,
    ) -> Result<shard::Recovered, Error> {
        let map = self.map();
        let annex = Annex::parse(&self.annex, &map).expect("a valid annex");
        shard::recover(settings, &map, &annex, &self.outside(), erasures)
    }

    pub(crate) async fn start(&self) -> Running {
        Running::serve(self.open().await.expect("the shard opens"), self.region).await
    }
}

/// Does what opens a store whose shard has just ended: in one process, its tasks may hold the store for
/// a moment more.
pub(crate) async fn unlocked<T>(mut work: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let until = tokio::time::Instant::now() + LOCKED_MAX;
    loop {
        match work() {
            Err(Error::Engine(engine::Error::Locked { .. }))
                if tokio::time::Instant::now() < until =>
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            done => return done,
        }
    }
}

/// A shard that serves, and a session to it.
pub(crate) struct Running {
    pub(crate) region: &'static str,
    pub(crate) port: u16,
    pub(crate) audit_port: u16,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), Error>>,
}

impl Running {
    pub(crate) async fn serve(shard: Shard, region: &'static str) -> Self {
        Self::serve_with(shard, region, None).await
    }

    pub(crate) async fn serve_with(shard: Shard, region: &'static str, tls: Option<Tls>) -> Self {
        let listener = link::net::listener::bind(([127, 0, 0, 1], 0).into());
        Self::serve_on(shard, region, tls, listener.await.expect("a free port")).await
    }

    /// On a listener that is there already.
    pub(crate) async fn serve_on(
        shard: Shard,
        region: &'static str,
        tls: Option<Tls>,
        listener: tokio::net::TcpListener,
    ) -> Self {
        let port = listener.local_addr().expect("an address").port();
        let (stop, stopped) = oneshot::channel::<()>();
        let auditors = link::net::listener::bind("127.0.0.1:0".parse().expect("an address"));
        let auditors = auditors.await.expect("a free port");
        let audit_port = auditors.local_addr().expect("an address").port();
        let auditors = Auditors { listener: auditors, entrance: AuditorEntrance::Loopback };
        let served = tokio::spawn(shard.serve(listener, tls, Some(auditors), async {
            let _stopped = stopped.await;
        }));
        Self { region, port, audit_port, stop, served }
    }

    pub(crate) async fn stop(self) -> Result<(), Error> {
        self.stop.send(()).expect("the shard still runs");
        self.served.await.expect("no panic")
    }

    /// Stops it when that is told; or waits until it has ended by itself.
    pub(crate) async fn until(
        self,
        mut told: tokio::sync::watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let Self { stop, mut served, .. } = self;
        tokio::select! {
            ended = &mut served => return ended.expect("no panic"),
            _told = told.wait_for(|told| *told) => {}
        }
        stop.send(()).ok();
        served.await.expect("no panic")
    }

    pub(crate) async fn wait(self) -> Result<(), Error> {
        self.served.await.expect("no panic")
    }

    pub(crate) fn hello(&self) -> proto::Hello {
        proto::Hello {
            protocol: link::session::PROTOCOL,
            deployment: "sample".into(),
            region: self.region.into(),
            shard: "s1".into(),
            gateway: "test".into(),
            map_epoch: 0,
            map_digest: vec![].into(),
            ..Default::default()
        }
    }

    pub(crate) async fn session(&self) -> Session {
        let (session, first) = self.session_as(self.hello()).await;
        assert!(first.welcome.is_some(), "the session is refused");
        session
    }

    pub(crate) async fn session_as(&self, hello: proto::Hello) -> (Session, proto::ToGateway) {
        let url = format!("http://127.0.0.1:{}", self.port);
        let client = SessionClient::connect(url).await.expect("the shard listens");
        open(client, hello).await.expect("a session")
    }
}

/// Opens a session, and waits for the shard's first word.
pub(crate) async fn open(
    client: SessionClient<Channel>,
    hello: proto::Hello,
) -> Option<(Session, proto::ToGateway)> {
    let mut client = client.max_decoding_message_size(link::session::MESSAGE_BYTES_MAX);
    let (calls, receiver) = mpsc::channel(64);
    calls.send(proto::ToShard { hello: Some(hello), calls: vec![] }).await.expect("open");
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = client.open(stream).await.ok()?.into_inner();
    let first = answers.message().await.ok()??;
    let session =
        Session { calls, answers, role: None, territory: None, next: 1, waiting: Vec::new() };
    Some((session, first))
}

/// A gateway's end of a session, one call at a time or many.
pub(crate) struct Session {
    pub(crate) calls: mpsc::Sender<proto::ToShard>,
    pub(crate) answers: tonic::Streaming<proto::ToGateway>,
    /// In place of the role that goes with each call.
    pub(crate) role: Option<&'static str>,
    /// Where the caller stands; `None`: beside the gateway.
    pub(crate) territory: Option<&'static str>,
    next: u64,
    waiting: Vec<proto::Reply>,
}

pub(crate) type Answer = Result<proto::reply::Outcome, proto::Fault>;

impl Session {
    pub(crate) fn wrap(&mut self, op: proto::call::Op) -> proto::Call {
        let id = self.next;
        self.next += 1;
        let reads = matches!(op, proto::call::Op::Get(_) | proto::call::Op::List(_));
        let role = if reads { "reader" } else { "writer" };
        let caller = proto::Caller {
            name: "test".into(),
            role: self.role.unwrap_or(role).into(),
            territory: self.territory.unwrap_or_default().into(),
            beside_gateway: self.territory.is_none(),
        };
        proto::Call {
            id,
            deadline_ms: 60_000,
            tenant: TENANT.into(),
            caller: Some(caller),
            op: Some(op),
            ..Default::default()
        }
    }

    pub(crate) async fn send(&mut self, calls: Vec<proto::Call>) {
        self.calls.send(proto::ToShard { hello: None, calls }).await.expect("the session is open");
    }

    /// The answer to call `id`; `None` if the session ends before.
    pub(crate) async fn answer(&mut self, id: u64) -> Option<Answer> {
        loop {
            if let Some(at) = self.waiting.iter().position(|reply| reply.id == id) {
                let reply = self.waiting.swap_remove(at);
                let outcome = reply.outcome.expect("an outcome");
                return Some(if let proto::reply::Outcome::Fault(fault) = outcome {
                    Err(fault)
                } else {
                    Ok(outcome)
                });
            }
            match self.answers.message().await {
                Ok(Some(frame)) => self.waiting.extend(frame.replies),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    pub(crate) async fn call(&mut self, op: proto::call::Op) -> Answer {
        let call = self.wrap(op);
        let id = call.id;
        self.send(vec![call]).await;
        tokio::time::timeout(Duration::from_secs(90), self.answer(id))
            .await
            .expect("an answer in time")
            .expect("the session is open")
    }

    pub(crate) async fn put(&mut self, put: proto::Put) -> Result<proto::Written, String> {
        written(self.call(proto::call::Op::Put(put)).await)
    }

    pub(crate) async fn delete(&mut self, delete: proto::Delete) -> Result<proto::Written, String> {
        written(self.call(proto::call::Op::Delete(delete)).await)
    }

    pub(crate) async fn touch(&mut self, touch: proto::Touch) -> Result<proto::Written, String> {
        written(self.call(proto::call::Op::Touch(touch)).await)
    }

    pub(crate) async fn patch(&mut self, patch: proto::Patch) -> Result<proto::Written, String> {
        written(self.call(proto::call::Op::Patch(patch)).await)
    }

    pub(crate) async fn create(&mut self, create: proto::Create) -> Result<proto::Written, String> {
        written(self.call(proto::call::Op::Create(create)).await)
    }

    pub(crate) async fn list(&mut self, list: proto::List) -> Result<proto::Listed, proto::Fault> {
        let proto::reply::Outcome::Listed(listed) = self.call(proto::call::Op::List(list)).await?
        else {
            panic!("a list is answered with what was listed");
        };
        Ok(listed)
    }

    pub(crate) async fn get(
        &mut self,
        subject: &str,
        of: &str,
        key: &str,
    ) -> Result<proto::Found, String> {
        let get = proto::Get {
            subject: subject.into(),
            collection: of.into(),
            key: key.into(),
            purpose: "a test".into(),
            ..Default::default()
        };
        match self.call(proto::call::Op::Get(get)).await {
            Ok(proto::reply::Outcome::Found(found)) => Ok(found),
            Ok(_) => panic!("a get is answered with what was found"),
            Err(fault) => Err(fault.reason),
        }
    }
}

fn written(answer: Answer) -> Result<proto::Written, String> {
    match answer {
        Ok(proto::reply::Outcome::Written(written)) => Ok(written),
        Ok(_) => panic!("a write is answered with what was written"),
        Err(fault) => Err(fault.reason),
    }
}
