//! Reads which files of a crate import which: every path that begins with `crate::`, `super::` or
//! `self::`, with the trees of `use` expanded and re-exports followed. It scans text and parses no
//! Rust; comments, and the test module with which a file ends, are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The code of each module, by its path below the crate; the root's path is empty.
pub(crate) type Modules = BTreeMap<String, String>;
/// The modules that each module imports.
pub(crate) type Imports = BTreeMap<String, BTreeSet<String>>;

/// The modules of the crate whose sources lie in `src`, without those for tests.
pub(crate) fn modules(src: &Path) -> Modules {
    let mut found = Modules::new();
    for path in crate::files(src) {
        let below = path.strip_prefix(src).expect("it lies below").with_extension("");
        let mut segments: Vec<&str> = below.iter().filter_map(|part| part.to_str()).collect();
        if segments.last().is_some_and(|last| ["lib", "main", "mod"].contains(last)) {
            segments.pop();
        }
        if path.extension().is_some_and(|end| end == "rs") && !segments.contains(&"tests") {
            let text = std::fs::read_to_string(&path).expect("a source file is text");
            found.insert(segments.join("::"), code(&text));
        }
    }
    found
}

/// `text` without comments, and without the test module with which it ends.
pub(crate) fn code(text: &str) -> String {
    let tests = text.match_indices("#[cfg(test)]").find(|(at, mark)| {
        let next = text[at + mark.len()..].trim_start().lines().next().unwrap_or("");
        next.contains("mod ") && next.ends_with('{')
    });
    let lines = text[..tests.map_or(text.len(), |(at, _)| at)].lines();
    lines.flat_map(|line| [line.split("//").next().unwrap_or(""), "\n"]).collect()
}

/// Which module of `modules` imports which. The root is not an import: it re-exports.
pub(crate) fn imports(modules: &Modules) -> Imports {
    let exports = exports(modules);
    let mut found = Imports::new();
    for (module, code) in modules {
        let imported = found.entry(module.clone()).or_default();
        for start in ["crate::", "super::", "self::"] {
            for tree in trees(code, start) {
                for path in expand(tree) {
                    let path = absolute(module, &format!("{start}{path}"));
                    let mut target = longest(modules, &path);
                    let rest = path.get(target.len()..).unwrap_or("").trim_start_matches("::");
                    let name = rest.split("::").next().unwrap_or("").to_owned();
                    if let Some(origin) = exports.get(&(target.clone(), name)) {
                        target.clone_from(origin);
                    }
                    if target != *module && !target.is_empty() {
                        imported.insert(target);
                    }
                }
            }
        }
    }
    found
}

/// From which module each name comes that a module re-exports.
fn exports(modules: &Modules) -> BTreeMap<(String, String), String> {
    let mut found = BTreeMap::new();
    for (module, code) in modules {
        for part in code.split("pub").skip(1) {
            let part = part.strip_prefix("(crate)").unwrap_or(part);
            let Some(tree) = part.strip_prefix(" use ").and_then(|rest| rest.split(';').next())
            else {
                continue;
            };
            for path in expand(tree) {
                let path = absolute(module, &path);
                let origin = longest(modules, &path);
                let name = path.rsplit("::").next().unwrap_or("").to_owned();
                if origin != *module {
                    found.insert((module.clone(), name), origin);
                }
            }
        }
    }
    found
}

/// `path` as it is seen from the root, when `module` says it.
fn absolute(module: &str, path: &str) -> String {
    let (mut base, mut rest) = (module, path);
    while let Some((first, after)) = rest.split_once("::") {
        base = match first {
            "crate" => "",
            "self" => base,
            "super" => base.rsplit_once("::").map_or("", |(above, _)| above),
            _ => break,
        };
        rest = after;
    }
    if base.is_empty() { rest.to_owned() } else { format!("{base}::{rest}") }
}

/// The module that `path` lies in or is.
fn longest(modules: &Modules, path: &str) -> String {
    let mut path = path;
    while !modules.contains_key(path) {
        path = path.rsplit_once("::").map_or("", |(above, _)| above);
        if path.is_empty() {
            break;
        }
    }
    path.to_owned()
}

/// What follows `start` in `code`, up to the end of the path or of its braces.
fn trees<'a>(code: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    let places = code.match_indices(start).filter(|(at, _)| {
        !code[..*at].ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c))
    });
    places.map(|(at, start)| {
        let (rest, mut depth) = (&code[at + start.len()..], 0_usize);
        let end = rest.find(|c: char| {
            let inside = depth > 0;
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            !(inside || c.is_alphanumeric() || "_:{".contains(c))
        });
        &rest[..end.unwrap_or(rest.len())]
    })
}

/// The paths of a tree: `a::{b, c::d as e}` has `a::b` and `a::c::d`.
fn expand(tree: &str) -> Vec<String> {
    let Some((before, inner)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or("").trim();
        return vec![path.trim_end_matches("::self").to_owned()];
    };
    let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
    let mut depth = 0_usize;
    let parts = inner.split(|c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    let parts = parts.map(str::trim).filter(|part| !part.is_empty());
    parts.flat_map(|part| expand(&format!("{}{part}", before.trim()))).collect()
}

/// The modules that `from` reaches by imports.
pub(crate) fn reached(imports: &Imports, from: &str) -> BTreeSet<String> {
    let (mut found, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(module) = next.pop() {
        let imported = imports.get(&module).into_iter().flatten();
        next.extend(imported.filter(|target| found.insert((*target).clone())).cloned());
    }
    found
}
