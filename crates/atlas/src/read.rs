//! Reading an operator's TOML strictly, with every mistake named at once and where it stands.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::{Date, Diagnostic};

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
    wrong: RefCell<Vec<Diagnostic>>,
}

impl<'t> File<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, wrong: RefCell::new(Vec::new()) }
    }

    /// The file as a table. None if it is not TOML: then its mistakes are noted.
    pub(crate) fn document(&self) -> Option<Spanned<DeTable<'t>>> {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            let problem = error.message().lines().collect::<Vec<_>>().join(", ");
            self.wrong(at, "TOML_SYNTAX", problem, "write it as TOML 1.0 asks");
        }
        errors.is_empty().then_some(document)
    }

    /// Notes a mistake.
    pub(crate) fn wrong(
        &self,
        at: usize,
        code: &'static str,
        problem: impl Into<String>,
        cure: impl Into<String>,
    ) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let column = before.get(line_start..).map_or(1, |line| line.chars().count() + 1);
        let line = before.bytes().filter(|c| *c == b'\n').count() + 1;
        let (problem, cure) = (problem.into(), cure.into());
        self.wrong.borrow_mut().push(Diagnostic { line, column, code, problem, cure });
    }

    /// Everything that is wrong, in the order of the file.
    pub(crate) fn into_wrong(self) -> Vec<Diagnostic> {
        let mut wrong = self.wrong.into_inner();
        wrong.sort();
        wrong.dedup();
        wrong
    }
}

/// A table of the file, with the word that names it in messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section<'d> {
    file: &'d File<'d>,
    table: &'d DeTable<'d>,
    what: &'static str,
    /// Where it begins.
    pub(crate) at: usize,
}

impl<'d> Section<'d> {
    pub(crate) fn root(
        file: &'d File<'d>,
        document: &'d Spanned<DeTable<'d>>,
        what: &'static str,
    ) -> Self {
        Self { file, table: document.get_ref(), what, at: 0 }
    }

    /// Notes every key that is not among these.
    pub(crate) fn only(&self, known: &[&str]) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let near = known.iter().map(|word| (distance(name, word), word)).min();
            let cure = match near {
                Some((0..=2, word)) => format!("did you mean `{word}`?"),
                _ => format!("use one of: {}", known.join(", ")),
            };
            let problem = format!("`{name}` is no key of this {}", self.what);
            self.file.wrong(key.span().start, "KEY_UNKNOWN", problem, cure);
        }
    }

    fn get(&self, key: &str) -> Option<(&'d DeValue<'d>, Range<usize>)> {
        self.table.get(key).map(|value| (value.get_ref(), value.span()))
    }

    fn mistyped(&self, at: usize, key: &str, wanted: &str) {
        let problem = format!("`{key}` of this {} is not {wanted}", self.what);
        self.file.wrong(at, "VALUE_TYPE", problem, format!("give {wanted}"));
    }

    fn missing(&self, key: &str) {
        let problem = format!("this {} has no `{key}`", self.what);
        self.file.wrong(self.at, "KEY_MISSING", problem, format!("add `{key}`"));
    }

    /// A text that may be left out.
    pub(crate) fn text(&self, key: &str) -> Option<At<&'d str>> {
        let (value, span) = self.get(key)?;
        let text = value.as_str();
        if text.is_none() {
            self.mistyped(span.start, key, "a text");
        }
        text.map(|it| At { it, at: span.start })
    }

    /// A text that must be there and say something.
    pub(crate) fn needed_text(&self, key: &str) -> Option<At<&'d str>> {
        if self.get(key).is_none() {
            self.missing(key);
        }
        self.said(key)
    }

    /// A text that may be left out; if it is there, it must say something.
    pub(crate) fn said(&self, key: &str) -> Option<At<&'d str>> {
        let text = self.text(key)?;
        if text.it.trim().is_empty() {
            let problem = format!("`{key}` of this {} is empty", self.what);
            self.file.wrong(text.at, "VALUE_INVALID", problem, "say what it is");
            return None;
        }
        Some(text)
    }

    /// A yes or no that may be left out.
    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        let (value, span) = self.get(key)?;
        let flag = value.as_bool();
        if flag.is_none() {
            self.mistyped(span.start, key, "true or false");
        }
        flag
    }

    /// A whole number, not below zero, that may be left out.
    pub(crate) fn number(&self, key: &str) -> Option<At<u64>> {
        let (value, span) = self.get(key)?;
        let number = value
            .as_integer()
            .and_then(|digits| u64::from_str_radix(digits.as_str(), digits.radix()).ok());
        if number.is_none() {
            self.mistyped(span.start, key, "a whole number, not below zero");
        }
        number.map(|it| At { it, at: span.start })
    }

    /// A whole number that must be there.
    pub(crate) fn needed_number(&self, key: &str) -> Option<At<u64>> {
        if self.get(key).is_none() {
            self.missing(key);
        }
        self.number(key)
    }

    /// A day that may be left out, as `2026-11-23` with or without quotes.
    pub(crate) fn date(&self, key: &str) -> Option<At<Date>> {
        let (value, span) = self.get(key)?;
        let text = value.as_datetime().map(ToString::to_string);
        let date = value.as_str().or(text.as_deref()).and_then(Date::parse);
        if date.is_none() {
            let problem = format!("`{key}` of this {} is no day", self.what);
            self.file.wrong(span.start, "DATE_INVALID", problem, "write it as 2026-11-23");
        }
        date.map(|it| At { it, at: span.start })
    }

    /// A day that must be there.
    pub(crate) fn needed_date(&self, key: &str) -> Option<At<Date>> {
        if self.get(key).is_none() {
            self.missing(key);
        }
        self.date(key)
    }

    /// A list of texts, or one text alone. None if it is left out.
    pub(crate) fn texts(&self, key: &str) -> Option<Vec<At<&'d str>>> {
        let (value, span) = self.get(key)?;
        if let Some(it) = value.as_str() {
            return Some(vec![At { it, at: span.start }]);
        }
        let Some(array) = value.as_array() else {
            self.mistyped(span.start, key, "a list of texts");
            return None;
        };
        let mut texts = Vec::new();
        for item in array {
            match item.get_ref().as_str() {
                Some(it) => texts.push(At { it, at: item.span().start }),
                None => self.mistyped(item.span().start, key, "a list of texts"),
            }
        }
        Some(texts)
    }

    /// Whether a key is there; if not, that is noted.
    pub(crate) fn needed_list(&self, key: &str) -> bool {
        let there = self.get(key).is_some();
        if !there {
            self.missing(key);
        }
        there
    }

    /// A table that may be left out.
    pub(crate) fn section(&self, key: &str, what: &'static str) -> Option<Section<'d>> {
        let (value, span) = self.get(key)?;
        let table = value.as_table();
        if table.is_none() {
            self.mistyped(span.start, key, "a table");
        }
        table.map(|table| Section { file: self.file, table, what, at: span.start })
    }

    /// The tables of a list that may be left out.
    pub(crate) fn sections(&self, key: &str, what: &'static str) -> Vec<Section<'d>> {
        let Some((value, span)) = self.get(key) else { return Vec::new() };
        let Some(array) = value.as_array() else {
            self.mistyped(span.start, key, "a list of tables");
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in array {
            let at = item.span().start;
            match item.get_ref().as_table() {
                Some(table) => sections.push(Section { file: self.file, table, what, at }),
                None => self.mistyped(at, key, "a list of tables"),
            }
        }
        sections
    }

    /// What `parse` makes of a text that must be there.
    pub(crate) fn needed<T>(
        &self,
        key: &str,
        code: &'static str,
        wanted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<At<T>> {
        let text = self.needed_text(key)?;
        self.file.parsed(text, code, wanted, parse)
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
            let problem = format!("`{}` is not {wanted}", text.it.escape_debug());
            self.wrong(text.at, code, problem, format!("give {wanted}"));
        }
        parsed.map(|it| text.with(it))
    }
}

/// How many letters to add, drop or change to get from one word to the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (n, a) in one.chars().take(64).enumerate() {
        let mut left = n + 1;
        let mut next = vec![left];
        for ((above, diagonal), b) in row.iter().skip(1).zip(&row).zip(&other) {
            left = (left + 1).min(above + 1).min(diagonal + usize::from(a != *b));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_of_words() {
        for (a, b, n) in
            [("lead", "lead", 0), ("leed", "lead", 1), ("region", "regoin", 2), ("", "ab", 2)]
        {
            assert_eq!(distance(a, b), n, "{a} {b}");
        }
    }
}
