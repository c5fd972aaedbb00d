//! Fails when a crate depends on what `walls/CRATE.toml` does not allow: on a crate of ours that is
//! not in `imports`, or on one of `never-below`, however deep. A crate without such a file may not
//! exist. Which external crate has its only home in which crate of ours stands in `deny.toml`.

#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test that goes astray may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::root;

/// What one crate may import.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Wall {
    /// The crates of ours that it may depend on, also in its tests.
    pub(crate) imports: Vec<String>,
    /// The crates that it may not depend on, however deep, outside of its tests.
    #[serde(default)]
    pub(crate) never_below: Vec<String>,
    /// Its rooms from the top down.
    #[serde(default)]
    pub(crate) rooms: Vec<String>,
}

/// The wall of each crate.
pub(crate) fn walls() -> BTreeMap<String, Wall> {
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a wall is text");
        let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        (name, toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    crate::files(&root().join("tests/house/walls")).into_iter().map(read).collect()
}

/// The folder with the sources of a crate.
pub(crate) fn source(name: &str) -> PathBuf {
    let package = if name == "bailiwick" { root() } else { root().join("crates").join(name) };
    package.join("src")
}

fn metadata() -> Value {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    serde_json::from_slice(&cargo.stdout).expect("JSON")
}

fn list<'a>(of: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    of[name].as_array().into_iter().flatten()
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_default()
}

/// What the dependencies in `metadata` break.
fn check(metadata: &Value, walls: &BTreeMap<String, Wall>) -> Vec<String> {
    let names: BTreeMap<&str, &str> = list(metadata, "packages")
        .map(|package| (text(package, "id"), text(package, "name")))
        .collect();
    // What each package rests on outside of its tests.
    let mut below: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for node in list(&metadata["resolve"], "nodes") {
        let normal =
            |dependency: &&Value| list(dependency, "dep_kinds").any(|k| k["kind"].is_null());
        let on =
            list(node, "deps").filter(normal).filter_map(|d| names.get(text(d, "pkg")).copied());
        below.entry(names[text(node, "id")]).or_default().extend(on);
    }
    let members = list(metadata, "workspace_members").filter_map(Value::as_str);
    let members: BTreeSet<&str> = members.map(|id| names[id]).collect();
    let mut broken = Vec::new();
    let known: BTreeSet<&str> = walls.keys().map(String::as_str).collect();
    for name in members.symmetric_difference(&known) {
        broken.push(format!("{name}: a crate and a file in walls, or neither"));
    }
    for package in list(metadata, "packages") {
        let name = text(package, "name");
        let Some(wall) = walls.get(name).filter(|_| members.contains(name)) else { continue };
        // By the manifest: of each kind, under whatever name.
        let ours =
            list(package, "dependencies").map(|d| text(d, "name")).filter(|d| members.contains(d));
        let foreign = ours.filter(|own| !wall.imports.iter().any(|import| import == own));
        broken.extend(foreign.map(|import| format!("{name} may not import {import}")));
        for never in &wall.never_below {
            if let Some(path) = path(&below, name, never) {
                broken.push(format!("{path}: may not be below {name}"));
            }
        }
    }
    broken
}

/// How `from` comes to rest on `to`, if it does.
fn path(below: &BTreeMap<&str, BTreeSet<&str>>, from: &str, to: &str) -> Option<String> {
    let (mut seen, mut next) = (BTreeSet::from([from]), vec![vec![from]]);
    while let Some(path) = next.pop() {
        for on in path.last().and_then(|last| below.get(last)).into_iter().flatten() {
            let longer = [path.as_slice(), &[*on]].concat();
            if *on == to {
                return Some(longer.join(" > "));
            }
            if seen.insert(on) {
                next.push(longer);
            }
        }
    }
    None
}

#[test]
fn no_dependency_breaks_a_wall() {
    let metadata = metadata();
    assert!(list(&metadata, "packages").count() > 100, "the dependencies were not read");
    let broken = check(&metadata, &walls());
    assert!(broken.is_empty(), "{} walls are broken:\n{}", broken.len(), broken.join("\n"));
}

/// The gateway reaches no store by what the files allow; `deny.toml` gives the stores one home.
#[test]
fn the_gateway_may_reach_no_store() {
    let walls = walls();
    let below = walls.iter().map(|(name, wall)| {
        (name.as_str(), wall.imports.iter().map(String::as_str).collect::<BTreeSet<_>>())
    });
    let below: BTreeMap<&str, BTreeSet<&str>> = below.collect();
    assert_eq!(path(&below, "gateway", "engine"), None);
    assert_eq!(path(&below, "shard", "engine").as_deref(), Some("shard > engine"));
    for name in ["gateway", "client", "audit", "link"] {
        for store in ["sled", "fjall", "tokio-postgres"] {
            assert!(walls[name].never_below.iter().any(|never| never == store), "{name}: {store}");
        }
    }
}

#[test]
fn a_dependency_that_breaks_a_wall_is_found() {
    let (true_metadata, walls) = (metadata(), walls());
    let gateway = list(&true_metadata, "packages").position(|p| text(p, "name") == "gateway");
    let gateway = gateway.expect("there is a gateway");
    for kind in [Value::Null, json!("dev"), json!("build")] {
        let mut changed = true_metadata.clone();
        let dependencies = changed["packages"][gateway]["dependencies"].as_array_mut();
        let dependency = json!({ "name": "engine", "kind": kind, "rename": "store" });
        dependencies.expect("dependencies").push(dependency);
        assert_eq!(check(&changed, &walls), ["gateway may not import engine"]);
    }
    // A store below a crate that the gateway rests on.
    let id = |name: &str| {
        let package = list(&true_metadata, "packages").find(|p| text(p, "name") == name);
        package.map(|package| package["id"].clone()).expect("the package")
    };
    let mut changed = true_metadata.clone();
    let nodes = changed["resolve"]["nodes"].as_array_mut().expect("nodes");
    let node = nodes.iter_mut().find(|node| node["id"] == id("tower")).expect("tower");
    let dependency = json!({ "pkg": id("sled"), "dep_kinds": [{ "kind": null }] });
    node["deps"].as_array_mut().expect("dependencies").push(dependency);
    let found = check(&changed, &walls);
    let gateways = found.iter().filter(|found| found.ends_with("sled: may not be below gateway"));
    assert_eq!(gateways.count(), 1, "{found:?}");

    let mut fewer = walls;
    fewer.remove("atlas");
    let found = check(&true_metadata, &fewer);
    assert_eq!(found, ["atlas: a crate and a file in walls, or neither"]);
}

/// The workspace's lints hold for every crate but the generated one.
#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for name in walls().into_keys().filter(|name| name != "wire") {
        let manifest = source(&name).with_file_name("Cargo.toml");
        let manifest = std::fs::read_to_string(manifest).expect("a manifest is text");
        assert!(manifest.contains("\n[lints]\nworkspace = true\n"), "{name}");
    }
}
