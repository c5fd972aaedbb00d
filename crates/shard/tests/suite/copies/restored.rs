//! Copies of a home that was restored from before they were made.

use atlas::Annex;

use super::maps::{copy_of, start, stop, until_copied};
use super::*;
use crate::support::{Running, Session, request_id, unlocked};

/// A person's record, with the version that it makes.
async fn store(session: &mut Session, subject: &str, n: u64) {
    let put = put_ru(subject, "main", &[7; 9_000], n);
    session.put(proto::Put { findings: findings(BOTH).into(), ..put }).await.unwrap();
}

fn erasure(subject: &str, n: u64) -> Op {
    Op::Erase(proto::Erase {
        subject: subject.into(),
        request_id: request_id(n).into(),
        reason: "asked for".into(),
        ..Default::default()
    })
}

/// A session with the home alone: its mirror is not reached.
async fn alone(home: &Place, mirror: &Place) -> (Running, Session) {
    let shard = home.open_made(home.settings()).await.unwrap();
    shard.peers().set(vec![Annex::parse(&mirror.annex, &home.map()).unwrap()]);
    let here = Running::serve(shard, home.region).await;
    let mut session = here.session().await;
    session.role = Some("eraser");
    (here, session)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_was_restored_has_copies_erased_that_it_does_not_know() {
    let (home, mirror) = (Place::new(REGIONS[0]), Place::new(REGIONS[1]));
    let (here, there) = start(&home, &mirror).await;
    let (mut session, mut reader) = (here.session().await, there.session().await);
    store(&mut session, "bert", 1).await;
    store(&mut session, "carl", 2).await;
    until_copied(&mut reader, "bert", "main", true).await;
    until_copied(&mut reader, "carl", "main", true).await;
    drop((session, reader));
    stop([here, there]).await;
    home.save_store("yesterday");
    let (here, there) = start(&home, &mirror).await;
    let (mut session, mut reader) = (here.session().await, there.session().await);
    store(&mut session, "anna", 3).await;
    store(&mut session, "bert", 4).await;
    until_copied(&mut reader, "anna", "main", true).await;
    let asked = async {
        while copy_of(&mut reader, "bert", "main").await.is_ok_and(|found| found.version < 2) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(WITHIN, asked).await.expect("the next version is copied in time");
    drop((session, reader));
    stop([here, there]).await;
    home.put_back_store("yesterday");
    unlocked(|| home.recover()).await.unwrap();

    // It knows nothing of the first, whose copy may be anywhere. So no erasure is done meanwhile.
    let (here, mut session) = alone(&home, &mirror).await;
    for _ in 0..3 {
        let fault = session.call(erasure("anna", 5)).await.err().unwrap();
        assert_eq!(fault.reason, "REGION_UNAVAILABLE");
        match session.call(erasure("carl", 6)).await {
            Ok(Outcome::Written(done)) => assert!(done.unfinished, "copies may be left"),
            Ok(_) => panic!("an erasure is answered with what was written"),
            Err(fault) => assert_eq!(fault.reason, "REGION_UNAVAILABLE"),
        }
    }
    drop(session);
    here.stop().await.unwrap();

    let (here, there) = start(&home, &mirror).await;
    let (mut session, mut reader) = (here.session().await, there.session().await);
    session.role = Some("eraser");
    until_copied(&mut reader, "anna", "main", false).await;
    // What it has is copied again, as it has it.
    let asked = async {
        while copy_of(&mut reader, "bert", "main").await.is_ok_and(|found| found.version == 2) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(WITHIN, asked).await.expect("the version that is lost goes in time");
    until_copied(&mut reader, "bert", "main", true).await;
    assert_eq!(copy_of(&mut reader, "bert", "main").await.unwrap().version, 1);
    let asked = async {
        loop {
            match session.call(erasure("carl", 6)).await {
                Ok(Outcome::Written(done)) if !done.unfinished => break,
                _ => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(WITHIN, asked).await.expect("the erasure ends in time");
    let asked = async {
        while let Err(fault) = session.call(erasure("anna", 5)).await
            && fault.reason != "SUBJECT_UNKNOWN"
        {
            assert_eq!(fault.reason, "REGION_UNAVAILABLE");
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(WITHIN, asked).await.expect("all is known again in time");
    drop((session, reader));
    stop([here, there]).await;
    assert_eq!((rows(&home, 0x64), rows(&mirror, 0x61)), (0, 1));
}
