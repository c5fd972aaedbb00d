//! Checks manifests against the table of rooms, and what lies below each by the lock file.

use std::collections::{BTreeMap, BTreeSet};

use toml::Table;

use super::rooms::{ROOMS, Room, SOLE_HOMES};

/// The tables of a manifest that bring a crate in.
const SECTIONS: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];
/// Generated code does not take the workspace's lints.
const WITHOUT_LINTS: &[&str] = &["wire"];

/// The row of the table for the package `name`.
fn room(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}

fn table<'a>(of: &'a Table, key: &str) -> Option<&'a Table> {
    of.get(key).and_then(toml::Value::as_table)
}

/// Every dependency of a manifest: its section, its name in the registry, its own table if it
/// has one. Those of `[target.*]` are included.
fn dependencies(manifest: &Table) -> Vec<(&'static str, String, Option<&Table>)> {
    let targets = table(manifest, "target").into_iter().flat_map(Table::values);
    let holders = targets.filter_map(toml::Value::as_table).chain([manifest]);
    let mut found = Vec::new();
    for holder in holders {
        for section in SECTIONS {
            for (key, value) in table(holder, section).into_iter().flatten() {
                let own = value.as_table();
                let package = own.and_then(|own| own.get("package")).and_then(|name| name.as_str());
                found.push((*section, package.unwrap_or(key).to_owned(), own));
            }
        }
    }
    found
}

/// What one manifest breaks. `name` is the folder's under `crates/`, or `bailiwick`.
pub(crate) fn check(name: &str, manifest: &Table) -> Vec<String> {
    let mut broken = Vec::new();
    let package = table(manifest, "package").and_then(|p| p.get("name")).and_then(|n| n.as_str());
    if package != Some(name) {
        broken.push(format!("{name}: a package has the name of its folder"));
    }
    let Some(room) = room(name) else {
        broken.push(format!("{name}: not in the table of crates, so it may not exist"));
        return broken;
    };
    let lints = table(manifest, "lints").and_then(|lints| lints.get("workspace"));
    if !WITHOUT_LINTS.contains(&name) && lints.and_then(toml::Value::as_bool) != Some(true) {
        broken.push(format!("{name}: takes `[lints] workspace = true`"));
    }
    for (section, dependency, own) in dependencies(manifest) {
        let at = format!("{name} [{section}] {dependency}");
        if own.and_then(|own| own.get("workspace")).and_then(toml::Value::as_bool) != Some(true) {
            broken.push(format!("{at}: versions and paths stand in the root manifest only"));
        }
        let ours = ROOMS.iter().any(|room| room.name == dependency);
        if ours && !room.may_import.contains(&dependency.as_str()) {
            broken.push(format!("{at}: {name} may import only {:?}", room.may_import));
        }
        let home = SOLE_HOMES.iter().find(|(external, _)| *external == dependency);
        if let Some((_, homes)) = home.filter(|(_, homes)| !homes.contains(&name)) {
            broken.push(format!("{at}: its home is {homes:?}"));
        }
    }
    broken
}

/// The packages of a lock file and what each rests on. Where two versions share a name they are
/// taken together, and features are not told apart: what is below is never less than it is.
pub(crate) fn lock(file: &Table) -> BTreeMap<String, BTreeSet<String>> {
    let mut below: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in file.get("package").and_then(toml::Value::as_array).into_iter().flatten() {
        let Some(name) = package.get("name").and_then(toml::Value::as_str) else { continue };
        let entry = below.entry(name.to_owned()).or_default();
        let listed = package.get("dependencies").and_then(toml::Value::as_array);
        for dependency in listed.into_iter().flatten().filter_map(toml::Value::as_str) {
            entry.extend(dependency.split(' ').next().map(str::to_owned));
        }
    }
    below
}

/// What lies below the crate `name` and may not. The lock file does not tell a crate's tests from
/// the crate, so our own crates' dependencies are those of their manifests.
pub(crate) fn check_below(
    name: &str,
    manifests: &BTreeMap<String, Table>,
    lock: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<String> {
    let Some(room) = room(name) else { return Vec::new() };
    let mut path: BTreeMap<String, String> = BTreeMap::from([(name.to_owned(), name.to_owned())]);
    let mut next = vec![name.to_owned()];
    while let Some(package) = next.pop() {
        let rests_on: Vec<String> = match manifests.get(&package) {
            Some(manifest) => dependencies(manifest)
                .into_iter()
                .filter(|(section, ..)| *section == "dependencies")
                .map(|(_, dependency, _)| dependency)
                .collect(),
            None => lock.get(&package).into_iter().flatten().cloned().collect(),
        };
        for dependency in rests_on {
            if !path.contains_key(&dependency) {
                path.insert(dependency.clone(), format!("{} > {dependency}", path[&package]));
                next.push(dependency);
            }
        }
    }
    let never = room.never_below.iter().filter_map(|never| path.get(*never));
    never.map(|path| format!("{path}: may not be below {name}")).collect()
}
