//! The generated protobuf code of `proto/`, and nothing else.
//!
//! **Architecture invariant:** no hand-written logic here. Conversions live with whoever owns the
//! domain type, and are `TryFrom`-like: what they return is valid.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

/// The public API.
pub mod v1 {
    tonic::include_proto!("bailiwick.v1");
}

/// What gateways and shards say to each other.
pub mod session {
    tonic::include_proto!("bailiwick.internal.v1");
}

/// The file descriptors, for reflection and for the test that no field changes its number.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
