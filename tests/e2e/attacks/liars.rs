//! Attacks by true gateways, whose certificates are good and who lie: the shard rules again, and
//! stores nothing that its own map does not place with it.

use atlas::{Date, Question, RegionMap};
use ledger::entry::Kind;
use serde_json::json;
use terms::{Collection, TenantId, UnixMillis};
use wire::session as proto;

use super::by_hand::{
    SECRETS, call, create, fault, findings, hello, liar, liar_with, map_text, outcome, put,
    runtime, start,
};
use super::{FENCE, PACE, counted, in_the_log, logged, mark, says_nothing, written};
use crate::support::Deployment;
use crate::support::process::pause;
use crate::support::rogue::Held;
use crate::support::secure::now;

const PROCESSES: &[&str] = &["gateway", "eu-fra", "ru-msk"];

/// Sends a call that the shard must refuse as one for another region: the answer names the reason
/// and that region, the log and a counter the reason.
async fn misplaced(
    (deployment, admin): (&Deployment, u16),
    (held, region): (&mut Held, &str),
    (op, elsewhere): (proto::call::Op, &str),
) {
    pause(PACE);
    let refused = || counted(admin, "shard_placements_refused", "");
    let (from, before) = (mark(deployment, region), refused());
    let fault = fault(held.call(call("writer", op)).await);
    assert_eq!(fault.reason, "PLACEMENT_NOT_ADMITTED", "{region}, for {elsewhere}");
    assert_eq!(fault.field, "subject.domicile");
    assert_eq!(fault.details.get("region").map(String::as_str), Some(elsewhere));
    let told = logged(deployment, region, from, FENCE);
    assert_eq!(told.len(), 1, "{told:?}");
    let line = told.first().expect("one");
    let told = (&line["reason"], &line["region"], &line["unsaid"]);
    assert_eq!(told, (&json!("PLACEMENT_NOT_ADMITTED"), &json!(region), &json!(0)));
    assert_eq!(line["gateway_territory"], "DE", "by its certificate");
    assert_eq!(refused(), before + 1);
}

#[test]
fn findings_that_a_gateway_forges_move_nobody() {
    let mut deployment = start(&["eu-fra"]);
    let admin = deployment.shard("eu-fra").admin();
    runtime().block_on(async {
        let mut held = liar(&deployment, "eu-fra").await;
        // Of somebody who is not known, so that the record would lie where the law forbids it.
        for op in [put(findings("RU").encode()), create(findings("RU").encode())] {
            misplaced((&deployment, admin), (&mut held, "eu-fra"), (op, "ru-msk")).await;
        }
        // Of somebody whose record lies here by law: neither is it moved, nor is another placed.
        let told = held.call(call("writer", put(findings("DE").encode()))).await;
        assert_eq!(outcome(told), "stored");
        for country in ["RU", "KZ"] {
            let told = held.call(call("writer", put(findings(country).encode()))).await;
            assert_eq!(outcome(told), "JURISDICTION_CHANGED", "{country}");
            let told = held.call(call("writer", create(findings(country).encode()))).await;
            assert_eq!(outcome(told), "SUBJECT_EXISTS", "{country}");
        }
        // None at all, and such as nobody can read.
        for (bytes, reason) in [(Vec::new(), "FIELD_MISSING"), (vec![0xff; 9], "FIELD_INVALID")] {
            for mut op in [put(bytes.clone()), create(bytes)] {
                if let proto::call::Op::Put(put) = &mut op {
                    "another".clone_into(&mut put.subject);
                } else if let proto::call::Op::Create(create) = &mut op {
                    "another".clone_into(&mut create.subject);
                }
                let told = fault(held.call(call("writer", op)).await);
                assert_eq!((told.reason.as_str(), told.field.as_str()), (reason, "findings"));
            }
        }
    });
    says_nothing(&deployment, &["gateway", "eu-fra"], SECRETS);
    assert_eq!(written(&mut deployment, "eu-fra"), [Kind::Place], "the lawful one alone");
}

#[test]
fn a_shard_told_to_store_for_another_territory_stores_nothing() {
    let mut deployment = start(&["eu-fra", "ru-msk"]);
    let admins = ["eu-fra", "ru-msk"].map(|region| deployment.shard(region).admin());
    let foreign = [("RU", "ru-msk"), ("IN", "in-bom"), ("US", "us-iad"), ("KZ", "kz-ala")];
    runtime().block_on(async {
        let mut held = liar(&deployment, "eu-fra").await;
        for (country, home) in foreign {
            // True findings, sent to the wrong shard.
            for op in [put(findings(country).encode()), create(findings(country).encode())] {
                misplaced((&deployment, admins[0]), (&mut held, "eu-fra"), (op, home)).await;
            }
        }
        let mut held = liar(&deployment, "ru-msk").await;
        for op in [put(findings("DE").encode()), create(findings("DE").encode())] {
            misplaced((&deployment, admins[1]), (&mut held, "ru-msk"), (op, "eu-fra")).await;
        }
    });
    says_nothing(&deployment, PROCESSES, SECRETS);
    assert_eq!(written(&mut deployment, "eu-fra"), []);
    assert_eq!(written(&mut deployment, "ru-msk"), []);
}

/// Where a map puts a person of that country's profile.
fn places(map: &RegionMap, country: &str) -> String {
    let (tenant, collection) = (TenantId::parse("sample"), Collection::parse("profiles"));
    let (tenant, collection) = (tenant.expect("a tenant"), collection.expect("a collection"));
    let findings = findings(country);
    let date = Date::of(UnixMillis(now() * 1000));
    let question = Question {
        tenant: &tenant,
        collection: &collection,
        findings: &findings,
        date: date.into(),
    };
    let ruling = atlas::decide(map, &question).expect("a collection of the map");
    ruling.placement().expect("a placement").region().to_string()
}

#[test]
fn a_gateway_with_a_foreign_map_of_another_version_places_nothing_by_it() {
    let mut deployment = start(&["eu-fra"]);
    let admin = deployment.shard("eu-fra").admin();
    let own = map_text(&deployment);
    let (old, new) = ("for = \"*\"\nregion = \"us-iad\"", "for = \"*\"\nregion = \"eu-fra\"");
    assert!(own.contains(old) && own.contains("\nversion = 1\n"));
    let foreign = own.replace(old, new).replace("\nversion = 1\n", "\nversion = 2\n");
    let own = RegionMap::parse(&own).expect("a map");
    let foreign = RegionMap::parse(&foreign).expect("a map, too");
    assert_eq!((places(&own, "US"), places(&foreign, "US")), ("us-iad".into(), "eu-fra".into()));
    let from = mark(&deployment, "eu-fra");
    runtime().block_on(async {
        // A map of another version ends no session: during a change both are there. The shard
        // says which it has, and rules by it.
        let map_digest = foreign.epoch().digest.to_vec().into();
        let map_epoch = foreign.epoch().number;
        let honest = hello(&deployment, "eu-fra", "gateway-1");
        let hello = proto::Hello { map_epoch, map_digest, ..honest };
        let mut held = liar_with(&deployment, "eu-fra", hello).await;
        let welcome = held.first.welcome.clone().expect("a welcome");
        assert_eq!(welcome.map_epoch, own.epoch().number);
        assert_eq!(*welcome.map_digest, own.epoch().digest);
        for op in [put(findings("US").encode()), create(findings("US").encode())] {
            misplaced((&deployment, admin), (&mut held, "eu-fra"), (op, "us-iad")).await;
        }
    });
    assert_eq!(logged(&deployment, "eu-fra", from, FENCE).len(), 2);
    says_nothing(&deployment, &["gateway", "eu-fra"], SECRETS);
    assert_eq!(written(&mut deployment, "eu-fra"), []);
}

#[test]
fn a_role_that_may_not_write_stores_nothing_whatever_the_gateway_let_through() {
    let mut deployment = start(&["eu-fra"]);
    let admin = deployment.shard("eu-fra").admin();
    let refused = || counted(admin, "shard_roles_refused", "");
    runtime().block_on(async {
        let mut held = liar(&deployment, "eu-fra").await;
        for role in ["reader", "operator", "auditor", "eraser"] {
            for op in [put(findings("DE").encode()), create(findings("DE").encode())] {
                pause(PACE);
                let (from, before) = (mark(&deployment, "eu-fra"), refused());
                let told = held.call(call(role, op)).await;
                assert_eq!(outcome(told), "NOT_PERMITTED", "{role}");
                let line = logged(&deployment, "eu-fra", from, FENCE);
                let [line] = line.as_slice() else { panic!("{line:?}") };
                assert_eq!(line["reason"], "NOT_PERMITTED", "{role}");
                assert_eq!(refused(), before + 1, "{role}");
            }
        }
    });
    says_nothing(&deployment, &["gateway", "eu-fra"], SECRETS);
    assert_eq!(written(&mut deployment, "eu-fra"), []);
    assert_eq!(in_the_log(&deployment, "eu-fra", "NOT_PERMITTED"), 8);
}

#[test]
fn replayed_frames_have_no_second_effect() {
    let mut deployment = start(&["eu-fra"]);
    runtime().block_on(async {
        let recorded = call("writer", put(findings("DE").encode()));
        let mut held = liar(&deployment, "eu-fra").await;
        assert_eq!(outcome(held.call(recorded.clone()).await), "stored");
        // The same bytes again: in the session, and in another one.
        assert_eq!(outcome(held.call(recorded.clone()).await), "replayed");
        drop(held);
        let mut held = liar(&deployment, "eu-fra").await;
        assert_eq!(outcome(held.call(recorded.clone()).await), "replayed");
        // The request id with other content is no way in either.
        let mut other = recorded;
        if let Some(proto::call::Op::Put(put)) = &mut other.op {
            put.body = b"another".to_vec().into();
        }
        assert_eq!(outcome(held.call(other).await), "REQUEST_ID_REUSED");
    });
    says_nothing(&deployment, &["eu-fra"], SECRETS);
    assert_eq!(written(&mut deployment, "eu-fra"), [Kind::Place]);
}
