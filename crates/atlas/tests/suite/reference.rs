//! The reference page is what the code says, and every example on it shows its finding.

#![expect(clippy::panic, reason = "a test that goes astray may panic")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::support::expect::expect;
use crate::support::{golden, read, with_digests};
use atlas::schema::{self, Form, Table};
use atlas::{Code, Date, Example, Severity, StatutePack, check, codes, limits};

/// A map that is sound, with a place for more keys and an end for more tables.
const BASE: &str = "name = \"example\"\ndeployment = \"example\"\nversion = 1\n@TOP\n\
    [[tenants]]\nname = \"acme\"\nestablishments = [\"DE\"]\n\
    [[collections]]\nname = \"profiles\"\ncategory = \"x\"\nreads = \"counted\"\n\
    [[collections]]\nname = \"payments\"\ncategory = \"x\"\nreads = \"logged\"\n\
    [[regions]]\nname = \"ru-msk\"\nterritory = \"RU\"\n\
    [[regions]]\nname = \"eu-fra\"\nterritory = \"DE\"\n\
    [[homes]]\nfor = \"RU\"\nregion = \"ru-msk\"\n\
    [[homes]]\nfor = \"*\"\nregion = \"eu-fra\"\n\
    [[statutes]]\nid = \"eu-gdpr\"\ndigest = \"@eu-gdpr\"\n";

const ANNEX: &str = "region = \"eu-fra\"\n[[shards]]\nname = \"s1\"\n\
    address = \"https://10.0.0.1:7411\"\nslots = \"0-1023\"\n";

/// The digest of each pack in place of the `…` behind its id.
fn digests(text: &str) -> String {
    let mut id = "";
    let mut lines = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("id = ") {
            id = name.trim_matches('"');
        }
        lines.push(line.replace("\"sha256:…\"", &format!("\"@{id}\"")));
    }
    with_digests(&lines.join("\n"))
}

/// What is found in an example, on a day.
fn found(example: Example, day: &str) -> BTreeSet<&'static str> {
    let day = Date::parse(day).expect("a day");
    let base = BASE.replace("@TOP", "");
    let (text, annexes): (String, Vec<(&str, &str)>) = match example {
        Example::Map(tables) => (format!("{base}{tables}\n"), Vec::new()),
        Example::Top(keys) => (BASE.replace("@TOP", keys), Vec::new()),
        Example::Annex(annex) => (base, vec![("annex.toml", annex)]),
        Example::Annexes(_) => (base, vec![("one.toml", ANNEX), ("two.toml", ANNEX)]),
        Example::Pack(pack) => {
            let wrong = StatutePack::parse(pack).expect_err("a mistake");
            return wrong.iter().map(|finding| finding.code).collect();
        }
        Example::None(_) => return BTreeSet::new(),
    };
    let checked = check(&digests(&text), &annexes, day, &[]);
    checked.all().map(|finding| finding.code).collect()
}

#[test]
fn every_example_shows_its_finding() {
    let base = found(Example::Top(""), "2026-11-25");
    assert_eq!(base, BTreeSet::from(["STATUTE_UNVERIFIED"]), "the base is sound");
    for code in codes() {
        if let Example::None(_) = code.example {
            continue; // `limits.rs` shows those.
        }
        // Laws that begin and end do so on days of their own.
        let shown = ["2026-11-25", "2027-02-15"].map(|day| found(code.example, day));
        assert!(shown.iter().any(|codes| codes.contains(code.name)), "{}: {shown:?}", code.name);
        // An example of a mistake shows that mistake and no other.
        if code.severity == Severity::Error {
            let errors =
                |name: &&&str| Code::parse(name).expect("listed").severity == Severity::Error;
            let [first, _] = &shown;
            let errors: Vec<_> = first.iter().filter(errors).collect();
            assert_eq!(errors, [&code.name], "{first:?}");
        }
    }
}

#[test]
fn codes_are_names_that_stand_once() {
    let mut seen = BTreeSet::new();
    for code in codes() {
        assert!(seen.insert(code.name), "{} stands twice", code.name);
        assert!(code.name.bytes().all(|c| c.is_ascii_uppercase() || c == b'_'));
        for text in [code.means, code.cure] {
            assert!(text.ends_with('.') && text.len() > 5, "{}: {text}", code.name);
        }
        assert_eq!(Code::parse(code.name).map(|found| found.severity), Some(code.severity));
    }
}

#[test]
fn every_code_in_the_source_is_listed() {
    let folder = golden().join("../../src");
    let mut folders = vec![folder];
    let mut used = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.ends_with("codes") {
                folders.push(path);
            } else if path.is_file() {
                let text = read(&path);
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let quoted = code.split('"').skip(1).step_by(2);
                used.extend(quoted.filter(|word| is_code(word)).map(str::to_owned));
            }
        }
    }
    let listed: BTreeSet<String> = codes().map(|code| code.name.to_owned()).collect();
    let unused: Vec<_> = listed.difference(&used).collect();
    assert_eq!(unused, Vec::<&String>::new(), "listed and not used");
    let unlisted: Vec<_> = used.difference(&listed).collect();
    assert_eq!(unlisted, Vec::<&String>::new(), "used and not listed");
}

/// Whether a text has the form of a code: capitals in two words or more.
fn is_code(word: &str) -> bool {
    word.contains('_')
        && word.len() > 5
        && word.bytes().all(|c| c.is_ascii_uppercase() || c == b'_')
        && !["CARGO_MANIFEST_DIR"].contains(&word)
}

#[test]
fn the_page_is_as_the_code_says() {
    let mut tables = String::new();
    for (file, title) in schema::files().into_iter().zip(["The map", "The annex", "The pack"]) {
        write!(tables, "## {title}\n\n{}\n\n", file.means).expect("a string");
        keys(&mut tables, file, &[]);
    }
    let page = read(&golden().join("../../data/map-reference.md"))
        .replace("{limits}\n", &all_limits())
        .replace("{tables}\n", &tables)
        .replace("{codes}\n", &all_codes());
    expect(&golden().join("../../../../docs/map-reference.md"), &page);
}

/// The table of a file's or a table's keys, then those of the tables in it.
fn keys(out: &mut String, table: &'static Table, path: &[(&str, bool)]) {
    if !path.is_empty() {
        let names = path.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(".");
        let (open, close) =
            if path.last().is_some_and(|(_, many)| *many) { ("[[", "]]") } else { ("[", "]") };
        let most = if table.count_max > 1 {
            format!("\nAt most {}.", table.count_max)
        } else {
            String::new()
        };
        write!(out, "### `{open}{names}{close}`\n\n{}{most}\n\n", table.means).expect("a string");
    }
    out.push_str("| key | type | left out | meaning |\n|---|---|---|---|\n");
    for key in table.keys {
        let default = if key.needed { "**needed**" } else { key.default };
        writeln!(out, "| `{}` | {} | {default} | {} |", key.name, key.form.describe(), key.means)
            .expect("a string");
    }
    out.push('\n');
    for key in table.keys {
        let Some(inner) = key.form.table() else { continue };
        let many = matches!(key.form, Form::Tables(_));
        let path: Vec<_> = path.iter().copied().chain([(key.name, many)]).collect();
        keys(out, inner, &path);
    }
}

fn all_limits() -> String {
    let mut out = "| limit | value |\n|---|---|\n".to_owned();
    for (what, value) in [
        ("bytes of a map", limits::MAP_BYTES_MAX),
        ("lines of a file", limits::LINES_MAX),
        ("bytes of an annex", limits::ANNEX_BYTES_MAX),
        ("bytes of a pack", limits::PACK_BYTES_MAX),
        ("tables or lists within one another", limits::NESTING_MAX),
        ("items of one list", limits::LIST_ITEMS_MAX),
        ("findings that are shown of one file", limits::FINDINGS_SHOWN_MAX),
    ] {
        writeln!(out, "| {what} | {value} |").expect("a string");
    }
    out.push_str("\nHow many of each table there may be stands with it.\n");
    out
}

fn all_codes() -> String {
    let mut out = String::new();
    for (severity, title) in [(Severity::Error, "Errors"), (Severity::Warning, "Warnings")] {
        write!(out, "### {title}\n\n").expect("a string");
        for code in codes().filter(|code| code.severity == severity) {
            let Code { name, means, cure, .. } = code;
            write!(out, "#### `{name}`\n\n{means}\n{cure}\n\n").expect("a string");
            let (Example::Map(text)
            | Example::Top(text)
            | Example::Annex(text)
            | Example::Pack(text)) = code.example
            else {
                let (Example::Annexes(words) | Example::None(words)) = code.example else {
                    panic!("an example of {name}")
                };
                write!(out, "Example: {words}.\n\n").expect("a string");
                continue;
            };
            write!(out, "```toml\n{text}\n```\n\n").expect("a string");
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// What `map check` finds in a map with these tables, on a day; and whether it is sound.
fn checked(tables: &str, day: &str) -> (Vec<String>, bool) {
    let text = digests(&format!("{}{tables}", BASE.replace("@TOP", "")));
    let checked = check(&text, &[], Date::parse(day).expect("a day"), &[]);
    (checked.all().map(ToString::to_string).collect(), checked.map.is_some())
}

#[test]
fn who_answers_for_a_pack_silences_its_doubts_from_that_day_on() {
    let reviewed =
        "reviewed = { by = \"Anna, counsel\", on = 2026-11-20, digest = \"@eu-gdpr\" }\n";
    let (doubts, _) = checked("", "2026-11-25");
    assert!(doubts.iter().all(|found| found.contains("STATUTE_UNVERIFIED")), "{doubts:?}");
    assert_eq!(checked(reviewed, "2026-11-25"), (Vec::new(), true), "as --strict wants it");
    assert_eq!(checked(reviewed, "2026-11-19").0, doubts, "nobody had answered for it then");
    // Of another text of the pack: it silences nothing, and that is said.
    let stale = reviewed.replace("@eu-gdpr", "@ru-152fz");
    let (found, sound) = checked(&stale, "2026-11-25");
    assert!(sound && found.len() == doubts.len() + 1, "{found:?}");
    assert!(doubts.iter().all(|doubt| found.contains(doubt)), "{found:?}");
    assert!(found.iter().any(|one| one.contains("REVIEW_STALE")), "{found:?}");
    assert!(checked(reviewed, "2026-11-25").1, "what follows fails for what it says");
    for wrong in [
        "\"Anna\"",
        "{ by = \"Anna\", digest = \"@eu-gdpr\" }",
        "{ on = 2026-11-20, digest = \"@eu-gdpr\" }",
        "{ by = \"Anna\", on = 2026-11-20 }",
        "{ by = \"Anna\", on = 2026-11-20, digest = \"sha256:00\" }",
        "{ by = \" \", on = 2026-11-20, digest = \"@eu-gdpr\" }",
        "{ by = \"Anna\", on = \"soon\", digest = \"@eu-gdpr\" }",
        "{ by = \"Anna\", on = 2026-11-20, digest = \"@eu-gdpr\", of = \"it\" }",
    ] {
        assert!(!checked(&format!("reviewed = {wrong}"), "2026-11-25").1, "{wrong}");
    }
}

#[test]
fn a_law_that_asks_for_a_copy_is_not_taken_without_a_word() {
    let law = "[[statutes]]\nid = \"kz-94v\"\ndigest = \"sha256:…\"\n";
    let (found, sound) = checked(law, "2026-11-25");
    let copies = found.iter().filter(|found| found.contains("COPIES_NOT_MADE"));
    assert!(sound && copies.count() == 1, "{found:?}");
    assert!(!checked(law, "2015-12-01").0.iter().any(|found| found.contains("COPIES_NOT_MADE")));
}

#[test]
fn what_nobody_sees_is_told_wherever_it_stands() {
    for (tables, line) in [
        ("# a note\u{202e}\n", 31),
        ("\n# a note\n\n# a \u{2066}note\u{200b}\n", 34),
        ("reviewed = { by = \"An\u{feff}na\", on = 2026-11-20, digest = \"@eu-gdpr\" }\n", 31),
    ] {
        let (found, sound) = checked(tables, "2026-11-25");
        let told: Vec<_> = found.iter().filter(|one| one.contains("HIDDEN_CHARACTER")).collect();
        let [one] = told.as_slice() else { panic!("{tables:?}: {found:?}") };
        assert!(sound && one.starts_with(&format!("{line}:")), "{line} {one}");
    }
    let seen = "# Пример, 日本, 🙂\r\n# a tab\t\n";
    assert!(!checked(seen, "2026-11-25").0.iter().any(|one| one.contains("HIDDEN_CHARACTER")));
    let annex = format!("# \u{202e}\n{ANNEX}");
    let text = digests(&BASE.replace("@TOP", ""));
    let day = Date::parse("2026-11-25").expect("a day");
    let found = check(&text, &[("annex.toml", &annex)], day, &[]);
    let of_annex = &found.annexes.first().expect("an annex").findings;
    assert!(of_annex.iter().any(|one| one.code == "HIDDEN_CHARACTER"), "{of_annex:?}");
    assert!(found.annexes.iter().all(|annex| annex.annex.is_some()));
}
