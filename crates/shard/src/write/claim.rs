//! Ids that are unique among regions, in a group: a claim of another region, and what a creation here
//! must have done before. `store/claims.rs` says why this is enough.

use atlas::Unique;
use ledger::entry::Kind;
use terms::{Reason, Rejection, TenantId};

use crate::policy::asker::Asker;
use crate::reply::{Claimed, Outcome};
use crate::store::keys::Owner;
use crate::store::subject::Subject;
use crate::write::command::Claim;
use crate::write::entries::read_page;
use crate::write::transaction::{Done, Transaction};

impl Transaction<'_> {
    /// A claim of another region: whether there is such a subject, and if not, none will be created
    /// for a while.
    pub(super) fn claim(&mut self, asker: &Asker, claim: &Claim) -> Result<Done, Rejection> {
        let known = self.rules.map().region(&claim.region).is_some();
        if !self.wants_unique(&asker.tenant) || !known || claim.region == self.node.region {
            // The gateway has another map.
            return Err(Reason::MapsDiffer.into());
        }
        let of = &claim.of;
        let claimed = if self.holds(claim)? {
            // It tells of a person, wherever the caller stands: no such answer is silent.
            let mut entry = self.entries.about_subject(Kind::Count, asker);
            read_page(&mut entry, "a claim met the id".into(), 1);
            self.entries.append(&entry)?;
            Claimed::Held
        } else if claim.validate_only {
            let free = !self.node.claims.is_claimed(of.tag);
            if free { Claimed::Free } else { Claimed::Contended }
        } else if self.node.claims.keep(of.tag, &claim.region, asker.stands.gateway) {
            Claimed::Free
        } else {
            Claimed::Contended
        };
        Ok(Done::Answer(Outcome::Claimed(claimed)))
    }

    /// What keeps a write from creating its subject now: the other regions must be asked first. None:
    /// it may.
    pub(super) fn unasked(&self, owner: &Owner, asked: &[u8]) -> Result<Option<Done>, Rejection> {
        if !self.wants_unique(&owner.tenant) {
            return Ok(None);
        }
        let claims = &self.node.claims;
        if claims.is_claimed(owner.tag) {
            return Err(Rejection::new(Reason::UniquenessUnsettled).field("subject.id"));
        }
        let ticket = (!claims.is_valid(asked)).then(|| claims.ticket());
        Ok(ticket.map(|ticket| Done::Answer(Outcome::AskFirst(ticket))))
    }

    fn wants_unique(&self, tenant: &TenantId) -> bool {
        self.rules.map().tenant(tenant).is_some_and(|own| own.unique() == Unique::Reachable)
    }

    /// Whether the subject is here, as this group has left it.
    fn holds(&self, claim: &Claim) -> Result<bool, Rejection> {
        let of = &claim.of;
        if self.erased.contains(&of.tag) {
            return Ok(false);
        }
        if self.subjects.contains_key(&of.tag) {
            return Ok(true);
        }
        self.readable(&of.row)?;
        match self.rows.get(&of.row).and_then(Option::as_ref) {
            Some(row) => Ok(Subject::generation_of(row)?.is_some()),
            None => Ok(false),
        }
    }
}
