//! Signed maps in tests: people with keys, and maps that follow one another.

use std::fs;
use std::path::{Path, PathBuf};

use super::Options;
use super::process::{Finished, run};

/// People who sign, each with a key made by `bailiwick map key`.
pub(crate) struct People {
    folder: PathBuf,
    /// Names and public keys.
    pub(crate) keys: Vec<(String, String)>,
}

impl People {
    /// Makes keys for these names.
    pub(crate) fn make(folder: &Path, names: &[&str]) -> Self {
        let folder = folder.join("people");
        fs::create_dir_all(&folder).expect("a folder can be made");
        let key = |name: &&str| {
            let out = folder.join(name);
            let done = run(&["map", "key", name, "--out", text(&out)]);
            assert_eq!(done.code, 0, "{done:?}");
            ((*name).to_owned(), done.stdout.trim().to_owned())
        };
        let keys = names.iter().map(key).collect();
        Self { folder, keys }
    }

    /// The file of one's private key.
    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Has a map signed by these, beside its file.
    #[track_caller]
    pub(crate) fn sign(&self, map: &Path, names: &[&str]) {
        for name in names {
            let done = run(&["map", "sign", text(map), "--key", text(&self.key(name))]);
            assert_eq!(done.code, 0, "{done:?}");
        }
    }

    /// The line of a configuration that names these as signers.
    pub(crate) fn config(&self, names: &[&str]) -> String {
        let keys = self.keys.iter().filter(|(name, _)| names.contains(&&**name));
        let keys: Vec<&str> = keys.map(|(_, vkey)| vkey.as_str()).collect();
        format!("map_note = \"map.note\"\nmap_signers = {keys:?}\n")
    }
}

/// The next map after one: its version, its predecessor, and whatever `edit` makes of the rest.
pub(crate) fn next(before: &str, edit: impl FnOnce(String) -> String) -> String {
    let version = version(before);
    let digest = digest(before);
    let lines = before.lines().filter(|line| !line.starts_with("predecessor"));
    let lines = lines.map(|line| match line.strip_prefix("version = ") {
        Some(_) => format!("version = {}\npredecessor = \"{digest}\"", version + 1),
        None => line.to_owned(),
    });
    edit(lines.collect::<Vec<_>>().join("\n") + "\n")
}

/// The version of a map.
pub(crate) fn version(map: &str) -> u64 {
    let line = map.lines().find_map(|line| line.strip_prefix("version = "));
    line.and_then(|number| number.parse().ok()).expect("a version")
}

/// The digest of a map as maps write it.
pub(crate) fn digest(map: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let bytes = Sha256::digest(map);
    format!("sha256:{}", hex::encode(bytes))
}

/// Applies a map whose signatures lie beside it.
pub(crate) fn apply(url: &str, map: &Path, expect_epoch: u64) -> Finished {
    let expect = expect_epoch.to_string();
    run(&["map", "apply", text(map), "--gateway", url, "--expect-epoch", &expect])
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// Two regions of the sample map, in which messages of Russians may be copied to Germany if `clause`.
pub(crate) fn two_regions(clause: bool) -> Options {
    let usual = Options::default();
    let mut map = usual.map.clone();
    if clause {
        map.push_str(
            "\n[[clauses]]\nid = \"ru-de-mail\"\nfrom = \"RU\"\nto = \"DE\"\n\
             collections = [\"messages\"]\nlegal_basis = \"INVENTED FOR THE EXAMPLE\"\n\
             importer = \"INVENTED FOR THE EXAMPLE\"\nreference = \"INVENTED FOR THE EXAMPLE\"\n\
             not_before = 2020-01-01\nexpires = 2100-01-01\n",
        );
    }
    Options { regions: vec!["eu-fra", "ru-msk"], map, ..usual }
}
