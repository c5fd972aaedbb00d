//! Attacks between our own processes: gateways and shards that are not who they say.

use std::path::Path;
use std::time::Duration;

use client::Client;
use serde_json::json;
use wire::session as proto;

use super::by_hand::{BODY, SECRETS, SUBJECT, greeting, hello, liar, runtime, start};
use super::{LOGGED_MAX, PACE, counted, lines, logged, mark, refused_for, says_nothing, written};
use crate::support::Deployment;
use crate::support::load::{ONCE, evidence, put};
use crate::support::process::{pause, run, wait_until};
use crate::support::rogue::{Fake, Pair, forge, open_with};

/// Time in which a peer that is trusted no more must be gone.
const REVOKED_MAX: Duration = Duration::from_secs(60);
const GATEWAY: &str = "spiffe://sample/region/eu-fra/gateway/gateway-1";
const DAY: i64 = 86_400;

/// An authority that calls itself eu-fra's, and that nobody pins.
fn stranger(folder: &Path) {
    let out = folder.to_str().expect("text");
    let made =
        run(&["pki", "init", "--region", "eu-fra", "--trust-domain", "sample", "--out", out]);
    assert_eq!(made.code, 0, "{made:?}");
}

/// False certificates of a gateway, each with the cause for which it is refused.
fn false_certificates(deployment: &Deployment, stranger: &Path) -> Vec<(String, Pair, String)> {
    let secured = deployment.secured();
    let by = |name: &str, uri: &str, ends| forge(Some(&secured.authority(name)), uri, ends);
    let other = "spiffe://other/region/eu-fra/gateway/gateway-1";
    let nowhere = "spiffe://sample/region/nowhere/gateway/g";
    [
        ("signed by itself", forge(None, GATEWAY, DAY / 2), "authority"),
        ("by another region's authority", by("ru-msk", GATEWAY, DAY / 2), "authority"),
        (
            "by an authority that is not pinned",
            forge(Some(stranger), GATEWAY, DAY / 2),
            "authority",
        ),
        ("by the callers' authority", by("callers", GATEWAY, DAY / 2), "authority"),
        ("expired", by("eu-fra", GATEWAY, -60), "expired"),
        ("not yet valid", by("eu-fra", GATEWAY, 2 * DAY), "expired"),
        ("of another trust domain", by("eu-fra", other, DAY / 2), "name"),
        ("of a region that is not", by("eu-fra", nowhere, DAY / 2), "authority"),
        ("of no form", by("eu-fra", "spiffe://sample/gateway-1", DAY / 2), "name"),
        ("a caller's", secured.pair("backend"), "name"),
    ]
    .map(|(what, pair, cause)| (what.to_owned(), pair, cause.to_owned()))
    .into()
}

#[test]
fn a_gateway_without_the_right_certificate_has_no_session() {
    let mut deployment = start(&["eu-fra"]);
    let admin = deployment.shard("eu-fra").admin();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path().join("ca");
    stranger(&folder);
    let rows = false_certificates(&deployment, &folder);
    let (port, authorities) = (deployment.port("eu-fra"), deployment.secured().authorities());
    let runtime = runtime();
    let opened = |own: Option<&Pair>| {
        let first = greeting(hello(&deployment, "eu-fra", "gateway-1"));
        runtime.block_on(open_with(port, &authorities, own, first)).is_ok()
    };
    for (what, own, cause) in &rows {
        // A client tries several times at once, and ten lines a second are logged: a second each.
        pause(Duration::from_millis(1_100));
        let of = format!("cause=\"{cause}\"");
        let all = || counted(admin, "certificates_refused", "cause=");
        let own_cause = || counted(admin, "certificates_refused", &of);
        let (from, before) = (mark(&deployment, "eu-fra"), (all(), own_cause()));
        assert!(!opened(Some(own)), "a certificate {what} opened a session");
        refused_for(&deployment, "eu-fra", from, cause);
        let (all, own_cause) = (all(), own_cause());
        assert!(own_cause > before.1, "{what}: not counted as {cause}");
        assert_eq!(all - before.0, own_cause - before.1, "{what}: counted as something else");
    }
    // Who presents none is no further than TLS itself: there is nothing to judge.
    let closed = || counted(admin, "connections_closed", "cause=\"handshake\"");
    let before = closed();
    assert!(!opened(None), "no certificate opened a session");
    wait_until("it is counted", REVOKED_MAX, || closed() > before);
    // No session was so much as offered, whatever the first frame held ...
    assert_eq!(counted(admin, "shard_sessions_refused", ""), 0);
    // A shard's certificate may connect, for the moves of subjects. It gets no session of a gateway, and
    // what its first frame asks is not answered.
    let shard = deployment.secured().pair("eu-fra");
    let first = greeting(hello(&deployment, "eu-fra", "gateway-1"));
    let held = runtime.block_on(open_with(port, &authorities, Some(&shard), first));
    let answer = held.expect("an answer").first;
    let refused = answer.goodbye.as_ref().map(|fault| fault.reason.as_str());
    assert_eq!(refused, Some("IDENTITY_INVALID"));
    assert!(answer.welcome.is_none() && answer.replies.is_empty());
    assert!(counted(admin, "shard_sessions_refused", "") > 0);
    let shown = ["spiffe://other", "nowhere", "BEGIN", "bailiwick authority"];
    says_nothing(&deployment, &["eu-fra"], &[SECRETS, &shown].concat());
    // ... and what is refused above is refused for its certificate: the right one opens.
    drop(runtime.block_on(liar(&deployment, "eu-fra")));
    assert_eq!(written(&mut deployment, "eu-fra"), []);
}

#[test]
fn a_revoked_gateway_loses_its_session_and_gets_no_other() {
    let mut deployment = start(&["eu-fra"]);
    let admin = deployment.shard("eu-fra").admin();
    let secured = deployment.secured();
    secured.issue("eu-fra", &["--gateway", "gateway-2"], "stolen");
    let own = secured.pair("stolen");
    let (port, authorities) = (deployment.port("eu-fra"), secured.authorities());
    let hello = || hello(&deployment, "eu-fra", "gateway-2");
    let first = || proto::ToShard { hello: Some(hello()), calls: Vec::new() };
    let from = mark(&deployment, "eu-fra");
    let before = counted(admin, "certificates_refused", "cause=\"revoked\"");
    let runtime = runtime();
    runtime.block_on(async {
        let held = open_with(port, &authorities, Some(&own), first()).await;
        let held = held.expect("it is valid yet");
        let goodbye = held.first.goodbye.as_ref().map(|goodbye| &goodbye.reason);
        assert!(held.first.welcome.is_some(), "{goodbye:?}");
        secured.revoke("eu-fra", "stolen");
        let ended = tokio::time::timeout(REVOKED_MAX, held.ended()).await;
        ended.expect("the session ends within seconds");
    });
    let of = "a peer is trusted no more: its session ends";
    for line in logged(&deployment, "eu-fra", from, of) {
        assert_eq!(line["peer"], "spiffe://sample/region/eu-fra/gateway/gateway-2");
    }
    let from = mark(&deployment, "eu-fra");
    let again = open_with(port, &authorities, Some(&own), greeting(hello()));
    assert!(runtime.block_on(again).is_err());
    refused_for(&deployment, "eu-fra", from, "revoked");
    assert!(counted(admin, "certificates_refused", "cause=\"revoked\"") > before);
    // The other gateway of the same authority goes on.
    deployment.wait_session("eu-fra", true);
    says_nothing(&deployment, &["gateway", "eu-fra"], SECRETS);
    assert_eq!(written(&mut deployment, "eu-fra"), []);
}

#[test]
fn the_right_certificate_with_a_foreign_map_or_name_has_no_session() {
    const FENCE: &str = "PLACEMENT_NOT_ADMITTED";
    let mut deployment = start(&["eu-fra"]);
    let admin = deployment.shard("eu-fra").admin();
    let own = deployment.secured().pair("gateway");
    let (port, authorities) = (deployment.port("eu-fra"), deployment.secured().authorities());
    let right = || hello(&deployment, "eu-fra", "gateway-1");
    let text = |text: &str| text.to_owned();
    let other_map = proto::Hello { map_digest: vec![7; 32].into(), ..right() };
    let rows = [
        ("another map of that version", other_map, FENCE, "hello.map_digest"),
        (
            "another deployment",
            proto::Hello { deployment: text("other"), ..right() },
            FENCE,
            "hello.deployment",
        ),
        (
            "another region",
            proto::Hello { region: text("ru-msk"), ..right() },
            FENCE,
            "hello.region",
        ),
        ("another shard", proto::Hello { shard: text("s2"), ..right() }, FENCE, "hello.region"),
        (
            "another gateway's name",
            proto::Hello { gateway: text("gateway-2"), ..right() },
            "IDENTITY_INVALID",
            "hello.gateway",
        ),
        ("another protocol", proto::Hello { protocol: 99, ..right() }, FENCE, "hello.protocol"),
    ];
    let no_hello = proto::ToShard { hello: None, ..greeting(right()) };
    let rows = rows.map(|(what, hello, reason, field)| (what, greeting(hello), reason, field));
    let mut rows = Vec::from(rows);
    rows.push(("no hello", no_hello, "FIELD_MISSING", "hello"));
    let runtime = runtime();
    let refused = || counted(admin, "shard_sessions_refused", "");
    for (n, (what, first, reason, field)) in (1..).zip(rows) {
        pause(PACE);
        let from = mark(&deployment, "eu-fra");
        let held = open_with(port, &authorities, Some(&own), first);
        let held = runtime.block_on(held).expect("TLS takes it");
        assert!(held.first.welcome.is_none(), "{what} was welcomed");
        assert!(held.first.replies.is_empty(), "{what}: what came with it was answered");
        let goodbye = held.first.goodbye.as_ref().expect("a reason");
        let told = (goodbye.reason.as_str(), goodbye.field.as_str());
        assert_eq!(told, (reason, field), "{what}");
        let line = logged(&deployment, "eu-fra", from, "a session was refused");
        let [line] = line.as_slice() else { panic!("{what}: {line:?}") };
        let told = (&line["reason"], &line["field"], &line["peer"], &line["unsaid"]);
        assert_eq!(told, (&json!(reason), &json!(field), &json!(GATEWAY), &json!(0)), "{what}");
        assert_eq!(refused(), n, "{what} was not counted");
    }
    says_nothing(&deployment, &["gateway", "eu-fra"], SECRETS);
    assert_eq!(written(&mut deployment, "eu-fra"), []);
}

// === fake shards ===

/// What may stand in the place of ru-msk's shard, each with the cause for which it is refused.
fn false_shards(deployment: &Deployment) -> Vec<(&'static str, Pair, &'static str)> {
    let secured = deployment.secured();
    let ru = secured.authority("ru-msk");
    let real = "spiffe://sample/region/ru-msk/shard/s1";
    secured.issue("ru-msk", &["--shard", "s1"], "revoked-shard");
    secured.revoke("ru-msk", "revoked-shard");
    let by_eu = forge(Some(&secured.authority("eu-fra")), real, 3_600);
    let second = forge(Some(&ru), "spiffe://sample/region/ru-msk/shard/s2", 3_600);
    let gateway = forge(Some(&ru), "spiffe://sample/region/ru-msk/gateway/s1", 3_600);
    vec![
        ("signed by itself", forge(None, real, 3_600), "authority"),
        ("another region's shard", secured.pair("eu-fra"), "other"),
        ("by another region's authority", by_eu, "authority"),
        ("expired", forge(Some(&ru), real, -60), "expired"),
        ("revoked", secured.pair("revoked-shard"), "revoked"),
        ("another shard", second, "other"),
        ("a gateway", gateway, "other"),
    ]
}

#[test]
fn a_fake_shard_in_the_place_of_the_real_one_is_offered_no_session() {
    let mut deployment = start(&["eu-fra"]);
    let port = deployment.port("ru-msk");
    let rows = false_shards(&deployment);
    let admin = deployment.gateway().admin();
    let token = deployment.secured().token(&json!({}));
    let (url, access) = (deployment.gateway_url(), deployment.secured().with_token(&token));
    let runtime = runtime();
    for (what, pair, cause) in &rows {
        let of = format!("cause=\"{cause}\"");
        let all = || counted(admin, "certificates_refused", "cause=");
        let own_cause = || counted(admin, "certificates_refused", &of);
        let (from, before) = (mark(&deployment, "gateway"), (all(), own_cause()));
        let offered = runtime.block_on(async {
            let fake = Fake::start(port, pair);
            tokio::task::block_in_place(|| {
                let what = format!("{what}: refused as {cause}");
                wait_until(&what, Duration::from_secs(120), || own_cause() > before.1);
            });
            let client = Client::connect_with(&url, ONCE, access.clone()).await.expect("a gateway");
            let refused = client.put(&put(SUBJECT, "main", BODY, &evidence("RU"))).await;
            let refused = refused.err().expect("nobody is there");
            let reason = refused.refused().map(|refused| refused.reason.as_str());
            assert_eq!(reason, Some("REGION_UNAVAILABLE"), "{what}");
            fake.stop().await
        });
        assert_eq!(offered, 0, "a shard {what} was offered a session");
        refused_for(&deployment, "gateway", from, cause);
        // And for what the session is not there.
        let handshake = "the TLS handshake failed, or another process than this shard answered it";
        wait_until(&format!("{what}: no session, for the handshake"), LOGGED_MAX, || {
            let failed = lines(&deployment, "gateway", from, NO_SESSION);
            failed.iter().any(|line| line["region"] == "ru-msk" && line["cause"] == handshake)
        });
        // Both are read while the fake is gone: nothing is refused in between.
        let (all, own_cause) = (all(), own_cause());
        assert_eq!(all - before.0, own_cause - before.1, "{what}: counted as something else");
    }
    // The real certificate is taken at that place: it is the certificate that was refused above.
    runtime.block_on(async {
        let fake = Fake::start(port, &deployment.secured().pair("ru-msk"));
        tokio::task::block_in_place(|| {
            wait_until("the real one is offered a session", Duration::from_secs(120), || {
                fake.offered() > 0
            });
        });
        fake.stop().await;
    });
    says_nothing(&deployment, &["gateway"], &[SECRETS, &[&token]].concat());
    assert_eq!(written(&mut deployment, "eu-fra"), []);
}

const NO_SESSION: &str = "no session with the shard: calls for it are answered REGION_UNAVAILABLE";
