//! The report: golden pages in each language, small counts, hostile texts, millions of entries.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

#[path = "report/expect.rs"]
mod expect;
#[path = "report/made.rs"]
mod made;
#[path = "report/tags.rs"]
mod tags;

use audit::report::{
    Figure, GapKind, Input, Language, LogInput, MapInput, Report, Section, Value, Verification,
};
use expect::expect;
use ledger::entry::{Detail, Role};
use ledger::{Entry, Hash, Kind};
use made::{input, minute};

/// An address as an operator could have written it.
const ADDRESS: &str = "Made-up Street 5, Moscow, server room 2";

fn report() -> Report {
    Report::new(input(ADDRESS))
}

/// The value of one figure; none if there is none.
fn value(report: &Report, section: Section, month: &str, about: &[&str]) -> Option<Value> {
    let mut found = report.figures.iter().filter(|figure| {
        let mut own = vec![figure.region.as_str(), figure.dimension];
        own.extend(figure.key.iter().map(String::as_str));
        figure.section == section
            && figure.month.map_or_else(String::new, |month| month.to_string()) == month
            && own == about
    });
    let value = found.next().map(|figure: &Figure| figure.value);
    assert!(found.next().is_none(), "{about:?} is there twice");
    value
}

#[track_caller]
fn check(report: &Report, section: Section, rows: &[(&str, &[&str], &str)]) {
    for (month, about, wanted) in rows {
        let found = value(report, section, month, about);
        let found = found.map_or_else(|| "none".to_owned(), |value| value.to_string());
        assert_eq!(found, *wanted, "{month} {about:?}");
    }
}

#[test]
fn the_report_is_as_it_was() {
    let report = report();
    expect("report.csv", &report.to_csv());
    let json = serde_json::to_string_pretty(&report.to_json()).expect("text") + "\n";
    expect("report.json", &json);
    expect("report.en.html", &report.to_html());
    expect("report.ru.html", &report.in_language(Language::Ru).to_html());
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let mut turned = input(ADDRESS);
    turned.logs.reverse();
    turned.maps.reverse();
    assert_eq!(Report::new(turned).to_html(), report().to_html());
}

#[test]
fn records_live_until_they_go() {
    let report = report();
    let rows: &[(&str, &[&str], &str)] = &[
        ("2026-01", &["ru-msk", "live", "(all)"], "73"),
        ("2026-01", &["eu-fra", "placed", "EEA"], "100"),
        ("2026-01", &["eu-fra", "live", "(none)"], "25"),
        // Deletions of the next log find their records in the one before.
        ("2026-03", &["eu-fra", "deleted", "EEA"], "14"),
        ("2026-03", &["eu-fra", "live", "EEA"], "114"),
        ("2026-04", &["eu-fra", "live", "EEA"], "174"),
        // 58, 30 new, 7 erased, and 11 that another set of laws claims from now on.
        ("2026-02", &["ru-msk", "replaced", "EEA + RU"], "11"),
        ("2026-02", &["ru-msk", "live", "RU"], "70"),
        ("2026-03", &["ru-msk", "expired", "RU"], "12"),
        ("2026-05", &["ru-msk", "placed", "RU"], "none"),
    ];
    check(&report, Section::Records, rows);
}

#[test]
fn small_counts_are_kept_back_and_guarded() {
    let report = report();
    let rows: &[(&str, &[&str], &str)] = &[
        ("2026-01", &["ru-msk", "placed", "KZ"], "<10"),
        ("2026-01", &["ru-msk", "deleted", "RU"], "<10"),
        ("2026-01", &["ru-msk", "live", "KZ"], "<10"),
        // Else the sum less the others would give the three away.
        ("2026-01", &["ru-msk", "placed", "EEA + RU"], "*"),
        ("2026-04", &["ru-msk", "placed", "RU"], "15"),
    ];
    check(&report, Section::Records, rows);
    for figure in report.figures.iter().filter(|figure| figure.section == Section::Records) {
        let count = figure.value.count();
        assert!(count.is_none_or(|count| count == 0 || count >= 10), "{figure:?}");
    }
    // Where one class of a month is kept back, another or the sum is, too.
    let all: Vec<&Figure> =
        report.figures.iter().filter(|figure| figure.section == Section::Records).collect();
    for figure in all.iter().filter(|figure| figure.value.count().is_none()) {
        let beside = all.iter().filter(|other| {
            (other.month, other.dimension, &other.region)
                == (figure.month, figure.dimension, &figure.region)
        });
        assert!(beside.filter(|other| other.value.count().is_none()).count() > 1, "{figure:?}");
    }
}

#[test]
fn acts_are_counted_by_what_their_entries_say() {
    let report = report();
    check(
        &report,
        Section::Refusals,
        &[
            ("2026-01", &["ru-msk", "reason", "TRANSFER_NOT_COVERED"], "3"),
            ("2026-03", &["ru-msk", "reason", "JURISDICTION_UNDETERMINED"], "5"),
            ("2026-04", &["eu-fra", "reason", "UNSATISFIABLE"], "1"),
        ],
    );
    check(
        &report,
        Section::Erasures,
        &[
            ("2026-02", &["ru-msk", "deadline", "in-time", "request of the person"], "1"),
            ("2026-02", &["ru-msk", "deadline", "late", "request of the person"], "1"),
            ("2026-02", &["ru-msk", "deadline", "no-deadline", "purpose reached"], "1"),
        ],
    );
    assert_eq!(report.late.len(), 1);
    assert_eq!(report.late[0].deadline, minute("2026-02-18"));
    check(
        &report,
        Section::Accesses,
        &[
            ("2026-01", &["ru-msk", "counted", "reader", "", "RU"], "200"),
            ("2026-02", &["ru-msk", "logged", "reader", "support case", "DE"], "1"),
            ("2026-02", &["ru-msk", "logged", "reader", "", ""], "1"),
            // The question of a plan is one question, however much it counted.
            ("2026-03", &["ru-msk", "plan", "operator", "", "RU"], "1"),
        ],
    );
    check(&report, Section::Events, &[("2026-03", &["ru-msk", "export", "operator"], "1")]);
    let english = report.to_html();
    // Of 1,293 reads one came from Germany and one from nobody knows where.
    assert!(english.contains("or from an unknown place: 2 of 1293."));
}

#[test]
fn copies_are_looked_up_in_the_log_of_their_home() {
    let report = report();
    check(
        &report,
        Section::Order,
        &[
            ("", &["ru-msk", "order", "COPY_OUT", "home-first"], "<10"),
            ("", &["kz-ala", "order", "COPY_IN", "home-first"], "<10"),
            ("", &["kz-ala", "order", "COPY_IN", "copy-first"], "none"),
            // One names a write after the period, which is not looked at; one a log that is not here.
            ("", &["kz-ala", "order", "COPY_IN", "not-shown"], "<10"),
            ("", &["kz-ala", "transfer", "MOVE_IN", "ru-msk", "ru-kz"], "<10"),
            ("", &["ru-msk", "transfer", "REPLACE", "", "eea-ru"], "11"),
        ],
    );
}

#[test]
fn gaps_are_found() {
    let report = report();
    let about = |kind: GapKind| -> Vec<String> {
        let found = report.gaps.iter().filter(|gap| gap.kind == kind);
        found.map(|gap| gap.about.join(" ")).collect()
    };
    assert_eq!(
        about(GapKind::LogUnverified),
        ["sample/kz-ala/a/1 its operators gave entries without tiles"]
    );
    assert_eq!(about(GapKind::RegionWithoutLog), ["in-bom", "us-iad"]);
    assert_eq!(about(GapKind::MapMissing), [format!("3 {}", "cc".repeat(32))]);
    assert_eq!(about(GapKind::Loss), ["sample/eu-fra/a/2 loss accepted"]);
    assert_eq!(about(GapKind::OldLogLonger), ["sample/eu-fra/a/2 sample/eu-fra/a/1 150 156"]);
    assert_eq!(about(GapKind::AttestationExpired), ["ru-msk 2026-03-31"]);
    // The first log of Frankfurt ends early as well, and is followed by the second.
    assert!(about(GapKind::EndsEarly).is_empty());
    assert!(about(GapKind::StatuteWeak).iter().any(|about| about.starts_with("ru-152fz ")));
    assert!(about(GapKind::MapUnsigned).is_empty() && about(GapKind::Cut).is_empty());
}

#[test]
fn a_log_that_lacks_entries_is_said_to() {
    let mut input = input(ADDRESS);
    let log = input.logs.pop().expect("a log");
    let entries = log.entries.take(20).chain([Err("unknown code in an entry".to_owned())]);
    input.logs.push(LogInput { entries: Box::new(entries.skip(1)), ..log });
    input.maps[1].text.push_str("# another text\n");
    let report = Report::new(input);
    let kinds: Vec<GapKind> = report.gaps.iter().map(|gap| gap.kind).collect();
    for kind in [GapKind::LogShort, GapKind::Unreadable, GapKind::NoGenesis, GapKind::MapUnusable] {
        assert!(kinds.contains(&kind), "{kind:?}: {kinds:?}");
    }
}

#[test]
fn nothing_at_all_is_a_report_too() {
    for language in Language::ALL {
        let input = Input {
            deployment: String::new(),
            period: 0..0,
            generated: 0,
            language: *language,
            logs: Vec::new(),
            maps: Vec::new(),
        };
        let page = Report::new(input).to_html();
        assert_eq!(tags::unbalanced(&page), None);
    }
}

#[test]
fn a_page_is_well_formed_and_needs_nothing_else() {
    for language in Language::ALL {
        let page = report().in_language(*language).to_html();
        assert_eq!(tags::unbalanced(&page), None);
        assert!(page.contains(&format!("<html lang=\"{}\">", language.as_str())));
        for foreign in
            ["<script", "http://", "https://", "<link", "<img", "@import", "url(", "src="]
        {
            assert!(!page.contains(foreign), "{foreign}");
        }
        let mut ids = tags::ids(&page);
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "an id is there twice");
        for link in page.split("href=\"#").skip(1).filter_map(|part| part.split('"').next()) {
            assert!(ids.contains(&link), "{link} leads nowhere");
        }
        assert_eq!(page.matches("<svg").count(), page.matches("<title id=").count());
        assert_eq!(page.matches("<table>").count(), page.matches("<caption>").count());
    }
}

#[test]
fn texts_of_others_stay_texts() {
    let hostile = "=HYPERLINK(\"x\")</td><script>alert(1)</script><img src=x onerror=y>'&\u{202e}";
    let mut input = input(hostile);
    let mut log = made::Log::new("us-iad", 1, "2026-01-03");
    log.add(Kind::Genesis, |entry| {
        entry.details = vec![Detail::Reason("<b onclick=\"z\">".to_owned())];
    });
    log.read("=cmd|' /C calc'!A0", Some("<i>"));
    log.refuse("@SUM(1)</svg><script>", 1);
    log.count(Role::Reader, 1, "-1+1");
    let verified = Verification::Partly { by: "<u>".to_owned(), why: "</p>".to_owned() };
    let made = log.input(verified);
    let shard = "\"><script>".to_owned();
    input.logs.push(LogInput { shard, ..made });
    "<h1>".clone_into(&mut input.deployment);
    let report = Report::new(input);
    for language in Language::ALL {
        let page = report.clone().in_language(*language).to_html();
        assert_eq!(tags::unbalanced(&page), None);
        for tag in ["<script", "<img", "<b ", "<i>", "<u>", "\u{202e}"] {
            assert!(!page.contains(tag), "{tag}");
        }
        assert!(page.contains("&lt;script&gt;alert(1)"));
    }
    let csv = report.to_csv();
    for line in csv.split("\r\n") {
        for cell in cells(line) {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t']), "{line}");
        }
    }
    assert!(csv.contains("\"'=HYPERLINK(\"\"x\"\")"));
}

/// The cells of a line.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    cells.push(cell);
    cells
}

#[test]
fn a_table_has_as_many_cells_in_every_line() {
    let csv = report().to_csv();
    assert!(csv.ends_with("\r\n"));
    for line in csv.trim_end().split("\r\n") {
        assert_eq!(cells(line).len(), 8, "{line}");
    }
}

#[test]
fn names_beyond_a_limit_are_counted_together() {
    let mut log = made::Log::new("ru-msk", 1, "2026-01-03");
    log.add(Kind::Genesis, |_| {});
    for number in 0..200 {
        log.read(&format!("purpose {number}"), Some("RU"));
        log.place(1, &[&format!("J{number}")], &[]);
    }
    let mut input = input(ADDRESS);
    input.logs = vec![log.input(made::whole())];
    let report = Report::new(input);
    check(
        &report,
        Section::Accesses,
        &[("2026-01", &["ru-msk", "logged", "reader", "(other)", "RU"], "136")],
    );
    check(
        &report,
        Section::Records,
        &[
            ("2026-01", &["ru-msk", "placed", "(not stated)"], "136"),
            ("2026-01", &["ru-msk", "placed", "(all)"], "200"),
        ],
    );
    assert!(report.gaps.iter().any(|gap| gap.kind == GapKind::Cut));
}

#[test]
fn many_small_counts_leave_something_to_show() {
    let months = 36;
    let mut log = made::Log::new("ru-msk", 1, "2023-01-03");
    log.add(Kind::Genesis, |_| {});
    let mut random = 7_u64;
    for month in 0..months {
        log.now = minute("2023-01-03") + month * 30 * made::DAY;
        for class in 0..24_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let most = if class < 4 { 60 } else { 6 };
            let count = (random >> 33) % most;
            let first = log.place(count, &[&format!("J{class}")], &[]);
            log.about(Kind::Delete, first, count / 3);
        }
    }
    let mut input = input(ADDRESS);
    input.period = minute("2023-01-01")..minute("2026-01-01");
    input.logs = vec![log.input(made::whole())];
    let report = Report::new(input);
    let all = report.figures.iter().filter(|figure| figure.key == ["(all)"]);
    let live = all.filter(|figure| figure.dimension == "live");
    let shown = live.filter(|figure| figure.value.count().is_some()).count();
    assert!(shown > 30, "{shown} of {months}");
}

#[test]
fn millions_of_entries_are_read_one_by_one() {
    const ENTRIES: u64 = 1_000_000;
    let from = minute("2026-01-01");
    let entries = (0..ENTRIES).map(move |index| {
        let kinds = [Kind::Place, Kind::Place, Kind::Replace, Kind::Read, Kind::Delete];
        let kind = kinds[usize::try_from(index % 5).expect("small")];
        let mut entry = Entry::new(kind, from + u32::try_from(index / 8).expect("small"));
        entry.jurisdictions = vec!["RU".to_owned()];
        entry.earlier = Some(index.saturating_sub(2));
        entry.details = vec![Detail::Reason("support".to_owned())];
        Ok((index, entry))
    });
    let log = LogInput {
        origin: "sample/ru-msk/a/1".to_owned(),
        region: "ru-msk".to_owned(),
        shard: "a".to_owned(),
        vkey: String::new(),
        checkpoint: String::new(),
        size: ENTRIES,
        root: Hash([0; 32]),
        verified: made::whole(),
        entries: Box::new(entries),
    };
    let input = Input {
        deployment: "sample".to_owned(),
        period: from..minute("2026-07-01"),
        generated: 0,
        language: Language::En,
        logs: vec![log],
        maps: Vec::<MapInput>::new(),
    };
    #[expect(clippy::disallowed_methods, reason = "a test that measures")]
    let began = std::time::Instant::now();
    let report = Report::new(input);
    let took = began.elapsed();
    println!("{ENTRIES} entries in {took:?}");
    assert_eq!(report.logs[0].read, ENTRIES);
    assert!(took.as_secs() < 60, "{took:?}");
}
