//! `[keyring]`: the token that guards a shard's keyring.

use std::path::PathBuf;

use link::host::file_watch::read_secret_text;
use shard::Token;

use super::reading::Section;

/// The token, and its PIN.
pub(super) fn token(section: &Section<'_>) -> Option<Token> {
    let (module, label) = (section.path("module"), section.text("token"));
    let file = section.path("pin_file")?;
    let text = read_secret_text(&file.it);
    let text = text.map_err(|error| section.unreadable(file.at, &file.it, &error)).ok()?;
    let pin = text.trim_end_matches(['\r', '\n']).to_owned().into();
    Some(Token { module: module?.it, label: label?.it.to_owned(), pin })
}

/// The folders in which its module writes.
pub(super) fn writes(section: &Section<'_>) -> Vec<PathBuf> {
    let texts = section.texts("writes").unwrap_or_default().into_iter();
    texts.map(|text| section.reading.relative(text.it)).collect()
}
