//! The node inside a region: it rules again, seals, commits a record together with its log entry,
//! and answers reads.
//!
//! **Architecture invariant:** a shard trusts no gateway. Every id is checked again, every ruling
//! and placement is made again from the findings with the shard's own map, and a separately
//! written predicate must admit it (`admits.rs`).
//!
//! **Architecture invariant:** nothing is acknowledged before it is durable, and there is one
//! writer (`committer.rs`): a record without its entry, or an entry without its record, cannot
//! exist.

mod admits;
mod anchor;
mod answer_room;
mod auditors;
mod beat;
#[cfg(feature = "bench")]
pub mod bench;
mod chronicle;
mod clock;
mod codec;
mod committer;
mod counts;
mod damage;
mod decision;
mod entries;
mod error;
mod fence;
mod folders;
mod generations;
mod identity;
mod init;
mod inspect;
mod keyring;
mod ledger_calls;
mod log;
mod log_keys;
mod log_pages;
mod map_calls;
mod maps;
mod metrics;
mod name;
mod node;
mod op;
mod open;
mod open_map;
mod peer;
mod prepare;
mod prover;
mod queue_share;
mod read_queue;
mod reads;
mod reconcile;
mod record;
mod recover;
mod reserve;
mod rotate;
mod rows;
mod ruling_message;
mod running;
mod seal;
mod sealed;
mod serve;
mod session;
mod settings;
mod settle;
mod small_rows;
mod subject;
mod survey;
mod take_map;
mod witness;
mod work;

pub use auditors::{AuditorEntrance, Auditors};
pub use clock::{clock_ahead, confirm_clock};
pub use error::Error;
pub use init::{Initialised, init};
pub use inspect::{Inspected, inspect};
pub use log_keys::LogKey;
pub use recover::{Recovered, recover};
pub use rotate::{PeriodMax, Rotated, rotate_log};
pub use running::Shard;
pub use settings::{LogSettings, Outside, Settings};
pub use witness::Witness;
