//! Fails when a file is untidy: too long, unfinished, tied to one machine, or promising what no
//! program can. The rules stand in `tidy/rules.rs`, each with files that break it.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

mod rules;

use std::collections::BTreeSet;

use rules::{DENIALS, LINES_MAX, LONG, RULES, is_text};
use toml::Table;

/// What the file at `place` breaks, as `place:line: what`.
fn check(place: &str, text: &str) -> Vec<String> {
    let rules = RULES.iter().filter(|rule| (rule.applies)(place));
    let found = rules.flat_map(|rule| (rule.find)(text));
    found.map(|(line, what)| format!("{place}:{line}: {what}")).collect()
}

/// Every text of the repository that a person wrote, with its place.
fn texts() -> Vec<(String, String)> {
    let places = crate::source::files(&crate::source::root()).into_iter().map(|path| {
        let place = crate::source::relative(&path);
        (place, path)
    });
    places
        .filter(|(place, _)| is_text(place))
        .map(|(place, path)| (place, std::fs::read_to_string(path).expect("a text is UTF-8")))
        .collect()
}

#[test]
fn every_file_is_tidy() {
    let texts = texts();
    assert!(texts.len() > 30, "only {} files were found", texts.len());
    let found: Vec<String> = texts.iter().flat_map(|(place, text)| check(place, text)).collect();
    assert!(found.is_empty(), "{} lines are untidy:\n{}", found.len(), found.join("\n"));
}

#[test]
fn no_exception_is_left_over() {
    let texts = texts();
    for (place, why) in LONG {
        assert!(why.len() > 10, "{place}: give the reason");
        let text = texts.iter().find(|(own, _)| own == place);
        assert!(text.is_some_and(|(_, text)| text.lines().count() > LINES_MAX), "{place}");
    }
    for (place, part) in DENIALS {
        let text = texts.iter().find(|(own, _)| own == place);
        assert!(text.is_some_and(|(_, text)| text.contains(part)), "{place}: {part}");
    }
}

#[test]
fn every_rule_finds_what_breaks_it() {
    for (number, rule) in RULES.iter().enumerate() {
        let (place, texts) = rule.broken;
        assert!((rule.applies)(place), "rule {number} does not apply to {place}");
        for text in texts {
            assert!(!(rule.find)(text).is_empty(), "rule {number} passes {text:?}");
            assert!(!check(place, text).is_empty(), "rule {number} passes {text:?}");
        }
        assert_eq!((rule.find)(rule.kept), [], "rule {number}");
    }
}

#[test]
fn a_finding_names_file_and_line() {
    let text = concat!("//! A.\n\n// TO", "DO\n");
    assert_eq!(check("src/a.rs", text), ["src/a.rs:3: work that is not done"]);
}

/// The dependencies that the root manifest names for all and none of `manifests` uses.
fn unused(root: &Table, manifests: &[Table]) -> Vec<String> {
    let named = root["workspace"]["dependencies"].as_table().expect("a table of dependencies");
    let mut used = BTreeSet::new();
    for manifest in manifests.iter().chain([root]) {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let own = manifest.get(section).and_then(toml::Value::as_table);
            used.extend(own.into_iter().flat_map(Table::keys).cloned());
        }
    }
    named.keys().filter(|name| !used.contains(*name)).cloned().collect()
}

#[test]
fn every_dependency_of_the_workspace_is_used() {
    let is_manifest = |place: &str| place.starts_with("crates/") && place.ends_with("/Cargo.toml");
    let read = |text: &str| text.parse::<Table>().expect("a manifest is TOML");
    let texts = texts();
    let (_, root) = texts.iter().find(|(place, _)| place == "Cargo.toml").expect("a manifest");
    let manifests = texts.iter().filter(|(place, _)| is_manifest(place));
    let manifests: Vec<Table> = manifests.map(|(_, text)| read(text)).collect();
    assert_eq!(unused(&read(root), &manifests), Vec::<String>::new());
}

#[test]
fn a_dependency_that_nobody_uses_is_found() {
    let parse = |text: &str| text.parse::<Table>().expect("TOML");
    let root = parse(
        "[workspace.dependencies]\na = \"1\"\nb = \"1\"\nc = \"1\"\n[dev-dependencies]\nc.workspace = true",
    );
    let crates = [parse("[build-dependencies]\na.workspace = true")];
    assert_eq!(unused(&root, &crates), ["b"]);
}

#[test]
fn code_is_read_without_comments_and_strings() {
    crate::source::check_reading();
}
