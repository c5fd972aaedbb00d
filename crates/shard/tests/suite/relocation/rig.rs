//! Two regions whose shards crash and start again, and a link between them that is cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use atlas::Annex;
use engine::Disk;
use ledger::entry::{Entry, Kind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use wire::session::session_client::SessionClient;
use wire::session::{self as proto, call::Op, moves::Of, reply::Outcome};
use wire::v1::OperationState;

use crate::support::{Answer, Place, Running, open, request_id, stored};

pub(crate) const REGIONS: [&str; 2] = ["ru-msk", "eu-fra"];
/// Time in which whatever is waited for must come about.
const WITHIN: Duration = Duration::from_secs(120);

/// Numbers from a seed (splitmix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Where a shard listens just now, and a link to it that may be cut.
pub(crate) struct Link {
    pub(crate) target: Arc<AtomicU16>,
    /// Bytes that the next connections carry before they break. 0: no connection breaks.
    pub(crate) cut_after: Arc<AtomicU64>,
    held: Arc<Held>,
    pub(crate) port: u16,
}

/// Bytes that each connection takes before it is held until it is let go. It counts them all.
pub(crate) struct Held {
    after: watch::Sender<u64>,
    carried: AtomicU64,
}

impl Link {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (target, cut_after) = (Arc::new(AtomicU16::new(0)), Arc::new(AtomicU64::new(0)));
        let held = Held { after: watch::Sender::new(u64::MAX), carried: AtomicU64::new(0) };
        let held = Arc::new(held);
        let (to, cut, hold) = (Arc::clone(&target), Arc::clone(&cut_after), Arc::clone(&held));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let to = SocketAddr::from(([127, 0, 0, 1], to.load(Ordering::Acquire)));
                let bytes = cut.load(Ordering::Acquire);
                tokio::spawn(carry(near, to, bytes, Arc::clone(&hold)));
            }
        });
        Self { target, cut_after, held, port }
    }
}

/// Carries a connection, until it has carried so many bytes.
async fn carry(near: TcpStream, to: SocketAddr, cut_after: u64, held: Arc<Held>) {
    let Ok(far) = TcpStream::connect(to).await else { return };
    let ((mut a, mut b), (mut c, mut d)) = (near.into_split(), far.into_split());
    let mut left = if cut_after == 0 { u64::MAX } else { cut_after };
    let (mut there, mut back) = (vec![0; 4096], vec![0; 4096]);
    let (mut carried, mut after) = (0, held.after.subscribe());
    loop {
        if after.wait_for(|after| carried < *after).await.is_err() {
            return;
        }
        let done = tokio::select! {
            read = a.read(&mut there) => match read {
                Ok(n @ 1..) => d.write_all(&there[..n]).await.map(|()| n),
                _ => return,
            },
            read = c.read(&mut back) => match read {
                Ok(n @ 1..) => b.write_all(&back[..n]).await.map(|()| n),
                _ => return,
            },
        };
        let Ok(n) = done else { return };
        carried += n as u64;
        held.carried.fetch_add(n as u64, Ordering::Relaxed);
        left = left.saturating_sub(n as u64);
        if left == 0 {
            return;
        }
    }
}

/// A region's shard, which is started again whenever it ends.
pub(crate) struct Region {
    pub(crate) place: Arc<Place>,
    pub(crate) disk: Disk,
    port: Arc<AtomicU16>,
    stop: watch::Sender<bool>,
    kept: JoinHandle<u64>,
    cut_after: Arc<AtomicU64>,
    held: Arc<Held>,
}

/// Both regions.
pub(crate) struct Rig {
    pub(crate) regions: Vec<Region>,
    next: AtomicU64,
}

/// What a call came to: an answer, or none.
pub(crate) type Told = Option<Answer>;

impl Rig {
    pub(crate) async fn new(seed: u64) -> Self {
        Self::with(seed, |_| {}).await
    }

    /// With the places changed before they are made.
    pub(crate) async fn with(seed: u64, change: impl Fn(&mut Place)) -> Self {
        Self::between(REGIONS, seed, change).await
    }

    /// The same of two other regions.
    pub(crate) async fn between(
        regions: [&'static str; 2],
        seed: u64,
        change: impl Fn(&mut Place),
    ) -> Self {
        let links = [Link::new().await, Link::new().await];
        let mut places = Vec::new();
        for (n, region) in (0..).zip(regions) {
            let mut place = Place::new(region);
            let disk = Disk::new(seed.wrapping_mul(2).wrapping_add(n));
            place.disk = Some(disk.clone());
            change(&mut place);
            place.init_as(&place.settings()).unwrap();
            places.push((Arc::new(place), disk));
        }
        let annexes: Vec<Annex> = places
            .iter()
            .zip(&links)
            .map(|((place, _), link)| {
                let address = format!("http://127.0.0.1:{}", link.port);
                let text = place.annex.replace("http://127.0.0.1:1", &address);
                Annex::parse(&text, &place.map()).unwrap()
            })
            .collect();
        let mut regions = Vec::new();
        for ((place, disk), link) in places.into_iter().zip(links) {
            let Link { target: port, cut_after, held, .. } = link;
            let (stop, stopped) = watch::channel(false);
            let keep = keep(Arc::clone(&place), Arc::clone(&port), annexes.clone(), stopped);
            let kept = tokio::spawn(keep);
            regions.push(Region { place, disk, port, stop, kept, cut_after, held });
        }
        let rig = Self { regions, next: AtomicU64::new(1 << 32) };
        for at in 0..2 {
            rig.serves(at).await;
        }
        rig
    }

    /// Waits until a region's shard answers.
    async fn serves(&self, at: usize) {
        let asked = async {
            while self.moves(at, Of::All(true)).await.is_none() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(WITHIN, asked).await.expect("the shard answers");
    }

    /// One call over a session of its own. None: there is no shard, or it ends before it answers.
    pub(crate) async fn call(&self, at: usize, op: Op) -> Told {
        self.call_from(at, op, None).await
    }

    /// The same of a caller who stands there. None: next to the gateway.
    pub(crate) async fn call_from(
        &self,
        at: usize,
        op: Op,
        territory: Option<&'static str>,
    ) -> Told {
        self.call_as(at, op, territory, None).await
    }

    /// The same of a caller in that role. None: a writer.
    pub(crate) async fn call_as(
        &self,
        at: usize,
        op: Op,
        territory: Option<&'static str>,
        role: Option<&'static str>,
    ) -> Told {
        let port = self.regions[at].port.load(Ordering::Acquire);
        let client = SessionClient::connect(format!("http://127.0.0.1:{port}")).await.ok()?;
        let hello = proto::Hello {
            protocol: link::session::PROTOCOL,
            deployment: "sample".into(),
            region: self.regions[at].place.region.into(),
            shard: "s1".into(),
            gateway: "test".into(),
            ..Default::default()
        };
        let (mut session, first) = timeout(WITHIN, open(client, hello)).await.unwrap()?;
        first.welcome?;
        (session.territory, session.role) = (territory, role);
        let call = session.wrap(op);
        let id = call.id;
        session.calls.send(proto::ToShard { hello: None, calls: vec![call] }).await.ok()?;
        timeout(WITHIN, session.answer(id)).await.ok()?
    }

    /// The same, until there is an answer that is not for now.
    pub(crate) async fn told(&self, at: usize, op: Op) -> Answer {
        let asked = async {
            loop {
                match self.call(at, op.clone()).await {
                    Some(Err(fault)) if passes(&fault.reason) => {}
                    Some(answer) => return answer,
                    None => {}
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(WITHIN, asked).await.expect("an answer in time")
    }

    /// Where a region's shard listens just now.
    pub(crate) fn port(&self, at: usize) -> String {
        format!("http://127.0.0.1:{}", self.regions[at].port.load(Ordering::Acquire))
    }

    /// What the shard of the first region says of itself to that of the second.
    pub(crate) fn hello_of_shard(&self) -> proto::Hello {
        proto::Hello {
            protocol: link::session::PROTOCOL,
            deployment: "sample".into(),
            region: self.regions[1].place.region.into(),
            shard: "s1".into(),
            from_region: self.regions[0].place.region.into(),
            from_shard: "s1".into(),
            ..Default::default()
        }
    }

    /// One call, until there is a shard that answers it.
    pub(crate) async fn told_once(&self, at: usize, op: Op) -> Answer {
        let asked = async {
            loop {
                if let Some(answer) = self.call(at, op.clone()).await {
                    return answer;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(WITHIN, asked).await.expect("an answer in time")
    }

    pub(crate) fn id(&self) -> Vec<u8> {
        request_id(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Waits until writers have made so many more writes, each under its id: as much happens until then
    /// on a slow machine as on a fast one.
    pub(crate) async fn after_writes(&self, more: u64) {
        let until = self.next.load(Ordering::Relaxed) + more;
        let made = async {
            while self.next.load(Ordering::Relaxed) < until {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(WITHIN, made).await.expect("the writers go on");
    }

    pub(crate) async fn moves(&self, at: usize, of: Of) -> Told {
        let reason = "as the test wants".into();
        self.call(at, Op::Moves(proto::Moves { of: Some(of), reason, ..Default::default() })).await
    }

    /// What has become of the move of a subject.
    pub(crate) async fn state(&self, subject: &str) -> Option<proto::Move> {
        match self.moves(0, Of::Subject(subject.into())).await? {
            Ok(Outcome::Moves(found)) => found.moves.into_iter().next(),
            _ => None,
        }
    }

    /// Waits until the move of a subject has come to one of these states.
    pub(crate) async fn until(&self, subject: &str, wanted: &[OperationState]) -> proto::Move {
        let asked = async {
            loop {
                if let Some(found) = self.state(subject).await
                    && wanted.iter().any(|state| i32::from(*state) == found.state)
                {
                    return found;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(WITHIN, asked).await.expect("the move ends in time")
    }

    /// Breaks each new connection between the two after so many bytes; 0: none.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.regions.iter().for_each(|one| one.cut_after.store(bytes, Ordering::Release));
    }

    /// Holds each connection to a region once it has carried so many bytes; `u64::MAX`: none any more.
    pub(crate) fn hold_after(&self, at: usize, bytes: u64) {
        self.regions[at].held.after.send_replace(bytes);
    }

    /// Bytes that all connections to a region have carried.
    pub(crate) fn carried(&self, at: usize) -> u64 {
        self.regions[at].held.carried.load(Ordering::Relaxed)
    }

    /// Stops both shards. Gives how often each was started.
    pub(crate) async fn stop(self) -> (Vec<Arc<Place>>, u64) {
        let (mut places, mut starts) = (Vec::new(), 0);
        for Region { place, stop, kept, .. } in self.regions {
            stop.send_replace(true);
            starts += kept.await.unwrap();
            places.push(place);
        }
        (places, starts)
    }
}

/// Whether it may be answered otherwise later.
pub(crate) fn passes(reason: &str) -> bool {
    let reason = terms::Reason::parse(reason).unwrap();
    reason.retry() == terms::Retry::SameRequestId
}

/// Starts a shard whenever it has ended.
async fn keep(
    place: Arc<Place>,
    port: Arc<AtomicU16>,
    annexes: Vec<Annex>,
    mut stopped: watch::Receiver<bool>,
) -> u64 {
    let mut starts = 0;
    loop {
        starts += 1;
        let shard = match place.open_made(place.settings()).await {
            Ok(shard) => shard,
            // A commit of the start itself has failed.
            Err(_) => {
                tokio::task::yield_now().await;
                continue;
            }
        };
        shard.peers().set(annexes.clone());
        let running = Running::serve(shard, place.region).await;
        port.store(running.port, Ordering::Release);
        // A poisoned shard is started again, as a process would be.
        drop(running.until(stopped.clone()).await);
        if *stopped.borrow_and_update() {
            return starts;
        }
    }
}

/// The entries of a region's log.
pub(crate) fn entries(place: &Place) -> Vec<Entry> {
    let entries = stored::entries_in(&*place.store(), 1);
    entries.iter().map(|entry| Entry::decode(entry).unwrap()).collect()
}

/// How many of them are of that kind, about a subject as a whole, and name the other log.
pub(crate) fn ends(entries: &[Entry], kind: Kind) -> Vec<(u64, (String, u64))> {
    let all = (0_u64..).zip(entries).filter(|(_, one)| one.kind == kind);
    let named = all.filter(|(_, one)| one.collection.is_none());
    named.filter_map(|(n, one)| one.peer().map(|(o, i)| (n, (o.to_owned(), i)))).collect()
}
