//! Fails when a file is untidy: too long, unfinished, tied to one machine, promising what no
//! program can, or of Rust without a line that says what it is for. Words that no file may hold are
//! written here in two halves, since this is a file, too.

/// Lines of a file of code.
const LINES_MAX: usize = 500;
/// Words that promise what no program can.
const CLAIMS: &[&str] = &[
    concat!("comp", "liant"),
    concat!("certi", "fied"),
    concat!("anony", "mous"),
    concat!("anony", "mised"),
    concat!("anony", "mized"),
];
/// Words for work that is not done.
const UNDONE: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
/// Folders of one machine.
const MACHINE: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/tm", "p/")];
/// Hosts that packages come from: the ordinary clients know them.
const HOSTS: &[&str] = &[
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("python", "hosted.org"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("deb.debian", ".org"),
    concat!("proxy.golang", ".org"),
];
/// Types and traits that one crate alone defines.
const HOMES: &[(&str, &str)] = &[
    ("Pii", "crates/terms/"),
    ("Clock", "crates/terms/"),
    ("Entropy", "crates/terms/"),
    ("Placement", "crates/atlas/"),
    ("Refusal", "crates/atlas/"),
];

fn is_code(place: &str) -> bool {
    [".rs", ".proto", ".py", ".sh"].iter().any(|end| place.ends_with(end))
        || [".ci/run", "tests/run"].contains(&place)
}

/// Everything that a person writes; data files and the licence are as they came, and golden files
/// are what a program wrote or must read, byte for byte.
fn is_text(place: &str) -> bool {
    const ENDS: &[&str] = &[
        ".md",
        ".toml",
        ".yaml",
        ".yml",
        ".service",
        ".json",
        ".html",
        ".css",
        ".js",
        "Dockerfile",
        ".gitignore",
        ".dockerignore",
    ];
    !place.contains("/golden/") && (is_code(place) || ENDS.iter().any(|end| place.ends_with(end)))
}

fn has_word(line: &str, words: &[&str]) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| words.contains(&word))
}

/// Whether a path of [`MACHINE`] starts in the line, rather than goes on.
fn names_machine(line: &str) -> bool {
    MACHINE.iter().any(|path| {
        line.match_indices(path).any(|(at, _)| {
            !line[..at].ends_with(|c: char| c.is_alphanumeric() || "-_.}*".contains(c))
        })
    })
}

/// Whether a line of Rust takes something out of the tests, or out of the sight of these.
fn hides(line: &str) -> bool {
    let line = line.trim_start();
    let attribute = line.starts_with("#[") || line.starts_with("#![");
    (attribute && has_word(line, &["ignore", "should_panic"]))
        || (line.starts_with("//")
            && line.contains("```")
            && has_word(line, &["ignore", "should_panic"]))
}

/// Whether a line of Rust outside of `home` defines a type or trait of that name.
fn defines(line: &str, name: &str) -> bool {
    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
    line.ends_with(['{', ';', '(', '<', '>'])
        && words.any(|word| ["struct", "enum", "trait", "type", "union"].contains(&word))
        && words.next() == Some(name)
}

/// Whether a line of `wire`'s root is code that was not generated.
fn by_hand(line: &str) -> bool {
    const KINDS: &[&str] = &["fn", "impl", "struct", "enum", "trait", "macro_rules"];
    let other = |file: &str| !["bounded;", "status_check;"].contains(&file);
    !line.starts_with("//")
        && (has_word(line, KINDS)
            || line.split_once("mod ").is_some_and(|(_, file)| file.ends_with(';') && other(file)))
}

/// What the file at `place` breaks, as `place:line: what`.
fn check(place: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut add = |line: usize, what: &str| found.push(format!("{place}:{line}: {what}"));
    let count = text.lines().count();
    if is_code(place) && count > LINES_MAX {
        add(count, "over 500 lines: split the file");
    }
    let rust = place.ends_with(".rs");
    if rust && !text.starts_with("//! ") {
        add(1, "starts with a `//!` line that says what the file is for");
    }
    if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
        add(count, "ends with one line feed");
    }
    let is_source = place.contains("src/");
    for (at, line) in text.split('\n').enumerate() {
        let mut when = |hit: bool, what: &str| {
            if hit {
                add(at + 1, what);
            }
        };
        when(has_word(line, UNDONE), "work that is not done");
        when(names_machine(line), "a path of one machine");
        when(HOSTS.iter().any(|host| line.contains(host)), "the host of a registry");
        when(has_word(&line.to_lowercase(), CLAIMS), "claims what no program can");
        when(line.ends_with([' ', '\t', '\r']), "space at the end");
        when(rust && line.contains('\t'), "a tab");
        when(rust && hides(line), "a test that does not run");
        when(
            rust && is_source && line.trim_start().starts_with("#[path"),
            "a module whose place in the crate does not show",
        );
        when(
            place == "crates/wire/src/lib.rs" && by_hand(line),
            "wire is generated code, and by hand `bounded` and `status_check`",
        );
        for (name, home) in HOMES {
            let outside = rust && is_source && !place.starts_with(home);
            when(outside && defines(line, name), "a type that has another home");
        }
    }
    found
}

#[test]
fn every_file_is_tidy() {
    let (mut files, mut found) = (0, Vec::new());
    for path in crate::files(&crate::root()) {
        let place = crate::relative(&path);
        if is_text(&place) {
            files += 1;
            found.extend(check(&place, &std::fs::read_to_string(path).expect("a text is UTF-8")));
        }
    }
    assert!(files > 100, "only {files} files were found");
    assert!(found.is_empty(), "{} lines are untidy:\n{}", found.len(), found.join("\n"));
}

#[test]
fn what_is_untidy_is_found() {
    let untidy = [
        ("a.py", "b\n".repeat(LINES_MAX + 1)),
        ("src/a.rs", "fn a() {}\n".to_owned()),
        ("tests/a.rs", String::new()),
        ("tests/a.rs", "//! A.\n#[test]\n#[ignore = \"slow\"]\nfn a() {}\n".to_owned()),
        ("tests/a.rs", "//! A.\n#[cfg_attr(windows, ignore)]\n".to_owned()),
        ("tests/a.rs", "//! A.\n    #[should_panic(expected = \"x\")]\n".to_owned()),
        ("src/a.rs", "//! A.\n/// ```ignore\n".to_owned()),
        ("src/a.rs", "//! A.\n#[path = \"b.rs\"]\nmod a;\n".to_owned()),
        ("src/a.rs", "//! A.\npub struct Pii<T>(T);\n".to_owned()),
        ("crates/link/src/a.rs", "//! A.\npub(crate) trait Clock: Send {\n".to_owned()),
        ("crates/shard/src/a.rs", "//! A.\npub enum Refusal {\n".to_owned()),
        ("crates/wire/src/lib.rs", "//! A.\npub fn a() {\n".to_owned()),
        ("crates/wire/src/lib.rs", "//! A.\nmod more;\n".to_owned()),
        ("src/a.rs", "//! A.\n\tfn a() {}\n".to_owned()),
        ("a.toml", concat!("# TO", "DO: b\n").to_owned()),
        ("a.md", concat!("cd /wo", "rk/a\n").to_owned()),
        ("a.md", concat!("\"/tm", "p/x\"\n").to_owned()),
        ("a.md", concat!("https://crates", ".io/crates/a\n").to_owned()),
        ("a.md", concat!("is GDPR-Comp", "liant.\n").to_owned()),
        ("a.md", "a \nb\n".to_owned()),
        ("a.md", "a\r\n".to_owned()),
        ("a.md", "a".to_owned()),
        ("a.md", "a\n\n".to_owned()),
    ];
    for (place, text) in untidy {
        assert!(
            is_text(place) && check(place, &text).len() == 1,
            "{place}: {:?}",
            check(place, &text)
        );
    }
    let tidy = [
        ("tests/a.rs", "//! A.\n// #[ignore]\nfn ignore(dbg: u8) { let todo = \"dbg!\"; }\n"),
        ("crates/terms/src/a.rs", "//! A.\npub struct Pii<T>(T);\npub trait Clock: Send {\n"),
        ("crates/gateway/src/a.rs", "//! A.\nstruct ClockSkew;\ntype Placements = u8;\n"),
        ("a.md", "the/work/of, https://a.example/home/, ${X}/tmp/, XXXX, pseudonymous\n"),
    ];
    for (place, text) in tidy {
        assert_eq!(check(place, text), Vec::<String>::new(), "{place}");
    }
    let text = concat!("//! A.\n\n// TO", "DO\n");
    assert_eq!(check("src/a.rs", text), ["src/a.rs:3: work that is not done"]);
}
