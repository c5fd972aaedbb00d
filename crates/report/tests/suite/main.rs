//! The report over made logs: what it counts, how it rounds, what it says and in which language.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

mod made;
mod tags;

use std::collections::BTreeSet;

use audit::Maps;
use ledger::entry::{CopyEnd, MapRef, Role};
use ledger::{Entry, Hash, Kind};
use made::{EEA, Log, RU, input, map_ref, maps, next, sample, with_site};
use report::{Language, Report};
use serde_json::Value;

/// A log in Moscow, from before the period, under the sample map.
fn moscow() -> Log {
    Log::begin("ru-msk", 1, "2025-12-20", map_ref(&sample()))
}

fn report(logs: Vec<Log>) -> Report {
    Report::new(input(logs, &maps(&[&sample()])))
}

fn text(range: &Value) -> String {
    if range["at_most"] == 0 {
        return "none".to_owned();
    }
    format!("{}-{}", range["at_least"], range["at_most"])
}

/// The figures of one kind, each as its keys and its range.
fn figures(report: &Report, of: &str, keys: &[&str]) -> Vec<String> {
    let all = report.json()["figures"].as_array().expect("figures").iter();
    let all = all.filter(|figure| figure["of"] == of);
    let line = |figure: &Value| {
        let keys = keys.iter().map(|key| figure[*key].to_string().replace('"', ""));
        format!("{}: {}", keys.collect::<Vec<_>>().join(" "), text(&figure["count"]))
    };
    all.map(line).collect()
}

#[test]
fn records_live_until_they_go_and_are_rounded() {
    let mut log = moscow();
    let old = log.place(20, RU, &[]);
    let first = log.day("2026-01-05").place(14, RU, &[]);
    log.write(Kind::Replace, RU, &[], Some(first));
    // Another law claims it from now on.
    log.write(Kind::Replace, EEA, &["eea-ru"], Some(first + 1));
    log.delete(old, 12);
    log.place(3, (&[], &[]), &[]);
    // After the period.
    log.day("2026-05-02").place(500, RU, &[]);
    let report = report(vec![log]);
    let region = report.json()["regions"].as_array().expect("regions").iter();
    let region = region.clone().find(|of| of["region"] == "ru-msk").expect("Moscow");
    let line = |row: &Value| {
        let measures = ["live", "placed", "replaced", "deleted"].map(|of| text(&row[of]));
        format!("{} {}", row["jurisdictions"], measures.join(" "))
    };
    let rows = region["records"].as_array().expect("rows");
    assert_eq!(
        rows.iter().map(line).collect::<Vec<_>>(),
        [
            r#"["RU"] 20-29 10-19 1-9 10-19"#,
            r#"["EEA"] 1-9 none 1-9 none"#,
            r#"[] 1-9 1-9 none none"#,
        ]
    );
    // 25 live: rounded from the sum itself.
    assert_eq!(text(&region["total"]["live"]), "22-47");
    assert_eq!(text(&region["total"]["placed"]), "11-28");
    let law = report.json()["localisation"].as_array().expect("laws");
    let law = |at: usize| {
        let (inside, outside) = (text(&law[at]["inside"]), text(&law[at]["outside"]));
        format!("{} {inside} {outside} {}", law[at]["jurisdiction"], law[at]["outside_regions"])
    };
    assert_eq!(law(0), r#""EEA" none 1-9 ["ru-msk"]"#);
    assert_eq!(law(1), r#""RU" 20-29 none []"#);
    assert_eq!(figures(&report, "clause", &["region", "clause"]), ["ru-msk eea-ru: 1-9"]);
}

#[test]
fn refusals_are_counted_as_often_as_their_entries_say_by_kind_of_call() {
    let mut log = moscow();
    log.day("2026-02-03").refuse(Role::Writer, "NO_REGION", 500);
    log.refuse(Role::Writer, "NO_REGION", 7);
    log.refuse(Role::Reader, "EGRESS_NOT_COVERED", 40);
    log.refuse(Role::Reader, "NOT_PERMITTED", 1);
    log.refuse(Role::Writer, "NOT_PERMITTED", 1);
    log.refuse(Role::Operator, "NOT_PERMITTED", 1);
    let report = report(vec![log]);
    assert_eq!(
        figures(&report, "refusal", &["region", "act", "reason"]),
        [
            "ru-msk other NOT_PERMITTED: 1-9",
            "ru-msk read EGRESS_NOT_COVERED: 40-49",
            "ru-msk read NOT_PERMITTED: 1-9",
            "ru-msk write NOT_PERMITTED: 1-9",
            "ru-msk write NO_REGION: 500-509",
        ]
    );
    assert_eq!(text(&report.json()["summary"]["refused"]), "543-585");
}

#[test]
fn reads_name_region_and_place_and_questions_stand_apart() {
    let mut log = moscow();
    log.day("2026-02-03").count(64, Some("RU"));
    log.count(30, Some("DE"));
    log.read(None);
    log.ask(Role::Auditor, 204);
    log.ask(Role::Operator, 90);
    let report = report(vec![log]);
    assert_eq!(
        figures(&report, "read", &["region", "collection", "noted", "territory", "inside"]),
        [
            "ru-msk payments logged  false: 1-9",
            "ru-msk profiles counted DE false: 30-39",
            "ru-msk profiles counted RU true: 60-69",
        ]
    );
    let summary = &report.json()["summary"];
    let reads = [text(&summary["reads_inside"]), text(&summary["reads_outside"])];
    assert_eq!(reads, ["60-69", "31-48"]);
    assert_eq!(
        figures(&report, "question", &["role", "counted"]),
        [
            "auditor entries: 200-209",
            "auditor questions: 1-9",
            "operator entries: 90-99",
            "operator questions: 1-9",
        ]
    );
}

#[test]
fn what_goes_under_no_law_goes_from_what_no_law_claims() {
    let mut log = moscow();
    log.day("2026-02-03").place(30, (&[], &[]), &[]);
    log.place(12, RU, &[]);
    log.gone(Kind::MoveOut, &[], 15, None);
    log.gone(Kind::Erase, &[], 11, None);
    log.gone(Kind::Erase, &["RU"], 1, None);
    log.erased(u32::MAX);
    let report = report(vec![log]);
    let regions = report.json()["regions"].as_array().expect("regions");
    let region = regions.iter().find(|of| of["region"] == "ru-msk").expect("Moscow");
    let line = |row: &Value| {
        let counts = ["live", "moved_out", "erased"].map(|of| text(&row[of]));
        format!("{} {}", row["jurisdictions"], counts.join(" "))
    };
    let rows = region["records"].as_array().expect("rows").iter().map(line);
    let wanted = ["[] 1-9 10-19 10-19", r#"["RU"] 10-19 none 1-9"#];
    let mut rows: Vec<String> = rows.collect();
    rows.sort();
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    assert_eq!(rows, wanted);
    let gaps = report.json()["gaps"].as_array().expect("gaps");
    assert!(!gaps.iter().any(|gap| gap["code"] == "unstated"), "{gaps:?}");
    assert!(report.to_csv().contains("ru-msk,records,(no law) | live,1,9"));
}

#[test]
fn what_goes_under_other_laws_than_it_came_is_not_counted_as_live() {
    let mut log = moscow();
    log.day("2026-02-03").place(30, EEA, &[]);
    // A map has made it Russian meanwhile.
    log.gone(Kind::MoveOut, &["RU"], 26, None);
    let report = report(vec![log]);
    let regions = report.json()["regions"].as_array().expect("regions");
    let region = regions.iter().find(|of| of["region"] == "ru-msk").expect("Moscow");
    assert_eq!(text(&region["total"]["live"]), "1-9");
    assert_eq!(text(&report.json()["summary"]["live"]), "1-9");
    let page = report.to_html(Language::En).expect("a page");
    assert!(page.contains("Region ru-msk: under some laws more records went than had come"));
}

#[test]
fn a_caller_who_counts_or_asks_about_a_person_reads_and_is_no_auditor() {
    let mut log = moscow();
    log.day("2026-02-03").asks(Some("profiles"), 64, Some("DE"));
    log.asks(None, 7, Some("DE"));
    log.ask(Role::Auditor, 20);
    let report = report(vec![log]);
    assert_eq!(
        figures(&report, "read", &["collection", "noted", "role", "territory", "inside"]),
        [" asked reader DE false: 1-9", "profiles numbered reader DE false: 60-69"]
    );
    assert_eq!(text(&report.json()["summary"]["reads_outside"]), "61-78");
    let asked = figures(&report, "question", &["role", "counted"]);
    assert_eq!(asked, ["auditor entries: 20-29", "auditor questions: 1-9"]);
    for (language, says) in [
        (Language::En, ["records that were only counted", "questions about one person"]),
        (Language::Ru, ["записи, которые были только подсчитаны", "запросы об одном лице"]),
    ] {
        let page = report.to_html(language).expect("a page");
        assert!(says.iter().all(|says| page.contains(says)), "{page}");
    }
}

#[test]
fn the_erasure_of_one_collection_is_told_and_so_is_that_it_was_late() {
    let mut log = moscow();
    let first = log.day("2026-02-03").place(2, RU, &[]);
    log.gone(Kind::Erase, &["RU"], 1, Some("consent"));
    // Of a subject that is erased as a whole, it is told once.
    log.gone(Kind::Erase, &["RU"], 1, None);
    log.erased(0);
    assert_eq!(first + 5, u64::try_from(log.entries.len()).expect("few"));
    let report = report(vec![log]);
    assert_eq!(
        figures(&report, "erasure", &["scope", "outcome"]),
        ["collection no_deadline: 1-9", "subject late: 1-9"]
    );
    assert!(report.to_html(Language::En).expect("a page").contains("(one collection)"));
}

#[test]
fn copies_are_counted_by_the_region_at_the_other_end() {
    let mut home = moscow();
    let first = home.day("2026-01-05").place(12, RU, &[]);
    home.send("kz-ala", first, 12);
    let mut mirror = Log::begin("kz-ala", 1, "2025-12-20", map_ref(&sample()));
    mirror.copy(&home.origin(), first, 25);
    mirror.day("2026-01-05").copy(&home.origin(), first, 12);
    mirror.drop_copies(CopyEnd::Withdrawn, 14);
    // After the period.
    mirror.day("2026-05-02").drop_copies(CopyEnd::Erased, 20);
    let report = report(vec![home, mirror]);
    assert_eq!(
        figures(&report, "copy", &["region", "copy", "other", "end"]),
        [
            "kz-ala removed ru-msk withdrawn: 10-19",
            "kz-ala taken ru-msk null: 10-19",
            "ru-msk sent kz-ala null: 10-19",
            "kz-ala held ru-msk null: 20-29",
        ]
    );
    // They are no records, and no writes that rest on a clause.
    let summary = &report.json()["summary"];
    assert_eq!(["placed", "live"].map(|of| text(&summary[of])), ["10-19", "10-19"]);
    assert!(figures(&report, "clause", &["region", "clause"]).is_empty());
    for (language, says) in [
        (Language::En, "copies removed: nothing allows or asks for the copy any more"),
        (Language::Ru, "удалено копий: копия больше не разрешена или не требуется"),
    ] {
        assert!(report.to_html(language).expect("a page").contains(says), "{says}");
    }
}

/// The texts of the cells of the first column below a heading, up to the next heading.
fn below<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("<h3>{heading}</h3>")).expect("the heading");
    rest.split("<h3>").next().expect("a part")
}

#[test]
fn laws_of_maps_that_were_reverted_or_never_taken_are_not_in_force() {
    let first = sample();
    let pack = atlas::packs().iter().find(|pack| pack.id().as_str() == "ch-fadp").expect("a pack");
    let digest = hex::encode(pack.digest());
    let law = format!("[[statutes]]\nid = \"ch-fadp\"\ndigest = \"sha256:{digest}\"\n\n");
    let at = "[[statutes]]\nid = \"in-rbi\"";
    let second = next(&first, |map| map.replacen(at, &format!("{law}{at}"), 1));
    let third = next(&second, |map| map.replacen(&law, "", 1));
    let never = next(&third, |map| map.replacen("name = \"profiles\"", "name = \"people\"", 1));
    let never = never.replace("\"profiles\"", "\"people\"");
    let mut log = moscow();
    log.day("2026-02-01").take(map_ref(&second));
    log.day("2026-02-02").take(map_ref(&third));
    let maps = maps(&[&first, &second, &third, &never]);
    let report = Report::new(input(vec![log], &maps));
    let page = report.to_html(Language::En).expect("a page");
    let (now, ended) = (
        below(&page, "Laws in force at the end of the period"),
        below(&page, "Laws that were in force for a part of the period only"),
    );
    assert!(now.contains("152-FZ") && !now.contains("FADP"), "{now}");
    assert!(ended.contains("FADP") && !ended.contains("152-FZ"), "{ended}");
    assert!(ended.contains("from 2026-02-01T10:00Z") && ended.contains("to 2026-02-02T10:00Z"));
    assert!(!report.json()["collections"].to_string().contains("people"));
}

#[test]
fn what_is_missing_is_said() {
    let mut first = Log::begin("eu-fra", 1, "2026-01-02", map_ref(&sample()));
    first.place(12, EEA, &[]);
    let head = |size| {
        let (origin, root) = (first.origin(), Hash([5; 32]));
        vec![ledger::entry::Detail::OldHead { origin, size, root }]
    };
    let second = Log::after("eu-fra", 2, ("2026-03-01", map_ref(&sample())), head(10));
    let mut moscow = moscow();
    let other = next(&sample(), |map| map);
    moscow.day("2026-04-30").take(map_ref(&other)).place(1, RU, &[]);
    let maps = maps(&[&sample()]);
    let mut all = input(vec![second, first, moscow], &maps);
    all.logs[2].facts.findings = vec!["entry 7 names another map".to_owned()];
    let report = Report::new(all);
    let gaps = report.json()["gaps"].as_array().expect("gaps");
    let gap = |code: &str| -> Vec<String> {
        let of = gaps.iter().filter(|gap| gap["code"] == code);
        of.map(|gap| gap["about"].as_array().expect("values")[0].to_string()).collect()
    };
    assert_eq!(gap("old_log_longer"), [r#""sample/eu-fra/a/2""#]);
    assert_eq!(gap("finding"), [r#""sample/ru-msk/a/1""#]);
    assert_eq!(gap("map_missing"), [r#""2""#]);
    assert_eq!(gap("ends_early"), [r#""sample/eu-fra/a/2""#]);
    assert_eq!(gap("region_without_log"), [r#""in-bom""#, r#""kz-ala""#, r#""us-iad""#]);
    assert_eq!(gap("site_bare").len(), 25);
    let summary = &report.json()["summary"];
    assert_eq!((&summary["logs_whole"], &summary["logs"]), (&2.into(), &3.into()));
    let page = report.to_html(Language::En).expect("a page");
    assert!(page.contains("NOT VERIFIED WHOLE: of the logs, 2 of 3 were."));
}

/// Everything that a page can say.
#[test]
fn what_was_not_compared_with_a_map_is_not_called_so() {
    const COMPARED: &str = "The laws and clauses that they name are in the region map in force";
    let maps = maps(&[&sample()]);
    let page = |missing: &[MapRef]| {
        let mut log = moscow();
        log.day("2026-04-30").place(1, RU, &[]);
        let mut all = input(vec![log], &maps);
        all.logs[0].facts.maps_missing = missing.to_vec();
        let report = Report::new(all);
        assert_eq!(report.json()["summary"]["logs_whole"], 1);
        report.to_html(Language::En).expect("a page")
    };
    let compared = page(&[]);
    assert!(compared.contains(COMPARED) && !compared.contains("that are missing"));
    // No entry of the period names it; the whole log was verified.
    let missing = page(&[MapRef { epoch: 9, digest: [9; 32] }]);
    assert!(!missing.contains(COMPARED), "{missing}");
    assert!(missing.contains("Region maps that entries name and that are missing: 1;"));
    assert!(missing.contains("Entries name region map 9 with digest"));
}

fn full(address: &str) -> Report {
    let second = next(&sample(), |map| with_site(map, address));
    let mut log = moscow();
    log.day("2026-01-05").place(40, RU, &["ru-kz"]);
    log.take(map_ref(&second)).delete(2, 3);
    log.count(64, Some("RU"));
    log.read(None);
    log.ask(Role::Auditor, 204);
    for reason in ["NO_REGION", "EGRESS_NOT_COVERED", "NOT_PERMITTED", "WRONG_INGRESS"] {
        log.refuse(Role::Reader, reason, 11);
    }
    log.entries.push(Entry::key_changed(log.entries[3].minute, "the first key was made"));
    log.day("2026-04-29").place(1, (&[], &[]), &[]);
    let maps = maps(&[&sample(), &second]);
    Report::new(input(vec![log], &maps))
}

#[test]
fn the_first_page_says_who_what_and_how_far_it_was_verified() {
    let page = full("Moscow, Made Up Lane 3").to_html(Language::En).expect("a page");
    let page = page.replace("&#x2f;", "/");
    let (cover, _) = page.split_once("</section>").expect("a first page");
    for says in [
        "No. 12/2026",
        "Example JSC",
        "Moscow, Example street 1",
        "2026-01-01 to 2026-04-30, days in UTC",
        "2026-05-04",
        "Region ru-msk, territory RU: Moscow, Made Up Lane 3; data-centre operator: Made Up Hosting",
        "Records claimed by the law of RU at the end of the period: in its territory 30–39 (ru-msk); \
         outside of it none.",
        "Calls in the period that the rules refused: 40–76.",
        "All logs (1) were verified whole: each of their",
        "Signature:",
    ] {
        assert!(cover.contains(says), "{says}\n{cover}");
    }
    assert!(!cover.contains("sha256") && !cover.contains(&"0".repeat(16)), "no hash comes first");
}

#[test]
fn pages_are_well_formed_and_need_nothing_else() {
    for report in [full("Moscow"), Report::new(input(Vec::new(), &Maps::default()))] {
        for language in Language::ALL {
            let page = report.to_html(*language).expect("a page");
            assert!(page.starts_with("<!DOCTYPE html>"), "{}", &page[..80]);
            assert_eq!(tags::unbalanced(&page), None);
            let ids = tags::ids(&page);
            let links = page.split("href=\"#").skip(1).filter_map(|part| part.split('"').next());
            links.for_each(|link| assert!(ids.contains(&link), "{link}"));
            assert!(
                !page.contains("http://") && !page.contains("https://") && !page.contains("src=")
            );
            assert!(!page.contains("<script"));
        }
    }
}

/// Words of Latin letters.
fn latin(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let words = words.filter(|word| word.bytes().filter(u8::is_ascii_alphabetic).count() > 2);
    words.map(str::to_owned).collect()
}

/// Those of every text in a document.
fn words(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => into.extend(latin(text)),
        Value::Array(all) => all.iter().for_each(|one| words(one, into)),
        Value::Object(all) => all.values().for_each(|one| words(one, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn the_russian_page_has_no_english_but_the_words_of_others() {
    let report = full("Moscow");
    let page = report.to_html(Language::Ru).expect("a page");
    let mut text = String::new();
    let (_, mut rest) = page.split_once("<body>").expect("a body");
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        text.push(' ');
        // Commands, keys and hashes.
        let until = if tag.starts_with("pre") { "</pre>" } else { ">" };
        rest = tag.split_once(until).map_or("", |(_, after)| after);
    }
    // Words of the operators, and names: everything that the document has beside titles of laws.
    let mut others = report.json().clone();
    for law in others["statutes"].as_array_mut().expect("laws") {
        law["title"].take();
        law["citation"].take();
    }
    let mut known = BTreeSet::new();
    words(&others, &mut known);
    let names = "UTC SHA Bailiwick MIRROR POLICY KEY C2SP tlog tiles checkpoint signed note origin \
                 GDPR sha256";
    known.extend(names.split_whitespace().map(str::to_owned));
    let left: Vec<String> = latin(&text).difference(&known).cloned().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn words_of_others_stay_words() {
    let bad = "=cmd()<script>alert(1)</script>\u{202e}";
    let report = full(bad);
    for language in Language::ALL {
        let page = report.to_html(*language).expect("a page");
        assert!(!page.contains("<script") && !page.contains('\u{202e}'));
        assert!(page.contains("&lt;script&gt;alert(1)&lt;"));
    }
    let mut log = moscow();
    log.day("2026-02-03").refuse(Role::Writer, "=1+1,\"x\"", 3);
    let table = self::report(vec![log]).to_csv();
    let line = table.lines().find(|line| line.contains("refusal")).expect("a line");
    assert_eq!(line, r#"ru-msk,refusal,"other | =1+1,""x""",1,9"#);
    assert!(table.lines().all(|line| line.ends_with('\r') || !line.contains('\n')));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let (one, two) = (full("Moscow"), full("Moscow"));
    assert_eq!(
        one.to_html(Language::Ru).expect("a page"),
        two.to_html(Language::Ru).expect("a page")
    );
    assert_eq!((one.to_csv(), one.json()), (two.to_csv(), two.json()));
}
