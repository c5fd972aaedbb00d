//! Uploads that create their subject, and that name other people: ruled as puts are, and nothing of the
//! person is stored as a subject before the attachment is there.

use std::fs;
use std::io::Cursor;

use client::{Client, PutBuilder, api, measure};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::Deployment;
use crate::support::load::{ONCE, evidence, get, put, refused};
use crate::support::maps::two_regions;
use crate::support::process::run;

const MIB: usize = terms::limits::ATTACHMENT_CHUNK_BYTES;

fn of(subject: &str, collection: &str) -> PutBuilder {
    PutBuilder::new(subject, collection, "film").expect("randomness")
}

fn living_in(put: PutBuilder, country: &str) -> PutBuilder {
    put.create_subject().evidence(api::EvidenceKind::Residence, country)
}

/// A body of a few chunks, and what is announced of it.
async fn body() -> (Cursor<Vec<u8>>, u64, [u8; 32]) {
    let mut source = Cursor::new(vec![7_u8; 2 * MIB + 77]);
    let (bytes, sha256) = measure(&mut source).await.expect("it is measured");
    (source, bytes, sha256)
}

#[track_caller]
fn assert_refused<T>(done: Result<T, client::Error>, reason: &str, field: &str) {
    assert_eq!(refused(done), (reason.to_owned(), field.to_owned()));
}

async fn record(client: &Client, subject: &str, region: &str) -> Option<String> {
    get(client, subject, region, "main").await.err()
}

#[test]
fn an_upload_creates_its_subject_where_the_rules_place_it() {
    let deployment = Deployment::start(&two_regions(false));
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = Client::connect(&deployment.gateway_url(), ONCE).await.expect("a gateway");
        let (mut source, bytes, sha256) = body().await;
        let announced = |put: PutBuilder| put.build_upload(bytes, sha256);

        let bare = announced(of("anna", "profiles").create_subject());
        assert_refused(
            client.upload(&bare, &mut source, |_| ()).await,
            "JURISDICTION_UNDETERMINED",
            "",
        );
        let elsewhere = announced(living_in(of("anna", "profiles"), "DE").domicile("ru-msk"));
        let (reason, _) = refused(client.upload(&elsewhere, &mut source, |_| ()).await);
        assert_eq!(reason, "PLACEMENT_NOT_ADMITTED");
        let unasked = announced(of("anna", "profiles").domicile("eu-fra"));
        let done = client.upload(&unasked, &mut source, |_| ()).await;
        assert_refused(done, "SUBJECT_UNKNOWN", "subject.id");

        // Until it ends there is no such subject: other writes and reads say so.
        let spec = announced(living_in(of("anna", "profiles"), "DE"));
        let (mut told, mut seen) = (Vec::new(), Vec::new());
        let done = client.upload(&spec, &mut source, |bytes| told.push(bytes)).await;
        let done = done.expect("it is stored");
        assert_eq!(done.subject.as_ref().expect("a subject").domicile, "eu-fra");
        assert_eq!((done.version, told.first().copied()), (1, Some(0)));
        let part = api::DownloadAttachmentRequest {
            subject: done.subject.clone(),
            collection: "profiles".to_owned(),
            key: "film".to_owned(),
            ..Default::default()
        };
        client.download_to(part, &mut seen, |_, _| ()).await.expect("it is there");
        assert!(seen == *source.get_ref(), "other bytes came back");
        let again = client.upload(&spec, &mut source, |_| ()).await.expect("a retry");
        assert!(again.replayed && again.version == 1);
        // The ruling stands: other evidence of residence is refused, as of a put.
        let moved = announced(living_in(of("anna", "profiles"), "RU").domicile("eu-fra"));
        let done = client.upload(&moved, &mut source, |_| ()).await;
        assert_refused(done, "JURISDICTION_CHANGED", "evidence");
        client.put(&put("anna", "main", b"x", &evidence("DE"))).await.expect("a put");
        assert_eq!(record(&client, "anna", "eu-fra").await, None);
    });
}

#[test]
fn an_upload_that_fails_leaves_no_subject() {
    let deployment = Deployment::start(&two_regions(false));
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = Client::connect(&deployment.gateway_url(), ONCE).await.expect("a gateway");
        let (mut source, bytes, _) = body().await;
        let spec = living_in(of("anna", "profiles"), "DE").build_upload(bytes, [7; 32]);
        let done = client.upload(&spec, &mut source, |_| ()).await;
        assert_refused(done, "CONTENT_MISMATCH", "sha256");
        let unknown = || Some("SUBJECT_UNKNOWN".to_owned());
        assert_eq!(record(&client, "anna", "eu-fra").await, unknown());
    });
}

#[test]
fn an_upload_names_people_as_a_put_does() {
    let deployment = Deployment::start(&two_regions(true));
    let (url, runtime) = (deployment.gateway_url(), Runtime::new().expect("a runtime"));
    runtime.block_on(async {
        let client = Client::connect(&url, ONCE).await.expect("a gateway");
        client.put(&put("boris", "main", b"x", &evidence("RU"))).await.expect("a put");
        let (mut source, bytes, sha256) = body().await;
        let message = || living_in(of("anna", "messages"), "DE").participant("boris", "ru-msk");
        for (id, region, reason, field) in [
            ("nobody", "ru-msk", "SUBJECT_UNKNOWN", "participants[1].id"),
            ("boris", "mars", "DOMICILE_UNKNOWN", "participants[1].domicile"),
            ("boris", "", "DOMICILE_REQUIRED", "participants[1].domicile"),
            ("boris", "ru-msk", "FIELD_INVALID", "participants[1]"),
        ] {
            let spec = message().participant(id, region).build_upload(bytes, sha256);
            assert_refused(client.upload(&spec, &mut source, |_| ()).await, reason, field);
        }
        let spec = message().build_upload(bytes, sha256);
        client.upload(&spec, &mut source, |_| ()).await.expect("it is stored");
        // The same request without its participant is another one.
        let other = api::UploadSpec { participants: Vec::new(), ..spec };
        let done = client.upload(&other, &mut source, |_| ()).await;
        assert_refused(done, "REQUEST_ID_REUSED", "request_id");
    });
    let anna = ["--subject", "anna", "--domicile", "eu-fra", "--collection", "messages"];
    let listed = run(&[
        &["record", "list", "--gateway", &url, "--json", "--participant", "boris"],
        &anna[..],
    ]
    .concat());
    let line: Value = serde_json::from_str(&listed.stdout).expect("one line of JSON");
    assert_eq!((listed.code, line.get("key")), (0, Some(&Value::from("film"))), "{listed:?}");
    // The command says the same things.
    let file = deployment.root().join("film");
    fs::write(&file, b"a film").expect("a file");
    let file = file.to_str().expect("text");
    let names = ["--subject", "carl", "--collection", "messages", "--key", "film", "--json"];
    let about = ["--create-subject", "--evidence", "residence=DE", "--participant", "boris@ru-msk"];
    let put = ["attachment", "put", "--gateway", &url, "--file", file];
    let done = run(&[&put[..], &names, &about].concat());
    let done: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(done.get("domicile"), Some(&Value::from("eu-fra")), "{done:?}");
}

#[test]
fn an_upload_that_was_stored_is_answered_when_its_participant_is_gone() {
    let deployment = Deployment::start(&two_regions(true));
    let (url, runtime) = (deployment.gateway_url(), Runtime::new().expect("a runtime"));
    runtime.block_on(async {
        let client = Client::connect(&url, ONCE).await.expect("a gateway");
        client.put(&put("boris", "main", b"x", &evidence("RU"))).await.expect("a put");
        let (mut source, bytes, sha256) = body().await;
        let message = || living_in(of("anna", "messages"), "DE").participant("boris", "ru-msk");
        let spec = message().build_upload(bytes, sha256);
        client.upload(&spec, &mut source, |_| ()).await.expect("it is stored");
        let erase = ["subject", "erase", "--gateway", url.as_str(), "--json", "--subject", "boris"];
        let rest = ["--domicile", "ru-msk", "--reason", "asked"];
        let done = run(&[&erase[..], &rest[..]].concat());
        assert_eq!(done.code, 0, "{done:?}");
        let again = client.upload(&spec, &mut source, |_| ()).await.expect("it was stored");
        assert!(again.replayed && again.version == 1);
        let other = message().build_upload(bytes, sha256);
        let done = client.upload(&other, &mut source, |_| ()).await;
        assert_refused(done, "SUBJECT_ERASED", "participants[0].id");
    });
}

#[test]
fn without_a_clause_an_upload_is_refused_with_the_pair_before_a_byte_is_sent() {
    let deployment = Deployment::start(&two_regions(false));
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = Client::connect(&deployment.gateway_url(), ONCE).await.expect("a gateway");
        client.put(&put("boris", "main", b"x", &evidence("RU"))).await.expect("a put");
        let (mut source, bytes, sha256) = body().await;
        let message = living_in(of("anna", "messages"), "DE").participant("boris", "ru-msk");
        let spec = message.build_upload(bytes, sha256);
        let mut told = Vec::new();
        let done = client.upload(&spec, &mut source, |bytes| told.push(bytes)).await;
        let Err(error) = done else { unreachable!("it is refused") };
        let refused = error.refused().expect("a refusal");
        assert_eq!(refused.reason, "TRANSFER_NOT_COVERED");
        assert_eq!(refused.field.as_deref(), Some("participants[0]"));
        assert_eq!(refused.metadata.get("conflicting").map(String::as_str), Some("RU,DE"));
        assert!(told.is_empty(), "it was refused at the first message");
        let message = living_in(of("anna", "messages"), "DE");
        let spec = message.build_upload(bytes, sha256);
        client.upload(&spec, &mut source, |_| ()).await.expect("it is stored");
    });
}
