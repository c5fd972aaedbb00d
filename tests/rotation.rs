//! Certificates and authorities that change while calls run: no call fails. A gateway that is
//! revoked is out within seconds, and back with its next certificate.

#[expect(dead_code, reason = "each test file uses its own part")]
mod support;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use client::{Access, Client};
use serde_json::json;
use support::load::{ONCE, evidence, get, put};
use support::process::{get as page, pause, wait_until};
use support::rogue::{forge, open};
use support::{Deployment, Options};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Callers at work while something changes.
const CALLERS: u64 = 16;
/// Time in which a process must have read what changed.
const READ_MAX: Duration = Duration::from_secs(10);
/// Time in which a session that must end has ended.
const ENDED_MAX: Duration = Duration::from_secs(10);

fn start() -> Deployment {
    Deployment::start(&Options { tls: true, regions: vec!["eu-fra"], ..Options::default() })
}

/// How many times a process has read its certificates.
fn read(deployment: &Deployment, process: &str) -> usize {
    let log = deployment.stderr(process);
    log.lines().filter(|line| line.contains("\"certificates were read\"")).count()
}

/// Changes files, and waits until both processes have read them.
fn change(deployment: &Deployment, what: &str, change: impl FnOnce()) {
    let before = ["gateway", "eu-fra"].map(|process| read(deployment, process));
    change();
    for (process, before) in ["gateway", "eu-fra"].into_iter().zip(before) {
        wait_until(&format!("{process} has read {what}"), READ_MAX, || {
            read(deployment, process) > before
        });
    }
}

/// Callers that put and get, each call once: nothing is tried again.
struct Callers {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Vec<String>>>,
}

impl Callers {
    fn start(runtime: &Runtime, url: &str, access: &Access) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let tasks = (0..CALLERS).map(|caller| {
            let (url, access) = (url.to_owned(), access.clone());
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            runtime.spawn(async move {
                let client = Client::connect_with(&url, ONCE, access).await.expect("a gateway");
                let (subject, mut failed) = (format!("caller-{caller}"), Vec::new());
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("k{n}");
                    let request = put(&subject, &key, key.as_bytes(), &evidence("DE"));
                    match client.put(&request).await {
                        Err(error) => failed.push(format!("put: {error}")),
                        Ok(_) => match get(&client, &subject, "eu-fra", &key).await {
                            Err(error) => failed.push(format!("get: {error}")),
                            Ok(record) => assert_eq!(record.body, key.as_bytes()),
                        },
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
                failed
            })
        });
        let tasks = tasks.collect();
        Self { stop, done, tasks }
    }

    /// Waits until a good many more calls were made.
    fn go_on(&self) {
        let before = self.done.load(Ordering::Relaxed);
        wait_until("calls go on", Duration::from_secs(30), || {
            self.done.load(Ordering::Relaxed) > before + 20 * CALLERS
        });
    }

    /// Ends them, and says which calls failed.
    fn stop(self, runtime: &Runtime) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let tasks = self.tasks.into_iter();
        tasks.flat_map(|task| runtime.block_on(task).expect("no panic")).collect()
    }
}

#[test]
fn certificates_and_an_authority_change_under_load_and_no_call_fails() {
    let deployment = start();
    let secured = deployment.secured();
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    // Callers trust the old authority and the next one, as every bundle does during a change.
    let next = fs::read_to_string(secured.authority("eu-fra-next").join("authority.pem"));
    let both = secured.authorities() + &next.expect("an authority");
    let tls = client::Tls::trusting(both).expect("a bundle");
    let access = Access { tls, ..secured.with_token(&secured.token(&json!({}))) };
    let callers = Callers::start(&runtime, &url, &access);
    callers.go_on();

    // A certificate of each, by the same authority.
    secured.issue("eu-fra", &["--gateway", "gateway-1"], "gateway-renewed");
    secured.issue("eu-fra", &["--shard", "s1"], "shard-renewed");
    change(&deployment, "renewed certificates", || {
        secured.put_in_place("gateway-renewed", "gateway");
        secured.put_in_place("shard-renewed", "eu-fra");
    });
    callers.go_on();

    // The authority: first everybody trusts the next one beside it ...
    let others = ["in-bom", "kz-ala", "ru-msk", "us-iad"];
    change(&deployment, "both authorities", || {
        secured.bundle(&[&others[..], &["eu-fra", "eu-fra-next"]].concat());
    });
    callers.go_on();
    // ... then everybody has a certificate by it ...
    secured.issue("eu-fra-next", &["--gateway", "gateway-1"], "gateway-next");
    secured.issue("eu-fra-next", &["--shard", "s1"], "shard-next");
    change(&deployment, "certificates of the next authority", || {
        secured.put_in_place("gateway-next", "gateway");
        secured.put_in_place("shard-next", "eu-fra");
    });
    callers.go_on();
    // ... and then nobody trusts the old one.
    change(&deployment, "the next authority alone", || {
        secured.bundle(&[&others[..], &["eu-fra-next"]].concat());
    });
    callers.go_on();
    pause(Duration::from_secs(2));
    callers.go_on();

    let failed = callers.stop(&runtime);
    assert!(failed.is_empty(), "{} calls failed, such as {:?}", failed.len(), failed.first());
    // The old authority speaks for nobody any more.
    let uri = "spiffe://sample/region/eu-fra/gateway/gateway-1";
    let old = forge(Some(&secured.authority("eu-fra")), uri, 3_600);
    let trusting = secured.authorities();
    let hello = wire::session::Hello::default();
    let opened = open(deployment.port("eu-fra"), &trusting, Some(&old), hello);
    assert!(runtime.block_on(opened).is_err(), "a withdrawn authority is still trusted");
}

#[test]
fn a_revoked_gateway_is_out_within_seconds_and_back_with_its_next_certificate() {
    let mut deployment = start();
    let runtime = Runtime::new().expect("a runtime");
    let admin = deployment.gateway().admin();
    let secured = deployment.secured();
    let access = secured.with_token(&secured.token(&json!({})));
    let url = deployment.gateway_url();
    let write = |key: &str| {
        runtime.block_on(async {
            let client = Client::connect_with(&url, ONCE, access.clone()).await.expect("a gateway");
            let done = client.put(&put("anna", key, b"x", &evidence("DE"))).await;
            done.map(drop).map_err(|e| e.refused().map(|refused| refused.reason.clone()))
        })
    };
    write("before").expect("a put");
    let up = || {
        let (_, text) = page(admin, "/metrics").expect("a page");
        let line = text.lines().find(|l| l.contains("session_up{") && l.contains("\"eu-fra\""));
        line.is_some_and(|line| line.ends_with(" 1"))
    };
    assert!(up());
    secured.revoke("eu-fra", "gateway");
    wait_until("the session ends", ENDED_MAX, || !up());
    assert_eq!(write("revoked"), Err(Some("REGION_UNAVAILABLE".to_owned())));
    // It stays out, however often it tries.
    pause(Duration::from_secs(3));
    assert!(!up());
    assert_eq!(write("revoked"), Err(Some("REGION_UNAVAILABLE".to_owned())));

    secured.issue("eu-fra", &["--gateway", "gateway-1"], "gateway-again");
    secured.put_in_place("gateway-again", "gateway");
    wait_until("the session is back", Duration::from_secs(60), up);
    write("after").expect("a put");
}
