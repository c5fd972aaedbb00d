//! A file that is being read, and the diagnostics about it, each with its place.

use std::cell::RefCell;

use toml::Spanned;
use toml::de::DeTable;

use crate::limits::{DIAGNOSTICS_SHOWN_MAX, LINES_MAX};
use crate::{Diagnostic, Severity};

/// Something that was read, and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct At<T> {
    /// What was read.
    pub it: T,
    /// Its byte offset in the file.
    pub at: usize,
}

impl<T> At<T> {
    /// Something else that stands in the same place.
    pub fn with<U>(&self, it: U) -> At<U> {
        At { it, at: self.at }
    }
}

/// A file that is being read, and what was found wrong with it so far.
#[derive(Debug)]
pub struct File<'t> {
    text: &'t str,
    found: RefCell<Found>,
}

#[derive(Debug, Default)]
struct Found {
    notes: Vec<Note>,
    /// Diagnostics beyond the first [`DIAGNOSTICS_SHOWN_MAX`].
    errors_left: usize,
    warnings_left: usize,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Note {
    at: usize,
    severity: Severity,
    code: &'static str,
    problem: String,
    help: String,
}

/// How large a file may be, and the code of the diagnostic about a larger one.
#[derive(Debug, Clone, Copy)]
pub struct SizeLimit {
    /// The code.
    pub code: &'static str,
    /// Bytes at most.
    pub bytes_max: usize,
}

impl SizeLimit {
    /// The limit of a file that is read with a map.
    pub(crate) const fn file(bytes_max: usize) -> Self {
        Self { code: "FILE_TOO_LARGE", bytes_max }
    }
}

/// Bytes up to which every syntax error is reported, and not only the first: a large file of
/// nothing but errors takes long to parse on.
const SYNTAX_BYTES_MAX: usize = 256 << 10;

impl<'t> File<'t> {
    /// A file of that text.
    pub fn new(text: &'t str) -> Self {
        Self { text, found: RefCell::default() }
    }

    /// The file as a table. None if it is not TOML, or too large: then that is reported. The parser
    /// refuses tables and lists that are nested more than 80 deep.
    pub fn document(&self, limit: SizeLimit) -> Option<Spanned<DeTable<'t>>> {
        let (bytes, lines) = (self.text.len(), self.text.bytes().filter(|c| *c == b'\n').count());
        for (what, count, most) in [("bytes", bytes, limit.bytes_max), ("lines", lines, LINES_MAX)]
        {
            if count > most {
                let problem = format!("the file has {count} {what}; the limit is {most}");
                self.wrong(0, limit.code, problem, "remove what is not needed");
                return None;
            }
        }
        if bytes > SYNTAX_BYTES_MAX {
            return DeTable::parse(self.text).map_err(|error| self.syntax(&error)).ok();
        }
        let (document, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            self.syntax(error);
        }
        errors.is_empty().then_some(document)
    }

    fn syntax(&self, error: &toml::de::Error) {
        let at = error.span().map_or(0, |span| span.start);
        let problem = error.message().lines().collect::<Vec<_>>().join(", ");
        self.wrong(at, "TOML_SYNTAX", problem, "correct the TOML syntax");
    }

    /// Reports an error.
    pub fn wrong(
        &self,
        at: usize,
        code: &'static str,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.note(Severity::Error, at, code, problem.into(), help.into());
    }

    /// Reports a warning.
    pub(crate) fn warn(
        &self,
        at: usize,
        code: &'static str,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.note(Severity::Warning, at, code, problem.into(), help.into());
    }

    fn note(
        &self,
        severity: Severity,
        at: usize,
        code: &'static str,
        problem: String,
        help: String,
    ) {
        if !self.is_full(severity) {
            let note = Note { at, severity, code, problem, help };
            self.found.borrow_mut().notes.push(note);
        }
    }

    /// Whether no more diagnostics are kept. Then one of that severity is counted, so that callers need
    /// not build its text.
    pub(crate) fn is_full(&self, severity: Severity) -> bool {
        let mut found = self.found.borrow_mut();
        let full = found.notes.len() >= DIAGNOSTICS_SHOWN_MAX;
        match severity {
            Severity::Error if full => found.errors_left += 1,
            Severity::Warning if full => found.warnings_left += 1,
            Severity::Error | Severity::Warning => {}
        }
        full
    }

    /// Whether there is no error so far.
    pub(crate) fn is_sound(&self) -> bool {
        let found = self.found.borrow();
        found.errors_left == 0 && found.notes.iter().all(|note| note.severity != Severity::Error)
    }

    /// What was read, if nothing at all was found; otherwise every diagnostic.
    ///
    /// # Errors
    /// Every diagnostic, in the order of the file.
    pub fn finish<T>(self, read: Option<T>) -> Result<T, Vec<Diagnostic>> {
        match (read, self.into_diagnostics()) {
            (Some(read), diagnostics) if diagnostics.is_empty() => Ok(read),
            (_, diagnostics) => Err(diagnostics),
        }
    }

    /// Every diagnostic, in the order of the file.
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        let Found { mut notes, errors_left, warnings_left } = self.found.into_inner();
        notes.sort();
        notes.dedup();
        let mut place = Place { text: self.text, at: 0, line: 1, column: 1 };
        let mut diagnostics = Vec::with_capacity(notes.len() + 2);
        for Note { at, severity, code, problem, help } in notes {
            place.go_to(at);
            let Place { line, column, .. } = place;
            diagnostics.push(Diagnostic { severity, line, column, code, problem, help });
        }
        place.go_to(self.text.len());
        let Place { line, column, .. } = place;
        for (severity, code, left) in [
            (Severity::Error, "ERRORS_CUT", errors_left),
            (Severity::Warning, "WARNINGS_CUT", warnings_left),
        ] {
            if left > 0 {
                let problem = format!("{left} more diagnostics are not shown");
                let help = "fix those that are shown first".to_owned();
                diagnostics.push(Diagnostic { severity, line, column, code, problem, help });
            }
        }
        diagnostics
    }
}

/// A place in a text that only moves forward, so that one pass gives every diagnostic its line.
#[derive(Debug, Clone, Copy)]
struct Place<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    column: usize,
}

impl Place<'_> {
    fn go_to(&mut self, at: usize) {
        let Some(passed) = self.text.get(self.at..at) else { return };
        for c in passed.chars() {
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.at = at;
    }
}

/// Words that a message lists at most.
const OFFERED_MAX: usize = 24;

/// Advice to use one of these.
pub(crate) fn one_of(known: impl IntoIterator<Item: std::fmt::Display>) -> String {
    let mut known = known.into_iter();
    let words: Vec<String> = known.by_ref().take(OFFERED_MAX).map(|w| w.to_string()).collect();
    match known.count() {
        0 => format!("use one of: {}", words.join(", ")),
        more => format!("use one of: {} and {more} more", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_lines_and_characters() {
        let file = File::new("é = 1\r\nb\n");
        file.wrong(8, "KEY_UNKNOWN", "b", "x");
        file.wrong(3, "KEY_UNKNOWN", "a", "x");
        file.wrong(3, "KEY_UNKNOWN", "a", "x");
        let found: Vec<_> =
            file.into_diagnostics().into_iter().map(|d| (d.line, d.column, d.problem)).collect();
        assert_eq!(found, [(1, 3, "a".to_owned()), (2, 1, "b".to_owned())]);
    }

    #[test]
    fn there_is_an_end_to_findings() {
        let file = File::new("x");
        for n in 0..DIAGNOSTICS_SHOWN_MAX + 7 {
            file.wrong(0, "KEY_UNKNOWN", n.to_string(), "x");
        }
        file.warn(0, "CLAUSE_EXPIRED", "x", "x");
        assert!(!file.is_sound());
        let found = file.into_diagnostics();
        assert_eq!(found.len(), DIAGNOSTICS_SHOWN_MAX + 2);
        let last: Vec<_> = found.iter().rev().take(2).map(|d| (d.code, &*d.problem)).collect();
        let text = "more diagnostics are not shown";
        let expected = [("WARNINGS_CUT", format!("1 {text}")), ("ERRORS_CUT", format!("7 {text}"))];
        assert!(last.iter().zip(&expected).all(|(a, b)| a.0 == b.0 && a.1 == b.1), "{last:?}");
    }
}
