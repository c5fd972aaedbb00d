//! Reads the rows of a backup in the order of their keys: of a whole one, or of one that has only what has
//! changed since a whole one, which lies in the same folder.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use engine::{Key, Value};

use crate::backup::format::{Changes, Format, Frame, FrameKey, Header, Manifest};
use crate::backup::format::{next_frame, open_header};
use crate::store::keyring::FileKeyring;
use crate::store::keys::KeyLayout;
use crate::{Error, Settings};

/// Bytes that are read from a backup at once.
const BUFFER_BYTES: usize = 1 << 20;
/// Bytes of rows that are given at once, if one row has not more.
const PAGE_BYTES: usize = 4 << 20;

/// The frames of one file, each opened.
pub(super) struct Frames {
    path: PathBuf,
    file: BufReader<File>,
    key: FrameKey,
    pub(super) header: Header,
    /// How many sealed frames were read.
    pub(super) number: u64,
}

impl Frames {
    /// Opens a backup of this shard.
    fn open(
        settings: &Settings,
        deployment: &str,
        keyring: &FileKeyring,
        path: &Path,
    ) -> Result<(Self, Format), Error> {
        let refused = |why: String| Error::Backup { path: path.to_owned(), why };
        let file = File::open(path);
        let file = file.map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
        let prefix = format!("{deployment}/{}/{}/", settings.region, settings.shard);
        let key_check = KeyLayout::new(keyring).check();
        let opened = open_header(&mut file, keyring, &prefix, key_check).map_err(refused)?;
        let (header, key, format) = opened;
        Ok((Self { path: path.to_owned(), file, key, header, number: 0 }, format))
    }

    fn next(&mut self) -> Result<Frame, Error> {
        self.number += 1;
        let read = next_frame(&mut self.file);
        let frame = read.map_err(|why| self.wrong(&why))?;
        let missing = || self.wrong("it is missing: the end of the backup was cut off");
        let frame = frame.ok_or_else(missing)?;
        self.key.open(self.number, frame).ok_or_else(|| self.misplaced())
    }

    /// What is wrong with the frame that was read last.
    pub(super) fn wrong(&self, why: &str) -> Error {
        let why = format!("chunk {}: {why}", self.number);
        Error::Backup { path: self.path.clone(), why }
    }

    fn misplaced(&self) -> Error {
        self.wrong("it does not open: it was changed, or belongs to another place or backup")
    }

    /// Nothing may follow the manifest.
    fn end(&mut self) -> Result<(), Error> {
        let refused = |why: String| Error::Backup { path: self.path.clone(), why };
        if self.file.read(&mut [0]).map_err(|error| refused(error.to_string()))? > 0 {
            return Err(refused(format!("bytes follow its last chunk, {}", self.number)));
        }
        Ok(())
    }
}

/// The name of the whole backup since which this one has changes. `None`: it is a whole one itself.
///
/// # Errors
/// [`Error::Backup`]; [`Error::Io`].
pub(super) fn base_of(
    settings: &Settings,
    deployment: &str,
    keyring: &FileKeyring,
    path: &Path,
) -> Result<Option<String>, Error> {
    let (mut frames, format) = Frames::open(settings, deployment, keyring, path)?;
    if format == Format::Whole {
        return Ok(None);
    }
    let Frame::Base { name, id: _ } = frames.next()? else { return Err(frames.misplaced()) };
    Ok(Some(name))
}

/// The rows of a whole backup.
pub(super) struct Whole {
    pub(super) frames: Frames,
    /// Those that were read and not taken.
    pub(super) rows: VecDeque<(Key, Value)>,
    /// What stands at its end, once that was read.
    pub(super) manifest: Option<Manifest>,
}

impl Whole {
    /// Opens a whole backup.
    ///
    /// # Errors
    /// [`Error::Backup`], also if it is none; [`Error::Io`].
    pub(super) fn open(
        settings: &Settings,
        deployment: &str,
        keyring: &FileKeyring,
        path: &Path,
    ) -> Result<Self, Error> {
        let (frames, format) = Frames::open(settings, deployment, keyring, path)?;
        if format != Format::Whole {
            let why = "it is no whole backup: it has what has changed since another one";
            return Err(Error::Backup { path: path.to_owned(), why: why.to_owned() });
        }
        Ok(Self { frames, rows: VecDeque::new(), manifest: None })
    }

    /// Reads on, unless there are rows or there is no more.
    pub(super) fn fill(&mut self) -> Result<(), Error> {
        while self.rows.is_empty() && self.manifest.is_none() {
            match self.frames.next()? {
                Frame::Rows(rows) => self.rows = rows.into(),
                Frame::Manifest(manifest) => {
                    self.frames.end()?;
                    self.manifest = Some(manifest);
                }
                Frame::Base { .. } | Frame::Changes(_) => return Err(self.frames.misplaced()),
            }
        }
        Ok(())
    }
}

/// What has changed since a whole backup, and that backup.
struct Changed {
    base: Whole,
    frames: Frames,
    /// Those that were read and not taken.
    changes: VecDeque<(Key, Option<Value>)>,
    manifest: Option<Manifest>,
}

impl Changed {
    fn open(
        settings: &Settings,
        deployment: &str,
        keyring: &FileKeyring,
        mut frames: Frames,
    ) -> Result<Self, Error> {
        let Frame::Base { name, id } = frames.next()? else { return Err(frames.misplaced()) };
        let path = frames.path.with_file_name(&name);
        let refused = |why: String| Error::Backup { path: frames.path.clone(), why };
        let base = match Whole::open(settings, deployment, keyring, &path) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Err(refused(format!(
                    "it has what has changed since the backup {name}, which is not in its folder"
                )));
            }
            opened => opened?,
        };
        if base.frames.header.id != id {
            return Err(refused(format!(
                "{name} in its folder is another backup than the one since which it has the changes"
            )));
        }
        Ok(Self { base, frames, changes: VecDeque::new(), manifest: None })
    }

    fn fill(&mut self) -> Result<(), Error> {
        while self.changes.is_empty() && self.manifest.is_none() {
            match self.frames.next()? {
                Frame::Changes(Changes(changes)) => self.changes = changes.into(),
                Frame::Manifest(manifest) => {
                    self.frames.end()?;
                    self.manifest = Some(manifest);
                }
                Frame::Rows(_) | Frame::Base { .. } => return Err(self.frames.misplaced()),
            }
        }
        self.base.fill()
    }

    /// The next row. `None`: there is no more.
    fn row(&mut self) -> Result<Option<(Key, Value)>, Error> {
        loop {
            self.fill()?;
            let order = match (self.base.rows.front(), self.changes.front()) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            if order == Ordering::Less {
                return Ok(self.base.rows.pop_front());
            }
            if order == Ordering::Equal {
                self.base.rows.pop_front();
            }
            match self.changes.pop_front() {
                Some((key, Some(value))) => return Ok(Some((key, value))),
                Some((_, None)) if order == Ordering::Greater => {
                    return Err(self.frames.wrong("it removes a row that was not there"));
                }
                Some((_, None)) | None => {}
            }
        }
    }

    /// The next rows, and none at the end.
    fn page(&mut self) -> Result<Vec<(Key, Value)>, Error> {
        let (mut page, mut bytes) = (Vec::new(), 0);
        while bytes < PAGE_BYTES
            && let Some((key, value)) = self.row()?
        {
            bytes += key.len() + value.len();
            page.push((key, value));
        }
        Ok(page)
    }
}

/// The rows of a backup, whichever it is.
pub(super) struct Source(Kind);

enum Kind {
    Whole(Box<Whole>),
    Changed(Box<Changed>),
}

impl Source {
    /// Opens a backup of this shard.
    ///
    /// # Errors
    /// [`Error::Backup`]; [`Error::Io`].
    pub(super) fn open(
        settings: &Settings,
        deployment: &str,
        keyring: &FileKeyring,
        path: &Path,
    ) -> Result<Self, Error> {
        let (frames, format) = Frames::open(settings, deployment, keyring, path)?;
        Ok(Self(match format {
            Format::Whole => {
                Kind::Whole(Box::new(Whole { frames, rows: VecDeque::new(), manifest: None }))
            }
            Format::Changes => {
                Kind::Changed(Box::new(Changed::open(settings, deployment, keyring, frames)?))
            }
        }))
    }

    /// The next rows, and none at the end.
    ///
    /// # Errors
    /// [`Error::Backup`] with what is wrong, and in which chunk; [`Error::Io`].
    pub(super) fn page(&mut self) -> Result<Vec<(Key, Value)>, Error> {
        match &mut self.0 {
            Kind::Whole(whole) => {
                whole.fill()?;
                Ok(std::mem::take(&mut whole.rows).into())
            }
            Kind::Changed(changed) => changed.page(),
        }
    }

    /// The frames of the file itself.
    pub(super) fn frames(&self) -> &Frames {
        match &self.0 {
            Kind::Whole(whole) => &whole.frames,
            Kind::Changed(changed) => &changed.frames,
        }
    }

    /// What stands at its end. `None`: its rows were not read to the end.
    pub(super) fn into_end(self) -> (Header, u64, Option<Manifest>) {
        let (frames, manifest) = match self.0 {
            Kind::Whole(whole) => (whole.frames, whole.manifest),
            Kind::Changed(changed) => (changed.frames, changed.manifest),
        };
        (frames.header, frames.number, manifest)
    }
}
