//! Who may ask for a move to here: a shard of another region, by its certificate and by the map, for the
//! steps of moves and for nothing else.

use std::time::Duration;

use wire::session::{self as proto, arrival::Step, call::Op, reply::Outcome};

use crate::support::pki::{Pki, dial};
use crate::support::secure_shard::{REGIONS, SecureShard};
use crate::support::{Place, Running, Session, put_ru};

const TO: &str = "spiffe://sample/region/ru-msk/shard/s1";
const FROM: &str = "spiffe://sample/region/eu-fra/shard/s1";
/// Another shard of the same region.
const SIBLING: &str = "spiffe://sample/region/ru-msk/shard/s2";
const GATEWAY: &str = "spiffe://sample/region/eu-fra/gateway/test";

fn arrival(step: Step) -> Op {
    Op::Arrival(proto::Arrival {
        move_id: vec![7; 16].into(),
        subject: "anna".into(),
        step: Some(step),
    })
}

async fn said(session: &mut Session, op: Op) -> String {
    session.call(op).await.err().map_or_else(|| "done".to_owned(), |fault| fault.reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_is_who_its_certificate_says_and_asks_for_moves_alone() {
    let of = SecureShard::start("ru-msk").await;
    for (uri, region, shard, refusal) in [
        (FROM, "eu-fra", "s2", "IDENTITY_INVALID hello.from_shard"),
        (FROM, "kz-ala", "s1", "IDENTITY_INVALID hello.from_shard"),
        // A gateway is no shard, and a shard no gateway.
        (GATEWAY, "eu-fra", "test", "IDENTITY_INVALID "),
        (FROM, "", "", "IDENTITY_INVALID "),
        // Not this shard itself, nor one of a region that the map does not have.
        (TO, "ru-msk", "s1", "NOT_PERMITTED hello.from_region"),
        (FROM, "mars", "s1", "NOT_PERMITTED hello.from_region"),
    ] {
        let said = of.session(uri, of.hello(region, shard)).await.err().unwrap();
        assert_eq!(said, refusal, "{uri} {region} {shard}");
    }
    let mut peer = of.session(FROM, of.hello("eu-fra", "s1")).await.unwrap();
    assert_eq!(said(&mut peer, Op::Put(put_ru("anna", "k", b"x", 1))).await, "NOT_PERMITTED");
    assert_eq!(said(&mut peer, Op::LocateKey(proto::LocateKey {})).await, "NOT_PERMITTED");
    assert_eq!(said(&mut peer, Op::MapFetch(proto::MapFetch::default())).await, "NOT_PERMITTED");
    for hostile in [Vec::new(), vec![0; 3], vec![0xff; 4096]] {
        assert_eq!(
            said(&mut peer, arrival(Step::Begin(hostile.clone().into()))).await,
            "FIELD_INVALID"
        );
        // Nothing arrives: what comes is not looked at.
        let rows = proto::ArrivalRows { records: hostile.clone().into(), ..Default::default() };
        assert_eq!(said(&mut peer, arrival(Step::Rows(rows))).await, "done");
        let chunk = proto::ArrivalChunk { record: hostile.into(), ..Default::default() };
        assert_eq!(said(&mut peer, arrival(Step::Chunk(chunk))).await, "done");
    }
    assert_eq!(said(&mut peer, arrival(Step::Check(true))).await, "done");
    assert_eq!(said(&mut peer, arrival(Step::Prove(true))).await, "done");
    assert_eq!(said(&mut peer, arrival(Step::Adopt(proto::ArrivalEnd::default()))).await, "done");
    let mut gateway = of.session(GATEWAY, of.shard.hello()).await.unwrap();
    assert_eq!(said(&mut gateway, arrival(Step::Check(true))).await, "NOT_PERMITTED");
    // What slots the store has, another shard of the region may ask, and nothing else; no other may.
    let asks = || Op::AskSlots(proto::AskSlots {});
    let mut sibling = of.session(SIBLING, of.hello("ru-msk", "s2")).await.unwrap();
    let Ok(Outcome::Slots(held)) = sibling.call(asks()).await else { panic!("it is not told") };
    assert_eq!(terms::SlotSet::from_bytes(&held), Some(terms::SlotSet::ALL));
    assert_eq!(said(&mut sibling, arrival(Step::Check(true))).await, "NOT_PERMITTED");
    assert_eq!(said(&mut sibling, Op::Put(put_ru("anna", "k", b"x", 1))).await, "NOT_PERMITTED");
    assert_eq!(said(&mut peer, asks()).await, "NOT_PERMITTED");
    assert_eq!(said(&mut gateway, asks()).await, "NOT_PERMITTED");
    drop(sibling);
    // Nothing has come of it.
    let found = gateway.get("anna", "profiles", "k").await.err().unwrap();
    assert_eq!(found, "EGRESS_NOT_COVERED");
    drop((peer, gateway));
    tokio::time::timeout(Duration::from_secs(120), of.shard.stop()).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_moves_over_tls() {
    let pki = Pki::new(REGIONS);
    let (mut places, mut listeners, mut shards) = (Vec::new(), Vec::new(), Vec::new());
    for region in ["ru-msk", "eu-fra"] {
        let mut place = Place::new(region);
        place.map = pki.pin(&place.map);
        let listener = link::net::listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        place.annex =
            place.annex.replace("http://127.0.0.1:1\"", &format!("https://127.0.0.1:{port}\""));
        places.push(place);
        listeners.push(listener);
    }
    let annexes: Vec<atlas::Annex> = places
        .iter()
        .map(|place| atlas::Annex::parse(&place.annex, &place.map()).unwrap())
        .collect();
    for (place, listener) in places.iter().zip(listeners) {
        let uri = format!("spiffe://sample/region/{}/shard/s1", place.region);
        let tls = pki.tls(&place.map(), &uri);
        let shard = place.open().await.unwrap();
        shard.peers().set(annexes.clone());
        shards.push(Running::serve_on(shard, place.region, Some(tls), listener).await);
    }
    let mut sessions = Vec::new();
    for (shard, country) in shards.iter().zip(["ru-msk", "eu-fra"]) {
        let uri = format!("spiffe://sample/region/{country}/gateway/test");
        let to = format!("spiffe://sample/region/{country}/shard/s1");
        let tls = pki.tls(&places[0].map(), &uri);
        let client = dial(&tls, shard.port, &to).await.unwrap();
        let (session, first) = crate::support::open(client, shard.hello()).await.unwrap();
        assert!(first.welcome.is_some());
        sessions.push(session);
    }
    sessions[0].put(put_ru("anna", "k", b"body", 1)).await.unwrap();
    let relocate = proto::Relocate {
        subject: "anna".into(),
        region: "eu-fra".into(),
        request_id: crate::support::request_id(2).into(),
        reason: "the person has moved".into(),
        findings: crate::support::findings(&[("citizenship", "DE"), ("residence", "DE")]).into(),
        ..Default::default()
    };
    assert_eq!(said(&mut sessions[0], Op::Relocate(relocate)).await, "done");
    let found = tokio::time::timeout(Duration::from_secs(120), async {
        loop {
            if let Ok(found) = sessions[1].get("anna", "profiles", "k").await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert_eq!(found.await.unwrap().body, "body");
    drop(sessions);
    for shard in shards {
        shard.stop().await.unwrap();
    }
}
