//! The reference page says what the code does, and every example of a diagnostic shows it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::support::expect::expect;
use crate::support::{golden, read, with_digests};
use atlas::toml::reference;
use atlas::{Date, Severity, StatutePack, check, limits, schema};

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

/// A diagnostic as the page of diagnostics describes it.
struct Described {
    code: String,
    severity: Severity,
    /// The block of TOML that shows it; empty where the page describes one in words.
    example: String,
}

fn page() -> std::path::PathBuf {
    golden().join("../../../../docs/map-diagnostics.md")
}

/// The diagnostics of the page.
fn described() -> Vec<Described> {
    let page = read(&page());
    let (errors, warnings) = page.split_once("\n## Warnings\n").expect("two parts");
    let (_, errors) = errors.split_once("\n## Errors\n").expect("errors");
    let part = |text: &str, severity| -> Vec<Described> {
        let each = text.split("\n### `").skip(1).map(|block| {
            let (code, rest) = block.split_once('`').expect("a code");
            let example =
                rest.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("\n```"));
            let example = example.map_or(String::new(), |(example, _)| example.to_owned());
            let words = example.is_empty() && rest.contains("\nExample: ");
            assert!(!example.is_empty() || words, "{code} has no example");
            Described { code: code.to_owned(), severity, example }
        });
        each.collect()
    };
    let mut all = part(errors, Severity::Error);
    all.extend(part(warnings, Severity::Warning));
    all
}

/// What is found in an example, on a day: a pack, an annex, keys of a map or tables of a map.
fn found(example: &str, day: &str) -> BTreeSet<(&'static str, Severity)> {
    let of = |all: &[atlas::Diagnostic]| all.iter().map(|one| (one.code, one.severity)).collect();
    let day = Date::parse(day).expect("a day");
    let base = BASE.replace("@TOP", "");
    let (text, annexes) = if example.contains("\ntrigger = ") {
        return of(&StatutePack::parse(example).expect_err("a mistake"));
    } else if example.contains("[[shards]]") {
        (base, vec![("annex.toml", example)])
    } else if example.starts_with('[') {
        (format!("{base}{example}\n"), Vec::new())
    } else {
        (BASE.replace("@TOP", example), Vec::new())
    };
    of(&check(&digests(&text), &annexes, day, &[]).all().cloned().collect::<Vec<_>>())
}

#[test]
fn every_example_shows_its_finding() {
    let unverified = ("STATUTE_UNVERIFIED", Severity::Warning);
    assert_eq!(found("", "2026-11-25"), BTreeSet::from([unverified]), "the base is sound");
    for Described { code, severity, example } in described() {
        if example.is_empty() {
            continue; // `limits.rs`, and tests below, show those.
        }
        // Laws that begin and end do so on days of their own.
        let shown = ["2026-11-25", "2027-02-15"].map(|day| found(&example, day));
        let own = |all: &BTreeSet<_>| all.contains(&(code.as_str(), severity));
        assert!(shown.iter().any(own), "{code}: {shown:?}");
        // An example of an error shows that error and no other.
        if severity == Severity::Error {
            let [first, _] = &shown;
            let errors = first.iter().filter(|(_, severity)| *severity == Severity::Error);
            assert_eq!(errors.count(), 1, "{code}: {first:?}");
        }
    }
}

#[test]
fn annexes_twice_or_missing_are_reported() {
    let text = digests(&BASE.replace("@TOP", ""));
    let day = Date::parse("2026-11-25").expect("a day");
    let checked = check(&text, &[("one.toml", ANNEX), ("two.toml", ANNEX)], day, &[]);
    let codes: Vec<_> = checked.all().map(|finding| finding.code).collect();
    assert!(codes.contains(&"ANNEX_TWICE") && codes.contains(&"ANNEX_MISSING"), "{codes:?}");
}

#[test]
fn every_code_in_the_source_is_listed() {
    let mut folders = vec![golden().join("../../src")];
    let mut used = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = read(&path);
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let quoted = code.split('"').skip(1).step_by(2);
                used.extend(quoted.filter(|word| is_code(word)).map(str::to_owned));
            }
        }
    }
    let listed: BTreeSet<String> = described().into_iter().map(|one| one.code).collect();
    assert_eq!(listed, used, "the page of diagnostics, and the source");
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
    for (file, title) in [
        (&schema::MAP, "The map"),
        (&schema::ANNEX, "The annex"),
        (&schema::PACK, "The pack"),
        (&schema::PEOPLE, "The people file"),
    ] {
        let keys = reference(file, &mut Vec::new());
        write!(tables, "## {title}\n\n{}\n\n{keys}", file.means).expect("a string");
    }
    let page = read(&golden().join("../../data/map-reference.md"))
        .replace("{limits}\n", &all_limits())
        .replace("{tables}\n", &format!("{}\n", tables.trim_end()));
    expect(&golden().join("../../../../docs/map-reference.md"), &page);
}

fn all_limits() -> String {
    let mut out = "| limit | value |\n|---|---|\n".to_owned();
    for (what, value) in [
        ("bytes of a map", limits::MAP_BYTES_MAX),
        ("lines of a file", limits::LINES_MAX),
        ("bytes of an annex", limits::ANNEX_BYTES_MAX),
        ("bytes of a pack", limits::PACK_BYTES_MAX),
        ("items of one list", limits::LIST_ITEMS_MAX),
        ("diagnostics that are shown of one file", limits::DIAGNOSTICS_SHOWN_MAX),
    ] {
        writeln!(out, "| {what} | {value} |").expect("a string");
    }
    out.push_str("\nHow many of each table there may be stands with it.\n");
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
    let copies = found.iter().filter(|found| found.contains("ATTACHMENTS_NOT_COPIED"));
    assert!(sound && copies.count() == 1, "{found:?}");
    assert!(
        !checked(law, "2015-12-01").0.iter().any(|found| found.contains("ATTACHMENTS_NOT_COPIED"))
    );
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
    let of_annex = &found.annexes.first().expect("an annex").diagnostics;
    assert!(of_annex.iter().any(|one| one.code == "HIDDEN_CHARACTER"), "{of_annex:?}");
    assert!(found.annexes.iter().all(|annex| annex.annex.is_some()));
}
