//! Batches through a real gateway and two regions: each item has its own outcome and its own entry in
//! its region's log, a batch that is sent again has no second effect, and a region that is down or a
//! request that is wrong fails alone.

use crate::support::load::{ONCE, PATIENT, delete, evidence, put};
use crate::support::{Deployment, Options, stored};
use client::{Client, Error, Proof, api};
use ledger::entry::{Entry, Kind};
use tokio::runtime::Runtime;

/// Records of one batch.
const ITEMS: usize = 1_000;

fn region(n: usize) -> (&'static str, &'static str) {
    if n.is_multiple_of(2) { ("DE", "eu-fra") } else { ("RU", "ru-msk") }
}

fn get(n: usize) -> api::GetRecordRequest {
    api::GetRecordRequest {
        subject: Some(api::SubjectRef { id: format!("p{n}"), domicile: region(n).1.to_owned() }),
        collection: "profiles".to_owned(),
        key: "main".to_owned(),
    }
}

fn reason<A>(end: &Result<A, Error>) -> &str {
    let error = end.as_ref().err().and_then(Error::refused);
    error.map_or("", |refused| refused.reason.as_str())
}

/// The entries of a region's log of that kind. Ends its shard.
fn entries(deployment: &mut Deployment, region: &str, kind: Kind) -> usize {
    assert_eq!(deployment.shard(region).stop(), 0);
    let entries = stored::entries(&deployment.data_dir(region), engine::Kind::Sled, 1);
    let of = |entry: &Vec<u8>| Entry::decode(entry).expect("an entry").kind == kind;
    entries.iter().filter(|entry| of(entry)).count()
}

#[test]
fn each_item_of_a_batch_has_its_own_outcome_in_its_own_region() {
    let regions = vec!["eu-fra", "ru-msk"];
    let mut deployment = Deployment::start(&Options { regions, ..Options::default() });
    let (url, runtime) = (deployment.gateway_url(), Runtime::new().expect("a runtime"));
    runtime.block_on(async {
        let client = Client::connect(&url, PATIENT).await.expect("a gateway");
        let body = |n: usize| format!("body {n}").into_bytes();
        let of = |n| put(&format!("p{n}"), "main", &body(n), &evidence(region(n).0));
        let puts: Vec<api::PutRecordRequest> = (0..ITEMS).map(of).collect();
        for replayed in [false, true] {
            let client = if replayed { client.clone() } else { client.first_time() };
            let ends = client.batch_put(&puts).await.expect("an answer");
            assert_eq!(ends.len(), ITEMS);
            for (n, end) in ends.into_iter().enumerate() {
                let done = end.expect("it is done");
                let domicile = done.subject.as_ref().expect("a subject").domicile.as_str();
                assert_eq!((domicile, done.version, done.replayed), (region(n).1, 1, replayed));
                assert!(matches!(done.proof, Proof::Receipt(_)));
            }
        }
        let gets: Vec<api::GetRecordRequest> = (0..ITEMS).map(get).collect();
        let found = client.batch_get(&gets).await.expect("an answer");
        assert_eq!(found.len(), ITEMS);
        for (n, end) in found.into_iter().enumerate() {
            assert_eq!(end.expect("it is there").body, body(n));
        }
        let once = Client::connect(&url, ONCE).await.expect("a gateway");
        wrong_items_fail_alone(&once).await;
        let deletes: Vec<api::DeleteRecordRequest> =
            (0..10).map(|n| delete(&format!("p{n}"), region(n).1, "main")).collect();
        for end in client.batch_delete(&deletes).await.expect("an answer") {
            let done = end.expect("it is deleted");
            assert!(done.version == 2 && matches!(done.proof, Proof::Receipt(_)));
        }
        let found = client.batch_get(&gets[..12]).await.expect("an answer");
        let ends: Vec<&str> = found.iter().map(reason).collect();
        assert_eq!(ends[..10], ["RECORD_NOT_FOUND"; 10]);
        assert_eq!(ends[10..], ["", ""]);
    });
    for region in ["eu-fra", "ru-msk"] {
        // Two of the wrong ones were done.
        let (placed, more) = (ITEMS / 2, usize::from(region == "eu-fra") * 2);
        assert_eq!(entries(&mut deployment, region, Kind::Place), placed + more);
    }
}

/// What is wrong with an item is said of that item.
async fn wrong_items_fail_alone(client: &Client) {
    let good = |name: &str| put(name, "main", b"good", &evidence("DE"));
    let nowhere = put("nowhere", "main", b"x", &evidence("KZ"));
    let mut unknown = good("unknown");
    (unknown.create_subject, unknown.evidence) = (false, Vec::new());
    unknown.subject.as_mut().expect("a subject").domicile = "eu-fra".to_owned();
    let mut large = good("large");
    large.body = vec![0; (1 << 20) + 1].into();
    let mut no_id = good("no-id");
    no_id.request_id.clear();
    let once = [good("good-1"), nowhere, unknown, large, no_id, good("good-2")];
    let ends = client.batch_put(&once).await.expect("an answer");
    let ends: Vec<&str> = ends.iter().map(reason).collect();
    let expected =
        ["", "REGION_UNAVAILABLE", "SUBJECT_UNKNOWN", "BODY_TOO_LARGE", "FIELD_MISSING", ""];
    assert_eq!(ends, expected);
}

#[test]
fn a_batch_waits_for_a_region_that_comes_back() {
    let regions = vec!["eu-fra", "ru-msk"];
    let mut deployment = Deployment::start(&Options { regions, ..Options::default() });
    let (url, runtime) = (deployment.gateway_url(), Runtime::new().expect("a runtime"));
    deployment.shard("ru-msk").kill();
    deployment.wait_session("ru-msk", false);
    let of = |n: usize| put(&format!("p{n}"), "main", b"x", &evidence(region(n).0));
    let puts: Vec<api::PutRecordRequest> = (0..40).map(of).collect();
    let ends = runtime.block_on(async {
        let once = Client::connect(&url, ONCE).await.expect("a gateway");
        once.batch_put(&puts).await.expect("an answer")
    });
    for (n, end) in ends.iter().enumerate() {
        assert_eq!(reason(end), if n.is_multiple_of(2) { "" } else { "REGION_UNAVAILABLE" });
    }
    let client = runtime.block_on(Client::connect(&url, PATIENT)).expect("a gateway");
    let batch = runtime.spawn(async move { client.batch_put(&puts).await });
    deployment.restart("ru-msk");
    let ends = runtime.block_on(batch).expect("no panic").expect("an answer");
    for (n, end) in ends.into_iter().enumerate() {
        let done = end.expect("it is done once the region is back");
        assert_eq!((done.version, done.replayed), (1, n.is_multiple_of(2)));
    }
}
