//! What deploy/ says is what works: the sample with TLS is made by the commands of its own page and
//! runs.

#[expect(dead_code, reason = "each test file uses its own part")]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::json;
use support::file;
use support::process::{Finished, Server, free_port, get, wait_until};
use support::secure::claims;
use tempfile::TempDir;

/// Time in which gateway and shard must have met.
const SESSION_MAX: std::time::Duration = std::time::Duration::from_secs(30);

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
