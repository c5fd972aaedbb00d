//! Whose law claims a person's record, and where it may therefore lie: region map, statute packs,
//! findings, ruling, placement.
//!
//! **Architecture invariant:** everything here is pure. No IO, no async, no clock: the date of a
//! ruling is an argument, so the same question always has the same answer.
//!
//! **Architecture invariant:** only this crate can make a [`Placement`] or a [`Refusal`]. Their
//! fields are private and no constructor is public, so a record
//! cannot be stored without a ruling:
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

mod attributes;
mod date;
mod decide;
mod docs;
mod facts;
mod geo;
mod law;
pub mod limits;
mod lint;
mod map;
mod map_tests;
mod plan;
mod query;
mod signing;
pub mod toml;

pub use attributes::{
    AttributeName, AttributeType, AttributeValue, AttributesFull, AttributesMalformed, Index,
    InvalidValue, RecordAttributes, Timestamp,
};
pub use date::Date;
pub use decide::attach::{Attachment, Question};
pub use decide::egress::{
    Barred, egress, egress_of_absent, egress_of_any, egress_of_participant, ingress,
    ingress_of_absent, ingress_of_participant,
};
pub use decide::place::Placement;
pub use decide::place::together::{Conflict, demands_on_participant, together};
pub use decide::refusal::Refusal;
pub use decide::ruling::{
    Outcome, Ruling, UnknownCollection, choices, decide, decide_chosen, decide_stored,
};
pub use docs::statute_pages::statute_index;
pub use facts::finding::{Aspect, EvidenceKind, Finding, Kinds, MalformedFinding};
pub use facts::findings::{Findings, FindingsDamaged, FindingsFull};
pub use geo::country::{COUNTRIES_VERSION, COUNTRY, Country};
pub use geo::territory::{Group, Jurisdiction, Territory};
pub use law::builtin::packs;
pub use law::moment::Moment;
pub use law::statute::{ErasureTerm, Exemption, Rule, Scope, Source, StatutePack, Transfers};
pub use law::vocabulary::{
    CitizensAbroad, Constraint, ErasureGround, Exempt, ExemptionId, Ingress, Sector, StatuteId,
    TermUnit, Transit, Trigger, UnknownCitizenship, Verified,
};
pub use lint::{Checked, CheckedAnnex, check};
pub use map::annex::{Annex, Shard};
pub use map::diff::{Change, Part};
pub use map::format::format;
pub use map::renumber::renumber;
pub use map::{
    AttributeRules, Clause, ClauseId, CollectionRules, Disputed, ENDPOINT, Endpoint, Epoch,
    Exclusions, Home, HomeFor, Lifetime, MapEnding, MapPart, Reads, Region, RegionMap, Review,
    Site, Statute, Tenant, Unique, client_address,
};
pub use map_tests::{Expected, Given, MapTests, Person, Verdict};
pub use plan::{
    Cut, Differences, EFFECTS_MAX, Effect, FINDINGS_MAX, Move, Plan, QUESTIONS_MAX, plan,
};
pub use query::{Comparison, Filter, Operator, OrderBy};
pub use signing::signed::{
    SIGNED_MAP_BYTES_MAX, SIGNERS_TO_WIDEN, SignedMap, Succession, VerifiedMap, statement, succeeds,
};
pub use signing::widening::{Widening, widening};
pub use toml::diagnostic::{Diagnostic, Severity};

/// The tables of the files that this crate reads.
pub mod schema {
    pub use super::law::schema::PACK;
    pub use super::map::{ANNEX, MAP};
    pub use super::map_tests::PEOPLE;
}
