//! Reading an operator's TOML strictly, with every mistake named at once and where it stands.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Date;
use crate::limits::LIST_ITEMS_MAX;
pub(crate) use crate::toml::file::{At, File};
use crate::toml::schema::{Form, Table};

/// A table of the file, and what it may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section<'d> {
    file: &'d File<'d>,
    table: &'d DeTable<'d>,
    known: &'static Table,
    /// Where it begins.
    pub(crate) at: usize,
}

impl<'d> Section<'d> {
    /// The whole file.
    pub(crate) fn root(
        file: &'d File<'d>,
        document: &'d Spanned<DeTable<'d>>,
        known: &'static Table,
    ) -> Self {
        Self::new(file, document.get_ref(), known, 0)
    }

    /// Notes every key that is not known.
    fn new(file: &'d File<'d>, table: &'d DeTable<'d>, known: &'static Table, at: usize) -> Self {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if known.key(name).is_some() || file.is_full("KEY_UNKNOWN") {
                continue;
            }
            let words = || known.keys.iter().map(|key| key.name);
            let near = words().map(|word| (distance(name, word), word)).min();
            let cure = match near {
                Some((0..=2, word)) => format!("did you mean `{word}`?"),
                _ => format!("use one of: {}", words().collect::<Vec<_>>().join(", ")),
            };
            let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
            let problem = format!("`{}` is no key of this {}", shown.escape_debug(), known.what);
            file.wrong(key.span().start, "KEY_UNKNOWN", problem, cure);
        }
        Self { file, table, known, at }
    }

    fn get(&self, key: &str) -> Option<(&'d DeValue<'d>, Range<usize>)> {
        assert!(self.known.key(key).is_some(), "`{key}` of {} is in the schema", self.known.what);
        self.table.get(key).map(|value| (value.get_ref(), value.span()))
    }

    fn mistyped(&self, at: usize, key: &str, wanted: &str) {
        let problem = format!("`{key}` of this {} is not {wanted}", self.known.what);
        self.file.wrong(at, "VALUE_TYPE", problem, format!("give {wanted}"));
    }

    fn missing(&self, key: &str) {
        let problem = format!("this {} has no `{key}`", self.known.what);
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
            let problem = format!("`{key}` of this {} is empty", self.known.what);
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
            let problem = format!("`{key}` of this {} is no day", self.known.what);
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
        if array.len() > LIST_ITEMS_MAX {
            let problem = format!("`{key}` has more than {LIST_ITEMS_MAX} items");
            self.file.wrong(span.start, "LIMIT_COUNT", problem, "make several of it");
        }
        let mut texts = Vec::new();
        for item in array.iter().take(LIST_ITEMS_MAX) {
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
    pub(crate) fn section(&self, key: &str) -> Option<Section<'d>> {
        let (value, span) = self.get(key)?;
        let table = value.as_table();
        if table.is_none() {
            self.mistyped(span.start, key, "a table");
        }
        table.map(|table| Section::new(self.file, table, self.inner(key), span.start))
    }

    /// The tables of a list that may be left out; not more than there may be.
    pub(crate) fn sections(&self, key: &str) -> Vec<Section<'d>> {
        let Some((value, span)) = self.get(key) else { return Vec::new() };
        let Some(array) = value.as_array() else {
            self.mistyped(span.start, key, "a list of tables");
            return Vec::new();
        };
        let known = self.inner(key);
        if array.len() > known.count_max {
            let problem = format!("there are {} {key}, over {}", array.len(), known.count_max);
            self.file.wrong(span.start, "LIMIT_COUNT", problem, "leave out what is not needed");
        }
        let mut sections = Vec::new();
        for item in array.iter().take(known.count_max) {
            let at = item.span().start;
            match item.get_ref().as_table() {
                Some(table) => sections.push(Section::new(self.file, table, known, at)),
                None => self.mistyped(at, key, "a list of tables"),
            }
        }
        sections
    }

    /// What the tables behind a key may hold.
    fn inner(&self, key: &str) -> &'static Table {
        let form = self.known.key(key).map(|key| &key.form);
        form.and_then(Form::table).expect("the schema has tables behind it")
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

/// Characters of an unknown key that a message repeats at most.
const NAME_CHARS_MAX: usize = 64;

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
