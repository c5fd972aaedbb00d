//! A configuration while it is being read: a table of it, and the files that it names.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use atlas::Diagnostic;
use atlas::toml::{At, File, SizeLimit, Table};

use crate::error::{Exit, Failure};

/// Bytes of a configuration at most.
const SIZE: SizeLimit = SizeLimit { code: "FILE_TOO_LARGE", bytes_max: 4 << 20 };

/// A configuration while it is being read.
pub(crate) struct Reading<'t> {
    path: &'t Path,
    file: File<'t>,
    /// The files that it names, so far.
    named: RefCell<Vec<PathBuf>>,
    /// Diagnostics about those, as they are shown.
    elsewhere: RefCell<Vec<String>>,
}

/// A table of the configuration. It reads as [`atlas::toml::Section`] does.
#[derive(Clone, Copy)]
pub(crate) struct Section<'d> {
    pub(crate) reading: &'d Reading<'d>,
    table: atlas::toml::Section<'d>,
}

impl<'d> Deref for Section<'d> {
    type Target = atlas::toml::Section<'d>;

    fn deref(&self) -> &Self::Target {
        &self.table
    }
}

/// Reads a configuration: what `read` makes of it, or every diagnostic about it and the files that it
/// names, each with an excerpt.
pub(super) fn read_file<T>(
    path: &Path,
    known: &'static Table,
    read: impl FnOnce(&Section<'_>) -> Option<T>,
) -> Result<T, Failure> {
    let text = fs::read_to_string(path).map_err(|error| unread(path, &error))?;
    let reading = Reading {
        path,
        file: File::new(&text),
        named: RefCell::default(),
        elsewhere: RefCell::default(),
    };
    let config = reading.file.document(SIZE).and_then(|document| {
        let table = atlas::toml::Section::root(&reading.file, &document, known);
        read(&Section { reading: &reading, table })
    });
    let Reading { file, elsewhere, .. } = reading;
    let elsewhere = elsewhere.into_inner();
    match file.finish(config) {
        Ok(config) if elsewhere.is_empty() => Ok(config),
        diagnostics => {
            let own = rendered(path, &text, &diagnostics.err().unwrap_or_default());
            let all: Vec<String> = own.into_iter().chain(elsewhere).collect();
            Err(Failure::said(Exit::Config, all.join("\n").trim_end()))
        }
    }
}

/// The failure of a file that cannot be read.
pub(super) fn unread(path: &Path, error: &io::Error) -> Failure {
    let text = format!("{}: cannot be read ({error}); name a readable file", path.display());
    Failure::said(Exit::Config, text)
}

/// Diagnostics about a file, each with an excerpt.
fn rendered(path: &Path, text: &str, diagnostics: &[Diagnostic]) -> Vec<String> {
    let name = path.display().to_string();
    diagnostics.iter().map(|diagnostic| diagnostic.render(&name, text)).collect()
}

impl Reading<'_> {
    /// A path as the configuration means it: relative to its own folder.
    pub(crate) fn relative(&self, path: &str) -> PathBuf {
        self.path.parent().map_or_else(|| PathBuf::from(path), |folder| folder.join(path))
    }

    /// The same for a file that the configuration names: it is noted.
    pub(crate) fn named_path(&self, path: &str) -> PathBuf {
        let found = self.relative(path);
        self.named.borrow_mut().push(found.clone());
        found
    }

    /// The files that were named so far.
    pub(crate) fn named(&self) -> Vec<PathBuf> {
        self.named.borrow().clone()
    }

    /// What was read from another file of that text. Its diagnostics are kept.
    pub(super) fn noted<T>(
        &self,
        path: &Path,
        text: &str,
        read: Result<T, Vec<Diagnostic>>,
    ) -> Option<T> {
        read.map_err(|found| self.elsewhere.borrow_mut().extend(rendered(path, text, &found))).ok()
    }
}

impl<'d> Section<'d> {
    /// A table that may be left out.
    pub(crate) fn section(&self, key: &str) -> Option<Self> {
        self.table.section(key).map(|table| Self { table, ..*self })
    }

    /// The tables of a list.
    pub(crate) fn sections(&self, key: &str) -> Vec<Self> {
        self.table.sections(key).into_iter().map(|table| Self { table, ..*self }).collect()
    }

    /// The file that a key names.
    pub(crate) fn path(&self, key: &str) -> Option<At<PathBuf>> {
        self.text(key).map(|text| text.with(self.reading.named_path(text.it)))
    }

    /// The files that a list names.
    pub(crate) fn paths(&self, key: &str) -> Vec<At<PathBuf>> {
        let texts = self.texts(key).unwrap_or_default().into_iter();
        texts.map(|text| text.with(self.reading.named_path(text.it))).collect()
    }

    /// A flag that is off unless it is set.
    pub(crate) fn switch(&self, key: &str) -> bool {
        self.flag(key).unwrap_or(false)
    }

    /// A whole number, or `otherwise` when the key is left out.
    pub(crate) fn number_or(&self, key: &str, otherwise: u64) -> u64 {
        self.number(key).map_or(otherwise, |number| number.it)
    }

    /// The worker threads of the process, if they are named.
    pub(crate) fn threads(&self) -> Option<usize> {
        self.number("threads").and_then(|number| usize::try_from(number.it).ok())
    }

    /// The text of a file that the configuration names at `at`.
    pub(super) fn read(&self, named: &At<PathBuf>) -> Option<String> {
        self.read_from(named.at, &named.it)
    }

    /// The same of a file in a folder that it names at `at`.
    pub(super) fn read_from(&self, at: usize, path: &Path) -> Option<String> {
        let read = fs::read_to_string(path);
        read.map_err(|error| self.unreadable(at, path, &error)).ok()
    }

    /// Reports a file that cannot be read.
    pub(super) fn unreadable(&self, at: usize, path: &Path, error: &io::Error) {
        let problem = format!("{} cannot be read ({error})", path.display());
        let help = "name a readable file; a relative path is relative to this file";
        self.wrong(at, "FILE_UNREADABLE", problem, help);
    }

    /// The certificate authorities of a server over HTTPS, from a file that is named.
    pub(super) fn authorities(&self, named: &At<PathBuf>) -> Option<Vec<u8>> {
        let read = link::host::file_watch::read(&named.it);
        let pem = read.map_err(|error| self.unreadable(named.at, &named.it, &error)).ok()?;
        if let Err(error) = link::net::https_client::check_authorities(&pem) {
            let problem = format!("{}: {error}", named.it.display());
            let help = "name a bundle of authorities in PEM, and nothing else";
            self.wrong(named.at, "AUTHORITIES_INVALID", problem, help);
            return None;
        }
        Some(pem)
    }
}
