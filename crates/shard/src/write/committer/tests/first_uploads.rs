//! Uploads of people who are not stored: the put that ends one creates the subject, and no step before
//! it leaves anything that can be read as one.

use super::uploads::{CHUNK, begin, chunk, finish};
use super::*;
use crate::log::erasure_file::{KnownErasure, What as Erased};
use crate::store::attachment;
use crate::store::keyring::KeyChange;
use crate::store::keys;
use crate::store::participants::Participant;
use crate::write::abandoned::abandoned;
use crate::write::command::{Basis, KeyWork, UploadStep, What, Wrapped};

/// What comes with each step of an upload that may create its subject.
fn basis(given: Option<Findings>) -> Basis {
    let given = given.map(|findings| Given { findings, phone_data: None, ip_data: None });
    Basis { create_subject: true, given, ..Basis::NONE }
}

fn step(stage: &Stage, basis: Basis, what: What) -> Action {
    let address = stage.address("anna");
    let row = keys::upload(&address.row, &request(7).id);
    Action::Upload(Box::new(UploadStep { address, row, basis, what }))
}

fn first(stage: &Stage, what: What) -> Action {
    step(stage, basis(Some(findings(0))), what)
}

/// The put that ends it.
fn end(stage: &Stage) -> Action {
    let Action::Put(mut put) = finish(stage) else { panic!("a put") };
    put.create_subject = true;
    put.given = Some(Given { findings: findings(0), phone_data: None, ip_data: None });
    Action::Put(put)
}

/// How many rows there are of subjects and heads, of uploads, and of chunks.
fn rows(node: &Node) -> [usize; 3] {
    [0x10, 0x13, 0x12].map(|prefix| rows_of(node, prefix).len())
}

/// What a read of the attachment answers.
fn read(stage: &Stage) -> &'static str {
    let (reply, answers) = slot();
    let part = crate::policy::egress::BodyPart { offset: 0, length: 1 << 20, etag: String::new() };
    let asker = asker(Role::Reader, Some(here()));
    let lookup = Lookup {
        address: stage.address("anna"),
        asker,
        purpose: String::new(),
        part: Some(part),
        question: None,
        copy_of: None,
    };
    let deadline = Instant::now() + Duration::from_secs(600);
    let get = Get { reply, deadline, lookup, body: Some(CHUNK) };
    assert!(stage.reader().serve(vec![get]).is_empty());
    answered(&answers)
}

#[test]
fn the_subject_appears_with_its_attachment_and_not_before() {
    let mut stage = Stage::new(&Disk::new(1));
    let node = Arc::clone(&stage.committer.node);
    assert_eq!(stage.does(first(&stage, begin(CHUNK))), "uploading");
    assert_eq!(stage.does(first(&stage, chunk(&stage, 0))), "uploading");
    // Taken up again, by what is stored.
    assert_eq!(stage.does(first(&stage, begin(CHUNK))), "uploading");
    assert_eq!((rows(&node), node.metrics.entries.get()), ([0, 1, 1], 0));
    assert_eq!(read(&stage), "SUBJECT_UNKNOWN");
    assert_eq!(stage.does(end(&stage)), "written");
    // Subject and head; no upload; the chunk, and the hash of the whole. One entry tells of it.
    assert_eq!((rows(&node), node.metrics.entries.get()), ([2, 0, 2], 1));
    assert_eq!(read(&stage), "found");
    // Its keys are the subject's own from then on.
    assert_eq!(stage.does(erase(&node, None, 200)), "written");
    assert_eq!(stage.does(first(&stage, begin(CHUNK))), "SUBJECT_ERASED");
}

#[test]
fn what_no_put_could_create_begins_no_upload() {
    let mut stage = Stage::new(&Disk::new(1));
    let node = Arc::clone(&stage.committer.node);
    let mut elsewhere = Findings::new();
    elsewhere.insert(finding(EvidenceKind::Residence, "DE")).expect("room");
    let with = |given| step(&stage, basis(given), begin(CHUNK));
    let (without, abroad) = (with(None), with(Some(elsewhere)));
    let unasked = step(&stage, Basis::NONE, begin(CHUNK));
    for (action, reason) in [
        (without, "FIELD_MISSING"),
        (abroad, "PLACEMENT_NOT_ADMITTED"),
        (unasked, "SUBJECT_UNKNOWN"),
    ] {
        assert_eq!(stage.does(action), reason);
    }
    // What was found out about a participant under another map counts for nothing, at any step.
    let participant = || {
        let owner = address(&node, "boris").owner;
        Participant { id: owner.subject, region: node.region.clone(), jurisdictions: Vec::new() }
    };
    let named = || {
        let participants_epoch = EpochNumber(u64::MAX);
        let participants = vec![participant()];
        Basis { participants, participants_epoch, ..basis(Some(findings(0))) }
    };
    assert_eq!(stage.does(step(&stage, named(), begin(CHUNK))), "MAPS_DIFFER");
    assert_eq!(rows(&node), [0, 0, 0]);
    assert_eq!(stage.does(first(&stage, begin(CHUNK))), "uploading");
    assert_eq!(stage.does(step(&stage, named(), chunk(&stage, 0))), "MAPS_DIFFER");
    assert_eq!(rows(&node), [0, 1, 0]);
}

#[test]
fn an_erasure_of_one_who_is_not_stored_takes_what_is_uploaded() {
    // What is erased, and whether the upload is for a record of that.
    for (collection, takes) in [(None, true), (Some("profiles"), true), (Some("messages"), false)] {
        let mut stage = Stage::new(&Disk::new(1));
        let node = Arc::clone(&stage.committer.node);
        assert_eq!(stage.does(first(&stage, begin(2 * CHUNK))), "uploading");
        assert_eq!(stage.does(first(&stage, chunk(&stage, 0))), "uploading");
        let Action::Erase(mut dry) = erase(&node, collection, 200) else { panic!("an erasure") };
        dry.validate_only = true;
        assert_eq!(stage.does(Action::Erase(dry)), "SUBJECT_UNKNOWN");
        assert_eq!(rows(&node), [0, 1, 1]);
        assert_eq!(stage.does(erase(&node, collection, 200)), "SUBJECT_UNKNOWN");
        // The sweep of chunks takes those of what is gone.
        let left = (rows(&node), rows_of(&node, 0x14).len(), node.metrics.entries.get());
        let (expected, goes_on) = if takes {
            (([0, 0, 1], 1, 0), "UPLOAD_UNKNOWN")
        } else {
            (([0, 1, 1], 0, 0), "uploading")
        };
        assert_eq!(left, expected, "{collection:?}");
        assert_eq!(stage.does(first(&stage, chunk(&stage, 1))), goes_on, "{collection:?}");
    }
}

#[test]
fn an_erasure_of_a_collection_takes_the_upload_that_is_the_first_of_it() {
    let mut stage = Stage::new(&Disk::new(1));
    let node = Arc::clone(&stage.committer.node);
    assert_eq!(stage.does(first(&stage, begin(CHUNK))), "uploading");
    let put = stage.put_at(record(&node, "messages", "a"), 1, findings(0), b"body");
    assert_eq!(stage.does(Action::Put(Box::new(put))), "written");
    assert_eq!(stage.does(erase(&node, Some("profiles"), 200)), "RECORD_NOT_FOUND");
    // What is stored of her stays.
    assert_eq!((rows(&node), rows_of(&node, 0x14).len()), ([2, 0, 0], 1));
}

#[test]
fn what_binds_those_that_a_record_names_is_asked_of_each_step() {
    let mut stage = Stage::new(&Disk::new(1));
    let node = Arc::clone(&stage.committer.node);
    let mut put = stage.a_put("anna", 1, findings(0), b"body");
    put.participants = vec![Participant {
        id: address(&node, "dora").owner.subject,
        region: terms::RegionId::parse("eu-fra").expect("a region"),
        jurisdictions: vec![atlas::Jurisdiction::parse("EEA").expect("a code")],
    }];
    put.participants_epoch = stage.committer.rules.epoch();
    assert_eq!(stage.does(Action::Put(Box::new(put))), "written");
    let later = |stage: &Stage, what| step(stage, Basis::NONE, what);
    assert_eq!(stage.does(later(&stage, begin(CHUNK))), "uploading");
    // The clause from EEA to RU has ended, and the upload keeps the participants of the record.
    stage.under(&testing::MAP.replacen("expires = 2100-01-01", "expires = 2021-01-01", 1));
    assert_eq!(stage.does(later(&stage, chunk(&stage, 0))), "TRANSFER_NOT_COVERED");
    assert_eq!(rows(&node), [2, 1, 0]);
    let discard = What::Discard { idle_since: None, because: None };
    assert_eq!(stage.does(later(&stage, discard)), "UPLOAD_UNKNOWN");
    assert_eq!(stage.does(later(&stage, begin(CHUNK))), "TRANSFER_NOT_COVERED");
    assert_eq!(rows(&node), [2, 0, 0]);
}

#[test]
fn a_subject_that_a_put_creates_meanwhile_gets_the_attachment() {
    for erased in [false, true] {
        let mut stage = Stage::new(&Disk::new(1));
        let node = Arc::clone(&stage.committer.node);
        assert_eq!(stage.does(first(&stage, begin(CHUNK))), "uploading");
        let put = stage.put_at(record(&node, "messages", "a"), 1, findings(0), b"body");
        assert_eq!(stage.does(Action::Put(Box::new(put))), "written");
        assert_eq!(stage.does(first(&stage, chunk(&stage, 0))), "uploading");
        if erased {
            // The erasure takes the upload with it.
            assert_eq!(stage.does(erase(&node, None, 200)), "written");
            assert_eq!(stage.does(end(&stage)), "SUBJECT_ERASED");
            assert_eq!(rows(&node)[1], 0);
        } else {
            assert_eq!(stage.does(end(&stage)), "written");
            assert_eq!(read(&stage), "found");
        }
    }
}

#[test]
fn one_that_is_abandoned_is_found_and_leaves_no_subject() {
    // A restore may have put a tombstone in the place of its subject.
    for buried in [false, true] {
        let mut stage = Stage::new(&Disk::new(1));
        let node = Arc::clone(&stage.committer.node);
        assert_eq!(stage.does(first(&stage, begin(CHUNK))), "uploading");
        let (row, stored) = rows_of(&node, 0x13).remove(0);
        let mut front = attachment::UploadFront::read(&stored).expect("a row");
        front.minute = Minute(1);
        let (mut batch, head) = (Batch::new(), node.engine.head().expect("a head"));
        batch.put(row, front.onto(&stored).expect("a row"));
        if buried {
            batch.put(stage.address("anna").owner.row(), stone(&node, None));
        }
        node.engine.commit(batch, head, head.size).expect("a commit");
        let found = abandoned(&node).expect("a look").found;
        let records: Vec<&[u8]> = found.iter().map(|one| one.address.row.as_slice()).collect();
        assert_eq!(records, [stage.address("anna").row.as_slice()]);
        let discard = What::Discard { idle_since: None, because: None };
        assert_eq!(stage.does(step(&stage, Basis::NONE, discard)), "UPLOAD_UNKNOWN");
        assert_eq!(rows(&node), [usize::from(buried), 0, 0]);
    }
}

/// The tombstone of `anna`.
fn stone(node: &Node, moved: Option<terms::RegionId>) -> engine::Value {
    let (incarnation, tag) = (Incarnation::FIRST, address(node, "anna").owner.tag);
    Tombstone { incarnation, records: 0, by: created_by(), moved }.row(tag, &node.namer)
}

fn of_collection(name: &str) -> Erased {
    Erased::Collection(Collection::parse(name).expect("a name"), created_by())
}

#[test]
fn a_restored_upload_of_one_who_was_erased_is_taken_away() {
    // Begun before the backup, and what was erased after it.
    let left = |erased: fn(&Node) -> Erased| {
        let mut stage = Stage::new(&Disk::new(1));
        let node = Arc::clone(&stage.committer.node);
        assert_eq!(stage.does(first(&stage, begin(CHUNK))), "uploading");
        assert_eq!(stage.does(first(&stage, chunk(&stage, 0))), "uploading");
        let at = |index| CommitAt { period: Period::FIRST, index };
        let (row, what) = (stage.address("anna").owner.row(), erased(&node));
        let known = KnownErasure { entry: at(1), row, what };
        assert!(!stage.committer.erase_again(&known, at(0)).expect("a store"));
        // The sweep of chunks takes those of what is gone.
        (rows(&node), rows_of(&node, 0x14).len())
    };
    assert_eq!(left(|node| Erased::Subject(stone(node, None))), ([1, 0, 1], 1));
    let moved = left(|node| {
        let to = terms::RegionId::parse("eu-fra").expect("a region");
        Erased::Subject(stone(node, Some(to)))
    });
    assert_eq!(moved, ([1, 0, 1], 1));
    let profiles = left(|_| of_collection("profiles"));
    assert_eq!(profiles, ([0, 0, 1], 1));
    let messages = left(|_| of_collection("messages"));
    assert_eq!(messages, ([0, 1, 1], 0));
}

#[test]
fn a_restore_discards_one_whose_generation_is_gone() {
    let mut stage = Stage::new(&Disk::new(1));
    let node = Arc::clone(&stage.committer.node);
    assert_eq!(stage.does(first(&stage, begin(CHUNK))), "uploading");
    let (key, stored) = rows_of(&node, 0x13).remove(0);
    let discarded = |key: &[u8], stored: &[u8], held: &[u32]| {
        let mut batch = Batch::new();
        let done = attachment::discard_lost(&mut batch, key, stored, held);
        let head = node.engine.head().expect("a head");
        node.engine.commit(batch, head, head.size).expect("a commit");
        let gone = rows_of(&node, 0x14).into_iter().map(|(key, _)| key);
        (done, gone.collect::<Vec<engine::Key>>())
    };
    assert_eq!(discarded(&key, &stored, &[1, 2]), (false, Vec::new()));
    // Rows that do not say their generation, and rows of other kinds, are put back as they are.
    assert_eq!(discarded(&key, &[9], &[2]), (false, Vec::new()));
    let other_format = [&[9][..], &stored[1..]].concat();
    assert_eq!(discarded(&key, &other_format, &[2]), (false, Vec::new()));
    assert_eq!(discarded(&[0x12], &stored, &[2]), (false, Vec::new()));
    // The sweep of chunks then takes what it had.
    let front = attachment::UploadFront::read(&stored).expect("a row");
    let gone = keys::gone(&stage.address("anna").row, front.tag);
    assert_eq!(discarded(&key, &stored, &[2, 3]), (true, vec![gone]));
}

#[test]
fn an_old_generation_can_be_destroyed_while_one_goes_on() {
    let mut stage = Stage::new(&Disk::new(1));
    let node = Arc::clone(&stage.committer.node);
    assert_eq!(stage.does(first(&stage, begin(CHUNK))), "uploading");
    let row = || rows_of(&node, 0x13).remove(0);
    let generation = || attachment::generation_of(&row().1).expect("a row");
    assert_eq!(generation(), Some(1));
    let mut work = |what: KeyWork| {
        stage.committer.work_on_keys(what).expect("a store").expect("it is done");
    };
    work(KeyWork::Change(KeyChange::Add));
    work(KeyWork::Rewrap(Wrapped::Uploads, vec![row().0]));
    assert_eq!(generation(), Some(2));
    work(KeyWork::Change(KeyChange::Destroy(1)));
    assert_eq!(stage.does(first(&stage, chunk(&stage, 0))), "uploading");
    assert_eq!(stage.does(end(&stage)), "written");
    assert_eq!(read(&stage), "found");
}
