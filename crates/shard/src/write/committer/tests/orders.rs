//! The order of a move holds up other writes no longer than another write does.

use terms::RegionId;

use super::*;
use crate::read::before_move::look;
use crate::write::command::{Depart, DepartStep};
use crate::write::move_command::{Looked, Order};

/// Records of the person.
const RECORDS: u8 = 60;

fn order(node: &Node, looked: Option<Looked>) -> Action {
    let mut given = Findings::new();
    for kind in [EvidenceKind::Citizenship, EvidenceKind::Residence] {
        given.insert(finding(kind, "DE")).expect("room");
    }
    let order = Order {
        to: RegionId::parse("eu-fra").expect("a region"),
        request: request(200),
        reason: "the person has moved".to_owned(),
        given: Some(Given { findings: given, phone_data: None, ip_data: None }),
        validate_only: true,
        looked,
    };
    let (owner, opening) = (address(node, "anna").owner, [8; 32]);
    Action::Depart(Box::new(Depart { owner, opening, step: DepartStep::Order(Box::new(order)) }))
}

/// The rows that a dry run of the order reads in the committer.
fn rows_read(stage: &mut Stage, disk: &Disk, looked: Option<Looked>) -> u64 {
    let before = disk.rows_read();
    let order = order(&Arc::clone(&stage.committer.node), looked);
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
    let looked = || look(&node, &owner).expect("one look");
    let all = u64::from(RECORDS);
    assert!(rows_read(&mut stage, &disk, None) >= all);
    let first = looked();
    assert!(first.as_ref().is_some_and(|looked| looked.heads == all));
    // Another person's writes change nothing of it.
    put(&mut stage, "boris", "k", 100);
    let few = rows_read(&mut stage, &disk, first);
    assert!(few < all / 2, "{few}");
    // A write of the person does, whenever it comes after the look has begun.
    let second = looked();
    put(&mut stage, "anna", "later", 101);
    assert!(rows_read(&mut stage, &disk, second) > all);
    // So many are under way at the most.
    let held: Vec<_> = std::iter::from_fn(|| look(&node, &owner).ok()).take(1_000).collect();
    assert!(held.len() < 1_000);
    drop(held);
    assert!(looked().is_some());
}
