//! Sessions with TLS at a real shard: the certificate says who a gateway is, the map says where it
//! stands, and neither what it claims of itself nor what it claims of its callers adds to that.

use std::time::Duration;

use crate::support::pki::{Pki, dial};
use crate::support::secure_shard::REGIONS;
use crate::support::{Place, Running, Session, put_ru};
use shard::Error;
use wire::session as proto;
use wire::session::call::Op;

const SHARD: &str = "spiffe://sample/region/ru-msk/shard/s1";
const EGRESS: &str = "EGRESS_NOT_COVERED";

fn gateway(region: &str) -> String {
    format!("spiffe://sample/region/{region}/gateway/test")
}

/// A shard of ru-msk that takes sessions with TLS, and reads its files again when they change.
async fn start(place: &Place, pki: &Pki) -> Running {
    let tls = pki.tls(&place.map(), SHARD);
    let kept = tls.clone();
    tokio::spawn(async move { kept.keep().await });
    let shard = place.open().await.expect("the shard opens");
    Running::serve_with(shard, "ru-msk", Some(tls)).await
}

/// A session of the gateway of that name.
async fn session(place: &Place, pki: &Pki, shard: &Running, uri: &str) -> Session {
    let tls = pki.tls(&place.map(), uri);
    let client = dial(&tls, shard.port, SHARD).await.expect("both take each other");
    let (session, first) = crate::support::open(client, shard.hello()).await.expect("a session");
    assert!(first.welcome.is_some(), "the session is refused");
    session
}

fn secure() -> (Place, Pki) {
    let pki = Pki::new(REGIONS);
    let mut place = Place::new("ru-msk");
    place.map = pki.pin(&place.map);
    (place, pki)
}

async fn read(session: &mut Session, from: Option<&'static str>) -> String {
    session.territory = from;
    let outcome = session.get("anna", "profiles", "k").await;
    outcome.map_or_else(|reason| reason, |_| "found".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn caller_and_gateway_must_both_be_let() {
    let (place, pki) = secure();
    let shard = start(&place, &pki).await;
    let mut home = session(&place, &pki, &shard, &gateway("ru-msk")).await;
    home.put(put_ru("anna", "k", b"body", 1)).await.unwrap();
    // By the sample map a clause leads to KZ for profiles, and none to DE. The second row is a
    // stolen certificate: whatever it claims of its callers, it stands in DE.
    for (at, expected) in [
        ("ru-msk", [("RU", "found"), ("KZ", "found"), ("DE", EGRESS), ("", EGRESS)]),
        ("eu-fra", [("RU", EGRESS), ("KZ", EGRESS), ("DE", EGRESS), ("", EGRESS)]),
        ("kz-ala", [("RU", "found"), ("KZ", "found"), ("DE", EGRESS), ("", EGRESS)]),
        ("us-iad", [("RU", EGRESS), ("KZ", EGRESS), ("DE", EGRESS), ("", EGRESS)]),
    ] {
        let mut session = session(&place, &pki, &shard, &gateway(at)).await;
        for (from, answer) in expected {
            assert_eq!(read(&mut session, Some(from)).await, answer, "{at} {from}");
        }
        // Beside the gateway is where the gateway is: not where the shard is.
        let beside = if matches!(at, "ru-msk" | "kz-ala") { "found" } else { EGRESS };
        assert_eq!(read(&mut session, None).await, beside, "{at}");
    }
    drop(home);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_comes_in_through_a_gateway_of_the_territory() {
    let (mut place, pki) = secure();
    let id = "id = \"ru-152fz\"\n";
    place.map = place.map.replace(id, &format!("{id}ingress = \"in-territory\"\n"));
    let region = "region = \"ru-msk\"\n";
    let ingress = format!("{region}ingress = \"https://gw.msk.example:443\"\n");
    place.annex = place.annex.replace(region, &ingress);
    let shard = start(&place, &pki).await;
    let mut abroad = session(&place, &pki, &shard, &gateway("kz-ala")).await;
    let fault = abroad.call(Op::Put(put_ru("anna", "k", b"body", 1))).await.err().unwrap();
    let fault = link::session::from_wire(fault);
    assert_eq!(fault.reason, terms::Reason::WrongIngress);
    assert_eq!(fault.detail(terms::Detail::Ingress), Some("https://gw.msk.example:443"));
    assert_eq!(fault.detail(terms::Detail::Region), Some("ru-msk"));
    assert_eq!(fault.detail(terms::Detail::Conflicting), Some("RU"));
    let told = fault;
    let mut home = session(&place, &pki, &shard, &gateway("ru-msk")).await;
    assert_eq!(home.get("anna", "profiles", "k").await.err().unwrap(), "SUBJECT_UNKNOWN");
    let written = home.put(put_ru("anna", "k", b"body", 1)).await.unwrap();
    assert!(!written.replayed && written.version == 1);
    // The ruling stands by now, and asks the same without evidence.
    let mut later = put_ru("anna", "k", b"more", 2);
    later.findings = Default::default();
    assert_eq!(abroad.put(later).await.err().unwrap(), "WRONG_INGRESS");
    // And evidence that would change it is told nothing of that from there, dry run or not.
    let moved = |n| proto::Put {
        findings: crate::support::findings(&[("residence", "DE"), ("citizenship", "DE")]).into(),
        ..put_ru("anna", "k", b"more", n)
    };
    for (n, validate_only) in [(3, true), (4, false)] {
        let put = proto::Put { validate_only, ..moved(n) };
        assert_eq!(abroad.put(put).await.err().unwrap(), "WRONG_INGRESS");
    }
    assert_eq!(home.put(moved(5)).await.err().unwrap(), "JURISDICTION_CHANGED");
    // Nor is anybody created from there: what is known of a person is theirs as well.
    let create = proto::Create {
        subject: "boris".into(),
        collection: "profiles".into(),
        request_id: crate::support::request_id(6).into(),
        findings: put_ru("boris", "k", b"", 6).findings,
        ..Default::default()
    };
    assert_eq!(abroad.create(create.clone()).await.err().unwrap(), "WRONG_INGRESS");
    home.create(create).await.unwrap();
    // What brings no evidence is told the same, whether there is such a person or record or not.
    for (subject, key) in [("anna", "k"), ("anna", "none"), ("nobody", "k")] {
        for (role, op) in without_evidence(subject, key) {
            abroad.role = Some(role);
            let fault = abroad.call(op).await.err().unwrap();
            assert_eq!(link::session::from_wire(fault), told, "{subject} {key} {role}");
        }
    }
    assert_eq!(home.get("anna", "profiles", "k").await.unwrap().version, 1);
    drop((abroad, home));
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_from_abroad_is_told_the_same_whether_there_is_the_person_or_not() {
    let (mut place, pki) = secure();
    // Records of people of both may lie in Russia.
    for id in ["id = \"ru-152fz\"\n", "id = \"eu-gdpr\"\n"] {
        place.map = place.map.replace(id, &format!("{id}ingress = \"in-territory\"\n"));
    }
    let shard = start(&place, &pki).await;
    let mut home = session(&place, &pki, &shard, &gateway("ru-msk")).await;
    home.put(put_ru("anna", "k", b"body", 1)).await.unwrap();
    let mut abroad = session(&place, &pki, &shard, &gateway("kz-ala")).await;
    let mut told = Vec::new();
    for subject in ["anna", "nobody"] {
        let put = proto::Put { validate_only: true, ..put_ru(subject, "k", b"body", 2) };
        let create = proto::Create {
            subject: subject.into(),
            collection: "profiles".into(),
            request_id: crate::support::request_id(3).into(),
            findings: put.findings.clone(),
            validate_only: true,
            ..Default::default()
        };
        for op in [Op::Put(put), Op::Create(create)] {
            told.push(link::session::from_wire(abroad.call(op).await.err().unwrap()));
        }
    }
    let first = told.first().unwrap();
    assert_eq!(first.reason, terms::Reason::WrongIngress);
    assert_eq!(first.detail(terms::Detail::Conflicting), Some("EEA,RU"));
    assert!(told.iter().all(|fault| fault == first), "{told:?}");
    drop((home, abroad));
    shard.stop().await.unwrap();
}

/// Writes that bring no evidence about their subject, and the question of what binds it, with the role
/// that may ask for them.
fn without_evidence(subject: &str, key: &str) -> Vec<(&'static str, Op)> {
    let request = |n| bytes::Bytes::from(crate::support::request_id(n));
    let put = |create_subject| proto::Put {
        subject: subject.into(),
        findings: bytes::Bytes::new(),
        create_subject,
        ..put_ru(subject, key, b"body", 20)
    };
    let (collection, key) = ("profiles".to_owned(), key.to_owned());
    let mut all = vec![("writer", Op::Put(put(false))), ("writer", Op::Put(put(true)))];
    let asked = proto::AskBinding { subject: subject.into(), collection: collection.clone() };
    all.push(("writer", Op::AskBinding(asked)));
    for validate_only in [true, false] {
        all.push((
            "writer",
            Op::Delete(proto::Delete {
                subject: subject.into(),
                collection: collection.clone(),
                key: key.clone(),
                request_id: request(21),
                validate_only,
                ..Default::default()
            }),
        ));
        all.push((
            "writer",
            Op::Touch(proto::Touch {
                subject: subject.into(),
                collection: collection.clone(),
                key: key.clone(),
                request_id: request(22),
                validate_only,
                ..Default::default()
            }),
        ));
        all.push((
            "writer",
            Op::Patch(proto::Patch {
                subject: subject.into(),
                collection: collection.clone(),
                key: key.clone(),
                request_id: request(23),
                body: Some(b"new".to_vec().into()),
                validate_only,
                ..Default::default()
            }),
        ));
        let erase = crate::erasure::erase(subject, 24);
        all.push(("eraser", Op::Erase(proto::Erase { validate_only, ..erase.clone() })));
        let of_one = proto::Erase { collection: collection.clone(), validate_only, ..erase };
        all.push(("eraser", Op::Erase(of_one)));
        let block = proto::Block {
            subject: subject.into(),
            until_minute: u32::MAX / 2,
            reason: "a court orders it".into(),
            validate_only,
            ..Default::default()
        };
        all.push(("eraser", Op::Block(block)));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_who_its_certificate_says() {
    let (place, pki) = secure();
    let shard = start(&place, &pki).await;
    let tls = pki.tls(&place.map(), &gateway("kz-ala"));
    for claimed in ["other", "", "test ", "s1"] {
        let client = dial(&tls, shard.port, SHARD).await.expect("both take each other");
        let hello = proto::Hello { gateway: claimed.into(), ..shard.hello() };
        let (_session, first) = crate::support::open(client, hello).await.expect("an answer");
        let goodbye = first.goodbye.expect("the session is refused");
        assert!(first.welcome.is_none());
        assert_eq!((&*goodbye.reason, &*goodbye.field), ("IDENTITY_INVALID", "hello.gateway"));
    }
    // A shard is no gateway, be it of the same region, or this very one.
    for uri in [SHARD, "spiffe://sample/region/kz-ala/shard/s1"] {
        let tls = pki.tls(&place.map(), uri);
        let client = dial(&tls, shard.port, SHARD).await.expect("both are members");
        let (_session, first) =
            crate::support::open(client, shard.hello()).await.expect("an answer");
        assert_eq!(first.goodbye.expect("it is refused").reason, "IDENTITY_INVALID", "{uri}");
    }
    // Without TLS nobody is heard at all.
    let url = format!("http://127.0.0.1:{}", shard.port);
    let plain = wire::session::session_client::SessionClient::connect(url).await;
    let heard = match plain {
        Ok(client) => crate::support::open(client, shard.hello()).await.is_some(),
        Err(_) => false,
    };
    assert!(!heard);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_a_region_that_the_shards_map_has_not_is_refused() {
    let (mut place, pki) = secure();
    let pki_of_more = Pki::new(&["ru-msk", "mars"]);
    // The other map has one region more; TLS alone, which knows both, would let it in.
    let more = "[[regions]]\nname = \"mars\"\nterritory = \"RU\"\n\n[[homes]]";
    let wider = pki_of_more.pin(&crate::support::MAP.replacen("[[homes]]", more, 1));
    place.map = crate::support::MAP.to_owned();
    drop(pki);
    let wider = atlas::RegionMap::parse(&wider).expect("sound");
    let tls = pki_of_more.tls(&wider, SHARD);
    let shard = place.open().await.expect("the shard opens");
    let shard = Running::serve_with(shard, "ru-msk", Some(tls)).await;
    let tls = pki_of_more.tls(&wider, &gateway("mars"));
    let client = dial(&tls, shard.port, SHARD).await.expect("TLS lets it in");
    let (_session, first) = crate::support::open(client, shard.hello()).await.expect("an answer");
    assert_eq!(first.goodbye.expect("refused").reason, "IDENTITY_INVALID");
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_gateway_is_heard_no_more_and_told_nothing_more() {
    let (place, pki) = secure();
    let shard = start(&place, &pki).await;
    let tls = pki.tls(&place.map(), &gateway("kz-ala"));
    let client = dial(&tls, shard.port, SHARD).await.expect("both take each other");
    let (mut stolen, first) =
        crate::support::open(client.clone(), shard.hello()).await.expect("open");
    assert!(first.welcome.is_some());
    let mut home = session(&place, &pki, &shard, &gateway("ru-msk")).await;
    home.put(put_ru("anna", "k", b"body", 1)).await.unwrap();
    assert_eq!(read(&mut stolen, None).await, "found");
    pki.revoke(SHARD, "kz-ala");
    let ends = async {
        let mut id = 0;
        loop {
            let get = proto::Get {
                subject: "anna".into(),
                collection: "profiles".into(),
                key: "k".into(),
                ..Default::default()
            };
            let call = stolen.wrap(Op::Get(get));
            id = id.max(call.id);
            let frame = proto::ToShard { hello: None, calls: vec![call] };
            if stolen.calls.send(frame).await.is_err() || stolen.answer(id).await.is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ends).await.expect("the session ends");
    // Neither does the connection that is up open another session.
    let (_session, first) = crate::support::open(client, shard.hello()).await.expect("an answer");
    assert_eq!(first.goodbye.expect("refused").reason, "IDENTITY_INVALID");
    // Nor does a new one come about.
    let again = match dial(&tls, shard.port, SHARD).await {
        Some(client) => crate::support::open(client, shard.hello()).await.is_some(),
        None => false,
    };
    assert!(!again);
    assert_eq!(read(&mut home, None).await, "found");
    drop(home);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_with_a_new_certificate_asks_its_gateways_to_dial_again() {
    let (place, pki) = secure();
    let shard = start(&place, &pki).await;
    let mut old = session(&place, &pki, &shard, &gateway("ru-msk")).await;
    old.put(put_ru("anna", "k", b"body", 1)).await.unwrap();
    pki.renew(SHARD);
    let asked = tokio::time::timeout(Duration::from_secs(60), old.answers.message());
    let frame = asked.await.expect("in time").expect("the session is up").expect("a frame");
    assert!(frame.dial_again && frame.goodbye.is_none() && frame.replies.is_empty());
    // It goes on meanwhile, and is asked once.
    assert_eq!(read(&mut old, None).await, "found");
    let again = tokio::time::timeout(Duration::from_millis(100), old.answers.message());
    assert!(again.await.is_err());
    // Who dials now has seen the new one.
    let mut new = session(&place, &pki, &shard, &gateway("ru-msk")).await;
    assert_eq!(read(&mut new, None).await, "found");
    let asked = tokio::time::timeout(Duration::from_millis(100), new.answers.message());
    assert!(asked.await.is_err());
    drop((old, new));
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_serves_as_itself_and_without_tls_on_loopback_only() {
    let (place, pki) = secure();
    let listener = |address: &str| link::net::listener::bind(address.parse().expect("an address"));
    for uri in ["spiffe://sample/region/ru-msk/shard/s2", "spiffe://sample/region/kz-ala/shard/s1"]
    {
        let place = Place { map: place.map.clone(), ..Place::new("ru-msk") };
        let tls = pki.tls(&place.map(), uri);
        let shard = place.open().await.expect("the shard opens");
        let at = listener("127.0.0.1:0").await.expect("a free port");
        let served = shard.serve(at, Some(tls), None, std::future::pending()).await;
        assert!(matches!(served, Err(Error::Certificate { .. })), "{uri}: {served:?}");
    }
    let shard = place.open().await.expect("the shard opens");
    let at = listener("0.0.0.0:0").await.expect("a free port");
    let served = shard.serve(at, None, None, std::future::pending()).await;
    assert!(matches!(served, Err(Error::Listener)), "{served:?}");
}
