//! What the tests of several files share: logs made from a seed, straight from `ledger`.

pub(crate) mod shard;

use std::path::Path;

use audit::Folder;
use audit::folder::Growth;
use ledger::entry::{
    Call, Caller, Copied, CopyEnd, Detail, Entry, EvidenceKind, EvidenceKinds, Kind, MapRef, Role,
    Ruled,
};
use ledger::note::Signer;
use ledger::{Checkpoint, Edge};
use sha2::{Digest, Sha256};

pub(crate) const ORIGIN: &str = "test/ru-msk/a/1";

pub(crate) fn signer(origin: &str) -> Signer {
    let seed: [u8; 32] = Sha256::digest(origin.as_bytes()).into();
    Signer::from_seed(origin, &seed).expect("a name")
}

/// A generator that gives the same numbers for the same seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// The minute in which logs begin.
pub(crate) const MINUTE: u32 = 29_000_000;
/// The map of every log here.
pub(crate) const MAP: MapRef = MapRef { epoch: 1, digest: [9; 32] };

pub(crate) fn genesis(vkey: &str) -> Entry {
    Entry::genesis(MINUTE, vkey, Vec::new())
}

/// The entry by which [`MAP`] comes into force.
pub(crate) fn taken() -> Entry {
    Entry::map_taken(MINUTE, MAP, &[])
}

/// What a call of a writer leaves in the log, without what its kind adds.
pub(crate) fn call(kind: Kind, minute: u32) -> Entry {
    let caller = Caller { role: Role::Writer, tag: [4; 16], territory: Some("RU".to_owned()) };
    let (tenant_tag, collection) = (Some([3; 16]), Some("profile"));
    Entry::of_call(kind, minute, Call { tenant_tag, caller: Some(&caller), collection, map: MAP })
}

/// Write `index`, as a shard logs it.
pub(crate) fn place(index: u64, salt: &str) -> Entry {
    let digest: [u8; 32] = Sha256::digest(format!("{salt} {index}")).into();
    let mut entry = call(Kind::Place, MINUTE + u32::try_from(index / 1000).unwrap_or(0));
    entry.rule(Ruled {
        jurisdictions: &["RU".to_owned()],
        statutes: &["ru-152fz-18-5".to_owned()],
        clauses: &[],
        evidence_kinds: [EvidenceKind::Phone].into_iter().collect(),
        map: MAP,
    });
    entry.say(Detail::PhoneData("9.0.43".to_owned()));
    entry.commitment = Some(digest);
    entry
}

/// What the entries of a copy say alike.
fn copied<'a>(caller: &'a Caller, region: &'a str, laws: &'a [String; 2]) -> Copied<'a> {
    let (tenant_tag, collection) = (Some([3; 16]), Some("profile"));
    let call = Call { tenant_tag, caller: Some(caller), collection, map: MAP };
    let ruled = Ruled {
        jurisdictions: &laws[..1],
        statutes: &laws[1..],
        clauses: &[],
        evidence_kinds: EvidenceKinds::new(),
        map: MAP,
    };
    Copied { call, ruled, references: &[], region, commitment: [7; 32] }
}

fn laws() -> [String; 2] {
    ["DE".to_owned(), "a-mirror-law".to_owned()]
}

fn of_shard() -> Caller {
    Caller { role: Role::Shard, tag: [4; 16], territory: None }
}

/// COPY_OUT, as a home logs it: of the version of the entry `placed`, to that region.
pub(crate) fn copy_out(minute: u32, region: &str, placed: u64) -> Entry {
    let entry = Entry::copy_out(minute, copied(&of_shard(), region, &laws()));
    Entry { earlier: Some(placed), ..entry }
}

/// COPY_IN, as a mirror logs it: of the version that an entry of the home's log has placed.
pub(crate) fn copy_in(minute: u32, placed: (&str, u64), replaces: Option<u64>) -> Entry {
    let region = placed.0.split('/').nth(1).expect("an origin");
    Entry::copy_in(minute, copied(&of_shard(), region, &laws()), placed, replaces)
}

/// COPY_DROP, as a mirror logs it: of the copy of one entry, or of so many.
pub(crate) fn copy_drop(minute: u32, one: Option<u64>, count: Option<u64>) -> Entry {
    let (caller, laws) = (of_shard(), laws());
    let call = copied(&caller, "", &laws).call;
    let entry = Entry::copy_drop(minute, call, "ru-msk", CopyEnd::Deleted, count);
    Entry { earlier: one, ..entry }
}

/// A log in memory.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) origin: String,
    pub(crate) entries: Vec<Vec<u8>>,
}

impl Log {
    pub(crate) fn new(origin: &str, size: u64, salt: &str) -> Self {
        let vkey = signer(origin).vkey();
        let entry = |index| match index {
            0 => genesis(&vkey),
            1 => taken(),
            _ => place(index, salt),
        };
        let entries = (0..size).map(|index| entry(index).encode().expect("an entry"));
        Self { origin: origin.to_owned(), entries: entries.collect() }
    }

    pub(crate) fn of(origin: &str, entries: &[Entry]) -> Self {
        let genesis = genesis(&signer(origin).vkey());
        let all = std::iter::once(&genesis).chain(entries);
        let entries = all.map(|entry| entry.encode().expect("an entry"));
        Self { origin: origin.to_owned(), entries: entries.collect() }
    }

    pub(crate) fn size(&self) -> u64 {
        u64::try_from(self.entries.len()).expect("a size")
    }

    pub(crate) fn checkpoint(&self, size: u64) -> Checkpoint {
        let (mut edge, mut finished) = (Edge::new(), Vec::new());
        for entry in self.first(size) {
            edge.append(ledger::hash::leaf_hash(entry), &mut finished);
        }
        Checkpoint { origin: self.origin.clone(), size, root: edge.root() }
    }

    pub(crate) fn note(&self, size: u64) -> String {
        self.checkpoint(size).sign(&signer(&self.origin)).expect("a note")
    }

    pub(crate) fn first(&self, size: u64) -> &[Vec<u8>] {
        &self.entries[..usize::try_from(size).expect("a size")]
    }

    /// Writes the log into a folder.
    pub(crate) fn write(&self, path: &Path) -> Folder {
        let folder = Folder::at(path);
        let mut growth = Growth::begin(&folder).expect("a folder");
        for entry in &self.entries {
            growth.push(entry).expect("room");
        }
        growth.finish(&self.note(self.size())).expect("room");
        let vkey = signer(&self.origin).vkey();
        std::fs::write(path.join("vkey"), format!("{vkey}\n")).expect("room");
        folder
    }
}

/// Every file below a folder, as a path below it.
pub(crate) fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for child in std::fs::read_dir(folder).expect("a folder") {
            let path = child.expect("a child").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let below = path.strip_prefix(root).expect("below").display().to_string();
                found.push(below);
            }
        }
    }
    found.sort();
    found
}
