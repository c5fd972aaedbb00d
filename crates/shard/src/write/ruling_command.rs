//! What is asked of the committer about the rulings of a subject.

use terms::RegionId;

use crate::policy::standing_ruling::Given;
use crate::store::keys::Owner;
use crate::write::request::Request;

/// Makes the rulings of a subject again.
pub(crate) struct Reassess {
    pub(crate) owner: Owner,
    /// None: the rules are asked again on what is known.
    pub(crate) given: Option<Given>,
    pub(crate) reason: String,
    pub(crate) validate_only: bool,
    pub(crate) opening: [u8; 32],
}

/// A step of the choice of a subject's region.
pub(crate) struct Adjudicate {
    pub(crate) owner: Owner,
    /// What is to be chosen. None: nothing is; the regions are asked for that the rules leave open.
    pub(crate) region: Option<RegionId>,
    /// What another caller has proposed is confirmed. Otherwise it is proposed.
    pub(crate) confirm: bool,
    pub(crate) request: Request,
    pub(crate) reason: String,
    pub(crate) validate_only: bool,
    pub(crate) opening: [u8; 32],
}
