//! What writes and reads are answered of a subject that is not served.

use super::*;
use crate::reply::Page;
use crate::write::command::ReadAbout;
use crate::write::seen::Seen;

/// A subject in each status in which it is not written, and what every write of it is answered.
fn unserved(node: &Node) -> Vec<(&'static str, &'static str)> {
    let to = terms::RegionId::parse("eu-fra").expect("a region");
    let by = created_by();
    let of = Move {
        to: to.clone(),
        request_id: by.request_id,
        fingerprint: by.fingerprint,
        began: by.minute,
        reason: "asked for".into(),
        heads: 0,
        findings: findings(0),
        bases: Vec::new(),
        blocked: None,
        shared: false,
    };
    let left = moving::Left { of: of.clone(), entry: by.entry, opening: [1; 32], live: 0 };
    let here = Arriving {
        from: to.clone(),
        move_id: by.request_id,
        began: by.entry,
        after: Vec::new(),
        heads: 0,
        live: 0,
        before: None,
        blocked: None,
        attachment: None,
        proven: None,
    };
    let mut batch = Batch::new();
    for (name, status) in [
        ("blocked", Status::Blocked(Blocked { until: Minute(u32::MAX), then_erase: false })),
        ("moving", Status::Moving(Box::new(of))),
        ("left", Status::Left(Box::new(left))),
        ("arriving", Status::Arriving(Box::new(here))),
    ] {
        let owner = address(node, name).owner;
        let (region, keyring, entropy) = (&node.region, &*node.keyring, &*node.entropy);
        let mut subject = Subject::create(&owner, region, keyring, entropy, created_by());
        let subject = subject.as_mut().expect("a subject");
        subject.status = status;
        subject.findings = findings(0);
        batch.put(owner.row(), subject.seal(&owner, region, [1; 12]));
    }
    for (name, moved) in [("erased", None), ("moved", Some(to))] {
        let owner = address(node, name).owner;
        let incarnation = Incarnation::FIRST;
        let stone = Tombstone { incarnation, records: 0, by: created_by(), moved };
        batch.put(owner.row(), stone.row(owner.tag, &node.namer));
    }
    let head = node.engine.head().expect("a head");
    node.engine.commit(batch, head, head.size).expect("a commit");
    vec![
        ("blocked", "SUBJECT_BLOCKED"),
        ("moving", "SUBJECT_MOVING"),
        ("left", "SUBJECT_MOVING"),
        ("arriving", "SUBJECT_MOVING"),
        ("moved", "SUBJECT_MOVED"),
        ("erased", "SUBJECT_ERASED"),
    ]
}

#[test]
fn every_write_of_a_subject_that_is_not_served_is_refused() {
    let stage = Stage::new(&Disk::new(1));
    let cases = unserved(&stage.committer.node);
    let given = || Some(Given { findings: findings(0), phone_data: None, ip_data: None });
    let mut expected = Vec::new();
    for (n, (name, reason)) in (1_u8..).zip(cases) {
        let at = stage.address(name);
        for validate_only in [true, false] {
            let create = Create {
                owner: at.owner.clone(),
                collection: at.collection.clone(),
                request: request(n),
                asked: bytes::Bytes::new(),
                given: given(),
                validate_only,
                opening: [n; 32],
            };
            let delete = Delete {
                address: at.clone(),
                request: request(n),
                condition: Condition::default(),
                validate_only,
                content: Content::none([n; 32], [n; 12]),
            };
            stage.put(name, n, findings(0));
            stage.submit(n, Action::Create(Box::new(create)));
            stage.submit(n, Action::Delete(Box::new(delete)));
            expected.extend([reason; 3]);
        }
    }
    let node = Arc::clone(&stage.committer.node);
    let (_, said) = stage.run();
    assert_eq!(said, expected);
    assert_eq!(node.growing().size(), 0, "a refusal is no entry");
}

#[test]
fn a_logged_page_with_records_of_one_who_has_moved_since_is_not_given() {
    let mut stage = Stage::new(&Disk::new(1));
    let node = Arc::clone(&stage.committer.node);
    let cases = unserved(&node);
    assert!(cases.iter().any(|(name, _)| *name == "moved"));
    let seen = |name: &str| {
        let who = asker(Role::Reader, Some(here())).who;
        let (owners, purpose) = (vec![address(&node, name).owner], "a census".to_owned());
        let seen = Seen { owners, collection: address(&node, name).collection, who, purpose };
        seen.untold(&node).map(|told| told.len()).map_err(|fault| fault.reason.as_str())
    };
    // It is read again, without them. One who was erased is told nothing any more.
    assert_eq!((seen("moved"), seen("left")), (Err("SHARD_BUSY"), Err("SUBJECT_MOVING")));
    assert_eq!((seen("erased"), seen("moving")), (Ok(0), Ok(1)));
    // The same of a page of that person alone.
    for (name, answer) in [("moved", "SUBJECT_MOVED"), ("erased", "something else")] {
        let at = address(&node, name);
        let (page, why) = (Page::default(), "a census".to_owned());
        let read = Read {
            collection: at.collection,
            of: ReadOf::Page { page, count: 1, why: why.clone() },
            about: Some(ReadAbout::new(at.owner, why)),
            judged: stage.committer.rules.epoch(),
        };
        assert_eq!(stage.does(Action::Read(Box::new(read))), answer, "{name}");
    }
}

#[test]
fn every_read_of_a_subject_that_is_not_served_is_refused() {
    let stage = Stage::new(&Disk::new(1));
    let node = Arc::clone(&stage.committer.node);
    let reader = stage.reader();
    let answer = |name: &str, caller: &str| {
        let (reply, answers) = slot();
        let asker = asker(Role::Reader, Country::parse(caller));
        let (address, purpose) = (address(&node, name), String::new());
        let lookup = Lookup { address, asker, purpose, part: None, question: None, copy_of: None };
        let deadline = Instant::now() + Duration::from_secs(600);
        assert!(reader.serve(vec![Get { reply, deadline, lookup, body: None }]).is_empty());
        answered(&answers)
    };
    for (name, reason) in unserved(&node) {
        // One that is copied is read.
        let reason = if name == "moving" { "RECORD_NOT_FOUND" } else { reason };
        assert_eq!(answer(name, "RU"), reason);
        // To a reader abroad it is as one that never was.
        assert_eq!(answer(name, "DE"), answer("nobody", "DE"));
    }
    assert_eq!(answer("nobody", "RU"), "SUBJECT_UNKNOWN");
}
