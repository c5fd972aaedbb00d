//! A file under reading, and what is found wrong with it: everything at once, with where it
//! stands.

use std::cell::RefCell;

use toml::Spanned;
use toml::de::DeTable;

use crate::limits::{FINDINGS_SHOWN_MAX, LINES_MAX, NESTING_MAX};
use crate::toml::{codes, nesting};
use crate::{Diagnostic, Severity};

/// Something read, and where it stood: a byte offset into the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<T> {
    pub(crate) it: T,
    pub(crate) at: usize,
}

impl<T> At<T> {
    pub(crate) fn with<U>(&self, it: U) -> At<U> {
        At { it, at: self.at }
    }
}

/// A file under reading, and what was found wrong with it so far.
#[derive(Debug)]
pub(crate) struct File<'t> {
    text: &'t str,
    found: RefCell<Found>,
}

#[derive(Debug, Default)]
struct Found {
    notes: Vec<Note>,
    /// What was found when there were [`FINDINGS_SHOWN_MAX`] already.
    errors_left: usize,
    warnings_left: usize,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Note {
    at: usize,
    code: &'static str,
    problem: String,
    cure: String,
}

/// The code of a file that is too large.
pub(crate) const MAP_TOO_LARGE: &str = "MAP_TOO_LARGE";
/// The same, of a file that travels with a map.
pub(crate) const FILE_TOO_LARGE: &str = "FILE_TOO_LARGE";
/// Bytes up to which every mistake in the syntax is told, and not only the first: a file of
/// nothing but mistakes takes long to read on.
const SYNTAX_BYTES_MAX: usize = 256 << 10;

impl<'t> File<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, found: RefCell::default() }
    }

    /// The file as a table. None if it is not TOML, or larger than `bytes_max`: then that is noted.
    pub(crate) fn document(
        &self,
        (too_large, bytes_max): (&'static str, usize),
    ) -> Option<Spanned<DeTable<'t>>> {
        let cure = "leave out what is not needed";
        if self.text.len() > bytes_max {
            let problem = format!("the file has {} bytes, over {bytes_max}", self.text.len());
            self.wrong(0, too_large, problem, cure);
            return None;
        }
        let lines = self.text.bytes().filter(|c| *c == b'\n').count();
        if lines > LINES_MAX {
            let problem = format!("the file has {lines} lines, over {LINES_MAX}");
            self.wrong(0, too_large, problem, cure);
            return None;
        }
        if let Some(at) = nesting::too_deep(self.text) {
            let problem = format!("more than {NESTING_MAX} tables or lists within one another");
            self.wrong(at, "NESTED_TOO_DEEP", problem, "no key of this file is nested so deep");
            return None;
        }
        if self.text.len() > SYNTAX_BYTES_MAX {
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
        self.wrong(at, "TOML_SYNTAX", problem, "write it as TOML 1.0 asks");
    }

    /// Notes a finding: a mistake, or what somebody should look at; its code says which.
    pub(crate) fn wrong(
        &self,
        at: usize,
        code: &'static str,
        problem: impl Into<String>,
        cure: impl Into<String>,
    ) {
        if self.is_full(code) {
            return;
        }
        let (problem, cure) = (problem.into(), cure.into());
        self.found.borrow_mut().notes.push(Note { at, code, problem, cure });
    }

    /// Whether no more findings are kept. Then one of that code is counted: nobody need word it.
    pub(crate) fn is_full(&self, code: &'static str) -> bool {
        let mut found = self.found.borrow_mut();
        let full = found.notes.len() >= FINDINGS_SHOWN_MAX;
        match codes::severity(code) {
            Severity::Error if full => found.errors_left += 1,
            Severity::Warning if full => found.warnings_left += 1,
            Severity::Error | Severity::Warning => {}
        }
        full
    }

    /// Whether nothing was found that would keep anybody from using the file.
    pub(crate) fn is_sound(&self) -> bool {
        let found = self.found.borrow();
        let error = |note: &Note| codes::severity(note.code) == Severity::Error;
        found.errors_left == 0 && !found.notes.iter().any(error)
    }

    /// Everything that was found, in the order of the file.
    pub(crate) fn into_findings(self) -> Vec<Diagnostic> {
        let Found { mut notes, errors_left, warnings_left } = self.found.into_inner();
        notes.sort();
        notes.dedup();
        let mut place = Place { text: self.text, at: 0, line: 1, column: 1 };
        let mut findings = Vec::with_capacity(notes.len() + 2);
        for Note { at, code, problem, cure } in notes {
            place.go_to(at);
            let Place { line, column, .. } = place;
            findings.push(Diagnostic { line, column, code, problem, cure });
        }
        place.go_to(self.text.len());
        for (code, left) in [("ERRORS_CUT", errors_left), ("WARNINGS_CUT", warnings_left)] {
            if left > 0 {
                let Place { line, column, .. } = place;
                let problem = format!("{left} more were found and are not shown");
                let cure = "cure those that are shown first".to_owned();
                findings.push(Diagnostic { line, column, code, problem, cure });
            }
        }
        findings
    }
}

/// A place in a text that only moves on: so that all findings are placed in one pass.
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

impl File<'_> {
    /// What `parse` makes of a text; if nothing, that is noted.
    pub(crate) fn parsed<T>(
        &self,
        text: At<&str>,
        code: &'static str,
        wanted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<At<T>> {
        let parsed = parse(text.it);
        if parsed.is_none() {
            let shown: String = text.it.chars().take(VALUE_CHARS_MAX).collect();
            let cut = if shown.len() < text.it.len() { "…" } else { "" };
            let problem = format!("`{}{cut}` is not {wanted}", shown.escape_debug());
            self.wrong(text.at, code, problem, format!("give {wanted}"));
        }
        parsed.map(|it| text.with(it))
    }
}

/// Characters of a value that a message repeats at most.
const VALUE_CHARS_MAX: usize = 80;

/// Words that a message offers at most.
const OFFERED_MAX: usize = 24;

/// An offer to use one of these.
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
            file.into_findings().into_iter().map(|d| (d.line, d.column, d.problem)).collect();
        assert_eq!(found, [(1, 3, "a".to_owned()), (2, 1, "b".to_owned())]);
    }

    #[test]
    fn there_is_an_end_to_findings() {
        let file = File::new("x");
        for n in 0..FINDINGS_SHOWN_MAX + 7 {
            file.wrong(0, "KEY_UNKNOWN", n.to_string(), "x");
        }
        file.wrong(0, "CLAUSE_EXPIRED", "x", "x");
        assert!(!file.is_sound());
        let found = file.into_findings();
        assert_eq!(found.len(), FINDINGS_SHOWN_MAX + 2);
        let last: Vec<_> = found.iter().rev().take(2).map(|d| (d.code, &*d.problem)).collect();
        let text = "more were found and are not shown";
        let expected = [("WARNINGS_CUT", format!("1 {text}")), ("ERRORS_CUT", format!("7 {text}"))];
        assert!(last.iter().zip(&expected).all(|(a, b)| a.0 == b.0 && a.1 == b.1), "{last:?}");
    }
}
