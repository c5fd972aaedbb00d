//! Every row of the evidence set gives exactly the answer that comes with it.

use std::fmt::Write as _;

use atlas::{Date, EvidenceKind, Findings, Outcome, Question, RegionMap, decide};
use evidence::Sources;
use serde::Deserialize;
use terms::{Collection, TenantId};

const PEOPLE: &str = include_str!("../../../tests/evidence/people.jsonl");
const DATABASE: &[u8] = include_bytes!("../../../tests/evidence/ip-country.mmdb");
const MAP: &str = include_str!("../../../tests/evidence/map.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    collection: String,
    evidence: Vec<Item>,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    kind: String,
    value: String,
}

#[derive(Deserialize, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
struct Expect {
    jurisdictions: Vec<String>,
    region: Option<String>,
    mirrors: Option<Vec<String>>,
    refuse: Option<String>,
}

fn answer(map: &RegionMap, sources: &Sources, row: &Row) -> Expect {
    let kind = |item: &Item| EvidenceKind::parse(&item.kind).expect("a kind");
    let items: Vec<(EvidenceKind, &str)> =
        row.evidence.iter().map(|item| (kind(item), item.value.as_str())).collect();
    let findings = sources.findings(map, &items, &Findings::new()).expect("well-formed evidence");
    let tenant = TenantId::parse("sample").expect("a name");
    let collection = Collection::parse(&row.collection).expect("a name");
    let date = Date::parse("2026-11-23").expect("a day");
    let question = Question {
        tenant: &tenant,
        collection: &collection,
        findings: &findings,
        date: date.into(),
    };
    let ruling = decide(map, &question).expect("a known collection");
    let jurisdictions = ruling.jurisdictions().iter().map(ToString::to_string).collect();
    match ruling.outcome() {
        Outcome::Placed(placement) => Expect {
            jurisdictions,
            region: Some(placement.region().to_string()),
            mirrors: Some(placement.mirrors().iter().map(ToString::to_string).collect()),
            refuse: None,
        },
        Outcome::Refused(refusal) => {
            let refuse = Some(refusal.reason().to_string());
            Expect { jurisdictions, region: None, mirrors: None, refuse }
        }
    }
}

#[test]
fn every_person_gets_the_expected_answer() {
    let map = RegionMap::parse(MAP).expect("a sound map");
    let sources = Sources::new(Some(DATABASE.to_vec())).expect("a database");
    let mut wrong = String::new();
    let (mut rows, mut placed) = (0, 0);
    for line in PEOPLE.lines() {
        let row: Row = serde_json::from_str(line).expect("a row");
        let answer = answer(&map, &sources, &row);
        rows += 1;
        placed += usize::from(answer.region.is_some());
        if answer != row.expect {
            writeln!(wrong, "{}: {answer:?}, expected {:?}", row.id, row.expect).expect("a string");
        }
    }
    println!("{rows} rows, {placed} placed, {} refused", rows - placed);
    assert_eq!(wrong, "");
    assert_eq!((rows, placed), (3000, 2794));
}
