//! The rules of tidiness as data: to which files each applies, what it finds, and a file that
//! breaks it.
//!
//! Words that no file may hold are written here in two halves, since this is a file, too.

use crate::source::{closing, tokens};

/// What is wrong on which line.
pub(crate) type Found = Vec<(usize, String)>;

/// One rule.
pub(crate) struct Rule {
    /// Whether the file at this place must keep it.
    pub(crate) applies: fn(&str) -> bool,
    /// What in the text breaks it.
    pub(crate) find: fn(&str) -> Found,
    /// A place and texts that break it there.
    pub(crate) broken: (&'static str, &'static [&'static str]),
    /// A text that keeps it at the same place.
    pub(crate) kept: &'static str,
}

/// Files over [`LINES_MAX`], with the reason. A line that is not needed any more fails.
pub(crate) const LONG: &[(&str, &str)] = &[];

/// Lines that may hold one of [`CLAIMS`], since they say that we do not claim it. Each is given
/// by its file and a part of the line; one that is not needed any more fails.
pub(crate) const DENIALS: &[(&str, &str)] = &[];

/// Lines of a file of code.
pub(crate) const LINES_MAX: usize = 500;

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

fn is_rust(place: &str) -> bool {
    place.ends_with(".rs")
}

fn is_code(place: &str) -> bool {
    [".rs", ".proto", ".py", ".sh"].iter().any(|end| place.ends_with(end))
        || [".ci/run", "tests/run"].contains(&place)
}

/// Everything that a person writes; data files and the licence are as they came, and golden files
/// are what a program wrote or must read, byte for byte.
pub(crate) fn is_text(place: &str) -> bool {
    const ENDS: &[&str] =
        &[".md", ".toml", ".yaml", ".yml", ".service", ".json", ".html", ".css", ".js"];
    if place.contains("/golden/") {
        return false;
    }
    is_code(place)
        || ENDS.iter().any(|end| place.ends_with(end))
        || ["Dockerfile", ".gitignore", ".dockerignore"].iter().any(|end| place.ends_with(end))
}

fn lines(text: &str, what: &str, hit: impl Fn(&str) -> bool) -> Found {
    let numbered = text.split('\n').enumerate().filter(|(_, line)| hit(line));
    numbered.map(|(at, _)| (at + 1, what.to_owned())).collect()
}

/// The words of a line, as `hit` splits them off.
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

/// Macros and attributes that stand for work that is not done, or a test that does not test.
fn dishonest(text: &str) -> Found {
    let tokens = tokens(text);
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let next = tokens.get(at + 1).map_or("", |token| token.text.as_str());
        if ["todo", "unimplemented", "dbg"].contains(&token.text.as_str()) && next == "!" {
            found.push((token.line, format!("`{}!` stands for work that is not done", token.text)));
        }
        if token.text == "#" && next == "[" {
            let attribute = tokens[at..closing(&tokens, at + 1)].iter();
            let off = ["ignore", "should_panic"];
            for word in attribute.filter(|word| off.contains(&word.text.as_str())) {
                found.push((token.line, format!("`{}` hides what a test finds", word.text)));
            }
        }
    }
    found
}

/// Every rule.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        applies: |place| is_code(place) && !LONG.iter().any(|(long, _)| *long == place),
        find: |text| match text.lines().count() {
            ..=LINES_MAX => Vec::new(),
            count => vec![(count, format!("{count} lines; {LINES_MAX} at most: split the file"))],
        },
        broken: ("src/a.rs", &[MANY_LINES]),
        kept: "//! A.\n",
    },
    Rule {
        applies: is_rust,
        find: |text| match text.starts_with("//! ") {
            true => Vec::new(),
            false => {
                vec![(1, "starts with a `//!` line that says what the file is for".to_owned())]
            }
        },
        broken: ("src/a.rs", &["fn a() {}\n", "// A.\n", ""]),
        kept: "//! A.\n",
    },
    Rule {
        applies: is_rust,
        find: dishonest,
        broken: (
            "tests/a.rs",
            &[
                "fn a() { todo!() }",
                "fn a() { unimplemented!(\"later\") }",
                "fn a() { std::dbg!(b); }",
                "#[test]\n#[ignore]\nfn a() {}",
                "#[ignore = \"slow\"]",
                "#[cfg_attr(windows, ignore)]",
                "#[should_panic(expected = \"x\")]",
            ],
        ),
        kept: "// todo!() #[ignore]\nfn ignore(dbg: u8) { let todo = \"dbg!\"; }",
    },
    Rule {
        applies: is_rust,
        find: |text| {
            lines(text, "a doc test that does not run", |line| {
                line.trim_start().starts_with("//")
                    && line.contains("```")
                    && (line.contains("ignore") || line.contains("should_panic"))
            })
        },
        broken: ("src/a.rs", &["/// ```ignore", "//! ```rust,should_panic"]),
        kept: "/// ```\n/// ```text\n",
    },
    Rule {
        applies: is_text,
        find: |text| lines(text, "work that is not done", |line| has_word(line, UNDONE)),
        broken: ("a.toml", &[concat!("# TO", "DO: b"), concat!("(XX", "X)"), concat!("FIX", "ME")]),
        kept: "# todo list, XXXX, TODOS\n",
    },
    Rule {
        applies: is_text,
        find: |text| lines(text, "a path of one machine", names_machine),
        broken: (
            "docs/a.md",
            &[concat!("cd /wo", "rk/a"), concat!("\"/tm", "p/x\""), concat!("=/ho", "me/a")],
        ),
        kept: "the/work/of, https://a.example/home/, ${X}/tmp/\n",
    },
    Rule {
        applies: is_text,
        find: |text| {
            lines(text, "the host of a registry", |line| HOSTS.iter().any(|h| line.contains(h)))
        },
        broken: ("docs/a.md", &[concat!("https://crates", ".io/crates/a")]),
        kept: "https://a.example\n",
    },
    Rule {
        applies: is_text,
        find: |text| {
            lines(text, "claims what no program can: say what it does", |line| {
                has_word(&line.to_lowercase(), CLAIMS)
                    && !DENIALS.iter().any(|(_, part)| line.contains(part))
            })
        },
        broken: ("README.md", &[concat!("is GDPR-Comp", "liant."), concat!("fully anony", "mous")]),
        kept: "pseudonymous, compliance, certificate\n",
    },
    Rule {
        applies: is_text,
        find: |text| lines(text, "space at the end", |line| line.ends_with([' ', '\t', '\r'])),
        broken: ("a.md", &["a \nb\n", "a\t\n", "a\r\n"]),
        kept: "a\n b\n",
    },
    Rule {
        applies: is_text,
        find: |text| match text.is_empty() || (text.ends_with('\n') && !text.ends_with("\n\n")) {
            true => Vec::new(),
            false => vec![(text.lines().count(), "ends with one line feed".to_owned())],
        },
        broken: ("a.md", &["a", "a\n\n"]),
        kept: "a\n",
    },
    Rule {
        applies: is_rust,
        find: |text| lines(text, "a tab", |line| line.contains('\t')),
        broken: ("src/a.rs", &["\tfn a() {}"]),
        kept: "    fn a() {}",
    },
];

/// One line more than may be.
const MANY_LINES: &str = {
    const BYTES: [u8; LINES_MAX + 1] = [b'\n'; LINES_MAX + 1];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => "",
    }
};
