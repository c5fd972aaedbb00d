//! What a ruling with its placement costs, for people such as those of the evidence set.

use std::hint::black_box;

use atlas::{Date, EvidenceKind, Finding, Findings, Question, RegionMap, decide};
use criterion::{Criterion, criterion_group, criterion_main};
use terms::{Collection, TenantId};

const MAP: &str = include_str!("../../../tests/evidence/map.toml");

/// Name of the case, collection, findings.
const PEOPLE: &[(&str, &str, &str)] = &[
    ("finn_at_home", "payments", "citizenship FI, residence FI, phone FI, sim BY"),
    ("only_an_address", "messages", "ip US"),
    ("russian_in_moscow", "payments", "collected_in RU, ip US, phone RU"),
    ("russian_in_almaty", "profiles", "citizenship RU, residence KZ, ip KZ, phone KZ"),
    ("german_and_russian_in_london", "profiles", "citizenship DE, document RU, residence GB"),
    ("indian_payment", "payments", "citizenship IN, collected_in IN, phone IN"),
    ("refused_transfer", "messages", "citizenship RU, residence FR, ip FR, phone FR"),
    ("nothing_known", "profiles", ""),
];

fn findings(items: &str) -> Findings {
    let mut findings = Findings::new();
    for item in items.split(", ").filter(|item| !item.is_empty()) {
        let (kind, code) = item.split_once(' ').expect("kind and code");
        let kind = EvidenceKind::parse(kind).expect("a kind");
        let finding = Finding::parse(kind, code).expect("a finding");
        findings.insert(finding).expect("room");
    }
    findings
}

fn rulings(c: &mut Criterion) {
    let map = RegionMap::parse(MAP).expect("the sample map is sound");
    let tenant = TenantId::parse("sample").expect("a name");
    let date = Date::parse("2026-11-23").expect("a day");
    let mut group = c.benchmark_group("ruling");
    for (name, collection, items) in PEOPLE {
        let collection = Collection::parse(collection).expect("a name");
        let findings = findings(items);
        let question = Question {
            tenant: &tenant,
            collection: &collection,
            findings: &findings,
            date: date.into(),
        };
        group.bench_function(*name, |b| {
            b.iter(|| decide(black_box(&map), black_box(&question)));
        });
    }
    group.finish();
}

criterion_group!(benches, rulings);
criterion_main!(benches);
