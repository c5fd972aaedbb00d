//! A client that nobody here compiled: Python's grpcio-tools make one from our protos, and it puts and gets through a real gateway.

use std::path::Path;
use std::process::Command;

use crate::docs::block;
use crate::support::python::{done, programs};
use crate::support::{Deployment, Options};

/// Pinned, so that a failure is ours.
const TOOLS: &str = "grpcio-tools==1.85.1";

#[test]
fn a_python_client_from_our_protos_puts_and_gets() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let python = programs(&[TOOLS]).join("python");
    let stubs = folder.path().join("stubs");
    std::fs::create_dir(&stubs).expect("a folder");
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let mut generate = Command::new(&python);
    generate.args(["-m", "grpc_tools.protoc"]).arg("-I").arg(&protos);
    for kind in ["--python_out", "--grpc_python_out"] {
        generate.arg(kind).arg(&stubs);
    }
    for file in ["records", "subjects", "operations", "jurisdiction", "ledger"] {
        generate.arg(format!("bailiwick/v1/{file}.proto"));
    }
    for file in ["google/api/field_behavior", "google/api/field_info", "google/rpc/status"] {
        generate.arg(format!("{file}.proto"));
    }
    done(&mut generate);

    let options = Options { regions: vec!["eu-fra", "ru-msk"], ..Options::default() };
    let deployment = Deployment::start(&options);
    let gateway = deployment.gateway_url();
    let address = gateway.strip_prefix("http://").expect("a plaintext gateway");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/put_get.py");
    let said = done(Command::new(&python).arg(script).arg(address).arg(&stubs));
    assert!(said.contains("as documented"), "{said}");

    // The program of the README, as it stands there but for the address.
    let shown = block("```python\n");
    assert!(shown.contains("127.0.0.1:7400"), "{shown}");
    let mut program = Command::new(&python);
    program.arg("-c").arg(shown.replace("127.0.0.1:7400", address)).env("PYTHONPATH", &stubs);
    assert_eq!(done(&mut program), "eu-fra 1 b'hello'\n");
}
