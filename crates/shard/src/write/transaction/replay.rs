//! The answers to requests that were done before.

use std::sync::Arc;

use terms::{Collection, Reason, Rejection};

use crate::policy::rulings::{Ruled, Verdict};
use crate::reply::Written;
use crate::store::keys::Owner;
use crate::store::record::{Address, Head};
use crate::store::subject::Subject;
use crate::store::types::{Fingerprint, Recent};
use crate::write::command::Request;
use crate::write::retries::Retry;
use crate::write::transaction::{Done, Transaction};

impl Transaction<'_> {
    /// The answer to a request that was done before: `done`, of the record with that head.
    pub(crate) fn replay(
        &self,
        address: &Address,
        head: &Head,
        done: &Recent,
        request: &Request,
        ruling: Option<Arc<Ruled>>,
    ) -> Result<Done, Rejection> {
        if done.fingerprint == Fingerprint::ELSEWHERE {
            let fault = Rejection::new(Reason::RequestIdReused).field("request_id");
            return Err(fault
                .problem("was used for this record before the subject moved here")
                .cure(
                    "the write that it came with was done, if it was this one: read the record",
                ));
        }
        if done.fingerprint != request.fingerprint {
            return Err(Rejection::new(Reason::RequestIdReused).field("request_id"));
        }
        let newest = done.version == head.version;
        let written = Written {
            version: done.version,
            etag: if newest && !head.is_deleted() { head.etag() } else { String::new() },
            replayed: true,
            index: done.entry.index,
            origin: Some(self.entries.origin_of(done.entry)?),
            ruling,
            copied: if newest && head.is_deleted() {
                self.still_copied(address, done.entry)?
            } else {
                Vec::new()
            },
            ..Default::default()
        };
        if !newest {
            // Its opening no longer exists.
            return Ok(Done::written(written));
        }
        let statement = address.statement(head.version, head.digest);
        let opening = head.opening;
        Ok(self.retried(Retry { written, opening, statement, entry: done.entry }))
    }

    /// The answer of a retry. An entry of this group is at hand; any other is durable, and is read
    /// outside the writer.
    pub(in crate::write) fn retried(&self, retry: Retry) -> Done {
        let at = retry.entry;
        match self.entries.at_hand(at) {
            Some(entry) => Done::Answer(retry.with(entry)),
            // It is in the log of the shard from which the slot came.
            None if self.node.period_of(at.log).is_err() => Done::written(retry.written),
            None => Done::Retry(retry),
        }
    }

    /// The ruling that stands, for the answer to what was done before. None: the map in force gives
    /// its records no place here.
    pub(crate) fn standing_ruling(
        &mut self,
        owner: &Owner,
        collection: &Collection,
        subject: Option<&Subject>,
    ) -> Option<Arc<Ruled>> {
        let subject = subject?;
        let (standing, chosen) = (subject.standing(collection)?, subject.choice.chosen.as_ref());
        match self.rules.decide_stored(&owner.tenant, collection, &standing.basis, chosen) {
            Verdict::Here(ruled) => Some(ruled),
            Verdict::Elsewhere(_) | Verdict::Refused(_) => None,
        }
    }
}
