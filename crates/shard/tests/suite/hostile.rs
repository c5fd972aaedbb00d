//! A session that asks for more than it may, or says nothing: bounded, and no other feels it.

use crate::support::{Place, put_ru};
use wire::session as proto;
use wire::session::call::Op;
use wire::session::reply::Outcome;

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
                let mut call = greedy.wrap(Op::Get(get));
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
            Ok(Outcome::Found(found)) => assert_eq!(found.body.len(), 1 << 20),
            Ok(_) => panic!("a get is answered with what was found"),
            Err(fault) => panic!("{}", fault.reason),
        }
    }
    // A frame with more calls than allowed ends the session, and no other.
    let mut rude = shard.session().await;
    let calls: Vec<_> = (0..300).map(|_| rude.wrap(Op::Get(proto::Get::default()))).collect();
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

fn get(subject: &str, key: &str) -> Op {
    Op::Get(proto::Get { subject: subject.into(), collection: "profiles".into(), key: key.into() })
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_come_twice_do_no_harm() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    let first = session.put(put_ru("anna", "k", b"body", 1)).await.unwrap();
    // The same frame again, and with its call twice in it: the request has had its effect.
    let call = session.wrap(Op::Put(put_ru("anna", "k", b"body", 1)));
    let id = call.id;
    session.send(vec![call.clone(), call.clone()]).await;
    session.send(vec![call]).await;
    for _ in 0..3 {
        let Some(Ok(Outcome::Written(again))) = session.answer(id).await else { panic!("written") };
        assert!(again.replayed);
        assert_eq!((again.version, again.index), (first.version, first.index));
    }
    // One id for two calls: each is answered by itself, by what it asked.
    let mut one = session.wrap(get("anna", "k"));
    let other = session.wrap(get("nobody", "k"));
    one.id = other.id;
    session.send(vec![one, other.clone()]).await;
    let mut found = 0;
    for _ in 0..2 {
        found += u8::from(session.answer(other.id).await.expect("open").is_ok());
    }
    assert_eq!(found, 1);
    let next = session.put(put_ru("anna", "k2", b"body", 2)).await.unwrap();
    assert_eq!(next.index, first.index + 1, "nothing was stored in between");
    // The first frame, once more, ends the session.
    let hello = Some(shard.hello());
    let late = session.wrap(Op::Put(put_ru("anna", "k3", b"body", 3)));
    let id = late.id;
    let frame = proto::ToShard { hello, calls: vec![late] };
    session.calls.send(frame).await.expect("the session is open");
    assert!(session.answer(id).await.is_none());
    let mut session = shard.session().await;
    assert_eq!(session.get("anna", "profiles", "k3").await.err().unwrap(), "RECORD_NOT_FOUND");
    drop(session);
    shard.stop().await.unwrap();
}
