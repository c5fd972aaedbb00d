//! The committer on an engine in memory that fails when told to, and groups whose rows are far
//! larger than what was asked.

mod all_or_none;
mod between_maps;
mod counts;
mod damaged_rows;
mod first_uploads;
mod group_bytes;
mod index_walk;
mod orders;
mod rotations;
mod statuses;
mod steps;
mod taken_back;
mod uploads;

use std::thread::JoinHandle;
use std::time::Duration;

use atlas::{Country, EvidenceKind, Finding, Findings, RecordAttributes};
use engine::{Disk, Fault as DiskFault};
use ledger::entry::{Caller, Role};
use terms::{Collection, SlotSet};
use zeroize::Zeroizing;

use super::*;
use crate::log::checkpoint_file::CheckpointFile;
use crate::log::checkpointer::{CheckpointSigner, signed_empty};
use crate::log::first_commit::new_signer;
use crate::log::view::Signed;
use crate::policy::asker::{Asker, Stands};
use crate::policy::egress::Lookup;
use crate::policy::standing_ruling::Given;
use crate::read::reader::{Get, Reader};
use crate::reply::Found;
use crate::reply::tests::{answered, said, slot};
use crate::store::aead::AesGcm;
use crate::store::keys::Asked;
use crate::store::moving;
use crate::store::moving::{Arriving, Move};
use crate::store::principal::Principal;
use crate::store::record::{Address, SealedBody};
use crate::store::slots::OwnSlots;
use crate::store::subject::{Blocked, Standing, Status};
use crate::store::tombstone::Tombstone;
use crate::store::types::{
    CommitAt, EntryAt, EpochNumber, Fingerprint, Incarnation, LogId, LogIndex, Period, Recent,
    TenantTag, Version,
};
use crate::testing;
use crate::testing::address;
use crate::write::answers::Answers;
use crate::write::command::{
    Action, Claim, Condition, Content, Create, Delete, Put, Read, ReadOf, Request,
};
use crate::write::retries;
use steps::{erase, record, rows_of};

/// A committer without its thread, and the gateway's end of a session.
pub(crate) struct Stage {
    pub(crate) committer: Committer,
    queue: Queue,
    inbox: Inbox,
    life: watch::Sender<Life>,
    /// Answers arrive with the number of their call.
    replies: std::sync::mpsc::Sender<(u8, Outcome)>,
    answers: std::sync::mpsc::Receiver<(u8, Outcome)>,
    answering: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Stage {
    pub(crate) fn new(disk: &Disk) -> Self {
        Self::owning(disk, SlotSet::ALL)
    }

    /// Of a shard that owns these slots.
    fn owning(disk: &Disk, slots: SlotSet) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let slots = OwnSlots { served: slots, ..OwnSlots::default() };
        let slots = watch::Sender::new(slots);
        let node = Node { slots, ..testing::node(folder.path(), disk) };
        let node = Arc::new(node);
        let settings = crate::settings::tests::settings(folder.path());
        let (log, head) = (Log::new(Period::FIRST, 0), node.engine.head().expect("a head"));
        let (retries, waiting) = retries::channel();
        let counts = Arc::new(AccessCounters::new(EpochNumber::of(&node.map())));
        let of_retries = Arc::clone(&node);
        let answering = std::thread::spawn(move || waiting.run(&of_retries));
        let disk = Reserve::new(0, &*node.engine).expect("a disk");
        let durable = Arc::new(Durable::new(0, log.edge.root()));
        let (keyring, engine, entropy) = (&*node.keyring, &*node.engine, &*node.entropy);
        let end = CommitAt { period: Period::FIRST, index: 0 };
        let erasures = ErasureFile::open(&settings, keyring, engine, end, entropy);
        let erasures = erasures.expect("a file of erasures");
        let committer = Committer {
            rules: Rules::new(node.map(), settings.region.clone(), node.territory),
            signer: signer(&node, &durable, &settings),
            settings,
            node,
            durable,
            log,
            head,
            lists: ListNumbers::default(),
            last_commit: UnixMillis(0),
            counts,
            disk,
            behind: LogThrottle::default(),
            retries,
            erasures,
            deliver: Box::new(Answers::give),
        };
        let (queue, inbox) = queue(Gauge::default());
        let queue = queue.of_session();
        let (replies, answers) = std::sync::mpsc::channel();
        let life = watch::Sender::new(Life::Serving);
        Self { committer, queue, inbox, life, replies, answers, answering, _folder: folder }
    }

    fn address(&self, subject: &str) -> Address {
        address(&self.committer.node, subject)
    }

    /// Queues a put.
    fn put(&self, subject: &str, n: u8, given: Findings) {
        self.put_body(subject, n, given, b"body");
    }

    pub(crate) fn put_body(&self, subject: &str, n: u8, given: Findings, body: &[u8]) {
        self.submit(n, Action::Put(Box::new(self.a_put(subject, n, given, body))));
    }

    fn a_put(&self, subject: &str, n: u8, given: Findings, body: &[u8]) -> Put {
        self.put_at(self.address(subject), n, given, body)
    }

    fn put_at(&self, address: Address, n: u8, given: Findings, body: &[u8]) -> Put {
        let (opening, body_key) = ([n; 32], Zeroizing::new([n; 32]));
        let digest = ledger::statement::content_digest(&opening, body);
        let region = &self.committer.node.region;
        let sealed = SealedBody::new(&address, region, &AesGcm, &body_key, body);
        let content = Content { opening, digest, body_key, nonce: [n; 12], sealed };
        Put {
            address,
            request: request(n),
            condition: Condition::default(),
            create_subject: true,
            asked: bytes::Bytes::new(),
            given: Some(Given { findings: given, phone_data: None, ip_data: None }),
            validate_only: false,
            content,
            body_bytes: body.len(),
            expires: None,
            uploaded: None,
            attributes: RecordAttributes::new(),
            participants: Vec::new(),
            participants_epoch: EpochNumber(0),
        }
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader {
            node: Arc::clone(&self.committer.node),
            queue: self.queue.clone(),
            counts: Arc::clone(&self.committer.counts),
        }
    }

    fn submit(&self, n: u8, action: Action) {
        let (op, room) = self.op(n, action);
        self.queue.submit(op, room);
    }

    fn op(&self, n: u8, action: Action) -> (Op, Room) {
        let replies = self.replies.clone();
        let op = Op {
            reply: ReplySlot::new(move |outcome, _| replies.send((n, outcome)).unwrap_or_default()),
            deadline: Instant::now() + Duration::from_secs(600),
            asker: asker(Role::Writer, Some(here())),
            map_epoch: None,
            action,
        };
        let room = self.queue.admit(op.action.bytes()).expect("room");
        (op, room)
    }

    /// Has it work until nothing is left, and gives the answers.
    fn answers(self) -> (Left, Vec<(u8, Outcome)>) {
        let Self { committer, queue, inbox, life, replies, answers, answering, _folder } = self;
        drop((queue, replies));
        let node = Arc::clone(&committer.node);
        committer.run(inbox, &life);
        answering.join().expect("no panic");
        let life = *life.borrow();
        (Left { node, life }, answers.try_iter().collect())
    }

    /// The same; what the answers say: `written`, or a reason.
    pub(crate) fn run(self) -> (Left, Vec<&'static str>) {
        let (left, answers) = self.answers();
        (left, answers.iter().map(|(_, outcome)| said(outcome)).collect())
    }
}

/// What is left after a run.
pub(crate) struct Left {
    pub(crate) node: Arc<Node>,
    pub(crate) life: Life,
}

pub(crate) fn asker(role: Role, caller: Option<Country>) -> Asker {
    Asker {
        tenant: terms::TenantId::parse("sample").expect("a tenant"),
        who: Arc::new(Principal {
            tenant: Some(terms::TenantId::parse("sample").expect("a tenant")),
            name: "app".into(),
            period: Period::FIRST,
            tenant_tag: Some(TenantTag([2; 16])),
            caller: Caller { role, tag: [1; 16], territory: None },
        }),
        stands: Stands { gateway: here(), caller },
    }
}

/// What signs the log of a new store, and the file of its checkpoints.
fn signer(node: &Arc<Node>, durable: &Arc<Durable>, settings: &Settings) -> SharedSigner {
    let signer = new_signer(settings, "sample", &*node.entropy, Period::FIRST).expect("a key");
    let note = signed_empty(&signer).expect("a checkpoint");
    let anchor = CheckpointFile::create(&settings.checkpoint_path(), &note).expect("a file");
    let log = node.growing().name.clone();
    let shown = Signed { log, note, edge: ledger::Edge::new(), at: UnixMillis(0) };
    SharedSigner::new(CheckpointSigner::new(node, durable, signer, anchor, shown))
}

pub(crate) fn here() -> Country {
    Country::parse(testing::HERE).expect("a country")
}

fn request(n: u8) -> Request {
    Request { id: [n; 16], fingerprint: Fingerprint([n; 16]) }
}

pub(crate) fn created_by() -> Recent {
    Recent {
        request_id: [0; 16],
        fingerprint: Fingerprint([0; 16]),
        minute: Minute(1),
        version: Version(0),
        entry: EntryAt { log: LogId([0; 8]), index: LogIndex(0), first: LogIndex(0) },
    }
}

fn finding(kind: EvidenceKind, country: &str) -> Finding {
    Finding::parse(kind, country).expect("a finding")
}

/// Residence in Russia, and as many contact findings besides, which change no ruling.
pub(crate) fn findings(besides: usize) -> Findings {
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
fn a_store_writes_nothing_for_a_slot_that_it_does_not_own() {
    let disk = Disk::new(1);
    let (named, other) = ("anna", "boris");
    let slot = |subject: &str| {
        let tenant = terms::TenantId::parse("sample").expect("a tenant");
        terms::Slot::of(&tenant, &terms::SubjectId::parse(subject).expect("an id"))
    };
    let owned: SlotSet = [slot(named)].into_iter().collect();
    assert!(!owned.contains(slot(other)));
    let mut stage = Stage::owning(&disk, owned);
    let node = Arc::clone(&stage.committer.node);
    // In one group, and the one that is refused between two that are not.
    for (subject, n) in [(named, 1), (other, 2), (named, 3)] {
        stage.put(subject, n, findings(0));
    }
    let mut group = stage.inbox.group().expect("a group");
    stage.committer.commit(&mut group.ops, false).expect("a commit");
    assert_eq!(disk.head().size, 2);
    let owner = address(&node, other).owner;
    let of = Asked { slot: owner.slot, tag: owner.tag, row: owner.row() };
    let region = terms::RegionId::parse("kz-ala").expect("a name");
    stage.submit(4, Action::Claim(Box::new(Claim { of, region, validate_only: false })));
    let rows = node.engine.get_many(&[&owner.row()]).expect("a read");
    assert_eq!(rows, [None]);
    let (_, answers) = stage.answers();
    let mut said: Vec<_> = answers.iter().map(|(n, outcome)| (*n, said(outcome))).collect();
    said.sort_unstable();
    let no = "SLOT_NOT_OWNED";
    assert_eq!(said, [(1, "written"), (2, no), (3, "written"), (4, no)]);
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
    assert_eq!(puts(None), (Life::Serving, vec!["written"; 3]));
    let full = puts(Some(DiskFault::Full));
    assert_eq!(full, (Life::Serving, vec!["DISK_RESERVE"; 3]));
    for fault in [DiskFault::FlushFails, DiskFault::ReplyLost, DiskFault::Crash] {
        // What was in hand is not known to be done.
        let unknown = vec!["WRITE_OUTCOME_UNKNOWN"; 3];
        assert_eq!(puts(Some(fault)), (Life::Poisoned, unknown), "{fault:?}");
    }
}

fn op(reply: ReplySlot) -> Op {
    let read = Read {
        collection: Collection::parse("profiles").unwrap(),
        of: ReadOf::Record(created_by().entry, Found::default()),
        about: None,
        judged: EpochNumber(1),
    };
    Op {
        reply,
        deadline: Instant::now(),
        asker: asker(Role::Reader, None),
        map_epoch: Some(EpochNumber(1)),
        action: Action::Read(Box::new(read)),
    }
}

#[tokio::test]
async fn what_a_queue_does_not_take_is_known_not_to_be_done() {
    let (queue, inbox) = queue(Gauge::default());
    let session = queue.of_session();
    let (reply, queued) = slot();
    session.submit(op(reply), session.admit(512).unwrap());
    // The committer ends, with a write in its queue.
    drop(inbox);
    assert_eq!(answered(&queued), "SHUTTING_DOWN");
    let (reply, late) = slot();
    session.submit(op(reply), session.admit(512).unwrap());
    assert_eq!(answered(&late), "SHUTTING_DOWN");
}

#[test]
fn a_retry_gets_its_entry_from_its_own_group_and_from_the_store() {
    let disk = Disk::new(1);
    let mut stage = Stage::new(&disk);
    for n in 0..5 {
        stage.put(&format!("p{n}"), n, findings(0));
    }
    // In the same group as the write.
    stage.put("p3", 3, findings(0));
    let group = stage.inbox.group().expect("a group");
    let mut ops = group.ops;
    stage.committer.commit(&mut ops, false).expect("a commit");
    // In a later one.
    for n in 0..5 {
        stage.put(&format!("p{n}"), n, findings(0));
    }
    let (_, answers) = stage.answers();
    let mut first = HashMap::new();
    let mut replayed = Vec::new();
    for (n, outcome) in answers {
        let Outcome::Written(written) = outcome else { panic!("a put is written") };
        let (again, index) = (written.replayed, written.index);
        let entry = written.receipt.expect("a receipt").entry;
        if again {
            replayed.push((n, index, entry));
        } else {
            first.insert(n, (index, entry));
        }
    }
    assert_eq!((first.len(), replayed.len()), (5, 6));
    for (n, index, entry) in replayed {
        assert_eq!((index, entry), first[&n]);
    }
}

#[test]
fn an_engine_that_opens_again_settles_what_was_in_hand() {
    let mut kept = 0;
    for seed in 0..40 {
        for fault in [DiskFault::FlushFails, DiskFault::ReplyLost, DiskFault::Crash] {
            let disk = Disk::new(seed);
            disk.let_reopen();
            let mut stage = Stage::new(&disk);
            let reopened = stage.committer.node.metrics.store_reopened.clone();
            stage.put("first", 1, findings(0));
            let mut first = stage.inbox.group().expect("a group");
            stage.committer.commit(&mut first.ops, false).expect("a commit");
            disk.fail_next(fault);
            (0..3).for_each(|n| stage.put(&format!("p{n}"), 1, findings(0)));
            let (left, mut said) = stage.run();
            assert_eq!(said.remove(0), "written");
            assert_eq!((left.life, reopened.get()), (Life::Serving, 1), "{fault:?}, seed {seed}");
            // All of the group, or nothing of it; and the answers say which.
            let size = disk.head().size;
            assert!(size == 1 || size == 4, "{size}");
            let expected = if size == 1 { "REGION_UNAVAILABLE" } else { "written" };
            assert_eq!(said, vec![expected; 3], "{fault:?}, seed {seed}");
            assert_eq!(left.node.growing().size(), size);
            assert_eq!(left.node.subjects.len(), usize::try_from(size).expect("small"));
            assert!(size == 4 || fault != DiskFault::ReplyLost);
            kept += u32::from(size == 4);
        }
    }
    assert!((60..110).contains(&kept), "both outcomes happen: {kept} of 120 stand");
}
