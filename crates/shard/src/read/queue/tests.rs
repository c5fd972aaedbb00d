//! How much room reads take.

use std::time::Duration;

use engine::Disk;
use ledger::entry::Role;
use tokio::time::Instant;

use super::*;
use crate::policy::egress::Lookup;
use crate::reply::Outcome;
use crate::reply::tests::slot;
use crate::testing::address;
use crate::write::committer::tests::{Stage, asker, findings, here};

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
    let taken = room.take(limits::SESSION_ANSWER_BYTES_MAX - LARGE).await.unwrap();
    let (open, _frames) = mpsc::channel(1);
    let serve = |subject: &'static str, count: usize| {
        let (gets, answers): (Vec<_>, Vec<_>) = (0..count)
            .map(|_| {
                let (reply, answers) = slot();
                let deadline = Instant::now() + Duration::from_secs(60);
                let address = address(&reader.node, subject);
                let lookup =
                    Lookup { address, asker: asker(Role::Reader, Some(here())), part: None };
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
