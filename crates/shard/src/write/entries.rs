//! What the entries of a group say.

use std::sync::Arc;

use ledger::entry::{Call, Caller, Detail as Said, Entry, Kind, MapRef, Role};
use terms::{Collection, Reason, Rejection};

use crate::Error;
use crate::log::access_counters::Taken;
use crate::log::{Draft, DraftMark};
use crate::node::Node;
use crate::policy::asker::Asker;
use crate::policy::rulings::Ruled;
use crate::policy::standing_ruling::Given;
use crate::store::growing_log::GrowingLog;
use crate::store::keys::Owner;
use crate::store::record::Address;
use crate::store::types::{CommitAt, EntryAt, LogIndex, Minute, Recent, Version};
use crate::write::command::{Create, Request};

/// The entries that a group adds to the log.
pub(crate) struct GroupEntries<'a> {
    node: &'a Node,
    /// The log that they are added to.
    log: &'a GrowingLog,
    /// The map in force.
    map: MapRef,
    minute: Minute,
    draft: Draft,
}

impl<'a> GroupEntries<'a> {
    pub(crate) const fn new(
        node: &'a Node,
        log: &'a GrowingLog,
        map: MapRef,
        minute: Minute,
        draft: Draft,
    ) -> Self {
        Self { node, log, map, minute, draft }
    }

    /// Who asks, as the log knows them.
    pub(crate) fn known(&self, asker: Asker) -> Asker {
        Asker { who: asker.who.in_log(self.log), ..asker }
    }

    /// The origin of the log that they are added to.
    pub(crate) fn own_origin(&self) -> Arc<str> {
        Arc::clone(&self.log.name.origin)
    }

    pub(crate) const fn minute(&self) -> Minute {
        self.minute
    }

    /// Bytes of what is added so far.
    pub(crate) fn bytes(&self) -> usize {
        self.draft.bytes()
    }

    /// The index that the next entry will have.
    pub(crate) fn next_index(&self) -> LogIndex {
        self.draft.next_index()
    }

    pub(crate) fn into_draft(self) -> Draft {
        self.draft
    }

    /// How far the group is.
    pub(crate) const fn mark(&self) -> DraftMark {
        self.draft.mark()
    }

    /// Takes back what was added since then.
    pub(crate) fn back_to(&mut self, mark: DraftMark) -> Result<(), Error> {
        self.draft.back_to(mark)
    }

    /// The bytes of an entry, if this group has added it.
    pub(crate) fn at_hand(&self, at: EntryAt) -> Option<Vec<u8>> {
        self.draft.entry(at.index).filter(|_| at.log == self.log.id)
    }

    pub(crate) fn entry(&self, kind: Kind, asker: &Asker, collection: &str) -> Entry {
        self.of_call(kind, asker, Some(collection))
    }

    /// An entry about a subject, with all of its collections.
    pub(crate) fn about_subject(&self, kind: Kind, asker: &Asker) -> Entry {
        self.of_call(kind, asker, None)
    }

    fn of_call(&self, kind: Kind, asker: &Asker, collection: Option<&str>) -> Entry {
        Entry::of_call(kind, self.minute.0, self.call(asker, collection))
    }

    /// Who calls, about which records.
    pub(crate) fn call<'b>(&self, asker: &'b Asker, collection: Option<&'b str>) -> Call<'b> {
        Call {
            tenant_tag: asker.who.tenant_tag.map(|tag| tag.0),
            caller: Some(&asker.who.caller),
            collection,
            map: self.map,
        }
    }

    /// Whether an entry stands in the log that the group adds to.
    pub(crate) fn is_own(&self, at: EntryAt) -> bool {
        at.log == self.log.id
    }

    /// The entry of a record whose time has come: no caller asks for it.
    pub(crate) fn expired(&self, address: &Address) -> Entry {
        let tenant_tag = Some(self.log.tenant_tag(address.owner.tenant.as_str()).0);
        let tag = self.log.caller_tag(self.node.shard.as_str()).0;
        let caller = Caller { role: Role::Shard, tag, territory: None };
        let collection = Some(address.collection.as_str());
        let call = Call { tenant_tag, caller: Some(&caller), collection, map: self.map };
        Entry::of_call(Kind::Expire, self.minute.0, call)
    }

    pub(crate) fn append(&mut self, entry: &Entry) -> Result<Vec<u8>, Rejection> {
        self.draft.append(entry).map_err(|error| {
            Rejection::new(Reason::Internal)
                .problem(format!("its entry cannot be written: {error}"))
        })
    }

    /// Adds the entries of what was counted. Returns what cannot be written.
    pub(crate) fn count(&mut self, counted: &Taken) -> Taken {
        let Self { log, map, minute, draft, .. } = self;
        counted.write(log, *minute, *map, &mut |entry| draft.append(entry).is_ok())
    }

    /// Names an earlier entry: by its index, or by its log too if that was another period's.
    pub(crate) fn name_earlier(&self, entry: &mut Entry, at: EntryAt) -> Result<(), Rejection> {
        if at.log == self.log.id {
            entry.earlier = Some(at.index.0);
        } else {
            let origin = self.origin_of(at)?.to_string();
            entry.say(Said::Peer { origin, index: at.index.0 });
        }
        Ok(())
    }

    /// The origin of an entry's log.
    pub(crate) fn origin_of(&self, at: EntryAt) -> Result<Arc<str>, Rejection> {
        if at.log == self.log.id {
            return Ok(self.own_origin());
        }
        Ok(self.node.origin_of(at.log)?.into())
    }

    /// The commit that the group becomes.
    pub(crate) fn commit(&self) -> CommitAt {
        CommitAt { period: self.log.name.period, index: self.draft.first_index().0 }
    }

    /// The place of an entry of this group, by its period.
    pub(crate) fn place(&self, at: EntryAt) -> CommitAt {
        CommitAt { period: self.log.name.period, index: at.index.0 }
    }

    /// Where the next entry will stand.
    pub(crate) fn next(&self) -> EntryAt {
        let (index, first) = (self.draft.next_index(), self.draft.first_index());
        EntryAt { log: self.log.id, index, first }
    }

    /// What is remembered of a request whose entry comes next.
    pub(crate) fn recent(&self, request: &Request, version: Version) -> Recent {
        Recent {
            request_id: request.id,
            fingerprint: request.fingerprint,
            minute: self.minute,
            version,
            entry: self.next(),
        }
    }
}

/// What the ruling says.
pub(crate) fn rule_into(entry: &mut Entry, ruled: &Ruled) {
    entry.rule(ledger::entry::Ruled {
        jurisdictions: &ruled.jurisdictions,
        statutes: &ruled.statutes,
        clauses: &ruled.clauses,
        evidence_kinds: ruled.evidence_kinds,
        map: ruled.map,
    });
}

/// What a page of records says: how many, and why they were read.
pub(crate) fn read_page(entry: &mut Entry, purpose: String, records: u64) {
    entry.say(Said::Count(records));
    entry.say(Said::Reason(purpose));
}

/// The versions of the data that made findings out of evidence.
pub(crate) fn say_data(entry: &mut Entry, given: Option<&Given>) {
    let Some(given) = given else { return };
    given.phone_data.clone().map(Said::PhoneData).into_iter().for_each(|said| entry.say(said));
    given.ip_data.clone().map(Said::IpData).into_iter().for_each(|said| entry.say(said));
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

/// The statement of what is done to a subject as a whole, or to one collection of it: no key, version 0.
pub(crate) fn subject_statement(
    owner: &Owner,
    collection: Option<&Collection>,
    digest: [u8; 32],
) -> Vec<u8> {
    ledger::statement::Statement {
        tenant: owner.tenant.as_str(),
        subject: owner.subject.expose(),
        collection: collection.map_or("", Collection::as_str),
        key: "",
        version: 0,
        digest,
    }
    .encode()
}
