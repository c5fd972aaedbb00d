//! A diagnostic about a file: what is wrong, where, and how to fix it.

use std::fmt::{self, Write as _};

/// Whether a file with this diagnostic can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// It cannot: every reader refuses it.
    Error,
    /// It can, but an operator should check it.
    Warning,
}

impl Severity {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One diagnostic about a file that an operator wrote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// Whether the file can be used.
    pub severity: Severity,
    /// The kind of diagnostic, by a stable name.
    pub code: &'static str,
    /// What is wrong.
    pub problem: String,
    /// How to fix it.
    pub help: String,
}

/// Characters of a line that an excerpt shows at most.
const EXCERPT_CHARS_MAX: usize = 100;

impl Diagnostic {
    /// An error about a file as a whole.
    pub fn of_file(
        code: &'static str,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let (problem, help) = (problem.into(), help.into());
        Self { line: 1, column: 1, severity: Severity::Error, code, problem, help }
    }

    /// The diagnostic with an excerpt of the file: its name, the place, the line with a mark under the
    /// place, and the help. `text` is the file. Ends with a line break.
    pub fn render(&self, file_name: &str, text: &str) -> String {
        let Self { line, column, severity, code, problem, help } = self;
        let mut out = format!("{severity}[{code}]: {problem}\n");
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let mut write = |line: fmt::Arguments<'_>| {
            // Writing to a string does not fail.
            let _done = out.write_fmt(line);
        };
        write(format_args!("{margin}--> {file_name}:{line}:{column}\n"));
        if let Some((shown, mark)) = excerpt(text, *line, *column) {
            write(format_args!("{margin} |\n{number} | {shown}\n{margin} | {mark}\n"));
        }
        write(format_args!("{margin} = help: {help}\n"));
        without_user(&out)
    }
}

/// A text without what an address in it has before its `@`: that may be a password.
fn without_user(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let ends = |c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '`');
        let authority = after.split(ends).next().unwrap_or_default();
        rest = match authority.rfind('@') {
            Some(at) => {
                out.push('…');
                after.get(at..).unwrap_or_default()
            }
            None => after,
        };
    }
    out.push_str(rest);
    out
}

/// The line as it is shown, and a line with a caret under the column. None if there is no such
/// line, or nothing on it.
fn excerpt(text: &str, line: usize, column: usize) -> Option<(String, String)> {
    let line = text.split('\n').nth(line.checked_sub(1)?)?;
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.trim().is_empty() {
        return None;
    }
    let before = column.saturating_sub(1);
    // A long line is shown from a little before the place on.
    let skipped = before.saturating_sub(EXCERPT_CHARS_MAX / 2);
    let cut = line.chars().count() > skipped + EXCERPT_CHARS_MAX;
    // What would move the terminal's cursor, or its colours, is shown as a space.
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut shown: String = line.chars().skip(skipped).take(EXCERPT_CHARS_MAX).map(plain).collect();
    let mut mark = " ".repeat(before - skipped);
    if skipped > 0 {
        shown.insert(0, '…');
        mark.insert(0, ' ');
    }
    if cut {
        shown.push('…');
    }
    mark.push('^');
    Some((shown, mark))
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, severity: _, code, problem, help } = self;
        f.write_str(&without_user(&format!("{line}:{column}: {code}: {problem}; {help}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(line: usize, column: usize) -> Diagnostic {
        let found = Diagnostic::of_file("KEY_UNKNOWN", "`x` is no key", "did you mean `y`?");
        Diagnostic { line, column, ..found }
    }

    #[test]
    fn no_password_of_an_address_is_shown() {
        let shown = without_user("`https://name:pass@a.example/b` and https://c.example/@d");
        assert_eq!(shown, "`https://…@a.example/b` and https://c.example/@d");
        let text = "jwks = \"https://name:p@ss@a.example\"";
        assert!(!diagnostic(1, 8).render("gateway.toml", text).contains("p@ss"));
    }

    #[test]
    fn an_excerpt_shows_the_line_and_the_place() {
        let text = "name = \"é\"\r\n\tx = 1\n";
        assert_eq!(
            diagnostic(2, 2).render("map.toml", text),
            "error[KEY_UNKNOWN]: `x` is no key\n --> map.toml:2:2\n  |\n2 |  x = 1\n  |  ^\n  = help: did you mean `y`?\n"
        );
        // The file's end, where there is nothing to show.
        assert_eq!(
            diagnostic(3, 1).render("map.toml", text),
            "error[KEY_UNKNOWN]: `x` is no key\n --> map.toml:3:1\n  = help: did you mean `y`?\n"
        );
    }

    #[test]
    fn a_long_line_is_shown_around_the_place() {
        let text = format!("{}x{}", "é".repeat(500), "-".repeat(500));
        let rendered = diagnostic(1, 501).render("map.toml", &text);
        let mut lines = rendered.lines().skip(3);
        let (shown, mark) = (lines.next().unwrap(), lines.next().unwrap());
        let place = mark.chars().position(|c| c == '^').unwrap();
        assert_eq!(shown.chars().nth(place), Some('x'));
        assert_eq!(shown.chars().count(), "1 | ".len() + EXCERPT_CHARS_MAX + 2);
    }
}
