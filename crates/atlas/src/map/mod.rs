//! The region map: its model, its reader, its annexes, and how two maps differ.

pub(crate) mod annex;
mod annex_schema;
mod attributes;
mod check;
mod clause;
pub(crate) mod diff;
mod disputed;
mod draft;
mod endings;
mod exclusions;
pub(crate) mod format;
mod index;
mod lifetime;
mod model;
mod names;
mod parts;
pub(crate) mod reader;
pub(crate) mod renumber;
pub(crate) mod schema;
mod shapes;
mod statute;
mod vkey;

pub use annex_schema::ANNEX;
pub use attributes::AttributeRules;
pub use clause::{Clause, ClauseId};
pub use disputed::{Disputed, client_address};
pub(crate) use draft::Places;
pub use endings::{MapEnding, MapPart};
pub use exclusions::Exclusions;
pub(crate) use exclusions::folded as folded_operator;
pub use lifetime::Lifetime;
pub use model::{Epoch, RegionMap};
pub(crate) use names::digest_text;
pub use parts::{CollectionRules, Home, HomeFor, Reads, Region, Site, Tenant, Unique};
pub use schema::MAP;
pub use statute::{Review, Statute};
