//! Strict reader of configurations: reports every mistake at once, with its place and what to do.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use atlas::Diagnostic;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A mistake in a file.
pub(crate) type Mistake = (PathBuf, Diagnostic);

/// Something read, and at which byte of the file it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<T> {
    pub(crate) it: T,
    pub(crate) at: usize,
}

/// A file under reading, and what was found wrong with it so far.
pub(crate) struct File<'t> {
    path: &'t Path,
    text: &'t str,
    wrong: RefCell<Vec<Mistake>>,
    named: RefCell<Vec<PathBuf>>,
}

/// A table of the file, with the words that name it in messages.
#[derive(Clone, Copy)]
pub(crate) struct Section<'d> {
    pub(crate) file: &'d File<'d>,
    table: &'d DeTable<'d>,
    what: &'static str,
    at: usize,
}

impl<'t> File<'t> {
    pub(crate) fn new(path: &'t Path, text: &'t str) -> Self {
        Self { path, text, wrong: RefCell::default(), named: RefCell::default() }
    }

    /// The file as a table. None if it is not TOML: then its mistakes are noted.
    pub(crate) fn document(&self) -> Option<Spanned<DeTable<'t>>> {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let problem = error.message().lines().collect::<Vec<_>>().join(", ");
            let at = error.span().map_or(0, |span| span.start);
            self.wrong(at, "TOML_SYNTAX", problem, "write it as TOML 1.0 asks");
        }
        errors.is_empty().then_some(document)
    }

    /// A path as this file means it. It is noted as one that the file names.
    pub(crate) fn beside(&self, path: &str) -> PathBuf {
        let found = super::beside(self.path, path);
        self.named.borrow_mut().push(found.clone());
        found
    }

    /// The files that were named so far.
    pub(crate) fn named(&self) -> Vec<PathBuf> {
        self.named.borrow().clone()
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
        let diagnostic = Diagnostic { line, column, code, problem, cure };
        self.wrong.borrow_mut().push((self.path.to_path_buf(), diagnostic));
    }

    /// Notes what is wrong with another file that this one names.
    pub(crate) fn wrong_in(&self, path: &Path, diagnostics: Vec<Diagnostic>) {
        let noted = diagnostics.into_iter().map(|diagnostic| (path.to_path_buf(), diagnostic));
        self.wrong.borrow_mut().extend(noted);
    }

    /// Everything that is wrong, by file and place.
    pub(crate) fn into_wrong(self) -> Vec<Mistake> {
        let mut wrong = self.wrong.into_inner();
        wrong.sort();
        wrong.dedup();
        wrong
    }
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
            if !known.contains(&name) {
                let problem = format!("`{}` is not a key of {}", name.escape_debug(), self.what);
                let cure = format!("use one of: {}", known.join(", "));
                self.file.wrong(key.span().start, "KEY_UNKNOWN", problem, cure);
            }
        }
    }

    fn get(&self, key: &str) -> Option<At<&'d DeValue<'d>>> {
        self.table.get(key).map(|value| At { it: value.get_ref(), at: value.span().start })
    }

    fn needed(&self, key: &str) -> Option<At<&'d DeValue<'d>>> {
        let found = self.get(key);
        if found.is_none() {
            let problem = format!("{} has no `{key}`", self.what);
            self.file.wrong(self.at, "KEY_MISSING", problem, format!("add `{key}`"));
        }
        found
    }

    /// Notes that a value is not what the key asks for.
    pub(crate) fn mistyped(&self, at: usize, key: &str, wanted: &str) {
        let problem = format!("`{key}` of {} is not {wanted}", self.what);
        self.file.wrong(at, "VALUE_INVALID", problem, format!("give {wanted}"));
    }

    fn text_of(&self, key: &str, found: At<&'d DeValue<'d>>) -> Option<At<&'d str>> {
        let text = found.it.as_str().filter(|text| !text.trim().is_empty());
        if text.is_none() {
            self.mistyped(found.at, key, "a text that is not empty");
        }
        text.map(|it| At { it, at: found.at })
    }

    /// A text that may be left out.
    pub(crate) fn text(&self, key: &str) -> Option<At<&'d str>> {
        self.get(key).and_then(|found| self.text_of(key, found))
    }

    /// What `parse` makes of a text that must be there.
    pub(crate) fn parsed<T>(
        &self,
        key: &str,
        wanted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<At<T>> {
        let text = self.text_of(key, self.needed(key)?)?;
        let parsed = parse(text.it);
        if parsed.is_none() {
            self.mistyped(text.at, key, wanted);
        }
        parsed.map(|it| At { it, at: text.at })
    }

    /// Texts that must be there: a list of at least one.
    pub(crate) fn texts(&self, key: &str) -> Vec<At<&'d str>> {
        let Some(found) = self.needed(key) else { return Vec::new() };
        let Some(array) = found.it.as_array().filter(|array| array.iter().next().is_some()) else {
            self.mistyped(found.at, key, "a list of texts");
            return Vec::new();
        };
        let items = array.iter().map(|item| At { it: item.get_ref(), at: item.span().start });
        items.filter_map(|item| self.text_of(key, item)).collect()
    }

    /// A yes or no that must be there.
    pub(crate) fn flag(&self, key: &str) -> Option<At<bool>> {
        let found = self.needed(key)?;
        let flag = found.it.as_bool();
        if flag.is_none() {
            self.mistyped(found.at, key, "true or false");
        }
        flag.map(|it| At { it, at: found.at })
    }

    /// A yes or no that may be left out: then it is no.
    pub(crate) fn switch(&self, key: &str) -> bool {
        self.get(key).is_some() && self.flag(key).is_some_and(|flag| flag.it)
    }

    /// A whole number between two others, or `otherwise` when the key is left out.
    pub(crate) fn number(&self, key: &str, (least, most): (u64, u64), otherwise: u64) -> u64 {
        let Some(found) = self.get(key) else { return otherwise };
        let digits = found.it.as_integer();
        let number = digits.and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
        number.filter(|number| (least..=most).contains(number)).unwrap_or_else(|| {
            self.mistyped(found.at, key, &format!("a whole number from {least} to {most}"));
            otherwise
        })
    }

    /// Where a key stands, if it is there.
    pub(crate) fn place(&self, key: &str) -> Option<usize> {
        self.get(key).map(|found| found.at)
    }

    /// Where the table itself stands.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// The tables of a list that may be left out.
    pub(crate) fn tables(&self, key: &str, what: &'static str) -> Vec<Section<'d>> {
        let Some(found) = self.get(key) else { return Vec::new() };
        let Some(array) = found.it.as_array() else {
            self.mistyped(found.at, key, "a list of tables");
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in array {
            let at = item.span().start;
            match item.get_ref().as_table() {
                Some(table) => tables.push(Section { file: self.file, table, what, at }),
                None => self.mistyped(at, key, "a list of tables"),
            }
        }
        tables
    }

    /// A table that must be there.
    pub(crate) fn section(&self, key: &str, what: &'static str) -> Option<Section<'d>> {
        self.needed(key)?;
        self.table(key, what)
    }

    /// A table that may be left out.
    pub(crate) fn table(&self, key: &str, what: &'static str) -> Option<Section<'d>> {
        let found = self.get(key)?;
        let table = found.it.as_table();
        if table.is_none() {
            self.mistyped(found.at, key, "a table");
        }
        table.map(|table| Section { file: self.file, table, what, at: found.at })
    }
}
