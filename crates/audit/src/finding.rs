//! What an auditor finds: where, and what is wrong there.

use std::fmt;

/// Findings of one log, or of one mirroring of it, that are kept.
pub const FINDINGS_MAX: usize = 100;

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    file: String,
    text: String,
}

// === impl Finding ===

impl Finding {
    /// In `file`, a path below the log's folder; the sentence names it.
    pub(crate) fn new(file: impl Into<String>, text: impl Into<String>) -> Self {
        Self { file: file.into(), text: text.into() }
    }

    /// With a sentence that follows the file's name and a space.
    pub(crate) fn of(file: &str, what: impl fmt::Display) -> Self {
        Self::new(file, format!("{file} {what}"))
    }

    /// The file in which it is, below the log's folder.
    pub fn file(&self) -> &str {
        &self.file
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Finding {}
