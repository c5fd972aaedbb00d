//! The order of a move holds up other writes no longer than another write does.

use terms::RegionId;

use super::*;
use crate::read::before_move::look;
use crate::store::participants::Participant;
use crate::write::command::{Depart, DepartStep};
use crate::write::move_command::{Looked, Order, Switch};

/// Records of the person.
const RECORDS: u8 = 60;

fn order_of(node: &Node, subject: &str, looked: Option<Looked>, validate_only: bool) -> Action {
    let mut given = Findings::new();
    for kind in [EvidenceKind::Citizenship, EvidenceKind::Residence] {
        given.insert(finding(kind, "DE")).expect("room");
    }
    let order = Order {
        to: RegionId::parse("eu-fra").expect("a region"),
        request: request(200),
        reason: "the person has moved".to_owned(),
        given: Some(Given { findings: given, phone_data: None, ip_data: None }),
        validate_only,
        looked,
    };
    let (owner, opening) = (address(node, subject).owner, [8; 32]);
    Action::Depart(Box::new(Depart { owner, opening, step: DepartStep::Order(Box::new(order)) }))
}

/// The rows that a dry run of the order reads in the committer.
fn rows_read(stage: &mut Stage, disk: &Disk, looked: Option<Looked>) -> u64 {
    let before = disk.rows_read();
    let order = order_of(&Arc::clone(&stage.committer.node), "anna", looked, true);
    assert_eq!(stage.does(order), "written");
    disk.rows_read() - before
}

#[test]
fn what_was_looked_at_before_is_looked_at_again_only_if_the_person_was_written_since() {
    let disk = Disk::new(1);
    let mut stage = Stage::new(&disk);
    let node = Arc::clone(&stage.committer.node);
    let put = |stage: &mut Stage, subject: &str, key: &str, n: u8| {
        let Address { owner, collection, .. } = address(&node, subject);
        let key = terms::RecordKey::parse(key).expect("a key");
        let row = node.namer.record(&owner, &collection, &key);
        let at = Address { owner, collection, key, row };
        let put = stage.put_at(at, n, findings(0), b"body");
        assert_eq!(stage.does(Action::Put(Box::new(put))), "written");
    };
    for n in 1..=RECORDS {
        put(&mut stage, "anna", &format!("k{n}"), n);
    }
    let owner = address(&node, "anna").owner;
    let looked = || look(&node, &owner, [200; 16]).expect("one look");
    let all = u64::from(RECORDS);
    assert!(rows_read(&mut stage, &disk, None) >= all);
    let first = looked();
    assert!(first.as_ref().is_some_and(|looked| looked.heads == all));
    // Another person's writes change nothing of it.
    put(&mut stage, "boris", "k", 100);
    let few = rows_read(&mut stage, &disk, first);
    assert!(few < all / 2, "{few}");
    // A write of the person does, after the look or while it reads.
    let second = looked();
    put(&mut stage, "anna", "later", 101);
    assert!(rows_read(&mut stage, &disk, second) > all);
    let begun = node.moves.look(&owner).expect("room");
    put(&mut stage, "anna", "meanwhile", 102);
    let stale = Looked { look: begun, heads: all };
    assert!(rows_read(&mut stage, &disk, Some(stale)) > all);
    // So many are under way at the most.
    let held: Vec<_> =
        std::iter::from_fn(|| look(&node, &owner, [200; 16]).ok()).take(1_000).collect();
    assert!(held.len() < 1_000);
    // Of one who is not there, nothing is looked at.
    let unknown = address(&node, "clara").owner;
    assert!(look(&node, &unknown, [200; 16]).expect("no look is needed").is_none());
    drop(held);
    assert!(looked().is_some());
}

#[test]
fn what_names_other_people_or_stands_already_is_left_to_the_committer() {
    let disk = Disk::new(1);
    let mut stage = Stage::new(&disk);
    let node = Arc::clone(&stage.committer.node);
    let mut shared = stage.a_put("anna", 1, findings(0), b"body");
    shared.participants = vec![Participant {
        id: address(&node, "dora").owner.subject,
        region: RegionId::parse("eu-fra").expect("a region"),
        jurisdictions: vec![atlas::Jurisdiction::parse("EEA").expect("a code")],
    }];
    shared.participants_epoch = stage.committer.rules.epoch();
    assert_eq!(stage.does(Action::Put(Box::new(shared))), "written");
    let anna = address(&node, "anna").owner;
    assert!(look(&node, &anna, [200; 16]).expect("one look").is_none());
    // Of a person who moves already, no record is read.
    let put = stage.a_put("boris", 2, findings(0), b"body");
    assert_eq!(stage.does(Action::Put(Box::new(put))), "written");
    let boris = address(&node, "boris").owner;
    assert!(look(&node, &boris, [200; 16]).expect("one look").is_some());
    assert_eq!(stage.does(order_of(&node, "boris", None, false)), "written");
    let held: Vec<_> = std::iter::from_fn(|| node.moves.look(&boris)).take(1_000).collect();
    assert!(held.len() < 1_000);
    assert!(look(&node, &boris, [200; 16]).expect("no look is needed").is_none());
}

#[test]
fn a_store_gives_no_one_away_whose_slot_is_not_confirmed() {
    let disk = Disk::new(1);
    let mut stage = Stage::new(&disk);
    let node = Arc::clone(&stage.committer.node);
    let put = stage.a_put("anna", 1, findings(0), b"body");
    assert_eq!(stage.does(Action::Put(Box::new(put))), "written");
    assert_eq!(stage.does(order_of(&node, "anna", None, false)), "written");

    let switch = || {
        let switch = Switch {
            move_id: request(200).id,
            digest: [3; 32],
            live: std::collections::BTreeMap::new(),
            peer: ("sample/eu-fra/s1/1".to_owned(), 7),
        };
        let (owner, opening) = (address(&node, "anna").owner, [9; 32]);
        let step = DepartStep::Switch(Box::new(switch));
        Action::Depart(Box::new(Depart { owner, opening, step }))
    };
    let unconfirmed = OwnSlots { unconfirmed: SlotSet::ALL, ..OwnSlots::default() };
    let confirmed = node.slots.send_replace(unconfirmed);
    let size = disk.head().size;
    assert_eq!(stage.does(switch()), "SLOT_NOT_OWNED");
    assert_eq!(disk.head().size, size, "there is no MOVE_OUT");
    // An erasure is done: what is stored goes.
    assert!(erase(&node, None, 4).may_be_done(&node.slots.borrow()));
    node.slots.send_replace(confirmed);
    assert_eq!(stage.does(switch()), "written");
}
