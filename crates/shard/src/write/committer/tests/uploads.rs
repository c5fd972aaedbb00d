//! Steps of uploads: nothing of them is logged or can be read, and what is discarded leaves no row.

use engine::{Order, ScanLimit};

use super::*;
use crate::store::attachment::{AttachmentKey, Chunks, UploadFront, gone_rows};
use crate::store::keys;
use crate::store::types::AttachmentTag;
use crate::write::abandoned::abandoned;
use crate::write::command::{Basis, Begin, UploadStep, Uploaded, What};

pub(super) const CHUNK: usize = limits::ATTACHMENT_CHUNK_BYTES;

fn key() -> AttachmentKey {
    Zeroizing::new([9; 32])
}

fn tag(node: &Node) -> AttachmentTag {
    node.namer.attachment(&key())
}

fn step(stage: &Stage, n: u8, what: What) {
    let address = stage.address("anna");
    let row = keys::upload(&address.row, &request(7).id);
    let basis = Basis::NONE;
    stage.submit(n, Action::Upload(Box::new(UploadStep { address, row, basis, what })));
}

pub(super) fn begin(bytes: usize) -> What {
    What::Begin(Box::new(Begin {
        request: request(7),
        condition: Condition::default(),
        expires: None,
        attributes: RecordAttributes::new(),
        asked: bytes::Bytes::new(),
        bytes: u32::try_from(bytes).expect("small"),
        sha256: [1; 32],
        key: key(),
        nonce: [3; 12],
    }))
}

pub(super) fn chunk(stage: &Stage, number: u32) -> What {
    let (node, address, key) = (&stage.committer.node, stage.address("anna"), key());
    let tag = node.namer.attachment(&key);
    let (region, cipher) = (&node.region, node.cipher);
    let chunks = Chunks { address: &address, region, cipher, key: &key, tag };
    let sealed = chunks.seal(number, [4; 16], &vec![5; CHUNK]);
    What::Chunk { number, at: chunks.row(number), sealed }
}

/// How many rows there are of uploads, and of chunks.
fn rows(left: &Left) -> [usize; 2] {
    [0x13, 0x12].map(|prefix| rows_of(&left.node, prefix).len())
}

#[test]
fn steps_are_taken_in_order_and_leave_no_entry() {
    let stage = Stage::new(&Disk::new(1));
    stage.put("anna", 1, findings(0));
    step(&stage, 2, begin(2 * CHUNK));
    step(&stage, 3, chunk(&stage, 0));
    step(&stage, 4, chunk(&stage, 0));
    step(&stage, 5, chunk(&stage, 2));
    step(&stage, 6, chunk(&stage, 1));
    step(&stage, 8, begin(2 * CHUNK));
    let (left, said) = stage.run();
    let step = "uploading";
    let late = "UPLOAD_OUT_OF_STEP";
    assert_eq!(said, ["written", step, step, late, late, step, step]);
    assert_eq!(left.node.metrics.entries.get(), 1, "the put alone is logged");
    assert_eq!(rows(&left), [1, 2]);
}

#[test]
fn an_upload_without_a_subject_or_a_beginning_stores_nothing() {
    let stage = Stage::new(&Disk::new(1));
    step(&stage, 1, begin(CHUNK));
    step(&stage, 2, chunk(&stage, 0));
    stage.put("anna", 3, findings(0));
    step(&stage, 4, chunk(&stage, 0));
    let (left, said) = stage.run();
    assert_eq!(said, ["SUBJECT_UNKNOWN", "SUBJECT_UNKNOWN", "written", "UPLOAD_UNKNOWN"]);
    assert_eq!(rows(&left), [0, 0]);
}

#[test]
fn what_is_discarded_is_gone_unless_it_has_gone_on() {
    for (idle_since, left_over) in
        [(None, [0, 1]), (Some(Minute(u32::MAX)), [0, 1]), (Some(Minute(1)), [1, 1])]
    {
        let stage = Stage::new(&Disk::new(1));
        stage.put("anna", 1, findings(0));
        step(&stage, 2, begin(2 * CHUNK));
        step(&stage, 3, chunk(&stage, 0));
        step(&stage, 4, What::Discard { idle_since, because: None });
        let (left, said) = stage.run();
        assert_eq!(said, ["written", "uploading", "uploading", "UPLOAD_UNKNOWN"]);
        assert_eq!(rows(&left), left_over, "{idle_since:?}");
        let (span, limit) = (keys::all_gone(), ScanLimit { rows: 9, bytes: 1 << 10 });
        let gone = left.node.engine.scan(&span, Order::Ascending, limit).expect("a scan").rows;
        assert_eq!(gone.len(), 1 - left_over[0], "{idle_since:?}");
        for (key, row) in gone {
            let named = gone_rows(&key, &row).expect("rows");
            let of_first = keys::chunk(&address(&left.node, "anna").row, tag(&left.node), 0);
            // Two chunks, and the hash of the whole.
            assert_eq!((named.len(), named[0] == of_first), (3, true));
        }
    }
}

#[test]
fn the_chunks_of_what_is_gone_are_deleted_without_an_entry() {
    let stage = Stage::new(&Disk::new(1));
    stage.put("anna", 1, findings(0));
    step(&stage, 2, begin(2 * CHUNK));
    step(&stage, 3, chunk(&stage, 0));
    step(&stage, 4, What::Discard { idle_since: None, because: None });
    let (head, tag) = (stage.address("anna").row, tag(&stage.committer.node));
    let (sender, mut done) = tokio::sync::oneshot::channel();
    let all = vec![keys::chunk(&head, tag, 0), keys::gone(&head, tag)];
    stage.queue.submit_errand(Errand::Clear(all, sender));
    let (left, _) = stage.run();
    done.try_recv().expect("it is done");
    assert_eq!((rows(&left), left.node.metrics.entries.get()), ([0, 0], 1));
}

#[test]
fn an_upload_that_nobody_goes_on_with_is_found() {
    let stage = Stage::new(&Disk::new(1));
    stage.put("anna", 1, findings(0));
    step(&stage, 2, begin(CHUNK));
    let (left, _) = stage.run();
    let (node, limit) = (&left.node, ScanLimit { rows: 9, bytes: 1 << 20 });
    let look = abandoned(node).expect("a look");
    assert!(look.found.is_empty() && look.damaged == 0, "it has just begun");
    let rows = node.engine.scan(&keys::uploads(), Order::Ascending, limit).expect("a scan").rows;
    let (row, stored) = &rows[0];
    let mut front = UploadFront::read(stored).expect("a row");
    front.minute = Minute(1);
    let (mut batch, head) = (Batch::new(), node.engine.head().expect("a head"));
    let old = front.onto(stored).expect("a row");
    batch.put(row.clone(), old.clone());
    // Rows that do not open, before it and after it.
    let near = |last: u8| {
        let mut key = row.clone();
        *key.last_mut().expect("a byte") ^= last;
        key
    };
    for last in [0x01, 0x80, 0xff] {
        batch.put(near(last), vec![9]);
    }
    batch.put(near(0x02), old[..old.len() - 1].to_vec());
    batch.put(near(0x03), old[..old.len() / 4].to_vec());
    node.engine.commit(batch, head, head.size).expect("a commit");
    let look = abandoned(node).expect("a look");
    assert_eq!(look.damaged, 5);
    let records: Vec<&[u8]> = look.found.iter().map(|one| one.address.row.as_slice()).collect();
    assert_eq!(records, [address(node, "anna").row.as_slice()]);
}

/// A put of an attachment that was uploaded.
pub(super) fn finish(stage: &Stage) -> Action {
    let (node, address, key) = (&stage.committer.node, stage.address("anna"), key());
    let row = keys::upload(&address.row, &request(7).id);
    let (region, cipher, tag) = (&node.region, node.cipher, tag(node));
    let whole = {
        let chunks = Chunks { address: &address, region, cipher, key: &key, tag };
        (chunks.whole_row(), chunks.seal_whole([5; 16], &[1; 32]))
    };
    let mut put = stage.a_put("anna", 7, findings(0), b"");
    put.content.body_key = key;
    put.content.sealed = SealedBody::chunked(u32::try_from(CHUNK).expect("small"));
    (put.create_subject, put.given) = (false, None);
    put.uploaded = Some(Box::new(Uploaded { row, whole }));
    Action::Put(Box::new(put))
}

fn upload(stage: &Stage, what: What) -> Action {
    let address = stage.address("anna");
    let row = keys::upload(&address.row, &request(7).id);
    Action::Upload(Box::new(UploadStep { address, row, basis: Basis::NONE, what }))
}

#[test]
fn an_attachment_can_be_the_first_record_of_its_collection() {
    for erased in [false, true] {
        let mut stage = Stage::new(&Disk::new(1));
        let node = Arc::clone(&stage.committer.node);
        let collection = if erased { "profiles" } else { "messages" };
        let put = stage.put_at(record(&node, collection, "a"), 1, findings(0), b"body");
        assert_eq!(stage.does(Action::Put(Box::new(put))), "written");
        if erased {
            assert_eq!(stage.does(erase(&node, Some("profiles"), 200)), "written");
        }
        assert_eq!(stage.does(upload(&stage, begin(CHUNK))), "uploading", "{erased}");
        // As it is kept in memory, and as it is stored.
        if erased {
            node.subjects.clear();
        }
        assert_eq!(stage.does(upload(&stage, chunk(&stage, 0))), "uploading");
        assert_eq!(stage.does(finish(&stage)), "written");
        let (reply, answers) = slot();
        let part =
            crate::policy::egress::BodyPart { offset: 0, length: 1 << 20, etag: String::new() };
        let asker = asker(Role::Reader, Some(here()));
        let (address, purpose) = (stage.address("anna"), String::new());
        let lookup =
            Lookup { address, asker, purpose, part: Some(part), question: None, copy_of: None };
        let deadline = Instant::now() + Duration::from_secs(600);
        let get = Get { reply, deadline, lookup, body: Some(CHUNK) };
        assert!(stage.reader().serve(vec![get]).is_empty());
        assert_eq!(answered(&answers), "found", "{erased}");
        // Its key goes with the collection, as any other.
        assert_eq!(stage.does(erase(&node, Some("profiles"), 201)), "written");
    }
}

#[test]
fn an_upload_that_is_the_first_of_its_collection_and_is_abandoned_goes_with_it() {
    let mut stage = Stage::new(&Disk::new(1));
    let node = Arc::clone(&stage.committer.node);
    let put = stage.put_at(record(&node, "messages", "a"), 1, findings(0), b"body");
    assert_eq!(stage.does(Action::Put(Box::new(put))), "written");
    assert_eq!(stage.does(upload(&stage, begin(CHUNK))), "uploading");
    let discard = What::Discard { idle_since: None, because: None };
    assert_eq!(stage.does(upload(&stage, discard)), "UPLOAD_UNKNOWN");
    // The ruling stands, without a record; and a put rests on it.
    stage.put("anna", 2, findings(0));
    let mut group = stage.inbox.group().expect("a group");
    stage.committer.commit(&mut group.ops, false).expect("a commit");
    assert_eq!(said(&stage.answers.recv().expect("an answer").1), "written");
    assert_eq!(stage.does(erase(&node, Some("profiles"), 200)), "written");
}

#[test]
fn a_tenant_takes_a_part_of_the_uploads_and_no_more() {
    let mut stage = Stage::new(&Disk::new(1));
    let one = "[[tenants]]\nname = \"sample\"\n";
    let two = format!("[[tenants]]\nname = \"other\"\n\n{one}");
    stage.under(&testing::MAP.replacen(one, &two, 1));
    let node = Arc::clone(&stage.committer.node);
    let at = |tenant: &str, subject: usize| {
        let tenant = terms::TenantId::parse(tenant).expect("a tenant");
        let id = terms::SubjectId::parse(&format!("p{subject}")).expect("an id");
        let owner = node.namer.owner(tenant, id);
        let Address { collection, key, .. } = address(&node, "anna");
        let row = node.namer.record(&owner, &collection, &key);
        Address { owner, collection, key, row }
    };
    let begins = |address: Address, n: u8| {
        let What::Begin(mut of) = begin(1) else { panic!("a beginning") };
        of.request = request(n);
        let row = keys::upload(&address.row, &of.request.id);
        let what = What::Begin(of);
        Action::Upload(Box::new(UploadStep { address, row, basis: Basis::NONE, what }))
    };
    let of_subject = u8::try_from(limits::UPLOADS_OF_SUBJECT_MAX).expect("few");
    let subjects = limits::UPLOADS_OF_TENANT_MAX / limits::UPLOADS_OF_SUBJECT_MAX;
    for (tenant, subject) in (0..=subjects).map(|n| ("sample", n)).chain([("other", 0)]) {
        let put = stage.put_at(at(tenant, subject), 1, findings(0), b"body");
        assert_eq!(stage.does(Action::Put(Box::new(put))), "written");
    }
    // All in one group: each is counted with those before it.
    let mut ops = VecDeque::new();
    for subject in 0..subjects {
        ops.extend((0..of_subject).map(|n| stage.op(n, begins(at("sample", subject), 100 + n))));
    }
    stage.committer.commit(&mut ops, false).expect("a commit");
    let begun: Vec<_> = stage.answers.try_iter().map(|(_, outcome)| said(&outcome)).collect();
    assert_eq!(begun, vec!["uploading"; limits::UPLOADS_OF_TENANT_MAX]);
    assert_eq!(stage.does(begins(at("sample", subjects), 100)), "UPLOADS_FULL");
    // One that has begun is known, and another tenant has room.
    assert_eq!(stage.does(begins(at("sample", 0), 100)), "uploading");
    for n in 0..of_subject {
        assert_eq!(stage.does(begins(at("other", 0), 100 + n)), "uploading");
    }
    assert_eq!(stage.does(begins(at("other", 0), 100 + of_subject)), "UPLOADS_FULL");
    // What is idle gives way, for its own tenant: one that goes on does not.
    let later = u64::from(limits::UPLOAD_IDLE_MINUTES + 1) * 60_000;
    stage.committer.last_commit.0 += later;
    assert_eq!(stage.does(begins(at("sample", subjects), 100)), "uploading");
    let left = |stage: &Stage| rows_of(&stage.committer.node, 0x13).len();
    let all = limits::UPLOADS_OF_TENANT_MAX + limits::UPLOADS_OF_SUBJECT_MAX;
    assert_eq!(left(&stage), all);
    for n in of_subject..2 * of_subject {
        assert_eq!(stage.does(begins(at("other", 0), 100 + n)), "uploading", "{n}");
    }
    assert_eq!(stage.does(begins(at("other", 0), 100 + 2 * of_subject)), "UPLOADS_FULL");
    assert_eq!(left(&stage), all);
    for n in of_subject..2 * of_subject {
        assert_eq!(stage.does(begins(at("other", 0), 100 + n)), "uploading", "known: {n}");
    }
}
