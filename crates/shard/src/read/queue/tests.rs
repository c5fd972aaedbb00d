//! How much room reads take.

use std::time::Duration;

use engine::Disk;
use ledger::entry::Role;
use tokio::time::Instant;

use super::*;
use crate::policy::egress::Lookup;
use crate::read::list::people::Person;
use crate::reply::Outcome;
use crate::reply::answer_room::OTHERS_KIB;
use crate::reply::tests::slot;
use crate::store::erasure::CollectionErased;
use crate::store::subject::Subject;
use crate::testing::address;
use crate::write::committer::tests::{Stage, asker, created_by, findings, here};

const LARGE: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_read_takes_room_by_the_size_of_its_record() {
    let stage = Stage::new(&Disk::new(1));
    stage.put_body("small", 1, findings(0), &[7; 512]);
    stage.put_body("large", 2, findings(0), &vec![7; LARGE]);
    let reader = stage.reader();
    let ran = tokio::task::spawn_blocking(move || {
        // The reader holds the queue open: the committer ends when it is told to.
        let queue = stage.reader().queue;
        tokio::runtime::Handle::current().block_on(queue.end());
        drop(queue);
        stage.run().1
    });
    assert_eq!(ran.await.unwrap(), ["written", "written"]);
    let room = AnswerRoom::new();
    // The map lets a body have a mebibyte, and so much is not free: 64 small ones go all the same.
    let taken = room.take((OTHERS_KIB << 10) - LARGE).await.unwrap();
    let (open, _frames) = mpsc::channel(1);
    let serve = |subject: &'static str, count: usize| {
        let (gets, answers): (Vec<_>, Vec<_>) = (0..count)
            .map(|_| {
                let (reply, answers) = slot();
                let deadline = Instant::now() + Duration::from_secs(60);
                let address = address(&reader.node, subject);
                let (asker, purpose) = (asker(Role::Reader, Some(here())), String::new());
                let lookup =
                    Lookup { address, asker, purpose, part: None, question: None, copy_of: None };
                (Get { reply, deadline, lookup, body: None }, answers)
            })
            .unzip();
        let reads = ReadQueue::start(reader.clone(), room.clone(), open.clone());
        gets.into_iter().for_each(|get| reads.submit(get));
        (reads, answers)
    };
    let found = async |answers: &std::sync::mpsc::Receiver<_>| loop {
        match answers.try_recv() {
            Ok((Outcome::Found(found), held)) => {
                let held: Option<OwnedSemaphorePermit> = held;
                break (found.body.len(), held.expect("room"));
            }
            Ok(_) => panic!("it is found"),
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    };
    let (_reads, answers) = serve("small", 64);
    for answer in &answers {
        let (bytes, held) = found(answer).await;
        assert_eq!((bytes, held.num_permits()), (512, 1));
    }
    // A large one waits until there is as much as its head says, and takes no more.
    let (_more, answers) = serve("large", 1);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(answers[0].try_recv().is_err(), "there is no room for it yet");
    drop(taken);
    let (bytes, held) = found(&answers[0]).await;
    assert_eq!((bytes, held.num_permits()), (LARGE, (LARGE >> 10) + 1));
}

/// The reader of a shard with a small record of `anna`, whose cached subject is that of the moment
/// after her collection was erased.
fn reader_with_a_later_subject() -> (Reader, Arc<Subject>) {
    let stage = Stage::new(&Disk::new(1));
    stage.put_body("anna", 1, findings(0), &[7; 512]);
    let reader = stage.reader();
    // The reader holds the queue open: the committer ends when it is told to.
    std::thread::scope(|scope| {
        let queue = stage.reader().queue;
        scope.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(queue.end());
        });
        assert_eq!(stage.run().1, ["written"]);
    });
    let node = &reader.node;
    let address = address(node, "anna");
    let mut later = (*node.subjects.get(&address.owner.tag).unwrap()).clone();
    let erased =
        CollectionErased { collection: address.collection.clone(), records: 1, by: created_by() };
    later.forget(erased, &node.namer);
    let later = Arc::new(later);
    node.subjects.insert(address.owner.tag, Arc::clone(&later));
    (reader, later)
}

#[test]
fn a_record_is_not_damaged_because_its_subject_was_cached_at_another_moment() {
    let (reader, _) = reader_with_a_later_subject();
    let (reply, answers) = slot();
    let deadline = Instant::now() + Duration::from_secs(60);
    let address = address(&reader.node, "anna");
    let (asker, purpose) = (asker(Role::Reader, Some(here())), String::new());
    let lookup = Lookup { address, asker, purpose, part: None, question: None, copy_of: None };
    assert!(reader.serve(vec![Get { reply, deadline, lookup, body: None }]).is_empty());
    // What the store says, at one moment.
    assert!(matches!(answers.recv().unwrap().0, Outcome::Found(found) if found.body.len() == 512));
}

#[test]
fn a_list_passes_over_a_record_that_was_erased_since_its_view() {
    let (reader, subject) = reader_with_a_later_subject();
    let node = &*reader.node;
    let address = address(node, "anna");
    let view = node.engine.view().unwrap();
    let row = view.get_many(&[&address.row]).unwrap().pop().flatten().unwrap();
    let person = Person { owner: address.owner.clone(), subject, readable: true, barred: false };
    assert!(person.open(node, &*view, &address.row, &row).unwrap().is_none());
    // A row that nothing opens is damaged all the same.
    let mut damaged = row.to_vec();
    damaged[20] ^= 1;
    assert!(person.open(node, &*view, &address.row, &damaged).is_err());
}
