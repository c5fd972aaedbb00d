//! The entries about copies in other regions: how a shard makes them, and what each must say.
//!
//! ```text
//! kind       log     says
//! COPY_OUT   home    laws, clauses, map, references; region: the mirror's; commitment: that of the
//!                    entry that placed the version; earlier: that entry, or peer: the same in an
//!                    earlier log of this shard
//! COPY_IN    mirror  laws, clauses, map, references; region: the home's; commitment: the same;
//!                    peer: log and index of the entry that placed the version at the home;
//!                    earlier: the COPY_IN in this log whose copy this one replaces, if any
//! COPY_DROP  mirror  map; region: the home's; reason: of CopyEnd; of one copy, earlier: its COPY_IN,
//!                    or peer: the same in an earlier log of this shard; of several, count
//! ```
//! All three name tenant and collection. COPY_OUT is durable before a byte of the copy leaves the home,
//! COPY_IN is committed with the copy, COPY_DROP with its removal. The entry that placed a version is
//! PLACE, REPLACE, or MOVE_IN with a collection.
//!
//! A log says alone how many copies its shard holds: one more by each COPY_IN without `earlier`, as many
//! fewer by each COPY_DROP as it counts, or one if it counts none. A COPY_IN replaces a copy of the same home
//! only. It cannot name one that an earlier log of its shard took: a COPY_DROP with the reason `replaced`
//! takes that one away in the same commit.

use std::fmt;

use super::{Call, Detail, Entry, Kind, Ruled};

/// Bytes of the references that an entry holds.
const REFERENCES_BYTES_MAX: usize = 500;
/// Stands between two references.
const BETWEEN: &str = "; ";

/// Why a copy went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CopyEnd {
    /// The record was deleted at the home.
    Deleted,
    /// The record's time had come.
    Expired,
    /// The subject, or its collection, was erased.
    Erased,
    /// Nothing allows the copy any more, or no law asks for it: a clause or map was withdrawn or has ended,
    /// or the ruling is another one.
    Withdrawn,
    /// The subject has another home.
    Moved,
    /// A newer version takes its place, and an earlier log of the shard has its COPY_IN.
    Replaced,
}

/// What COPY_OUT and COPY_IN say alike.
#[derive(Debug, Clone, Copy)]
pub struct Copied<'a> {
    /// The tenant, the collection, and the shard that acts.
    pub call: Call<'a>,
    /// What this end's own ruling says.
    pub ruled: Ruled<'a>,
    /// Of each clause of the ruling, in its order, what the map states as reference.
    pub references: &'a [&'a str],
    /// The region at the other end.
    pub region: &'a str,
    /// The commitment of the entry that placed the version.
    pub commitment: [u8; 32],
}

// === impl CopyEnd ===

impl CopyEnd {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::Deleted, Self::Expired, Self::Erased, Self::Withdrawn, Self::Moved, Self::Replaced];

    /// Its name, as the entry states it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Expired => "expired",
            Self::Erased => "erased",
            Self::Withdrawn => "withdrawn",
            Self::Moved => "moved",
            Self::Replaced => "replaced",
        }
    }

    /// The one of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.as_str() == text)
    }
}

impl fmt::Display for CopyEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The references of clauses as one text, if there are any. A character outside of printable ASCII stands
/// as `?`, an empty reference as `-`, and what does not fit is left off: the map has all of it.
pub fn references<'a>(all: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut text = String::new();
    for (n, one) in all.into_iter().enumerate() {
        if n > 0 {
            text.push_str(BETWEEN);
        }
        if one.is_empty() {
            text.push('-');
        }
        let printable = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
        text.extend(one.chars().take(REFERENCES_BYTES_MAX).map(printable));
    }
    // Each character is one byte.
    text.truncate(REFERENCES_BYTES_MAX);
    (!text.is_empty()).then_some(text)
}

// === impl Entry ===

impl Entry {
    /// COPY_OUT: this log's shard is about to send the copy of a version to a mirror. The caller of this
    /// names the entry that placed the version: `earlier`, or as a peer if an earlier log has it.
    pub fn copy_out(minute: u32, copied: Copied<'_>) -> Self {
        Self::copied(Kind::CopyOut, minute, copied)
    }

    /// COPY_IN: this log's shard stores a copy of the version that `placed` has placed at the home: origin
    /// and index. `replaces`: the COPY_IN of this log whose copy goes in the same commit.
    pub fn copy_in(
        minute: u32,
        copied: Copied<'_>,
        placed: (&str, u64),
        replaces: Option<u64>,
    ) -> Self {
        let mut entry = Self::copied(Kind::CopyIn, minute, copied);
        entry.earlier = replaces;
        entry.say(Detail::Peer { origin: placed.0.to_owned(), index: placed.1 });
        entry
    }

    /// COPY_DROP: this log's shard removes copies whose home is `region`. `count`: how many; without it
    /// the caller of this names the COPY_IN of the one copy: `earlier`, or as a peer if an earlier log
    /// has it.
    pub fn copy_drop(
        minute: u32,
        call: Call<'_>,
        region: &str,
        why: CopyEnd,
        count: Option<u64>,
    ) -> Self {
        let mut entry = Self::of_call(Kind::CopyDrop, minute, call);
        entry.details.extend(count.map(Detail::Count));
        entry.details.push(Detail::Reason(why.as_str().to_owned()));
        entry.details.push(Detail::Region(region.to_owned()));
        entry
    }

    fn copied(kind: Kind, minute: u32, copied: Copied<'_>) -> Self {
        let Copied { call, ruled, references: all, region, commitment } = copied;
        let mut entry = Self::of_call(kind, minute, call);
        entry.rule(ruled);
        entry.details.push(Detail::Region(region.to_owned()));
        entry.details.extend(references(all.iter().copied()).map(Detail::References));
        entry.commitment = Some(commitment);
        entry
    }

    /// Whether the entry is about a copy.
    pub const fn is_of_copy(&self) -> bool {
        matches!(self.kind, Kind::CopyOut | Kind::CopyIn | Kind::CopyDrop)
    }

    /// By how many the entry changes the number of copies that its shard holds.
    pub fn change_of_copies(&self) -> i128 {
        if self.kind == Kind::CopyIn {
            i128::from(self.earlier.is_none())
        } else if self.kind == Kind::CopyDrop {
            -i128::from(self.count().unwrap_or(1))
        } else {
            0
        }
    }

    /// Whether an entry about a copy says what one of its kind must say, and no other. Entries of other
    /// kinds pass.
    ///
    /// # Errors
    /// What it lacks or has too much, in words that follow "COPY_OUT", "COPY_IN" or "COPY_DROP".
    pub fn check_copy(&self) -> Result<(), &'static str> {
        if !self.is_of_copy() {
            return Ok(());
        }
        for (right, wrong) in [
            (self.tenant_tag.is_some(), "without its tenant"),
            (self.collection.is_some(), "without its collection"),
            (self.map.is_some(), "without its region map"),
            (self.region().is_some(), "without the region at the other end"),
        ] {
            if !right {
                return Err(wrong);
            }
        }
        if self.kind == Kind::CopyDrop { self.check_dropped() } else { self.check_copied() }
    }

    fn check_dropped(&self) -> Result<(), &'static str> {
        let (earlier, peer) = (self.earlier.is_some(), self.peer().is_some());
        if self.reason().and_then(CopyEnd::parse).is_none() {
            return Err("without a reason of a copy's end");
        }
        match self.count() {
            Some(0) => Err("of no copy"),
            Some(_) if earlier || peer => Err("which counts copies and names one"),
            None if earlier && peer => Err("which names two copies"),
            None if !earlier && !peer => Err("which neither counts copies nor names one"),
            Some(_) | None => Ok(()),
        }
    }

    fn check_copied(&self) -> Result<(), &'static str> {
        let (earlier, peer) = (self.earlier.is_some(), self.peer().is_some());
        let is_in = self.kind == Kind::CopyIn;
        for (wrong, what) in [
            (self.statutes.is_empty(), "without a law"),
            (self.commitment.is_none(), "without its commitment"),
            (self.count().is_some(), "which counts"),
            (
                self.clauses.is_empty() && self.references().is_some(),
                "with references of no clause",
            ),
            (!self.clauses.is_empty() && self.references().is_none(), "without its references"),
            (is_in && !peer, "without the entry of its home"),
            (!is_in && !earlier && !peer, "without the entry that placed its version"),
            (!is_in && earlier && peer, "which names two entries that placed its version"),
        ] {
            if wrong {
                return Err(what);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Caller, EvidenceKinds, MapRef, Role};
    use super::*;

    const MAP: MapRef = MapRef { epoch: 7, digest: [7; 32] };

    /// The entries of one copy: sent, taken, removed.
    fn entries() -> [Entry; 3] {
        let caller = Caller { role: Role::Shard, tag: [1; 16], territory: None };
        let call = Call {
            tenant_tag: Some([2; 16]),
            caller: Some(&caller),
            collection: Some("payments"),
            map: MAP,
        };
        let (jurisdictions, statutes, clauses) =
            (["IN", "RU"].map(str::to_owned), ["in-rbi".to_owned()], ["ru-in".to_owned()]);
        let ruled = Ruled {
            jurisdictions: &jurisdictions,
            statutes: &statutes,
            clauses: &clauses,
            evidence_kinds: EvidenceKinds::new(),
            map: MAP,
        };
        let references: &[&str] = &["№ 08-1"];
        let copied = |region| Copied { call, ruled, references, region, commitment: [3; 32] };
        let mut out = Entry::copy_out(5, copied("in-bom"));
        out.earlier = Some(4);
        let taken = Entry::copy_in(6, copied("ru-msk"), ("sample/ru-msk/a/1", 4), None);
        let mut drop = Entry::copy_drop(7, call, "ru-msk", CopyEnd::Deleted, None);
        drop.earlier = Some(9);
        [out, taken, drop]
    }

    #[test]
    fn what_is_made_says_what_it_must() {
        let [out, taken, drop] = entries();
        for entry in [&out, &taken, &drop] {
            assert_eq!(Entry::decode(&entry.encode().unwrap()).as_ref(), Ok(entry));
            assert_eq!(entry.check_copy(), Ok(()), "{entry}");
        }
        assert_eq!((out.region(), taken.region()), (Some("in-bom"), Some("ru-msk")));
        assert_eq!(taken.references(), Some("? 08-1"));
        assert_eq!(taken.peer(), Some(("sample/ru-msk/a/1", 4)));
        assert_eq!([&out, &taken, &drop].map(Entry::change_of_copies), [0, 1, -1]);
        let again = Entry { earlier: Some(6), ..taken };
        assert_eq!((again.check_copy(), again.change_of_copies()), (Ok(()), 0));
        let many = Entry { earlier: None, ..drop };
        let mut counted = many.clone();
        counted.say(Detail::Count(3));
        assert_eq!((counted.check_copy(), counted.change_of_copies()), (Ok(()), -3));
        assert!(many.check_copy().is_err());
    }

    #[test]
    fn what_lacks_something_or_has_too_much_is_found() {
        let [out, taken, drop] = entries();
        let without = |entry: &Entry, code: u8| {
            let mut entry = entry.clone();
            entry.details.retain(|detail| detail.code() != code);
            entry
        };
        let with = |entry: &Entry, detail: Detail| {
            let mut entry = entry.clone();
            entry.say(detail);
            entry
        };
        let peer = || Detail::Peer { origin: "sample/ru-msk/a/1".into(), index: 1 };
        for entry in [&out, &taken, &drop] {
            for bad in [
                Entry { tenant_tag: None, ..entry.clone() },
                Entry { collection: None, ..entry.clone() },
                Entry { map: None, ..entry.clone() },
                without(entry, Detail::Region(String::new()).code()),
            ] {
                assert!(bad.check_copy().is_err(), "{bad}");
            }
        }
        for entry in [&out, &taken] {
            for bad in [
                Entry { commitment: None, ..entry.clone() },
                Entry { statutes: Vec::new(), ..entry.clone() },
                Entry { clauses: Vec::new(), ..entry.clone() },
                without(entry, Detail::References(String::new()).code()),
                with(entry, Detail::Count(1)),
            ] {
                assert!(bad.check_copy().is_err(), "{bad}");
            }
        }
        for bad in [
            Entry { earlier: None, ..out.clone() },
            with(&out, peer()),
            without(&taken, peer().code()),
            with(&drop, peer()),
            with(&drop, Detail::Count(2)),
            with(&Entry { earlier: None, ..drop.clone() }, Detail::Count(0)),
            with(&without(&drop, 2), Detail::Reason("lost".into())),
            without(&drop, 2),
        ] {
            assert!(bad.check_copy().is_err(), "{bad}");
        }
        // Every other kind passes, whatever it has.
        assert_eq!(Entry { kind: Kind::Place, ..without(&drop, 2) }.check_copy(), Ok(()));
    }

    #[test]
    fn references_fit_their_entry() {
        assert_eq!(references([]), None);
        assert_eq!(references(["A 1", "", "№ 2 от 2026"]).unwrap(), "A 1; -; ? 2 ?? 2026");
        let long = "x".repeat(REFERENCES_BYTES_MAX);
        for all in [&[&*long, "y"][..], &["я".repeat(9_999).as_str()]] {
            let text = references(all.iter().copied()).unwrap();
            assert_eq!(text.len(), REFERENCES_BYTES_MAX);
        }
    }

    #[test]
    fn ends_are_named() {
        for end in CopyEnd::ALL {
            assert_eq!(CopyEnd::parse(end.as_str()), Some(*end));
        }
        assert_eq!(CopyEnd::parse("Deleted"), None);
    }
}
