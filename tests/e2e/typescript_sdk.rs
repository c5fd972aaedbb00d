//! The TypeScript client: its messages are generated from the protos, its types are checked, its tests
//! read the golden vectors of the ledger, and its examples run against a real gateway. The protos are linted with the same tools.

use std::path::Path;
use std::process::Command;

use crate::social;
use crate::support::python::done;
use crate::support::{Deployment, Options, file};

/// Copies the files of a folder, without what a build leaves behind.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        let built = ["node_modules", "dist", "gen"].iter().any(|name| entry.file_name() == *name);
        if path.is_dir() && !built {
            copy(&path, &to);
        } else if path.is_file() {
            std::fs::copy(&path, &to).expect("a copy");
        }
    }
}

#[test]
fn the_examples_are_checked_and_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let own = folder.path().join("sdk/typescript");
    copy(&file("sdk/typescript"), &own);
    copy(&file("proto"), &folder.path().join("proto"));
    let golden = "crates/ledger/tests/golden";
    copy(&file(golden), &folder.path().join(golden));
    let npm = |arguments: &[&str]| {
        done(
            Command::new("npm").args(arguments).args(["--no-audit", "--no-fund"]).current_dir(&own),
        )
    };
    npm(&["ci", "--ignore-scripts"]);
    npm(&["run", "lint-protos"]);
    npm(&["run", "build"]);
    npm(&["test"]);
    let options = Options { regions: vec!["eu-fra"], ..Options::default() };
    let deployment = Deployment::start(&options);
    let mut example = Command::new("node");
    example.args(["dist/examples/put_get.js", &deployment.gateway_url()]).current_dir(&own);
    let said = done(&mut example);
    for line in [
        "eu-fra 1n hello",
        "the log has PLACE ",
        "VERSION_MISMATCH - ",
        "listed: main",
        "deleted as version 2n",
        "RECORD_NOT_FOUND",
        "would go to eu-fra",
        "batch: 10",
        "at once: 200 on lanes: true",
        "attachment: 1n 1048581n 5",
    ] {
        assert!(said.contains(line), "{said}");
    }
    drop(deployment);
    let deployment = social::deployment();
    let mut example = Command::new("node");
    example.args(["dist/examples/social.js", &deployment.gateway_url()]).current_dir(&own);
    assert_eq!(done(&mut example).lines().collect::<Vec<_>>(), social::SAID);
}
