//! Lines of a file of persons, as `import` and `explain` read them: what is stored is a part of the
//! line, says the same, and reads the same again.

use evidence::JsonLine;
use serde_json::{Map, Value};

/// Tries one input. A panic is a finding.
pub fn run(data: &[u8]) {
    let Ok(line) = JsonLine::read(data) else { return };
    let body = line.body();
    let again = JsonLine::read(body).expect("what is stored reads again");
    assert!(again.body() == body && again.id == line.id && again.collection == line.collection);
    assert!(again.evidence == line.evidence);
    // Every byte of it stands in the line, in this order.
    let mut rest = data.iter();
    assert!(body.iter().all(|byte| rest.any(|other| other == byte)), "nothing is rewritten");
    // A general reader finds the same members but for `expect`. It is stricter in depth and text.
    let Ok(mut whole) = serde_json::from_slice::<Map<String, Value>>(data) else { return };
    whole.remove("expect");
    let stored: Map<String, Value> = serde_json::from_slice(body).expect("a part of what was read");
    assert!(stored == whole, "only `expect` is gone");
}
