//! The evidence set: 3,000 persons, with the region or the refusal that each must get.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::file;

/// One row.
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) collection: String,
    /// What `import` stores: the line without `expect`, byte for byte.
    pub(crate) body: Vec<u8>,
    /// The region that holds the record, or the reason why none does.
    pub(crate) expected: Result<String, String>,
}

/// The file itself.
pub(crate) const PEOPLE: &str = "tests/evidence/people.jsonl";

/// All rows, in order.
pub(crate) fn people() -> Vec<Person> {
    let text = fs::read_to_string(file(PEOPLE)).expect("the evidence set is there");
    text.lines().map(person).collect()
}

fn person(line: &str) -> Person {
    let row: Value = serde_json::from_str(line).expect("a row is JSON");
    let expect = row.get("expect").expect("a row says what to expect");
    // It stands last in each row.
    let (rest, _) = line.rsplit_once(", \"expect\": ").expect("a row says what to expect");
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let (region, refusal) = (text(expect, "region"), text(expect, "refuse"));
    Person {
        id: text(&row, "id").expect("a row has an id"),
        collection: text(&row, "collection").expect("a row has a collection"),
        body: format!("{rest}}}").into_bytes(),
        expected: region.ok_or_else(|| refusal.expect("a region or a refusal")),
    }
}

/// How many of the rows get each region, and each refusal.
pub(crate) fn expected(people: &[Person]) -> Value {
    let (mut placed, mut refused) = (BTreeMap::new(), BTreeMap::new());
    for person in people {
        match &person.expected {
            Ok(region) => *placed.entry(region).or_insert(0) += 1,
            Err(reason) => *refused.entry(reason).or_insert(0) += 1,
        }
    }
    serde_json::json!({ "placed": placed, "refused": refused })
}
