//! A region of two shards behind a gateway, as processes: which shard has which people, with one down,
//! with an annex that is wrong, and with two shards that own the same slots.

use std::collections::BTreeMap;

use client::{Client, api};
use serde_json::{Value, json};
use terms::{Slot, SubjectId, TenantId};
use tokio::runtime::Runtime;

use crate::support::load::{self, ONCE, PATIENT, evidence, put};
use crate::support::process::{Server, get, run, wait_until};
use crate::support::{Deployment, Options, SESSION_MAX, shards};

/// People of the test.
const PEOPLE: usize = 16;

struct Rig {
    deployment: Deployment,
    second: Server,
    runtime: Runtime,
    url: String,
}

/// Whether the second shard has them.
fn is_upper(subject: &str) -> bool {
    let tenant = TenantId::parse("sample").expect("a tenant");
    Slot::of(&tenant, &SubjectId::parse(subject).expect("an id")).number() > 511
}

fn people() -> Vec<String> {
    let people: Vec<String> = (0..PEOPLE).map(|n| format!("person-{n}")).collect();
    let upper = people.iter().filter(|subject| is_upper(subject)).count();
    assert!(upper > 0 && upper < PEOPLE, "both halves have people");
    people
}

impl Rig {
    /// Starts a gateway and two shards. `make`: makes the second.
    fn start(engine: &'static str, make: impl FnOnce(&Deployment) -> Server) -> Self {
        let options = Options { regions: vec!["eu-fra"], engine, ..Options::default() };
        let mut deployment = Deployment::configure(&options);
        let mut second = make(&deployment);
        second.start();
        deployment.serve(&["eu-fra"]);
        second.wait_ready();
        let (url, runtime) = (deployment.gateway_url(), Runtime::new().expect("a runtime"));
        Self { deployment, second, runtime, url }
    }

    /// Waits until the gateway says that of the region.
    #[track_caller]
    fn until_said(&mut self, said: &str) {
        let (admin, line) = (self.deployment.gateway().admin(), format!("region/eu-fra: {said}\n"));
        wait_until(&line, SESSION_MAX, || {
            get(admin, "/readyz").is_some_and(|(_, page)| page.contains(&line))
        });
    }

    /// What becomes of one put of each person: the reason of its refusal, or nothing.
    fn put(&self, body: &[u8]) -> BTreeMap<String, Option<String>> {
        self.runtime.block_on(async {
            let client = Client::connect(&self.url, ONCE).await.expect("a gateway");
            let mut done = BTreeMap::new();
            for person in people() {
                let put = client.put(&put(&person, "main", body, &evidence("DE"))).await;
                let no = put.err().map(|error| match error.refused() {
                    Some(refused) => refused.reason.clone(),
                    None => error.to_string(),
                });
                done.insert(person, no);
            }
            done
        })
    }

    /// Each person's record is this, read once.
    #[track_caller]
    fn reads(&self, body: &[u8]) {
        self.runtime.block_on(async {
            let client = Client::connect(&self.url, ONCE).await.expect("a gateway");
            for person in people() {
                let record = load::get(&client, &person, "eu-fra", "main").await.expect("a record");
                assert_eq!(record.body, body, "{person}");
            }
        });
    }

    /// `map status`, as JSON and for people.
    fn status(&self) -> (Value, String) {
        let status = ["map", "status", "--gateway", &self.url];
        let (shown, done) = (run(&status), run(&[&status[..], &["--json"]].concat()));
        assert_eq!((shown.code, done.code), (0, 0), "{shown:?} {done:?}");
        (serde_json::from_str(&done.stdout).expect("JSON"), shown.stdout)
    }

    /// What is wrong with the region's slots.
    fn unserved(&self) -> Option<Value> {
        let (status, _) = self.status();
        let all = status.get("unserved_slots").and_then(Value::as_array).expect("a list");
        all.iter().find(|one| one.get("region") == Some(&json!("eu-fra"))).cloned()
    }

    /// The lines about slots of a check of the deployment.
    fn doctor(&self) -> Vec<String> {
        let done = run(&["doctor", "--live", "--gateway", &self.url, "--json"]);
        done.stdout.lines().filter(|line| line.contains("slots")).map(str::to_owned).collect()
    }
}

#[test]
fn a_region_of_two_shards_serves_as_far_as_its_slots_do() {
    for engine in ["sled", "fjall"] {
        let mut rig = Rig::start(engine, |deployment| shards::split(deployment, "eu-fra"));
        rig.until_said("within reach");
        assert!(rig.put(b"one").values().all(Option::is_none));
        rig.reads(b"one");
        let (status, shown) = rig.status();
        let of = |name: &str| {
            let shards = status.get("shards").and_then(Value::as_array).expect("shards");
            let is = |s: &&Value| s.get("region") == Some(&json!("eu-fra"));
            let mut own = shards.iter().filter(is);
            let shard = own.find(|shard| shard.get("shard") == Some(&json!(name)));
            shard.and_then(|shard| shard.get("slots")).cloned()
        };
        assert_eq!(
            (of("s1"), of("s2")),
            (Some(json!("0-511")), Some(json!("512-1023"))),
            "{shown}"
        );
        assert_eq!(rig.unserved(), None);

        // One of them is gone: its people wait, and the others do not notice.
        rig.second.kill();
        rig.until_said("partly within reach; missing: s2; slots that no shard serves: 512-1023");
        for (person, no) in rig.put(b"two") {
            let expected = is_upper(&person).then(|| "REGION_UNAVAILABLE".to_owned());
            assert_eq!(no, expected, "{person}");
        }
        let page = get(rig.deployment.gateway().admin(), "/metrics").expect("a page").1;
        let gauge = "bailiwick_region_slots_unserved{region=\"eu-fra\"} 512";
        assert!(page.contains(gauge), "{page}");
        let missing = json!({ "region": "eu-fra", "missing": "512-1023", "contested": "" });
        assert_eq!(rig.unserved(), Some(missing));
        let (_, shown) = rig.status();
        let said = "eu-fra: no shard within reach serves slots 512-1023";
        assert!(shown.contains(said), "{shown}");

        // Writers who come meanwhile are served as soon as it is back.
        let url = rig.url.clone();
        let writers = rig.runtime.spawn(async move {
            let client = Client::connect(&url, PATIENT).await.expect("a gateway");
            for person in people() {
                let request: api::PutRecordRequest =
                    put(&person, "main", b"three", &evidence("DE"));
                client.put(&request).await.expect("a put");
            }
        });
        rig.second.start();
        rig.second.wait_ready();
        rig.runtime.block_on(writers).expect("no panic");
        rig.until_said("within reach");
        rig.reads(b"three");
    }
}

#[test]
fn what_a_store_owns_counts_and_not_what_the_annex_says() {
    let mut rig = Rig::start("fjall", |deployment| {
        let second = shards::split(deployment, "eu-fra");
        shards::swap(deployment, "eu-fra");
        second
    });
    rig.until_said("within reach");
    assert!(rig.put(b"one").values().all(Option::is_none));
    rig.reads(b"one");
    assert_eq!(rig.unserved(), None);
    let page = get(rig.second.admin(), "/readyz").expect("a page").1;
    assert!(page.contains("\nslots: 512-1023\n"), "{page}");
    let stderr = rig.deployment.stderr("eu-fra");
    assert!(stderr.contains("the annex gives other shards slots that this store owns"), "{stderr}");
}

#[test]
fn a_shard_that_is_made_with_slots_of_another_serves_none_of_them() {
    let mut rig = Rig::start("fjall", |deployment| shards::add(deployment, "eu-fra"));
    rig.until_said("within reach");
    let said = "another shard of the region has slots that this store has";
    let path = rig.deployment.root().join("shard-eu-fra-2.stderr");
    let stderr = || std::fs::read_to_string(&path).unwrap_or_default();
    wait_until(said, SESSION_MAX, || stderr().contains(said));
    assert!(rig.put(b"one").values().all(Option::is_none));
    rig.reads(b"one");
    assert_eq!(rig.unserved(), None);
    let page = get(rig.second.admin(), "/readyz").expect("a page").1;
    let none = "\nslots: none; not served until the other shards confirm them: 512-1023\n";
    assert!(page.contains(none), "{page}");
}

#[test]
fn two_shards_that_own_the_same_slots_are_found_and_create_no_one_twice() {
    let mut rig = Rig::start("fjall", |deployment| shards::add_unknown(deployment, "eu-fra"));
    rig.until_said("partly within reach; slots that several shards own: 0-1023");
    let no = Some("SLOT_NOT_OWNED".to_owned());
    assert!(rig.put(b"one").values().all(|said| *said == no));
    let contested = json!({ "region": "eu-fra", "missing": "", "contested": "0-1023" });
    assert_eq!(rig.unserved(), Some(contested));
    let lines = rig.doctor();
    let said = "eu-fra: several shards own slots 0-1023";
    assert!(lines.iter().any(|line| line.contains(said)), "{lines:?}");
    // The mistake is undone: the annex names one shard again, and everyone is served.
    let annex = rig.deployment.root().join("annex-eu-fra.toml");
    let both = std::fs::read_to_string(&annex).expect("an annex");
    let (first, _) = both.split_once("[[shards]]\nname = \"s2\"").expect("two shards");
    std::fs::write(&annex, first.replace("0-511", "0-1023")).expect("an annex can be written");
    rig.until_said("within reach");
    rig.second.kill();
    assert!(rig.put(b"two").values().all(Option::is_none));
    rig.reads(b"two");
}
