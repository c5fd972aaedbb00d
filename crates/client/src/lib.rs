//! The Rust SDK: connects to a gateway, puts, reads, and checks every receipt against what was
//! sent.
//!
//! **Architecture invariant:** every write's answer says what shows it ([`Proof`]). A receipt is a
//! commitment; that the log has its entry is checked later, with the log's key.
//!
//! **Architecture invariant:** what is sent again is what was sent, under the same `request_id`:
//! there is no retry here that could have a second effect.
//!
//! **Architecture invariant:** a body goes to the gateway that its caller named, or to one that the
//! caller lets it go to ([`Access`]); never in plaintext to another machine.
//!
//! **Architecture invariant:** a client that seals bodies ([`Client::sealed`]), or encrypts them under its caller's
//! keys, sends no plain body and reads none: what it cannot seal it refuses.
//!
//! **Architecture invariant:** nothing here prints content. The messages of [`api`] have no
//! `Debug`, a token's says nothing, and errors
//! hold what the gateway says, which never repeats a request.

mod access;
mod address;
mod attachments;
mod batch;
mod build;
mod bulk;
mod call;
mod clock;
mod encrypting;
mod error;
mod export;
mod gateway;
mod lanes;
mod ledger;
mod list;
mod maps;
mod own_keys;
mod receipt;
mod records;
mod refused;
mod request_id;
mod scan;
mod sealed_reads;
mod sealing;
mod stream;
mod subjects;
mod token;
mod transit_keys;
mod watch;

pub use self::ledger::{
    EntryBatches, LEDGER_ANSWER_BYTES_MAX, LEDGER_LONG_ANSWER_BYTES_MAX, Ledger, Tail,
};
pub use ::sealed::{CallerKey, CallerRecord, NoteInvalid};
pub use access::{Access, Ingress, Tls};
pub use address::ledger_url;
pub use attachments::{Download, Source, measure};
pub use build::{GetBuilder, PutBuilder};
pub use bulk::{BulkEvent, BulkPut};
pub use call::{Client, Settings};
pub use error::{Error, NotFollowed};
pub use export::{Export, ExportPart};
pub use list::Records;
pub use own_keys::{KeyProvider, KeySet};
pub use receipt::{
    Known, Moved, Proof, Unproven, Written, check_create, check_delete, check_move, check_patch,
    check_put, check_touch, check_upload, verify_move, verify_receipt,
};
pub use refused::Refused;
pub use request_id::{derived_request_id, new_request_id};
pub use scan::Scan;
pub use stream::{Answer, Answers, NotSent, Puts};
pub use token::{Token, TokenInvalid};
pub use transit_keys::NotSealed;
pub use watch::Watch;

/// The messages of the public API, as `proto/bailiwick/v1` defines them.
pub use wire::v1 as api;
