//! What a put and a get allocate in a gateway and in a shard, as the allocator of the real processes
//! counts it. A budget, so that it grows on purpose or not at all.

use std::sync::Arc;

use client::{Client, Settings};
use serde_json::Value;
use tokio::task::JoinSet;
use wire::v1 as api;

use crate::support::load::{evidence, get, put};
use crate::support::{Deployment, Options};

/// Calls in flight.
const IN_FLIGHT: usize = 32;
/// Calls of each of them. What the processes allocate besides is in both runs, and falls out.
const FEW: usize = 20;
const MANY: usize = 120;
/// Allocations of one call at most: those that were counted on 2026-11-30 and a seventh.
const PUT_MAX: Allocations = Allocations { gateway: 97, shard: 62 };
const GET_MAX: Allocations = Allocations { gateway: 71, shard: 49 };

/// Allocations of a gateway and of a shard.
#[derive(Debug, Clone, Copy)]
struct Allocations {
    gateway: u64,
    shard: u64,
}

impl Allocations {
    /// What each of so many further calls costs, and a call more of a smaller run.
    fn of_each(self, smaller: Self, calls: usize) -> Self {
        let calls = u64::try_from(calls).expect("few");
        let each = |many: u64, few: u64| many.saturating_sub(few).div_ceil(calls);
        Self {
            gateway: each(self.gateway, smaller.gateway),
            shard: each(self.shard, smaller.shard),
        }
    }

    fn is_within(self, most: Self) -> bool {
        self.gateway <= most.gateway && self.shard <= most.shard
    }
}

/// The allocations that a process says it has made, at its end.
fn counted(stderr: &str) -> u64 {
    let at = stderr.find("{\"jemalloc\"").expect("the allocator says what it has done");
    let all = serde_json::Deserializer::from_str(&stderr[at..]).into_iter::<Value>().next();
    let all = all.expect("statistics").expect("JSON");
    let of = |size: &str| {
        let made = all.pointer(&format!("/jemalloc/stats.arenas/merged/{size}/nrequests"));
        made.and_then(Value::as_u64).expect("a number of allocations")
    };
    of("small") + of("large")
}

/// One run of fresh processes: puts of new persons, then as many gets, `times` for each call in
/// flight; if there are to be gets.
fn run(times: usize, gets: bool) -> Allocations {
    let options = Options { regions: vec!["eu-fra"], engine: "fjall", ..Options::default() };
    let mut deployment = Deployment::configure(&options);
    for server in ["gateway", "eu-fra"] {
        let server =
            if server == "gateway" { deployment.gateway() } else { deployment.shard(server) };
        server.set_variable("_RJEM_MALLOC_CONF", "stats_print:true,stats_print_opts:Jdablxh");
    }
    deployment.serve(&["eu-fra"]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        // Each put is a call of its own.
        let settings = Settings { lanes: 0, ..Settings::DEFAULT };
        let client = Client::connect(&deployment.gateway_url(), settings).await;
        let client = Arc::new(client.expect("the gateway is reached"));
        let mut all = JoinSet::new();
        for n in 0..IN_FLIGHT {
            all.spawn(calls(Arc::clone(&client), n, times, gets));
        }
        all.join_all().await;
    });
    assert_eq!(deployment.gateway().stop(), 0);
    assert_eq!(deployment.shard("eu-fra").stop(), 0);
    Allocations {
        gateway: counted(&deployment.stderr("gateway")),
        shard: counted(&deployment.stderr("eu-fra")),
    }
}

async fn calls(client: Arc<Client>, n: usize, times: usize, gets: bool) {
    let known = evidence("DE");
    for time in 0..times {
        let (subject, key) = (format!("person-{n}"), format!("record-{time}"));
        let request: api::PutRecordRequest = put(&subject, &key, &[7; 512], &known);
        client.put(&request).await.expect("a put");
        if gets {
            get(&client, &subject, "eu-fra", &key).await.expect("a record");
        }
    }
}

#[test]
fn a_put_and_a_get_stay_within_their_budget() {
    let calls = (MANY - FEW) * IN_FLIGHT;
    let few = run(FEW, false);
    let puts = run(MANY, false);
    let both = run(MANY, true);
    let put = puts.of_each(few, calls);
    let get = both.of_each(puts, MANY * IN_FLIGHT);
    assert!(put.is_within(PUT_MAX), "a put: {put:?}, at most {PUT_MAX:?}");
    assert!(get.is_within(GET_MAX), "a get: {get:?}, at most {GET_MAX:?}");
    // That they are counted at all.
    assert!(put.gateway > 10 && put.shard > 10 && get.gateway > 10 && get.shard > 5);
}
