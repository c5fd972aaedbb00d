//! Every loader of a file against one table of hostile variants of a good file: each is read with
//! the same meaning, or refused with words that say what is wrong. What a server cannot read, it
//! must not pass over.
//!
//! Who owns a secret file is judged by `link::host::file_watch`, which tests that without changing owners.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::support::maps::{People, text};
use crate::support::process::run;
use crate::support::{Deployment, Options, file};
use link::host::clock::SystemClock;
use link::tls::{CallerFiles, CallerTls, TlsMetrics, bundle_digests, revocation_endings};
use tokio::runtime::Runtime;

/// What becomes of a variant.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// It is read, and means the same.
    Same,
    /// It is refused, and these words are among those that say why.
    Says(&'static str),
}

use Outcome::{Same, Says};

/// How a good file is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    /// A byte order mark before it.
    Marked,
    /// Each line ends in CR LF.
    CrLf,
    /// Its first two lines are one.
    Joined,
    /// A space before it.
    Space,
    /// Its second half is missing.
    CutOff,
    /// It is there twice.
    Doubled,
    Empty,
    /// It is a file of another kind.
    Other,
    /// Everybody may read and write it.
    Open,
    /// A folder is in its place.
    Folder,
    /// It is UTF-16.
    Wide,
}

const VARIANTS: [Variant; 11] = [
    Variant::Marked,
    Variant::CrLf,
    Variant::Joined,
    Variant::Space,
    Variant::CutOff,
    Variant::Doubled,
    Variant::Empty,
    Variant::Other,
    Variant::Open,
    Variant::Folder,
    Variant::Wide,
];

/// The beginning of a picture: no loader reads pictures.
const OTHER: &[u8] = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01";

impl Variant {
    /// Puts this variant of `good` in the place of what is at `path`.
    fn put(self, path: &Path, good: &[u8], mode: u32) {
        if path.is_dir() {
            fs::remove_dir(path).expect("an empty folder");
        }
        drop(fs::remove_file(path));
        if self == Self::Folder {
            return fs::create_dir(path).expect("a folder");
        }
        let mut bytes = good.to_vec();
        match self {
            Self::Marked => bytes = [b"\xef\xbb\xbf", good].concat(),
            Self::CrLf => {
                let lines = good.split(|byte| *byte == b'\n');
                bytes = lines.collect::<Vec<_>>().join(&b"\r\n"[..]);
            }
            Self::Joined => {
                let end = good.iter().position(|byte| *byte == b'\n').expect("it has lines");
                bytes.remove(end);
            }
            Self::Space => bytes.insert(0, b' '),
            Self::CutOff => bytes.truncate(good.len() / 2 + 30.min(good.len() / 4)),
            Self::Doubled => bytes.extend_from_slice(good),
            Self::Empty => bytes.clear(),
            Self::Other => bytes = OTHER.to_vec(),
            Self::Wide => bytes = good.iter().flat_map(|byte| [*byte, 0]).collect(),
            Self::Open | Self::Folder => {}
        }
        fs::write(path, bytes).expect("a file");
        let mode = if self == Self::Open { 0o666 } else { mode };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }
}

/// Tries all variants of the file at `path`, which is good, and each through a link that led to
/// the good file before. `load` gives what the file means, or what it is refused with.
#[track_caller]
fn table(
    path: &Path,
    load: impl Fn() -> Result<String, String>,
    expected: [Outcome; VARIANTS.len()],
) {
    let good = fs::read(path).expect("a good file");
    let mode = fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    let meaning = load().expect("the good file is taken");
    let mut wrong = Vec::new();
    let mut judge = |variant: Variant, how: &str, expected: Outcome| match (load(), expected) {
        (Ok(found), Same) if found == meaning => {}
        (Err(said), Says(words)) if said.contains(words) => {}
        (found, expected) => wrong.push(format!("{variant:?}{how}: {expected:?}: {found:?}")),
    };
    for (variant, expected) in VARIANTS.into_iter().zip(expected) {
        variant.put(path, &good, mode);
        judge(variant, "", expected);
    }
    Variant::Open.put(path, &good, mode);
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    // A link that is turned to another file is followed to what it leads to now.
    let (kept, other) = (path.with_extension("kept"), path.with_extension("other"));
    fs::rename(path, &kept).expect("a file can be moved");
    symlink(&kept, path).expect("a link");
    judge(Variant::Open, " by a link", Same);
    Variant::Empty.put(&other, &good, mode);
    fs::remove_file(path).expect("a link");
    symlink(&other, path).expect("a link");
    let empty = VARIANTS.iter().position(|variant| *variant == Variant::Empty);
    judge(Variant::Empty, " by a link", *empty.and_then(|at| expected.get(at)).expect("a row"));
    fs::remove_file(path).expect("a link");
    judge(Variant::Empty, " by no link", Says("o"));
    fs::rename(&kept, path).expect("a file can be moved");
    assert!(wrong.is_empty(), "{}:\n{}", path.display(), wrong.join("\n"));
}

/// A refusal as an operator reads it.
fn whole(error: &dyn std::error::Error) -> String {
    let below = std::iter::successors(error.source(), |error| error.source());
    below.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// What `bailiwick` makes of a file.
fn by_command(arguments: &[&str]) -> Result<String, String> {
    let done = run(arguments);
    if done.code == 0 { Ok(done.stdout) } else { Err(format!("{}{}", done.stdout, done.stderr)) }
}

/// What becomes of a PEM file; in this order: doubled, empty, open to all. That others can change
/// what is no secret says `doctor`.
fn pem(doubled: Outcome, empty: &'static str, open: Outcome) -> [Outcome; VARIANTS.len()] {
    let alone = Says("-----BEGIN must stand alone");
    let cut_off = Says("no -----END line of its own");
    let no_file = Says("no file");
    let other = Says("no text");
    [Same, Same, alone, alone, cut_off, doubled, Says(empty), other, open, no_file, Says("UTF-16")]
}

/// A deployment with certificates, of which one shard ran once.
fn secured() -> Deployment {
    let options =
        Options { tls: true, regions: vec!["eu-fra"], geoip: false, ..Options::default() };
    let mut deployment = Deployment::start(&options);
    deployment.shard("eu-fra").stop();
    deployment
}

#[test]
fn certificates_lists_and_keys() {
    let deployment = secured();
    let tls = deployment.root().join("tls");
    let (bundle, revoked) = (tls.join("authorities.pem"), tls.join("revoked.pem"));
    let digests = || {
        let mut all = bundle_digests(&bundle).map_err(|error| whole(&error))?;
        all.sort_unstable();
        all.dedup();
        Ok(format!("{all:?}"))
    };
    table(&bundle, digests, pem(Same, "no certificate", Same));
    let endings = || {
        let all = revocation_endings(&bundle, &revoked).map_err(|error| whole(&error))?;
        Ok(format!("{all:?}"))
    };
    table(&revoked, endings, pem(Same, "no revocation list", Same));
    let own = deployment.secured().folder("eu-fra");
    let pair = || {
        let files = CallerFiles {
            certificate: own.join("certificate.pem"),
            key: own.join("key.pem"),
            authorities: Some(bundle.clone()),
            revoked: Some(revoked.clone()),
            pages: false,
        };
        let tls = CallerTls::open(files, Arc::new(SystemClock), TlsMetrics::default());
        tls.map(|tls| format!("{:?}", tls.not_after())).map_err(|error| whole(&error))
    };
    table(&own.join("certificate.pem"), pair, pem(Same, "no certificate", Same));
    let key = pem(Says("second private key"), "no private key", Says("chmod 600"));
    table(&own.join("key.pem"), pair, key);
}

#[test]
fn keys_of_tokens() {
    let deployment = secured();
    let jwks = deployment.root().join("tls/jwks.json");
    // On lines, so that they can be joined.
    let document = fs::read_to_string(&jwks).expect("a document").replace(',', ",\n");
    fs::write(&jwks, document).expect("a file");
    let keys = || {
        let document = link::host::file_watch::read(&jwks).map_err(|error| whole(&error))?;
        let keys = gateway::usable_keys(&document).map_err(|error| whole(&error))?;
        Ok(format!("{keys:?}"))
    };
    let malformed = Says("not a JSON object with a list `keys`");
    table(
        &jwks,
        keys,
        [
            Same,
            Same,
            Same,
            Same,
            malformed,
            malformed,
            malformed,
            malformed,
            // `doctor` says it.
            Same,
            Says("no file"),
            malformed,
        ],
    );
}

#[test]
fn keyrings_and_log_keys() {
    let deployment = secured();
    let shard = deployment.root().join("shard-eu-fra.toml");
    let doctor = || {
        let done = run(&["doctor", "--config", text(&shard)]);
        let bad = |line: &&str| line.starts_with("bad ");
        let bad: Vec<&str> = done.stdout.lines().filter(bad).collect();
        if bad.is_empty() { Ok(String::new()) } else { Err(bad.join("\n")) }
    };
    let keys = deployment.keys_dir("eu-fra");
    let refused = Says("not a key file");
    table(
        &keys.join("eu-fra.keyring"),
        doctor,
        [
            // TOML 1.0 has both.
            Same,
            Same,
            refused,
            Same,
            refused,
            refused,
            refused,
            Says("not text"),
            Says("chmod 600"),
            Says("eu-fra.keyring"),
            refused,
        ],
    );
    let name = fs::read_dir(&keys).expect("a folder").flatten().map(|entry| entry.path());
    let log_key = name.into_iter().find(|path| path.extension().is_some_and(|e| e == "logkey"));
    let log_key = log_key.expect("a shard's log has a key");
    // One line, and white space around it.
    let digits = fs::read_to_string(&log_key).expect("a key");
    fs::write(&log_key, format!("{}\n", digits.trim())).expect("a file");
    let refused = Says("not a log key");
    table(
        &log_key,
        doctor,
        [
            refused,
            Same,
            Same,
            Same,
            refused,
            refused,
            refused,
            refused,
            Says("chmod 600"),
            Says("logkey"),
            refused,
        ],
    );
}

/// The public keys of these people.
fn vkeys(people: &People, names: &[&str]) -> Vec<String> {
    let config: toml::Table = people.config(names).parse().expect("TOML");
    let keys = config.get("map_signers").and_then(toml::Value::as_array).expect("a list");
    keys.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect()
}

#[test]
fn maps_and_their_notes() {
    let folder = tempfile::tempdir().expect("a folder");
    let map = folder.path().join("map.toml");
    let sample = fs::read_to_string(file("deploy/sample/map.toml")).expect("a sample");
    // Cut off within a comment, it would be a map.
    let sample = sample.split_inclusive('\n').filter(|line| !line.starts_with('#'));
    fs::write(&map, sample.collect::<String>()).expect("a file");
    // Where its warnings stand is another matter.
    let check = || by_command(&["map", "check", text(&map)]).map(|_| String::new());
    let wrong = Says("map.toml");
    table(&map, check, [Same, Same, wrong, Same, wrong, wrong, wrong, wrong, Same, wrong, wrong]);
    let people = People::make(folder.path(), &["anna", "boris"]);
    people.sign(&map, &["anna", "boris"]);
    let note = map.with_extension("note");
    let keys = vkeys(&people, &["anna", "boris"]);
    let signers = ledger::Signers::parse(keys.iter().map(String::as_str)).expect("two keys");
    let signed = || {
        let note = fs::read_to_string(&note).map_err(|error| whole(&error))?;
        let signed = signers.signed_by(&note).ok_or("no known key has signed it")?;
        Ok(format!("{signed:?}"))
    };
    let unsigned = Says("no known key");
    table(
        &note,
        signed,
        [
            unsigned,
            unsigned,
            unsigned,
            unsigned,
            unsigned,
            unsigned,
            unsigned,
            Says("UTF-8"),
            Same,
            Says("directory"),
            Says("UTF-8"),
        ],
    );
}

#[test]
fn configurations_and_annexes() {
    let deployment = secured();
    let gateway = deployment.root().join("gateway.toml");
    let read = || {
        let done = run(&["doctor", "--json", "--config", text(&gateway)]);
        // 64: it is no configuration. The shards do not run, which is no matter here.
        if done.code == 64 { Err(done.stderr) } else { Ok(String::new()) }
    };
    table(
        &gateway,
        read,
        [
            Same,
            Same,
            Says("TOML_SYNTAX"),
            Same,
            Says("gateway.toml:"),
            Says("TOML_SYNTAX"),
            Says("has no `name`"),
            Says("gateway.toml"),
            // `doctor` says it.
            Same,
            Says("gateway.toml"),
            Says("TOML_SYNTAX"),
        ],
    );
    let annex: PathBuf = deployment.root().join("annex-eu-fra.toml");
    table(
        &annex,
        read,
        [
            Same,
            Same,
            Says("TOML_SYNTAX"),
            Same,
            Says("annex-eu-fra.toml"),
            Says("NAME_DUPLICATE"),
            Says("annex-eu-fra.toml"),
            Says("annex-eu-fra.toml"),
            Same,
            // An empty folder of annexes is none.
            Says("ANNEX_MISSING"),
            Says("TOML_SYNTAX"),
        ],
    );
}

#[test]
fn tokens_and_policies() {
    let folder = tempfile::tempdir().expect("a folder");
    let (token, runtime) = (folder.path().join("token"), Runtime::new().expect("a runtime"));
    fs::write(&token, "abc.def\n.ghi\n".replace("f\n", "f")).expect("a file");
    let load = || {
        let read = runtime.block_on(client::Token::file(&token));
        read.map(|_| String::new()).map_err(|error| error.to_string())
    };
    let none = Says("no token at all");
    table(
        &token,
        load,
        [
            none,
            Same,
            Same,
            Same,
            // Nobody but the gateway can tell.
            Same,
            none,
            none,
            none,
            // Projected tokens of orchestrators are readable by all of a container.
            Same,
            Says("cannot be read"),
            none,
        ],
    );
    let policy = folder.path().join("policy");
    let people = People::make(folder.path(), &["anna", "boris"]);
    let keys = vkeys(&people, &["anna"]);
    fs::write(&policy, format!("log {}\nquorum none\n", keys.concat())).expect("a policy");
    let read = || {
        let text = fs::read_to_string(&policy).map_err(|error| whole(&error))?;
        audit::Policy::parse(&text).map(|_| String::new()).map_err(|error| whole(&error))
    };
    table(
        &policy,
        read,
        [
            Says("line 1"),
            Same,
            Says("line 1"),
            Same,
            Says("line"),
            Says("line"),
            Says("quorum"),
            Says("UTF-8"),
            Same,
            Says("directory"),
            Says("line 1"),
        ],
    );
}

#[test]
fn databases_of_addresses() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("ip-country.mmdb");
    fs::copy(file("tests/evidence/ip-country.mmdb"), &database).expect("a database");
    let people = folder.path().join("people.jsonl");
    let line =
        r#"{"id":"p","collection":"profiles","evidence":[{"kind":"ip","value":"195.59.140.82"}]}"#;
    fs::write(&people, line).expect("a file");
    let map = file("tests/evidence/map.toml");
    let load =
        || by_command(&["explain", "--map", text(&map), "--geoip", text(&database), text(&people)]);
    let damaged = Says("not an IP database in MaxMind's format");
    table(
        &database,
        load,
        [
            damaged,
            damaged,
            damaged,
            damaged,
            damaged,
            // Its index is at its beginning and its description at its end: both are there.
            Same,
            damaged,
            damaged,
            // It is no secret.
            Same,
            Says("cannot be read"),
            damaged,
        ],
    );
}
