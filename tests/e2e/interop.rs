//! A client that nobody here compiled: Python's grpcio-tools make one from our protos, and it puts and gets through a real gateway.

use std::path::Path;
use std::process::Command;

use crate::docs::block;
use crate::python_sdk::PACKAGES;
use crate::support::python::{done, programs};
use crate::support::{Deployment, Options};

#[test]
fn a_python_client_from_our_protos_puts_and_gets() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let python = programs(PACKAGES).join("python");
    let stubs = folder.path().join("stubs");
    std::fs::create_dir(&stubs).expect("a folder");
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let mut generate = Command::new(&python);
    generate.args(["-m", "grpc_tools.protoc"]).arg("-I").arg(&protos);
    for kind in ["--python_out", "--grpc_python_out"] {
        generate.arg(kind).arg(&stubs);
    }
    for file in [
        "attachments",
        "copies",
        "records",
        "subjects",
        "operations",
        "jurisdiction",
        "ledger",
        "transit",
    ] {
        generate.arg(format!("bailiwick/v1/{file}.proto"));
    }
    for file in ["google/api/field_behavior", "google/api/field_info", "google/rpc/status"] {
        generate.arg(format!("{file}.proto"));
    }
    done(&mut generate);

    let usual = Options::default();
    let reads = "reads = \"counted\"\n";
    let found = "feed = \"1h\"\nlist = true\n\n\
        [[collections.attributes]]\nname = \"city\"\ntype = \"string\"\nindex = \"exact\"\n\n\
        [[collections.attributes]]\nname = \"age\"\ntype = \"integer\"\nindex = \"range\"\n";
    let map = usual.map.replacen(reads, &format!("{reads}{found}"), 1);
    let options = Options { regions: vec!["eu-fra", "ru-msk"], map, ..usual };
    let deployment = Deployment::start(&options);
    let gateway = deployment.gateway_url();
    let address = gateway.strip_prefix("http://").expect("a plaintext gateway");
    for script in ["put_get.py", "records.py"] {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(script);
        let said = done(Command::new(&python).arg(script).arg(address).arg(&stubs));
        assert!(said.contains("as documented"), "{said}");
    }

    // The program of the README, as it stands there but for the address.
    let shown = block("```python\n");
    assert!(shown.contains("127.0.0.1:7400"), "{shown}");
    let mut program = Command::new(&python);
    program.arg("-c").arg(shown.replace("127.0.0.1:7400", address)).env("PYTHONPATH", &stubs);
    assert_eq!(done(&mut program), "eu-fra 1 b'hello'\n");
}
