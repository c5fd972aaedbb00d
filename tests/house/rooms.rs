//! Fails when a file imports against the order of its crate's rooms, or in a circle. A room is a
//! folder or a file right below `src`; `walls/CRATE.toml` lists the rooms from the top down, and
//! the imports that still break the order. That list may only shrink: an import in it that is not
//! there any more, or breaks nothing, fails too.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

use std::collections::BTreeSet;

use crate::imports::{Imports, Modules, imports, modules, reached};
use crate::walls::{Wall, source, walls};

/// The room of a module.
fn room(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

/// What breaks the order of `rooms` (none: only circles do), but for the imports in `except`.
fn check(modules: &Modules, rooms: &[String], except: &[String]) -> Vec<String> {
    let mut imports: Imports = imports(modules);
    for (module, imported) in &mut imports {
        imported.retain(|target| !except.contains(&format!("{module} > {target}")));
    }
    let mut found = Vec::new();
    let place = |module: &str| rooms.iter().position(|own| own == room(module));
    for (module, imported) in imports.iter().filter(|(module, _)| !module.is_empty()) {
        if place(module).is_none() && !rooms.is_empty() {
            found.push(format!("{module} lies in no room of the list"));
        }
        for target in imported.iter().filter(|target| place(target) < place(module)) {
            found.push(format!("{module} > {target}: an import of a higher room"));
        }
    }
    let gone = rooms.iter().filter(|own| !modules.keys().any(|module| room(module) == **own));
    found.extend(gone.map(|room| format!("{room} is in the list and has no file")));
    let mut seen = BTreeSet::new();
    for module in imports.keys().filter(|module| !module.is_empty()) {
        let below = reached(&imports, module);
        if below.contains(module) && !seen.contains(module) {
            let back = |other: &&String| reached(&imports, other).contains(module);
            let circle: Vec<String> = below.iter().filter(back).cloned().collect();
            found.push(format!("a circle of imports: {}", circle.join(", ")));
            seen.extend(circle);
        }
    }
    found
}

/// The imports of `except` without which `check` finds nothing more.
fn not_needed(modules: &Modules, wall: &Wall) -> Vec<String> {
    let needed = |at: usize| {
        let mut others = wall.except.clone();
        others.remove(at);
        check(modules, &wall.rooms, &others) != check(modules, &wall.rooms, &wall.except)
    };
    (0..wall.except.len()).filter(|at| !needed(*at)).map(|at| wall.except[at].clone()).collect()
}

#[test]
fn no_import_breaks_the_order_of_rooms() {
    let mut broken = Vec::new();
    for (name, wall) in walls() {
        let modules = modules(&source(&name));
        assert!(modules.contains_key(""), "the sources of {name} were not found");
        let found = check(&modules, &wall.rooms, &wall.except);
        broken.extend(found.iter().map(|found| format!("{name}: {found}")));
        let left_over = not_needed(&modules, &wall);
        broken.extend(left_over.iter().map(|import| format!("{name}: not needed: {import}")));
    }
    assert!(broken.is_empty(), "{} imports are wrong:\n{}", broken.len(), broken.join("\n"));
}

/// Modules of the given code.
fn made(files: &[(&str, &str)]) -> Modules {
    files.iter().map(|(path, text)| ((*path).to_owned(), crate::imports::code(text))).collect()
}

#[test]
fn an_import_that_breaks_the_order_is_found() {
    let files = [
        ("", "pub use crate::low::b::B; mod high; mod low;"),
        ("high", "pub(crate) use self::c::C; use std::io; use crate::low::{a::A, b};"),
        ("high::c", "// use crate::high;\nfn c() { $crate::low::b::x(); }"),
        ("low::a", "use crate::{B, low::{b::{self, X as Y}}};"),
        ("low::b", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::high::C;\n}"),
    ];
    let rooms = ["high".to_owned(), "low".to_owned()];
    assert_eq!(check(&made(&files), &rooms, &[]), Vec::<String>::new());
    let with = |path: &str, text: &str| {
        let mut modules = made(&files);
        modules.insert(path.to_owned(), text.to_owned());
        check(&modules, &rooms, &[])
    };
    let up = ["low::b > high::c: an import of a higher room"];
    assert_eq!(with("low::b", "use crate::high::{C};"), up);
    assert_eq!(with("low::b", "fn f() -> super::super::high::C {}"), up);
    assert_eq!(with("low::b", "fn f() -> crate::high::c::C {}"), up);
    assert_eq!(with("low::b", "use super::a;"), ["a circle of imports: low::a, low::b"]);
    assert_eq!(with("new", "use crate::B;"), ["new lies in no room of the list"]);
    let more = [rooms.as_slice(), &["old".to_owned()]].concat();
    assert_eq!(check(&made(&files), &more, &[]), ["old is in the list and has no file"]);

    let mut modules = made(&files);
    modules.insert("low::b".to_owned(), "use crate::high::C;".to_owned());
    let except = vec!["low::b > high::c".to_owned(), "low::b > low::a".to_owned()];
    assert_eq!(check(&modules, &rooms, &except), Vec::<String>::new());
    let wall = Wall { rooms: rooms.to_vec(), except, ..Wall::default() };
    assert_eq!(not_needed(&modules, &wall), ["low::b > low::a"]);
}
