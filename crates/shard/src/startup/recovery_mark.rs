//! The mark of a recovery or a restore that has begun and not ended: a file next to the checkpoint. A
//! shard does not start while it is there.
//!
//! That of a recovery is TOML, and has what is given up: the end of the log that the store held, and
//! the last checkpoint. A recovery that is begun again goes by it, and not by what the first attempt
//! has left. That of a restore is the last checkpoint, after a line that says whether the file of erasures
//! was lost. Once an attempt has made that file again, nothing else would say so to the next one.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::store::types::{CommitAt, Period};

/// What the mark of a recovery begins with, and no checkpoint.
const TAG: &str = "[recovery]\n";
/// What the mark of a restore begins with, if the file of erasures was lost.
const LOST: &str = "the file of erasures was lost\n";

/// What a recovery gives up.
pub(crate) struct GivenUp {
    /// The end of the log that the store held. `None`: there was no store.
    pub(crate) since: Option<CommitAt>,
    /// The last checkpoint. `None`: none was left.
    pub(crate) note: Option<String>,
    /// Whether the file of erasures was lost: what stands in its place may lack some.
    pub(crate) erasures_lost: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    recovery: Lines,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines {
    period: Option<u32>,
    index: Option<u64>,
    note: Option<String>,
    #[serde(default)]
    erasures_lost: bool,
}

/// A mark that was found.
pub(crate) enum Mark {
    Recovery(GivenUp),
    Restore(Restoring),
}

/// A restore that has begun.
pub(crate) struct Restoring {
    /// The last checkpoint, or a text that says that none was left.
    pub(crate) note: String,
    /// Whether the file of erasures was lost.
    pub(crate) erasures_lost: bool,
}

/// Reads the mark. `None`: there is none.
pub(crate) fn read(mark: &Path) -> Result<Option<Mark>, Error> {
    let text = match fs::read_to_string(mark) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Io { path: mark.to_owned(), source }),
    };
    if !text.starts_with(TAG) {
        let note = text.strip_prefix(LOST);
        let erasures_lost = note.is_some();
        let note = note.unwrap_or(&text).to_owned();
        return Ok(Some(Mark::Restore(Restoring { note, erasures_lost })));
    }
    let Ok(File { recovery: Lines { period, index, note, erasures_lost } }) = toml::from_str(&text)
    else {
        let why = "the mark of a recovery was changed";
        return Err(Error::CheckpointFile { path: mark.to_owned(), why });
    };
    let since = period.map(Period).zip(index).map(|(period, index)| CommitAt { period, index });
    Ok(Some(Mark::Recovery(GivenUp { since, note, erasures_lost })))
}

impl GivenUp {
    /// The text of the mark.
    pub(crate) fn text(&self) -> String {
        let (period, index) = self.since.map(|at| (at.period.0, at.index)).unzip();
        let (note, erasures_lost) = (self.note.clone(), self.erasures_lost);
        let recovery = Lines { period, index, note, erasures_lost };
        toml::to_string(&File { recovery }).expect("numbers and a note are plain TOML")
    }
}

impl Mark {
    /// Whether the file of erasures was lost when that began.
    pub(crate) const fn erasures_lost(&self) -> bool {
        match self {
            Self::Recovery(given_up) => given_up.erasures_lost,
            Self::Restore(restoring) => restoring.erasures_lost,
        }
    }
}

impl Restoring {
    /// The text of the mark.
    pub(crate) fn text(&self) -> String {
        let lost = if self.erasures_lost { LOST } else { "" };
        format!("{lost}{}", self.note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        assert!(read(&path).unwrap().is_none());
        let at = CommitAt { period: Period(3), index: 9 };
        let note = "sample/ru-msk/s1/3\n9\nroot\n\n— name signature\n".to_owned();
        for (since, note) in [(None, None), (Some(at), None), (Some(at), Some(note.clone()))] {
            let erasures_lost = note.is_none();
            let given_up = GivenUp { since, note: note.clone(), erasures_lost };
            fs::write(&path, given_up.text()).unwrap();
            let Some(Mark::Recovery(read)) = read(&path).unwrap() else {
                panic!("it is the mark of a recovery");
            };
            assert_eq!((read.since, read.note, read.erasures_lost), (since, note, erasures_lost));
        }
        for erasures_lost in [false, true] {
            fs::write(&path, Restoring { note: note.clone(), erasures_lost }.text()).unwrap();
            let Some(Mark::Restore(read)) = read(&path).unwrap() else {
                panic!("it is the mark of a restore");
            };
            assert_eq!((read.note, read.erasures_lost), (note.clone(), erasures_lost));
        }
        fs::write(&path, "[recovery]\nperiod = -1\n").unwrap();
        assert!(read(&path).is_err());
    }
}
