//! Golden files: what a test gives is compared with what is written.

use std::path::Path;

/// Compares a text with the golden file of that name; with `UPDATE_EXPECT=1`, writes it instead.
pub(crate) fn expect(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    #[expect(clippy::disallowed_methods, reason = "the switch of a test, read nowhere else")]
    let updating = std::env::var("UPDATE_EXPECT").is_ok();
    if updating {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the golden folder");
        std::fs::write(&path, actual).expect("the golden folder can be written");
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == actual, "{name} differs (UPDATE_EXPECT=1 rewrites it)");
}
