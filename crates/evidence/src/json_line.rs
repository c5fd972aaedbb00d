//! A line of a file of persons (JSON Lines): an object with `id`, `collection` and `evidence`, and
//! whatever else its owner keeps there.
//!
//! Only those members are read. Everything else stays as it was written: numbers, escapes, spaces
//! and members that stand twice are the owner's.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use terms::{Collection, Reason, Rejection, SubjectId, limits};

use crate::Evidence;

/// The members that are read. Each may stand once.
const NAMES: [&str; 4] = ["id", "collection", "evidence", EXPECT];
/// The member that holds what a test expects. It is no part of the record.
const EXPECT: &str = "expect";
/// The members of a piece of evidence that are read.
const ITEM_NAMES: [&str; 2] = ["kind", "value"];
/// What JSON takes for space.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// One person's line.
#[derive(Clone)]
pub struct JsonLine<'a> {
    /// The person.
    pub id: SubjectId,
    /// Of which the record is.
    pub collection: Collection,
    /// What shows where the person belongs.
    pub evidence: Vec<Evidence>,
    body: Cow<'a, str>,
}

impl fmt::Debug for JsonLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonLine({} pieces of evidence, …)", self.evidence.len())
    }
}

impl<'a> JsonLine<'a> {
    /// Reads a line. What is wrong with it never repeats what stands in it.
    ///
    /// # Errors
    /// `FIELD_INVALID`, `FIELD_MISSING`, `TOO_MANY_ITEMS` and `EVIDENCE_KIND_UNKNOWN`, with the
    /// path of the member. A member that is read and stands twice is invalid.
    pub fn read(line: &'a [u8]) -> Result<Self, Rejection> {
        let text = std::str::from_utf8(line).map_err(|error| {
            let problem = format!("is not UTF-8 (byte {})", error.valid_up_to() + 1);
            Rejection::new(Reason::FieldInvalid).problem(problem).cure("write the file in UTF-8")
        })?;
        if text.starts_with('\u{feff}') {
            let problem = "begins with a byte order mark, which only the first line of a file may";
            return Err(Rejection::new(Reason::FieldInvalid).problem(problem).cure("remove it"));
        }
        let text = text.trim_matches(SPACE);
        let members = Members::read(text, &NAMES, "")?;
        let [id, collection, evidence, _] = members.values;
        let (id, collection) = (string(id, "id")?, string(collection, "collection")?);
        let id = SubjectId::parse(&id).map_err(|why| Rejection::id("id", why))?;
        let collection =
            Collection::parse(&collection).map_err(|why| Rejection::id("collection", why))?;
        let evidence = items(evidence)?;
        let body = match members.without.and_then(|cut| Some((text.get(..cut.start)?, cut))) {
            Some((before, cut)) => {
                Cow::Owned(format!("{before}{}", text.get(cut.end..).unwrap_or_default()))
            }
            None => Cow::Borrowed(text),
        };
        Ok(Self { id, collection, evidence, body })
    }

    /// What an import stores: the object byte for byte as it stands in the line, without `expect`
    /// and the comma that belongs to it.
    pub fn body(&self) -> &[u8] {
        self.body.as_bytes()
    }
}

fn items(value: Option<&RawValue>) -> Result<Vec<Evidence>, Rejection> {
    let value = value.ok_or_else(|| Rejection::new(Reason::FieldMissing).field("evidence"))?;
    let items: Vec<&RawValue> = serde_json::from_str(value.get())
        .map_err(|_| invalid("evidence").problem("is not a list"))?;
    if items.len() > limits::EVIDENCE_ITEMS_MAX {
        let fault = Rejection::new(Reason::TooManyItems).field("evidence");
        return Err(fault.with(terms::Detail::Limit, limits::EVIDENCE_ITEMS_MAX));
    }
    let item = |(n, item): (usize, &&RawValue)| {
        let path = format!("evidence[{n}]");
        let [kind, value] = Members::read(item.get(), &ITEM_NAMES, &path)?.values;
        let kind = string(kind, &format!("{path}.kind"))?;
        Evidence::read(n, &kind, string(value, &format!("{path}.value"))?)
    };
    items.iter().enumerate().map(item).collect()
}

/// The text of a member that must be a string.
fn string(value: Option<&RawValue>, path: &str) -> Result<String, Rejection> {
    let missing = || Rejection::new(Reason::FieldMissing).field(path.to_owned());
    let text = value.ok_or_else(missing)?.get();
    serde_json::from_str(text).map_err(|_| {
        let (problem, cure) = match text.as_bytes().first() {
            Some(b'"') => ("has an escape that is no character", "write the character itself"),
            Some(b'-' | b'0'..=b'9') => ("is a number", "write it in quotes, as a JSON string"),
            _ => ("is not a JSON string", "write it in quotes, as a JSON string"),
        };
        invalid(path).problem(problem).cure(cure)
    })
}

fn invalid(path: &str) -> Rejection {
    let fault = Rejection::new(Reason::FieldInvalid);
    if path.is_empty() { fault } else { fault.field(path.to_owned()) }
}

/// Some members of an object, as they stand in its text.
struct Members<'a, const N: usize> {
    /// In the order of the names.
    values: [Option<&'a RawValue>; N],
    /// The first name that stands twice.
    doubled: Option<&'static str>,
    /// What to cut out, so that [`EXPECT`] and its comma are gone.
    without: Option<Range<usize>>,
}

impl<'a, const N: usize> Members<'a, N> {
    /// Reads the object that is the text; `path` is where that stands in its line.
    fn read(text: &'a str, names: &[&'static str; N], path: &str) -> Result<Self, Rejection> {
        let mut json = serde_json::Deserializer::from_str(text);
        let members = json.deserialize_map(Reader { text, names }).and_then(|members| {
            json.end()?;
            Ok(members)
        });
        let members = members.map_err(|error| {
            if error.is_data() {
                return invalid(path).problem("is not a JSON object");
            }
            let problem = format!("is not JSON (column {})", error.column());
            invalid(path).problem(problem).cure("write one JSON object a line")
        })?;
        let Some(name) = members.doubled else { return Ok(members) };
        let dot = if path.is_empty() { "" } else { "." };
        let fault = invalid(&format!("{path}{dot}{name}")).problem("stands twice");
        Err(fault.cure("keep one of them"))
    }
}

struct Reader<'t, 'n, const N: usize> {
    text: &'t str,
    names: &'n [&'static str; N],
}

impl<'a, const N: usize> Visitor<'a> for Reader<'a, '_, N> {
    type Value = Members<'a, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let place = |part: &RawValue| {
            let start = part.get().as_ptr().addr() - self.text.as_ptr().addr();
            start..start + part.get().len()
        };
        let mut found = Members { values: [None; N], doubled: None, without: None };
        let (mut before, mut cut_first) = (None, false);
        // A key as it is written: which text it stands for is looked at below.
        while let Some(key) = map.next_key::<&'a RawValue>()? {
            let value = map.next_value::<&'a RawValue>()?;
            let (key_place, value_place) = (place(key), place(value));
            if let (true, Some(cut)) = (std::mem::take(&mut cut_first), &mut found.without) {
                cut.end = key_place.start;
            }
            if let Some((name, slot)) = known(key, self.names, &mut found.values) {
                if slot.replace(value).is_some() {
                    found.doubled.get_or_insert(name);
                }
                if name == EXPECT {
                    // The comma before it goes too; without one, the comma behind it.
                    cut_first = before.is_none();
                    found.without = Some(before.unwrap_or(key_place.start)..value_place.end);
                }
            }
            before = Some(value_place.end);
        }
        Ok(found)
    }
}

/// Which of the names a key stands for, and the place of its value.
fn known<'s, 'a, const N: usize>(
    key: &RawValue,
    names: &[&'static str; N],
    values: &'s mut [Option<&'a RawValue>; N],
) -> Option<(&'static str, &'s mut Option<&'a RawValue>)> {
    let plain = key.get().trim_matches('"');
    // With escapes it must be read; one that is no text is none of ours.
    let name = if plain.contains('\\') {
        Cow::Owned(serde_json::from_str::<String>(key.get()).ok()?)
    } else {
        Cow::Borrowed(plain)
    };
    names.iter().copied().zip(values).find(|(own, _)| *own == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(line: &str) -> String {
        let line = JsonLine::read(line.as_bytes()).unwrap_or_else(|fault| panic!("{fault}"));
        String::from_utf8(line.body().to_vec()).unwrap()
    }

    #[test]
    fn the_body_is_the_object_byte_for_byte() {
        for own in [
            "946670.2184469479",
            "1E400, \"b\":-0.0",
            "123456789012345678901234567890",
            "1, \"a\" : 2",
            "\"\\u00e9\\/\\ud800 \\u2028é\"",
            "{\"k\":1,\"k\":2.50 }",
            "[ ]",
        ] {
            let line =
                format!("{{ \"a\":{own},\"id\":\"x\", \"collection\":\"c\",\"evidence\":[]}}");
            assert_eq!(body(&line), line);
            assert_eq!(body(&format!(" \t{line} \r\n")), line);
        }
        // Deeper than a reader that recurses would go.
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let line = format!("{{\"id\":\"x\",\"collection\":\"c\",\"evidence\":[],\"a\":{deep}}}");
        assert_eq!(body(&line), line);
    }

    #[test]
    fn only_expect_is_cut_out() {
        let expect = "\"expect\" : {\"b\": [2, \"}\"]}";
        let (one, two) = ("\"id\":\"x\", \"collection\":\"c\"", "\"evidence\":[] ,\"a\":1.50");
        let whole = format!("{{{one} , {two} }}");
        for line in [
            format!("{{{expect} , {one} , {two} }}"),
            format!("{{{one} , {expect} , {two} }}"),
            format!("{{{one},{expect} , {two} }}"),
            format!("{{{one} , {two} ,{expect} }}"),
            format!("{{{one} , {two}{} }}", format!(", {expect}").replace("exp", "\\u0065xp")),
        ] {
            assert_eq!(body(&line), whole, "{line}");
            assert_eq!(body(&whole), whole);
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_never_repeated() {
        const REST: &str = r#""collection":"c","evidence""#;
        let item = |item: &str| format!(r#"{{"id":"a",{REST}:[{item}]}}"#);
        let cases = [
            ("{".to_owned(), "FIELD_INVALID", None, "not JSON (column 1)"),
            ("[]".to_owned(), "FIELD_INVALID", None, "not a JSON object"),
            ("{} {}".to_owned(), "FIELD_INVALID", None, "not JSON (column 4)"),
            ("\u{feff}{}".to_owned(), "FIELD_INVALID", None, "byte order mark"),
            (format!("{{{REST}:[]}}"), "FIELD_MISSING", Some("id"), ""),
            (format!(r#"{{"id":"secret\n",{REST}:[]}}"#), "FIELD_INVALID", Some("id"), ""),
            (format!(r#"{{"id":7,{REST}:[]}}"#), "FIELD_INVALID", Some("id"), "is a number"),
            (format!(r#"{{"id":"\ud800",{REST}:[]}}"#), "FIELD_INVALID", Some("id"), "escape"),
            (format!(r#"{{"id":"a",{REST}:{{}}}}"#), "FIELD_INVALID", Some("evidence"), "list"),
            (
                format!(r#"{{"id":"a",{REST}:[],"evidence":[]}}"#),
                "FIELD_INVALID",
                Some("evidence"),
                "stands twice",
            ),
            (
                format!(r#"{{"id":"a",{REST}:[],"\u0069d":"secret"}}"#),
                "FIELD_INVALID",
                Some("id"),
                "stands twice",
            ),
            (
                item(r#"{"kind":"secret","value":"x"}"#),
                "EVIDENCE_KIND_UNKNOWN",
                Some("evidence[0].kind"),
                "",
            ),
            (item(r#"{"kind":"ip"}"#), "FIELD_MISSING", Some("evidence[0].value"), ""),
            (
                item(r#"{"kind":"sim","value":257}"#),
                "FIELD_INVALID",
                Some("evidence[0].value"),
                "is a number; write it in quotes",
            ),
            (
                item(r#"{"kind":"sim","value":"257"},{"kind":"ip","value":"a","value":"b"}"#),
                "FIELD_INVALID",
                Some("evidence[1].value"),
                "stands twice",
            ),
            (item("\"secret\""), "FIELD_INVALID", Some("evidence[0]"), "not a JSON object"),
        ];
        for (line, reason, field, problem) in cases {
            let Err(fault) = JsonLine::read(line.as_bytes()) else { panic!("{line}") };
            assert_eq!(fault.reason.as_str(), reason, "{line}");
            assert_eq!(fault.field.as_deref(), field, "{line}");
            assert!(fault.message().contains(problem), "{line}: {fault}");
            assert!(!fault.message().contains("secret"), "{fault}");
        }
        let fault = JsonLine::read(b"{\"id\":\"\xff\"}").err().unwrap();
        assert!(fault.message().contains("is not UTF-8 (byte 8); write the file in UTF-8"));
    }

    #[test]
    fn what_nobody_reads_may_stand_twice() {
        let line = r#"{"id":"a","n":1,"collection":"c","n":2,"evidence":[{"kind":"sim","value":"257","n":1,"n":2}]}"#;
        assert_eq!(body(line), line);
    }
}
