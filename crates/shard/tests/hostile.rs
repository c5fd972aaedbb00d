//! A session that asks for more than it may, or says nothing: bounded, and no other feels it.

mod support;

use support::{Place, put_ru};
use wire::session as proto;

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_session_is_bounded() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put_ru("anna", "big", &vec![7; 1 << 20], 1)).await.unwrap();
    // A gateway that asks for 1 GiB and reads nothing: another session is served meanwhile, and
    // this one, once read, gets all of it.
    let mut greedy = shard.session().await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let calls: Vec<_> = (0..256)
            .map(|_| {
                let get = proto::Get {
                    subject: "anna".into(),
                    collection: "profiles".into(),
                    key: "big".into(),
                };
                let mut call = greedy.wrap(proto::call::Op::Get(get));
                call.deadline_ms = 600_000;
                call
            })
            .collect();
        ids.extend(calls.iter().map(|call| call.id));
        greedy.send(calls).await;
    }
    session.put(put_ru("bert", "k", b"x", 2)).await.unwrap();
    assert_eq!(session.get("bert", "profiles", "k").await.unwrap().body, "x");
    for id in ids {
        match greedy.answer(id).await.expect("open") {
            Ok(proto::reply::Outcome::Found(found)) => assert_eq!(found.body.len(), 1 << 20),
            Ok(_) => panic!("a get is answered with what was found"),
            Err(fault) => panic!("{}", fault.reason),
        }
    }
    // A frame with more calls than allowed ends the session, and no other.
    let mut rude = shard.session().await;
    let calls: Vec<_> =
        (0..300).map(|_| rude.wrap(proto::call::Op::Get(proto::Get::default()))).collect();
    rude.send(calls).await;
    assert!(rude.answer(1).await.is_none());
    session.put(put_ru("bert", "k2", b"x", 3)).await.unwrap();
    // Sessions that stay open, and one that never said whom it means, do not keep the shard up.
    let silent = tokio::net::TcpStream::connect(("127.0.0.1", shard.port)).await.unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(15), shard.stop())
        .await
        .expect("the drain ends")
        .unwrap();
    drop((silent, session, greedy));
}
