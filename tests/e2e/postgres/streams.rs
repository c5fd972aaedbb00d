//! A shard whose database streams what it writes to a network that its configuration does not name.

use std::fs;
use std::time::Duration;

use crate::postgres::{REGION, audit, options};
use crate::support::Deployment;
use crate::support::load::{ONCE, PATIENT, evidence, get, put};
use crate::support::maps::text;
use crate::support::postgres::Server;
use crate::support::process::{get as page, run, wait_until};
use client::Client;
use tokio::runtime::Runtime;

/// Time in which the shard must notice: it looks four times a second.
const NOTICED_WITHIN: Duration = Duration::from_secs(60);
/// It gives up after 90 seconds.
const ENDS_WITHIN: Duration = Duration::from_secs(400);

fn is_ready(deployment: &mut Deployment) -> bool {
    let admin = deployment.shard(REGION).admin();
    page(admin, "/readyz").is_some_and(|(status, _)| status == 200)
}

/// It answers nothing while that lasts, goes on where it ends soon, and ends by itself where it does
/// not. The next start is refused until the server streams there no longer; then all records are there.
#[test]
fn a_shard_whose_database_streams_elsewhere_answers_nothing_and_ends() {
    let server = Server::start();
    let mut deployment = Deployment::configure(&options(&server));
    let config = deployment.root().join(format!("shard-{REGION}.toml"));
    let before = fs::read_to_string(&config).expect("a configuration");
    // The table of the database is the last one.
    let networks = "standby_networks = [\"10.2.0.0/16\"]\n";
    fs::write(&config, format!("{before}{networks}")).expect("it can be written");
    server.sql("postgres", "grant pg_read_all_stats to bailiwick");
    deployment.serve(&[REGION]);
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    let patient = runtime.block_on(Client::connect(&url, PATIENT)).expect("a gateway");
    let once = runtime.block_on(Client::connect(&url, ONCE)).expect("a gateway");
    let store = |key: &str| {
        runtime.block_on(patient.put(&put("anna", key, b"body", &evidence("DE")))).expect("a put");
    };
    store("first");
    let refuses = || match runtime.block_on(get(&once, "anna", REGION, "first")) {
        Ok(_) => false,
        Err(reason) => {
            assert!(["REGION_UNAVAILABLE", "SHUTTING_DOWN"].contains(&&*reason), "{reason}");
            true
        }
    };

    // For a moment: it goes on by itself.
    let standby = server.standby();
    server.wait_streams(true);
    wait_until("it answers nothing", NOTICED_WITHIN, refuses);
    wait_until("it is not ready", NOTICED_WITHIN, || !is_ready(&mut deployment));
    drop(standby);
    server.wait_streams(false);
    wait_until("it goes on", NOTICED_WITHIN, || is_ready(&mut deployment));
    store("second");

    // For long.
    let standby = server.standby();
    server.wait_streams(true);
    let shard = deployment.shard(REGION);
    wait_until("it has ended", ENDS_WITHIN, || !shard.runs());
    assert_eq!(shard.wait_end(), 75);
    assert!(refuses(), "there is no shard");
    let said = deployment.stderr(REGION);
    assert!(said.contains("`standby_networks` does not name"), "{said}");
    let status = run(&["shard", "status", "--config", text(&config)]);
    assert!(status.code != 0 && status.stderr.contains("standby_networks"), "{status:?}");

    // Once that is over, a start has all that was acknowledged.
    drop(standby);
    server.wait_streams(false);
    deployment.restart(REGION);
    for key in ["first", "second"] {
        let found = runtime.block_on(get(&patient, "anna", REGION, key)).expect("a record");
        assert_eq!(found.body, b"body".as_slice());
    }
    audit(&deployment, &deployment.root().join("mirror"));
}
