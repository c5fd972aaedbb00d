//! Configurations, maps and annexes: the samples are taken, and whatever is wrong ends with exit
//! code 64 before anything is started, and says in which file, on which line, and what to do.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use crate::support::file;
use crate::support::process::{Finished, init_shard, run};
use tempfile::TempDir;

/// A copy of the sample deployment, in which every server listens where somebody else does.
struct Sample {
    root: TempDir,
    /// Held, so that nobody can listen there.
    taken: TcpListener,
}

impl Sample {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let sample = Self { root, taken };
        fs::create_dir_all(sample.path("annex")).expect("a folder");
        let mut copied = 0;
        for folder in ["", "annex"] {
            let from = file("deploy/sample").join(folder);
            for entry in fs::read_dir(from).expect("there are samples") {
                let entry = entry.expect("an entry").path();
                if entry.extension().is_some_and(|extension| extension == "toml") {
                    let name = entry.file_name().expect("a name");
                    let to = sample.path(folder).join(name);
                    fs::copy(&entry, to).expect("a sample can be copied");
                    copied += 1;
                }
            }
        }
        assert_eq!(copied, 12, "a map, a gateway, five shards, five annexes");
        sample
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("deploy/sample").join(name)
    }

    /// Replaces the one place where `old` stands.
    fn edit(&self, name: &str, old: &str, new: &str) {
        let text = fs::read_to_string(self.path(name)).expect("a sample");
        assert_eq!(text.matches(old).count(), 1, "{old:?} in {name}");
        fs::write(self.path(name), text.replace(old, new)).expect("a sample can be written");
    }

    /// Lets a server listen where it cannot.
    fn occupy(&self, name: &str) {
        let text = fs::read_to_string(self.path(name)).expect("a sample");
        let taken = self.taken.local_addr().expect("an address");
        let line = text.lines().find(|line| line.starts_with("listen = ")).expect("it listens");
        fs::write(self.path(name), text.replace(line, &format!("listen = \"{taken}\"")))
            .expect("a sample can be written");
    }

    fn run(&self, command: &str, name: &str) -> Finished {
        let path = self.path(name);
        run(&[command, "--config", path.to_str().expect("text")])
    }

    /// That the server gets as far as its port, which is taken: then its configuration is good.
    #[track_caller]
    fn expect_good(&self, command: &str, name: &str) {
        self.occupy(name);
        if command == "shard" {
            init_shard(&self.path(name));
        }
        let Finished { code, stderr, .. } = self.run(command, name);
        assert!(code == 69 && stderr.contains("cannot listen on"), "{name}: {code}: {stderr}");
    }

    /// That it is refused as a bad configuration, with this text, which names `line` of `at`.
    #[track_caller]
    fn expect_bad(&self, (command, name): (&str, &str), (at, line): (&str, &str), texts: &[&str]) {
        let Finished { code, stderr, stdout } = self.run(command, name);
        assert_eq!((code, &*stdout), (64, ""), "{stderr}");
        let number = match line {
            "" => 1,
            line => {
                let text = fs::read_to_string(self.path(at)).expect("a file");
                text.lines().position(|l| l.contains(line)).expect("the line is there") + 1
            }
        };
        let place = format!("{at}:{number}:");
        let shown =
            findings(&stderr).any(|f| f.contains(&place) && texts.iter().all(|t| f.contains(t)));
        assert!(shown, "{place} {texts:?} in:\n{stderr}");
        assert!(!self.root.path().join("bailiwick-data").exists(), "something was started");
    }
}

/// The findings of an answer: each has a line with its code, its place, an excerpt and help.
fn findings(stderr: &str) -> impl Iterator<Item = &str> {
    stderr.split("\n\n")
}

const GATEWAY: (&str, &str) = ("gateway", "gateway.toml");
const SHARD: (&str, &str) = ("shard", "shard-ru-msk.toml");

#[test]
fn the_samples_are_taken() {
    let sample = Sample::new();
    sample.expect_good("gateway", "gateway.toml");
    for region in ["eu-fra", "in-bom", "kz-ala", "ru-msk", "us-iad"] {
        sample.expect_good("shard", &format!("shard-{region}.toml"));
        let home = sample.root.path().join("bailiwick-data").join(region);
        for folder in ["data", "anchor", "keys"] {
            assert!(home.join(folder).is_dir(), "{region} has no {folder}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let sample = Sample::new();
    let Finished { code, stderr, .. } = sample.run("gateway", "nothing.toml");
    assert_eq!(code, 64);
    assert!(stderr.contains("nothing.toml: cannot be read"), "{stderr}");
    for (name, (command, config)) in [("map.toml", GATEWAY), ("annex/ru-msk.toml", SHARD)] {
        let sample = Sample::new();
        fs::remove_file(sample.path(name)).expect("it was there");
        let texts = ["FILE_UNREADABLE", name, "name a readable file"];
        let key = if name == "map.toml" { "map = " } else { "annex = " };
        sample.expect_bad((command, config), (config, key), &texts);
    }
}

#[test]
fn a_bad_gateway_config_is_refused() {
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (
            "name = \"gateway-1\"",
            "nmae = \"gateway-1\"",
            "nmae",
            &["KEY_UNKNOWN", "| nmae = ", "did you mean `name`?"],
        ),
        ("name = \"gateway-1\"", "", "", &["KEY_MISSING", "no `name`", "add `name`"]),
        ("name = \"gateway-1\"", "name = 7", "name = 7", &["VALUE_TYPE", "use a text"]),
        ("name = \"gateway-1\"", "name = ", "name = ", &["TOML_SYNTAX"]),
        ("\"127.0.0.1:7400\"", "\"here\"", "\"here\"", &["VALUE_INVALID", "127.0.0.1:7400"]),
        (
            "\"127.0.0.1:7400\"",
            "\"0.0.0.0:7400\"",
            "\"0.0.0.0:7400\"",
            &["PLAINTEXT_REFUSED", "loopback", "127.0.0.1"],
        ),
        ("plaintext = true", "plaintext = false", "plaintext", &["PLAINTEXT_REFUSED", "plaintext"]),
        (
            "tenant = \"sample\"",
            "tenant = \"other\"",
            "\"other\"",
            &["TENANT_UNKNOWN", "use one of: sample"],
        ),
        ("\"operator\"]", "\"king\"]", "\"king\"", &["VALUE_INVALID", "writer, reader"]),
        (
            "# territory = \"DE\"",
            "territory = \"XX\"",
            "\"XX\"",
            &["COUNTRY_UNKNOWN", "ISO 3166-1"],
        ),
        (
            "\"127.0.0.1:7401\"",
            "\"0.0.0.0:7401\"",
            "\"0.0.0.0:7401\"",
            &["PLAINTEXT_REFUSED", "admin_listen", "plaintext_metrics"],
        ),
        (
            "[caller]",
            "[metrics]\ntoken_file = \"none\"\n[caller]",
            "token_file",
            &["FILE_UNREADABLE", "none"],
        ),
        (
            "[caller]",
            "[metrics]\ntoken_file = \"map.toml\"\n[caller]",
            "[metrics]",
            &["KEY_MISSING", "in plaintext", "[tls]"],
        ),
        (
            "[caller]",
            "[metrics]\n[caller]",
            "[metrics]",
            &["KEY_MISSING", "to no client", "token_file"],
        ),
    ];
    for (old, new, line, texts) in cases {
        let sample = Sample::new();
        sample.edit("gateway.toml", old, new);
        sample.expect_bad(GATEWAY, ("gateway.toml", line), texts);
    }
}

#[test]
fn the_pages_for_operators_may_listen_elsewhere_when_that_is_said() {
    let anywhere = |name: &str, port: &str| {
        let sample = Sample::new();
        let old = format!("\"127.0.0.1:{port}\"");
        sample.edit(name, &old, "\"0.0.0.0:0\"\nplaintext_metrics = true");
        sample
    };
    anywhere("gateway.toml", "7401").expect_good("gateway", "gateway.toml");
    anywhere("shard-ru-msk.toml", "7421").expect_good("shard", "shard-ru-msk.toml");
    // A token is asked for over plaintext, too.
    let sample = anywhere("gateway.toml", "7401");
    let token = "[metrics]\ntoken_file = \"token\"\n[caller]";
    sample.edit("gateway.toml", "[caller]", token);
    fs::write(sample.path("token"), "short\n").expect("a file can be written");
    let texts = ["TOKEN_SHORT", "16 characters"];
    sample.expect_bad(GATEWAY, ("gateway.toml", "token_file"), &texts);
    fs::write(sample.path("token"), "a token of some length\n").expect("a file can be written");
    sample.expect_good("gateway", "gateway.toml");
}

#[test]
fn an_ip_database_of_another_kind_is_refused() {
    let good = fs::read(file("tests/evidence/ip-country.mmdb")).expect("a database");
    for (from, to, texts) in [
        ("Gcountry", "Gxountry", ["GEOIP_KIND", "country.iso_code"]),
        ("MaxMind.com", "MaxMind.moc", ["GEOIP_DAMAGED", "MaxMind"]),
    ] {
        let sample = Sample::new();
        sample.edit("gateway.toml", "# geoip = ", "geoip = ");
        let at = good.windows(from.len()).position(|found| found == from.as_bytes());
        let at = at.expect("it is there");
        let mut bad = good.clone();
        bad.splice(at..at + from.len(), to.bytes());
        fs::write(sample.path("ip-country.mmdb"), bad).expect("a file");
        sample.expect_bad(GATEWAY, ("gateway.toml", "\"ip-country.mmdb\""), &texts);
    }
}

#[test]
fn what_nobody_sees_reaches_no_terminal() {
    let sample = Sample::new();
    let old = "category = \"payment data from end to end\"";
    sample.edit("map.toml", old, "category = \"pay\u{202e}ment\u{1b}[2J\"");
    let map = sample.path("map.toml");
    let map = map.to_str().expect("text");
    for arguments in [vec!["map", "check", map], vec!["map", "check", "--json", map]] {
        let Finished { stdout, stderr, .. } = run(&arguments);
        let said = stdout + &stderr;
        assert!(said.contains("HIDDEN_CHARACTER") || said.contains("TOML_SYNTAX"), "{said}");
        assert!(!said.contains(['\u{202e}', '\u{1b}']), "{said:?}");
        // As an escape in what is printed for people, by its number in JSON.
        assert!(said.contains("\\u202e") || said.contains("U+202E"), "{said}");
    }
}

#[test]
fn a_gateway_needs_every_annex_once() {
    let sample = Sample::new();
    sample.edit("gateway.toml", "    \"annex/kz-ala.toml\",\n", "");
    let texts = ["ANNEX_MISSING", "no annex for region `kz-ala`", "add"];
    sample.expect_bad(GATEWAY, ("gateway.toml", "annex/ru-msk.toml"), &texts);
    let sample = Sample::new();
    sample.edit("gateway.toml", "annex/kz-ala.toml", "../sample/annex/us-iad.toml");
    let texts = ["ANNEX_TWICE", "us-iad", "remove one"];
    sample.expect_bad(GATEWAY, ("gateway.toml", "    \"annex/us-iad.toml"), &texts);
}

#[test]
fn a_bad_shard_config_is_refused() {
    let cases: &[(&str, &str, &str, &[&str])] = &[
        ("region = \"ru-msk\"", "region = \"ru-spb\"", "ru-spb", &["REGION_UNKNOWN", "ru-msk"]),
        ("region = \"ru-msk\"", "region = \"eu-fra\"", "eu-fra", &["ANNEX_FOREIGN", "own annex"]),
        ("shard = \"s1\"", "shard = \"s2\"", "\"s2\"", &["SHARD_UNKNOWN", "use one of: s1"]),
        ("engine = \"sled\"", "engine = \"bolt\"", "\"bolt\"", &["VALUE_INVALID", "postgres"]),
        ("engine = \"sled\"", "", "", &["KEY_MISSING", "engine"]),
        ("cache_mb = 128", "cache_mb = 0", "cache_mb", &["LIMIT_RANGE", "from 1 to"]),
        ("cache_mb = 128", "cache_gb = 1", "cache_gb", &["KEY_UNKNOWN", "cache_mb"]),
        (
            "audit_listen = \"127.0.0.1:7431\"",
            "audit_listen = \"0.0.0.0:7431\"",
            "0.0.0.0",
            &["PLAINTEXT_REFUSED", "[auditors]"],
        ),
        (
            "disk_reserve_mb = 256",
            "disk_reserve_mb = 256\n[auditors]\nuris = []\nauthorities = \"x.pem\"",
            "[auditors]",
            &["KEY_MISSING", "[tls]"],
        ),
        (
            "disk_reserve_mb = 256",
            "disk_reserve_mb = 256\n[log]\nperiod_entries_max = 7",
            "period_entries_max",
            &["LIMIT_RANGE", "from 100000"],
        ),
        (
            "disk_reserve_mb = 256",
            "disk_reserve_mb = 256\n[[log.witnesses]]\nkey = \"w\"\nurl = \"http://w.example/\"",
            "url = ",
            &["VALUE_INVALID", "https://"],
        ),
    ];
    for (old, new, line, texts) in cases {
        let sample = Sample::new();
        sample.edit("shard-ru-msk.toml", old, new);
        sample.expect_bad(SHARD, ("shard-ru-msk.toml", line), texts);
    }
}

#[test]
fn every_mistake_is_named_at_once() {
    let sample = Sample::new();
    sample.edit("gateway.toml", "name = \"gateway-1\"", "nmae = \"gateway-1\"");
    sample.edit(
        "gateway.toml",
        "roles = [\"writer\", \"reader\", \"eraser\", \"operator\"]",
        "role = \"king\"",
    );
    sample.edit("map.toml", "territory = \"KZ\"", "territory = \"KX\"");
    let Finished { code, stderr, .. } = sample.run("gateway", "gateway.toml");
    assert_eq!(code, 64);
    for text in ["KEY_UNKNOWN", "KEY_MISSING", "`role`", "`roles`", "map.toml:"] {
        assert!(stderr.contains(text), "{text}: {stderr}");
    }
}

#[test]
fn a_bad_map_is_refused_by_every_process() {
    let second_home = "[[homes]]\nfor = \"RU\"\nregion = \"eu-fra\"\n";
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (
            "deployment = \"sample\"",
            "deploiment = \"sample\"",
            "deploiment",
            &["KEY_UNKNOWN", "deployment"],
        ),
        (
            "[[homes]]\nfor = \"EEA\"\n",
            &format!("{second_home}\n[[homes]]\nfor = \"EEA\"\n"),
            "",
            &["RU"],
        ),
        ("territory = \"RU\"", "territory = \"US\"", "", &["RU"]),
    ];
    for (old, new, line, texts) in cases {
        for (command, config) in [GATEWAY, SHARD] {
            let sample = Sample::new();
            sample.edit("map.toml", old, new);
            if line.is_empty() {
                bad_somewhere(&sample, (command, config), "map.toml", texts);
            } else {
                sample.expect_bad((command, config), ("map.toml", line), texts);
            }
        }
        let sample = Sample::new();
        sample.edit("map.toml", old, new);
        let map = sample.path("map.toml");
        let map = map.to_str().expect("text");
        for command in [&["explain", "--map", map][..], &["dev", "--map", map]] {
            let Finished { code, stderr, .. } = run(command);
            assert!(code == 64 && stderr.contains("map.toml:"), "{code}: {stderr}");
        }
    }
}

#[test]
fn a_bad_annex_is_refused_by_every_process() {
    let more = |slots: &str| {
        format!(
            "\n[[shards]]\nname = \"s2\"\naddress = \"http://127.0.0.1:7499\"\nslots = {slots}\n"
        )
    };
    let cases: &[(&str, &str)] =
        &[(&more("\"100-200\""), "SLOTS_OVERLAP"), (&more("[]"), "SLOTS_NONE")];
    for (added, code) in cases {
        for (command, config) in [GATEWAY, SHARD] {
            let sample = Sample::new();
            let path = sample.path("annex/ru-msk.toml");
            let text = fs::read_to_string(&path).expect("an annex");
            fs::write(&path, text + added).expect("an annex can be written");
            bad_somewhere(&sample, (command, config), "annex/ru-msk.toml", &[code]);
        }
    }
    let edits = [
        ("slots = \"0-1023\"", "slots = \"0-1000\"", "SLOTS_UNCOVERED"),
        ("\"http://127.0.0.1:7411\"", "\"127.0.0.1:7411\"", "ADDRESS_INVALID"),
        ("\"http://127.0.0.1:7411\"", "\"http://a b:7411\"", "ADDRESS_INVALID"),
    ];
    for (old, new, code) in edits {
        for (command, config) in [GATEWAY, SHARD] {
            let sample = Sample::new();
            sample.edit("annex/ru-msk.toml", old, new);
            bad_somewhere(&sample, (command, config), "annex/ru-msk.toml", &[code]);
        }
    }
}

/// That it is refused with a finding about that file: a line, a column, these texts, and help.
#[track_caller]
fn bad_somewhere(sample: &Sample, (command, config): (&str, &str), at: &str, texts: &[&str]) {
    let Finished { code, stderr, .. } = sample.run(command, config);
    assert_eq!(code, 64, "{stderr}");
    let shown = findings(&stderr).any(|finding| {
        let Some((_, rest)) = finding.split_once(&format!("{at}:")) else { return false };
        let place = rest.lines().next().unwrap_or_default();
        let placed = place.split(':').take(2).all(|n| n.parse::<usize>().is_ok());
        placed && rest.contains("= help: ") && texts.iter().all(|text| finding.contains(text))
    });
    assert!(shown, "{at} {texts:?} in:\n{stderr}");
    assert!(!Path::new(&sample.root.path().join("bailiwick-data")).exists());
}

#[test]
fn folders_that_must_lie_apart_do() {
    for (key, folder) in [("anchor", "anchor"), ("keys", "keys")] {
        let sample = Sample::new();
        let (old, new) = (
            format!("{key} = \"../../bailiwick-data/ru-msk/{folder}\""),
            format!("{key} = \"../../bailiwick-data/ru-msk/data/{folder}\""),
        );
        sample.edit("shard-ru-msk.toml", &old, &new);
        let Finished { code, stderr, .. } = sample.run("shard", "shard-ru-msk.toml");
        assert!(code == 64 && stderr.contains("lies in the data folder"), "{code}: {stderr}");
    }
}

#[test]
fn the_wrong_words_are_a_usage_error() {
    for arguments in [&["nothing"][..], &["shard"], &["shard", "recover", "--config", "x"], &[]] {
        assert_eq!(run(arguments).code, 2, "{arguments:?}");
    }
    assert_eq!(run(&["dev", "--listen", "0.0.0.0:7400"]).code, 64);
}
