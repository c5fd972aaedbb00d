//! The auditor's tool over a real deployment: mirrored, verified, compared with the store, and what
//! it finds when a store goes back to yesterday.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::load::{ONCE, evidence, put};
use crate::support::maps::{apply, next, text};
use crate::support::process::{Finished, run};
use crate::support::search::copy;
use crate::support::secure::AUDITOR;
use crate::support::{Deployment, Options};
use client::{Client, api};
use tokio::runtime::Runtime;

const REGIONS: [&str; 2] = ["eu-fra", "ru-msk"];

struct Rig {
    deployment: Deployment,
    runtime: Runtime,
    client: Client,
}

impl Rig {
    fn start() -> Self {
        Self::of(false)
    }

    /// With maps that are signed or not.
    fn of(signed: bool) -> Self {
        let regions = REGIONS.to_vec();
        let deployment = Deployment::start(&Options { regions, signed, ..Options::default() });
        let runtime = Runtime::new().expect("a runtime");
        let url = deployment.gateway_url();
        let client = runtime.block_on(Client::connect(&url, ONCE)).expect("a gateway");
        Self { deployment, runtime, client }
    }

    fn put(&self, country: &str, from: u32, count: u32) {
        self.runtime.block_on(async {
            for n in from..from + count {
                let request = put(&format!("{country}-{n}"), "main", b"x", &evidence(country));
                self.client.put(&request).await.expect("it is stored");
            }
        });
    }

    /// The auditor's folder of that name.
    fn folder(&self, name: &str) -> PathBuf {
        self.deployment.root().join(name)
    }

    /// Mirrors the running shards into a folder, by their own addresses.
    fn mirror(&self, regions: &[&str], name: &str) -> Finished {
        regions.iter().for_each(|region| self.deployment.wait_signed(region));
        let urls = regions
            .iter()
            .map(|region| format!("http://127.0.0.1:{}", self.deployment.audit_port(region)));
        let urls: Vec<String> = urls.collect();
        let folder = self.folder(name);
        let mut arguments = vec!["audit", "mirror"];
        for url in &urls {
            arguments.extend(["--shard", url.as_str()]);
        }
        arguments.push(text(&folder));
        run(&arguments)
    }
}

#[track_caller]
fn well(done: &Finished) {
    assert_eq!(done.code, 0, "{done:?}");
}

fn verify(folder: &Path) -> Finished {
    run(&["audit", "verify", text(folder)])
}

#[test]
fn a_deployment_is_mirrored_verified_and_compared_with_its_stores() {
    let rig = Rig::start();
    rig.put("DE", 0, 40);
    rig.put("RU", 0, 25);
    well(&rig.mirror(&REGIONS, "mirror"));
    let folder = rig.folder("mirror");
    well(&verify(&folder));
    // It goes on from where it was.
    rig.put("DE", 100, 300);
    well(&rig.mirror(&REGIONS, "mirror"));
    let done = verify(&folder);
    well(&done);
    let log = folder.join("eu-fra.s1.1");
    let done = run(&["audit", "entries", text(&log), "--kind", "PLACE", "--json"]);
    well(&done);
    assert_eq!(done.stdout.lines().count(), 340, "{}", done.stderr);
    assert!(!done.stdout.contains("DE-1"), "an entry names nobody");
    let url = format!("http://127.0.0.1:{}", rig.deployment.audit_port("eu-fra"));
    let done = run(&["audit", "reconcile", "--shard", &url, text(&folder)]);
    well(&done);
    assert!(done.stdout.contains("340"), "{}", done.stdout);
    // Two folders that changed places.
    let (other, aside) = (folder.join("ru-msk.s1.1"), folder.join("aside"));
    let swap = || {
        for (from, to) in [(&log, &aside), (&other, &log), (&aside, &other)] {
            fs::rename(from, to).expect("it can be moved");
        }
    };
    swap();
    let done = verify(&folder);
    assert_eq!(done.code, 1, "{done:?}");
    let says = "its name is another log's, and it holds sample/ru-msk/s1/1";
    assert!(done.stderr.contains(says), "{done:?}");
    swap();
    // One flipped bit.
    let bundle = log.join("tile/entries/000");
    let mut bytes = fs::read(&bundle).expect("a bundle");
    bytes[5_000] ^= 4;
    fs::write(&bundle, bytes).expect("it can be written");
    let done = verify(&folder);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains("tile/entries/000"), "{}", done.stderr);
}

#[test]
fn a_receipt_with_its_proof_is_checked_offline() {
    let rig = Rig::start();
    let url = rig.deployment.gateway_url();
    let (receipt, body) = (rig.folder("receipt.json"), rig.folder("body"));
    fs::write(&body, "hello").expect("it can be written");
    let typed = [
        "record",
        "put",
        "--gateway",
        &url,
        "--subject",
        "p-1",
        "--collection",
        "profiles",
        "--key",
        "main",
        "--create-subject",
        "--evidence",
        "residence=DE",
        "--body-file",
    ];
    let done = run(&[&typed[..], &[text(&body), "--receipt", text(&receipt)]].concat());
    well(&done);
    well(&rig.mirror(&["eu-fra"], "mirror"));
    let vkey = rig.folder("mirror").join("eu-fra.s1.1/vkey");
    let check = ["audit", "receipt", text(&receipt), "--key-file", text(&vkey)];
    well(&run(&check));
    well(&run(&[&check[..], &["--body", text(&body)]].concat()));
    fs::write(&body, "hallo").expect("it can be written");
    assert_eq!(run(&[&check[..], &["--body", text(&body)]].concat()).code, 1);
    // The SDK does the same.
    let vkey = fs::read_to_string(&vkey).expect("a key");
    let full = api::PutRecordRequest {
        receipt_view: api::ReceiptView::Full.into(),
        ..put("p-2", "main", b"x", &evidence("DE"))
    };
    let answer = rig.runtime.block_on(rig.client.put(&full)).expect("it is stored");
    let proven = answer.receipt.clone().expect("a receipt");
    let (entry, signed) =
        client::verify_receipt(&proven, vkey.trim(), Some(b"x")).expect("it is proven");
    assert_eq!((entry.kind, signed.size > proven.index), (ledger::Kind::Place, true));
    assert!(client::verify_receipt(&proven, vkey.trim(), Some(b"y")).is_err());
    let bare = rig.runtime.block_on(rig.client.put(&put("p-3", "main", b"x", &evidence("DE"))));
    let bare = bare.expect("it is stored").receipt.clone().expect("a receipt");
    assert!(bare.tlog_proof.is_empty());
    assert!(client::verify_receipt(&bare, vkey.trim(), None).is_err());
    let whole = fs::read_to_string(&receipt).expect("a receipt");
    fs::write(&receipt, whole.replace("\"index\": 3", "\"index\": 4")).expect("it can be written");
    assert_eq!(run(&check).code, 1);
}

#[test]
fn a_store_of_yesterday_is_refused_and_with_its_anchor_found_by_who_mirrors() {
    let mut rig = Rig::start();
    rig.put("DE", 0, 10);
    let keep = |rig: &mut Rig, name: &str| {
        assert_eq!(rig.deployment.shard("eu-fra").stop(), 0);
        for part in ["data", "anchor"] {
            let from = rig.deployment.data_dir("eu-fra").with_file_name(part);
            copy(&from, &rig.folder(&format!("{name}-{part}")));
        }
        rig.deployment.restart("eu-fra");
    };
    keep(&mut rig, "yesterday");
    rig.put("DE", 10, 10);
    well(&rig.mirror(&["eu-fra"], "mirror"));

    // Yesterday's store alone: its checkpoint lies elsewhere, and says more.
    rig.deployment.shard("eu-fra").kill();
    let back = |rig: &Rig, part: &str| {
        let to = rig.deployment.data_dir("eu-fra").with_file_name(part);
        fs::remove_dir_all(&to).expect("it can be removed");
        copy(&rig.folder(&format!("yesterday-{part}")), &to);
    };
    back(&rig, "data");
    let shard = rig.deployment.shard("eu-fra");
    shard.start();
    assert_ne!(shard.wait_end(), 0);
    assert!(shard.stderr().contains("signed for"), "{}", shard.stderr());
    // With the checkpoint of yesterday beside it, nothing on that machine knows.
    back(&rig, "anchor");
    rig.deployment.restart("eu-fra");
    let done = rig.mirror(&["eu-fra"], "mirror");
    assert_eq!(done.code, 1, "{done:?}");
    // And when it has grown again, another way.
    rig.put("DE", 50, 30);
    let done = rig.mirror(&["eu-fra"], "mirror");
    assert_eq!(done.code, 1, "{done:?}");
    well(&rig.mirror(&["eu-fra"], "other"));
    let (one, two) = (rig.folder("mirror/eu-fra.s1.1"), rig.folder("other/eu-fra.s1.1"));
    let done = run(&["audit", "diff", text(&one), text(&two)]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stdout.contains("SPLIT VIEW") || done.stderr.contains("SPLIT VIEW"), "{done:?}");
    // A report of what was mirrored does not call it whole: the evidence lies beside it.
    let (mirror, out) = (rig.folder("mirror"), rig.folder("report"));
    let period = ["--from", "2020-01-01", "--until", "2100-01-01", "--out"];
    let done = run(&[&["audit", "report"], &period[..], &[text(&out), text(&mirror)]].concat());
    well(&done);
    assert!(done.stdout.contains("1 logs, 0 of them fully verified"), "{done:?}");
    let page = fs::read_to_string(out.join("report.html")).expect("a page");
    assert!(page.contains("NOT VERIFIED WHOLE") && page.contains("SPLIT VIEW"), "{page}");
}

#[test]
fn only_auditors_whom_the_shard_names_come_in() {
    let regions = vec!["eu-fra"];
    let deployment = Deployment::start(&Options { tls: true, regions, ..Options::default() });
    let secured = deployment.secured();
    let url = format!("https://127.0.0.1:{}", deployment.audit_port("eu-fra"));
    let authority = secured.authority("eu-fra").join("authority.pem");
    let folder = deployment.root().join("mirror");
    let mirror = |holder: Option<&str>| {
        let files = holder.map(|holder| secured.folder(holder));
        let pair = files.map(|folder| (folder.join("certificate.pem"), folder.join("key.pem")));
        let mut arguments = vec!["audit", "mirror", "--shard", &url, "--ca", text(&authority)];
        if let Some((certificate, key)) = &pair {
            arguments.extend(["--certificate", text(certificate), "--key-file", text(key)]);
        }
        arguments.push(text(&folder));
        run(&arguments)
    };
    assert_ne!(mirror(None).code, 0);
    assert_ne!(mirror(Some("backend")).code, 0);
    assert!(!folder.join("eu-fra.s1.1").exists());
    well(&mirror(Some(AUDITOR)));
    well(&verify(&folder));
    // Revoked while a stream goes on: it ends, and no other begins.
    let (certificate, key) = secured.pair(AUDITOR);
    let ca = fs::read(&authority).expect("an authority");
    let tls =
        client::Tls::trusting(ca).expect("a bundle").presenting(certificate, key).expect("a pair");
    let access = client::Access { tls, ..client::Access::default() };
    Runtime::new().expect("a runtime").block_on(async {
        let ledger = client::Ledger::connect(&url, &access).await.expect("it is let in");
        let mut tail = ledger.tail(0).await.expect("a stream");
        assert!(tail.next().await.expect("entries").is_some());
        secured.revoke("callers", AUDITOR);
        let ended = tokio::time::timeout(Duration::from_secs(60), async {
            while tail.next().await.is_ok_and(|message| message.is_some()) {}
        });
        ended.await.expect("it ends");
    });
    assert_ne!(mirror(Some(AUDITOR)).code, 0);
}

#[test]
fn entries_are_compared_with_the_maps_that_ruled_and_with_who_signed_them() {
    let rig = Rig::of(true);
    rig.put("DE", 0, 3);
    let root = rig.deployment.root().to_path_buf();
    let first = fs::read_to_string(root.join("map.toml")).expect("a map");
    // A copy of a clause under another name: it lets nothing go that might not go before, yet in
    // doubt it widens, and needs two.
    let (_, clause) = first.split_once("[[clauses]]\nid = \"eea-kz\"").expect("the last clause");
    let second = next(&first, |map| format!("{map}\n[[clauses]]\nid = \"eea-kz-2\"{clause}"));
    let path = root.join("second.toml");
    fs::write(&path, &second).expect("it can be written");
    rig.deployment.people().sign(&path, &["anna", "boris"]);
    let url = rig.deployment.gateway_url();
    well(&apply(&url, &path, 1));
    rig.put("RU", 0, 3);
    rig.deployment.wait_signed("ru-msk");
    let folder = rig.folder("mirror");
    let mirror = ["audit", "mirror", "--gateway", &url, "--region", "ru-msk", text(&folder)];
    well(&run(&mirror));
    let keys: Vec<String> =
        rig.deployment.people().keys.iter().map(|(_, vkey)| vkey.clone()).collect();
    let signers: Vec<&str> = keys.iter().flat_map(|key| ["--map-signer", key.as_str()]).collect();
    let verify = || run(&[&["audit", "verify", text(&folder)], &signers[..]].concat());
    let done = verify();
    well(&done);
    assert!(!done.stderr.contains("NOT CHECKED"), "{done:?}");
    let done = run(&["audit", "verify", text(&folder)]);
    well(&done);
    assert!(done.stderr.contains("NOT CHECKED: the signatures of region maps"), "{done:?}");

    // What lies beside the log is looked at each time: the note of the second map, and the map.
    let kept = fs::read_dir(folder.join("maps")).expect("maps").filter_map(Result::ok);
    let mut names = kept.map(|entry| entry.file_name().into_string().expect("a name"));
    let name = names.find(|name| name.starts_with("2-")).expect("the second map");
    let stem = name.split('.').next().expect("a beginning");
    let file = |ending: &str| folder.join("maps").join(format!("{stem}.{ending}"));
    let (map, note) = (file("toml"), file("note"));
    let signed = fs::read_to_string(&note).expect("a note");
    let (one, _) = signed.trim_end().rsplit_once('\n').expect("two signatures");
    fs::write(&note, format!("{one}\n")).expect("it can be written");
    let done = verify();
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains(" takes region map 2 ("), "{done:?}");
    assert!(done.stderr.contains("MAP_UNSIGNED: the map widens"), "{done:?}");
    fs::write(&note, &signed).expect("it can be written");
    fs::write(&map, second.replace("eea-kz-2", "eea-kz-3")).expect("it can be written");
    let done = verify();
    well(&done);
    assert!(done.stderr.contains("NOT CHECKED: region map 2 (sha256:"), "{done:?}");
    // A mirror puts it right again: it remembers which maps the log names.
    let done = run(&mirror);
    assert!(done.code == 1 && done.stderr.contains("is a different map now"), "{done:?}");
    assert_eq!(fs::read_to_string(&map).expect("a map"), second);
    well(&verify());
}

#[test]
fn commands_end_with_the_codes_of_the_documents() {
    let rig = Rig::start();
    rig.put("DE", 0, 3);
    well(&rig.mirror(&["eu-fra"], "mirror"));
    let (folder, out) = (rig.folder("mirror"), rig.folder("report"));
    let (empty, none) = (rig.folder("empty"), rig.folder("none"));
    fs::create_dir(&empty).expect("a folder");
    let log = folder.join("eu-fra.s1.1");
    let policy = rig.folder("policy");
    fs::write(&policy, "quorum\n").expect("it can be written");
    let code = |wanted: i32, arguments: &[&str]| {
        let done = run(&[&["audit"], arguments].concat());
        assert_eq!(done.code, wanted, "{arguments:?}: {done:?}");
        assert!(wanted == 0 || !done.stderr.is_empty(), "{arguments:?} says why");
    };
    let days = ["report", "--from", "2026-01-01", "--until", "2100-01-01", "--out", text(&out)];
    let report = |wanted: i32, place: &Path| code(wanted, &[&days[..], &[text(place)]].concat());
    code(0, &["verify", text(&folder)]);
    code(0, &["entries", text(&log)]);
    code(0, &["diff", text(&log), text(&log)]);
    report(0, &folder);
    // 2: the command line.
    for command in
        ["mirror", "verify", "entries", "receipt", "reconcile", "report", "follow", "diff"]
    {
        code(2, &[command, "--no-such-option"]);
    }
    // 64: a file or address that was given.
    code(64, &["verify", "--policy", text(&policy), text(&folder)]);
    code(64, &["verify", "--policy", text(&none), text(&folder)]);
    code(64, &["verify", "--map-signer", "x", text(&folder)]);
    code(64, &["verify", "--pair", text(&folder), text(&folder)]);
    code(64, &["mirror", "--shard", "no address", text(&empty)]);
    code(
        64,
        &[
            "report",
            "--from",
            "2026-02-01",
            "--until",
            "2026-01-01",
            "--out",
            text(&out),
            text(&folder),
        ],
    );
    // 65: data that are not there, or not whole.
    for place in [&empty, &none] {
        code(65, &["verify", text(place)]);
        code(65, &["entries", text(place)]);
        report(65, place);
    }
    // 69: nobody answers.
    code(69, &["mirror", "--shard", "http://127.0.0.1:1", text(&empty)]);
    code(69, &["mirror", "--gateway", "http://127.0.0.1:1", text(&empty)]);
    code(69, &["reconcile", "--shard", "http://127.0.0.1:1", text(&empty)]);
    // 1: something is wrong, whatever else is.
    let bundle = fs::read_dir(log.join("tile/entries/000.p")).expect("bundles").next();
    let bundle = bundle.expect("one").expect("an entry").path();
    let whole = fs::read(&bundle).expect("a bundle");
    fs::write(&bundle, [&whole[..50], &[whole[50] ^ 1], &whole[51..]].concat()).expect("room");
    code(1, &["verify", text(&folder)]);
    code(1, &["diff", text(&log), text(&log)]);
    // A report says so and is written all the same.
    report(0, &folder);
    let page = fs::read_to_string(out.join("report.html")).expect("a page");
    assert!(page.contains("NOT VERIFIED WHOLE"));
}
