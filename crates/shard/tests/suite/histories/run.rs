//! One history: callers at work in rounds, between which the clock moves and the shard starts again.

#![expect(clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::{Chances, Disk};
use ledger::entry::{Entry, Kind};
use shard::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use wire::session as proto;
use wire::session::session_client::SessionClient;

use super::calls::{self, Known};
use super::checker::Event;
use super::drawn::{Caller, Dice, RECORDS, names};
use super::model::{Ask, Attributes, Body, Change, FILTERS, Record, Seen, Told, Write};
use crate::support::stored::{entries_in, rows_in};
use crate::support::{Answer, Place, Running, Session, SetClock, open};
use crate::{attributes, changes};

const CALLERS: u64 = 4;
const ROUNDS: u64 = 4;
/// Frames of a caller in a round, and calls of a frame at most.
const FRAMES: usize = 5;
const FRAME_MAX: u64 = 3;
/// When it begins.
const START: u64 = 1_780_000_000_000;
/// When records expire: within the time of a history, or after it.
const LIVES: &[u64] = &[1, 40_000, 90_000, 3_600_000];
/// By how much the clock moves between two rounds at most: in all less than the hour that is believed.
const TICK_MAX_MS: u64 = 120_000;
const CHANCES: Chances = Chances { crash: 12, flush_fails: 12, reply_lost: 12, full: 25 };
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Time in which a shard that lives opens a session.
const OPEN_MAX: Duration = Duration::from_secs(60);
/// An answer that has not come.
const OPEN: u64 = u64::MAX;

/// What a history was.
#[derive(Default)]
pub(super) struct Ran {
    /// Of each record.
    pub(super) histories: Vec<Vec<Event>>,
    pub(super) calls: u64,
    pub(super) unknown: u64,
    pub(super) refused: u64,
    pub(super) replayed: u64,
    pub(super) expired: u64,
    pub(super) starts: u64,
}

impl Ran {
    pub(super) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.unknown += other.unknown;
        self.refused += other.refused;
        self.replayed += other.replayed;
        self.expired += other.expired;
        self.starts += other.starts;
    }
}

/// The state of every record before its history.
pub(super) fn begin() -> Record {
    Record::new(START)
}

/// What all callers of a history share.
struct Shared {
    counter: AtomicU64,
    now: AtomicU64,
    ran: Mutex<Ran>,
}

impl Shared {
    fn number(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::SeqCst)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Ran) -> T) -> T {
        work(&mut self.ran.lock().expect("no panic under the lock"))
    }

    fn add(&self, record: usize, event: Event) {
        self.with(|ran| ran.histories.get_mut(record).expect("a record").push(event));
    }

    /// Notes what is known of a write or a get.
    fn note(&self, record: usize, ask: &Ask, from: u64, known: &Known) {
        let event = |told, until| Event { ask: ask.clone(), told, from, until };
        match known {
            Known::Told(told) => {
                let replayed = matches!(told, Told::Written { replayed: true, .. });
                self.with(|ran| ran.replayed += u64::from(replayed));
                self.add(record, event(Some(told.clone()), self.number()));
            }
            Known::Refused => self.with(|ran| ran.refused += 1),
            Known::Unknown => {
                self.with(|ran| ran.unknown += 1);
                if matches!(ask, Ask::Write(_)) {
                    self.add(record, event(None, OPEN));
                }
            }
        }
    }

    /// The shard has ended: what is not done by now is not done any more.
    fn close(&self) {
        let now = self.number();
        self.with(|ran| {
            let open = ran.histories.iter_mut().flatten().filter(|event| event.until == OPEN);
            open.for_each(|event| event.until = now);
        });
    }

    /// Moves the clock. No call is under way.
    fn tick(&self, clock: &SetClock, by: u64) {
        let now = self.now.load(Ordering::SeqCst) + by;
        let from = self.number();
        clock.0.store(now, Ordering::SeqCst);
        self.now.store(now, Ordering::SeqCst);
        let until = self.number();
        for record in 0..RECORDS {
            let (ask, told) = (Ask::Tick(now), Some(Told::Done));
            self.add(record, Event { ask, told, from, until });
        }
    }
}

/// A session to a shard. None: it is about to end.
async fn connect(shard: &Running) -> Option<Session> {
    let url = format!("http://127.0.0.1:{}", shard.port);
    let client = SessionClient::connect(url).await.ok()?;
    // In one process, a connection may outlive the shard that has accepted it.
    let (session, first) = timeout(OPEN_MAX, open(client, shard.hello())).await.ok()??;
    first.welcome.is_some().then_some(session)
}

/// Sends calls in one frame.
async fn send(session: &mut Session, ops: Vec<proto::call::Op>) -> Vec<u64> {
    let calls: Vec<proto::Call> =
        ops.into_iter().map(|op| proto::Call { deadline_ms: 60_000, ..session.wrap(op) }).collect();
    let ids = calls.iter().map(|call| call.id).collect();
    session.calls.send(proto::ToShard { hello: None, calls }).await.ok();
    ids
}

/// The answer of a call. None: the session has ended.
async fn answer(session: &mut Session, id: u64) -> Option<Answer> {
    timeout(ANSWER_MAX, session.answer(id)).await.expect("an answer in time, or an end")
}

/// One page. None: there is no answer, or the shard cannot give it now.
async fn page(session: &mut Session, list: proto::List) -> Option<proto::Listed> {
    let ids = send(session, vec![proto::call::Op::List(list)]).await;
    match answer(session, *ids.first()?).await? {
        Ok(proto::reply::Outcome::Listed(listed)) => Some(listed),
        Ok(_) => panic!("a list is answered with what was listed"),
        Err(fault) => match calls::refused(fault.reason) {
            Known::Refused | Known::Unknown => None,
            Known::Told(told) => panic!("a list is answered {told:?}: {}", fault.problem),
        },
    }
}

/// What a list gives, by subject and key. Without a filter it comes in small pages: then each record has
/// one place in it, whatever is written meanwhile.
async fn listed(session: &mut Session, filter: usize) -> Option<BTreeMap<(String, String), Seen>> {
    let text = FILTERS.get(filter).expect("a filter").0;
    let page_size = if text.is_empty() { 2 } else { 1_000 };
    let mut list = proto::List { page_size, ..attributes::list(text) };
    let mut all = BTreeMap::new();
    loop {
        let page = page(session, list.clone()).await?;
        for record in &page.records {
            let of = (record.subject.clone(), record.key.clone());
            assert!(all.insert(of, calls::listed(record)).is_none(), "a record is listed twice");
        }
        if page.next.is_empty() {
            return Some(all);
        }
        list.cursor = page.next;
    }
}

/// Reads what has changed, and keeps what it has seen.
#[derive(Default)]
struct Watcher {
    cursor: bytes::Bytes,
    versions: BTreeMap<(String, String), u64>,
    live: BTreeMap<(String, String), Seen>,
}

impl Watcher {
    /// Reads one page. None: there is no answer; otherwise whether there is more.
    async fn look(&mut self, session: &mut Session) -> Option<bool> {
        let asked = proto::List { page_size: 5, ..changes::changes(&self.cursor) };
        let page = page(session, asked).await?;
        for record in page.records {
            let (of, seen) = ((record.subject.clone(), record.key.clone()), calls::listed(&record));
            let before = self.versions.insert(of.clone(), seen.version).unwrap_or(0);
            assert!(before <= seen.version, "the feed goes back from version {before}");
            if record.change == 1 {
                self.live.insert(of, seen);
            } else {
                self.live.remove(&of);
            }
        }
        self.cursor = page.next;
        Some(page.more)
    }
}

/// A caller with its session. Returns early if the session ends.
async fn work(mut caller: Caller, mut session: Session, shared: Arc<Shared>) -> (Caller, bool) {
    for _ in 0..FRAMES {
        let mut asks = Vec::new();
        for _ in 0..=caller.dice().below(FRAME_MAX) {
            let (record, ask) = caller.draw(shared.now.load(Ordering::SeqCst));
            if let Ask::List(filter) = ask {
                let from = shared.number();
                if let Some(found) = listed(&mut session, filter).await {
                    note_list(&shared, filter, from, &found);
                }
            } else {
                asks.push((record, ask));
            }
        }
        if asks.is_empty() {
            continue;
        }
        let ops = asks.iter().map(|(record, ask)| op(*record, ask)).collect();
        let from: Vec<u64> = asks.iter().map(|_| shared.number()).collect();
        let ids = send(&mut session, ops).await;
        let mut ended = false;
        for ((id, from), (record, ask)) in ids.into_iter().zip(from).zip(asks) {
            let answer = answer(&mut session, id).await;
            shared.with(|ran| ran.calls += 1);
            ended |= answer.is_none();
            let (known, etag) = calls::known(answer);
            shared.note(record, &ask, from, &known);
            match (known, ask) {
                (Known::Unknown, Ask::Write(write)) => caller.doubt(record, write),
                (Known::Told(Told::Written { version, .. }), _) => {
                    caller.learn(record, version, etag);
                }
                (Known::Told(Told::Seen(seen)), _) => caller.learn(record, seen.version, etag),
                _ => {}
            }
        }
        if ended {
            return (caller, true);
        }
    }
    (caller, false)
}

/// A write or a get, as it is sent.
fn op(record: usize, ask: &Ask) -> proto::call::Op {
    match ask {
        Ask::Write(write) => calls::write(record, write),
        Ask::Get | Ask::List(_) | Ask::Tick(_) => calls::get(record),
    }
}

fn note_list(shared: &Shared, filter: usize, from: u64, found: &BTreeMap<(String, String), Seen>) {
    let until = shared.number();
    for record in 0..RECORDS {
        let told = found.get(&names(record)).cloned().map_or(Told::Absent, Told::Seen);
        let (ask, told) = (Ask::List(filter), Some(told));
        shared.add(record, Event { ask, told, from, until });
    }
}

/// A shard on a disk in memory, with what the callers need there.
struct Stage {
    place: Place,
    disk: Disk,
    clock: Arc<SetClock>,
    shared: Arc<Shared>,
}

impl Stage {
    fn new(seed: u64) -> Self {
        let mut place = Place::new("ru-msk");
        let clock = Arc::new(SetClock(AtomicU64::new(START)));
        let disk = Disk::new(seed);
        (place.map, place.clock) = (changes::with_feed(), clock.clone());
        place.disk = Some(disk.clone());
        place.init_as(&place.settings()).expect("a shard");
        let ran = Ran { histories: vec![Vec::new(); RECORDS], ..Ran::default() };
        let (counter, now) = (AtomicU64::new(1), AtomicU64::new(START));
        let shared = Arc::new(Shared { counter, now, ran: Mutex::new(ran) });
        Self { place, disk, clock, shared }
    }

    async fn start(&self) -> Running {
        self.shared.with(|ran| ran.starts += 1);
        self.place.start().await
    }

    /// A round of all callers. Returns them, and whether the shard has ended.
    async fn round(
        &self,
        shard: &Running,
        callers: Vec<Caller>,
        watcher: &mut Watcher,
    ) -> (Vec<Caller>, bool) {
        let mut tasks = JoinSet::new();
        let (mut back, mut ended) = (Vec::new(), false);
        for caller in callers {
            match connect(shard).await {
                Some(session) => {
                    tasks.spawn(work(caller, session, Arc::clone(&self.shared)));
                }
                None => {
                    back.push(caller);
                    ended = true;
                }
            }
        }
        if let Some(mut session) = connect(shard).await {
            for _ in 0..FRAMES {
                watcher.look(&mut session).await;
            }
        }
        while let Some(done) = tasks.join_next().await {
            let (caller, its_end) = done.expect("no panic");
            back.push(caller);
            ended |= its_end;
        }
        (back, ended)
    }

    /// Ends a shard: one that has failed ends by itself.
    async fn end(&self, shard: Running, ended: bool) {
        if ended {
            let end = timeout(ANSWER_MAX, shard.wait()).await.expect("it ends by itself");
            assert!(matches!(end, Err(Error::Poisoned)), "it ends as after a failed commit");
        } else {
            // It may have failed since, or fail in its last commit.
            let (_told, told) = watch::channel(true);
            let end = shard.until(told).await;
            assert!(matches!(end, Ok(()) | Err(Error::Poisoned)), "it ends in another way");
        }
        self.shared.close();
    }

    /// One call that is answered.
    async fn ask(&self, session: &mut Session, record: usize, ask: Ask) -> Told {
        let from = self.shared.number();
        let ids = send(session, vec![op(record, &ask)]).await;
        let answer = answer(session, *ids.first().expect("one")).await;
        let (known, _) = calls::known(answer);
        self.shared.note(record, &ask, from, &known);
        match known {
            Known::Told(told) => told,
            Known::Refused | Known::Unknown => panic!("nothing fails any more"),
        }
    }

    /// What a record is in the end, and its version. A refused deletion comes first: it removes the row
    /// of one that has expired.
    async fn last(&self, session: &mut Session, record: usize) -> (Option<Seen>, u64) {
        let write = |of, dry, if_version, change| {
            let request = u64::MAX - 2 * record as u64 - of;
            Ask::Write(Write { request, of: request, dry, if_version, etag: None, change })
        };
        let never = write(0, false, Some(u64::from(u32::MAX)), Change::Delete);
        assert!(matches!(self.ask(session, record, never).await, Told::Refused(_)));
        let seen = match self.ask(session, record, Ask::Get).await {
            Told::Seen(seen) => Some(seen),
            Told::Refused(_) | Told::Written { .. } | Told::Absent | Told::Done => None,
        };
        let body = Body { n: 0, large: false };
        let put = Change::Put { body, attributes: Attributes::new(), expires: 0 };
        match self.ask(session, record, write(1, true, None, put)).await {
            Told::Written { version, .. } => (seen, version - 1),
            Told::Refused(_) | Told::Seen(_) | Told::Absent | Told::Done => {
                panic!("a dry run of a put is always possible")
            }
        }
    }

    /// Compares lists, counts and feed with the records, and then the store.
    async fn agree(self, watcher: &mut Watcher, seed: u64) -> Ran {
        let shard = self.start().await;
        let mut session = connect(&shard).await.expect("a session");
        let mut live: BTreeMap<(String, String), Seen> = BTreeMap::new();
        let mut versions = 0;
        for record in 0..RECORDS {
            let (seen, version) = self.last(&mut session, record).await;
            live.extend(seen.map(|seen| (names(record), Seen { body: None, ..seen })));
            versions += version;
        }
        for (n, (text, passes)) in FILTERS.into_iter().enumerate() {
            let mut wanted = live.clone();
            wanted.retain(|_, seen| passes(&seen.attributes));
            let found = listed(&mut session, n).await.expect("a list");
            assert_eq!(found, wanted, "seed {seed}: the list of {text:?}");
            let count = proto::List { count: true, ..attributes::list(text) };
            let count = page(&mut session, count).await.expect("a count").count;
            assert_eq!(count, wanted.len() as u64, "seed {seed}: the count of {text:?}");
        }
        while watcher.look(&mut session).await.expect("changes") {}
        assert_eq!(watcher.live, live, "seed {seed}: the feed");
        drop(session);
        shard.stop().await.expect("nothing fails any more");
        self.stored(&live, versions, seed)
    }

    /// Compares the rows of the store and the entries of the log with the records.
    fn stored(self, live: &BTreeMap<(String, String), Seen>, versions: u64, seed: u64) -> Ran {
        let store = self.place.store();
        let indexed = |all: &Attributes| all.len() - usize::from(all.contains_key("note"));
        let rows: usize = live.values().map(|seen| 1 + indexed(&seen.attributes)).sum();
        assert_eq!(rows_in(&*store, &[0x30]).len(), rows, "seed {seed}: rows of indexes");
        let number = |(_, row): &(_, Vec<u8>)| {
            u64::from_be_bytes(*row.last_chunk().expect("a number is known"))
        };
        let listed: u64 = rows_in(&*store, &[0x54]).iter().map(number).sum();
        assert_eq!(listed, live.len() as u64, "seed {seed}: the number of the list");
        let expiring = live.values().filter(|seen| seen.expires != 0).count();
        assert_eq!(rows_in(&*store, &[0x31]).len(), expiring, "seed {seed}: rows of expiries");
        let mut kinds: BTreeMap<Kind, u64> = BTreeMap::new();
        for entry in entries_in(&*store, 1) {
            *kinds.entry(Entry::decode(&entry).expect("an entry").kind).or_default() += 1;
        }
        let of = |kind| kinds.get(&kind).copied().unwrap_or(0);
        let changes = [Kind::Place, Kind::Replace, Kind::Delete, Kind::Expire].map(of);
        // Every version of every record has one entry, and so has what was put first; there is no other.
        let first = RECORDS as u64 / 2;
        assert_eq!(changes.iter().sum::<u64>(), versions + first, "seed {seed}: entries");
        let mut ran = self.shared.with(std::mem::take);
        ran.expired = of(Kind::Expire);
        ran
    }
}

pub(super) async fn run(seed: u64) -> Ran {
    let stage = Stage::new(seed);
    let mut dice = Dice(seed);
    // A quarter each: no failures; failures after which the process goes on; and twice those that end it.
    let fails = !seed.is_multiple_of(4);
    if seed % 4 == 1 {
        stage.disk.let_reopen();
    }
    let mut callers: Vec<Caller> = (0..CALLERS).map(|n| Caller::new(seed, n, LIVES)).collect();
    let mut watcher = Watcher::default();
    let mut shard = stage.start().await;
    // What the subjects are, every put says; and the watch begins before the first one.
    let mut session = connect(&shard).await.expect("a session");
    for n in 0..RECORDS / 2 {
        let (subject, _) = names(2 * n);
        let put = crate::support::put_ru(&subject, "first", b"x", u64::MAX / 2 + n as u64);
        let put = proto::Put { collection: "messages".into(), ..put };
        session.put(put).await.expect("a put");
    }
    watcher.look(&mut session).await.expect("a cursor");
    drop(session);
    for _ in 0..ROUNDS {
        if fails {
            stage.disk.set_chances(CHANCES);
        }
        let ended;
        (callers, ended) = stage.round(&shard, callers, &mut watcher).await;
        if ended || dice.below(3) == 0 {
            stage.end(shard, ended).await;
            shard = stage.start().await;
        }
        stage.shared.tick(&stage.clock, dice.below(TICK_MAX_MS));
    }
    stage.disk.set_chances(Chances::default());
    stage.end(shard, false).await;
    stage.agree(&mut watcher, seed).await
}
