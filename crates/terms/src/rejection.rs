//! A reason with what it needs to be acted upon, and nothing that a caller sent.

use std::borrow::Cow;

use crate::{InvalidId, Reason};

/// The keys that may stand beside a reason. A closed set: a value of the caller has no place here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Detail {
    /// A region's name.
    Region,
    /// Jurisdictions that attach, by code, separated by commas.
    Jurisdictions,
    /// Jurisdictions, territories or clauses in conflict, separated by commas.
    Conflicting,
    /// The number of the map that ruled.
    MapEpoch,
    /// The record's version.
    Version,
    /// The limit that was passed.
    Limit,
    /// The address of the gateway that may take the request.
    Ingress,
    /// Milliseconds after which to try again.
    RetryAfterMs,
    /// The attribute that the request is about, as the region map declares it.
    Attribute,
    /// Bytes from the beginning of an upload that are stored.
    Offset,
}

impl Detail {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Region,
        Self::Jurisdictions,
        Self::Conflicting,
        Self::MapEpoch,
        Self::Version,
        Self::Limit,
        Self::Ingress,
        Self::RetryAfterMs,
        Self::Attribute,
        Self::Offset,
    ];

    /// The key on the wire. Once given, it stays (AIP-193).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Region => "region",
            Self::Jurisdictions => "jurisdictions",
            Self::Conflicting => "conflicting",
            Self::MapEpoch => "map_epoch",
            Self::Version => "version",
            Self::Limit => "limit",
            Self::Ingress => "ingress",
            Self::RetryAfterMs => "retry_after_ms",
            Self::Attribute => "attribute",
            Self::Offset => "offset",
        }
    }

    /// The key of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|key| key.as_str() == text)
    }
}

/// A "no" on its way to the caller: the reason, where in the request, and details of the closed
/// set. It never holds a value that the caller sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub struct Rejection {
    /// Why.
    pub reason: Reason,
    /// The path of the field at fault, as in `evidence[3].value`.
    pub field: Option<Cow<'static, str>>,
    /// What is wrong with it, when the reason alone does not say.
    pub problem: Option<Cow<'static, str>>,
    /// What would cure it, when it can be said more exactly than [`Reason::cure`] does.
    pub cure: Option<Cow<'static, str>>,
    /// Details by key, each key once.
    pub details: Vec<(Detail, String)>,
}

impl Rejection {
    /// A rejection with nothing but its reason.
    pub const fn new(reason: Reason) -> Self {
        Self { reason, field: None, problem: None, cure: None, details: Vec::new() }
    }

    /// A field that is missing or malformed, from the check of an id.
    pub fn id(field: impl Into<Cow<'static, str>>, why: InvalidId) -> Self {
        let reason = match why {
            InvalidId::Missing => Reason::FieldMissing,
            InvalidId::TooLong(_) | InvalidId::Character(_) | InvalidId::Form(_) => {
                Reason::FieldInvalid
            }
        };
        Self::new(reason).field(field).problem(why.to_string())
    }

    /// Names the field at fault.
    #[must_use]
    pub fn field(mut self, path: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some(path.into());
        self
    }

    /// Says that the field at fault is one of the `n`th of several requests: `requests[n].<field>`.
    #[must_use]
    pub fn of_request(mut self, n: usize) -> Self {
        let path = match &self.field {
            Some(field) => format!("requests[{n}].{field}"),
            None => format!("requests[{n}]"),
        };
        self.field = Some(path.into());
        self
    }

    /// Says what is wrong. Never with the caller's value.
    #[must_use]
    pub fn problem(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.problem = Some(text.into());
        self
    }

    /// Says what would cure it.
    #[must_use]
    pub fn cure(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.cure = Some(text.into());
        self
    }

    /// Adds a detail; a key that is there already keeps its first value.
    #[must_use]
    pub fn with(mut self, key: Detail, value: impl ToString) -> Self {
        if self.detail(key).is_none() {
            self.details.push((key, value.to_string()));
        }
        self
    }

    /// The detail under `key`.
    pub fn detail(&self, key: Detail) -> Option<&str> {
        self.details.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_str())
    }

    /// What cures it.
    pub fn cure_text(&self) -> &str {
        self.cure.as_deref().unwrap_or_else(|| self.reason.cure())
    }

    /// One sentence for a person: field, problem, cure.
    pub fn message(&self) -> String {
        let mut text = String::new();
        if let Some(field) = &self.field {
            text.push_str(field);
            text.push_str(": ");
        }
        match &self.problem {
            Some(problem) => text.push_str(problem),
            None => text.push_str(&self.reason.as_str().to_lowercase().replace('_', " ")),
        }
        text.push_str("; ");
        text.push_str(self.cure_text());
        text
    }
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}
