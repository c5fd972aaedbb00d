//! Names, types and values of attributes.

use std::fmt;
use std::sync::Arc;

use terms::Pii;

use crate::attributes::Timestamp;
use crate::limits::{ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTE_TEXT_BYTES_MAX};

/// The name of an attribute: `a-z`, `0-9` and `_`, beginning with a letter, and not `key`, which is
/// the record's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeName(Arc<str>);

impl AttributeName {
    /// The name, if that is one.
    pub fn parse(text: &str) -> Option<Self> {
        let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        let begins = text.bytes().next().is_some_and(|c| c.is_ascii_lowercase());
        let good = begins && text.len() <= ATTRIBUTE_NAME_BYTES_MAX && text.bytes().all(inner);
        (good && text != "key").then(|| Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AttributeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident $($(#[$member_doc:meta])* $member:ident = $code:literal $text:literal,)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$member_doc])* $member,)* }

        impl $name {
            /// The words in maps.
            pub const WORDS: &'static [&'static str] = &[$($text),*];

            /// Its word in maps.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$member => $text),* }
            }

            /// What that word stands for.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$member),)* _ => None }
            }

            /// Its number at rest.
            pub const fn code(self) -> u8 {
                match self { $(Self::$member => $code),* }
            }

            /// The one of that number.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$member),)* _ => None }
            }
        }
    };
}

words! {
    /// The type of an attribute's values.
    AttributeType
    /// Text of at most 256 bytes, without control characters.
    String = 1 "string",
    /// A whole number of 64 bits.
    Integer = 2 "integer",
    /// True or false.
    Bool = 3 "bool",
    /// A moment, to the nanosecond.
    Timestamp = 4 "timestamp",
}

words! {
    /// How the records of a region are found by an attribute.
    Index
    /// They are not.
    None = 0 "none",
    /// By a keyed hash of the value: by equality only. The disk does not show the value.
    Exact = 1 "exact",
    /// By the value in its order. A person with access to the disk sees values and order.
    Range = 2 "range",
}

/// A value. It may be personal data: it has no `Debug`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_debug_implementations, reason = "content must never be formatted")]
pub enum AttributeValue {
    /// A text.
    String(Pii<String>),
    /// A whole number.
    Integer(i64),
    /// True or false.
    Bool(bool),
    /// A moment.
    Timestamp(Timestamp),
}

/// Why a text is no value. It never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    /// It is too long.
    #[error("is longer than {ATTRIBUTE_TEXT_BYTES_MAX} bytes")]
    TooLong,
    /// It has a control character.
    #[error("has a control character")]
    Control,
}

/// Flips the sign, so that numbers compare as their bytes do.
const SIGN: u64 = 1 << 63;

impl AttributeValue {
    /// A text as a value.
    ///
    /// # Errors
    /// [`InvalidValue`].
    pub fn text(text: &str) -> Result<Self, InvalidValue> {
        if text.len() > ATTRIBUTE_TEXT_BYTES_MAX {
            return Err(InvalidValue::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidValue::Control);
        }
        Ok(Self::String(Pii::new(text.to_owned())))
    }

    /// Of what type it is.
    pub const fn kind(&self) -> AttributeType {
        match self {
            Self::String(_) => AttributeType::String,
            Self::Integer(_) => AttributeType::Integer,
            Self::Bool(_) => AttributeType::Bool,
            Self::Timestamp(_) => AttributeType::Timestamp,
        }
    }

    /// Its bytes, which compare as the values of its type do. None begins with another.
    pub fn ordered(&self) -> Vec<u8> {
        match self {
            // No text has a zero byte, which is a control character.
            Self::String(text) => [text.expose().as_bytes(), &[0]].concat(),
            Self::Integer(number) => signed(*number).to_vec(),
            Self::Bool(flag) => vec![u8::from(*flag)],
            Self::Timestamp(at) => [&signed(at.seconds())[..], &at.nanos().to_be_bytes()].concat(),
        }
    }

    /// The value of those bytes.
    pub fn from_ordered(kind: AttributeType, bytes: &[u8]) -> Option<Self> {
        match kind {
            AttributeType::String => {
                let (0, text) = bytes.split_last().map(|(last, text)| (*last, text))? else {
                    return None;
                };
                Self::text(std::str::from_utf8(text).ok()?).ok()
            }
            AttributeType::Integer => Some(Self::Integer(unsigned(bytes.try_into().ok()?))),
            AttributeType::Bool => match bytes {
                [0] => Some(Self::Bool(false)),
                [1] => Some(Self::Bool(true)),
                _ => None,
            },
            AttributeType::Timestamp => {
                let (seconds, nanos) = bytes.split_first_chunk()?;
                let nanos = u32::from_be_bytes(nanos.try_into().ok()?);
                Timestamp::new(unsigned(*seconds), nanos).map(Self::Timestamp)
            }
        }
    }
}

fn signed(number: i64) -> [u8; 8] {
    (number.cast_unsigned() ^ SIGN).to_be_bytes()
}

fn unsigned(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ SIGN).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> AttributeValue {
        AttributeValue::text(text).unwrap()
    }

    #[test]
    fn bytes_compare_as_values_do() {
        let times = [(-62_135_596_800, 0), (-1, 999_999_999), (0, 0), (0, 1), (1_780_000_000, 5)];
        let times = times.map(|(s, n)| AttributeValue::Timestamp(Timestamp::new(s, n).unwrap()));
        let numbers = [i64::MIN, -256, -1, 0, 1, 255, 256, i64::MAX].map(AttributeValue::Integer);
        let texts = ["", " ", "A", "a", "a a", "aa", "b", "ä", "я"].map(text);
        let flags = [false, true].map(AttributeValue::Bool);
        for all in [&times[..], &numbers, &texts, &flags] {
            let bytes: Vec<_> = all.iter().map(AttributeValue::ordered).collect();
            assert!(bytes.is_sorted() && all.is_sorted());
            for (one, bytes) in all.iter().zip(&bytes) {
                assert!(
                    AttributeValue::from_ordered(one.kind(), bytes).is_some_and(|it| it == *one)
                );
                let longer = [&bytes[..], &[1]].concat();
                assert!(AttributeValue::from_ordered(one.kind(), &longer).is_none());
                assert!(
                    AttributeValue::from_ordered(one.kind(), &bytes[1..])
                        .is_none_or(|it| it != *one)
                );
            }
            for (n, one) in bytes.iter().enumerate() {
                assert!(bytes.iter().enumerate().all(|(m, it)| n == m || !it.starts_with(one)));
            }
        }
    }

    #[test]
    fn texts_are_short_and_without_control_characters() {
        assert!(AttributeValue::text(&"x".repeat(ATTRIBUTE_TEXT_BYTES_MAX)).is_ok());
        let long = AttributeValue::text(&"x".repeat(ATTRIBUTE_TEXT_BYTES_MAX + 1));
        assert_eq!(long.err(), Some(InvalidValue::TooLong));
        for control in ["a\0", "\n", "\u{7f}", "\u{85}"] {
            assert_eq!(AttributeValue::text(control).err(), Some(InvalidValue::Control));
        }
    }

    #[test]
    fn names_are_words_of_the_filter_language() {
        for good in ["a", "sent_time", "x9", &"n".repeat(ATTRIBUTE_NAME_BYTES_MAX)] {
            assert_eq!(AttributeName::parse(good).unwrap().as_str(), good);
        }
        let long = "n".repeat(ATTRIBUTE_NAME_BYTES_MAX + 1);
        for bad in ["", "key", "_a", "9a", "A", "a-b", "a.b", "ä", "a b", &long] {
            assert!(AttributeName::parse(bad).is_none(), "{bad}");
        }
    }
}
