//! An earlier map's text as the next one: another version and predecessor, and not a byte else.

use std::ops::Range;

use crate::Diagnostic;
use crate::map::reader::MAP_SIZE;
use crate::toml::File;

/// The text of a map as version `number`, after the map of that digest (`sha256:…`).
///
/// # Errors
/// What keeps the text from being read as TOML with a `version`.
pub fn renumber(text: &str, number: u64, predecessor: &str) -> Result<String, Vec<Diagnostic>> {
    let file = File::new(text);
    let spans = file.document(MAP_SIZE).map(|document| {
        let span = |key: &str| document.get_ref().get(key).map(toml::Spanned::span);
        (span("version"), span("predecessor"))
    });
    let Some((version, before)) = spans else { return Err(file.into_diagnostics()) };
    let Some(version) = version else {
        file.wrong(0, "KEY_MISSING", "this region map has no `version`", "add `version`");
        return Err(file.into_diagnostics());
    };
    let (number, named) = (number.to_string(), format!("\"{predecessor}\""));
    let mut edits: Vec<(Range<usize>, String)> = match before {
        Some(before) => vec![(version, number), (before, named)],
        None => vec![(version, format!("{number}\npredecessor = {named}"))],
    };
    // From the end on, so that what is changed moves nothing that is still to be changed.
    edits.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut text = text.to_owned();
    for (span, new) in edits {
        text.replace_range(span, &new);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::renumber;

    #[test]
    fn only_version_and_predecessor_change() {
        let digest = "sha256:ab";
        let text = "# a map\nname = \"x\" # its name\nversion = 3 # the third\n\n[[regions]]\n";
        let next = "# a map\nname = \"x\" # its name\nversion = 9\npredecessor = \"sha256:ab\" # the \
                    third\n\n[[regions]]\n";
        assert_eq!(renumber(text, 9, digest).unwrap(), next);
        let text = "predecessor = [\"sha256:1\", \"sha256:2\"]\nversion = 10\n";
        let next = "predecessor = \"sha256:ab\"\nversion = 11\n";
        assert_eq!(renumber(text, 11, digest).unwrap(), next);
        assert!(renumber("name = \"x\"\n", 2, digest).is_err());
        assert!(renumber("version = ", 2, digest).is_err());
    }
}
