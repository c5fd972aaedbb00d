//! Reads the values of a table by what the schema says of each key.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Severity;
use crate::date::Date;
use crate::limits::LIST_ITEMS_MAX;
use crate::toml::file::{At, File};
use crate::toml::schema::{Form, Table};

/// A table of a file, and what it may hold.
#[derive(Debug, Clone, Copy)]
pub struct Section<'d> {
    file: &'d File<'d>,
    table: &'d DeTable<'d>,
    known: &'static Table,
    at: usize,
}

/// The code of a value of the wrong type.
const VALUE_TYPE: &str = "VALUE_TYPE";
/// The code of a value that is not allowed.
const VALUE_INVALID: &str = "VALUE_INVALID";
/// The code of a list with too many items.
const LIMIT_COUNT: &str = "LIMIT_COUNT";
/// Characters of an unknown key that a message repeats at most.
const NAME_CHARS_MAX: usize = 64;
/// Characters of a value that a message repeats at most.
const VALUE_CHARS_MAX: usize = 80;

impl<'d> Section<'d> {
    /// The whole file.
    pub fn root(
        file: &'d File<'d>,
        document: &'d Spanned<DeTable<'d>>,
        known: &'static Table,
    ) -> Self {
        Self::new(file, document.get_ref(), known, 0)
    }

    /// Reports every key that is not known.
    fn new(file: &'d File<'d>, table: &'d DeTable<'d>, known: &'static Table, at: usize) -> Self {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if known.key(name).is_some() || file.is_full(Severity::Error) {
                continue;
            }
            let words = || known.keys.iter().map(|key| key.name);
            // The start of a long name is enough to suggest another.
            let start: String = name.chars().take(NAME_CHARS_MAX).collect();
            let near = words().map(|word| (strsim::damerau_levenshtein(&start, word), word)).min();
            let help = match near {
                Some((0..=2, word)) => format!("did you mean `{word}`?"),
                _ => format!("use one of: {}", words().collect::<Vec<_>>().join(", ")),
            };
            let problem =
                format!("`{}` is not a key of this {}", shown(name, NAME_CHARS_MAX), known.what);
            file.wrong(key.span().start, "KEY_UNKNOWN", problem, help);
        }
        Self { file, table, known, at }
    }

    /// Where the table begins.
    pub const fn at(&self) -> usize {
        self.at
    }

    /// Reports an error at a place of the file.
    pub fn wrong(
        &self,
        at: usize,
        code: &'static str,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.file.wrong(at, code, problem, help);
    }

    /// Where the value of a key stands, if the key is there.
    pub fn place(&self, key: &str) -> Option<usize> {
        self.found(key).map(|(_, span)| span.start)
    }

    fn form(&self, key: &str) -> &'static Form {
        let key = self.known.key(key);
        key.map(|key| &key.form).expect("the program asks only for keys of the schema")
    }

    fn found(&self, key: &str) -> Option<(&'d DeValue<'d>, Range<usize>)> {
        assert!(self.known.key(key).is_some(), "`{key}` of {} is in the schema", self.known.what);
        self.table.get(key).map(|value| (value.get_ref(), value.span()))
    }

    /// The value of a key. If the key is required and not there, that is reported.
    fn get(&self, key: &str) -> Option<(&'d DeValue<'d>, Range<usize>)> {
        let found = self.found(key);
        if found.is_none() && self.known.key(key).is_some_and(|key| key.needed) {
            self.missing(key);
        }
        found
    }

    /// Reports that a key is missing.
    pub fn missing(&self, key: &str) {
        let problem = format!("this {} has no `{key}`", self.known.what);
        self.wrong(self.at, "KEY_MISSING", problem, format!("add `{key}`"));
    }

    /// Reports that the value of a key is not what is wanted.
    fn unfit(&self, at: usize, code: &'static str, key: &str, wanted: &str) {
        let problem = format!("`{key}` of this {} is not {wanted}", self.known.what);
        self.wrong(at, code, problem, format!("use {wanted}"));
    }

    /// The text of a key if it is there, and one. Reports nothing.
    pub(crate) fn known_text(&self, key: &str) -> Option<&'d str> {
        self.found(key).and_then(|(value, _)| value.as_str())
    }

    /// A text that is not blank.
    pub fn text(&self, key: &str) -> Option<At<&'d str>> {
        let (value, span) = self.get(key)?;
        self.text_of(key, value, span.start)
    }

    fn text_of(&self, key: &str, value: &'d DeValue<'d>, at: usize) -> Option<At<&'d str>> {
        let Some(it) = value.as_str() else {
            self.unfit(at, VALUE_TYPE, key, "a text");
            return None;
        };
        if it.trim().is_empty() {
            let problem = format!("`{key}` of this {} is empty", self.known.what);
            self.wrong(at, VALUE_INVALID, problem, "write a text, or remove the key");
            return None;
        }
        Some(At { it, at })
    }

    /// What `parse` makes of a text. If it makes nothing of it, the form of the key says what was
    /// wanted.
    pub fn parse<T>(&self, key: &str, parse: impl Fn(&str) -> Option<T>) -> Option<At<T>> {
        let text = self.text(key)?;
        self.parse_one(key, text, &parse)
    }

    fn parse_one<T>(
        &self,
        key: &str,
        text: At<&str>,
        parse: &impl Fn(&str) -> Option<T>,
    ) -> Option<At<T>> {
        let parsed = parse(text.it);
        if parsed.is_none() {
            let form = self.form(key).item();
            if let Form::Shape(shape) = form {
                self.not(text, shape.code, shape.wanted);
            } else if let Form::Word(words) = form {
                self.not(text, VALUE_INVALID, &either(words));
            } else {
                self.not(text, VALUE_INVALID, &format!("a value of `{key}`"));
            }
        }
        parsed.map(|it| text.with(it))
    }

    /// Reports that a text is not what is wanted.
    pub fn not(&self, text: At<&str>, code: &'static str, wanted: &str) {
        let problem = format!("`{}` is not {wanted}", shown(text.it, VALUE_CHARS_MAX));
        self.wrong(text.at, code, problem, format!("use {wanted}"));
    }

    /// True or false.
    pub fn flag(&self, key: &str) -> Option<bool> {
        let (value, span) = self.get(key)?;
        let flag = value.as_bool();
        if flag.is_none() {
            self.unfit(span.start, VALUE_TYPE, key, "true or false");
        }
        flag
    }

    /// A whole number within the limits of its form.
    pub fn number(&self, key: &str) -> Option<At<u64>> {
        let (value, span) = self.get(key)?;
        let number = value
            .as_integer()
            .and_then(|digits| u64::from_str_radix(digits.as_str(), digits.radix()).ok());
        let Form::Number(least, most) = *self.form(key) else { return None };
        let Some(it) = number else {
            self.unfit(span.start, VALUE_TYPE, key, "a whole number, not below zero");
            return None;
        };
        if !(least..=most).contains(&it) {
            self.unfit(span.start, "LIMIT_RANGE", key, &format!("from {least} to {most}"));
            return None;
        }
        Some(At { it, at: span.start })
    }

    /// A day, such as `2026-11-23`, with or without quotes.
    pub(crate) fn date(&self, key: &str) -> Option<At<Date>> {
        let (value, span) = self.get(key)?;
        let text = value.as_datetime().map(ToString::to_string);
        let date = value.as_str().or(text.as_deref()).and_then(Date::parse);
        if date.is_none() {
            self.unfit(span.start, "DATE_INVALID", key, "a day such as 2026-11-23");
        }
        date.map(|it| At { it, at: span.start })
    }

    /// The texts of a list, or one text alone. None if the key is left out.
    pub fn texts(&self, key: &str) -> Option<Vec<At<&'d str>>> {
        let (value, span) = self.get(key)?;
        let Some(array) = value.as_array() else {
            if !value.is_str() {
                self.unfit(span.start, VALUE_TYPE, key, "a list of texts");
                return None;
            }
            return Some(self.text_of(key, value, span.start).into_iter().collect());
        };
        if array.is_empty() && matches!(self.form(key), Form::Filled(_)) {
            let problem = format!("`{key}` of this {} is an empty list", self.known.what);
            self.wrong(span.start, VALUE_INVALID, problem, "list at least one, or remove the key");
        }
        if array.len() > LIST_ITEMS_MAX {
            let problem = format!("`{key}` has more than {LIST_ITEMS_MAX} items");
            self.wrong(span.start, LIMIT_COUNT, problem, "split the list");
        }
        let items = array.iter().take(LIST_ITEMS_MAX);
        Some(items.filter_map(|i| self.text_of(key, i.get_ref(), i.span().start)).collect())
    }

    /// What `parse` makes of each text of a list. Empty if the key is left out.
    pub fn list<T>(&self, key: &str, parse: impl Fn(&str) -> Option<T>) -> Vec<At<T>> {
        let texts = self.texts(key).unwrap_or_default().into_iter();
        texts.filter_map(|text| self.parse_one(key, text, &parse)).collect()
    }

    /// The same for a list of at most `most` items, none of which may stand twice. The diagnostics
    /// about items that do have that code.
    pub(crate) fn distinct<T: PartialEq>(
        &self,
        key: &str,
        duplicate: &'static str,
        most: usize,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let mut distinct = Vec::new();
        for item in self.list(key, parse) {
            if distinct.contains(&item.it) {
                self.wrong(item.at, duplicate, "this is listed already", "remove one of them");
            } else if distinct.len() == most {
                let problem = format!("`{key}` has more than {most} items");
                self.wrong(item.at, "LIMIT_RANGE", problem, "remove those that are not needed");
                break;
            } else {
                distinct.push(item.it);
            }
        }
        distinct
    }

    /// A table.
    pub fn section(&self, key: &str) -> Option<Self> {
        let (value, span) = self.get(key)?;
        let table = value.as_table();
        if table.is_none() {
            self.unfit(span.start, VALUE_TYPE, key, "a table");
        }
        table.map(|table| Self::new(self.file, table, self.inner(key), span.start))
    }

    /// The tables of a list: at least one if the key is required, and not more than there may be.
    pub fn sections(&self, key: &str) -> Vec<Self> {
        let Some((value, span)) = self.get(key) else { return Vec::new() };
        let Some(array) = value.as_array() else {
            self.unfit(span.start, VALUE_TYPE, key, "a list of tables");
            return Vec::new();
        };
        let known = self.inner(key);
        if array.is_empty() && self.known.key(key).is_some_and(|key| key.needed) {
            self.missing(key);
        }
        if array.len() > known.count_max {
            let problem =
                format!("there are {} {key}; the limit is {}", array.len(), known.count_max);
            self.wrong(span.start, LIMIT_COUNT, problem, "remove those that are not needed");
        }
        let mut sections = Vec::new();
        for item in array.iter().take(known.count_max) {
            let at = item.span().start;
            match item.get_ref().as_table() {
                Some(table) => sections.push(Self::new(self.file, table, known, at)),
                None => self.unfit(at, VALUE_TYPE, key, "a list of tables"),
            }
        }
        sections
    }

    /// What the tables of a key may hold.
    fn inner(&self, key: &str) -> &'static Table {
        self.form(key).table().expect("the program asks for tables only where the schema has them")
    }
}

/// The beginning of a text of the file, as a message repeats it.
fn shown(text: &str, chars_max: usize) -> String {
    let start: String = text.chars().take(chars_max).collect();
    let cut = if start.len() < text.len() { "…" } else { "" };
    format!("{}{cut}", start.escape_debug())
}

/// `a, b or c`.
fn either(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [all @ .., last] => format!("{} or {last}", all.join(", ")),
    }
}
