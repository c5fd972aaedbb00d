//! The log in the hands of programs that nobody here wrote: a log of 100,000 entries made through a
//! gateway verifies with two Python tools and three Rust crates, and a witness of C2SP cosigns it,
//! until it goes back.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::load::{ONCE, PATIENT, evidence, put};
use crate::support::maps::text;
use crate::support::process::{Finished, free_port, get, run, wait_until};
use crate::support::python::{done, programs};
use crate::support::search::copy;
use crate::support::{Deployment, Options};
use client::Client;
use ledger::{BundleId, TileId, bundle, proof};
use tokio::runtime::Runtime;

/// Pinned, so that a failure is ours. They ask for a newer Python than Debian's, and run on it.
const TOOLS: [&str; 3] = ["tlog-scales==0.0.3", "aics-tlog==0.2.1", "aics-witness==0.1.0"];
const ENTRIES: u32 = 100_000;
/// Records that wait for their answers.
const AHEAD: usize = 1_024;

fn verify_log(log: &Path, witnesses: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/verify_log.py");
    done(Command::new(programs(&TOOLS).join("python")).arg(script).arg(log).args(witnesses))
}

fn mirror(deployment: &Deployment, name: &str) -> Finished {
    deployment.wait_signed("eu-fra");
    let url = format!("http://127.0.0.1:{}", deployment.audit_port("eu-fra"));
    run(&["audit", "mirror", "--shard", &url, text(&deployment.root().join(name))])
}

#[test]
fn a_log_of_100_000_entries_verifies_with_programs_of_others() {
    let options = Options { engine: "fjall", regions: vec!["eu-fra"], ..Options::default() };
    let deployment = Deployment::start(&options);
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = Client::connect(&deployment.gateway_url(), PATIENT).await.expect("a gateway");
        let (puts, mut answers) = client.stream_put(AHEAD).await.expect("a stream");
        let sending = tokio::spawn(async move {
            for n in 0..ENTRIES {
                let (subject, key) = (format!("p{}", n % 500), format!("k{n}"));
                puts.send(put(&subject, &key, b"x", &evidence("DE"))).await.expect("it is sent");
            }
        });
        let mut stored = 0;
        while let Some(answer) = answers.next().await.expect("the stream goes on") {
            answer.outcome.expect("it is stored");
            stored += 1;
        }
        sending.await.expect("all were sent");
        assert_eq!(stored, ENTRIES);
    });
    let mirrored = mirror(&deployment, "mirror");
    assert_eq!(mirrored.code, 0, "{mirrored:?}");
    let log = deployment.root().join("mirror/eu-fra.s1.1");
    let verified = run(&["audit", "verify", text(&log)]);
    assert_eq!(verified.code, 0, "{verified:?}");
    println!("{}", verify_log(&log, &[]));
    by_crates(&log);
}

/// signed_note, tlog_tiles and ct-merkle.
fn by_crates(log: &Path) {
    let note = fs::read(log.join("checkpoint")).expect("a checkpoint");
    let vkey = fs::read_to_string(log.join("vkey")).expect("a key");
    let known = signed_note::StandardVerifier::new(vkey.trim()).expect("a verifier key");
    let signed = signed_note::Note::from_bytes(&note).expect("a note");
    let list = signed_note::VerifierList::new(vec![Box::new(known)]);
    let (good, _) = signed.verify(&list).expect("it is signed");
    assert_eq!(good.len(), 1);
    let said = String::from_utf8(signed.text().to_vec()).expect("text");
    let checkpoint = ledger::Checkpoint::parse(&said).expect("a checkpoint");
    let (size, root) = (checkpoint.size, checkpoint.root);
    assert!(size > u64::from(ENTRIES));

    let tiles = Tiles(log);
    let theirs = tlog_tiles::Hash(root.0);
    let reader = tlog_tiles::TileHashReader::new(size, theirs, &tiles);
    let tree = ct_merkle::RootHash::<sha2::Sha256>::new(root.0.into(), size);
    for index in (0..size).step_by(9_973).chain([size - 1]) {
        let entry = entry(log, index, size);
        let made = tlog_tiles::prove_record(size, index, &reader).expect("a proof");
        let leaf = tlog_tiles::Hash(ledger::hash::leaf_hash(&entry).0);
        tlog_tiles::check_record(&made, size, theirs, index, leaf).expect("it is in the log");
        let ours = proof::inclusion(index, size, &mut |tile| tiles.read(tile)).expect("a proof");
        let ours = ours.iter().flat_map(|hash| hash.0).collect();
        let ours = ct_merkle::InclusionProof::from_bytes(ours);
        tree.verify_inclusion(&entry, index, &ours).expect("it is in the log");
    }
}

/// A mirror's tiles.
struct Tiles<'a>(&'a Path);

impl Tiles<'_> {
    /// A tile, cut from a wider one if that is what the mirror has.
    fn read(&self, tile: TileId) -> std::io::Result<Vec<u8>> {
        let exact = fs::read(self.0.join(tile.path()));
        exact.or_else(|_| {
            let mut whole = fs::read(self.0.join(TileId::full(tile.level, tile.index).path()))?;
            whole.truncate(tile.bytes());
            Ok(whole)
        })
    }
}

impl tlog_tiles::TileReader for Tiles<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &tlog_tiles::Tile| {
            let (level, index) = (tile.level(), tile.level_index());
            let width = u16::try_from(tile.width()).expect("256 at most");
            self.read(TileId { level, index, width }).expect("the mirror has it")
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

fn entry(log: &Path, index: u64, size: u64) -> Vec<u8> {
    let id = BundleId::of_size(index / 256, size).expect("a bundle");
    let bytes = fs::read(log.join(id.path())).expect("a bundle");
    let place = usize::try_from(index % 256).expect("a place");
    let entries = bundle::decode(&bytes, id.width).expect("a bundle");
    entries.get(place).expect("it is in the bundle").to_vec()
}

/// The commands that a report prints, as they are typed.
fn printed(page: &str) -> Vec<String> {
    let blocks = page.split("<pre>").skip(1).filter_map(|block| block.split("</pre>").next());
    let lines = blocks.flat_map(str::lines).map(|line| line.replace("&#x2f;", "/"));
    let first = ["bailiwick ", "aics-tlog ", "python "];
    lines.filter(|line| first.iter().any(|first| line.starts_with(first))).collect()
}

#[test]
fn the_commands_that_a_report_prints_work() {
    let options = Options { signed: true, regions: vec!["eu-fra"], ..Options::default() };
    let deployment = Deployment::start(&options);
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = Client::connect(&deployment.gateway_url(), ONCE).await.expect("a gateway");
        for n in 0..300 {
            let request = put(&format!("p{n}"), "main", b"x", &evidence("DE"));
            client.put(&request).await.expect("it is stored");
        }
    });
    assert_eq!(mirror(&deployment, "mirror").code, 0);
    let folder = deployment.root().join("mirror");
    let vkey = fs::read_to_string(folder.join("eu-fra.s1.1/vkey")).expect("a key");
    let policy = deployment.root().join("policy");
    fs::write(&policy, format!("log {vkey}quorum none\n")).expect("it can be written");
    let out = deployment.root().join("report");
    let done = run(&[
        "audit",
        "report",
        "--json",
        "--from",
        "2026-01-01",
        "--until",
        "2100-01-01",
        "--policy",
        text(&policy),
        "--out",
        text(&out),
        text(&folder),
    ]);
    assert_eq!(done.code, 0, "{done:?}");
    let told: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!((&told["logs"], &told["logs_whole"]), (&1.into(), &1.into()));
    let page = fs::read_to_string(out.join("report.html")).expect("a page");
    let commands = printed(&page);
    assert_eq!(commands.len(), 3, "{commands:?}");
    let mut keys = deployment.people().keys.iter().map(|(_, vkey)| vkey.as_str());
    for command in &commands {
        let words = command.split_whitespace().map(|word| match word {
            "POLICY" => text(&policy).to_owned(),
            "KEY" => keys.next().expect("a key").to_owned(),
            word => word.replace("MIRROR", text(&folder)),
        });
        let words: Vec<String> = words.collect();
        let rest: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        if words[0] == "bailiwick" {
            let done = run(&rest);
            assert_eq!(done.code, 0, "{command}: {done:?}");
        } else {
            let mut program = Command::new(programs(&TOOLS).join(&words[0]));
            done_in(program.args(rest));
        }
    }
}

/// What a program says that is run in the folder of this repository.
fn done_in(command: &mut Command) -> String {
    done(command.current_dir(env!("CARGO_MANIFEST_DIR")))
}

/// A witness that runs until it is dropped.
struct Witness {
    process: Child,
    vkey: String,
    url: String,
}

impl Witness {
    fn start(folder: &Path, log_key: &str) -> Self {
        let (config, port) = (folder.join("witness.json"), free_port());
        let listen = format!("127.0.0.1:{port}");
        let witness = || {
            let mut command = Command::new(programs(&TOOLS).join("aics-witness"));
            command.current_dir(folder);
            command
        };
        let mut init = witness();
        init.args(["init", "--config"]).arg(&config).args(["--name", "witness.example/w1"]);
        let said = done(init.args(["--listen", &listen, "--db", "witness.db"]));
        let vkey = said.split_whitespace().find(|word| word.starts_with("witness.example/w1+"));
        let vkey = vkey.expect("it says its key").to_owned();
        let origin = log_key.split('+').next().expect("a name");
        let mut add = witness();
        add.args(["add-log", "--config"]).arg(&config);
        done(add.args(["--origin", origin, "--vkey", log_key]));
        let mut serve = witness();
        serve.args(["serve", "--config"]).arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let process = serve.spawn().expect("it can be started");
        wait_until("the witness listens", Duration::from_secs(120), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self { process, vkey, url: format!("http://{listen}") }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[test]
fn a_witness_cosigns_the_log_until_it_goes_back() {
    let mut deployment =
        Deployment::start(&Options { regions: vec!["eu-fra"], ..Options::default() });
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    let client = runtime.block_on(Client::connect(&url, ONCE)).expect("a gateway");
    let fill = |from: u32, count: u32| {
        runtime.block_on(async {
            for n in from..from + count {
                let request = put(&format!("p{n}"), "main", b"x", &evidence("DE"));
                client.put(&request).await.expect("it is stored");
            }
        });
    };
    assert_eq!(mirror(&deployment, "first").code, 0);
    let vkey = deployment.root().join("first/eu-fra.s1.1/vkey");
    let log_key = fs::read_to_string(vkey).expect("a key").trim().to_owned();
    let witness = Witness::start(deployment.root(), &log_key);

    let config = deployment.root().join("shard-eu-fra.toml");
    let told = fs::read_to_string(&config).expect("a configuration");
    let told = format!(
        "{told}[log]\nwitness_every_s = 1\n[[log.witnesses]]\nkey = \"{}\"\nurl = \"{}\"\n",
        witness.vkey, witness.url
    );
    fs::write(&config, told).expect("a configuration can be written");
    deployment.restart("eu-fra");
    let folder = deployment.root().to_path_buf();
    let home = deployment.data_dir("eu-fra").parent().expect("a home").to_path_buf();
    // Of before anything was cosigned.
    assert_eq!(deployment.shard("eu-fra").stop(), 0);
    copy(&home, &folder.join("yesterday"));
    deployment.restart("eu-fra");
    fill(0, 300);
    let admin = deployment.shard("eu-fra").admin();
    let cosigned = move || {
        let page = get(admin, "/metrics").map(|(_, page)| page).unwrap_or_default();
        let of = |name: &str| {
            let line = page.lines().find(|line| line.contains(name) && !line.starts_with('#'));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        (of("shard_witnessed_size"), of("shard_witness_failures"))
    };
    wait_until("all is cosigned", Duration::from_secs(120), || cosigned().0 >= 302);
    let mirrored = mirror(&deployment, "cosigned");
    assert_eq!(mirrored.code, 0, "{mirrored:?}");
    let log = folder.join("cosigned/eu-fra.s1.1");
    println!("{}", verify_log(&log, &[&witness.vkey]));
    let policy = folder.join("policy");
    let name = "w1";
    let lines = format!("log {log_key}\nwitness {name} {}\nquorum {name}\n", witness.vkey);
    fs::write(&policy, lines).expect("a policy can be written");
    let verify = |log: &Path| run(&["audit", "verify", "--policy", text(&policy), text(log)]);
    let verified = verify(&log);
    assert_eq!(verified.code, 0, "{verified:?}");
    assert_eq!(verify(&folder.join("first/eu-fra.s1.1")).code, 1, "nobody cosigned that one");

    // Back to yesterday, with the anchor: the machine itself knows nothing of it, the witness does.
    deployment.shard("eu-fra").kill();
    fs::remove_dir_all(&home).expect("it can be removed");
    copy(&folder.join("yesterday"), &home);
    deployment.restart("eu-fra");
    fill(1_000, 5);
    wait_until("the witness refuses", Duration::from_secs(120), || cosigned().1 > 0);
    // Also when the log has grown past what the witness has seen.
    fill(2_000, 400);
    let failures = cosigned().1;
    wait_until("it refuses a fork", Duration::from_secs(120), || cosigned().1 > failures);
    assert_eq!(cosigned().0, 0);
    let said = deployment.stderr("eu-fra");
    assert!(said.contains("entries are lost") || said.contains("does not extend"), "{said}");
}
