//! Maps at their limits, and beyond: answered, or refused by a limit that has a name. The times
//! are printed and nothing rests on them.

use std::fmt::Write as _;

use crate::support::with_digests;
use atlas::{Checked, Date, RegionMap, Severity, check, format, limits};

const HEAD: &str = "name = \"x\"\ndeployment = \"x\"\nversion = 1\n\
    [[tenants]]\nname = \"acme\"\nestablishments = [\"DE\"]\n\
    [[collections]]\nname = \"profiles\"\ncategory = \"x\"\nreads = \"logged\"\n\
    [[regions]]\nname = \"eu-fra\"\nterritory = \"DE\"\n\
    [[homes]]\nfor = \"*\"\nregion = \"eu-fra\"\n\
    [[statutes]]\nid = \"eu-gdpr\"\ndigest = \"@eu-gdpr\"\n";

/// Checks a map, and prints how long that took.
#[expect(clippy::print_stdout, reason = "a time for people, on which nothing rests")]
fn timed(what: &str, text: &str) -> Checked {
    let day = Date::parse("2026-11-25").expect("a day");
    #[expect(clippy::disallowed_methods, reason = "a time for people, on which nothing rests")]
    let began = std::time::Instant::now();
    let checked = check(text, &[], day, &[]);
    let took = began.elapsed();
    println!(
        "{what}: {} KiB, {} findings in {took:?}",
        text.len() >> 10,
        checked.diagnostics.len()
    );
    checked
}

fn codes(checked: &Checked) -> Vec<&'static str> {
    let mut codes: Vec<_> = checked.diagnostics.iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// A clause with a text of that many bytes.
fn clause(n: usize, bytes: usize) -> String {
    let filler = "x".repeat(bytes);
    format!(
        "[[clauses]]\nid = \"c{n}\"\nfrom = \"EEA\"\nto = \"US\"\ncollections = \"*\"\n\
         legal_basis = \"{filler}\"\nimporter = \"x\"\nreference = \"x\"\n\
         not_before = 2020-01-{:02}\nexpires = 2030-01-{:02}\n",
        1 + n % 28,
        1 + n % 28
    )
}

fn clauses(count: usize, bytes: usize) -> String {
    with_digests(HEAD) + &(0..count).map(|n| clause(n, bytes)).collect::<String>()
}

#[test]
fn ten_thousand_clauses_are_answered() {
    let text = clauses(limits::CLAUSES_MAX, 1);
    let checked = timed("10,000 clauses", &text);
    assert!(checked.map.is_some(), "{:?}", codes(&checked));
    assert_eq!(codes(&checked), ["CLAUSE_UNUSED", "STATUTE_UNVERIFIED", "WARNINGS_CUT"]);
    assert_eq!(checked.diagnostics.len(), limits::DIAGNOSTICS_SHOWN_MAX + 1);
    let one_more = timed("10,001 clauses", &clauses(limits::CLAUSES_MAX + 1, 1));
    assert!(one_more.map.is_none() && codes(&one_more).contains(&"LIMIT_COUNT"));
}

#[test]
fn ten_megabytes_are_answered() {
    let text = clauses(limits::CLAUSES_MAX, 820);
    assert!(text.len() <= limits::MAP_BYTES_MAX && text.len() > limits::MAP_BYTES_MAX * 9 / 10);
    assert!(timed("a map of almost 10 MiB", &text).map.is_some());
    let unknown: String = (0..300_000).map(|n| format!("k{n} = 1\n")).collect();
    let checked = timed("300,000 unknown keys", &(unknown + &with_digests(HEAD)));
    assert_eq!(checked.count(Severity::Error), limits::DIAGNOSTICS_SHOWN_MAX + 1);
    assert!(codes(&checked).contains(&"ERRORS_CUT"));
    let one_line = format!("x = [{}]\n{}", "1, ".repeat(3_000_000), with_digests(HEAD));
    assert!(codes(&timed("a list of 3,000,000 numbers", &one_line)).contains(&"KEY_UNKNOWN"));
    let list = format!("predecessor = [{}]\n{}", "\"x\", ".repeat(1_500_000), with_digests(HEAD));
    assert!(codes(&timed("a list of 1,500,000 texts", &list)).contains(&"LIMIT_COUNT"));
    let collections: String = (0..limits::COLLECTIONS_MAX)
        .map(|n| {
            format!("[[collections]]\nname = \"n{n}\"\ncategory = \"x\"\nreads = \"logged\"\n")
        })
        .collect();
    timed(
        "1,025 collections and 10,000 clauses",
        &(clauses(limits::CLAUSES_MAX, 1) + &collections),
    );
}

#[test]
fn more_than_ten_megabytes_are_refused_unread() {
    let text = format!("{}{}", with_digests(HEAD), "# long\n".repeat(limits::MAP_BYTES_MAX / 7));
    assert_eq!(codes(&timed("over 10 MiB", &text)), ["MAP_TOO_LARGE"]);
    let lines = format!("{}{}", with_digests(HEAD), "#\n".repeat(limits::LINES_MAX));
    assert_eq!(codes(&timed("over 400,000 lines", &lines)), ["MAP_TOO_LARGE"]);
    let told = format(&text).expect_err("too large");
    assert_eq!(told.first().map(|finding| finding.code), Some("MAP_TOO_LARGE"));
}

#[test]
fn deep_nesting_is_refused() {
    let deep = 3_000_000;
    for (what, text) in [
        ("lists", format!("x = {}1{}\n", "[".repeat(deep), "]".repeat(deep))),
        ("open lists", format!("x = {}\n", "[".repeat(deep))),
        ("inline tables", format!("x = {}1{}\n", "{x=".repeat(deep / 2), "}".repeat(deep / 2))),
        ("dotted keys", format!("{}x = 1\n", "x.".repeat(deep))),
        ("heads", format!("[{}x]\n", "x.".repeat(deep))),
        ("81 lists", format!("x = {}{}\n", "[".repeat(81), "]".repeat(81))),
    ] {
        let checked = timed(what, &text);
        assert_eq!(codes(&checked), ["TOML_SYNTAX"], "{what}");
        assert!(checked.map.is_none());
        assert!(format(&text).is_err());
    }
}

#[test]
fn nothing_but_mistakes_has_an_end() {
    for (what, line) in [("signs", "=\n"), ("heads", "x]]\n"), ("values", "k = x y z\n")] {
        let text = line.repeat(limits::LINES_MAX);
        assert_eq!(codes(&timed(what, &text)), ["TOML_SYNTAX"], "{what}");
        let text = line.repeat(2_000);
        let checked = timed(what, &text);
        let all = codes(&checked);
        assert!(all.contains(&"TOML_SYNTAX") && all.len() <= 2, "{what}: {all:?}");
    }
    let mut text = with_digests(HEAD);
    for n in 0..10_000 {
        writeln!(text, "[[homes]]\nfor = \"DE\"\nregion = \"r{n}\"").expect("a string");
    }
    let checked = timed("10,000 homes of one country", &text);
    assert!(
        codes(&checked).contains(&"LIMIT_COUNT") && codes(&checked).contains(&"HOME_DUPLICATE")
    );
    let text = with_digests(HEAD) + &"[[clauses]]\n".repeat(300_000);
    assert!(codes(&timed("300,000 empty clauses", &text)).contains(&"ERRORS_CUT"));
    assert!(RegionMap::parse(&text).is_err());
}
