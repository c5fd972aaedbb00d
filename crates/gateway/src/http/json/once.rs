//! Finds a field that a JSON text gives twice. The JSON mapping of protobuf would keep the last of the two
//! values, and drop the other one unseen.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use terms::{Reason, Rejection};

/// Checks a JSON text. What is malformed is left to the reader that comes after.
///
/// # Errors
/// `FIELD_INVALID`, with line and column.
pub(super) fn check(json: &[u8]) -> Result<(), Rejection> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    match Once.deserialize(&mut reader) {
        Err(error) if error.is_data() => {
            let (line, column) = (error.line(), error.column());
            Err(Rejection::new(Reason::FieldInvalid)
                .problem(format!("a field is given twice, at line {line}, column {column}"))
                .cure("give each field of an object once, by one of its names"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A field without what its two names differ in: `request_id` and `requestId` are one.
pub(super) fn canonical(name: &str) -> String {
    name.replace('_', "").to_ascii_lowercase()
}

/// A value whose objects have each field once.
struct Once;

impl<'de> DeserializeSeed<'de> for Once {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<(), A::Error> {
        while all.next_element_seed(Self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = all.next_key::<String>()? {
            if !names.insert(canonical(&name)) {
                return Err(A::Error::custom("twice"));
            }
            all.next_value_seed(Self)?;
        }
        Ok(())
    }
}
