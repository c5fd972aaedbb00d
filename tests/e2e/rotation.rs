//! Certificates and authorities that change while calls run, and while callers connect: no call
//! fails, and the session is never down. A gateway that is revoked is out within seconds, and back
//! with its next certificate.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::load::{ONCE, evidence, get, put};
use crate::support::maps::{next, text};
use crate::support::process::{get as page, pause, run, wait_until};
use crate::support::rogue::{forge, open};
use crate::support::secure::now;
use crate::support::{Deployment, Options};
use client::{Access, Client};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Callers at work while something changes.
const CALLERS: u64 = 16;
/// Time in which a process must have read what changed.
const READ_MAX: Duration = Duration::from_secs(60);
/// Time in which a session that must end has ended.
const ENDED_MAX: Duration = Duration::from_secs(60);

fn start() -> Deployment {
    Deployment::start(&Options { tls: true, regions: vec!["eu-fra"], ..Options::default() })
}

/// How often a process has logged that, so far.
fn logged(deployment: &Deployment, process: &str, message: &str) -> usize {
    let of = format!("\"message\":\"{message}\"");
    deployment.stderr(process).lines().filter(|line| line.contains(&of)).count()
}

/// Changes files, and waits until these processes have read them.
fn change(deployment: &Deployment, processes: &[&str], what: &str, change: impl FnOnce()) {
    let read = |process: &str| logged(deployment, process, "certificates were read");
    let before: Vec<usize> = processes.iter().map(|process| read(process)).collect();
    change();
    for (process, before) in processes.iter().zip(before) {
        wait_until(&format!("{process} has read {what}"), READ_MAX, || read(process) > before);
    }
}

/// When the certificate in that folder ends, in seconds since 1970.
fn end_of(deployment: &Deployment, folder: &str) -> i64 {
    let (pem, _) = deployment.secured().pair(folder);
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).expect("PEM");
    pem.parse_x509().expect("a certificate").validity().not_after.timestamp()
}

/// A number on the page of a process; none if there is no such line.
fn number(admin: u16, metric: &str, of: &str) -> Option<i64> {
    let (_, text) = page(admin, "/metrics").expect("a page");
    let mut lines = text.lines().filter(|line| !line.starts_with('#') && line.contains(of));
    let line = lines.find(|line| line.split(['{', ' ']).next() == Some(metric))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Renews the certificate of one process; the session moves, and its page names the new end.
fn renew(
    deployment: &Deployment,
    (process, admin): (&str, u16),
    (authority, holder, days): (&str, &[&str], &str),
) {
    let folder = format!("{process}-by-{authority}-for-{days}");
    let secured = deployment.secured();
    secured.issue(authority, &[holder, &["--days", days]].concat(), &folder);
    let metric = "bailiwick_certificate_expires_seconds";
    let (old, new) = (end_of(deployment, process), end_of(deployment, &folder));
    assert_ne!(old, new);
    assert_eq!(number(admin, metric, ""), Some(old), "{process}, before");
    let moves = || logged(deployment, "gateway", "moving the session to a new connection");
    let before = moves();
    change(deployment, &[process], &folder, || secured.put_in_place(&folder, process));
    wait_until(&format!("{metric} of {folder}"), READ_MAX, || {
        number(admin, metric, "") == Some(new)
    });
    wait_until(&format!("the session moves, for {folder}"), READ_MAX, || moves() > before);
    if process == "gateway" {
        // Callers see the same certificate.
        let metric = "bailiwick_listener_certificate_expires_seconds";
        wait_until(&format!("{metric} of {folder}"), READ_MAX, || {
            number(admin, metric, "") == Some(new)
        });
    }
}

/// Looks all the time whether the session is up: how often it was, and how often not.
struct Watch {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(u64, u64)>,
}

impl Watch {
    fn start(runtime: &Runtime, admin: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let task = runtime.spawn_blocking(move || {
            let (mut up, mut down) = (0, 0);
            while !asked.load(Ordering::Relaxed) {
                match number(admin, "bailiwick_session_up", "region=\"eu-fra\"") {
                    Some(1) => up += 1,
                    Some(_) | None => down += 1,
                }
                pause(Duration::from_millis(5));
            }
            (up, down)
        });
        Self { stop, task }
    }

    fn stop(self, runtime: &Runtime) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        runtime.block_on(self.task).expect("no panic")
    }
}

/// What callers have done so far.
#[derive(Default)]
struct Done {
    stop: AtomicBool,
    calls: AtomicU64,
    connections: AtomicU64,
}

/// Callers that put and get, each call once: nothing is tried again. Half of them connect anew for
/// every call, so that there are handshakes all the time, too.
struct Callers {
    done: Arc<Done>,
    tasks: Vec<JoinHandle<Vec<String>>>,
}

impl Callers {
    fn start(runtime: &Runtime, url: &str, access: &Access) -> Self {
        let done = Arc::new(Done::default());
        let tasks = (0..CALLERS).map(|caller| {
            let (url, access, done) = (url.to_owned(), access.clone(), Arc::clone(&done));
            runtime.spawn(async move {
                let mut failed = Vec::new();
                if let Err(error) = work(caller, (&url, &access), &done, &mut failed).await {
                    failed.push(format!("connect: {error}"));
                }
                failed
            })
        });
        let tasks = tasks.collect();
        Self { done, tasks }
    }

    /// Waits until a good many more calls were made, and connections.
    fn go_on(&self) {
        let count =
            || [&self.done.calls, &self.done.connections].map(|n| n.load(Ordering::Relaxed));
        let before = count();
        wait_until("calls go on, and connections", Duration::from_secs(180), || {
            let [calls, connections] = count();
            calls > before[0] + 20 * CALLERS && connections > before[1] + 2 * CALLERS
        });
    }

    /// Ends them, and says which calls failed.
    fn stop(self, runtime: &Runtime) -> Vec<String> {
        self.done.stop.store(true, Ordering::Relaxed);
        let tasks = self.tasks.into_iter();
        tasks.flat_map(|task| runtime.block_on(task).expect("no panic")).collect()
    }
}

/// One caller at work. An error is a connection that did not come about.
async fn work(
    caller: u64,
    (url, access): (&str, &Access),
    done: &Done,
    failed: &mut Vec<String>,
) -> Result<(), client::Error> {
    let connect = async || {
        done.connections.fetch_add(1, Ordering::Relaxed);
        Client::connect_with(url, ONCE, access.clone()).await
    };
    let anew = caller % 2 == 1;
    let (subject, mut client) = (format!("caller-{caller}"), connect().await?);
    for n in 0.. {
        if done.stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("k{n}");
        let request = put(&subject, &key, key.as_bytes(), &evidence("DE"));
        let stored = client.put(&request).await;
        if anew {
            client = connect().await?;
        }
        match stored {
            Err(error) => failed.push(format!("put: {error}")),
            Ok(_) => match get(&client, &subject, "eu-fra", &key).await {
                Err(error) => failed.push(format!("get: {error}")),
                Ok(record) => assert_eq!(record.body, key.as_bytes()),
            },
        }
        if anew {
            client = connect().await?;
        }
        done.calls.fetch_add(1, Ordering::Relaxed);
        // A call fails at once when its runtime ends: the task must end with it.
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[test]
fn certificates_and_an_authority_change_under_load_and_no_call_fails() {
    let mut deployment = start();
    let gateway = ("gateway", deployment.gateway().admin());
    let shard = ("eu-fra", deployment.shard("eu-fra").admin());
    let secured = deployment.secured();
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    // Callers trust the old authority and the next one, as every bundle does during a change.
    let next = fs::read_to_string(secured.authority("eu-fra-next").join("authority.pem"));
    let both = secured.authorities() + &next.expect("an authority");
    let tls = client::Tls::trusting(both).expect("a bundle");
    let token = secured.token(&json!({ "exp": now() + 3_600 }));
    let access = Access { tls, ..secured.with_token(&token) };
    let watch = Watch::start(&runtime, gateway.1);
    let callers = Callers::start(&runtime, &url, &access);
    callers.go_on();

    // A certificate of each, by the same authority.
    let (to_gateway, to_shard) = (["--gateway", "gateway-1"], ["--shard", "s1"]);
    renew(&deployment, gateway, ("eu-fra", &to_gateway, "20"));
    callers.go_on();
    renew(&deployment, shard, ("eu-fra", &to_shard, "20"));
    callers.go_on();

    // The authority: first everybody trusts the next one beside it ...
    let others = ["in-bom", "kz-ala", "ru-msk", "us-iad"];
    change(&deployment, &["gateway", "eu-fra"], "both authorities", || {
        secured.bundle(&[&others[..], &["eu-fra", "eu-fra-next"]].concat());
    });
    callers.go_on();
    // ... then everybody has a certificate by it ...
    renew(&deployment, gateway, ("eu-fra-next", &to_gateway, "25"));
    callers.go_on();
    renew(&deployment, shard, ("eu-fra-next", &to_shard, "25"));
    callers.go_on();
    // ... and then nobody trusts the old one.
    change(&deployment, &["gateway", "eu-fra"], "the next authority alone", || {
        secured.bundle(&[&others[..], &["eu-fra-next"]].concat());
    });
    callers.go_on();
    pause(Duration::from_secs(2));
    callers.go_on();

    let failed = callers.stop(&runtime);
    assert!(failed.is_empty(), "{} calls failed, such as {:?}", failed.len(), failed.first());
    let (up, down) = watch.stop(&runtime);
    assert!(up > 100, "the session was looked at {up} times only");
    assert_eq!(down, 0, "the session was down, of {up} looks at it");
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

#[test]
fn a_pin_that_a_map_withdraws_ends_the_sessions_of_its_authority() {
    let options =
        Options { tls: true, signed: true, regions: vec!["eu-fra"], ..Options::default() };
    let mut deployment = Deployment::start(&options);
    let gateway = ("gateway", deployment.gateway().admin());
    let shard = ("eu-fra", deployment.shard("eu-fra").admin());
    let secured = deployment.secured();
    let runtime = Runtime::new().expect("a runtime");
    let others = ["in-bom", "kz-ala", "ru-msk", "us-iad"];
    change(&deployment, &["gateway", "eu-fra"], "both authorities", || {
        secured.bundle(&[&others[..], &["eu-fra", "eu-fra-next"]].concat());
    });
    renew(&deployment, gateway, ("eu-fra-next", &["--gateway", "gateway-1"], "25"));
    renew(&deployment, shard, ("eu-fra-next", &["--shard", "s1"], "25"));

    let uri = "spiffe://sample/region/eu-fra/gateway/gateway-1";
    let old = forge(Some(&secured.authority("eu-fra")), uri, 3_600);
    let (port, trusting) = (deployment.port("eu-fra"), secured.authorities());
    let opens = || {
        let hello = wire::session::Hello::default();
        let opened = open(port, &trusting, Some(&old), hello);
        runtime.block_on(opened).is_ok()
    };
    assert!(opens(), "the old authority is pinned still");

    // The bundles keep both authorities: the map alone takes one away, and one signature does.
    let first = fs::read_to_string(deployment.root().join("map.toml")).expect("a map");
    let path = secured.authority("eu-fra").join("authority.pem");
    let shown = run(&["pki", "show", text(&path)]).stdout;
    let pin = format!("\"{}\", ", shown.split('"').nth(1).expect("a pin"));
    assert!(first.contains(&pin));
    let map = next(&first, |map| map.replace(&pin, ""));
    let path = deployment.root().join("next.toml");
    fs::write(&path, &map).expect("a map can be written");
    deployment.people().sign(&path, &["anna"]);
    let note = fs::read_to_string(path.with_extension("note")).expect("a note");
    let token = secured.token(&json!({ "roles": ["operator", "writer"], "exp": now() + 3_600 }));
    let access = secured.with_token(&token);
    let url = deployment.gateway_url();
    let client = runtime.block_on(Client::connect_with(&url, ONCE, access)).expect("a gateway");
    let signed = client::api::SignedRegionMap { text: map, note, packs: Vec::new() };
    let request = client::api::ApplyRegionMapRequest {
        map: Some(signed),
        expect_epoch: 1,
        ..Default::default()
    };
    runtime.block_on(client.apply_map(&request)).expect("it is applied");
    wait_until("the old authority speaks for nobody", ENDED_MAX, || !opens());
    deployment.wait_session("eu-fra", true);
    let stored = runtime.block_on(client.put(&put("anna", "main", b"x", &evidence("DE"))));
    stored.expect("the session goes on under the next authority");
    // Its file is of the time before, and the map in force is not.
    deployment.restart("eu-fra");
    assert!(!opens(), "a restart on an old file brings the old authority back");
}
