//! A deployment's certificates and tokens: authorities made with the binary's own `pki`, and
//! tokens signed by a key that the gateway's configuration names.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use client::{Access, Tls, Token};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::process::run;

/// The trust domain of every deployment: the sample map's.
pub(crate) const DOMAIN: &str = "sample";
/// Who signs tokens.
pub(crate) const ISSUER: &str = "https://issuer.example";
/// For whom tokens are.
pub(crate) const AUDIENCE: &str = "bailiwick";
/// The name of the key that signs them.
pub(crate) const KEY_ID: &str = "k1";
/// The caller that has a certificate.
pub(crate) const CALLER: &str = "backend";
/// The auditor whom shards let in.
pub(crate) const AUDITOR: &str = "auditor-1";

/// The present, in seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "tokens and certificates end in real time")]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs()
}

/// Everything that proves who is who.
pub(crate) struct Secured {
    root: PathBuf,
    signer: EncodingKey,
}

impl Secured {
    /// Two authorities for each region (the second for a change), one for callers; certificates
    /// for every region's shard, for a gateway and for a caller.
    pub(crate) fn make(root: &Path, regions: &[String], gateway_region: &str) -> Self {
        let signer = KeyPair::generate().expect("a key");
        let pem = signer.serialize_pem();
        let secured = Self {
            root: root.to_path_buf(),
            signer: EncodingKey::from_ec_pem(pem.as_bytes()).expect("a key of P-256"),
        };
        let local = ["--dns", "localhost", "--ip", "127.0.0.1"];
        for region in regions {
            for authority in [region.clone(), format!("{region}-next")] {
                secured.init(&["--region", region], &authority);
            }
            secured.issue(region, &[&["--shard", "s1"][..], &local].concat(), region);
        }
        secured.init(&["--callers"], "callers");
        secured.issue("callers", &["--caller", CALLER], CALLER);
        secured.issue("callers", &["--caller", AUDITOR], AUDITOR);
        secured.issue(gateway_region, &["--gateway", "gateway-1"], "gateway");
        let own: Vec<&str> = regions.iter().map(String::as_str).collect();
        secured.bundle(&own);
        let all: Vec<String> = regions.iter().map(|region| format!("{region}-next")).collect();
        let all = own.into_iter().chain(all.iter().map(String::as_str)).collect::<Vec<_>>();
        secured.lists(&all);
        let (_, point) = signer.public_key_raw().split_first().expect("a point");
        let (x, y) = point.split_at(32);
        let jwks = json!({ "keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
            "x": BASE64URL.encode(x), "y": BASE64URL.encode(y),
        }]});
        fs::write(root.join("tls/jwks.json"), jwks.to_string()).expect("a file");
        secured
    }

    // === authorities and certificates ===

    fn init(&self, scope: &[&str], name: &str) {
        let out = self.authority(name);
        let out = out.to_str().expect("text");
        let names = ["--trust-domain", DOMAIN, "--out", out];
        let done = run(&[&["pki", "init"], scope, &names].concat());
        assert_eq!(done.code, 0, "{done:?}");
    }

    /// Issues a certificate into a folder beside the others.
    pub(crate) fn issue(&self, authority: &str, holder: &[&str], out: &str) {
        let (authority, out) = (self.authority(authority), self.folder(out));
        let paths = ["--authority", text(&authority), "--out", text(&out)];
        let names = ["--ip", "127.0.0.1"];
        let done = run(&[&["pki", "issue"], holder, &names, &paths].concat());
        assert_eq!(done.code, 0, "{done:?}");
    }

    /// Revokes the certificate in that folder, and hands the lists to everybody.
    pub(crate) fn revoke(&self, authority: &str, folder: &str) {
        let certificate = self.folder(folder).join("certificate.pem");
        let own = self.authority(authority);
        let paths = ["--authority", text(&own), "--certificate", text(&certificate)];
        let done = run(&[&["pki", "revoke"], &paths[..]].concat());
        assert_eq!(done.code, 0, "{done:?}");
        let folders = fs::read_dir(self.root.join("pki")).expect("authorities");
        let names = folders.map(|entry| entry.expect("an entry").file_name());
        let names: Vec<String> = names.map(|name| name.into_string().expect("text")).collect();
        let regions = names.iter().filter(|name| *name != "callers").map(String::as_str);
        self.lists(&regions.collect::<Vec<_>>());
    }

    /// Puts the certificate of one folder in the place of another's, as an operator does: each
    /// file by a rename, the key first.
    pub(crate) fn put_in_place(&self, new: &str, old: &str) {
        for file in ["key.pem", "certificate.pem"] {
            let text = fs::read(self.folder(new).join(file)).expect("a new file");
            replace(&self.folder(old).join(file), &text);
        }
    }

    /// Makes these authorities the ones of every process's bundle.
    pub(crate) fn bundle(&self, authorities: &[&str]) {
        self.gather(authorities, "authority.pem", "authorities.pem");
    }

    fn lists(&self, authorities: &[&str]) {
        self.gather(authorities, "revoked.pem", "revoked.pem");
    }

    fn gather(&self, authorities: &[&str], file: &str, out: &str) {
        let read = |name: &&str| fs::read(self.authority(name).join(file)).expect("a file");
        fs::create_dir_all(self.root.join("tls")).expect("a folder");
        let all: Vec<u8> = authorities.iter().flat_map(read).collect();
        replace(&self.root.join("tls").join(out), &all);
    }

    /// The folder of an authority: a region's name, that with `-next`, or `callers`.
    pub(crate) fn authority(&self, name: &str) -> PathBuf {
        self.root.join("pki").join(name)
    }

    /// The folder of a certificate: a region's name is its shard's.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.root.join("tls").join(name)
    }

    /// A certificate and its key, as PEM.
    pub(crate) fn pair(&self, name: &str) -> (String, String) {
        let read = |file| fs::read_to_string(self.folder(name).join(file)).expect("a file");
        (read("certificate.pem"), read("key.pem"))
    }

    /// The authorities of every region, as PEM.
    pub(crate) fn authorities(&self) -> String {
        fs::read_to_string(self.root.join("tls/authorities.pem")).expect("a bundle")
    }

    // === texts of configurations ===

    /// The map with both authorities of each region pinned.
    pub(crate) fn pinned(&self, map: &str, regions: &[String]) -> String {
        let mut map = map.to_owned();
        for region in regions {
            let pins = [region.clone(), format!("{region}-next")].map(|name| {
                let path = self.authority(&name).join("authority.pem");
                let shown = run(&["pki", "show", text(&path)]).stdout;
                shown.split('"').nth(1).expect("a pin").to_owned()
            });
            let place = format!("[[regions]]\nname = \"{region}\"\n");
            assert!(map.contains(&place), "{region}: no such region in the map");
            map = map.replace(&place, &format!("{place}authorities = {pins:?}\n"));
        }
        map
    }

    /// The `[tls]` of a process whose certificate lies in that folder.
    pub(crate) fn tls(folder: &str) -> String {
        format!(
            "[tls]\ncertificate = \"tls/{folder}/certificate.pem\"\n\
             key = \"tls/{folder}/key.pem\"\nauthorities = \"tls/authorities.pem\"\n\
             revoked = \"tls/revoked.pem\"\n"
        )
    }

    /// Whom shards let in as auditors. The last of a configuration.
    pub(crate) fn auditors() -> String {
        format!(
            "[auditors]\nauthorities = \"pki/callers/authority.pem\"\n\
             revoked = \"pki/callers/revoked.pem\"\n\
             uris = [\"spiffe://{DOMAIN}/caller/{AUDITOR}\"]\n"
        )
    }

    /// What a gateway knows of callers: a certificate, and who signs tokens.
    pub(crate) fn callers(grant: &BTreeMap<&str, Value>) -> String {
        let mut text = "[callers]\nauthorities = \"pki/callers/authority.pem\"\n\
                        revoked = \"pki/callers/revoked.pem\"\n[[callers.certificates]]\n"
            .to_owned();
        writeln!(text, "uri = \"spiffe://{DOMAIN}/caller/{CALLER}\"").expect("a string");
        for (key, value) in grant {
            writeln!(text, "{key} = {value}").expect("a string");
        }
        writeln!(
            text,
            "[callers.tokens]\nissuer = \"{ISSUER}\"\naudience = \"{AUDIENCE}\"\n\
             jwks = \"tls/jwks.json\""
        )
        .expect("a string");
        text
    }

    // === callers ===

    /// A token for the next hour; `changes` replaces claims, and null removes them.
    pub(crate) fn token(&self, changes: &Value) -> String {
        self.token_by(KEY_ID, changes)
    }

    /// The same, of a key with that name.
    pub(crate) fn token_by(&self, key_id: &str, changes: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(key_id.to_owned());
        encode(&header, &claims(changes), &self.signer).expect("a token")
    }

    /// How somebody with that token reaches the gateway.
    pub(crate) fn with_token(&self, token: &str) -> Access {
        let token = Token::fixed(token).expect("a token's characters");
        Access { tls: self.trusting(), token, ..Access::default() }
    }

    /// How the holder of a certificate reaches the gateway.
    pub(crate) fn with_certificate(&self, (chain, key): (&str, &str)) -> Access {
        Access { tls: self.trusting().presenting(chain, key).expect("a pair"), ..Access::default() }
    }

    /// How anybody reaches the gateway, with nothing to show.
    pub(crate) fn with_nothing(&self) -> Access {
        Access { tls: self.trusting(), ..Access::default() }
    }

    fn trusting(&self) -> Tls {
        Tls::trusting(self.authorities()).expect("a bundle")
    }
}

/// The claims of somebody who may read and write everything of the sample's tenant.
pub(crate) fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "somebody", "exp": now() + 3_600, "nbf": now() - 5,
        "tenant": "sample", "roles": ["writer", "reader"], "territory": "DE",
        "collections": ["*"], "regions": ["*"],
    });
    let own = claims.as_object_mut().expect("an object");
    for (key, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            own.remove(key);
        } else {
            own.insert(key.clone(), value.clone());
        }
    }
    claims
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// Writes a file so that whoever reads it sees the old or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, bytes).expect("a file");
    if path.file_name().is_some_and(|name| name == "key.pem") {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).expect("it is ours");
    }
    fs::rename(&fresh, path).expect("a file in its place");
}
