//! What the entries of a group say.

use ledger::entry::{Caller, Detail as Said, Entry, Kind};
use terms::{Fault, Reason};

use crate::decision::Ruled;
use crate::op::{Create, Given, Request};
use crate::record::{EntryAt, Recent};
use crate::work::{Asker, Work};

impl Work<'_> {
    pub(crate) fn entry(&self, kind: Kind, asker: &Asker, collection: &str) -> Entry {
        let mut entry = Entry::new(kind, self.minute);
        entry.tenant_tag = Some(asker.tenant_tag);
        entry.collection = Some(collection.to_owned());
        entry.map = Some(self.rules.map_ref());
        entry.caller = Some(Caller::clone(&asker.caller));
        entry
    }

    pub(crate) fn append(&mut self, entry: &Entry) -> Result<Vec<u8>, Fault> {
        self.draft.append(entry).map_err(|error| {
            tracing::error!(%error, "an entry cannot be written");
            Fault::new(Reason::Internal)
        })
    }

    /// Names an earlier entry: by its index, or by its log too if that was another period's.
    pub(crate) fn name_earlier(&self, entry: &mut Entry, at: EntryAt) {
        if at.period == self.node.period {
            entry.earlier = Some(at.index);
        } else {
            let origin = self.node.origin_of(at.period);
            entry.details.push(Said::Peer { origin, index: at.index });
            entry.details.sort_by_key(Said::code);
        }
    }

    pub(crate) fn foreign_origin(&self, at: EntryAt) -> String {
        if at.period == self.node.period { String::new() } else { self.node.origin_of(at.period) }
    }

    /// What is remembered of a request whose entry comes next.
    pub(crate) fn recent(&self, request: &Request, version: u64) -> Recent {
        Recent {
            request_id: request.id,
            fingerprint: request.fingerprint,
            minute: self.minute,
            version,
            entry: EntryAt { period: self.node.period, index: self.draft.next_index() },
        }
    }
}

/// What the ruling says.
pub(crate) fn rule_into(entry: &mut Entry, ruled: &Ruled) {
    entry.jurisdictions.clone_from(&ruled.jurisdictions);
    entry.statutes.clone_from(&ruled.statutes);
    entry.clauses.clone_from(&ruled.clauses);
    entry.evidence_kinds = ruled.evidence_kinds;
    entry.map = Some(ruled.map);
}

/// The versions of the data that made findings out of evidence.
pub(crate) fn say_data(entry: &mut Entry, given: Option<&Given>) {
    let Some(given) = given else { return };
    entry.details.extend(given.phone_data.clone().map(Said::PhoneData));
    entry.details.extend(given.ip_data.clone().map(Said::IpData));
    entry.details.sort_by_key(Said::code);
}

/// The statement of a subject's creation: no key, no body, version 0.
pub(crate) fn create_statement(create: &Create, digest: [u8; 32]) -> Vec<u8> {
    ledger::statement::Statement {
        tenant: create.owner.tenant.as_str(),
        subject: create.owner.subject.expose(),
        collection: create.collection.as_str(),
        key: "",
        version: 0,
        digest,
    }
    .encode()
}
