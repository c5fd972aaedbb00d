//! The committer on an engine in memory that fails when told to, and groups whose rows are far
//! larger than what was asked.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use atlas::{Country, EvidenceKind, Finding, Findings, RegionMap};
use engine::{Disk, Engine as _, Fault as DiskFault, Memory};
use ledger::entry::{Caller, Role};
use link::host::clock::{SystemClock, SystemEntropy};
use link::ops::health::Health;
use link::ops::metrics::Registry;
use link::session::FromShard;
use terms::{Collection, RecordKey, SLOTS, SubjectId, TenantId};
use wire::session as proto;
use wire::session::reply::Outcome as Sent;
use zeroize::Zeroizing;

use super::*;
use crate::clock::GuardedClock;
use crate::metrics::Metrics;
use crate::store::aead::AesGcm;
use crate::store::keyring::FileKeyring;
use crate::store::keys::KeyLayout;
use crate::store::record::{Address, EntryAt, Recent, SealedBody};
use crate::store::subject::Standing;
use crate::write::command::tests::{reason, slot};
use crate::write::command::{Condition, Content, Given, Put, Read, Request};

const MAP: &str = include_str!("../../../../../deploy/sample/map.toml");

/// A committer without its thread, and the gateway's end of a session.
struct Stage {
    committer: Committer,
    queue: Queue,
    inbox: Inbox,
    life: watch::Sender<Life>,
    replies: mpsc::Sender<FromShard>,
    answers: mpsc::Receiver<FromShard>,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn new(disk: &Disk) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = crate::settings::tests::settings(folder.path());
        std::fs::create_dir(&settings.data).expect("a folder");
        let map = Arc::new(RegionMap::parse(MAP).expect("a map"));
        let keyring = FileKeyring::create(&settings.keys, &settings.region, &SystemEntropy);
        let keyring = keyring.expect("a keyring");
        let territory = Country::parse("RU").expect("a country");
        let (log, engine) = (Log::new(1, 0), Memory::open(disk));
        let head = engine.head().expect("a head");
        let node = Node {
            region: settings.region.clone(),
            shard: settings.shard.clone(),
            territory,
            deployment: map.deployment().to_owned(),
            in_force: watch::Sender::new(Arc::clone(&map)),
            engine: Box::new(engine),
            namer: KeyLayout::new(&keyring, "sample/ru-msk/s1/1"),
            keyring: Box::new(keyring),
            clock: GuardedClock::start(Arc::new(SystemClock), &settings, UnixMillis(0), true),
            entropy: Arc::new(SystemEntropy),
            cipher: &AesGcm,
            origin: "sample/ru-msk/s1/1".into(),
            period: 1,
            owned: vec![true; usize::from(SLOTS)],
            subjects: quick_cache::sync::Cache::new(1 << 16),
            metrics: Metrics::new(&mut Registry::new()),
            ingress: None,
            refusals: LogThrottle::default(),
            troubles: LogThrottle::default(),
            health: Health::new(),
            committed: AtomicU64::new(0),
            log_size: AtomicU64::new(0),
        };
        let committer = Committer {
            node: Arc::new(node),
            rules: Rules::new(map, settings.region.clone(), territory),
            durable: Arc::new(Durable::new(0, log.edge.root())),
            log,
            head,
            last_commit: UnixMillis(0),
            counts: Arc::new(AccessCounters::new(1)),
            disk: Reserve::new(&settings).expect("a disk"),
            behind: LogThrottle::default(),
        };
        let (queue, inbox) = queue(Gauge::default());
        let queue = queue.of_session();
        let (replies, answers) = mpsc::channel(1 << 14);
        let life = watch::Sender::new(Life::Serving);
        Self { committer, queue, inbox, life, replies, answers, _folder: folder }
    }

    fn address(&self, subject: &str) -> Address {
        let namer = &self.committer.node.namer;
        let tenant = TenantId::parse("sample").expect("a tenant");
        let owner = namer.owner(tenant, SubjectId::parse(subject).expect("an id"));
        let collection = Collection::parse("profiles").expect("a collection");
        let key = RecordKey::parse("main").expect("a key");
        let row = namer.record(&owner, &collection, &key);
        Address { owner, collection, key, row }
    }

    /// Queues a put.
    fn put(&self, subject: &str, n: u8, given: Findings) {
        let address = self.address(subject);
        let (opening, body_key) = ([n; 32], Zeroizing::new([n; 32]));
        let digest = ledger::statement::content_digest(&opening, b"body");
        let region = &self.committer.node.region;
        let sealed = SealedBody::new(&address, region, &AesGcm, &body_key, b"body");
        let content = Content { opening, digest, body_key, nonce: [n; 12], sealed };
        let put = Put {
            address,
            request: Request { id: [n; 16], fingerprint: [n; 16] },
            condition: Condition::default(),
            create_subject: true,
            given: Some(Given { findings: given, phone_data: None, ip_data: None }),
            validate_only: false,
            content,
            body_bytes: 4,
        };
        let permit = self.replies.clone().try_reserve_owned().expect("room");
        let op = Op {
            reply: ReplySlot::new(u64::from(n), permit),
            deadline: Instant::now() + Duration::from_secs(600),
            caller: Arc::new(Caller { role: Role::Writer, tag: [1; 16], territory: None }),
            tenant_tag: [2; 16],
            gateway: Country::parse("RU").expect("a country"),
            map_epoch: 0,
            action: Action::Put(Box::new(put)),
        };
        let room = self.queue.admit(op.action.bytes()).expect("room");
        self.queue.submit(op, room);
    }

    /// Has it work until nothing is left, and gives the answers: `written`, or a reason.
    fn run(self) -> (Left, Vec<String>) {
        let Self { committer, queue, inbox, life, replies, mut answers, _folder } = self;
        drop((queue, replies));
        let node = Arc::clone(&committer.node);
        committer.run(inbox, &life);
        let mut said = Vec::new();
        while let Ok(FromShard::Reply(proto::Reply { outcome, .. }, _)) = answers.try_recv() {
            said.push(match outcome.expect("an outcome") {
                Sent::Written(_) => "written".to_owned(),
                Sent::Fault(fault) => fault.reason,
                Sent::Found(_)
                | Sent::Map(_)
                | Sent::Taken(_)
                | Sent::History(_)
                | Sent::Surveyed(_) => "something else".to_owned(),
            });
        }
        let life = *life.borrow();
        (Left { node, life }, said)
    }
}

/// What is left after a run.
struct Left {
    node: Arc<Node>,
    life: Life,
}

fn finding(kind: EvidenceKind, country: &str) -> Finding {
    Finding::parse(kind, country).expect("a finding")
}

/// Residence in Russia, and as many contact findings besides, which change no ruling.
fn findings(besides: usize) -> Findings {
    let mut findings = Findings::new();
    findings.insert(finding(EvidenceKind::Residence, "RU")).expect("room");
    let letters = || b'A'..=b'Z';
    let codes = letters().flat_map(|a| letters().map(move |b| [a, b]));
    let known = codes.filter_map(|code| {
        let code = std::str::from_utf8(&code).expect("letters").to_owned();
        Country::parse(&code).map(|_| code)
    });
    let known: Vec<String> = known.collect();
    let kinds = [EvidenceKind::Phone, EvidenceKind::Sim];
    let all = kinds.into_iter().flat_map(|kind| known.iter().map(move |code| (kind, code)));
    for (kind, code) in all.take(besides) {
        findings.insert(finding(kind, code)).expect("room");
    }
    findings
}

#[test]
fn a_group_of_the_largest_subjects_is_split_and_none_of_it_is_busy() {
    const SUBJECTS: usize = 1_500;
    let stage = Stage::new(&Disk::new(1));
    let node = Arc::clone(&stage.committer.node);
    // Subjects with as many rulings as one may have, each on as many findings as are kept.
    let basis = findings(limits::FINDINGS_KEPT_MAX - 2);
    let standings: Vec<Standing> = (0..limits::RULINGS_PER_SUBJECT_MAX)
        .map(|n| {
            let name = if n == 0 { "profiles".to_owned() } else { format!("c{n}") };
            let collection = Collection::parse(&name).expect("a name");
            Standing { collection, basis: basis.clone(), mirrors: vec![], minute: 1 }
        })
        .collect();
    let by = Recent {
        request_id: [0; 16],
        fingerprint: [0; 16],
        minute: 1,
        version: 0,
        entry: EntryAt { period: 1, index: 0 },
    };
    let mut bytes = 0;
    for n in 0..SUBJECTS {
        let owner = stage.address(&format!("p{n}")).owner;
        let subject = Subject::create(&owner, &node.region, &*node.keyring, &*node.entropy, by);
        let mut subject = subject.expect("a subject");
        subject.findings = basis.clone();
        subject.standings = standings.clone();
        if n == 0 {
            bytes = subject.seal(&owner, &node.region, [1; 12]).len();
        }
        node.subjects.insert(owner.tag, Arc::new(subject));
        // One finding more: the subject's row is written again, whole.
        stage.put(&format!("p{n}"), 1, findings(limits::FINDINGS_KEPT_MAX - 1));
    }
    assert!(bytes * SUBJECTS > engine::BATCH_BYTES_MAX, "{bytes} bytes a subject");
    let (left, said) = stage.run();
    assert_eq!(said.len(), SUBJECTS);
    assert!(said.iter().all(|said| said == "written"), "{:?}", said.first());
    assert_eq!(left.life, Life::Serving);
    assert!(left.node.metrics.commits.get() > 1);
}

#[test]
fn only_an_outcome_that_is_not_known_ends_the_committer() {
    let puts = |fault: Option<DiskFault>| {
        let disk = Disk::new(1);
        let stage = Stage::new(&disk);
        fault.into_iter().for_each(|fault| disk.fail_next(fault));
        (0..3).for_each(|n| stage.put(&format!("p{n}"), 1, findings(0)));
        let (left, said) = stage.run();
        (left.life, said)
    };
    assert_eq!(puts(None), (Life::Serving, vec!["written".to_owned(); 3]));
    let full = puts(Some(DiskFault::Full));
    assert_eq!(full, (Life::Serving, vec!["DISK_RESERVE".to_owned(); 3]));
    for fault in [DiskFault::FlushFails, DiskFault::ReplyLost, DiskFault::Crash] {
        // What was in hand is not known to be done.
        let unknown = vec!["WRITE_OUTCOME_UNKNOWN".to_owned(); 3];
        assert_eq!(puts(Some(fault)), (Life::Poisoned, unknown), "{fault:?}");
    }
}

fn op(reply: ReplySlot) -> Op {
    let read = Read {
        collection: Collection::parse("profiles").unwrap(),
        entry: EntryAt { period: 1, index: 1 },
        found: wire::session::Found::default(),
        judged: 1,
    };
    Op {
        reply,
        deadline: Instant::now(),
        caller: Arc::new(Caller { role: Role::Reader, tag: [0; 16], territory: None }),
        tenant_tag: [0; 16],
        gateway: Country::parse("DE").unwrap(),
        map_epoch: 1,
        action: Action::Read(Box::new(read)),
    }
}

#[tokio::test]
async fn what_a_queue_does_not_take_is_known_not_to_be_done() {
    let (queue, inbox) = queue(Gauge::default());
    let session = queue.of_session();
    let (reply, mut queued) = slot(1);
    session.submit(op(reply), session.admit(512).unwrap());
    // The committer ends, with a write in its queue.
    drop(inbox);
    assert_eq!(reason(&mut queued), "SHUTTING_DOWN");
    let (reply, mut late) = slot(2);
    session.submit(op(reply), session.admit(512).unwrap());
    assert_eq!(reason(&mut late), "SHUTTING_DOWN");
}
