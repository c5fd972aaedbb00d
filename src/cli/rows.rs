//! Lines of a file of persons: JSON objects with `id`, `collection` and `evidence`, and whatever
//! else their owner keeps there.

use serde_json::{Map, Value};
use terms::{Collection, Fault, Reason, SubjectId, limits};

use super::Item;

/// The member that holds what a test expects. It is no part of the record.
const EXPECT: &str = "expect";

/// One person's row.
pub(crate) struct Row {
    pub(crate) id: SubjectId,
    pub(crate) collection: Collection,
    pub(crate) evidence: Vec<Item>,
    /// The object without `expect`, for whoever stores it.
    object: Map<String, Value>,
}

impl Row {
    /// Reads a line. What is wrong with it never repeats what stands in it.
    pub(crate) fn read(line: &[u8]) -> Result<Self, Fault> {
        let value = serde_json::from_slice(line).map_err(|error| {
            Fault::new(Reason::FieldInvalid)
                .problem(format!("is not JSON (column {})", error.column()))
                .cure("write one JSON object a line")
        })?;
        let Value::Object(mut object) = value else {
            return Err(invalid("", "is not a JSON object"));
        };
        // Taken out without moving the others.
        object.shift_remove(EXPECT);
        let id = SubjectId::parse(text(&object, "id")?).map_err(|why| Fault::id("id", why))?;
        let collection = Collection::parse(text(&object, "collection")?)
            .map_err(|why| Fault::id("collection", why))?;
        let evidence = evidence(&object)?;
        Ok(Self { id, collection, evidence, object })
    }

    /// What an import stores: the object without `expect`, as compact JSON with its members in the
    /// order in which they came. Spaces between tokens are not kept, and numbers and escapes are
    /// written in their shortest form.
    pub(crate) fn body(&self) -> Vec<u8> {
        serde_json::to_vec(&self.object).expect("a value that was read can be written")
    }
}

fn evidence(object: &Map<String, Value>) -> Result<Vec<Item>, Fault> {
    let items = match object.get("evidence") {
        Some(Value::Array(items)) => items,
        Some(_) => return Err(invalid("evidence", "is not a list")),
        None => return Err(Fault::new(Reason::FieldMissing).field("evidence")),
    };
    if items.len() > limits::EVIDENCE_ITEMS_MAX {
        let fault = Fault::new(Reason::TooManyItems).field("evidence");
        return Err(fault.with(terms::Detail::Limit, limits::EVIDENCE_ITEMS_MAX));
    }
    let item = |(n, item): (usize, &Value)| {
        let member = |name: &str| {
            let text = item.get(name).and_then(Value::as_str);
            let field = format!("evidence[{n}].{name}");
            text.ok_or_else(|| Fault::new(Reason::FieldMissing).field(field))
        };
        Item::read(n, member("kind")?, member("value")?.to_owned())
    };
    items.iter().enumerate().map(item).collect()
}

fn text<'a>(object: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, Fault> {
    match object.get(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(invalid(name, "is not a text")),
        None => Err(Fault::new(Reason::FieldMissing).field(name)),
    }
}

fn invalid(field: &'static str, problem: &'static str) -> Fault {
    let fault = Fault::new(Reason::FieldInvalid).problem(problem);
    if field.is_empty() { fault } else { fault.field(field) }
}

/// Whether there is nothing on a line: such lines are passed over, and counted.
pub(crate) fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_the_object_in_its_order_without_expect() {
        let line = r#"{"z": 1, "id":"a", "expect": {"b": 2}, "collection":"c", "evidence": [], "a": 1.50}"#;
        let row = Row::read(line.as_bytes()).unwrap_or_else(|fault| panic!("{fault}"));
        let body = String::from_utf8(row.body()).unwrap();
        assert_eq!(body, r#"{"z":1,"id":"a","collection":"c","evidence":[],"a":1.5}"#);
        let again = Row::read(body.as_bytes()).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(again.body(), row.body());
    }

    #[test]
    fn what_is_wrong_is_named_and_never_repeated() {
        let cases = [
            ("{", "FIELD_INVALID", None),
            ("[]", "FIELD_INVALID", None),
            (r#"{"collection":"c","evidence":[]}"#, "FIELD_MISSING", Some("id")),
            (r#"{"id":"secret\n","collection":"c","evidence":[]}"#, "FIELD_INVALID", Some("id")),
            (r#"{"id":7,"collection":"c","evidence":[]}"#, "FIELD_INVALID", Some("id")),
            (r#"{"id":"a","collection":"C","evidence":[]}"#, "FIELD_INVALID", Some("collection")),
            (r#"{"id":"a","collection":"c"}"#, "FIELD_MISSING", Some("evidence")),
            (r#"{"id":"a","collection":"c","evidence":{}}"#, "FIELD_INVALID", Some("evidence")),
            (
                r#"{"id":"a","collection":"c","evidence":[{"kind":"secret","value":"x"}]}"#,
                "EVIDENCE_KIND_UNKNOWN",
                Some("evidence[0].kind"),
            ),
            (
                r#"{"id":"a","collection":"c","evidence":[{"kind":"ip"}]}"#,
                "FIELD_MISSING",
                Some("evidence[0].value"),
            ),
        ];
        for (line, reason, field) in cases {
            let Err(fault) = Row::read(line.as_bytes()) else { panic!("{line}") };
            assert_eq!(fault.reason.as_str(), reason, "{line}");
            assert_eq!(fault.field.as_deref(), field, "{line}");
            assert!(!fault.message().contains("secret"), "{fault}");
        }
    }
}
