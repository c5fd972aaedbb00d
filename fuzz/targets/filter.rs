//! What a list asks for: a filter, and behind a zero byte an order. What is read is found again from its
//! comparisons, finds what a naive reading of them finds, and says the same in parentheses and twice.

use std::sync::LazyLock;

use atlas::{
    AttributeName, AttributeValue, CollectionRules, Comparison, Filter, Operator, OrderBy,
    RecordAttributes, RegionMap, Timestamp,
};
use terms::{Collection, Reason, Rejection};

const MAP: &str = concat!(
    include_str!("../../deploy/sample/map.toml"),
    r#"
[[collections]]
name = "posts"
category = "c"
reads = "counted"

[[collections.attributes]]
name = "to"
type = "string"
index = "exact"

[[collections.attributes]]
name = "title"
type = "string"
index = "range"

[[collections.attributes]]
name = "likes"
type = "integer"
index = "range"

[[collections.attributes]]
name = "seen"
type = "bool"
index = "exact"

[[collections.attributes]]
name = "sent"
type = "timestamp"
index = "range"

[[collections.attributes]]
name = "note"
type = "string"
index = "none"
"#
);
static RULES: LazyLock<Option<CollectionRules>> = LazyLock::new(|| {
    let map = RegionMap::parse(MAP).ok()?;
    map.collection(&Collection::parse("posts").ok()?).cloned()
});

/// Reasons for which a filter or an order is refused.
const REASONS: [Reason; 5] = [
    Reason::FilterInvalid,
    Reason::TooManyItems,
    Reason::AttributeUnknown,
    Reason::AttributeInvalid,
    Reason::IndexRequired,
];

fn refused(fault: &Rejection, field: &str) {
    assert!(REASONS.contains(&fault.reason), "a refusal has one of its reasons");
    assert!(fault.field.as_deref() == Some(field), "a refusal names its field");
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::text(text).expect("a short text")
}

/// Records that differ in what filters ask for.
fn records() -> Vec<RecordAttributes> {
    let time = |seconds| Timestamp::new(seconds, 0).map(AttributeValue::Timestamp);
    let all: [&[(&str, AttributeValue)]; 4] = [
        &[],
        &[("to", text("anna")), ("likes", AttributeValue::Integer(-3))],
        &[("to", text("")), ("title", text("b")), ("seen", AttributeValue::Bool(true))],
        &[("likes", AttributeValue::Integer(7)), ("sent", time(1_780_000_000).expect("a time"))],
    ];
    let record = |all: &&[(&str, AttributeValue)]| {
        let mut record = RecordAttributes::new();
        for (name, value) in *all {
            let name = AttributeName::parse(name).expect("a name");
            record.insert(name, value.clone()).expect("room");
        }
        record
    };
    all.iter().map(record).collect()
}

/// Whether a comparison holds, by its words.
fn holds(one: &Comparison, record: &RecordAttributes) -> bool {
    let Some(own) = record.get(&one.attribute) else { return false };
    let (Some(first), own) = (one.values.first(), own.ordered()) else { return false };
    let first = first.ordered();
    match one.operator {
        Operator::Equal => one.values.iter().any(|value| value.ordered() == own),
        Operator::NotEqual => own != first,
        Operator::Less => own < first,
        Operator::LessOrEqual => own <= first,
        Operator::Greater => own > first,
        Operator::GreaterOrEqual => own >= first,
    }
}

/// A value as a filter writes it. None: a time, which is written in many ways.
fn value(value: &AttributeValue) -> Option<String> {
    match value {
        AttributeValue::String(text) => {
            let text = text.expose().replace('\\', "\\\\").replace('"', "\\\"");
            Some(format!("\"{text}\""))
        }
        AttributeValue::Integer(number) => Some(number.to_string()),
        AttributeValue::Bool(flag) => Some(flag.to_string()),
        AttributeValue::Timestamp(_) => None,
    }
}

/// The filter that has these comparisons.
fn written(all: &[Comparison]) -> Option<String> {
    let mut parts = Vec::new();
    for one in all {
        let values: Option<Vec<String>> = one.values.iter().map(value).collect();
        let values = values?.join(", ");
        let sign = match one.operator {
            Operator::Equal => {
                parts.push(format!("{} IN ({values})", one.attribute));
                continue;
            }
            Operator::NotEqual => "!=",
            Operator::Less => "<",
            Operator::LessOrEqual => "<=",
            Operator::Greater => ">",
            Operator::GreaterOrEqual => ">=",
        };
        parts.push(format!("{}{sign}{values}", one.attribute));
    }
    Some(parts.join(" AND "))
}

fn same(one: &Filter, other: &Filter) -> bool {
    let (one, other) = (one.comparisons(), other.comparisons());
    let equal = |(a, b): (&Comparison, &Comparison)| {
        a.attribute == b.attribute && a.operator == b.operator && a.values == b.values
    };
    one.len() == other.len() && one.iter().zip(other).all(equal)
}

/// Tries one input. A panic is a finding.
pub fn run(data: &[u8]) {
    let Ok(input) = std::str::from_utf8(data) else { return };
    let (filter, order) = input.split_once('\0').unwrap_or((input, ""));
    let rules = RULES.as_ref().expect("the map is valid");
    match OrderBy::parse(order, rules) {
        Err(fault) => refused(&fault, "order_by"),
        Ok(read) => assert!(read.is_none() == order.trim_ascii().is_empty(), "no order is none"),
    }
    let read = match Filter::parse(filter, rules) {
        Err(fault) => return refused(&fault, "filter"),
        Ok(read) => read,
    };
    for record in records() {
        let naive = read.comparisons().iter().all(|one| holds(one, &record));
        assert!(read.matches(&record) == naive, "a record is found by all comparisons");
    }
    // Where that is no longer than a filter may be.
    if let Some(text) = written(read.comparisons()) {
        if let Ok(again) = Filter::parse(&text, rules) {
            assert!(same(&read, &again), "what was read is written and read again");
        } else {
            assert!(text.len() > atlas::limits::FILTER_BYTES_MAX, "and is a filter");
        }
    }
    if !read.comparisons().is_empty() {
        if let Ok(again) = Filter::parse(&format!("({filter})"), rules) {
            assert!(same(&read, &again), "parentheses change nothing");
        }
        if let Ok(twice) = Filter::parse(&format!("{filter} AND {filter}"), rules) {
            for record in records() {
                assert!(twice.matches(&record) == read.matches(&record), "twice is once");
            }
        }
    }
}
