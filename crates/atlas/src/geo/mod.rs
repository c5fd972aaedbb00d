//! Countries, groups of countries, and the areas that several of them claim.

pub(crate) mod country;
pub(crate) mod territory;
