//! Golden files: what a test gives is compared with what is written.

use std::path::Path;

/// Whether the golden files are to be written rather than compared.
fn updating() -> bool {
    #[expect(clippy::disallowed_methods, reason = "the switch of a test, read nowhere else")]
    std::env::var("UPDATE_EXPECT").is_ok()
}

/// Compares a text with the file of that path; with `UPDATE_EXPECT=1`, writes it there instead.
pub(crate) fn expect(path: &Path, actual: &str) {
    if updating() {
        std::fs::write(path, actual).expect("the golden folder can be written");
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        expected == actual,
        "{} differs (UPDATE_EXPECT=1 rewrites it); now:\n{actual}",
        path.display()
    );
}
