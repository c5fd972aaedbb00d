//! What shards say to one another: moves of subjects to other regions and copies there, what drives them,
//! and how records travel; and which slots the shards of one region have.

mod confirm_slots;
mod copies;
mod copies_due;
mod copies_measure;
mod copies_restored;
mod copies_walk;
pub(crate) mod digest;
pub(crate) mod drive;
mod pages;
pub(crate) mod peer_session;
pub(crate) mod peers;
pub(crate) mod receipt;
mod rounds;
pub(crate) mod show;
pub(crate) mod slot_moves;
mod slot_orders;
pub(crate) mod slot_survey;
pub(crate) mod travel;
