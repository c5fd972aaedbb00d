//! What deploy/ says is what works: the sample with TLS is made by the commands of its own page and
//! runs, and the units of systemd keep each process to a user of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::file;
use crate::support::process::{Finished, Server, free_port, get, wait_until};
use crate::support::secure::claims;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::json;
use tempfile::TempDir;

/// Time in which gateway and shard must have met.
const SESSION_MAX: std::time::Duration = std::time::Duration::from_secs(120);

// === the sample with TLS ===

/// A copy of deploy/sample-tls, and of the map beside it.
struct Sample(TempDir);

impl Sample {
    fn new() -> Self {
        let sample = Self(tempfile::tempdir().expect("a folder"));
        for folder in ["sample", "sample-tls", "sample-tls/annex"] {
            let to = sample.0.path().join("deploy").join(folder);
            fs::create_dir_all(&to).expect("a folder");
            for entry in fs::read_dir(file("deploy").join(folder)).expect("there are samples") {
                let entry = entry.expect("an entry").path();
                if entry.extension().is_some_and(|end| end == "toml" || end == "md") {
                    let name = entry.file_name().expect("a name");
                    fs::copy(&entry, to.join(name)).expect("a sample can be copied");
                }
            }
        }
        sample
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("deploy/sample-tls").join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file of the sample")
    }

    /// The commands of the page: the block that begins with these words.
    fn block(&self, begins: &str) -> String {
        let page = self.text("README.md");
        let block = page.split("```sh\n").skip(1).find(|block| block.starts_with(begins));
        let block = block.expect("the page has such commands");
        block.split_once("```").expect("a block ends").0.to_owned()
    }

    /// Runs commands in the folder as a reader would, with the binary on the path.
    fn shell(&self, commands: &str) -> Finished {
        let binary = Path::new(env!("CARGO_BIN_EXE_bailiwick")).parent().expect("a folder");
        let done = Command::new("bash")
            .args(["-euc", "PATH=\"$1:$PATH\"; eval \"$2\"", "bash"])
            .arg(binary)
            .arg(commands)
            .current_dir(self.path(""))
            .stdin(Stdio::null())
            .output()
            .expect("a shell can be started");
        Finished {
            code: done.status.code().expect("no signal ended it"),
            stdout: String::from_utf8(done.stdout).expect("text"),
            stderr: String::from_utf8(done.stderr).expect("text"),
        }
    }

    /// Puts another port in the place of one, wherever it stands.
    fn move_port(&self, old: u16, files: &[&str]) -> u16 {
        let new = free_port();
        for name in files {
            let (text, old) = (self.text(name), format!(":{old}\""));
            assert!(text.contains(&old), "{old} in {name}");
            fs::write(self.path(name), text.replace(&old, &format!(":{new}\""))).expect("a file");
        }
        new
    }
}

/// An issuer's key set, and a token of it.
fn issuer() -> (String, String) {
    let signer = KeyPair::generate().expect("a key");
    let (_, point) = signer.public_key_raw().split_first().expect("a point");
    let (x, y) = point.split_at(32);
    let jwks = json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k1",
        "x": BASE64URL.encode(x), "y": BASE64URL.encode(y),
    }]});
    let key = EncodingKey::from_ec_pem(signer.serialize_pem().as_bytes()).expect("a key of P-256");
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some("k1".to_owned());
    // Of the issuer and for the audience that the sample names, as tests of tokens have them, too.
    let token = encode(&header, &claims(&json!({})), &key).expect("a token");
    (jwks.to_string(), token)
}

#[test]
fn the_sample_with_tls_is_made_by_its_own_page_and_serves() {
    let sample = Sample::new();
    let made = sample.shell(&sample.block("umask 077"));
    assert_eq!(made.code, 0, "{made:?}");
    assert_eq!(sample.text("map.toml").matches("\nauthorities = [\"sha256:").count(), 5);
    for name in ["eu-fra", "gateway-1", "billing"] {
        let key = sample.path("tls").join(name).join("key.pem");
        let mode = fs::metadata(key).expect("a key").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let (jwks, token) = issuer();
    fs::write(sample.path("tls/jwks.json"), jwks).expect("a file");
    fs::write(sample.path("tls/token"), token).expect("a file");

    let (shard_file, gateway_file) = ("shard-eu-fra.toml", "gateway.toml");
    sample.move_port(7412, &[shard_file, "annex/eu-fra.toml"]);
    let shard_admin = sample.move_port(7422, &[shard_file]);
    let port = sample.move_port(7400, &[gateway_file]);
    let admin = sample.move_port(7401, &[gateway_file]);
    // The other regions' shards do not run here, and nobody else may sit where they would.
    for (region, old) in [("ru-msk", 7411), ("kz-ala", 7413), ("in-bom", 7414), ("us-iad", 7415)] {
        sample.move_port(old, &[&format!("annex/{region}.toml")]);
    }

    let made = sample.shell(&sample.block("bailiwick shard init"));
    assert_eq!(made.code, 0, "{made:?}");
    let mut shard = Server::new("shard", "eu-fra", &sample.path(shard_file), shard_admin);
    let mut gateway = Server::new("gateway", "gateway", &sample.path(gateway_file), admin);
    shard.start();
    gateway.start();
    shard.wait_ready();
    gateway.wait_ready();
    wait_until("a session with eu-fra", SESSION_MAX, || {
        let page = get(admin, "/metrics").map(|(_, page)| page).unwrap_or_default();
        let up = |line: &str| line.contains("session_up{") && line.contains("\"eu-fra\"");
        page.lines().any(|line| up(line) && line.ends_with(" 1"))
    });
    for own in [admin, shard_admin] {
        let (_, page) = get(own, "/readyz").expect("a page");
        assert!(page.contains("sandbox: on ") && page.contains("tls: on: spiffe://"), "{page}");
    }

    let put = sample.block("bailiwick record put").replace(":7400", &format!(":{port}"));
    let done = sample.shell(&put);
    assert!(done.code == 0 && done.stdout.contains("eu-fra"), "{done:?}");
    // By a token, what the certificate was not granted.
    let with_token = put
        .replace("--certificate tls/billing/certificate.pem --key-file tls/billing/key.pem", "")
        .replace("--ca ", "--token-file tls/token --ca ")
        .replace("--key main", "--key other")
        .replace("profiles", "messages");
    let done = sample.shell(&with_token);
    assert_eq!(done.code, 0, "{done:?}");
    let done = sample.shell(&put.replace("profiles", "messages"));
    assert!(done.code == 1 && done.stderr.contains("NOT_PERMITTED"), "{done:?}");
    assert_eq!((gateway.stop(), shard.stop()), (0, 0));
}

#[test]
fn every_sample_asks_for_the_sandbox() {
    let mut seen = 0;
    for folder in ["deploy/sample", "deploy/sample-tls"] {
        for entry in fs::read_dir(file(folder)).expect("there are samples") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name == "gateway.toml" || name.starts_with("shard-") {
                let text = fs::read_to_string(&path).expect("a sample");
                let text: toml::Table = text.parse().expect("a sample is TOML");
                let asks = text.get("require_sandbox").and_then(toml::Value::as_bool);
                assert_eq!(asks, Some(true), "{}", path.display());
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 8);
}

// === units of systemd ===

/// A unit's file, as pairs of a section's keys and values. Of lines that go on, nothing is here.
fn unit(name: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(file("deploy/systemd").join(name)).expect("a unit");
    let lines = text.lines().filter(|line| !line.starts_with(['#', '[']) && !line.is_empty());
    let pair = |line: &str| {
        let (key, value) = line.split_once('=').expect("a key and a value");
        (key.to_owned(), value.to_owned())
    };
    lines.map(pair).collect()
}

/// The values of one key.
fn values<'a>(unit: &'a [(String, String)], key: &str) -> Vec<&'a str> {
    unit.iter().filter(|(own, _)| own == key).map(|(_, value)| value.as_str()).collect()
}

const GATEWAY: &str = "bailiwick-gateway.service";
const SHARD: &str = "bailiwick-shard@.service";
const BACKUP: &str = "bailiwick-backup@.service";

#[test]
fn both_units_keep_memory_off_the_disk_and_rights_away() {
    for name in [GATEWAY, SHARD] {
        let unit = unit(name);
        for (key, value) in [
            ("LimitCORE", "0"),
            ("MemorySwapMax", "0"),
            ("PrivateTmp", "true"),
            ("NoNewPrivileges", "true"),
            ("ProtectSystem", "strict"),
            ("UMask", "0077"),
            ("CapabilityBoundingSet", ""),
        ] {
            assert_eq!(values(&unit, key), [value], "{name}: {key}");
        }
        // What the sandbox itself needs, which @system-service has not.
        let filter = values(&unit, "SystemCallFilter").join(" ");
        for call in ["landlock_create_ruleset", "landlock_restrict_self", "seccomp"] {
            assert!(filter.split(' ').any(|own| own == call), "{name}: {call}");
        }
    }
}

#[test]
fn each_process_has_a_user_of_its_own_and_sees_no_other_ones_store() {
    let (gateway, shard) = (unit(GATEWAY), unit(SHARD));
    for key in ["User", "Group"] {
        assert_eq!(values(&gateway, key), ["bailiwick-gateway"]);
        assert_eq!(values(&shard, key), ["bailiwick-%i"]);
    }
    let users = fs::read_to_string(file("deploy/systemd/bailiwick.sysusers")).expect("users");
    let users: Vec<&str> = users
        .lines()
        .filter(|line| line.starts_with("u "))
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert_eq!(users.first(), Some(&"bailiwick-gateway"));
    assert!(users.iter().all(|user| user.starts_with("bailiwick-")), "{users:?}");

    // What the gateway may not see is what every shard's folder lies in.
    let state = values(&shard, "StateDirectory");
    let [state] = state.as_slice() else { panic!("one folder: {state:?}") };
    let (all, own) = state.split_once('/').expect("a folder in a folder");
    assert_eq!(own, "%i");
    assert_eq!(values(&shard, "StateDirectoryMode"), ["0700"]);
    assert_eq!(values(&gateway, "InaccessiblePaths"), [format!("-/var/lib/{all}")]);
    assert_eq!(values(&gateway, "StateDirectory"), Vec::<&str>::new());
    assert_eq!(values(&shard, "TemporaryFileSystem"), [format!("/var/lib/{all}:ro")]);
    assert_eq!(values(&shard, "BindPaths"), [format!("/var/lib/{state}")]);
}

#[test]
fn the_backup_of_a_shard_has_the_rights_of_that_shard_and_one_folder_more() {
    let (backup, shard) = (unit(BACKUP), unit(SHARD));
    for key in [
        "User",
        "Group",
        "LimitCORE",
        "MemorySwapMax",
        "ProtectSystem",
        "UMask",
        "NoNewPrivileges",
        "CapabilityBoundingSet",
        "TemporaryFileSystem",
        "BindPaths",
        "IPAddressDeny",
    ] {
        assert_eq!(values(&backup, key), values(&shard, key), "{key}");
    }
    let out = "/var/backups/bailiwick/%i";
    let writable = format!("{out} /var/lib/bailiwick/%i");
    assert_eq!(values(&backup, "ReadWritePaths"), [writable]);
    let commands = values(&backup, "ExecStart");
    let [make, ..] = commands.as_slice() else { panic!("it makes a backup") };
    let config = "/etc/bailiwick/shard-%i.toml";
    assert_eq!(
        *make,
        format!("/usr/local/bin/bailiwick shard backup --config {config} --out {out}")
    );
    assert_eq!(values(&unit("bailiwick-backup@.timer"), "Persistent"), ["true"]);
    // The drop-in for a bucket replaces all commands.
    let bucket = unit("backup-bucket.conf");
    let make = format!("/usr/local/bin/bailiwick shard backup --config {config} --out s3:");
    assert_eq!(values(&bucket, "ExecStart"), ["", make.as_str()]);
}

// === containers ===

/// The entrypoint with the binary on its path, as in the image.
fn entrypoint(arguments: &[&str], folder: &Path) -> std::process::Child {
    let binary = Path::new(env!("CARGO_BIN_EXE_bailiwick")).parent().expect("a folder");
    let path = format!("{}:{}", binary.display(), "/usr/bin:/bin");
    let log = fs::File::create(folder.join("stderr")).expect("a file");
    Command::new("sh")
        .arg(file("deploy/container/entrypoint.sh"))
        .args(arguments)
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("a shell can be started")
}

#[test]
fn a_container_is_started_again_unless_a_person_is_needed() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing.toml");
    let missing = missing.to_str().expect("text");
    for (arguments, code) in
        [(&["gateway", "--config", missing][..], 64), (&["nothing"], 2), (&["--version"], 0)]
    {
        let ended = entrypoint(arguments, folder.path()).wait().expect("it ends");
        assert_eq!(ended.code(), Some(code), "{arguments:?}");
    }

    // An address that is taken is 69, which passes: once it is free the server comes up.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let (listen, data) = (format!("127.0.0.1:{port}"), folder.path().join("data"));
    let dev = ["dev", "--listen", &listen, "--data", data.to_str().expect("text")];
    let mut running = entrypoint(&dev, folder.path());
    let log = || fs::read_to_string(folder.path().join("stderr")).unwrap_or_default();
    wait_until("it was tried twice", SESSION_MAX, || log().matches("cannot listen").count() >= 2);
    drop(taken);
    wait_until("it listens", SESSION_MAX, || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let pid = rustix::process::Pid::from_child(&running);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    assert_eq!(running.wait().expect("it ends").code(), Some(0), "{}", log());
}

#[test]
fn every_container_has_a_health_check_and_no_policy_that_knows_no_exit_codes() {
    let text = fs::read_to_string(file("deploy/compose.yaml")).expect("a compose file");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert_eq!(
        lines.iter().filter(|line| line.starts_with("restart:")).collect::<Vec<_>>(),
        [&"restart: \"no\""]
    );
    let configs = |begins: &str| -> Vec<String> {
        let lines = lines.iter().filter(|line| line.starts_with(begins));
        lines.filter_map(|line| Some(line.rsplit(' ').next()?.replace(']', ""))).collect()
    };
    assert_eq!(configs("command: ["), configs("test: [CMD, bailiwick, health,"));
    assert_eq!(configs("command: [").len(), 4);
    let image = fs::read_to_string(file("deploy/Dockerfile")).expect("a Dockerfile");
    let (_, runs) = image.rsplit_once("FROM ").expect("the image that runs");
    assert!(runs.contains("ca-certificates") && runs.contains("container/entrypoint.sh"));
}

#[test]
fn no_container_sees_the_store_of_another() {
    let text = fs::read_to_string(file("deploy/compose.yaml")).expect("a compose file");
    let mounts = text.lines().filter_map(|line| line.trim_start().strip_prefix("- "));
    let mounts = mounts.filter_map(|mount| mount.split_once(':'));
    let (read_only, own): (Vec<_>, Vec<_>) = mounts.partition(|(from, _)| from.starts_with('.'));
    assert!(read_only.iter().all(|(_, to)| to.ends_with(":ro")), "{read_only:?}");
    let mut volumes: Vec<&str> = own.iter().map(|(volume, _)| *volume).collect();
    assert_eq!(volumes.len(), 3, "{volumes:?}");
    volumes.sort_unstable();
    volumes.dedup();
    assert_eq!(volumes.len(), 3, "a volume is mounted twice: {own:?}");
    for (volume, to) in own {
        assert!(to.ends_with(&format!("/{volume}")), "{volume}: {to}");
    }
}
