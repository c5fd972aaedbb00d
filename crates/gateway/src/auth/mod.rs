//! Who calls: certificates, tokens and their keys, and what a caller may do.

pub(crate) mod authenticate;
pub(crate) mod caller;
pub(crate) mod jwks;
pub(crate) mod jwks_refresher;
pub(crate) mod jwt;
