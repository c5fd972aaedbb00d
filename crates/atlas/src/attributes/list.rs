//! The attributes of one record, and the form in which they travel and lie.

use crate::attributes::{AttributeName, AttributeType, AttributeValue};
use crate::limits::ATTRIBUTES_MAX;

/// The attributes of one record, by name. They may be personal data: they have no `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
#[expect(missing_debug_implementations, reason = "content must never be formatted")]
pub struct RecordAttributes(Vec<(AttributeName, AttributeValue)>);

/// Why an attribute is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttributesFull {
    /// There is one of that name already.
    #[error("is there twice")]
    Twice,
    /// There are as many as a record may have.
    #[error("is one too many")]
    TooMany,
}

/// The bytes are no attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no attributes of a record")]
pub struct AttributesMalformed;

impl RecordAttributes {
    /// None.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one.
    ///
    /// # Errors
    /// [`AttributesFull`].
    pub fn insert(
        &mut self,
        name: AttributeName,
        value: AttributeValue,
    ) -> Result<(), AttributesFull> {
        let Err(place) = self.0.binary_search_by(|(own, _)| own.cmp(&name)) else {
            return Err(AttributesFull::Twice);
        };
        if self.0.len() >= ATTRIBUTES_MAX {
            return Err(AttributesFull::TooMany);
        }
        self.0.insert(place, (name, value));
        Ok(())
    }

    /// The value of that name.
    pub fn get(&self, name: &AttributeName) -> Option<&AttributeValue> {
        let place = self.0.binary_search_by(|(own, _)| own.cmp(name)).ok()?;
        self.0.get(place).map(|(_, value)| value)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&AttributeName, &AttributeValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their bytes: of each the name with its length (1 byte), the code of its type (1 byte), and
    /// [`AttributeValue::ordered`] with its length (2 bytes). Empty: there are none.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, value) in &self.0 {
            let (name, ordered) = (name.as_str().as_bytes(), value.ordered());
            bytes.push(u8::try_from(name.len()).expect("names are short"));
            bytes.extend_from_slice(name);
            bytes.push(value.kind().code());
            let length = u16::try_from(ordered.len()).expect("values are short");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&ordered);
        }
        bytes
    }

    /// The attributes of those bytes: what decodes encodes to the same.
    ///
    /// # Errors
    /// [`AttributesMalformed`].
    pub fn decode(mut bytes: &[u8]) -> Result<Self, AttributesMalformed> {
        let mut all = Self::new();
        while !bytes.is_empty() {
            let (name, value, rest) = one(bytes).ok_or(AttributesMalformed)?;
            let in_order = all.0.last().is_none_or(|(last, _)| *last < name);
            if !in_order || all.insert(name, value).is_err() {
                return Err(AttributesMalformed);
            }
            bytes = rest;
        }
        Ok(all)
    }
}

/// The first attribute, and the bytes after it.
fn one(bytes: &[u8]) -> Option<(AttributeName, AttributeValue, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let name = AttributeName::parse(std::str::from_utf8(name).ok()?)?;
    let (kind, rest) = rest.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let value = AttributeValue::from_ordered(AttributeType::from_code(*kind)?, value)?;
    Some((name, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::Timestamp;

    fn some() -> RecordAttributes {
        let mut all = RecordAttributes::new();
        let at = Timestamp::new(1_780_000_000, 7).unwrap();
        for (name, value) in [
            ("sent", AttributeValue::Timestamp(at)),
            ("age", AttributeValue::Integer(-3)),
            ("mail", AttributeValue::text("anna@example.org").unwrap()),
            ("seen", AttributeValue::Bool(true)),
        ] {
            all.insert(AttributeName::parse(name).unwrap(), value).unwrap();
        }
        all
    }

    #[test]
    fn what_is_encoded_is_read_again_and_nothing_else() {
        let bytes = some().encode();
        assert!(RecordAttributes::decode(&bytes).unwrap() == some());
        assert!(RecordAttributes::decode(&[]).unwrap().is_empty());
        for length in 1..bytes.len() {
            let read = RecordAttributes::decode(&bytes[..length]);
            assert!(read.is_err() || read.unwrap().len() < 4, "{length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = RecordAttributes::decode(&flipped) {
                assert!(read.encode() == flipped, "bit {bit}");
            }
        }
        let twice = [&bytes[..], &bytes].concat();
        assert!(RecordAttributes::decode(&twice).is_err());
    }

    #[test]
    fn a_record_has_at_most_32_each_once() {
        let mut all = some();
        let name = |n: usize| AttributeName::parse(&format!("n{n}")).unwrap();
        let twice = all.insert(AttributeName::parse("age").unwrap(), AttributeValue::Integer(1));
        assert_eq!(twice, Err(AttributesFull::Twice));
        for n in 0..ATTRIBUTES_MAX - 4 {
            all.insert(name(n), AttributeValue::Bool(true)).unwrap();
        }
        let more = all.insert(name(99), AttributeValue::Bool(true));
        assert_eq!(more, Err(AttributesFull::TooMany));
        assert_eq!(all.len(), ATTRIBUTES_MAX);
        assert!(all.get(&name(0)).is_some() && all.get(&name(99)).is_none());
    }
}
