//! By when the laws that apply to a subject want its data erased.

use atlas::{Attachment, ErasureGround, ErasureTerm, StatuteId};
use terms::UnixMillis;

use crate::store::types::Minute;

/// A term of one law, and when it is over.
#[derive(Clone)]
pub(crate) struct DueTerm {
    pub(crate) statute: StatuteId,
    pub(crate) term: ErasureTerm,
    pub(crate) due: UnixMillis,
}

/// Adds the terms of the laws that attach, each once. `ground`: on that one alone.
pub(crate) fn add(
    terms: &mut Vec<DueTerm>,
    attachments: &[Attachment],
    ground: Option<ErasureGround>,
    arose: UnixMillis,
) {
    for pack in attachments.iter().map(Attachment::pack) {
        if terms.iter().any(|known| known.statute == *pack.id()) {
            continue;
        }
        let wanted = |term: &&ErasureTerm| ground.is_none_or(|ground| ground == term.ground);
        terms.extend(pack.erasures().iter().filter(wanted).map(|term| DueTerm {
            statute: pack.id().clone(),
            term: term.clone(),
            due: pack.erasure_due(term, arose),
        }));
    }
}

/// The minute in which the first of them is over.
pub(crate) fn earliest(terms: &[DueTerm]) -> Option<Minute> {
    terms.iter().map(|term| term.due).min().map(Minute::of)
}
