//! Compiles the protos with protox, so that no `protoc` need be on the machine, and writes beside
//! them what `bounded` must know of each message: which of its fields hold further messages.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// Answers of our own servers that list as many things as a deployment has: shards, findings of a
/// check, kinds of effects of a map. The caller has chosen the server.
const LISTS: [&str; 7] = [
    "ApplyRegionMapResponse",
    "CheckRegionMapResponse",
    "ListOperationsResponse",
    "LocateSubjectResponse",
    "PlanRegionMapResponse",
    "RegionMapHistory",
    "RegionMapStatus",
];

/// Answers with a page of records, or with what became of the requests of a batch.
const PAGES: [&str; 6] = [
    "BatchDeleteRecordsResponse",
    "BatchGetRecordsResponse",
    "BatchPutRecordsResponse",
    "ListRecordsResponse",
    "ScanRecordsResponse",
    "WatchRecordsResponse",
];

/// Messages of the public API that hold many requests.
const BATCHES: [&str; 3] =
    ["BatchDeleteRecordsRequest", "BatchGetRecordsRequest", "BatchPutRecordsRequest"];

#[expect(
    clippy::disallowed_methods,
    reason = "cargo gives a build script its folder, where it writes"
)]
fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    println!("cargo:rerun-if-changed=build.rs");
    let files = [
        "bailiwick/v1/attachments.proto",
        "bailiwick/v1/copies.proto",
        "bailiwick/v1/jurisdiction.proto",
        "bailiwick/v1/ledger.proto",
        "bailiwick/v1/operations.proto",
        "bailiwick/v1/records.proto",
        "bailiwick/v1/region_maps.proto",
        "bailiwick/v1/subjects.proto",
        "bailiwick/v1/transit.proto",
        "bailiwick/internal/v1/held.proto",
        "bailiwick/internal/v1/indexes.proto",
        "bailiwick/internal/v1/session.proto",
    ];
    let descriptors = protox::compile(files, [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    std::fs::write(out.join("shapes.rs"), shapes(&descriptors)?)?;
    tonic_prost_build::configure()
        // Bodies are shared, not copied, on their way from one message into the next.
        .bytes(".")
        // So that a rare answer makes no common one larger.
        .boxed(".bailiwick.internal.v1.MovesFound.proof")
        .boxed(".bailiwick.internal.v1.Arrived.taken")
        .boxed(".bailiwick.internal.v1.Written.choice")
        .extern_path(".google.rpc", "::tonic_types::pb")
        // Most messages hold personal data, and those that do not may hold one that does: none
        // of them can be printed.
        .skip_debug(["."])
        // No message is decoded before its fields are counted.
        .codec_path("crate::bounded::Codec")
        .compile_fds(descriptors)?;
    Ok(())
}

/// The shapes of all messages as Rust, and which of them each message of a method has.
fn shapes(files: &FileDescriptorSet) -> Result<String, Box<dyn Error>> {
    let mut all = BTreeMap::new();
    for file in &files.file {
        let package = format!(".{}", file.package());
        file.message_type.iter().for_each(|message| collect(&package, message, &mut all));
    }
    let number = |name: &str| all.keys().position(|known| known == name);
    let mut text = String::from("pub(crate) static SHAPES: &[Shape] = &[\n");
    for message in all.values() {
        text.push_str("    &[");
        for field in &message.field {
            match field.r#type() {
                Type::Message => {
                    let inner = number(field.type_name()).ok_or("a field of no known type")?;
                    write!(text, "({}, Inside::Message({inner})), ", field.number())?;
                }
                Type::Group => return Err("bounded decoding knows no groups".into()),
                Type::String | Type::Bytes => {}
                _ if field.label() == Label::Repeated => {
                    write!(text, "({}, Inside::Packed), ", field.number())?;
                }
                _ => {}
            }
        }
        text.push_str("],\n");
    }
    text.push_str("];\n");
    let methods = files.file.iter().flat_map(|file| &file.service).flat_map(|one| &one.method);
    let mut used: Vec<&str> = methods.flat_map(|m| [m.input_type(), m.output_type()]).collect();
    used.sort_unstable();
    used.dedup();
    for name in used {
        let shape = number(name).ok_or("a method of no known message")?;
        let (rust, limits) = if let Some(message) = name.strip_prefix(".bailiwick.internal.v1.") {
            let limits = if message == "ToGateway" { "ANSWER_FRAME" } else { "FRAME" };
            (format!("session::{message}"), limits)
        } else if let Some(message) = name.strip_prefix(".bailiwick.v1.") {
            let limits = match message {
                _ if LISTS.contains(&message) => "LIST",
                _ if PAGES.contains(&message) => "PAGE",
                _ if BATCHES.contains(&message) => "BATCH",
                _ => "MESSAGE",
            };
            (format!("v1::{message}"), limits)
        } else {
            return Err(format!("{name} is of a package without limits").into());
        };
        writeln!(
            text,
            "impl Bounded for crate::{rust} {{\n    const SHAPE: usize = {shape};\n    \
             const LIMITS: Limits = {limits};\n}}"
        )?;
    }
    Ok(text)
}

/// Messages by their full names, with those defined inside of others (map entries among them).
fn collect<'a>(
    within: &str,
    message: &'a DescriptorProto,
    all: &mut BTreeMap<String, &'a DescriptorProto>,
) {
    let name = format!("{within}.{}", message.name());
    message.nested_type.iter().for_each(|inner| collect(&name, inner, all));
    let unknown = |field: &FieldDescriptorProto| field.r#type.is_none();
    assert!(!message.field.iter().any(unknown), "protox resolves the type of every field");
    all.insert(name, message);
}
