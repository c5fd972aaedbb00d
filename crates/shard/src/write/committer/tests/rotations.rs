//! Rotations of a subject's keys that a block comes between.

use ledger::entry::{Entry, Kind};
use ledger::statement::commitment;

use super::*;
use crate::reply::Receipt;
use crate::store::keys;
use crate::store::rotation::Rotation;
use crate::store::subject::SubjectRow;
use crate::write::command::{Block, RotateKey};
use crate::write::due_subjects::due;

/// `anna`, as she is stored.
fn anna(node: &Node) -> Subject {
    let owner = address(node, "anna").owner;
    let at = owner.row();
    let row = node.engine.get_many(&[&at]).expect("a store").pop().flatten().expect("a row");
    let SubjectRow::Kept(subject) = node.open_subject(&owner, &row).expect("it opens") else {
        panic!("it is kept");
    };
    subject
}

/// A put of a record of hers.
fn put(stage: &Stage, n: u8) -> Action {
    Action::Put(Box::new(stage.a_put("anna", n, findings(0), b"body")))
}

/// Stores `anna` with a record and with that status, and with new keys under which no head is yet.
fn rotating(stage: &mut Stage, status: Status) {
    let first = put(stage, 1);
    assert_eq!(stage.does(first), "written");
    let node = Arc::clone(&stage.committer.node);
    let owner = address(&node, "anna").owner;
    let Recent { request_id, fingerprint, minute, .. } = created_by();
    let (reason, done_to) = ("a key may have leaked".to_owned(), Vec::new());
    let of = Rotation { request_id, fingerprint, began: minute, reason, heads: 0, done_to };
    let after = anna(&node).with_new_keys(&owner, node.subject_keys(), &*node.entropy, of);
    let mut after = after.expect("new keys");
    after.status = status;
    let (mut batch, head) = (Batch::new(), node.engine.head().expect("a head"));
    let minute = after.due().expect("something is due");
    batch.put(keys::subject_due(minute, &owner.row()), vec![1]);
    batch.put(owner.row(), after.seal(&owner, &node.region, [1; 12]));
    node.engine.commit(batch, head, head.size).expect("a commit");
    drop(node.subjects.remove(&owner.tag));
}

fn block(node: &Node, blocked: Option<Blocked>) -> Action {
    let (owner, reason) = (address(node, "anna").owner, "it is disputed".to_owned());
    let (validate_only, opening) = (false, [5; 32]);
    Action::Block(Box::new(Block { owner, blocked, reason, validate_only, opening }))
}

fn rotate(node: &Node, request: Option<Request>) -> Action {
    let (owner, reason) = (address(node, "anna").owner, "a key may have leaked".to_owned());
    let (validate_only, opening) = (false, [6; 32]);
    Action::RotateKey(Box::new(RotateKey { owner, request, reason, validate_only, opening }))
}

/// Does what is due, until nothing is: how many looks have found something.
fn looks(stage: &mut Stage) -> usize {
    let node = Arc::clone(&stage.committer.node);
    for looks in 0..9 {
        let (actions, _) = due(&node, None).expect("a look");
        if actions.is_empty() {
            return looks;
        }
        for action in actions {
            assert_eq!(stage.does(action), "written");
        }
    }
    panic!("something is always due")
}

#[test]
fn a_block_does_not_wait_for_a_rotation_which_goes_on_once_it_is_lifted() {
    let mut stage = Stage::new(&Disk::new(1));
    let node = Arc::clone(&stage.committer.node);
    rotating(&mut stage, Status::Live);
    let until = Minute(Minute::of(node.now()).0 + 60);
    let blocked = Blocked { until, then_erase: false };
    assert_eq!(stage.does(block(&node, Some(blocked))), "written");
    assert_eq!(looks(&mut stage), 0);
    assert_eq!(stage.does(rotate(&node, None)), "SUBJECT_BLOCKED");
    assert!(anna(&node).rotation().is_some());
    assert_eq!(stage.does(block(&node, None)), "written");
    assert_eq!(looks(&mut stage), 1);
    assert!(anna(&node).rotation().is_none());
    let second = put(&stage, 2);
    assert_eq!(stage.does(second), "written");
}

#[test]
fn a_rotation_that_began_after_the_end_of_a_block_is_done_without_a_caller() {
    let mut stage = Stage::new(&Disk::new(1));
    let node = Arc::clone(&stage.committer.node);
    // The block is over, and the sweep has not lifted it yet.
    rotating(&mut stage, Status::Blocked(Blocked { until: Minute(1), then_erase: false }));
    // It lifts the block with one look, and rotates with the next.
    assert_eq!(looks(&mut stage), 2);
    let anna = anna(&node);
    assert!(anna.rotation().is_none() && matches!(anna.status, Status::Live));
    let second = put(&stage, 2);
    assert_eq!(stage.does(second), "written");
}

#[test]
fn a_retry_of_a_rotation_that_the_sweep_has_ended_gets_its_receipt() {
    let mut stage = Stage::new(&Disk::new(1));
    let node = Arc::clone(&stage.committer.node);
    rotating(&mut stage, Status::Live);
    assert_eq!(looks(&mut stage), 1);
    stage.submit(9, rotate(&node, Some(request(0))));
    let (_, mut answers) = stage.answers();
    let Some((9, Outcome::Written(written))) = answers.pop() else { panic!("a retry is answered") };
    let Receipt { entry, opening, statement } = written.receipt.expect("a receipt");
    let said = Entry::decode(&entry).expect("an entry");
    assert!(written.replayed && said.kind == Kind::Key && said.count() == Some(written.records));
    assert_eq!(said.commitment, Some(commitment(&opening, &statement)));
}

#[test]
fn a_second_rotation_draws_keys_of_its_own_once_the_first_is_done() {
    let mut stage = Stage::new(&Disk::new(1));
    let node = Arc::clone(&stage.committer.node);
    rotating(&mut stage, Status::Live);
    let second = request(9);
    assert_eq!(stage.does(rotate(&node, Some(second))), "SHARD_BUSY");
    assert_eq!(looks(&mut stage), 1);
    let heads = rows_of(&node, 0x10);
    assert_eq!(stage.does(rotate(&node, Some(second))), "written");
    // Neither the subject's row nor the head is as it was.
    assert!(rows_of(&node, 0x10).iter().all(|row| !heads.contains(row)));
    assert_eq!(anna(&node).rotated.map(|rotated| rotated.by.request_id), Some(second.id));
    let third = put(&stage, 3);
    assert_eq!(stage.does(third), "written");
}

#[test]
fn what_the_shard_goes_on_with_is_done_below_the_reserve() {
    let stage = Stage::new(&Disk::new(1));
    let node = &stage.committer.node;
    assert!(rotate(node, Some(request(9))).fills());
    assert!(!rotate(node, None).fills());
}
