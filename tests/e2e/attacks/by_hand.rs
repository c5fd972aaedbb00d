//! A gateway made by hand: what it says to a shard, and what it hears.

use atlas::{EvidenceKind, Finding, Findings, RegionMap};
use tokio::runtime::Runtime;
use wire::session as proto;

use crate::support::load::request_id;
use crate::support::rogue::{Held, open};
use crate::support::{Deployment, Options};

/// A subject's name that no log may repeat.
pub(crate) const SUBJECT: &str = "subject-of-the-attack";
/// A body that no log may repeat.
pub(crate) const BODY: &[u8] = b"body-of-the-attack";
/// What must stand in no log.
pub(crate) const SECRETS: &[&str] = &[SUBJECT, "body-of-the-attack", "key-of-the-attack"];

pub(crate) fn start(regions: &[&'static str]) -> Deployment {
    let options = Options { tls: true, regions: regions.to_vec(), ..Options::default() };
    Deployment::start(&options)
}

pub(crate) fn runtime() -> Runtime {
    Runtime::new().expect("a runtime")
}

/// The map of a deployment, as its processes read it.
pub(crate) fn map_text(deployment: &Deployment) -> String {
    std::fs::read_to_string(deployment.root().join("map.toml")).expect("a map")
}

/// What an honest gateway of that name says first to the shard of a region.
pub(crate) fn hello(deployment: &Deployment, region: &str, gateway: &str) -> proto::Hello {
    let map = RegionMap::parse(&map_text(deployment)).expect("a map that is valid");
    proto::Hello {
        protocol: link::session::PROTOCOL,
        deployment: "sample".to_owned(),
        region: region.to_owned(),
        shard: "s1".to_owned(),
        gateway: gateway.to_owned(),
        map_epoch: map.epoch().number,
        map_digest: map.epoch().digest.to_vec().into(),
        ..Default::default()
    }
}

/// A session of a true gateway, which lies from here on.
pub(crate) async fn liar(deployment: &Deployment, region: &str) -> Held {
    liar_with(deployment, region, hello(deployment, region, "gateway-1")).await
}

/// The same, with a hello of its own.
pub(crate) async fn liar_with(deployment: &Deployment, region: &str, hello: proto::Hello) -> Held {
    let (secured, own) = (deployment.secured(), deployment.secured().pair("gateway"));
    let held = open(deployment.port(region), &secured.authorities(), Some(&own), hello).await;
    let held = held.expect("its certificate is the right one");
    let goodbye = held.first.goodbye.as_ref().map(|goodbye| &goodbye.reason);
    assert!(held.first.welcome.is_some(), "{goodbye:?}");
    held
}

pub(crate) fn findings(country: &str) -> Findings {
    let mut findings = Findings::new();
    for kind in [EvidenceKind::Residence, EvidenceKind::Citizenship] {
        let finding = Finding::parse(kind, country).expect("a country");
        assert!(findings.insert(finding).expect("room"));
    }
    findings
}

/// A put as gateways send it.
pub(crate) fn put(findings: Vec<u8>) -> proto::call::Op {
    proto::call::Op::Put(proto::Put {
        subject: SUBJECT.to_owned(),
        collection: "profiles".to_owned(),
        key: "key-of-the-attack".to_owned(),
        body: BODY.to_vec().into(),
        request_id: request().to_vec().into(),
        create_subject: true,
        findings: findings.into(),
        ..Default::default()
    })
}

/// A create as gateways send it.
pub(crate) fn create(findings: Vec<u8>) -> proto::call::Op {
    proto::call::Op::Create(proto::Create {
        subject: SUBJECT.to_owned(),
        collection: "profiles".to_owned(),
        request_id: request().to_vec().into(),
        findings: findings.into(),
        ..Default::default()
    })
}

/// A call of a caller in that role.
pub(crate) fn call(role: &str, op: proto::call::Op) -> proto::Call {
    proto::Call {
        id: 1,
        deadline_ms: 10_000,
        tenant: "sample".to_owned(),
        caller: Some(proto::Caller {
            name: "backend".to_owned(),
            role: role.to_owned(),
            territory: "DE".to_owned(),
            beside_gateway: false,
        }),
        op: Some(op),
        ..Default::default()
    }
}

/// A first frame: a hello, and in the same frame a put that nobody may store.
pub(crate) fn greeting(hello: proto::Hello) -> proto::ToShard {
    let calls = vec![call("writer", put(findings("DE").encode()))];
    proto::ToShard { hello: Some(hello), calls }
}

fn request() -> [u8; 16] {
    *terms::RequestId::parse(&request_id()).expect("a request id").bytes()
}

/// The refusal that an answer is.
pub(crate) fn fault(reply: Result<proto::Reply, String>) -> proto::Fault {
    let refused = reply.expect("an answer").outcome.and_then(|outcome| {
        if let proto::reply::Outcome::Fault(fault) = outcome { Some(fault) } else { None }
    });
    refused.expect("a refusal")
}

/// The reason of a refusal, or what became of the call.
pub(crate) fn outcome(reply: Result<proto::Reply, String>) -> String {
    match reply.expect("an answer").outcome {
        Some(proto::reply::Outcome::Fault(fault)) => fault.reason,
        Some(proto::reply::Outcome::Written(written)) if written.replayed => "replayed".to_owned(),
        Some(proto::reply::Outcome::Written(_)) => "stored".to_owned(),
        Some(proto::reply::Outcome::Found(_) | proto::reply::Outcome::Listed(_)) => {
            "read".to_owned()
        }
        Some(
            proto::reply::Outcome::Held(_)
            | proto::reply::Outcome::Map(_)
            | proto::reply::Outcome::Taken(_)
            | proto::reply::Outcome::History(_)
            | proto::reply::Outcome::Surveyed(_)
            | proto::reply::Outcome::Slots(_)
            | proto::reply::Outcome::SlotStands(_)
            | proto::reply::Outcome::Indexes(_)
            | proto::reply::Outcome::TransitKey(_),
        ) => "told of maps".to_owned(),
        Some(proto::reply::Outcome::Upload(_)) => "uploading".to_owned(),
        Some(
            proto::reply::Outcome::Located(_)
            | proto::reply::Outcome::Arrived(_)
            | proto::reply::Outcome::Copied(_)
            | proto::reply::Outcome::CopiesHeld(_)
            | proto::reply::Outcome::Moves(_)
            | proto::reply::Outcome::Claimed(_)
            | proto::reply::Outcome::AskFirst(_)
            | proto::reply::Outcome::Binding(_)
            | proto::reply::Outcome::LocateKey(_),
        ) => "told of subjects".to_owned(),
        None => "nothing".to_owned(),
    }
}
