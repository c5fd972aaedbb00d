//! The files of a map: its text, its note, and the packs that it names.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atlas::{RegionMap, SignedMap, StatutePack};

use crate::commands::map::Packs;
use crate::commands::{Exit, Failure};

/// The text of a file.
pub(super) fn text(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| {
        let text = format!("{}: cannot be read ({error}); name a readable file", path.display());
        Failure::said(Exit::Config, text)
    })
}

/// Writes a file in the place of the one before: whoever reads it sees one or the other.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let fresh = path.with_extension("new");
    let written = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, path));
    written.map_err(|error| {
        // It was never in use.
        fs::remove_file(&fresh).ok();
        let text = format!("{}: cannot be written ({error})", path.display());
        Failure::said(Exit::Unavailable, text)
    })
}

/// Where the signatures of a map are, unless somebody says otherwise: beside it.
pub(super) fn note_of(map: &Path, note: Option<&PathBuf>) -> PathBuf {
    note.cloned().unwrap_or_else(|| map.with_extension("note"))
}

impl Packs {
    /// The packs.
    pub(super) fn read(&self) -> Result<Vec<Arc<StatutePack>>, Failure> {
        let mut all = Vec::new();
        for path in &self.packs {
            let text = text(path)?;
            let pack = StatutePack::parse(&text).map_err(|wrong| mistakes(path, &text, &wrong))?;
            all.push(Arc::new(pack));
        }
        Ok(all)
    }

    /// A map with these packs beside those of this program.
    pub(crate) fn map(&self, path: &Path) -> Result<RegionMap, Failure> {
        let (text, packs) = (text(path)?, self.read()?);
        RegionMap::parse_carrying(&text, &packs).map_err(|wrong| mistakes(path, &text, &wrong))
    }

    /// A map as it travels, with its note.
    pub(super) fn signed(&self, map: &Path, note: Option<&PathBuf>) -> Result<SignedMap, Failure> {
        let read = self.map(map)?;
        Ok(SignedMap::of(&read, text(&note_of(map, note))?))
    }
}

/// Everything that is wrong with a file, each with an excerpt.
pub(super) fn mistakes(path: &Path, text: &str, wrong: &[atlas::Diagnostic]) -> Failure {
    let name = path.display().to_string();
    let all: Vec<String> = wrong.iter().map(|found| found.render(&name, text)).collect();
    Failure::said(Exit::Config, all.join("\n").trim_end())
}
