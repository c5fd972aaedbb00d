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
        ..Default::default()
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
    "eu-fra".clone_into(&mut unknown.subject.as_mut().expect("a subject").domicile);
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

/// Puts of one subject's records, `count` of them, as round `round` of a writer.
fn round(writer: u64, round: u64, count: u64) -> Vec<api::PutRecordRequest> {
    let one = |n| put(&format!("w{writer}"), &format!("r{round}-{n}"), b"x", &evidence("DE"));
    (0..count).map(one).collect()
}

#[test]
fn an_atomic_batch_is_done_as_a_whole_or_not_at_all() {
    let mut options = Options { regions: vec!["eu-fra", "ru-msk"], ..Options::default() };
    options.engine = "fjall";
    let mut deployment = Deployment::start(&options);
    let (url, runtime) = (deployment.gateway_url(), Runtime::new().expect("a runtime"));
    runtime.block_on(async {
        let client = Client::connect(&url, ONCE).await.expect("a gateway");
        let all = round(0, 0, 100);
        for replayed in [false, true] {
            let done = client.put_atomic(&all).await.expect("it is done");
            assert_eq!(done.len(), 100);
            for one in done {
                assert_eq!((one.version, one.replayed), (1, replayed));
                assert!(matches!(one.proof, Proof::Receipt(_)));
            }
        }
        // One condition is not met: none is stored.
        let mut all = round(0, 1, 10);
        all[7].if_version = Some(3);
        let error = client.put_atomic(&all).await.err().expect("it is refused");
        let refused = error.refused().expect("a reason");
        assert_eq!(refused.reason, "VERSION_MISMATCH");
        assert_eq!(refused.field.as_deref(), Some("requests[7].if_version"));
        all[7].if_version = None;
        for one in client.put_atomic(&all).await.expect("now it is done") {
            assert_eq!((one.version, one.replayed), (1, false), "nothing was stored before");
        }
        // A proof comes with each, once a checkpoint has signed them.
        let mut all = round(0, 2, 5);
        all.iter_mut().for_each(|put| put.receipt_view = api::ReceiptView::Full.into());
        for one in client.put_atomic(&all).await.expect("it is done") {
            let receipt = one.answer.receipt.expect("a receipt");
            assert!(receipt.tlog_proof.starts_with("c2sp.org/tlog-proof@v1"));
        }
    });
    killed_among_atomic_batches(&mut deployment, &runtime);
}

/// Writers are at work while the shard is killed: each of their batches is there as a whole or not
/// at all, and those that were acknowledged are there.
fn killed_among_atomic_batches(deployment: &mut Deployment, runtime: &Runtime) {
    let url = deployment.gateway_url();
    let client = runtime.block_on(Client::connect(&url, ONCE)).expect("a gateway");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let acked = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let writers: Vec<_> = (1..=8)
        .map(|writer| {
            let (client, stop) = (client.clone(), std::sync::Arc::clone(&stop));
            let acked = std::sync::Arc::clone(&acked);
            runtime.spawn(async move {
                let mut done = Vec::new();
                for n in 0.. {
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        return (n, done);
                    }
                    if client.put_atomic(&round(writer, n, 20)).await.is_ok() {
                        done.push(n);
                        acked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                    // A call fails at once when its runtime ends: the task must end with it.
                    tokio::task::yield_now().await;
                }
                unreachable!("the loop has no end")
            })
        })
        .collect();
    for pause in [150, 90, 210, 60, 170] {
        let acked = || acked.load(std::sync::atomic::Ordering::Relaxed);
        let enough = acked() + 2;
        let most = std::time::Duration::from_secs(180);
        crate::support::process::wait_until("batches are stored", most, || acked() >= enough);
        crate::support::process::pause(std::time::Duration::from_millis(pause));
        deployment.shard("eu-fra").kill();
        deployment.restart("eu-fra");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut stored = 0;
    for (writer, ended) in (1..).zip(writers) {
        let (rounds, done) = runtime.block_on(ended).expect("no panic");
        for n in 0..rounds {
            let gets: Vec<api::GetRecordRequest> = round(writer, n, 20)
                .into_iter()
                .map(|put| api::GetRecordRequest {
                    subject: put
                        .subject
                        .map(|s| api::SubjectRef { domicile: "eu-fra".to_owned(), ..s }),
                    collection: put.collection,
                    key: put.key,
                    ..Default::default()
                })
                .collect();
            let patient = runtime.block_on(Client::connect(&url, PATIENT)).expect("a gateway");
            let found = runtime.block_on(patient.batch_get(&gets)).expect("an answer");
            let there = found.iter().filter(|one| one.is_ok()).count();
            assert!(there == 0 || there == 20, "{there} of 20 of round {n} of {writer}");
            assert!(there == 20 || !done.contains(&n), "an acknowledged batch is lost");
            stored += there;
        }
    }
    assert!(stored > 100, "{stored}");
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
