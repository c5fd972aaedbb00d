//! Ids that are unique among regions: a caller that creates a subject of another region is refused,
//! regions out of reach are named, and of two that create one id at once not both succeed.

#![expect(clippy::panic, reason = "a test that cannot go on fails")]

use std::io::Cursor;

use client::{Client, Error, PutBuilder, api, measure};
use terms::Reason;
use tokio::runtime::Runtime;

use crate::support::load::{ONCE, PATIENT, evidence, put, request_id};
use crate::support::process::run;
use crate::support::{Deployment, Options};

/// Ids that are created in two regions at once.
const RACES: usize = 120;

/// The sample map, whose tenant wants its ids to be unique.
fn options() -> Options {
    let usual = Options::default();
    let tenant = "[[tenants]]\nname = \"sample\"\n";
    assert!(usual.map.contains(tenant));
    let unique = format!("{tenant}unique = \"reachable\"\n");
    Options { map: usual.map.replacen(tenant, &unique, 1), ..usual }
}

fn create(subject: &str, country: &str) -> api::CreateSubjectRequest {
    api::CreateSubjectRequest {
        subject: Some(api::SubjectRef { id: subject.to_owned(), domicile: String::new() }),
        collection: "profiles".to_owned(),
        request_id: request_id(),
        evidence: evidence(country),
        ..Default::default()
    }
}

#[track_caller]
fn reason<T>(done: Result<T, Error>) -> Reason {
    match done {
        Err(Error::Refused(refused)) => refused.known().expect("a reason of ours"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it is not refused"),
    }
}

fn names(missing: &[api::RegionMissing]) -> Vec<&str> {
    missing.iter().map(|one| one.region.as_str()).collect()
}

#[test]
fn an_id_that_another_region_holds_is_not_created_again() {
    let mut deployment = Deployment::start(&options());
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    // For a few seconds, the claim of the region that has created an id stands in the way of others: a
    // patient caller learns of the region that holds it afterwards.
    let client = runtime.block_on(Client::connect(&url, PATIENT)).expect("a gateway");
    // The persons of the check are not the same in two regions either.
    let of = ["doctor", "--live", "--gateway", &url, "--test-collection", "profiles"];
    let checked = run(&of);
    assert_eq!(checked.code, 0, "{checked:?}");
    runtime.block_on(async {
        let made = client.create_subject(&create("anna", "DE")).await.expect("it is created");
        assert!(made.unreachable.is_empty(), "{:?}", names(&made.unreachable));
        let dry = api::CreateSubjectRequest { validate_only: true, ..create("anna", "RU") };
        assert_eq!(reason(client.create_subject(&dry).await), Reason::SubjectElsewhere);
        let again = client.create_subject(&create("anna", "RU")).await;
        assert_eq!(reason(again), Reason::SubjectElsewhere);
        let one = put("anna", "main", b"body", &evidence("RU"));
        assert_eq!(reason(client.put(&one).await), Reason::SubjectElsewhere);
        let batch = client.batch_put(std::slice::from_ref(&one)).await.expect("an answer");
        assert_eq!(reason(batch.into_iter().next().expect("one")), Reason::SubjectElsewhere);
        let other = api::PutRecordRequest { key: "other".to_owned(), ..one.clone() };
        let both = [one, api::PutRecordRequest { request_id: request_id(), ..other }];
        assert_eq!(reason(client.put_atomic(&both).await), Reason::SubjectElsewhere);
        // At home nothing is in the way, and a retry is what it was.
        let home = put("anna", "main", b"body", &evidence("DE"));
        client.put(&home).await.expect("a put");
        assert!(client.put(&home).await.expect("a retry").replayed);
        let both = both.map(|put| api::PutRecordRequest {
            subject: Some(api::SubjectRef { id: "carl".to_owned(), domicile: String::new() }),
            ..put
        });
        assert_eq!(client.put_atomic(&both).await.expect("it is created").len(), 2);
        assert_eq!(
            reason(client.create_subject(&create("carl", "DE")).await),
            Reason::SubjectElsewhere
        );
    });

    // The region that holds it is down: the id begins a second subject, and the answer says so.
    deployment.shard("eu-fra").kill();
    deployment.wait_session("eu-fra", false);
    runtime.block_on(async {
        let made = client.put(&put("anna", "main", b"body", &evidence("RU"))).await;
        let made = made.expect("it is created");
        assert_eq!(names(&made.unreachable), ["eu-fra"]);
        let next = client.put(&put("anna", "next", b"body", &evidence("RU"))).await;
        assert!(next.expect("a put").unreachable.is_empty(), "nothing is created");
    });
}

#[test]
fn an_upload_creates_no_id_that_another_region_holds() {
    let mut deployment = Deployment::start(&options());
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    let client = runtime.block_on(Client::connect(&url, PATIENT)).expect("a gateway");
    let mut source = Cursor::new(vec![7; (1 << 20) + 5]);
    let (bytes, sha256) = runtime.block_on(measure(&mut source)).expect("it is measured");
    let of = |subject: &str, country: &str| {
        let put = PutBuilder::new(subject, "profiles", "film").expect("randomness");
        let put = put.create_subject().evidence(api::EvidenceKind::Residence, country);
        put.build_upload(bytes, sha256)
    };
    runtime.block_on(async {
        client.create_subject(&create("anna", "DE")).await.expect("it is created");
        // At its first message: nothing of the body is asked for.
        let mut told = Vec::new();
        let done = client.upload(&of("anna", "RU"), &mut source, |bytes| told.push(bytes)).await;
        assert_eq!((reason(done), told.len()), (Reason::SubjectElsewhere, 0));
        let home = client.upload(&of("anna", "DE"), &mut source, |_| ()).await.expect("stored");
        assert!(home.unreachable.is_empty() && home.version == 1);
        let made = client.upload(&of("dora", "DE"), &mut source, |_| ()).await.expect("stored");
        assert!(made.unreachable.is_empty(), "{:?}", names(&made.unreachable));
        let again = client.create_subject(&create("dora", "RU")).await;
        assert_eq!(reason(again), Reason::SubjectElsewhere);
    });
    deployment.shard("ru-msk").kill();
    deployment.wait_session("ru-msk", false);
    runtime.block_on(async {
        let made = client.upload(&of("emil", "DE"), &mut source, |_| ()).await.expect("stored");
        assert_eq!(names(&made.unreachable), ["ru-msk"]);
    });
}

#[test]
fn two_regions_that_create_one_id_at_once_never_both_succeed() {
    let deployment = Deployment::start(&options());
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    let mut created = 0;
    runtime.block_on(async {
        let client = Client::connect(&url, ONCE).await.expect("a gateway");
        for n in 0..RACES {
            let id = format!("raced-{n}");
            let requests = ["DE", "RU", "KZ"].map(|country| create(&id, country));
            let [one, two, three] = requests.each_ref().map(|own| client.create_subject(own));
            let (one, two, three) = tokio::join!(one, two, three);
            let mut held = 0;
            for done in [one, two, three] {
                match done {
                    Ok(made) => {
                        assert!(made.unreachable.is_empty(), "{:?}", names(&made.unreachable));
                        held += 1;
                    }
                    Err(_) => {
                        let reason = reason(done);
                        let fit = [Reason::SubjectElsewhere, Reason::UniquenessUnsettled];
                        assert!(fit.contains(&reason), "{reason}");
                    }
                }
            }
            assert!(held <= 1, "{id} is {held} people");
            created += held;
        }
    });
    // Three in one process are rarely at the same point: some win.
    println!("{created} of {RACES} were created");
}
