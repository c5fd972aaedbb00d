//! Bad input through a real client and a real gateway: each has its own stable reason, the path of
//! the field, a cure and a call id; nothing that was sent comes back, and nothing is stored.

use std::time::Duration;

use crate::support::load::{ONCE, evidence, get, put};
use crate::support::process::run;
use crate::support::{Deployment, Options};
use client::{Client, Refused, Settings, api};

/// Stands in every field that a bad request fills: it must not come back.
const MARKER: &str = "mArKeR";

fn item(kind: i32, value: &str) -> api::Evidence {
    api::Evidence { kind, value: value.to_owned(), observe_time: None }
}

fn with(evidence: Vec<api::Evidence>) -> api::PutRecordRequest {
    put("anna", "k", b"x", &evidence)
}

async fn refused(client: &Client, request: &api::PutRecordRequest) -> Refused {
    let error = client.put(request).await.err().expect("it is refused");
    let refused = error.refused().cloned().ok_or(error).expect("a reason");
    let shown = format!("{refused:?}");
    assert!(!shown.contains(MARKER), "what was sent comes back: {shown}");
    assert!(refused.call_id.is_some() && refused.cure.is_some(), "{shown}");
    refused
}

/// Requests, each with the reason and the field that it must be refused with; a ruling's refusal
/// is about no field.
fn bad() -> Vec<(api::PutRecordRequest, &'static str, &'static str)> {
    use api::EvidenceKind::{Citizenship, CollectedIn, Ip, Phone, Residence, Sim};
    let good = with(evidence("DE"));
    let subject =
        |id: String, domicile: &str| Some(api::SubjectRef { id, domicile: domicile.to_owned() });
    let mut all = vec![
        (api::PutRecordRequest { subject: None, ..good.clone() }, "FIELD_MISSING", "subject"),
        (with(vec![item(99, MARKER)]), "EVIDENCE_KIND_UNKNOWN", "evidence[0].kind"),
        (with(vec![item(0, MARKER)]), "EVIDENCE_KIND_UNKNOWN", "evidence[0].kind"),
        (with(vec![]), "JURISDICTION_UNDETERMINED", ""),
    ];
    for (kind, value) in [
        (Citizenship, MARKER),
        (Citizenship, "de"),
        (Residence, "XX"),
        (Residence, "ZZ"),
        (CollectedIn, "XX"),
        (Ip, MARKER),
        (Ip, "300.1.1.1"),
        (Phone, MARKER),
        (Phone, "0301234567"),
        (Sim, "26"),
        (Sim, MARKER),
    ] {
        let evidence = vec![item(Residence.into(), "DE"), item(kind.into(), value)];
        all.push((with(evidence), "EVIDENCE_MALFORMED", "evidence[1].value"));
    }
    let long = format!("{MARKER}{}", "x".repeat(10 << 10));
    let change = |f: &dyn Fn(&mut api::PutRecordRequest)| {
        let mut request = good.clone();
        f(&mut request);
        request
    };
    all.extend([
        (change(&|r| r.subject = subject(long.clone(), "")), "FIELD_INVALID", "subject.id"),
        (
            change(&|r| r.subject = subject(format!("{MARKER}\u{1b}"), "")),
            "FIELD_INVALID",
            "subject.id",
        ),
        (
            change(&|r| r.subject = subject("anna".into(), MARKER)),
            "FIELD_INVALID",
            "subject.domicile",
        ),
        (
            change(&|r| r.subject = subject("anna".into(), "nowhere")),
            "DOMICILE_UNKNOWN",
            "subject.domicile",
        ),
        (
            api::PutRecordRequest { subject: subject("anna".into(), "eu-fra"), ..with(vec![]) },
            "JURISDICTION_UNDETERMINED",
            "",
        ),
        (change(&|r| r.key = String::new()), "FIELD_MISSING", "key"),
        (change(&|r| r.key = format!("{MARKER}\n")), "FIELD_INVALID", "key"),
        (change(&|r| r.key.clone_from(&long)), "FIELD_INVALID", "key"),
        (change(&|r| r.collection = "nothing".into()), "COLLECTION_UNKNOWN", "collection"),
        (change(&|r| r.collection = MARKER.into()), "FIELD_INVALID", "collection"),
        (change(&|r| r.request_id = String::new()), "FIELD_MISSING", "request_id"),
        (change(&|r| r.request_id = MARKER.into()), "FIELD_INVALID", "request_id"),
        (change(&|r| r.if_version = Some(-1)), "FIELD_INVALID", "if_version"),
        (change(&|r| r.body = MARKER.repeat(1 << 18).into()), "BODY_TOO_LARGE", "body"),
        (change(&|r| r.body = vec![0; 17 << 20].into()), "BODY_TOO_LARGE", "body"),
        (with(vec![item(Residence.into(), "DE"); 4_000]), "TOO_MANY_ITEMS", "evidence"),
        // So many that the message is not decoded: they would be a hundred times as large then.
        (with(vec![item(Residence.into(), "DE"); 10_000]), "FIELD_INVALID", ""),
    ]);
    all
}

#[test]
fn every_bad_request_has_its_reason_field_and_cure_and_stores_nothing() {
    let options = Options { regions: vec!["eu-fra"], ..Options::default() };
    let mut deployment = Deployment::start(&options);
    let url = deployment.gateway_url();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = Client::connect(&url, ONCE).await.expect("a gateway");
        for (n, (request, reason, field)) in bad().into_iter().enumerate() {
            let refused = refused(&client, &request).await;
            let got = (refused.reason.as_str(), refused.field.as_deref().unwrap_or_default());
            assert_eq!(got, (reason, field), "request {n}");
            assert!(!refused.retryable, "request {n}");
        }
        let nothing = get(&client, "anna", "eu-fra", "k").await;
        assert_eq!(nothing.err().as_deref(), Some("SUBJECT_UNKNOWN"));

        let nowhere = api::PutRecordRequest { create_subject: false, ..with(vec![]) };
        assert_eq!(refused(&client, &nowhere).await.reason, "DOMICILE_REQUIRED");

        // A deadline that has passed when the call arrives, and one that is too short.
        let short =
            Settings { deadline: Duration::from_nanos(1), attempts_max: 1, ..Settings::DEFAULT };
        let late = Client::connect(&url, short).await.expect("a gateway");
        assert!(late.put(&with(evidence("DE"))).await.is_err());

        // A wrong etag, on a put and on a deletion.
        let done = client.put(&with(evidence("DE"))).await.expect("a good request");
        let mut wrong = with(evidence("DE"));
        wrong.etag = "\"1-0000000000000000\"".into();
        let refusal = refused(&client, &wrong).await;
        assert_eq!(
            (refusal.reason.as_str(), refusal.field.as_deref()),
            ("VERSION_MISMATCH", Some("etag"))
        );
        assert_eq!(refusal.metadata.get("version").map(String::as_str), Some("1"));
        let mut gone = crate::support::load::delete("anna", "eu-fra", "k");
        gone.etag = wrong.etag;
        let error = client.delete(&gone).await.err().expect("it is refused");
        assert_eq!(error.refused().expect("a reason").reason, "VERSION_MISMATCH");
        gone.etag = done.answer.etag;
        client.delete(&gone).await.expect("the right etag");
    });
    // What the processes logged holds nothing of it either.
    let gateway = deployment.stderr("gateway");
    assert!(gateway.contains("EVIDENCE_MALFORMED"), "refusals are logged by reason");
    assert!(!gateway.contains(MARKER) && !deployment.stderr("eu-fra").contains(MARKER));
    assert_eq!(deployment.gateway().stop(), 0);
}

/// `shard` on a copy of a config with some lines changed: its exit code and what it said.
fn shard_with(deployment: &Deployment, changes: &[(&str, String)]) -> (i32, String) {
    let path = deployment.root().join("shard-eu-fra.toml");
    let mut text = std::fs::read_to_string(path).expect("a config");
    for (key, value) in changes {
        let line = text.lines().find(|line| line.starts_with(&format!("{key} = ")));
        let line = line.expect("a line of the config").to_owned();
        text = text.replace(&line, &format!("{key} = {value}"));
    }
    let path = deployment.root().join("changed.toml");
    std::fs::write(&path, text).expect("a config can be written");
    let done = run(&["shard", "--config", path.to_str().expect("text")]);
    (done.code, done.stderr)
}

#[test]
fn a_folder_that_is_in_use_or_another_shards_is_refused_with_its_own_code() {
    let options = Options { regions: vec!["eu-fra", "ru-msk"], ..Options::default() };
    let mut deployment = Deployment::start(&options);
    let free = || {
        let port = crate::support::process::free_port();
        format!("\"127.0.0.1:{port}\"")
    };
    let ports = || [("listen", free()), ("admin_listen", free())];
    let (code, said) = shard_with(&deployment, &ports());
    assert_eq!(code, 69, "{said}");
    assert!(said.contains("held by another process"), "{said}");

    assert_eq!(deployment.shard("ru-msk").stop(), 0);
    let quoted = |path: std::path::PathBuf| format!("\"{}\"", path.display());
    let mut changes = ports().to_vec();
    changes.push(("data", quoted(deployment.data_dir("ru-msk"))));
    changes.push(("keys", quoted(deployment.keys_dir("ru-msk"))));
    let (code, said) = shard_with(&deployment, &changes);
    assert_eq!(code, 65, "{said}");
    assert!(said.contains("ru-msk/s1, not of"), "{said}");

    // Data that lost what was signed.
    let data = deployment.data_dir("ru-msk");
    std::fs::remove_dir_all(&data).expect("a folder can be removed");
    deployment.shard("ru-msk").start();
    assert_eq!(deployment.shard("ru-msk").wait_end(), 65);
    let said = deployment.stderr("ru-msk");
    assert!(said.contains("recover --accept-loss"), "{said}");
    let config = deployment.root().join("shard-ru-msk.toml");
    let config = config.to_str().expect("text");
    let recovered = run(&["shard", "recover", "--accept-loss", "--config", config]);
    assert_eq!(recovered.code, 0, "{}", recovered.stderr);
    assert!(recovered.stdout.contains("sample/ru-msk/s1/2"), "{}", recovered.stdout);
    deployment.restart("ru-msk");
}
