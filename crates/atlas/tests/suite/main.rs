//! What maps, packs, rulings, plans and signatures must be like.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests read the files that they compare with, and take time"
)]

mod border;
mod carried;
mod cases;
mod exclusions;
mod exhaustive;
mod golden;
mod limits;
mod model;
mod participants;
mod plan;
mod properties;
mod random;
mod reference;
mod regimes;
mod schema;
mod sequences;
mod small;
mod statute_pages;
mod support;
mod widening;
mod widening_keys;
