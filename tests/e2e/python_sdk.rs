//! The Python client: its wheel is built from the protos, installed, and used against real processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::social;
use crate::support::process::run;
use crate::support::python::{done, programs};
use crate::support::{Deployment, Options, file};
use serde_json::json;

/// What the wheel needs, and what builds it. Pinned, so that a failure is ours.
pub(crate) const PACKAGES: &[&str] = &[
    "cryptography==50.0.2",
    "googleapis-common-protos==1.76.0",
    "grpcio==1.85.1",
    "grpcio-tools==1.85.1",
    "protobuf==7.36.2",
    "setuptools==84.2.1",
];

/// Copies a folder, without what a build leaves behind.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).expect("a copy");
        }
    }
}

/// The package, built in `root` and unpacked there: the folder that Python finds it in.
fn installed(python: &Path, root: &Path) -> PathBuf {
    copy(&file("sdk/python"), &root.join("sdk/python"));
    copy(&file("proto"), &root.join("proto"));
    let (wheels, site) = (root.join("wheels"), root.join("site"));
    let pip = |arguments: &[&str], folder: &Path| {
        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]).args(arguments);
        done(pip.arg(folder).current_dir(root));
    };
    let wheel = ["wheel", "--no-deps", "--no-build-isolation", "./sdk/python", "--wheel-dir"];
    pip(&wheel, &wheels);
    let wheel = fs::read_dir(&wheels).expect("a folder").next().expect("a wheel");
    let wheel = wheel.expect("an entry").path();
    let wheel = wheel.to_str().expect("text");
    pip(&["install", "--no-deps", wheel, "--target"], &site);
    site
}

/// The sample map, in which profiles have attributes.
fn options() -> Options {
    let usual = Options::default();
    let reads = "reads = \"counted\"\n";
    let attributes = "feed = \"1h\"\n\n[[collections.attributes]]\nname = \"thread\"\ntype = \"string\"\n\n\
        [[collections.attributes]]\nname = \"sent_time\"\ntype = \"timestamp\"\n";
    let map = usual.map.replacen(reads, &format!("{reads}{attributes}"), 1);
    let payments = "name = \"payments\"\n";
    let map = map.replacen(payments, &format!("{payments}transit = \"sealed\"\n"), 1);
    Options { regions: vec!["eu-fra", "ru-msk"], tls: true, map, ..usual }
}

#[test]
fn the_wheel_puts_gets_and_verifies() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let python = programs(PACKAGES).join("python");
    let site = installed(&python, folder.path());
    let program = |arguments: &[&str]| {
        done(Command::new(&python).args(arguments).env("PYTHONPATH", &site).current_dir(file(".")))
    };
    // Every file of them.
    program(&["-m", "unittest", "discover", "sdk/python/tests"]);

    let options = options();
    let deployment = Deployment::start(&options);
    let root = deployment.root();
    let token = root.join("token");
    fs::write(&token, deployment.secured().token(&json!({}))).expect("a file");
    let config = root.join("shard-eu-fra.toml");
    let key = run(&["shard", "show-key", "--config", config.to_str().expect("text")]);
    let key = key.stdout.lines().find_map(|line| line.strip_prefix("log ")).expect("a key");
    let authorities = root.join("tls/authorities.pem");
    let paths = [&authorities, &token].map(|path| path.to_str().expect("text"));
    let url = deployment.gateway_url();
    let said = program(&["tests/interop/sdk.py", &url, paths[0], paths[1], key]);
    assert!(said.contains("as documented"), "{said}");
    let shown = run(&["shard", "show-transit-key", "--config", config.to_str().expect("text")]);
    let arguments = ["tests/interop/sealed.py", &url, paths[0], paths[1], key, shown.stdout.trim()];
    assert!(program(&arguments).contains("sealed as documented"));
    drop(deployment);

    // The example, as a new user runs it.
    let options = Options { regions: vec!["eu-fra"], ..Options::default() };
    let deployment = Deployment::start(&options);
    let said = program(&["sdk/python/examples/put_get.py", &deployment.gateway_url()]);
    for line in [
        "eu-fra 1 b'hello' PLACE",
        "VERSION_MISMATCH - ",
        "deleted as version 2",
        "RECORD_NOT_FOUND",
        "would go to eu-fra",
        "batch: ['eu-fra'] 10",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let said = program(&["tests/interop/subjects.py", &deployment.gateway_url()]);
    assert!(said.contains("subjects as documented"), "{said}");
    drop(deployment);
    let deployment = social::deployment();
    let said = program(&["sdk/python/examples/social.py", &deployment.gateway_url()]);
    assert_eq!(said.lines().collect::<Vec<_>>(), social::SAID);
}
