//! Fails when a manifest or a line of code breaks a wall of the house (ARCHITECTURE.md).
//!
//! `walls/rooms.rs` says who may depend on whom, `walls/bans.rs` what may be said only where. A
//! crate that is not in the table fails. For every rule a test below shows that breaking it is
//! found: by a made-up manifest, or by the example that stands beside the ban.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

mod bans;
mod manifest;
mod paths;
mod rooms;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::Table;

use bans::{BANS, Where};
use rooms::{ROOMS, SOLE_HOMES};

fn read_toml(path: &Path) -> Table {
    let text = std::fs::read_to_string(path).expect("a manifest can be read");
    text.parse().expect("a manifest is TOML")
}

/// The manifests of the root package and of every folder under `crates/`, by name.
fn manifests() -> BTreeMap<String, Table> {
    let root = crate::source::root();
    let mut found = BTreeMap::from([("bailiwick".to_owned(), read_toml(&root.join("Cargo.toml")))]);
    for entry in std::fs::read_dir(root.join("crates")).expect("there are crates") {
        let folder = entry.expect("a folder can be listed").path();
        let name = folder.file_name().expect("a folder has a name").to_string_lossy().into_owned();
        found.insert(name, read_toml(&folder.join("Cargo.toml")));
    }
    found
}

/// The Rust files of one package's `src`, without its test modules.
fn sources(package: &str) -> Vec<(String, Vec<crate::source::Token>)> {
    let root = crate::source::root();
    let base = if package == "bailiwick" { root } else { root.join("crates").join(package) };
    let (mut read, mut tests) = (Vec::new(), BTreeSet::new());
    for path in crate::source::files(&base.join("src")) {
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source file can be read");
        let (tokens, elsewhere) = crate::source::without_tests(&crate::source::tokens(&text));
        let stem = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let parent = path.parent().expect("a file lies in a folder").to_path_buf();
        let is_root = ["lib", "main", "mod"].contains(&stem.as_str());
        let beside = if is_root { parent } else { parent.join(stem) };
        for module in elsewhere {
            tests.insert(beside.join(format!("{module}.rs")));
            tests.insert(beside.join(module).join("mod.rs"));
        }
        read.push((path, tokens));
    }
    read.retain(|(path, _)| !tests.contains(path));
    read.into_iter().map(|(path, tokens)| (crate::source::relative(&path), tokens)).collect()
}

#[track_caller]
fn expect_none(broken: &[String]) {
    assert!(broken.is_empty(), "{} walls are broken:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn no_manifest_breaks_a_wall() {
    let manifests = manifests();
    let lock = manifest::lock(&read_toml(&crate::source::root().join("Cargo.lock")));
    assert!(lock.contains_key("sled") && lock.contains_key("tonic"), "the lock file was not read");
    let mut broken = Vec::new();
    for (name, own) in &manifests {
        broken.extend(manifest::check(name, own));
        broken.extend(manifest::check_below(name, &manifests, &lock));
    }
    expect_none(&broken);
}

#[test]
fn no_line_breaks_a_wall() {
    let (mut broken, mut files) = (Vec::new(), 0);
    for name in manifests().keys() {
        for (place, tokens) in sources(name) {
            files += 1;
            broken.extend(paths::check(&place, &tokens));
        }
    }
    assert!(files > 10, "only {files} files were found");
    expect_none(&broken);
}

#[test]
fn the_table_itself_keeps_the_gateway_from_every_store() {
    let (mut below, mut next) = (BTreeSet::new(), vec!["gateway"]);
    while let Some(name) = next.pop() {
        let room = ROOMS.iter().find(|room| room.name == name).expect("every room is in the table");
        next.extend(room.may_import.iter().filter(|import| below.insert(**import)));
    }
    assert!(!below.contains("engine") && !below.contains("shard"), "{below:?}");
    for external in ["sled", "fjall", "tokio-postgres"] {
        assert!(SOLE_HOMES.contains(&(external, &["engine"])), "{external}");
    }
}

/// A manifest of `name` with one more line, which stands in the section `section`.
fn made_up(name: &str, section: &str, line: &str) -> Vec<String> {
    let text = format!("package.name = \"{name}\"\nlints.workspace = true\n[{section}]\n{line}\n");
    manifest::check(name, &text.parse().expect("the made-up manifest is TOML"))
}

#[test]
fn a_manifest_that_breaks_a_wall_is_found() {
    let names: Vec<&str> = ROOMS.iter().map(|room| room.name).collect();
    for room in ROOMS {
        for import in &names {
            for section in ["dependencies", "dev-dependencies", "target.'cfg(unix)'.dependencies"] {
                let found = made_up(room.name, section, &format!("{import}.workspace = true"));
                let allowed = room.may_import.contains(import);
                assert_eq!(found.is_empty(), allowed, "{} [{section}] {import}", room.name);
            }
        }
    }
    for (external, homes) in SOLE_HOMES {
        for name in &names {
            let found = made_up(name, "dependencies", &format!("{external}.workspace = true"));
            assert_eq!(found.is_empty(), homes.contains(name), "{name} > {external}");
        }
    }
    let other_name = "x = { package = \"engine\", workspace = true }";
    assert!(!made_up("gateway", "build-dependencies", other_name).is_empty());
    assert!(!made_up("gateway", "dependencies", "bytes = \"1\"").is_empty());
    assert!(!made_up("gateway", "dependencies", "bytes = { path = \"../bytes\" }").is_empty());
    assert!(!made_up("annex", "dependencies", "").is_empty());
    assert!(made_up("gateway", "dependencies", "bytes.workspace = true").is_empty());
    let no_lints = "package.name = \"atlas\"".parse().expect("TOML");
    assert_eq!(manifest::check("atlas", &no_lints).len(), 1);
    assert_eq!(manifest::check("terms", &no_lints).len(), 2);
}

#[test]
fn a_store_below_the_gateway_is_found_however_deep() {
    let manifests = |line: &str| {
        let text =
            format!("[dependencies]\n{line}.workspace = true\n[dev-dependencies]\nredb = 1\n");
        BTreeMap::from([("gateway".to_owned(), text.parse().expect("TOML"))])
    };
    let lock = "[[package]]\nname = \"cache\"\ndependencies = [\"middle 0.1.0\", \"bytes\"]\n\
                [[package]]\nname = \"middle\"\ndependencies = [\"sled\"]\n";
    let lock = manifest::lock(&lock.parse().expect("TOML"));
    let found = manifest::check_below("gateway", &manifests("cache"), &lock);
    assert_eq!(found, ["gateway > cache > middle > sled: may not be below gateway"]);
    assert!(manifest::check_below("gateway", &manifests("bytes"), &lock).is_empty());
}

#[test]
fn a_line_that_breaks_a_wall_is_found() {
    for ban in BANS {
        let tokens = crate::source::tokens(ban.example);
        let paths = paths::paths(&tokens);
        assert!(!paths::broken(ban, &tokens, &paths).is_empty(), "{ban:?}: {paths:?}");
        let (inside, outside) = match ban.holds {
            Where::Inside(places) => (places[0], "src/"),
            Where::InsideBut(place, but) => {
                assert!(but.iter().all(|but| !paths::holds(ban, but)), "{ban:?}");
                (place, "src/")
            }
            Where::Outside(homes) => ("crates/none/src/", homes.first().copied().unwrap_or("")),
        };
        let found = paths::check(&format!("{inside}x.rs"), &tokens);
        assert!(found.iter().any(|line| line.ends_with(ban.why)), "{ban:?} at {inside}: {found:?}");
        assert!(outside.is_empty() || !paths::holds(ban, outside), "{ban:?} at {outside}");
        assert!(outside.is_empty() || !paths::holds(ban, &format!("{outside}x.rs")), "{ban:?}");
    }
}

#[test]
fn what_only_looks_like_a_breach_is_not_one() {
    let check = |place: &str, text: &str| {
        let (tokens, _) = crate::source::without_tests(&crate::source::tokens(text));
        paths::check(place, &tokens)
    };
    let clean = [
        ("crates/gateway/src/a.rs", "// use std::fs;\nconst A: &str = \"std::fs::File\";"),
        ("crates/gateway/src/a.rs", "#[cfg(test)] mod tests { use std::fs; }"),
        ("crates/gateway/src/a.rs", "use tonic::Status; fn a() { Status::internal(x); }"),
        ("crates/shard/src/a.rs", "use tonic::Status; fn a() -> Result<(), Status> { b.ok() }"),
        ("crates/atlas/src/a.rs", "use std::time::Duration; use super::*;"),
        ("crates/evidence/src/a.rs", "use std::net::IpAddr;"),
        ("crates/wire/src/a.rs", "pub mod v1 { tonic::include_proto!(\"bailiwick.v1\"); }"),
        ("crates/wire/src/bounded.rs", "pub fn a() {}"),
        ("src/commands/a.rs", "println!(); use std::env;"),
    ];
    for (place, text) in clean {
        assert_eq!(check(place, text), Vec::<String>::new(), "{text}");
    }
    let found =
        check("crates/gateway/src/a.rs", "\nuse std::{\n    io,\n    fs as f,\n};\n\nf::read(x);");
    let lines: Vec<&str> = found.iter().filter_map(|line| line.split(':').nth(1)).collect();
    assert_eq!(lines, ["4", "7"]);
}

#[test]
fn code_is_read_without_comments_strings_and_tests() {
    crate::source::check_reading();
}
