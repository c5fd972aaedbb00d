//! A session that asks for more than it may, or says nothing: bounded, and no other feels it.

use axum::http::{Method, Request, StatusCode};
use link::ops::health::Health;
use link::ops::metrics::Registry;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::{Service as _, ServiceExt as _};
use wire::session as proto;
use wire::session::call::Op;
use wire::session::reply::Outcome;

use crate::support::{Place, Running, auditor, get, put_ru};

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
                    ..Default::default()
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
    tokio::time::timeout(std::time::Duration::from_secs(90), shard.stop())
        .await
        .expect("the drain ends")
        .unwrap();
    drop((silent, session, greedy));
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

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_grpc_is_refused_before_anything_of_it_is_read() {
    let place = Place::new("ru-msk");
    place.init_as(&place.settings()).unwrap();
    let mut registry = Registry::new();
    let shard = place.open_watched(place.settings(), &mut registry, Health::new()).await.unwrap();
    let shard = Running::serve(shard, "ru-msk").await;
    let mut counted = 0;
    for (port, path) in [
        (shard.port, "/bailiwick.internal.v1.Session/Open"),
        (shard.audit_port, "/bailiwick.v1.Ledger/Checkpoint"),
    ] {
        let url = format!("http://127.0.0.1:{port}");
        let mut channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
        let post = |kind: Option<&str>| {
            let request = Request::post(format!("http://127.0.0.1:{port}{path}"));
            kind.into_iter().fold(request, |request, kind| request.header("content-type", kind))
        };
        let grpc = Some("application/grpc");
        for (request, want) in [
            (post(Some("text/plain")), StatusCode::UNSUPPORTED_MEDIA_TYPE),
            (post(Some("application/grpc-web+proto")), StatusCode::UNSUPPORTED_MEDIA_TYPE),
            (post(None), StatusCode::UNSUPPORTED_MEDIA_TYPE),
            (post(grpc).method(Method::PUT), StatusCode::METHOD_NOT_ALLOWED),
            (post(grpc).method(Method::OPTIONS), StatusCode::METHOD_NOT_ALLOWED),
            (post(grpc).header("origin", "https://example.org"), StatusCode::FORBIDDEN),
        ] {
            // A body of which nothing ever comes: the answer does not wait for it.
            let nothing = tokio_stream::pending::<Result<bytes::Bytes, std::io::Error>>();
            let body = Body::new(axum::body::Body::from_stream(nothing));
            let answer = channel.ready().await.unwrap().call(request.body(body).unwrap());
            let answer = tokio::time::timeout(std::time::Duration::from_secs(60), answer).await;
            assert_eq!(answer.expect("at once").unwrap().status(), want, "{path}");
            counted += 1;
            let line = format!("bailiwick_shard_requests_not_grpc_total {counted}\n");
            assert!(registry.encode().contains(&line), "{path}: {}", registry.encode());
        }
    }
    // What is gRPC is served on both.
    let mut session = shard.session().await;
    session.put(put_ru("anna", "k", b"x", 1)).await.unwrap();
    auditor::checkpoint(&mut auditor::auditor(&shard).await, 1).await;
    drop(session);
    shard.stop().await.unwrap();
}
