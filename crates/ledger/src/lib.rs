//! The placement log: entries, the Merkle tree over them, its tiles, notes, checkpoints, proofs.
//!
//! The formats are C2SP's `signed-note`, `tlog-checkpoint`, `tlog-tiles` and `tlog-proof`; the
//! tree is RFC 6962's, and proofs are verified by the algorithms of RFC 9162. What an entry holds
//! is ours: [`entry`] and [`statement`].
//!
//! **Architecture invariant:** this crate is pure. It works on bytes and hashes; it knows no
//! file, network, clock, chance, record or region map, and no other crate of ours. So an auditor
//! can check everything with it and nothing else.
//!
//! **Architecture invariant:** a receipt is checked with a log's public key, never with a root:
//! [`receipt::Receipt::verify`] and [`tlog_proof::verify_receipt`] take the root out of the
//! checkpoint that the key has signed.

pub mod bundle;
pub mod checkpoint;
pub mod cosignature;
pub mod entry;
pub mod hash;
pub mod note;
pub mod proof;
pub mod receipt;
pub mod signers;
pub mod statement;
pub mod tile;
pub mod tlog_proof;
pub mod tree;

mod base64;
mod bytes;
mod decimal;
#[cfg(test)]
mod testing;

pub use checkpoint::Checkpoint;
pub use entry::{Entry, Kind};
pub use hash::Hash;
pub use receipt::Receipt;
pub use signers::{Signers, said_by};
pub use statement::Statement;
pub use tile::{BundleId, HashReader, TileId};
pub use tlog_proof::TlogProof;
pub use tree::Edge;
