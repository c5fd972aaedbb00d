//! Compiles the protos with protox, so that no `protoc` need be on the machine.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files = [
        "bailiwick/v1/jurisdiction.proto",
        "bailiwick/v1/ledger.proto",
        "bailiwick/v1/records.proto",
        "bailiwick/v1/subjects.proto",
        "bailiwick/internal/v1/session.proto",
    ];
    let descriptors = protox::compile(files, [&root])?;
    #[expect(clippy::disallowed_methods, reason = "cargo tells build scripts by environment")]
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Bodies are shared, not copied, on their way from one message into the next.
        .bytes(".")
        .extern_path(".google.rpc", "::tonic_types::pb")
        // Most messages hold personal data, and those that do not may hold one that does: none
        // of them can be printed.
        .skip_debug(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
