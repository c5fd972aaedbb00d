//! Python environments with pinned packages. Each is made once for all tests and kept in the target
//! folder: making one takes longer than the test that uses it.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a program to its end, which must be a good one, and gives what it printed.
pub(crate) fn done(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    let output = command.output().expect("the program can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{shown}\n{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The folder of the programs of an environment with these packages.
pub(crate) fn programs(packages: &[&str]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    packages.hash(&mut hasher);
    let name = format!("python-{:016x}", hasher.finish());
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
    // Tests are processes of their own: one makes it, and the others wait for that one.
    let lock = File::create(venv.with_extension("lock")).expect("a file can be made");
    lock.lock().expect("a file can be locked");
    let made = venv.join("made");
    if !made.exists() {
        fs::remove_dir_all(&venv).ok();
        done(Command::new("python3").args(["-m", "venv"]).arg(&venv));
        let mut pip = Command::new(venv.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--ignore-requires-python"]).args(packages);
        done(&mut pip);
        File::create(made).expect("a file can be made");
    }
    venv.join("bin")
}
