//! Whose law claims a person's record, and where it may therefore lie: region map, statute packs,
//! findings, ruling, placement.
//!
//! **Architecture invariant:** everything here is pure. No IO, no async, no clock: the date of a
//! ruling is an argument, so the same question always has the same answer.
//!
//! **Architecture invariant:** only this crate can make a [`Placement`] or a [`Refusal`]. Their
//! fields are private and no constructor is public, so whoever stores a record has had it ruled
//! upon:
//!
//! ```compile_fail,E0451
//! fn forge(real: atlas::Placement, region: terms::RegionId) -> atlas::Placement {
//!     atlas::Placement { region, ..real }
//! }
//! ```
//!
//! ```compile_fail,E0451
//! fn forge(real: atlas::Refusal, epoch: atlas::Epoch) -> atlas::Refusal {
//!     atlas::Refusal { epoch, ..real }
//! }
//! ```

mod cases;
mod decide;
mod docs;
mod facts;
mod geo;
mod law;
pub mod limits;
mod lint;
mod map;
mod plan;
mod signing;
mod time;
mod toml;

pub use cases::{Expectations, Expected, Given, Person, Verdict};
pub use decide::egress::{Barred, egress, egress_of_absent, ingress};
pub use decide::place::Placement;
pub use decide::refusal::Refusal;
pub use decide::ruling::{Attachment, Outcome, Question, Ruling, UnknownCollection, decide};
pub use docs::statute_pages::statute_index;
pub use facts::finding::{Aspect, EvidenceKind, Finding, Kinds, MalformedFinding};
pub use facts::findings::{Findings, FindingsDamaged, FindingsFull};
pub use geo::country::{COUNTRIES_VERSION, Country};
pub use geo::territory::{Group, Jurisdiction, Territory};
pub use law::builtin::packs;
pub use law::intern::{INTERNED_MAX, InternFull, intern};
pub use law::statute::{Exemption, Rule, Scope, Source, StatutePack, Transfers};
pub use law::vocabulary::{
    CitizensAbroad, Constraint, ExemptionId, Ingress, Sector, StatuteId, Trigger,
    UnknownCitizenship, Verified,
};
pub use lint::{Checked, CheckedAnnex, check};
pub use map::annex::{Annex, Shard};
pub use map::renumber::renumber;
pub use map::{
    Clause, ClauseId, CollectionRules, Disputed, Epoch, Exempt, Home, HomeFor, MapEnding, MapPart,
    Reads, Region, RegionMap, Review, Site, Statute, Tenant, client_address,
};
pub use plan::{
    Cut, Differences, EFFECTS_MAX, Effect, FINDINGS_MAX, Move, Plan, QUESTIONS_MAX, plan,
};
pub use signing::signed::{
    SIGNED_MAP_BYTES_MAX, SIGNERS_TO_WIDEN, SignedMap, Succession, VerifiedMap, statement, succeeds,
};
pub use signing::widening::{Change, Part, Widening, widening};
pub use time::date::Date;
pub use time::moment::Moment;
pub use toml::codes::{Code, Example, codes};
pub use toml::diagnostic::{Diagnostic, Severity};
pub use toml::format::format;
pub use toml::schema;
