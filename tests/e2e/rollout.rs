//! A rollout under load, in separate processes: twenty maps while 64 writers run through two
//! gateways, and a region that is cut off meanwhile.
//!
//! What must hold: no write fails but those that the new map refuses; every record lies where the
//! map in force at its commit puts it; every process within reach holds the last map within five
//! seconds; the region that was cut off goes on under its own map, and catches up by itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::load::{PATIENT, put};
use crate::support::maps::{apply, next, text, version};
use crate::support::process::{Server, free_port, get as page, pause, wait_until};
use crate::support::{Deployment, Options};
use atlas::{Date, EvidenceKind, Finding, Findings, Question, RegionMap, decide};
use client::{Client, api};
use ledger::Entry;
use terms::{Collection, TenantId};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

const REGIONS: [&str; 5] = ["eu-fra", "in-bom", "kz-ala", "ru-msk", "us-iad"];
const WRITERS: usize = 64;
const CHANGES: u64 = 20;
/// Time in which every process within reach must hold a map that was applied.
const REACHED_MAX: Duration = Duration::from_secs(120);
/// The map from which on a region is cut off, and the one after which it is back.
const CUT: u64 = 6;
const BACK: u64 = 14;

/// People by what they show. The last kind rests on a clause that maps withdraw and give back.
const PEOPLE: [&[(&str, &str)]; 6] = [
    &[("citizenship", "RU"), ("residence", "RU")],
    &[("residence", "DE")],
    &[("residence", "US")],
    &[("residence", "IN")],
    &[("residence", "GB")],
    &[("citizenship", "RU"), ("residence", "DE")],
];
const AT_HOME: &[(&str, &str)] = &[("residence", "KZ")];

/// A wire between two addresses that can be cut.
struct Wire {
    port: u16,
    up: watch::Sender<bool>,
}

impl Wire {
    fn lay(runtime: &Runtime, to: u16) -> Self {
        let port = free_port();
        let (up, state) = watch::channel(true);
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", port)));
        runtime.spawn(carry(listener.expect("a free port"), to, state));
        Self { port, up }
    }

    fn set(&self, up: bool) {
        self.up.send_replace(up);
    }
}

async fn carry(listener: TcpListener, to: u16, state: watch::Receiver<bool>) {
    let mut all = JoinSet::new();
    loop {
        let Ok((mut from, _)) = listener.accept().await else { return };
        let mut state = state.clone();
        if !*state.borrow() {
            continue;
        }
        all.spawn(async move {
            let Ok(mut to) = TcpStream::connect(("127.0.0.1", to)).await else { return };
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                _ = state.wait_for(|up| !up) => {}
            }
        });
    }
}

/// A write that was acknowledged: whose, where, and what its entry says of the map.
struct Acked {
    findings: Vec<(&'static str, &'static str)>,
    region: String,
    entry: Entry,
}

/// What writers did.
#[derive(Default)]
struct Done {
    acked: Vec<Acked>,
    refused: BTreeMap<String, u64>,
    failed: Vec<String>,
}

/// Evidence as the API takes it.
fn evidence(findings: &[(&str, &str)]) -> Vec<api::Evidence> {
    let piece = |(kind, value): &(&str, &str)| {
        let kind = if *kind == "residence" {
            api::EvidenceKind::Residence
        } else {
            api::EvidenceKind::Citizenship
        };
        api::Evidence { kind: kind.into(), value: (*value).to_owned(), observe_time: None }
    };
    findings.iter().map(piece).collect()
}

async fn write(
    url: String,
    (writer, people): (usize, &'static [&'static [(&'static str, &'static str)]]),
    stop: Arc<AtomicBool>,
) -> Done {
    let client = Client::connect(&url, PATIENT).await.expect("a gateway");
    let mut done = Done::default();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let findings = *people.iter().cycle().nth(n % people.len()).expect("somebody");
        let subject = format!("w{writer}-{n}");
        match client.put(&put(&subject, "main", b"a body", &evidence(findings))).await {
            Ok(written) => {
                let receipt = written.receipt.as_ref().expect("a receipt");
                done.acked.push(Acked {
                    findings: findings.to_vec(),
                    region: written.subject.as_ref().expect("a subject").domicile.clone(),
                    entry: Entry::decode(&receipt.entry).expect("an entry"),
                });
            }
            Err(error) => match error.refused() {
                Some(refused) if refused.reason == "TRANSFER_NOT_COVERED" => {
                    *done
                        .refused
                        .entry(findings.iter().fold(String::new(), |mut text, (k, v)| {
                            write!(text, "{k} {v} ").expect("a string");
                            text
                        }))
                        .or_default() += 1;
                }
                _ => done.failed.push(error.to_string()),
            },
        }
    }
    done
}

/// The twenty maps: a clause goes and comes, a home moves and comes back, reads are noted more
/// closely and less so, a collection and a tenant are added, a law asks for gateways inside.
fn change(n: u64, map: String) -> String {
    let clause = "[[clauses]]\nid = \"eea-ru\"";
    let gone = "[[clauses]]\nid = \"eea-ru-gone\"";
    match n % 4 {
        // Withdrawn: citizens of Russia who live in the EEA are refused.
        0 => map
            .replace(clause, gone)
            .replace("from = \"EEA\"\nto = \"RU\"", "from = \"EEA\"\nto = \"BY\""),
        // Given back.
        1 => map
            .replace(gone, clause)
            .replace("from = \"EEA\"\nto = \"BY\"", "from = \"EEA\"\nto = \"RU\""),
        // The home of the United Kingdom moves to and fro; a clause lets it.
        2 if map.contains("for = \"GB\"\nregion = \"eu-fra\"") => {
            let map = map
                .replace("for = \"GB\"\nregion = \"eu-fra\"", "for = \"GB\"\nregion = \"us-iad\"");
            if map.contains("id = \"gb-us\"") { map } else { map + GB_US }
        }
        2 => map.replace("for = \"GB\"\nregion = \"us-iad\"", "for = \"GB\"\nregion = \"eu-fra\""),
        _ => format!(
            "{map}\n[[collections]]\nname = \"added-{n}\"\ncategory = \"x\"\nreads = \"logged\"\n"
        ),
    }
}

const GB_US: &str = "\n[[clauses]]\nid = \"gb-us\"\nfrom = \"GB\"\nto = \"US\"\ncollections = \"*\"\n\
    legal_basis = \"INVENTED FOR THE EXAMPLE\"\nimporter = \"INVENTED FOR THE EXAMPLE\"\n\
    reference = \"INVENTED FOR THE EXAMPLE\"\nnot_before = 2020-01-01\nexpires = 2100-01-01\n";

/// The version of the map that a process says on its page that it holds.
fn held(admin: u16) -> u64 {
    let Some((200, page)) = page(admin, "/metrics") else { return 0 };
    let mut lines = page.lines().filter(|line| !line.starts_with('#'));
    let line = lines.rfind(|line| line.contains("map_epoch "));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

/// A second gateway, beside the region that is cut off: it reaches the others over wires.
fn second_gateway(deployment: &Deployment, wires: &BTreeMap<&str, Wire>) -> (Server, String) {
    let root = deployment.root();
    let (port, admin) = (free_port(), free_port());
    let first = fs::read_to_string(root.join("gateway.toml")).expect("a configuration");
    let mut lines: Vec<String> = first.lines().map(str::to_owned).collect();
    for line in &mut lines {
        for (key, value) in [
            ("name = \"gateway-1\"", "name = \"gateway-2\"".to_owned()),
            ("listen = ", format!("listen = \"127.0.0.1:{port}\"")),
            ("admin_listen = ", format!("admin_listen = \"127.0.0.1:{admin}\"")),
            ("annexes = ", "annexes = [\"second\"]".to_owned()),
        ] {
            if line.starts_with(key) {
                *line = value;
            }
        }
    }
    fs::create_dir(root.join("second")).expect("a folder can be made");
    for region in REGIONS {
        let port = wires.get(region).map_or_else(|| deployment.port(region), |wire| wire.port);
        annex(&root.join("second").join(format!("{region}.toml")), region, port);
    }
    let config = root.join("gateway-2.toml");
    fs::write(&config, lines.join("\n")).expect("a configuration can be written");
    let mut server = Server::new("gateway", "gateway-2", &config, admin);
    server.start();
    server.wait_ready();
    (server, format!("http://127.0.0.1:{port}"))
}

fn annex(path: &std::path::Path, region: &str, port: u16) {
    let text = format!(
        "region = \"{region}\"\n[[shards]]\nname = \"s1\"\naddress = \"http://127.0.0.1:{port}\"\n\
         slots = \"0-1023\"\n"
    );
    fs::write(path, text).expect("an annex can be written");
}

struct Rollout {
    runtime: Runtime,
    deployment: Deployment,
    second: Server,
    urls: [String; 2],
    /// From the first gateway to the region that is cut off.
    inward: Wire,
    /// From the second gateway to all other regions.
    outward: BTreeMap<&'static str, Wire>,
}

impl Rollout {
    fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let options = Options { signed: true, engine: "fjall", ..Options::default() };
        let deployment = Deployment::start(&options);
        // The first gateway goes over a wire to the region from now on: annexes are read again.
        let inward = Wire::lay(&runtime, deployment.port("kz-ala"));
        annex(&deployment.root().join("annex-kz-ala.toml"), "kz-ala", inward.port);
        let others = REGIONS.iter().filter(|region| **region != "kz-ala");
        let lay = |region: &&'static str| (*region, Wire::lay(&runtime, deployment.port(region)));
        let outward: BTreeMap<_, _> = others.map(lay).collect();
        let (second, second_url) = second_gateway(&deployment, &outward);
        let urls = [deployment.gateway_url(), second_url];
        Self { runtime, deployment, second, urls, inward, outward }
    }

    fn cut(&self, cut: bool) {
        self.inward.set(!cut);
        self.outward.values().for_each(|wire| wire.set(!cut));
    }

    /// Waits until these hold the map, and gives the time.
    #[track_caller]
    fn wait_held(&mut self, version: u64, cut: bool) {
        let mut pages = vec![self.deployment.gateway().admin()];
        for region in REGIONS.iter().filter(|region| !cut || **region != "kz-ala") {
            pages.push(self.deployment.shard(region).admin());
        }
        if !cut {
            pages.push(self.second.admin());
        }
        wait_until(&format!("all hold map {version}"), REACHED_MAX, || {
            pages.iter().all(|admin| held(*admin) == version)
        });
    }

    fn writers(&self, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<Done>> {
        let writer = |writer: usize| {
            // A sixteenth of them write for the region that is cut off, beside it.
            let (url, people) = if writer.is_multiple_of(16) {
                (&self.urls[1], &[AT_HOME][..])
            } else {
                (&self.urls[0], &PEOPLE[..])
            };
            let people: &'static [&'static [(&str, &str)]] =
                if people.len() == 1 { &[AT_HOME] } else { &PEOPLE };
            self.runtime.spawn(write(url.clone(), (writer, people), Arc::clone(stop)))
        };
        (0..WRITERS).map(writer).collect()
    }
}

#[test]
fn twenty_maps_under_load() {
    let mut rollout = Rollout::start();
    let stop = Arc::new(AtomicBool::new(false));
    let writers = rollout.writers(&stop);
    let path = rollout.deployment.root().join("next.toml");
    let first = fs::read_to_string(rollout.deployment.root().join("map.toml")).expect("a map");
    let mut maps = BTreeMap::from([(version(&first), first.clone())]);
    let mut map = first;
    for n in 0..CHANGES {
        if n == CUT {
            rollout.cut(true);
            // So long that the gateways know.
            rollout.deployment.wait_session("kz-ala", false);
            pause(Duration::from_millis(500));
        }
        if n == BACK {
            let behind = held(rollout.deployment.shard("kz-ala").admin());
            assert!(behind < version(&map), "cut off, and yet at {behind}");
            rollout.cut(false);
            rollout.deployment.wait_session("kz-ala", true);
            rollout.wait_held(version(&map), false);
        }
        let before = version(&map);
        map = next(&map, |map| change(n, map));
        maps.insert(version(&map), map.clone());
        fs::write(&path, &map).expect("a map can be written");
        rollout.deployment.people().sign(&path, &["anna", "boris"]);
        let done = apply(&rollout.urls[0], &path, before);
        assert_eq!(done.code, 0, "{}: {done:?}", text(&path));
        rollout.wait_held(version(&map), (CUT..BACK).contains(&n));
    }
    stop.store(true, Ordering::Relaxed);
    let mut all = Done::default();
    for writer in writers {
        let done = rollout.runtime.block_on(writer).expect("a writer does not panic");
        all.acked.extend(done.acked);
        all.failed.extend(done.failed);
        for (who, count) in done.refused {
            *all.refused.entry(who).or_default() += count;
        }
    }
    assert!(all.failed.is_empty(), "{} failed: {:?}", all.failed.len(), &all.failed[..1]);
    let only: Vec<&str> = all.refused.keys().map(String::as_str).collect();
    assert_eq!(only, ["citizenship RU residence DE "], "none but those that a map refuses");
    placed_rightly(&maps, &all.acked);
}

/// Whether every record lies where the map that its entry names puts it, and nowhere else could.
fn placed_rightly(maps: &BTreeMap<u64, String>, acked: &[Acked]) {
    let read = |text: &String| RegionMap::parse(text).expect("a map");
    let maps: BTreeMap<u64, RegionMap> = maps.iter().map(|(n, text)| (*n, read(text))).collect();
    let (tenant, collection) = (
        TenantId::parse("sample").expect("a name"),
        Collection::parse("profiles").expect("a name"),
    );
    let mut by_map = BTreeMap::<u64, u64>::new();
    for record in acked {
        let mut findings = Findings::new();
        for (kind, country) in &record.findings {
            let kind = EvidenceKind::parse(kind).expect("a kind");
            findings.insert(Finding::parse(kind, country).expect("a finding")).expect("room");
        }
        let named = record.entry.map.expect("a map");
        let map = maps.get(&named.epoch).expect("one of ours");
        assert_eq!(map.epoch().digest, named.digest, "the entry names another map");
        let minute = u64::from(record.entry.minute);
        let date = Date::of(terms::UnixMillis(minute * 60_000));
        let question = Question {
            tenant: &tenant,
            collection: &collection,
            findings: &findings,
            date: date.into(),
        };
        let ruling = decide(map, &question).expect("a collection of the map");
        let placement = ruling.placement().expect("a map that places it");
        assert_eq!(placement.region().as_str(), record.region, "misplaced under {}", named.epoch);
        *by_map.entry(named.epoch).or_default() += 1;
    }
    #[expect(clippy::print_stdout, reason = "what was measured")]
    {
        println!("{} records, by map: {by_map:?}", acked.len());
    }
    assert!(by_map.len() as u64 > CHANGES / 2, "written under too few maps: {by_map:?}");
}
