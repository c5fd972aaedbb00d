//! By when the laws that apply to a subject want an erasure done, for its answer and its entry.

use terms::{Collection, Reason, Rejection};

use crate::policy::erasure_terms::{DueTerm, add, earliest};
use crate::store::subject::Subject;
use crate::store::types::Minute;
use crate::write::command::Erase;
use crate::write::transaction::Transaction;

/// Milliseconds by which the clock of a caller may be ahead.
const AHEAD_MS_MAX: u64 = 5 * 60 * 1_000;

impl Transaction<'_> {
    /// The terms of the laws under the rulings that stand, of what is erased.
    pub(super) fn erasure_terms(
        &mut self,
        erase: &Erase,
        subject: &Subject,
    ) -> Result<Vec<DueTerm>, Rejection> {
        let arose = erase.arose.unwrap_or(self.now);
        if arose.0 > self.now.0.saturating_add(AHEAD_MS_MAX) {
            let fault = Rejection::new(Reason::FieldInvalid).field("ground_time");
            return Err(fault.problem("is in the future"));
        }
        let meant = |name: &&Collection| erase.collection.as_ref().is_none_or(|only| only == *name);
        let names = subject.standings().iter().map(|standing| &standing.collection);
        let mut terms = Vec::new();
        for name in names.filter(meant) {
            if let Some(ruled) = self.standing_ruling(&erase.owner, name, Some(subject)) {
                add(&mut terms, &ruled.attachments, erase.ground, arose);
            }
        }
        Ok(terms)
    }
}

/// By when a law wants it, for the log: what the caller states, or the earliest term of the ground that
/// was given.
pub(super) fn deadline(erase: &Erase, terms: &[DueTerm]) -> Option<Minute> {
    erase.deadline.or_else(|| erase.ground.and_then(|_| earliest(terms)))
}
