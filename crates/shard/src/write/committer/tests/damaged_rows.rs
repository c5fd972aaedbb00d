//! One row that cannot be read stops no sweep: it is passed over, and what comes after it is done.

use super::uploads::{CHUNK, begin};
use super::*;
use crate::store::attachment;
use crate::store::keys;
use crate::store::types::{AttachmentTag, CommitAt};
use crate::write::command::{Basis, UploadStep};
use crate::write::{feed_sweep, gone_chunks};

fn put(node: &Node, rows: Vec<(engine::Key, Vec<u8>)>) {
    let (mut batch, head) = (Batch::new(), node.engine.head().expect("a head"));
    rows.into_iter().for_each(|(key, row)| batch.put(key, row));
    node.engine.commit(batch, head, head.size).expect("a commit");
}

#[test]
fn chunks_of_an_attachment_behind_a_damaged_row_are_deleted() {
    let stage = Stage::new(&Disk::new(1));
    let node = &stage.committer.node;
    let head = stage.address("anna").row;
    let gone = |tag: u8| keys::gone(&head, AttachmentTag([tag; 16]));
    put(node, vec![(gone(1), vec![9]), (gone(2), Vec::new())]);
    assert_eq!(gone_chunks::rows(node).expect("a look"), None);
    let mut batch = Batch::new();
    attachment::discard(&mut batch, &head, AttachmentTag([3; 16]), 1);
    let at = node.engine.head().expect("a head");
    node.engine.commit(batch, at, at.size).expect("a commit");
    let rows = gone_chunks::rows(node).expect("a look").expect("an attachment");
    // Its chunk, the hash of the whole, and the row itself.
    assert_eq!((rows.len(), rows.last()), (3, Some(&gone(3))));
}

#[test]
fn rows_of_the_feed_behind_a_damaged_one_are_removed_with_it() {
    let stage = Stage::new(&Disk::new(1));
    let node = &stage.committer.node;
    let feed = |index| keys::feed(CommitAt { period: Period::FIRST, index });
    let of_minute = |minute: u32| [&[1][..], &minute.to_be_bytes()].concat();
    let due = || feed_sweep::due(node).expect("a look");
    // What follows says how old it is.
    put(node, vec![(feed(1), vec![9])]);
    assert_eq!(due(), Vec::<engine::Key>::new());
    let young = of_minute(u32::MAX);
    put(node, vec![(feed(2), of_minute(1)), (feed(3), vec![9]), (feed(4), young)]);
    assert_eq!(due(), [feed(1), feed(2)]);
}

#[test]
fn a_whole_page_of_damaged_rows_of_the_feed_hides_no_row_behind_it() {
    let stage = Stage::new(&Disk::new(1));
    let node = &stage.committer.node;
    let feed = |index| keys::feed(CommitAt { period: Period::FIRST, index });
    let rows = (1..=600).map(|index| (feed(index), vec![9])).collect();
    put(node, rows);
    let due = || feed_sweep::due(node).expect("a look");
    assert_eq!(due(), Vec::<engine::Key>::new());
    put(node, vec![(feed(601), [&[1][..], &1_u32.to_be_bytes()].concat())]);
    // As many as are removed together, from the oldest on.
    assert_eq!(due(), (1..=256).map(feed).collect::<Vec<_>>());
}

#[test]
fn a_damaged_upload_keeps_no_other_from_beginning_and_no_person_from_being_erased() {
    let mut stage = Stage::new(&Disk::new(1));
    let node = Arc::clone(&stage.committer.node);
    let address = stage.address("anna");
    let written = stage.put_at(stage.address("anna"), 1, findings(0), b"body");
    assert_eq!(stage.does(Action::Put(Box::new(written))), "written");
    put(&node, vec![(keys::upload(&address.row, &request(9).id), vec![9])]);
    let row = keys::upload(&address.row, &request(7).id);
    let (basis, what) = (Basis::NONE, begin(CHUNK));
    let step = UploadStep { address, row, basis, what };
    assert_eq!(stage.does(Action::Upload(Box::new(step))), "uploading");
    assert_eq!(rows_of(&node, 0x13).len(), 2);
    assert_eq!(stage.does(erase(&node, None, 200)), "written");
    assert_eq!(rows_of(&node, 0x13).len(), 0);
}
