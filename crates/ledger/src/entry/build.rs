//! Builds the entries that a shard writes. Shards and tests of those who read logs call the same
//! code, so that no test is about an entry that no shard writes.

use super::{Caller, Detail, Entry, EvidenceKinds, Kind, MapRef};
use crate::checkpoint::Checkpoint;

/// Bytes of the names of signers that an entry holds.
const SIGNERS_BYTES_MAX: usize = 500;

/// Who called, about which records.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The tenant's tag; an auditor has none.
    pub tenant_tag: Option<[u8; 16]>,
    /// The caller; a refusal that finds no counter of its own names none.
    pub caller: Option<&'a Caller>,
    /// The collection, if the call is about one.
    pub collection: Option<&'a str>,
    /// The region map in force.
    pub map: MapRef,
}

/// What a ruling says, each list in order.
#[derive(Debug, Clone, Copy)]
pub struct Ruled<'a> {
    /// The jurisdictions that attached.
    pub jurisdictions: &'a [String],
    /// The statutes that attached.
    pub statutes: &'a [String],
    /// The clauses that the placement relies on.
    pub clauses: &'a [String],
    /// Of what kinds the evidence was.
    pub evidence_kinds: EvidenceKinds,
    /// The map that ruled.
    pub map: MapRef,
}

// === impl Entry ===

impl Entry {
    /// The first entry of a log: its key, and what `details` say of the log before it.
    pub fn genesis(minute: u32, vkey: &str, details: Vec<Detail>) -> Self {
        let mut entry = Self::new(Kind::Genesis, minute);
        entry.details = details;
        entry.details.push(Detail::LogKey(vkey.to_owned()));
        entry.in_order()
    }

    /// A region map came into force. A signer whose name does not fit is in the map's note; the
    /// entry says that there is one.
    pub fn map_taken(minute: u32, map: MapRef, signers: &[String]) -> Self {
        let mut entry = Self::new(Kind::Map, minute);
        entry.map = Some(map);
        let mut names = String::new();
        for name in signers {
            let printable = name.bytes().all(|c| (0x20..=0x7e).contains(&c));
            let name = if printable { name.as_str() } else { "?" };
            if names.len() + name.len() + 1 > SIGNERS_BYTES_MAX {
                break;
            }
            if !names.is_empty() {
                names.push(',');
            }
            names.push_str(name);
        }
        if !names.is_empty() {
            entry.details.push(Detail::Signers(names));
        }
        entry
    }

    /// One of the region's keys was made or destroyed: `what` says which.
    pub fn key_changed(minute: u32, what: &str) -> Self {
        let mut entry = Self::new(Kind::Key, minute);
        entry.details = vec![Detail::Reason(what.to_owned())];
        entry
    }

    /// A backup begins, which is known by that number.
    pub fn backup(minute: u32, id: &str) -> Self {
        let mut entry = Self::new(Kind::Backup, minute);
        entry.details = vec![Detail::Reason(id.to_owned())];
        entry
    }

    /// The store was restored from the backup of that number, which ends with that head of a log.
    /// So many erasures were known, and are done again if the backup lacks them; `None`: it is not
    /// known who was erased after the backup.
    pub fn restored(minute: u32, id: &str, head: &Checkpoint, erasures: Option<u64>) -> Self {
        let mut entry = Self::new(Kind::Restore, minute);
        let Checkpoint { origin, size, root } = head.clone();
        entry.details = vec![Detail::Reason(id.to_owned()), Detail::OldHead { origin, size, root }];
        entry.details.extend(erasures.map(Detail::Count));
        entry.in_order()
    }

    /// What one call did.
    pub fn of_call(kind: Kind, minute: u32, call: Call<'_>) -> Self {
        let Call { tenant_tag, caller, collection, map } = call;
        let mut entry = Self::new(kind, minute);
        entry.tenant_tag = tenant_tag;
        entry.collection = collection.map(str::to_owned);
        entry.map = Some(map);
        entry.caller = caller.cloned();
        entry
    }

    /// Reads of one caller within a minute.
    pub fn counted(minute: u32, call: Call<'_>, times: u64) -> Self {
        let mut entry = Self::of_call(Kind::Count, minute, call);
        entry.details = vec![Detail::Count(times)];
        entry
    }

    /// Calls that were refused for one reason within a minute.
    pub fn refused(minute: u32, call: Call<'_>, times: u64, reason: &str) -> Self {
        let mut entry = Self::of_call(Kind::Refuse, minute, call);
        entry.details = vec![Detail::Count(times), Detail::Reason(reason.to_owned())];
        entry
    }

    /// A question about many: `what` says which, and the map is the one that was asked about.
    pub fn question(minute: u32, call: Call<'_>, count: u64, what: &str) -> Self {
        let mut entry = Self::of_call(Kind::Count, minute, call);
        entry.details = vec![Detail::Count(count), Detail::Reason(what.to_owned())];
        entry
    }

    /// Whether it is such a question, and no count of reads.
    pub fn is_question(&self) -> bool {
        let says_why = |detail: &Detail| matches!(detail, Detail::Reason(_));
        self.kind == Kind::Count && self.details.iter().any(says_why)
    }

    /// Adds what the ruling says.
    pub fn rule(&mut self, ruled: Ruled<'_>) {
        let Ruled { jurisdictions, statutes, clauses, evidence_kinds, map } = ruled;
        self.jurisdictions = jurisdictions.to_vec();
        self.statutes = statutes.to_vec();
        self.clauses = clauses.to_vec();
        self.evidence_kinds = evidence_kinds;
        self.map = Some(map);
    }

    /// Adds a detail in its place.
    pub fn say(&mut self, detail: Detail) {
        self.details.push(detail);
        self.details.sort_by_key(Detail::code);
    }
}
