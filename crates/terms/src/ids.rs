//! Names of things. Each is checked once, where it enters, and is valid from then on.

use std::fmt;
use std::sync::Arc;

use crate::{Pii, limits};

/// Why a text is no valid id. It never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Nothing was given.
    #[error("is missing")]
    Missing,
    /// Longer than the limit that is named, in bytes.
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    /// It has a character that may not stand in it.
    #[error("has a character that is not allowed: {0}")]
    Character(&'static str),
    /// It is not of the form that is named.
    #[error("is not {0}")]
    Form(&'static str),
}

/// A name that operators give: one DNS label in lower case.
fn check_name(text: &str) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Missing);
    }
    if text.len() > limits::NAME_BYTES_MAX {
        return Err(InvalidId::TooLong(limits::NAME_BYTES_MAX));
    }
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let edge = |c: Option<&u8>| c.is_some_and(|c| *c != b'-');
    let bytes = text.as_bytes();
    if bytes.iter().all(|c| inner(*c)) && edge(bytes.first()) && edge(bytes.last()) {
        Ok(())
    } else {
        Err(InvalidId::Form("a name of a-z, 0-9 and inner '-'"))
    }
}

/// An id that a tenant chose: opaque text without control characters.
fn check_opaque(text: &str, bytes_max: usize) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Missing);
    }
    if text.len() > bytes_max {
        return Err(InvalidId::TooLong(bytes_max));
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidId::Character("a control character"));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text`: one DNS label, `a-z`, `0-9` and inner `-`, at most 63 bytes.
            ///
            /// # Errors
            /// [`InvalidId`], which says what is wrong without repeating the text.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                check_name(text)?;
                Ok(Self(text.into()))
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The platform whose users these are. Always taken from the caller's identity.
    TenantId
}
name! {
    /// A site in one territory, as the region map names it.
    RegionId
}
name! {
    /// One single-writer partition of a region, as the region's annex names it.
    ShardId
}
name! {
    /// A kind of record, as the region map declares it.
    Collection
}

macro_rules! opaque {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<Pii<String>>);

        impl $name {
            /// Checks `text`: not empty, not over the limit, no control character.
            ///
            /// # Errors
            /// [`InvalidId`], which says what is wrong without repeating the text.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                check_opaque(text, $max)?;
                Ok(Self(Arc::new(Pii::new(text.to_owned()))))
            }

            /// The text. It may identify a person: never to a log, an error or a metric.
            pub fn expose(&self) -> &str {
                self.0.expose()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({} bytes)"), self.expose().len())
            }
        }
    };
}

opaque! {
    /// A person, named by the tenant's own opaque id. Treated as personal data.
    SubjectId, limits::SUBJECT_ID_BYTES_MAX
}
opaque! {
    /// A record's key within its collection. Tenants put what they like there: personal data.
    RecordKey, limits::RECORD_KEY_BYTES_MAX
}

/// The id with which a caller marks one write, so that a retry has no second effect (AIP-155).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// Reads a version 4 UUID in its hyphenated form (RFC 9562).
    ///
    /// # Errors
    /// [`InvalidId::Missing`] for nothing, [`InvalidId::Form`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        const FORM: InvalidId = InvalidId::Form("a version 4 UUID such as 0b6f…-4…");
        if text.is_empty() {
            return Err(InvalidId::Missing);
        }
        if text.len() != 36 {
            return Err(FORM);
        }
        let uuid = uuid::Uuid::try_parse(text).map_err(|_| FORM)?;
        let version_4 = uuid.get_version_num() == 4 && uuid.get_variant() == uuid::Variant::RFC4122;
        if version_4 { Ok(Self(*uuid.as_bytes())) } else { Err(FORM) }
    }

    /// Makes a version 4 UUID of 16 bytes, random or derived, by setting its six fixed bits.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(*uuid::Builder::from_random_bytes(bytes).as_uuid().as_bytes())
    }

    /// Its sixteen bytes.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

/// The id that the gateway gives to one call, in its answer and in its log (AIP-193).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallId(pub u128);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "ru-msk", "a1", "0"] {
            assert!(RegionId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "ä", "a.b", &"x".repeat(64)] {
            assert!(RegionId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn subject_ids_are_opaque_but_bounded() {
        assert!(SubjectId::parse("Ünï ↯ 7").is_ok());
        assert_eq!(SubjectId::parse(""), Err(InvalidId::Missing));
        assert!(matches!(SubjectId::parse("a\nb"), Err(InvalidId::Character(_))));
        assert!(matches!(SubjectId::parse("a\u{85}b"), Err(InvalidId::Character(_))));
        assert!(matches!(SubjectId::parse(&"x".repeat(257)), Err(InvalidId::TooLong(256))));
    }

    #[test]
    fn a_subject_id_never_shows_its_text() {
        let id = SubjectId::parse("anna.k@example.org").unwrap();
        assert_eq!(format!("{id:?}"), "SubjectId(18 bytes)");
    }

    #[test]
    fn request_ids_are_version_4_uuids() {
        assert!(RequestId::parse("6f2b7b0e-1c1a-4a0e-9a50-0c1ff1f6d2aa").is_ok());
        for bad in [
            "",
            "6f2b7b0e-1c1a-1a0e-9a50-0c1ff1f6d2aa",
            "6f2b7b0e1c1a4a0e9a500c1ff1f6d2aa",
            "{6f2b7b0e-1c1a-4a0e-9a50-0c1ff1f6d2}",
            "6f2b7b0e-1c1a-4a0e-1a50-0c1ff1f6d2aa",
        ] {
            assert!(RequestId::parse(bad).is_err(), "{bad}");
        }
        let made = RequestId::from_bytes([0xff; 16]);
        assert_eq!(RequestId::parse(&made.to_string()), Ok(made));
    }
}
