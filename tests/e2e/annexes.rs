//! Annexes that the region's operators sign: what an unsigned, an old or a foreign one does to a
//! running gateway, and to one that starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::load::{ONCE, evidence, put};
use crate::support::maps::{People, apply, next, text};
use crate::support::process::{Finished, free_port, get as page, pause, run, wait_until};
use crate::support::secure::replace;
use crate::support::{Deployment, Options};
use client::Client;
use serde_json::json;
use tokio::runtime::Runtime;

/// Longer than a gateway takes to look at its annexes twice.
const LOOKED: Duration = Duration::from_millis(2_500);
const WITHIN: Duration = Duration::from_secs(60);

struct Rig {
    deployment: Deployment,
    operators: People,
    runtime: Runtime,
    gateway: Client,
    port: u16,
    puts: u32,
}

impl Rig {
    fn start() -> Self {
        let regions = vec!["eu-fra", "ru-msk"];
        let deployment =
            Deployment::start(&Options { signed: true, regions, ..Options::default() });
        let operators = People::make(&deployment.root().join("eu"), &["olga", "oscar"]);
        let runtime = Runtime::new().expect("a runtime");
        let url = deployment.gateway_url();
        let gateway = runtime.block_on(Client::connect(&url, ONCE)).expect("a gateway");
        let port = deployment.port("eu-fra");
        Self { deployment, operators, runtime, gateway, port, puts: 0 }
    }

    fn annex(&self) -> PathBuf {
        self.deployment.root().join("annex-eu-fra.toml")
    }

    /// Writes the annex of `eu-fra`, with a shard at that port.
    fn write(&self, version: u64, port: u16) {
        let annex = format!(
            "region = \"eu-fra\"\nversion = {version}\n[[shards]]\nname = \"s1\"\n\
             address = \"http://127.0.0.1:{port}\"\nslots = \"0-1023\"\n"
        );
        replace(&self.annex(), annex.as_bytes());
    }

    fn sign(&self, map: &Path, by: &str) -> Finished {
        let (annex, key) = (self.annex(), self.operators.key(by));
        run(&["map", "sign-annex", text(&annex), "--map", text(map), "--key", text(&key)])
    }

    /// Writes a map after `before` that names these as the annex's signers, and applies it.
    fn apply(&self, before: &str, name: &str, signers: &[&str], first: &[&str]) -> PathBuf {
        let keys = self.operators.keys.iter().filter(|(name, _)| signers.contains(&&**name));
        let keys: Vec<&str> = keys.map(|(_, vkey)| vkey.as_str()).collect();
        let map = next(before, |map| {
            let lines = map.lines().filter(|line| !line.starts_with("annex_signers"));
            let map: String = lines.map(|line| format!("{line}\n")).collect();
            let region = "[[regions]]\nname = \"eu-fra\"\n";
            assert!(map.contains(region));
            map.replace(region, &format!("{region}annex_signers = {keys:?}\n"))
        });
        let path = self.deployment.root().join(name);
        fs::write(&path, map).expect("a map can be written");
        self.deployment.people().sign(&path, &["anna", "boris"]);
        for operator in first {
            let done = self.sign(&path, operator);
            assert_eq!(done.code, 0, "{done:?}");
        }
        path
    }

    /// What a put of a person of `eu-fra` comes to: the reason of its refusal, or nothing.
    fn put(&mut self) -> Option<String> {
        self.puts += 1;
        let request = put(&format!("p-{}", self.puts), "main", b"x", &evidence("DE"));
        let done = self.runtime.block_on(self.gateway.put(&request));
        done.err().map(|error| error.to_string())
    }

    fn wait(&mut self, within_reach: bool) {
        let what = format!("eu-fra is within reach: {within_reach}");
        wait_until(&what, WITHIN, || self.put().is_none() == within_reach);
    }

    /// After the gateway has looked, puts still go where they went.
    #[track_caller]
    fn still(&mut self, within_reach: bool) {
        pause(LOOKED);
        let put = self.put();
        assert_eq!(put.is_none(), within_reach, "{put:?}\n{}", self.deployment.stderr("gateway"));
    }

    #[track_caller]
    fn said(&self, what: &str) {
        wait_until(what, WITHIN, || self.deployment.stderr("gateway").contains(what));
    }
}

#[test]
fn a_running_gateway_follows_the_regions_operators_and_nobody_else() {
    let mut rig = Rig::start();
    let url = rig.deployment.gateway_url();
    let first = fs::read_to_string(rig.deployment.root().join("map.toml")).expect("a map");
    // Before the map names them, operators sign.
    let (port, dead) = (rig.port, free_port());
    rig.write(1, port);
    let path = rig.apply(&first, "two.toml", &["olga"], &["olga"]);
    let done = rig.sign(&path, "oscar");
    assert_eq!(done.code, 64, "{done:?}");
    assert!(done.stderr.contains("annex_signers"), "{done:?}");
    let annex = rig.annex();
    // Signed again by her, it still has one signature; what was done is there in JSON, too.
    let key = rig.operators.key("olga");
    let sign = ["map", "sign-annex", text(&annex), "--map", text(&path), "--key", text(&key)];
    let done = run(&[&sign[..], &["--json"]].concat());
    let signed: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    let note = annex.with_extension("note");
    let statement = signed["statement"].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        signed,
        json!({
            "signed_by": "olga", "statement": statement, "note": text(&note), "signatures": 1,
        })
    );
    let noted = fs::read_to_string(&note).expect("a note");
    assert!(statement.contains("eu-fra") && noted.starts_with(&statement), "{statement}\n{noted}");
    let check = ["map", "check", text(&path), "--annex", text(&annex)];
    assert!(!run(&check).stdout.contains("ANNEX_UNSIGNED"));
    assert_eq!(apply(&url, &path, 1).code, 0);
    rig.still(true);

    // Somebody who writes the gateway's files.
    rig.write(2, dead);
    rig.still(true);
    rig.said("no operator of `eu-fra`");
    assert!(run(&check).stdout.contains("ANNEX_UNSIGNED"));
    // What an operator signs is followed, right or wrong, and not back.
    assert_eq!(rig.sign(&path, "olga").code, 0);
    rig.wait(false);
    rig.write(1, port);
    assert_eq!(rig.sign(&path, "olga").code, 0);
    rig.still(false);
    rig.said("behind the one in use");
    rig.write(3, port);
    assert_eq!(rig.sign(&path, "olga").code, 0);
    rig.wait(true);

    // Her key was stolen: the map names another one, and what she signed counts no more.
    let two = fs::read_to_string(&path).expect("a map");
    let path = rig.apply(&two, "three.toml", &["oscar"], &[]);
    assert_eq!(apply(&url, &path, 2).code, 0);
    rig.wait(false);
    // Who asks for the state of the deployment is told of the region, which has no session any more.
    let admin = rig.deployment.gateway().admin();
    wait_until("the page says it", WITHIN, || {
        let (_, ready) = page(admin, "/readyz").expect("a page");
        ready.contains("region/eu-fra: out of reach; it has no annex")
    });
    let status = run(&["map", "status", "--gateway", &url]);
    assert!(
        status.stdout.contains("eu-fra: no shard within reach serves slots 0-1023"),
        "{status:?}"
    );
    assert_eq!(rig.sign(&path, "oscar").code, 0);
    rig.wait(true);
}

#[test]
fn a_broken_annex_is_one_error_and_what_is_in_use_stays() {
    let mut rig = Rig::start();
    let good = fs::read_to_string(rig.annex()).expect("an annex");
    for (broken, problem) in [
        ("region = \"eu-fra\"\nshards = [", "TOML_SYNTAX"),
        ("region = \"eu-fra\"\n", "KEY_MISSING"),
    ] {
        let before = rig.deployment.stderr("gateway").len();
        replace(&rig.annex(), broken.as_bytes());
        wait_until("the gateway says so", WITHIN, || {
            rig.deployment.stderr("gateway")[before..].contains("the one in use stays")
        });
        rig.still(true);
        let said = rig.deployment.stderr("gateway");
        let lines: Vec<&str> = said[before..].lines().filter(|l| l.contains("annex")).collect();
        let [line] = lines.as_slice() else { panic!("{lines:#?}") };
        for part in ["ERROR", problem, "annex-eu-fra.toml", "the one in use stays"] {
            assert!(line.contains(part), "not {part}: {line}");
        }
        replace(&rig.annex(), good.as_bytes());
        rig.still(true);
    }
    // One that is away is another matter, and said so.
    fs::remove_file(rig.annex()).expect("it was there");
    rig.said("cannot be read");
    rig.still(true);
    let said = rig.deployment.stderr("gateway");
    let last = said.lines().rfind(|line| line.contains("annex")).unwrap_or_default();
    assert!(last.contains("annex-eu-fra.toml") && last.contains("cannot be read"), "{last}");
}

#[test]
fn nobody_starts_on_an_annex_that_no_operator_signed() {
    let mut rig = Rig::start();
    let first = fs::read_to_string(rig.deployment.root().join("map.toml")).expect("a map");
    rig.write(1, rig.port);
    let path = rig.apply(&first, "two.toml", &["olga"], &["olga"]);
    for ending in ["toml", "note"] {
        let (new, old) = (path.with_extension(ending), format!("map.{ending}"));
        fs::copy(new, rig.deployment.root().join(old)).expect("it can be copied");
    }
    let good = fs::read_to_string(rig.annex()).expect("an annex");
    for name in ["eu-fra", "gateway"] {
        fs::write(rig.annex(), format!("{good}# one more line\n")).expect("it can be written");
        let server = match name {
            "gateway" => rig.deployment.gateway(),
            region => rig.deployment.shard(region),
        };
        server.kill();
        server.start();
        assert_eq!(server.wait_end(), 64, "{name}");
        assert!(server.stderr().contains("ANNEX_UNSIGNED"), "{name}: {}", server.stderr());
        fs::write(rig.annex(), &good).expect("it can be written");
        match name {
            "gateway" => rig.deployment.gateway().restart(),
            region => rig.deployment.restart(region),
        }
    }
    rig.wait(true);
}
