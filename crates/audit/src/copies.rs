//! The entries of one log about copies, against what stands before them: COPY_OUT names a write, and what
//! replaces or removes a copy names one that is still there.
//!
//! It needs the log from its first entry on, so a verification of the whole log asks it, and a mirror
//! that grows does not. What names an earlier log of the same shard is compared in `reconcile`.

use std::collections::BTreeMap;

use ledger::entry::{Entry, Kind};

use crate::origin::Origin;
use crate::reconcile::{Live, writes};

/// What was written and copied so far in one log.
#[derive(Debug)]
pub(crate) struct Copies {
    /// Whether no log of the shard comes before: then each copy that goes came in this one.
    is_first: bool,
    writes: Live,
    /// COPY_IN entries whose copy nothing has taken away by its name.
    taken: Live,
    /// Copies, by tenant and collection.
    held: BTreeMap<Of, i128>,
}

/// The tenant and the collection of copies.
type Of = (Option<[u8; 16]>, Option<String>);

// === impl Copies ===

impl Copies {
    /// Those of the log of that name, before its first entry.
    pub(crate) fn new(origin: &str) -> Self {
        let is_first = Origin::parse(origin).is_some_and(|origin| origin.period == 1);
        let (writes, taken) = (Live::default(), Live::default());
        Self { is_first, writes, taken, held: BTreeMap::new() }
    }

    /// Looks at the next entry.
    ///
    /// # Errors
    /// What is wrong, in words that follow the entry's number.
    pub(crate) fn take(&mut self, index: u64, entry: &Entry) -> Result<(), String> {
        if writes(entry) {
            self.writes.set((0, index));
        }
        let kind = entry.kind;
        let goes = matches!(kind, Kind::CopyIn | Kind::CopyDrop);
        let unknown = entry.earlier.filter(|earlier| {
            let sent = kind == Kind::CopyOut;
            (sent && !self.writes.has((0, *earlier))) || (goes && !self.taken.take((0, *earlier)))
        });
        if kind == Kind::CopyIn {
            self.taken.set((0, index));
        }
        if let Some(earlier) = unknown {
            let what =
                if goes { "took no copy, or whose copy went before" } else { "stores no record" };
            return Err(format!("is {kind}, and names entry {earlier}, which {what}"));
        }
        let change = entry.change_of_copies();
        if change == 0 {
            return Ok(());
        }
        let of = (entry.tenant_tag, entry.collection.clone());
        let held = self.held.entry(of).or_default();
        *held += change;
        if *held < 0 && self.is_first {
            // Reported once: what goes from here on is counted from none.
            *held = 0;
            return Err(format!("is {kind}, and removes more copies than came"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ledger::entry::{Call, Copied, CopyEnd, Detail, EvidenceKinds, MapRef, Ruled};

    use super::*;

    const MAP: MapRef = MapRef { epoch: 1, digest: [1; 32] };

    fn call(collection: &str) -> Call<'_> {
        Call { tenant_tag: Some([2; 16]), caller: None, collection: Some(collection), map: MAP }
    }

    fn copied(collection: &str) -> Copied<'_> {
        let ruled = Ruled {
            jurisdictions: &[],
            statutes: &[],
            clauses: &[],
            evidence_kinds: EvidenceKinds::new(),
            map: MAP,
        };
        let (call, commitment) = (call(collection), [3; 32]);
        Copied { call, ruled, references: &[], region: "ru-msk", commitment }
    }

    fn place() -> Entry {
        Entry::of_call(Kind::Place, 1, call("profiles"))
    }

    fn sent(earlier: u64) -> Entry {
        Entry { earlier: Some(earlier), ..Entry::copy_out(1, copied("profiles")) }
    }

    fn came(replaces: Option<u64>) -> Entry {
        Entry::copy_in(1, copied("profiles"), ("t/ru-msk/a/1", 3), replaces)
    }

    fn gone(collection: &str, earlier: Option<u64>, count: Option<u64>) -> Entry {
        let entry = Entry::copy_drop(1, call(collection), "ru-msk", CopyEnd::Deleted, count);
        Entry { earlier, ..entry }
    }

    /// The numbers of the entries that are wrong.
    fn wrong(origin: &str, entries: &[Entry]) -> Vec<u64> {
        let mut copies = Copies::new(origin);
        let taken = (0_u64..).zip(entries).filter(|(n, entry)| copies.take(*n, entry).is_err());
        taken.map(|(n, _)| n).collect()
    }

    #[test]
    fn what_is_sent_was_stored_before() {
        let create = Entry::of_call(Kind::Create, 1, call("profiles"));
        let mut delete = Entry::of_call(Kind::Delete, 1, call("profiles"));
        delete.earlier = Some(0);
        let arrived = Entry::of_call(Kind::MoveIn, 1, call("profiles"));
        let log = [place(), sent(0), delete, sent(0), create, sent(4), arrived, sent(6), sent(8)];
        assert_eq!(wrong("t/ru-msk/a/1", &log), [5, 8]);
    }

    #[test]
    fn what_goes_came_before_and_goes_once() {
        let drop = |earlier| gone("profiles", Some(earlier), None);
        let log = [came(None), came(Some(0)), drop(0), drop(1), drop(1), drop(2), place(), drop(6)];
        assert_eq!(wrong("t/kz-ala/a/1", &log), [2, 4, 5, 7]);
    }

    #[test]
    fn no_more_copies_go_than_came() {
        let many = |collection, count| gone(collection, None, Some(count));
        let log = [
            came(None),
            came(Some(0)),
            came(None),
            many("profiles", 2),
            many("profiles", 1),
            came(None),
            many("messages", 1),
        ];
        assert_eq!(wrong("t/kz-ala/a/1", &log), [4, 6]);
        // An earlier log of the shard may have taken them.
        assert!(wrong("t/kz-ala/a/2", &log).is_empty());
        let mut earlier = gone("profiles", None, None);
        earlier.say(Detail::Peer { origin: "t/kz-ala/a/1".into(), index: 3 });
        assert!(wrong("t/kz-ala/a/2", &[earlier]).is_empty());
    }
}
