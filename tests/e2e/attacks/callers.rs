//! Attacks by callers who are who they say, and want more than their due.

use client::{Access, Client, Refused, api};
use ledger::entry::Kind;
use serde_json::{Value, json};

use super::by_hand::{BODY, SUBJECT, runtime};
use super::{FENCE, PACE, REFUSED, counted, in_the_log, logged, says_nothing, told, written};
use crate::support::load::{ONCE, evidence, put};
use crate::support::process::pause;
use crate::support::{Deployment, Options};

pub(crate) fn start(gateway_region: &'static str, regions: &[&'static str]) -> Deployment {
    let mut options =
        Options { tls: true, gateway_region, regions: regions.to_vec(), ..Options::default() };
    let tenant = "[[tenants]]\nname = \"sample\"\n";
    let both = format!("{tenant}\n[[tenants]]\nname = \"other\"\n");
    options.map = options.map.replace(tenant, &both);
    Deployment::start(&options)
}

pub(crate) async fn client(deployment: &Deployment, access: Access) -> Result<Client, String> {
    let url = deployment.gateway_url();
    Client::connect_with(&url, ONCE, access).await.map_err(|error| error.to_string())
}

pub(crate) async fn with(deployment: &Deployment, changes: &Value) -> Client {
    let secured = deployment.secured();
    let access = secured.with_token(&secured.token(changes));
    client(deployment, access).await.expect("a gateway")
}

pub(crate) async fn read(
    client: &Client,
    subject: &str,
    domicile: &str,
) -> Result<api::Record, Refused> {
    let subject = api::SubjectRef { id: subject.to_owned(), domicile: domicile.to_owned() };
    read_of(client, subject, "profiles").await
}

async fn read_of(
    client: &Client,
    subject: api::SubjectRef,
    collection: &str,
) -> Result<api::Record, Refused> {
    let request = api::GetRecordRequest {
        subject: Some(subject),
        collection: collection.to_owned(),
        key: "main".to_owned(),
        ..Default::default()
    };
    client.get(&request).await.map_err(|error| error.refused().expect("a reason").clone())
}

pub(crate) async fn write(client: &Client, subject: &str, country: &str) -> Result<(), Refused> {
    let done = client.put(&put(subject, "main", BODY, &evidence(country))).await;
    done.map(drop).map_err(|error| error.refused().expect("a reason").clone())
}

#[test]
fn no_role_gives_more_than_it_is_for() {
    let mut deployment = start("eu-fra", &["eu-fra"]);
    runtime().block_on(async {
        write(&with(&deployment, &json!({})).await, "control", "DE").await.expect("a put");
        for (roles, writes, reads) in [
            (json!([]), false, false),
            (json!(["reader"]), false, true),
            (json!(["writer"]), true, false),
            (json!(["operator"]), false, false),
            (json!(["auditor", "eraser", "operator"]), false, false),
        ] {
            let client = with(&deployment, &json!({ "roles": roles })).await;
            let refused = |done: Option<Refused>| done.map(|refused| refused.reason);
            let no = |may: bool| (!may).then(|| "NOT_PERMITTED".to_owned());
            pause(PACE);
            let written = write(&client, "control", "DE").await.err();
            assert_eq!(refused(written), no(writes), "{roles}");
            pause(PACE);
            let read = read(&client, "control", "eu-fra").await.err();
            assert_eq!(refused(read), no(reads), "{roles}");
        }
    });
    let lines = logged(&deployment, "gateway", 0, REFUSED);
    assert_eq!(told(&lines, "NOT_PERMITTED"), 8);
    let reads = lines.iter().filter(|line| line["method"] == "Get");
    assert_eq!(reads.count(), 4, "no role but a reader's reads: {lines:?}");
    says_nothing(&deployment, &["gateway", "eu-fra"], &["body-of-the-attack"]);
    assert_eq!(written(&mut deployment, "eu-fra"), [Kind::Place, Kind::Replace]);
}

#[test]
fn permission_comes_before_existence() {
    let deployment = start("eu-fra", &["eu-fra"]);
    runtime().block_on(async {
        write(&with(&deployment, &json!({})).await, SUBJECT, "DE").await.expect("a put");
        let narrow = json!({ "collections": ["messages"], "regions": ["eu-fra"] });
        let client = with(&deployment, &narrow).await;
        // What is there, what is not, and what cannot be: one answer.
        let mut answers = Vec::new();
        for (subject, domicile, collection) in [
            (SUBJECT, "eu-fra", "profiles"),
            ("nobody", "eu-fra", "profiles"),
            (SUBJECT, "eu-fra", "no-such-collection"),
            (SUBJECT, "ru-msk", "messages"),
            (SUBJECT, "no-such-region", "messages"),
        ] {
            let subject = api::SubjectRef { id: subject.to_owned(), domicile: domicile.to_owned() };
            let refused = read_of(&client, subject, collection).await.err().expect("a refusal");
            assert_eq!(refused.reason, "NOT_PERMITTED", "{domicile} {collection}");
            answers.push(said(&refused));
        }
        // It names the claim that is missing, the collection's or the region's, and nothing else.
        answers.dedup();
        assert_eq!(answers.len(), 2, "{answers:?}");
        // And no claim at all is no permission.
        for absent in ["collections", "regions", "roles"] {
            let client = with(&deployment, &json!({ absent: null })).await;
            let refused = read(&client, SUBJECT, "eu-fra").await.err().expect("a refusal");
            assert_eq!(refused.reason, "NOT_PERMITTED", "without {absent}");
        }
    });
    says_nothing(&deployment, &["gateway", "eu-fra"], &[SUBJECT]);
}

#[test]
fn a_tenant_learns_nothing_of_another() {
    let mut deployment = start("eu-fra", &["eu-fra"]);
    runtime().block_on(async {
        write(&with(&deployment, &json!({})).await, SUBJECT, "DE").await.expect("a put");
        let other = with(&deployment, &json!({ "tenant": "other" })).await;
        // A name that another tenant has, and one that nobody has, are the same to it.
        let there = read(&other, SUBJECT, "eu-fra").await.err().expect("a refusal");
        let nowhere = read(&other, "nobody-at-all", "eu-fra").await.err().expect("a refusal");
        assert_eq!(there.reason, "SUBJECT_UNKNOWN");
        assert_eq!(said(&there), said(&nowhere));
        // Under the same names it has subjects and records of its own.
        write(&other, SUBJECT, "DE").await.expect("its own subject");
        let record = read(&other, SUBJECT, "eu-fra").await.expect("its own record");
        assert_eq!(record.version, 1);
        // A tenant that the map does not know is nobody.
        let stranger = with(&deployment, &json!({ "tenant": "stranger" })).await;
        let refused = read(&stranger, SUBJECT, "eu-fra").await.err().expect("a refusal");
        assert_eq!(refused.reason, "NOT_PERMITTED", "{refused:?}");
    });
    says_nothing(&deployment, &["gateway", "eu-fra"], &[SUBJECT, "body-of-the-attack"]);
    assert_eq!(written(&mut deployment, "eu-fra"), [Kind::Place, Kind::Place]);
}

#[test]
fn a_caller_abroad_gets_nothing_through_a_gateway_at_home() {
    let mut deployment = start("eu-fra", &["eu-fra"]);
    runtime().block_on(async {
        write(&with(&deployment, &json!({})).await, SUBJECT, "DE").await.expect("a put");
        let home = with(&deployment, &json!({ "territory": "FR" })).await;
        assert!(read(&home, SUBJECT, "eu-fra").await.is_ok(), "inside the territory");
        // A clause of the sample map covers profiles from EEA to RU.
        let covered = with(&deployment, &json!({ "territory": "RU" })).await;
        assert!(read(&covered, SUBJECT, "eu-fra").await.is_ok(), "a clause covers it");
        for territory in [json!("US"), Value::Null] {
            let abroad = with(&deployment, &json!({ "territory": territory })).await;
            pause(PACE);
            let there = read(&abroad, SUBJECT, "eu-fra").await.err().expect("a refusal");
            pause(PACE);
            let nowhere = read(&abroad, "nobody-at-all", "eu-fra").await.err().expect("a refusal");
            assert_eq!(there.reason, "EGRESS_NOT_COVERED", "{territory}");
            assert_eq!(said(&there), said(&nowhere), "who is there is not told abroad");
        }
    });
    let lines = logged(&deployment, "eu-fra", 0, FENCE);
    assert_eq!(told(&lines, "EGRESS_NOT_COVERED"), 4);
    assert_eq!(counted(deployment.shard("eu-fra").admin(), "shard_egress_refused", ""), 4);
    says_nothing(&deployment, &["gateway", "eu-fra"], &[SUBJECT, "body-of-the-attack"]);
    assert_eq!(written(&mut deployment, "eu-fra"), [Kind::Place]);
    assert_eq!(in_the_log(&deployment, "eu-fra", "EGRESS_NOT_COVERED"), 4);
}

/// Everything that a refusal says, but for the call's own id.
fn said(refused: &Refused) -> Refused {
    Refused { call_id: None, ..refused.clone() }
}
