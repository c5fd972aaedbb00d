//! Replays the corpus of every fuzz target: each input that ever reached something new, and each
//! that ever broke something. `tests/long/fuzz` looks for more.

#![expect(unreachable_pub, reason = "the targets are bodies of programs of their own elsewhere")]
#![expect(clippy::indexing_slicing, reason = "a target that goes astray is a finding")]
#![expect(clippy::collapsible_if, reason = "the targets are of an edition without such chains")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a target looks at what it is for")]

macro_rules! targets {
    ($($name:ident = $path:literal),* $(,)?) => {$(
        #[path = $path]
        mod $name;

        #[test]
        fn $name() {
            replay(stringify!($name), $name::run);
        }
    )*};
}

targets! {
    convert = "../../fuzz/targets/convert.rs",
    entry = "../../fuzz/targets/entry.rs",
    filter = "../../fuzz/targets/filter.rs",
    frame = "../../fuzz/targets/frame.rs",
    jwks = "../../fuzz/targets/jwks.rs",
    line = "../../fuzz/targets/line.rs",
    map = "../../fuzz/targets/map.rs",
    note = "../../fuzz/targets/note.rs",
    peer = "../../fuzz/targets/peer.rs",
    pem = "../../fuzz/targets/pem.rs",
    receipt = "../../fuzz/targets/receipt.rs",
    token = "../../fuzz/targets/token.rs",
}

/// Runs a target on each file of its corpus.
fn replay(target: &str, run: impl Fn(&[u8])) {
    let folder = crate::support::file("fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).expect("a corpus");
    let mut inputs = 0;
    for file in files {
        let path = file.expect("an entry").path();
        let data = std::fs::read(&path).expect("a file");
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&data)));
        assert!(ran.is_ok(), "{} breaks it", path.display());
        inputs += 1;
    }
    assert!(inputs > 0, "the corpus of {target} is empty");
}

#[test]
fn every_target_is_replayed() {
    let folder = crate::support::file("fuzz/targets");
    let files = std::fs::read_dir(folder).expect("targets");
    let own = include_str!("corpus.rs");
    for file in files {
        let name = file.expect("an entry").file_name();
        let line = format!("../../fuzz/targets/{}\"", name.to_string_lossy());
        assert!(own.contains(&line), "{} is not replayed", name.display());
    }
}
