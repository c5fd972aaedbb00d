//! What several map commands need: the note beside a map, today's date, digests as text.

use std::path::{Path, PathBuf};

use atlas::{Date, SignedMap};
use link::host::clock::SystemClock;
use terms::Clock as _;

use crate::arguments::Packs;
use crate::error::{Exit, Failure};
use crate::files::text;

/// The file of a map's signatures: the one given, or the one beside the map.
pub(super) fn note_of(map: &Path, note: Option<&PathBuf>) -> PathBuf {
    note.cloned().unwrap_or_else(|| map.with_extension("note"))
}

/// Reads a map with its note.
pub(super) fn signed(
    packs: &Packs,
    map: &Path,
    note: Option<&PathBuf>,
) -> Result<SignedMap, Failure> {
    let read = packs.map(map)?;
    let note = note_of(map, note);
    if !note.exists() {
        let what = format!(
            "{}: there is no such file with the map's signatures: have the map signed (`bailiwick map \
             sign`), or name the file with --note",
            note.display()
        );
        return Err(Failure::said(Exit::Config, what));
    }
    Ok(SignedMap::of(&read, text(&note)?))
}

/// The day on which the rules are judged by default.
pub(super) fn today() -> Date {
    Date::of(SystemClock.now())
}

/// A digest as maps write it.
pub(super) fn digest(digest: &[u8]) -> String {
    format!("sha256:{}", hex::encode(digest))
}
