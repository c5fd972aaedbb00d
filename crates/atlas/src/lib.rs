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

mod annex;
mod border;
mod check;
mod codes;
mod country;
mod date;
mod diagnostic;
mod expect;
mod file;
mod finding;
mod findings;
mod format;
mod intern;
pub mod limits;
mod map;
mod moment;
mod nesting;
mod pack;
mod page;
mod placement;
mod plan;
mod read;
mod refusal;
mod renumber;
mod ruling;
pub mod schema;
mod shipped;
mod signed;
mod statute;
mod territory;
mod widening;
mod words;

pub use annex::{Annex, Shard};
pub use border::{Barred, egress, egress_of_absent, ingress};
pub use check::{Checked, CheckedAnnex, check};
pub use codes::{Code, Example, codes};
pub use country::{COUNTRIES_VERSION, Country};
pub use date::Date;
pub use diagnostic::{Diagnostic, Severity};
pub use expect::{Expectations, Expected, Given, Person, Verdict};
pub use finding::{Aspect, EvidenceKind, Finding, Kinds, MalformedFinding};
pub use findings::{Findings, FindingsDamaged, FindingsFull};
pub use format::format;
pub use intern::{INTERNED_MAX, InternFull, intern};
pub use map::{
    Clause, ClauseId, CollectionRules, Disputed, Epoch, Exempt, Home, HomeFor, MapEnding, MapPart,
    Reads, Region, RegionMap, Review, Site, Statute, Tenant, client_address,
};
pub use moment::Moment;
pub use page::statute_index;
pub use placement::Placement;
pub use plan::{
    Cut, Differences, EFFECTS_MAX, Effect, FINDINGS_MAX, Move, Plan, QUESTIONS_MAX, plan,
};
pub use refusal::Refusal;
pub use renumber::renumber;
pub use ruling::{Attachment, Outcome, Question, Ruling, UnknownCollection, decide};
pub use shipped::packs;
pub use signed::{
    SIGNED_MAP_BYTES_MAX, SIGNERS_TO_WIDEN, SealedMap, SignedMap, Succession, statement, succeeds,
};
pub use statute::{Exemption, Rule, Scope, StatutePack, Transfers};
pub use territory::{Group, Jurisdiction, Territory};
pub use widening::{Change, Part, Widening, widening};
pub use words::{
    CitizensAbroad, Constraint, ExemptionId, Ingress, Sector, StatuteId, Trigger,
    UnknownCitizenship, Verified,
};
