//! Rulings against golden files, and what maps and annexes say.

#![expect(clippy::panic, reason = "a test that goes astray may panic")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::support::expect::expect;
use crate::support::{PACKS, files, golden, read, with_digests};
use atlas::{
    Annex, Attachment, Date, EvidenceKind, Finding, Findings, Outcome, Question, RegionMap, Ruling,
    check, decide,
};
use terms::{Collection, Detail, Reason, Rejection, TenantId};

/// Findings written as `kind code, kind code`.
fn findings(text: &str) -> Findings {
    let mut findings = Findings::new();
    for item in text.split(", ").filter(|item| !item.is_empty()) {
        let (kind, code) = item.split_once(' ').expect("kind and code");
        let kind = EvidenceKind::parse(kind).expect("a kind");
        findings.insert(Finding::parse(kind, code).expect("a finding")).expect("room");
    }
    findings
}

fn map(name: &str) -> RegionMap {
    let path = match name {
        "sample" => golden().join("../../../../deploy/sample/map.toml"),
        _ => golden().join("maps").join(name).with_extension("toml"),
    };
    let text = with_digests(&read(&path));
    RegionMap::parse_carrying(&text, &PACKS).unwrap_or_else(|wrong| panic!("{name}: {wrong:#?}"))
}

fn show_attachment(attachment: &Attachment) -> String {
    let (statute, constraint) = (attachment.statute(), attachment.constraint());
    let (jurisdiction, reason) = (attachment.jurisdiction(), attachment.reason());
    format!("{jurisdiction}: {statute}, {constraint}: {reason}\n")
}

fn show(ruling: &Ruling) -> String {
    let mut text: String = ruling.attachments().iter().map(show_attachment).collect();
    match ruling.outcome() {
        Outcome::Placed(placement) => {
            write!(text, "placed in {} ({})", placement.region(), placement.territory())
                .expect("a string");
            assert_eq!(placement.statutes().len(), ruling.attachments().len());
            assert_eq!(placement.epoch(), ruling.epoch());
        }
        Outcome::Refused(refusal) => {
            let fault = Rejection::from(refusal);
            assert_eq!(fault.reason, refusal.reason());
            assert_eq!(fault.cure_text(), refusal.cure());
            assert_eq!(fault.detail(Detail::MapEpoch), Some(&*ruling.epoch().number.to_string()));
            write!(text, "refused, {}", refusal.reason()).expect("a string");
            if let Some(conflicting) = fault.detail(Detail::Conflicting) {
                write!(text, " [{conflicting}]").expect("a string");
            }
        }
    }
    writeln!(text, ": {}\nby {}", ruling.reason(), ruling.kinds()).expect("a string");
    text
}

/// `map NAME; tenant NAME; COLLECTION; DATE; FINDINGS`, ruled upon.
fn rule(question: &str) -> Ruling {
    let parts: Vec<&str> = question.splitn(5, ';').map(str::trim).collect();
    let [name, tenant, collection, date, items] = parts.as_slice() else {
        panic!("five parts: {question}")
    };
    let map = map(name.strip_prefix("map ").expect("a map"));
    let tenant =
        TenantId::parse(tenant.strip_prefix("tenant ").expect("a tenant")).expect("a name");
    let collection = Collection::parse(collection).expect("a name");
    let date = Date::parse(date).expect("a day");
    let findings = findings(items);
    let question = Question {
        tenant: &tenant,
        collection: &collection,
        findings: &findings,
        date: date.into(),
    };
    decide(&map, &question).expect("a known collection")
}

#[test]
fn rulings_are_as_written() {
    let path = golden().join("rulings.txt");
    let (mut actual, mut reasons) = (String::new(), BTreeSet::new());
    for case in read(&path).split("# ").skip(1) {
        let (head, _) = case.split_once("----\n").expect("a line of dashes");
        let question = head.lines().nth(1).expect("a question");
        let ruling = rule(question);
        reasons.extend(ruling.refusal().map(|refusal| refusal.reason().as_str()));
        write!(actual, "# {head}----\n{}\n", show(&ruling)).expect("a string");
    }
    expect(&path, &actual);
    let all = [
        Reason::CitizenAbroad,
        Reason::JurisdictionUndetermined,
        Reason::NoRegion,
        Reason::TransferNotCovered,
        Reason::Unsatisfiable,
    ];
    assert_eq!(reasons, all.iter().map(|reason| reason.as_str()).collect(), "every reason");
}

#[test]
fn an_unknown_collection_is_no_question() {
    let (map, tenant) = (map("sample"), TenantId::parse("sample").unwrap());
    let (collection, findings) = (Collection::parse("letters").unwrap(), findings("residence DE"));
    let date = Date::parse("2026-11-23").unwrap();
    let question = Question {
        tenant: &tenant,
        collection: &collection,
        findings: &findings,
        date: date.into(),
    };
    let fault = Rejection::from(decide(&map, &question).unwrap_err());
    assert_eq!(fault.reason, Reason::CollectionUnknown);
}

/// A map with an error in most of its parts, and the findings: line, column and code.
const BROKEN: &str = r#"name = "x"
deployment = "Not A Label"
version = -1
valid_untill = 2027-01-01
predecessor = "sha256:12"
[[tenants]]
name = "acme"
establishments = ["DE", "UK"]
[[collections]]
name = "profiles"
category = " "
reads = "never"
[[regions]]
name = "eu-fra"
territory = "DE"
site = "Frankfurt"
[[homes]]
for = "*"
region = "kz-ala"
laed = false
[[statutes]]
id = "kz-94x"
[[clauses]]
id = "c"
from = "EEA"
to = "RU"
collections = ["letters"]
legal_basis = "x"
importer = "x"
reference = 7
not_before = 2027-01-32
expires = "soon"
"#;

#[test]
fn every_error_is_reported_at_once_with_its_place() {
    let day = Date::parse("2026-11-25").expect("a day");
    let checked = check(BROKEN, &[], day, &[]);
    assert!(checked.map.is_none());
    let errors = |text: &str| RegionMap::parse(text).expect_err("broken");
    assert_eq!(checked.diagnostics, errors(BROKEN));
    // A day that TOML itself refuses hides the rest: the text is no TOML.
    let syntax: Vec<_> = checked.diagnostics.iter().map(|one| (one.line, one.code)).collect();
    assert_eq!(syntax, [(31, "TOML_SYNTAX")]);
    let found = errors(&BROKEN.replace("2027-01-32", "\"2027-01-32\""));
    let found: Vec<_> = found.iter().map(|one| (one.line, one.column, one.code)).collect();
    assert_eq!(
        found,
        [
            (2, 14, "NAME_INVALID"),
            (3, 11, "VALUE_TYPE"),
            (4, 1, "KEY_UNKNOWN"),
            (5, 15, "VALUE_INVALID"),
            (8, 25, "COUNTRY_UNKNOWN"),
            (11, 12, "VALUE_INVALID"),
            (12, 9, "VALUE_INVALID"),
            (16, 8, "VALUE_TYPE"),
            (19, 10, "REGION_UNKNOWN"),
            (20, 1, "KEY_UNKNOWN"),
            (21, 1, "KEY_MISSING"),
            (22, 6, "STATUTE_UNKNOWN"),
            (27, 16, "COLLECTION_UNKNOWN"),
            (30, 13, "VALUE_TYPE"),
            (31, 14, "DATE_INVALID"),
            (32, 11, "DATE_INVALID"),
        ]
    );
}

#[test]
fn every_error_of_an_annex_is_reported_at_once() {
    let annex = "region = \"eu-fra\"\ningress = \"http://10.0.0.1:443\"\n[[shards]]\nname = \"s1\"\n\
                 address = \"10.0.0.1:7411\"\nslots = [\"0-100\", \"7-1024\"]\n";
    let wrong = Annex::parse(annex, &map("sample")).expect_err("broken");
    let found: Vec<_> = wrong.iter().map(|one| (one.line, one.code)).collect();
    assert_eq!(found, [(2, "ADDRESS_INVALID"), (5, "ADDRESS_INVALID"), (6, "SLOTS_INVALID")]);
}

#[test]
fn the_annexes_of_the_sample_are_sound() {
    let map = map("sample");
    let folder = golden().join("../../../../deploy/sample/annex");
    let annexes: Vec<Annex> = files(&folder)
        .iter()
        .map(|path| Annex::parse(&read(path), &map).unwrap_or_else(|wrong| panic!("{wrong:?}")))
        .collect();
    assert_eq!(annexes.len(), map.regions().len());
    for annex in &annexes {
        let slot = terms::Slot::new(1023).unwrap();
        assert_eq!(annex.shard_of(slot).name().as_str(), "s1");
        assert!(map.region(annex.region()).is_some());
        assert_eq!(annex.shards().iter().map(|shard| shard.slots().count()).sum::<usize>(), 1024);
    }
}

#[test]
fn a_map_says_what_its_file_says() {
    let map = map("strict");
    assert_eq!((map.name(), map.deployment(), map.epoch().number), ("strict", "strict", 7));
    assert_eq!(map.predecessors().first().map(|digest| &digest[..3]), Some(&[0, 0x11, 0x22][..]));
    assert_eq!(map.valid_until(), Date::parse("2027-06-30"));
    let limit = |name| map.collection(&Collection::parse(name).unwrap()).unwrap().body_bytes_max();
    assert_eq!((limit("profiles"), limit("payments")), (4096, 65_536));
    let site = map.regions()[2].site();
    assert_eq!(map.regions()[2].name().as_str(), "ru-msk");
    assert_eq!((site.address.as_deref(), site.contract.as_deref()), (Some("made up"), None));
    let tenant = map.tenant(&TenantId::parse("acme").unwrap()).unwrap();
    assert_eq!(tenant.establishments().map(|c| c.as_str()).collect::<Vec<_>>(), ["FR"]);
    for clause in map.clauses() {
        assert_eq!(map.clause(clause.id()), Some(clause));
    }
    for statute in map.statutes() {
        assert_eq!(map.statute(statute.id()), Some(statute));
    }
}

#[test]
fn the_epoch_is_the_digest_of_the_file() {
    let text = read(&golden().join("../../../../deploy/sample/map.toml"));
    let one = RegionMap::parse(&text).unwrap().epoch();
    let other = RegionMap::parse(&format!("{text}\n# one line more\n")).unwrap().epoch();
    assert_eq!(one.number, other.number);
    assert_ne!(one, other);
}

/// What a map says, without the digest of its file.
fn meaning(text: &str) -> String {
    let map = RegionMap::parse_carrying(text, &PACKS).expect("a sound map");
    let shown = std::format!("{map:#?}");
    let (before, rest) = shown.split_once("sha256:").expect("the epoch");
    format!("{before}{}", rest.get(64..).expect("a digest"))
}

#[test]
fn a_map_says_the_same_in_its_one_layout() {
    let sample = golden().join("../../../../deploy/sample/map.toml");
    for path in files(&golden().join("maps")).into_iter().chain([sample.clone()]) {
        let text = with_digests(&read(&path));
        // As somebody else would have written it.
        let loose = text.replace(" = ", "=").replace("[\"", "[ \"").replace("\n[[", "\n\n\n  [[ ");
        for text in [text, loose] {
            let formatted = atlas::format(&text).expect("TOML");
            assert_eq!(meaning(&text), meaning(&formatted), "{}", path.display());
            assert_eq!(atlas::format(&formatted).as_ref(), Ok(&formatted));
            let notes = |text: &str| {
                let notes = text.lines().filter_map(|line| line.trim().strip_prefix('#'));
                notes.map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(notes(&text), notes(&formatted));
        }
    }
    let text = read(&sample);
    assert_eq!(atlas::format(&text), Ok(text), "the sample has the layout that we ask for");
}
