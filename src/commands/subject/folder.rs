//! An export as a folder that a person can read: `index.html`, `subject.json`, `records.json`, and a
//! file for each body. It is written beside its place and moved there when it is whole. File names
//! are numbers: they name no person and no record.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use client::api;
use link::host::files::{SECRET, create};
use serde_json::{Map, Value};

use crate::commands::record::show::content;
use crate::commands::subject::page::{self, Row};
use crate::commands::subject::show;
use crate::error::{Exit, Failure};

/// Only its owner can open the folder.
const FOLDER_MODE: u32 = 0o700;

/// Bytes of a body that the page shows.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// A folder that is being written.
pub(super) struct Folder {
    place: PathBuf,
    /// Where it is written until it is whole.
    partial: PathBuf,
    subject: Option<api::Subject>,
    records: Vec<Value>,
    rows: Vec<Row>,
    done: bool,
}

impl Folder {
    /// Begins a folder at a place where there is none.
    pub(super) fn begin(place: &Path) -> Result<Self, Failure> {
        if place.exists() {
            let text = format!("{} exists; name a new folder", place.display());
            return Err(Failure::said(Exit::Failed, text));
        }
        let mut partial = place.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let made = fs::DirBuilder::new().mode(FOLDER_MODE).create(&partial);
        made.map_err(|error| unwritten(&partial, &error))?;
        let place = place.to_owned();
        let folder = Self {
            place,
            partial,
            subject: None,
            records: Vec::new(),
            rows: Vec::new(),
            done: false,
        };
        let bodies = folder.partial.join("bodies");
        let made = fs::DirBuilder::new().mode(FOLDER_MODE).create(&bodies);
        made.map_err(|error| unwritten(&bodies, &error))?;
        Ok(folder)
    }

    /// Keeps what is held of the subject.
    pub(super) fn subject(&mut self, subject: api::Subject) -> Result<(), Failure> {
        self.write("subject.json", format!("{:#}\n", show::as_json(&subject)).as_bytes())?;
        self.subject = Some(subject);
        Ok(())
    }

    /// Writes the body of a record, and keeps the rest of it. Gives the file to be filled of an
    /// attachment, whose body comes by itself.
    pub(super) fn record(&mut self, record: &api::Record) -> Result<Option<PathBuf>, Failure> {
        let attached = usize::try_from(record.attachment_bytes).ok().filter(|bytes| *bytes > 0);
        let text = str::from_utf8(&record.body).ok().filter(|_| attached.is_none());
        let bytes = attached.unwrap_or(record.body.len());
        let ending = if text.is_some() { "txt" } else { "bin" };
        let file = format!("bodies/{:06}.{ending}", self.rows.len() + 1);
        self.write(&file, &record.body)?;
        let mut object = Map::new();
        object.insert("collection".to_owned(), record.collection.clone().into());
        object.insert("key".to_owned(), record.key.clone().into());
        object.insert("version".to_owned(), record.version.into());
        object.insert("body_file".to_owned(), file.clone().into());
        object.insert("body_bytes".to_owned(), bytes.into());
        content(&mut object, record, false);
        let attributes = object.get("attributes").map(Value::to_string).unwrap_or_default();
        self.records.push(Value::Object(object));
        self.rows.push(Row {
            collection: record.collection.clone(),
            key: record.key.clone(),
            version: record.version,
            expires: record.expire_time.as_ref().map_or_else(String::new, ToString::to_string),
            attributes: if attributes == "{}" { String::new() } else { attributes },
            file: file.clone(),
            bytes,
            text: text.filter(|text| text.len() <= TEXT_BYTES_MAX).map(str::to_owned),
        });
        Ok(attached.map(|_| self.partial.join(file)))
    }

    /// Writes the page, and moves the folder to its place. Returns the number of records.
    pub(super) fn finish(mut self) -> Result<usize, Failure> {
        let records = Value::Array(std::mem::take(&mut self.records));
        self.write("records.json", format!("{records:#}\n").as_bytes())?;
        let subject = self.subject.take().unwrap_or_default();
        self.write("index.html", page::html(&subject, &self.rows).as_bytes())?;
        fs::rename(&self.partial, &self.place).map_err(|error| unwritten(&self.place, &error))?;
        self.done = true;
        Ok(self.rows.len())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.partial.join(name);
        create(&path, bytes, SECRET).map_err(|error| unwritten(&path, &error))
    }
}

impl Drop for Folder {
    /// What is not whole does not stay.
    fn drop(&mut self) {
        if !self.done {
            fs::remove_dir_all(&self.partial).ok();
        }
    }
}

fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    Failure::said(Exit::Failed, format!("{} cannot be written ({error})", path.display()))
}
