//! Records of several people, over two regions: a message lies with its owner if what binds the other
//! allows it there, and the other finds it.

use crate::support::Deployment;
use crate::support::load::{ONCE, evidence, put, refused};
use crate::support::maps::two_regions;
use crate::support::process::{Finished, run};
use client::{Client, api};
use serde_json::Value;
use tokio::runtime::Runtime;

fn of(id: &str, domicile: &str) -> api::SubjectRef {
    api::SubjectRef { id: id.to_owned(), domicile: domicile.to_owned() }
}

/// A message in the German's inbox.
fn message(key: &str, participants: Vec<api::SubjectRef>) -> api::PutRecordRequest {
    let put = put("anna", key, b"hello", &evidence("DE"));
    api::PutRecordRequest { collection: "messages".to_owned(), participants, ..put }
}

async fn people(client: &Client) {
    for (name, country) in [("anna", "DE"), ("boris", "RU"), ("vera", "RU")] {
        client.put(&put(name, "main", b"x", &evidence(country))).await.expect("a put");
    }
}

fn listing(region: &str) -> api::ListRecordsRequest {
    api::ListRecordsRequest {
        collection: "messages".to_owned(),
        regions: vec![region.to_owned()],
        participant: Some(of("boris", "ru-msk")),
        ..Default::default()
    }
}

#[test]
fn a_russians_text_enters_a_germans_inbox_under_a_clause_and_is_found_by_both() {
    let deployment = Deployment::start(&two_regions(true));
    let (url, runtime) = (deployment.gateway_url(), Runtime::new().expect("a runtime"));
    runtime.block_on(async {
        let client = Client::connect(&url, ONCE).await.expect("a gateway");
        people(&client).await;
        let boris = || of("boris", "ru-msk");
        let done = client.put(&message("m-1", vec![boris()])).await.expect("a put");
        assert_eq!(done.subject.as_ref().expect("a subject").domicile, "eu-fra");
        // All or none, and many at once, ask for the others as well.
        let batch = [message("m-2", vec![boris()]), message("m-3", vec![boris()])];
        client.put_atomic(&batch).await.expect("a batch");
        let get = api::GetRecordRequest {
            subject: Some(of("anna", "eu-fra")),
            collection: "messages".to_owned(),
            key: "m-1".to_owned(),
            ..Default::default()
        };
        assert!(client.get(&get).await.expect("a record").participants == [boris()]);
        let found = client.list(listing("eu-fra")).next_page().await.expect("a page");
        let mut keys: Vec<String> =
            found.expect("records").into_iter().map(|record| record.key).collect();
        keys.sort();
        assert_eq!(keys, ["m-1", "m-2", "m-3"]);
        // What is wrong with a participant is said with its path, and nothing is stored.
        for (wrong, reason, field) in [
            (of("nobody", "ru-msk"), "SUBJECT_UNKNOWN", "participants[1].id"),
            (of("boris", "kz-ala"), "REGION_UNAVAILABLE", "participants[1]"),
            (of("boris", "mars"), "DOMICILE_UNKNOWN", "participants[1].domicile"),
            (of("boris", ""), "DOMICILE_REQUIRED", "participants[1].domicile"),
            (boris(), "FIELD_INVALID", "participants[1]"),
        ] {
            let done = client.put(&message("m-9", vec![boris(), wrong])).await;
            assert_eq!(refused(done), (reason.to_owned(), field.to_owned()));
        }
    });
    check_commands(&url);
}

fn record(url: &str, arguments: &[&str]) -> Finished {
    let mut all = vec!["record"];
    all.extend(arguments);
    all.extend(["--gateway", url, "--collection", "messages", "--json"]);
    run(&all)
}

fn check_commands(url: &str) {
    let anna = ["--subject", "anna", "--domicile", "eu-fra"];
    let mut put = vec!["put", "--key", "m-4", "--body", "hi", "--participant", "boris@ru-msk"];
    put.extend(anna);
    let done = record(url, &put);
    assert_eq!(done.code, 0, "{done:?}");
    let mut get = vec!["get", "--key", "m-4"];
    get.extend(anna);
    let found: Value = serde_json::from_str(&record(url, &get).stdout).expect("JSON");
    let boris = serde_json::json!([{ "subject": "boris", "domicile": "ru-msk" }]);
    assert_eq!(found.get("participants").cloned().unwrap_or_default(), boris);
    let listed = record(url, &["list", "--region", "eu-fra", "--participant", "boris"]);
    assert_eq!((listed.code, listed.stdout.lines().count()), (0, 4), "{listed:?}");
    let counted = record(url, &["count", "--region", "eu-fra", "--participant", "vera"]);
    let counted: Value = serde_json::from_str(&counted.stdout).expect("JSON");
    assert_eq!(counted.get("count"), Some(&Value::from(0)));
    let erase = ["--subject", "vera", "--domicile", "ru-msk", "--reason", "asked"];
    let mut arguments = vec!["subject", "erase", "--gateway", url, "--json"];
    arguments.extend(erase);
    let done = run(&arguments);
    assert_eq!(done.code, 0, "{done:?}");
    let mut put = vec!["put", "--key", "m-5", "--body", "hi", "--participant", "vera@ru-msk"];
    put.extend(anna);
    let done = record(url, &put);
    let text = format!("{done:?}");
    assert!(done.code != 0 && text.contains("SUBJECT_ERASED"), "{text}");
    assert!(text.contains("participants[0].id"), "{text}");
}

#[test]
fn a_put_that_was_stored_is_answered_when_its_participant_is_gone() {
    let deployment = Deployment::start(&two_regions(true));
    let (url, runtime) = (deployment.gateway_url(), Runtime::new().expect("a runtime"));
    let vera = || vec![of("vera", "ru-msk")];
    let (one, batch) = (message("m-1", vera()), [message("m-2", vera()), message("m-3", vera())]);
    runtime.block_on(async {
        let client = Client::connect(&url, ONCE).await.expect("a gateway");
        people(&client).await;
        let first = client.put(&one).await.expect("a put");
        client.put_atomic(&batch).await.expect("a batch");
        let erase = ["subject", "erase", "--gateway", url.as_str(), "--json", "--subject", "vera"];
        let rest = ["--domicile", "ru-msk", "--reason", "asked"];
        let done = run(&[&erase[..], &rest[..]].concat());
        assert_eq!(done.code, 0, "{done:?}");
        let again = client.put(&one).await.expect("it was stored");
        assert!(again.replayed && again.version == first.version);
        let again = client.put_atomic(&batch).await.expect("it was stored");
        assert!(again.iter().all(|done| done.replayed));
        // What was not stored is not.
        let erased = |path: &str| ("SUBJECT_ERASED".to_owned(), path.to_owned());
        let done = client.put(&message("m-4", vera())).await;
        assert_eq!(refused(done), erased("participants[0].id"));
        let [stored, _] = &batch;
        let mixed = [stored.clone(), message("m-5", vera())];
        let done = client.put_atomic(&mixed).await;
        assert_eq!(refused(done), erased("requests[0].participants[0].id"));
        let all = api::ListRecordsRequest { participant: None, ..listing("eu-fra") };
        let found = client.list(all).next_page().await.expect("a page").expect("records");
        assert_eq!(found.len(), 3);
    });
}

#[test]
fn without_a_clause_it_is_refused_with_the_pair() {
    let deployment = Deployment::start(&two_regions(false));
    let (url, runtime) = (deployment.gateway_url(), Runtime::new().expect("a runtime"));
    runtime.block_on(async {
        let client = Client::connect(&url, ONCE).await.expect("a gateway");
        people(&client).await;
        let Err(error) = client.put(&message("m-1", vec![of("boris", "ru-msk")])).await else {
            unreachable!("it is refused")
        };
        let refused = error.refused().expect("a refusal");
        assert_eq!(refused.reason, "TRANSFER_NOT_COVERED");
        assert_eq!(refused.field.as_deref(), Some("participants[0]"));
        let pair = refused.metadata.get("conflicting").map(String::as_str);
        assert_eq!(pair, Some("RU,DE"));
        let found = client.list(listing("eu-fra")).next_page().await.expect("a page");
        assert_eq!(found.map_or(0, |page| page.len()), 0);
        // The German's own text may lie there, and a message among Germans.
        client.put(&message("m-2", Vec::new())).await.expect("a put");
    });
}
