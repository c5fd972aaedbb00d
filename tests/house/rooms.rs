//! Fails when a file imports against the order of its crate's rooms, or in a circle. A room is a
//! folder or a file right below `src`; `walls/CRATE.toml` lists the rooms from the top down.

use std::collections::BTreeSet;

use crate::imports::{Modules, imports, modules, reached};
use crate::walls::{source, walls};

/// The room of a module.
fn room(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

/// What breaks the order of `rooms`. Without any, only circles do.
fn check(modules: &Modules, rooms: &[String]) -> Vec<String> {
    let imports = imports(modules);
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

#[test]
fn no_import_breaks_the_order_of_rooms() {
    let mut broken = Vec::new();
    for (name, wall) in walls() {
        let modules = modules(&source(&name));
        assert!(modules.contains_key(""), "the sources of {name} were not found");
        let found = check(&modules, &wall.rooms);
        broken.extend(found.iter().map(|found| format!("{name}: {found}")));
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
    assert_eq!(check(&made(&files), &rooms), Vec::<String>::new());
    let with = |path: &str, text: &str| {
        let mut modules = made(&files);
        modules.insert(path.to_owned(), text.to_owned());
        check(&modules, &rooms)
    };
    let up = ["low::b > high::c: an import of a higher room"];
    assert_eq!(with("low::b", "use crate::high::{C};"), up);
    assert_eq!(with("low::b", "fn f() -> super::super::high::C {}"), up);
    assert_eq!(with("low::b", "fn f() -> crate::high::c::C {}"), up);
    assert_eq!(with("low::b", "use super::a;"), ["a circle of imports: low::a, low::b"]);
    assert_eq!(with("new", "use crate::B;"), ["new lies in no room of the list"]);
    let more = [rooms.as_slice(), &["old".to_owned()]].concat();
    assert_eq!(check(&made(&files), &more), ["old is in the list and has no file"]);
}
