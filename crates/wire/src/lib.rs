//! The generated protobuf code of `proto/`, the count that stands before its decoding, and the
//! check of what ends an answer.
//!
//! **Architecture invariant:** no domain logic here. Conversions live with whoever owns the domain
//! type, and are `TryFrom`-like: what they return is valid. Two files are written by hand:
//! `bounded` is the codec of every service, and knows of messages only how many fields they hold;
//! `status_check` is below every client, and knows no message.

pub mod bounded;
pub mod status_check;

/// The public API.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("bailiwick.v1");
}

/// What gateways and shards say to each other.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod session {
    tonic::include_proto!("bailiwick.internal.v1");
}

/// The file descriptors, for reflection and for the test that no field changes its number.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
