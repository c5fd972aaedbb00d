//! Attacks between our own processes: false gateways, false shards, and true ones that lie.

use std::time::Duration;

use atlas::{EvidenceKind, Finding, Findings, RegionMap};
use client::Client;
use tokio::runtime::Runtime;
use wire::session as proto;

use super::super::support::load::{ONCE, evidence, put, request_id};
use super::super::support::process::{pause, wait_until};
use super::super::support::rogue::{Fake, Held, Pair, forge, open};
use super::super::support::{Deployment, Options};
use super::super::{counted, placed, says_nothing};

/// Time in which a peer that is trusted no more must be gone.
const REVOKED_MAX: Duration = Duration::from_secs(10);
/// A subject's name that no log may repeat.
const SUBJECT: &str = "subject-of-the-attack";
const BODY: &[u8] = b"body-of-the-attack";
const GATEWAY: &str = "spiffe://sample/region/eu-fra/gateway/gateway-1";

fn start(regions: &[&'static str]) -> Deployment {
    let options = Options { tls: true, regions: regions.to_vec(), ..Options::default() };
    Deployment::start(&options)
}

fn runtime() -> Runtime {
    Runtime::new().expect("a runtime")
}

/// What an honest gateway of that name says first to the shard of a region.
fn hello(deployment: &Deployment, region: &str, gateway: &str) -> proto::Hello {
    let text = std::fs::read_to_string(deployment.root().join("map.toml")).expect("a map");
    let map = RegionMap::parse(&text).expect("a map that is valid");
    proto::Hello {
        protocol: link::session::PROTOCOL,
        deployment: "sample".to_owned(),
        region: region.to_owned(),
        shard: "s1".to_owned(),
        gateway: gateway.to_owned(),
        map_epoch: map.epoch().number,
        map_digest: map.epoch().digest.to_vec().into(),
    }
}

/// A session of a true gateway, which lies from here on.
async fn liar(deployment: &Deployment, region: &str) -> Held {
    let (secured, own) = (deployment.secured(), deployment.secured().pair("gateway"));
    let hello = hello(deployment, region, "gateway-1");
    let held = open(deployment.port(region), &secured.authorities(), Some(&own), hello).await;
    let held = held.expect("its certificate is the right one");
    assert!(
        held.first.welcome.is_some(),
        "{:?}",
        held.first.goodbye.as_ref().map(|goodbye| &goodbye.reason)
    );
    held
}

fn findings(country: &str) -> Vec<u8> {
    let mut findings = Findings::new();
    for kind in [EvidenceKind::Residence, EvidenceKind::Citizenship] {
        let finding = Finding::parse(kind, country).expect("a country");
        assert!(findings.insert(finding).expect("room"));
    }
    findings.encode()
}

/// A put as gateways send it.
fn call(id: u64, role: &str, findings: Vec<u8>, request: [u8; 16]) -> proto::Call {
    let put = proto::Put {
        subject: SUBJECT.to_owned(),
        collection: "profiles".to_owned(),
        key: "main".to_owned(),
        body: BODY.to_vec().into(),
        request_id: request.to_vec().into(),
        create_subject: true,
        findings: findings.into(),
        ..Default::default()
    };
    proto::Call {
        id,
        deadline_ms: 10_000,
        tenant: "sample".to_owned(),
        caller: Some(proto::Caller {
            name: "backend".to_owned(),
            role: role.to_owned(),
            territory: "DE".to_owned(),
            beside_gateway: false,
        }),
        op: Some(proto::call::Op::Put(put)),
    }
}

fn request() -> [u8; 16] {
    *terms::RequestId::parse(&request_id()).expect("a request id").bytes()
}

/// The reason of a refusal, or `stored`.
fn outcome(reply: proto::Reply) -> String {
    match reply.outcome {
        Some(proto::reply::Outcome::Fault(fault)) => fault.reason,
        Some(proto::reply::Outcome::Written(written)) if written.replayed => "replayed".to_owned(),
        Some(proto::reply::Outcome::Written(_)) => "stored".to_owned(),
        Some(proto::reply::Outcome::Found(_)) => "read".to_owned(),
        None => "nothing".to_owned(),
    }
}

#[test]
fn a_gateway_without_the_right_certificate_has_no_session() {
    let mut deployment = start(&["eu-fra"]);
    let admin = deployment.shard("eu-fra").admin();
    let secured = deployment.secured();
    let stolen = |region: &str| secured.authority(region);
    let day = 86_400;
    // An authority that calls itself eu-fra's, and that nobody pins.
    let stranger = tempfile::tempdir().expect("a temporary folder");
    let folder = stranger.path().join("ca");
    let folder_text = folder.to_str().expect("text");
    let made = super::super::support::process::run(&[
        "pki",
        "init",
        "--region",
        "eu-fra",
        "--trust-domain",
        "sample",
        "--out",
        folder_text,
    ]);
    assert_eq!(made.code, 0, "{made:?}");
    let eu = |uri: &str, ends_in| Some(forge(Some(&stolen("eu-fra")), uri, ends_in));
    let rows: Vec<(&str, Option<Pair>, &str)> = vec![
        ("none at all", None, ""),
        ("signed by itself", Some(forge(None, GATEWAY, day / 2)), "authority"),
        (
            "by another region's authority",
            Some(forge(Some(&stolen("ru-msk")), GATEWAY, day / 2)),
            "authority",
        ),
        (
            "by an authority that is not pinned",
            Some(forge(Some(&folder), GATEWAY, day / 2)),
            "authority",
        ),
        (
            "by the callers' authority",
            Some(forge(Some(&stolen("callers")), GATEWAY, day / 2)),
            "authority",
        ),
        ("expired", eu(GATEWAY, -60), "expired"),
        ("not yet valid", eu(GATEWAY, 2 * day), "expired"),
        (
            "of another trust domain",
            eu("spiffe://other/region/eu-fra/gateway/gateway-1", day / 2),
            "name",
        ),
        (
            "of a region that is not",
            eu("spiffe://sample/region/nowhere/gateway/g", day / 2),
            "authority",
        ),
        ("of no form", eu("spiffe://sample/gateway-1", day / 2), "name"),
        ("a shard's", Some(secured.pair("eu-fra")), "other"),
        ("a caller's", Some(secured.pair("backend")), "name"),
    ];
    let (port, authorities) = (deployment.port("eu-fra"), secured.authorities());
    runtime().block_on(async {
        for (what, own, cause) in &rows {
            let of = format!("cause=\"{cause}\"");
            let before = counted(admin, "certificates_refused", &of);
            let hello = hello(&deployment, "eu-fra", "gateway-1");
            let opened = open(port, &authorities, own.as_ref(), hello).await;
            assert!(opened.is_err(), "a certificate {what} opened a session");
            if !cause.is_empty() {
                let after = counted(admin, "certificates_refused", &of);
                assert!(after > before, "{what}: not counted as {cause}");
            }
        }
        // What is refused above is refused for its certificate: the right one opens.
        drop(liar(&deployment, "eu-fra").await);
    });
    assert_eq!(placed(&mut deployment, "eu-fra"), 0);
}

#[test]
fn a_revoked_gateway_loses_its_session_and_gets_no_other() {
    let mut deployment = start(&["eu-fra"]);
    let secured = deployment.secured();
    secured.issue("eu-fra", &["--gateway", "gateway-2"], "stolen");
    let own = secured.pair("stolen");
    let (port, authorities) = (deployment.port("eu-fra"), secured.authorities());
    let runtime = runtime();
    runtime.block_on(async {
        let hello = || hello(&deployment, "eu-fra", "gateway-2");
        let held = open(port, &authorities, Some(&own), hello()).await.expect("it is valid yet");
        assert!(
            held.first.welcome.is_some(),
            "{:?}",
            held.first.goodbye.as_ref().map(|goodbye| &goodbye.reason)
        );
        secured.revoke("eu-fra", "stolen");
        let ended = tokio::time::timeout(REVOKED_MAX, held.ended()).await;
        ended.expect("the session ends within seconds");
        assert!(open(port, &authorities, Some(&own), hello()).await.is_err());
    });
    // The other gateway of the same authority goes on.
    deployment.wait_session("eu-fra", true);
    let admin = deployment.shard("eu-fra").admin();
    assert!(counted(admin, "certificates_refused", "cause=\"revoked\"") > 0);
    assert!(deployment.stderr("eu-fra").contains("trusted no more"));
    assert_eq!(placed(&mut deployment, "eu-fra"), 0);
}

#[test]
fn the_right_certificate_with_a_foreign_map_or_name_has_no_session() {
    let mut deployment = start(&["eu-fra"]);
    let secured = deployment.secured();
    let own = secured.pair("gateway");
    let (port, authorities) = (deployment.port("eu-fra"), secured.authorities());
    let right = hello(&deployment, "eu-fra", "gateway-1");
    let rows = [
        (
            "another map of that version",
            proto::Hello { map_digest: vec![7; 32].into(), ..right.clone() },
        ),
        ("another deployment", proto::Hello { deployment: "other".to_owned(), ..right.clone() }),
        ("another region", proto::Hello { region: "ru-msk".to_owned(), ..right.clone() }),
        ("another shard", proto::Hello { shard: "s2".to_owned(), ..right.clone() }),
        (
            "another gateway's name",
            proto::Hello { gateway: "gateway-2".to_owned(), ..right.clone() },
        ),
        ("another protocol", proto::Hello { protocol: 99, ..right }),
    ];
    runtime().block_on(async {
        for (what, hello) in rows {
            let held = open(port, &authorities, Some(&own), hello).await.expect("TLS takes it");
            assert!(held.first.welcome.is_none(), "{what} was welcomed");
            assert!(held.first.goodbye.is_some(), "{what}: no reason was given");
        }
    });
    assert!(deployment.stderr("eu-fra").contains("session"), "a refused session is in the log");
    assert_eq!(placed(&mut deployment, "eu-fra"), 0);
}

#[test]
fn a_true_gateway_that_lies_makes_no_shard_store_what_the_map_forbids() {
    let mut deployment = start(&["eu-fra", "ru-msk"]);
    runtime().block_on(async {
        let mut held = liar(&deployment, "eu-fra").await;
        // Findings of a person whom the law puts into another territory: the shard rules again.
        for country in ["RU", "IN", "US", "KZ"] {
            let told = held.call(call(1, "writer", findings(country), request())).await;
            assert_eq!(outcome(told.expect("an answer")), "PLACEMENT_NOT_ADMITTED", "{country}");
        }
        // None at all, and such as nobody can read.
        for (bytes, reason) in [(Vec::new(), "FIELD_MISSING"), (vec![0xff; 9], "FIELD_INVALID")] {
            let told = held.call(call(2, "writer", bytes, request())).await;
            assert_eq!(outcome(told.expect("an answer")), reason);
        }
        // Roles that may not write, whatever the gateway let through.
        for role in ["reader", "operator", "auditor", "eraser"] {
            let told = held.call(call(3, role, findings("DE"), request())).await;
            assert_eq!(outcome(told.expect("an answer")), "NOT_PERMITTED", "{role}");
        }
    });
    says_nothing(&deployment, &["gateway", "eu-fra", "ru-msk"], &[SUBJECT, "body-of-the-attack"]);
    assert_eq!(placed(&mut deployment, "eu-fra"), 0);
    assert_eq!(placed(&mut deployment, "ru-msk"), 0);
}

#[test]
fn replayed_frames_have_no_second_effect() {
    let mut deployment = start(&["eu-fra"]);
    runtime().block_on(async {
        let recorded = call(1, "writer", findings("DE"), request());
        let mut held = liar(&deployment, "eu-fra").await;
        let first = held.call(recorded.clone()).await.expect("an answer");
        assert_eq!(outcome(first), "stored");
        // The same bytes again: in the session, and in another one.
        let again = held.call(recorded.clone()).await.expect("an answer");
        assert_eq!(outcome(again), "replayed");
        drop(held);
        let mut held = liar(&deployment, "eu-fra").await;
        let again = held.call(recorded.clone()).await.expect("an answer");
        assert_eq!(outcome(again), "replayed");
        // The request id with other content is no way in either.
        let mut other = recorded;
        if let Some(proto::call::Op::Put(put)) = &mut other.op {
            put.body = b"another".to_vec().into();
        }
        let refused = held.call(other).await.expect("an answer");
        assert_eq!(outcome(refused), "REQUEST_ID_REUSED");
    });
    says_nothing(&deployment, &["eu-fra"], &[SUBJECT, "body-of-the-attack"]);
    assert_eq!(placed(&mut deployment, "eu-fra"), 1);
}

#[test]
fn a_fake_shard_in_the_place_of_the_real_one_is_offered_no_session() {
    let mut deployment = start(&["eu-fra"]);
    let port = deployment.port("ru-msk");
    let secured = deployment.secured();
    let ru = secured.authority("ru-msk");
    let real = "spiffe://sample/region/ru-msk/shard/s1";
    secured.issue("ru-msk", &["--shard", "s1"], "revoked-shard");
    secured.revoke("ru-msk", "revoked-shard");
    let rows: Vec<(&str, Pair)> = vec![
        ("signed by itself", forge(None, real, 3_600)),
        ("another region's shard", secured.pair("eu-fra")),
        ("by another region's authority", forge(Some(&secured.authority("eu-fra")), real, 3_600)),
        ("expired", forge(Some(&ru), real, -60)),
        ("revoked", secured.pair("revoked-shard")),
        ("another shard", forge(Some(&ru), "spiffe://sample/region/ru-msk/shard/s2", 3_600)),
        ("a gateway", forge(Some(&ru), "spiffe://sample/region/ru-msk/gateway/s1", 3_600)),
    ];
    let admin = deployment.gateway().admin();
    let (url, access) =
        (deployment.gateway_url(), deployment.secured().with_token(&writer(&deployment)));
    let runtime = runtime();
    for (what, pair) in &rows {
        let before = counted(admin, "certificates_refused", "cause=");
        runtime.block_on(async {
            let fake = Fake::start(port, pair);
            let tried = || counted(admin, "certificates_refused", "cause=") > before;
            tokio::task::block_in_place(|| {
                wait_until(&format!("{what}: refused"), Duration::from_secs(20), tried);
            });
            let client = Client::connect_with(&url, ONCE, access.clone()).await.expect("a gateway");
            let refused = client.put(&put(SUBJECT, "main", BODY, &evidence("RU"))).await;
            let refused = refused.err().expect("nobody is there");
            let reason = refused.refused().map(|refused| refused.reason.clone());
            assert_eq!(reason.as_deref(), Some("REGION_UNAVAILABLE"), "{what}");
            assert_eq!(fake.stop().await, 0, "a shard {what} was offered a session");
        });
    }
    // The real certificate is taken at that place: it is the certificate that was refused above.
    runtime.block_on(async {
        let fake = Fake::start(port, &deployment.secured().pair("ru-msk"));
        tokio::task::block_in_place(|| {
            wait_until("the real one is offered a session", Duration::from_secs(30), || {
                fake.offered() > 0
            });
        });
        fake.stop().await;
    });
    says_nothing(&deployment, &["gateway"], &[SUBJECT, "body-of-the-attack"]);
    pause(Duration::from_millis(10));
    assert_eq!(placed(&mut deployment, "eu-fra"), 0);
}

fn writer(deployment: &Deployment) -> String {
    deployment.secured().token(&serde_json::json!({}))
}
