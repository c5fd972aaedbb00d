//! What entries must be like besides hashing to the root: rules that hold from one to the next.

use std::collections::BTreeMap;
use std::fmt;

use ledger::Checkpoint;
use ledger::entry::{Entry, Kind, MapRef, Minute, Role};
use terms::RegionId;

use crate::origin::Origin;

/// What an entry breaks. It names no field that could hold a person's data: entries have none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The bytes are no entry.
    #[error("is not accepted: {0}")]
    Entry(#[from] ledger::entry::Error),
    /// A log begins with GENESIS.
    #[error("is {0}, and a log begins with GENESIS")]
    NoGenesis(Kind),
    /// And with no other.
    #[error("is a second GENESIS")]
    Genesis,
    /// It names another key than the log's.
    #[error("names another key than the log's own")]
    Key,
    /// Time went back.
    #[error("is of {}, and the one before it of {}", Minute(*.now), Minute(*.before))]
    ClockBack {
        /// Its minute.
        now: u32,
        /// That of the entry before it.
        before: u32,
    },
    /// It names an entry that does not come before it.
    #[error("names entry {0} as an earlier one")]
    Earlier(u64),
    /// SEAL ends a log.
    #[error("comes after SEAL, which ends a log")]
    AfterSeal,
    /// A map, or an act under one, and no map is named.
    #[error("is {0}, and names no region map")]
    NoMap(Kind),
    /// It names another map than the last MAP entry took.
    #[error(
        "names region map {}, and {}", Named(*.named),
        .in_force.map_or_else(
            || "no MAP entry comes before it".to_owned(),
            |map| format!("the last MAP entry before it took {}", Named(map)),
        )
    )]
    OtherMap {
        /// The map that it names.
        named: MapRef,
        /// The map of the last MAP entry.
        in_force: Option<MapRef>,
    },
    /// A move out of the shard or into it, and the other side is not another shard.
    #[error("is {0}, and the entry of the other side that it names is of this shard")]
    MoveToItself(Kind),
    /// An entry about a copy does not say what one of its kind must say.
    #[error("is {0} {1}")]
    Copy(Kind, &'static str),
    /// The other end of a copy is another region.
    #[error("is {0}, and the region that it names at the other end is not another one")]
    CopyToItself(Kind),
    /// COPY_IN names a log of the copy's home; the others, an earlier log of their own shard.
    #[error("is {0}, and the log that it names is not one of {1}")]
    CopyPeer(Kind, &'static str),
    /// There are more MAP entries than are kept in mind.
    #[error("is one of more than {MAPS_MAX} MAP entries: what they name is not all kept in mind")]
    TooManyMaps,
}

/// MAP entries of one log whose maps are kept in mind.
pub const MAPS_MAX: usize = 16_384;

/// Whether an entry is a question of those who oversee: an auditor's, or a plan, which names the map that it
/// asks about. What a caller asks about records, such as how many there are, is none.
pub fn is_of_oversight(entry: &Entry) -> bool {
    let role = entry.caller.as_ref().map(|caller| caller.role);
    entry.is_question() && !matches!(role, Some(Role::Reader | Role::Writer))
}

/// A map as findings name it.
pub(crate) struct Named(pub(crate) MapRef);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = hex::encode(self.0.digest);
        write!(f, "{} (sha256:{digest:.16}…)", self.0.epoch)
    }
}

/// The rules, and where in the log they stand.
#[derive(Debug, Clone)]
pub struct Rules {
    vkey: String,
    state: State,
    counts: BTreeMap<Kind, u64>,
    first_minute: Option<u32>,
    old_head: Option<Checkpoint>,
}

/// Where the rules stand after so many entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// Entries.
    pub size: u64,
    /// The minute of the last one that says one.
    pub minute: u32,
    /// Whether one of them has ended the log.
    pub sealed: bool,
    /// The maps of the MAP entries, in order: the last is in force.
    pub maps: Vec<MapRef>,
}

// === impl Rules ===

impl Rules {
    /// The rules of the log of that key: at its beginning, or where they stood.
    pub fn new(vkey: &str, state: State) -> Self {
        let (counts, first_minute, old_head) = (BTreeMap::new(), None, None);
        Self { vkey: vkey.to_owned(), state, counts, first_minute, old_head }
    }

    /// Where the rules stand.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Looks at the next entry.
    ///
    /// # Errors
    /// [`Broken`]: the first rule that it breaks. It counts all the same if it is an entry.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Entry, Broken> {
        let index = self.state.size;
        self.state.size += 1;
        let entry = Entry::decode(bytes)?;
        *self.counts.entry(entry.kind).or_default() += 1;
        self.first_minute.get_or_insert(entry.minute);
        let before = std::mem::replace(&mut self.state.minute, entry.minute);
        let was_sealed = self.state.sealed;
        self.state.sealed |= entry.kind == Kind::Seal;
        let by_map = self.map(&entry);
        if was_sealed {
            return Err(Broken::AfterSeal);
        }
        if index == 0 {
            self.begin(&entry)?;
        } else if entry.kind == Kind::Genesis {
            return Err(Broken::Genesis);
        }
        if entry.minute < before {
            return Err(Broken::ClockBack { now: entry.minute, before });
        }
        if let Some(earlier) = entry.earlier.filter(|earlier| *earlier >= index) {
            return Err(Broken::Earlier(earlier));
        }
        self.moves_elsewhere(&entry)?;
        self.copies_elsewhere(&entry)?;
        by_map.map(|()| entry)
    }

    /// The other side of a move is another shard.
    fn moves_elsewhere(&self, entry: &Entry) -> Result<(), Broken> {
        let shard = |name: &str| name.rsplit_once('/').map(|(shard, _)| shard.to_owned());
        let own = self.vkey.split('+').next().and_then(shard);
        let moves = matches!(entry.kind, Kind::MoveOut | Kind::MoveIn);
        match entry.peer().filter(|_| moves) {
            Some((origin, _)) if own.is_some() && shard(origin) == own => {
                Err(Broken::MoveToItself(entry.kind))
            }
            _ => Ok(()),
        }
    }

    /// An entry about a copy says what it must, and its other end is another region.
    fn copies_elsewhere(&self, entry: &Entry) -> Result<(), Broken> {
        entry.check_copy().map_err(|what| Broken::Copy(entry.kind, what))?;
        let own = self.vkey.split('+').next().and_then(Origin::parse);
        let region = entry.region().filter(|_| entry.is_of_copy());
        let (Some(own), Some(region)) = (own, region) else { return Ok(()) };
        if RegionId::parse(region).is_err() || region == own.region {
            return Err(Broken::CopyToItself(entry.kind));
        }
        let Some((origin, _)) = entry.peer() else { return Ok(()) };
        let (right, whose) = if entry.kind == Kind::CopyIn {
            let home = |at: Origin<'_>| (at.deployment, at.region) == (own.deployment, region);
            (Origin::parse(origin).is_some_and(home), "the home of the copy")
        } else {
            let earlier = |at: Origin<'_>| at.same_shard(&own) && at.period < own.period;
            (Origin::parse(origin).is_some_and(earlier), "the earlier ones of its own shard")
        };
        if right { Ok(()) } else { Err(Broken::CopyPeer(entry.kind, whose)) }
    }

    /// The map that an entry names: one that comes into force, or the one in force.
    fn map(&mut self, entry: &Entry) -> Result<(), Broken> {
        let maps = &mut self.state.maps;
        let acts = [Kind::Create, Kind::Place, Kind::Replace, Kind::Delete, Kind::Read];
        let acts = acts.into_iter().chain([Kind::MoveOut, Kind::MoveIn]);
        let acts = acts.chain([Kind::CopyOut, Kind::CopyIn, Kind::CopyDrop]).collect::<Vec<_>>();
        match entry.map {
            Some(map) if entry.kind == Kind::Map => {
                let full = maps.len() >= MAPS_MAX;
                if full {
                    maps.pop();
                }
                maps.push(map);
                if full { Err(Broken::TooManyMaps) } else { Ok(()) }
            }
            // A plan names the map that it asks about.
            Some(named) if maps.last() != Some(&named) && !is_of_oversight(entry) => {
                Err(Broken::OtherMap { named, in_force: maps.last().copied() })
            }
            None if entry.kind == Kind::Map || acts.contains(&entry.kind) => {
                Err(Broken::NoMap(entry.kind))
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, entry: &Entry) -> Result<(), Broken> {
        if entry.kind != Kind::Genesis {
            return Err(Broken::NoGenesis(entry.kind));
        }
        self.old_head = entry.old_head();
        if entry.log_key() == Some(self.vkey.as_str()) { Ok(()) } else { Err(Broken::Key) }
    }

    /// Entries by kind, of those that were looked at.
    pub const fn counts(&self) -> &BTreeMap<Kind, u64> {
        &self.counts
    }

    /// The minutes of the first and the last entry that were looked at.
    pub fn minutes(&self) -> Option<(u32, u32)> {
        Some((self.first_minute?, self.state.minute))
    }

    /// Whether the log has ended.
    pub const fn is_sealed(&self) -> bool {
        self.state.sealed
    }

    /// The head of the log before, as the first entry states it.
    pub const fn old_head(&self) -> Option<&Checkpoint> {
        self.old_head.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use ledger::entry::{Call, Caller, CopyEnd, Detail};

    use super::*;

    fn map(epoch: u64) -> MapRef {
        MapRef { epoch, digest: [u8::try_from(epoch).unwrap(); 32] }
    }

    fn call(map: MapRef) -> Call<'static> {
        Call { tenant_tag: None, caller: None, collection: Some("profiles"), map }
    }

    fn genesis(vkey: &str) -> Entry {
        Entry::genesis(100, vkey, Vec::new())
    }

    fn check(entries: &[Entry], expect: Result<(), Broken>) {
        let mut rules = Rules::new("key", State::default());
        let taken = entries.iter().map(|entry| rules.take(&entry.encode().unwrap()));
        let first = taken.filter_map(Result::err).next();
        assert_eq!(first.map_or(Ok(()), Err), expect);
    }

    #[test]
    fn a_log_goes_by_its_rules() {
        let place = |minute| Entry::of_call(Kind::Place, minute, call(map(1)));
        let naming = |earlier| Entry { earlier: Some(earlier), ..place(100) };
        let seal = Entry::new(Kind::Seal, 101);
        let begin = || [genesis("key"), Entry::map_taken(100, map(1), &[])];
        let after = |more: &[Entry]| [&begin()[..], more].concat();
        check(&[], Ok(()));
        check(&after(&[place(100), naming(2), seal.clone()]), Ok(()));
        check(&[place(1)], Err(Broken::NoGenesis(Kind::Place)));
        check(&[genesis("other")], Err(Broken::Key));
        check(&[genesis("key"), genesis("key")], Err(Broken::Genesis));
        check(&after(&[place(99)]), Err(Broken::ClockBack { now: 99, before: 100 }));
        check(&after(&[naming(2)]), Err(Broken::Earlier(2)));
        check(&after(&[seal, place(101)]), Err(Broken::AfterSeal));
        assert!(matches!(Rules::new("key", State::default()).take(b"x"), Err(Broken::Entry(_))));
    }

    #[test]
    fn a_move_is_to_another_shard() {
        let vkey = "sample/ru/s1/2+0+key";
        let begin = [genesis(vkey), Entry::map_taken(100, map(1), &[])];
        for (origin, expect) in [
            ("sample/de/s1/1", Ok(())),
            ("sample/ru/s2/1", Ok(())),
            ("sample/ru/s1/1", Err(Broken::MoveToItself(Kind::MoveOut))),
        ] {
            let mut out = Entry::of_call(Kind::MoveOut, 100, call(map(1)));
            out.say(Detail::Peer { origin: origin.to_owned(), index: 3 });
            let mut rules = Rules::new(vkey, State::default());
            let all = begin.iter().chain([&out]);
            let taken = all.map(|entry| rules.take(&entry.encode().unwrap()));
            let first = taken.filter_map(Result::err).next();
            assert_eq!(first.map_or(Ok(()), Err), expect);
        }
    }

    #[test]
    fn the_other_end_of_a_copy_is_another_region() {
        let vkey = "sample/ru/s1/2+0+key";
        let begin = [genesis(vkey), Entry::map_taken(100, map(1), &[])];
        let call = Call { tenant_tag: Some([1; 16]), ..call(map(1)) };
        let drop = |region: &str, origin: &str| {
            let mut entry = Entry::copy_drop(100, call, region, CopyEnd::Withdrawn, None);
            entry.say(Detail::Peer { origin: origin.to_owned(), index: 3 });
            entry
        };
        let (kind, own) = (Kind::CopyDrop, "the earlier ones of its own shard");
        for (entry, expect) in [
            (drop("de", "sample/ru/s1/1"), Ok(())),
            (drop("ru", "sample/ru/s1/1"), Err(Broken::CopyToItself(kind))),
            (drop("de", "sample/ru/s1/2"), Err(Broken::CopyPeer(kind, own))),
            (drop("de", "sample/ru/s2/1"), Err(Broken::CopyPeer(kind, own))),
            (drop("de", "sample/de/s1/1"), Err(Broken::CopyPeer(kind, own))),
        ] {
            let mut rules = Rules::new(vkey, State::default());
            let all = begin.iter().chain([&entry]);
            let taken = all.map(|entry| rules.take(&entry.encode().unwrap()));
            let first = taken.filter_map(Result::err).next();
            assert_eq!(first.map_or(Ok(()), Err), expect, "{entry}");
        }
    }

    #[test]
    fn an_entry_names_the_map_of_the_last_map_entry() {
        let (one, two) = (map(1), map(2));
        let take = |map| Entry::map_taken(100, map, &[]);
        let place = |map| Entry::of_call(Kind::Place, 100, call(map));
        let refuse = |map| Entry::refused(100, call(map), 3, "NO_REGION");
        let other = |named, in_force| Err(Broken::OtherMap { named, in_force });
        let check = |more: &[Entry], expect| check(&[&[genesis("key")], more].concat(), expect);
        check(&[take(one), place(one), refuse(one), take(two), place(two)], Ok(()));
        check(&[place(one)], other(one, None));
        check(&[take(one), take(two), place(one)], other(one, Some(two)));
        check(&[take(one), refuse(two)], other(two, Some(one)));
        let nameless = Entry { map: None, ..place(one) };
        check(&[take(one), nameless], Err(Broken::NoMap(Kind::Place)));
        check(&[Entry::new(Kind::Map, 100)], Err(Broken::NoMap(Kind::Map)));
        // Reads are counted under the map in force; a plan asks about another one.
        check(&[take(one), Entry::counted(100, call(two), 1)], other(two, Some(one)));
        check(&[take(one), Entry::question(100, call(two), 1, "a plan")], Ok(()));
        // Of a caller's own question the map in force is the one.
        let caller = Caller { role: Role::Reader, tag: [1; 16], territory: None };
        let asked = Call { caller: Some(&caller), ..call(two) };
        let asked = Entry::question(100, asked, 1, "a count");
        check(&[take(one), asked], other(two, Some(one)));
    }
}
