//! Filters and orders: what is read, what is refused and why, what they find.

use terms::{Collection, Detail, Reason, Rejection};

use super::{Filter, OrderBy};
use crate::attributes::{AttributeName, AttributeValue, RecordAttributes, Timestamp};
use crate::map::{CollectionRules, RegionMap};

const MAP: &str = include_str!("../../../../deploy/sample/map.toml");

/// A collection with one attribute of each type and index.
fn rules() -> CollectionRules {
    let mut text =
        String::from("[[collections]]\nname = \"posts\"\ncategory = \"c\"\nreads = \"counted\"\n");
    for (name, kind, index) in [
        ("to", "string", "exact"),
        ("title", "string", "range"),
        ("likes", "integer", "range"),
        ("seen", "bool", "exact"),
        ("sent", "timestamp", "range"),
        ("note", "string", "none"),
    ] {
        text.push_str(&format!(
            "[[collections.attributes]]\nname = \"{name}\"\ntype = \"{kind}\"\nindex = \"{index}\"\n"
        ));
    }
    let map = MAP.replacen("[[collections]]", &format!("{text}\n[[collections]]"), 1);
    let map = RegionMap::parse(&map).unwrap();
    map.collection(&Collection::parse("posts").unwrap()).unwrap().clone()
}

fn record(all: &[(&str, AttributeValue)]) -> RecordAttributes {
    let mut record = RecordAttributes::new();
    for (name, value) in all {
        record.insert(AttributeName::parse(name).unwrap(), value.clone()).unwrap();
    }
    record
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::text(text).unwrap()
}

#[test]
fn a_filter_finds_what_it_says() {
    let rules = rules();
    let sent = AttributeValue::Timestamp(Timestamp::parse("2026-11-30T06:45:00Z").unwrap());
    let record = record(&[
        ("to", text("anna")),
        ("title", text("a \"b\" 'c' \\ d")),
        ("likes", AttributeValue::Integer(-3)),
        ("seen", AttributeValue::Bool(false)),
        ("sent", sent),
    ]);
    for (filter, wanted) in [
        ("", true),
        ("  ", true),
        ("to = \"anna\"", true),
        ("to='anna'AND likes=-3", true),
        ("to = \"Anna\"", false),
        ("to != \"anna\"", false),
        ("to != \"bert\"", true),
        ("to IN (\"bert\", \"anna\")", true),
        ("to IN (\"bert\")", false),
        ("likes < -2", true),
        ("likes < -3", false),
        ("likes <= -3 AND likes >= -3", true),
        ("likes > -4 AND (likes < 0 AND (seen = false))", true),
        ("((likes > -3))", false),
        ("seen = true", false),
        ("sent >= \"2026-11-30T08:45:00+02:00\"", true),
        ("sent > \"2026-11-30T06:45:00Z\"", false),
        ("title = \"a \\\"b\\\" 'c' \\\\ d\"", true),
        ("title > 'a'", true),
        ("title >= 'b'", false),
    ] {
        let read = Filter::parse(filter, &rules).map_err(|fault| fault.message()).unwrap();
        assert_eq!(read.matches(&record), wanted, "{filter}");
        // What a record does not have is not found, whatever is compared.
        let empty = RecordAttributes::new();
        assert_eq!(read.matches(&empty), filter.trim().is_empty(), "{filter}");
    }
}

#[track_caller]
fn refused(filter: &str) -> Rejection {
    let fault = Filter::parse(filter, &rules()).err().unwrap();
    assert_eq!(fault.field.as_deref(), Some("filter"));
    let shown = format!("{fault:?}{fault}");
    assert!(!shown.contains("secret"), "{shown}");
    fault
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    for (filter, place) in [
        ("to", 3),
        ("to =", 5),
        ("to = secret", 6),
        ("likes == 1", 8),
        ("to ~ 'secret'", 4),
        ("to = 'secret", 6),
        ("to = 'secret\\n'", 6),
        ("to = 'a' OR to = 'b'", 10),
        ("to = 'a' AND", 13),
        ("AND to = 'a'", 1),
        ("(to = 'a'", 10),
        ("to = 'a')", 9),
        ("to IN 'a'", 10),
        ("to IN ('a'", 11),
        ("to IN ('a' 'b')", 12),
        ("to IN ()", 8),
        ("likes = 9223372036854775808", 9),
        ("likes = 1e3", 9),
        ("likes = --1", 9),
        ("'to' = 'a'", 1),
        ("ä = 1", 1),
        ("to = 'ä' ?", 10),
    ] {
        let fault = refused(filter);
        assert_eq!(fault.reason, Reason::FilterInvalid, "{filter}");
        let problem = fault.problem.unwrap();
        assert!(problem.contains(&format!("character {place}")), "{filter}: {problem}");
    }
}

#[test]
fn what_is_too_long_or_too_deep_is_refused_with_the_limit() {
    let limit = |filter: &str, reason, limit: &str| {
        let fault = refused(filter);
        assert_eq!((fault.reason, fault.detail(Detail::Limit)), (reason, Some(limit)));
    };
    let terms = vec!["seen = true"; 10_000].join(" AND ");
    limit(&terms, Reason::FilterInvalid, "8192");
    limit(&format!("to = '{}'", "x".repeat(64 << 10)), Reason::FilterInvalid, "8192");
    limit(&vec!["seen = true"; 33].join(" AND "), Reason::TooManyItems, "32");
    let values = vec!["1"; 129].join(",");
    limit(&format!("likes IN ({values})"), Reason::TooManyItems, "128");
    let deep = |n: usize| format!("{}seen = true{}", "(".repeat(n), ")".repeat(n));
    assert!(Filter::parse(&deep(16), &rules()).is_ok());
    assert_eq!(refused(&deep(17)).reason, Reason::FilterInvalid);
    assert_eq!(refused(&deep(4_000)).reason, Reason::FilterInvalid);
    assert!(Filter::parse(&vec!["seen = true"; 32].join(" AND "), &rules()).is_ok());
}

#[test]
fn types_and_indexes_must_fit() {
    for (filter, attribute) in [
        ("to = 7", "to"),
        ("likes = 'secret'", "likes"),
        ("likes = true", "likes"),
        ("seen = 'true'", "seen"),
        ("sent = 1", "sent"),
        ("sent = 'secret'", "sent"),
        ("likes IN (1, 'secret')", "likes"),
    ] {
        let fault = refused(filter);
        assert_eq!(fault.reason, Reason::AttributeInvalid, "{filter}");
        assert_eq!(fault.detail(Detail::Attribute), Some(attribute));
    }
    let long = format!("to = '{}'", "x".repeat(257));
    assert_eq!(refused(&long).reason, Reason::AttributeInvalid);
    for (filter, attribute, index) in [
        ("note = 'a'", "note", "\"exact\" or \"range\""),
        ("note != 'a'", "note", "\"exact\" or \"range\""),
        ("note > 'a'", "note", "\"range\""),
        ("to = 'a' AND to < 'secret'", "to", "\"range\""),
        ("seen >= true", "seen", "\"range\""),
    ] {
        let fault = refused(filter);
        assert_eq!(fault.reason, Reason::IndexRequired, "{filter}");
        assert_eq!(fault.detail(Detail::Attribute), Some(attribute));
        assert!(fault.message().contains(&format!("`{attribute}` would need the index {index}")));
    }
    let fault = refused("secret = 1");
    assert_eq!(fault.reason, Reason::AttributeUnknown);
    assert_eq!(fault.cure_text(), "use one of: likes, note, seen, sent, title, to");
}

#[test]
fn an_order_is_the_key_or_an_attribute_with_a_range() {
    let rules = rules();
    let read = |text: &str| OrderBy::parse(text, &rules);
    assert_eq!(read(" "), Ok(None));
    let by = |name: Option<&str>, descending| {
        let attribute = name.and_then(AttributeName::parse);
        Ok(Some(OrderBy { attribute, descending }))
    };
    assert_eq!(read("key"), by(None, false));
    assert_eq!(read("key desc"), by(None, true));
    assert_eq!(read("sent"), by(Some("sent"), false));
    assert_eq!(read("likes  asc"), by(Some("likes"), false));
    assert_eq!(read("title desc"), by(Some("title"), true));
    for (text, reason) in [
        ("to", Reason::IndexRequired),
        ("note desc", Reason::IndexRequired),
        ("secret", Reason::AttributeUnknown),
        ("sent, likes", Reason::FilterInvalid),
        ("sent up", Reason::FilterInvalid),
        ("sent desc desc", Reason::FilterInvalid),
    ] {
        let fault = read(text).err().unwrap();
        assert_eq!((fault.reason, fault.field.as_deref()), (reason, Some("order_by")), "{text}");
        assert!(!format!("{fault:?}").contains("secret"));
    }
}
