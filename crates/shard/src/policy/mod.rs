//! What the law and the region map say of a command: rulings, the second check, borders.

pub(crate) mod asker;
pub(crate) mod copies;
pub(crate) mod egress;
pub(crate) mod erasure_terms;
pub(crate) mod ingress;
pub(crate) mod map_impact;
pub(crate) mod participants;
pub(crate) mod rulings;
pub(crate) mod second_check;
pub(crate) mod standing_ruling;
pub(crate) mod subject_status;
