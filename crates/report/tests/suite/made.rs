//! Logs made by the code with which shards make entries, of two regions, under three maps.

use std::path::Path;

use atlas::SignedMap;
use audit::Maps;
use audit::maps::StoredMap;
use ledger::entry::{
    Call, Caller, Copied, CopyEnd, Detail, EvidenceKind, EvidenceKinds, MapRef, Role, Ruled,
};
use ledger::note::Signer;
use ledger::{Checkpoint, Entry, Hash, Kind};
use report::{Input, LogFacts, LogInput, Operator};

/// Minutes of a day.
pub(crate) const DAY: u32 = 1_440;
/// Russia, by its law.
pub(crate) const RU: (&[&str], &[&str]) = (&["RU"], &["ru-152fz"]);
/// The European Economic Area, by its law.
pub(crate) const EEA: (&[&str], &[&str]) = (&["EEA"], &["eu-gdpr"]);

/// The first minute of a day.
pub(crate) fn minute(day: &str) -> u32 {
    atlas::Date::parse(day).expect("a day").day() * DAY
}

/// A log on its way.
pub(crate) struct Log {
    pub(crate) region: &'static str,
    pub(crate) period: u32,
    now: u32,
    map: MapRef,
    pub(crate) entries: Vec<Entry>,
}

impl Log {
    /// GENESIS and the first map.
    pub(crate) fn begin(region: &'static str, period: u32, day: &str, map: MapRef) -> Self {
        Self::after(region, period, (day, map), Vec::new())
    }

    /// The same, with what GENESIS says of the log before it.
    pub(crate) fn after(
        region: &'static str,
        period: u32,
        (day, map): (&str, MapRef),
        details: Vec<Detail>,
    ) -> Self {
        let now = minute(day);
        let mut log = Self { region, period, now, map, entries: Vec::new() };
        log.entries.push(Entry::genesis(now, &log.signer().vkey(), details));
        log.take(map);
        log
    }

    pub(crate) fn origin(&self) -> String {
        format!("sample/{}/a/{}", self.region, self.period)
    }

    fn signer(&self) -> Signer {
        Signer::from_seed(&self.origin(), &[7; 32]).expect("a name")
    }

    pub(crate) fn day(&mut self, day: &str) -> &mut Self {
        self.now = minute(day) + 600;
        self
    }

    pub(crate) fn take(&mut self, map: MapRef) -> &mut Self {
        self.map = map;
        let signers = ["anna".to_owned(), "boris".to_owned()];
        self.entries.push(Entry::map_taken(self.now, map, &signers));
        self
    }

    /// Appends what `make` makes of a call in that role from that territory.
    fn call(
        &mut self,
        (role, territory): (Role, Option<&str>),
        collection: Option<&str>,
        make: impl FnOnce(u32, Call<'_>) -> Entry,
    ) -> u64 {
        let caller = Caller { role, tag: [3; 16], territory: territory.map(str::to_owned) };
        let (tenant_tag, map) = (Some([7; 16]), self.map);
        let entry = make(self.now, Call { tenant_tag, caller: Some(&caller), collection, map });
        entry.encode().expect("an entry that a shard could write");
        self.entries.push(entry);
        u64::try_from(self.entries.len()).expect("small") - 1
    }

    /// Stores `count` records under laws and clauses; gives the index of the first.
    pub(crate) fn place(
        &mut self,
        count: u64,
        (jurisdictions, statutes): (&[&str], &[&str]),
        clauses: &[&str],
    ) -> u64 {
        let first = u64::try_from(self.entries.len()).expect("small");
        for _ in 0..count {
            self.write(Kind::Place, (jurisdictions, statutes), clauses, None);
        }
        first
    }

    /// One write.
    pub(crate) fn write(
        &mut self,
        kind: Kind,
        (jurisdictions, statutes): (&[&str], &[&str]),
        clauses: &[&str],
        earlier: Option<u64>,
    ) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let lists: [Vec<String>; 3] = [owned(jurisdictions), owned(statutes), owned(clauses)];
        let map = self.map;
        self.call((Role::Writer, Some("RU")), Some("profiles"), |now, call| {
            let mut entry = Entry::of_call(kind, now, call);
            entry.rule(Ruled {
                jurisdictions: &lists[0],
                statutes: &lists[1],
                clauses: &lists[2],
                evidence_kinds: [EvidenceKind::Citizenship].into_iter().collect(),
                map,
            });
            entry.earlier = earlier;
            entry.commitment = Some([9; 32]);
            entry
        });
    }

    /// Deletes `count` records, from the entry `first` on.
    pub(crate) fn delete(&mut self, first: u64, count: u64) {
        for earlier in first..first + count {
            self.call((Role::Writer, Some("RU")), Some("profiles"), |now, call| {
                let mut entry = Entry::of_call(Kind::Delete, now, call);
                entry.earlier = Some(earlier);
                entry.commitment = Some([9; 32]);
                entry
            });
        }
    }

    pub(crate) fn read(&mut self, territory: Option<&str>) {
        let by = (Role::Reader, territory);
        self.call(by, Some("payments"), |now, call| Entry::of_call(Kind::Read, now, call));
    }

    pub(crate) fn count(&mut self, reads: u64, territory: Option<&str>) {
        let by = (Role::Reader, territory);
        self.call(by, Some("profiles"), |now, call| Entry::counted(now, call, reads));
    }

    pub(crate) fn refuse(&mut self, role: Role, reason: &str, times: u64) {
        let by = (role, Some("DE"));
        self.call(by, Some("profiles"), |now, call| Entry::refused(now, call, times, reason));
    }

    pub(crate) fn ask(&mut self, role: Role, count: u64) {
        self.call((role, None), None, |now, call| {
            Entry::question(now, call, count, "an audit: entries opened")
        });
    }

    /// A caller asks about records, or about one subject.
    pub(crate) fn asks(&mut self, collection: Option<&str>, count: u64, territory: Option<&str>) {
        self.call((Role::Reader, territory), collection, |now, call| {
            Entry::question(now, call, count, "a purpose")
        });
    }

    /// Records of a collection go, by an entry that says under which laws they were, and how many.
    pub(crate) fn gone(
        &mut self,
        kind: Kind,
        jurisdictions: &[&str],
        count: u64,
        why: Option<&str>,
    ) {
        self.call((Role::Eraser, Some("RU")), Some("profiles"), |now, call| {
            let mut entry = Entry::of_call(kind, now, call);
            entry.jurisdictions = jurisdictions.iter().map(|name| (*name).to_owned()).collect();
            entry.evidence_kinds.insert(EvidenceKind::Residence);
            entry.say(Detail::Count(count));
            why.into_iter().for_each(|why| entry.say(Detail::Reason(why.to_owned())));
            entry.in_order()
        });
    }

    /// The subject of what went is erased, by then.
    pub(crate) fn erased(&mut self, deadline: u32) {
        self.call((Role::Eraser, Some("RU")), None, |now, call| {
            let mut entry = Entry::of_call(Kind::Erase, now, call);
            entry.say(Detail::Reason("a demand".to_owned()));
            entry.say(Detail::Deadline(deadline));
            entry
        });
    }

    /// Sends the versions of `count` entries to a mirror, from the entry `first` on.
    pub(crate) fn send(&mut self, region: &str, first: u64, count: u64) {
        for placed in first..first + count {
            self.copied(region, |now, copied| Entry {
                earlier: Some(placed),
                ..Entry::copy_out(now, copied)
            });
        }
    }

    /// Takes copies of the versions of `count` entries of a home's log, from the entry `first` on.
    pub(crate) fn copy(&mut self, home: &str, first: u64, count: u64) {
        let region = home.split('/').nth(1).expect("an origin");
        for placed in first..first + count {
            self.copied(region, |now, copied| Entry::copy_in(now, copied, (home, placed), None));
        }
    }

    /// Removes `count` copies whose home is Moscow.
    pub(crate) fn drop_copies(&mut self, why: CopyEnd, count: u64) {
        self.call((Role::Shard, None), Some("profiles"), |now, call| {
            Entry::copy_drop(now, call, "ru-msk", why, Some(count))
        });
    }

    fn copied(&mut self, region: &str, make: impl FnOnce(u32, Copied<'_>) -> Entry) {
        let lists = ["RU", "ru-152fz", "ru-kz"].map(|name| [name.to_owned()]);
        let map = self.map;
        self.call((Role::Shard, None), Some("profiles"), |now, call| {
            let ruled = Ruled {
                jurisdictions: &lists[0],
                statutes: &lists[1],
                clauses: &lists[2],
                evidence_kinds: EvidenceKinds::new(),
                map,
            };
            make(now, Copied { call, ruled, references: &["No. 7"], region, commitment: [9; 32] })
        });
    }

    pub(crate) fn input(self) -> LogInput<'static> {
        let (origin, signer) = (self.origin(), self.signer());
        let size = u64::try_from(self.entries.len()).expect("small");
        let root = Hash([u8::try_from(self.period).expect("small"); 32]);
        let checkpoint = Checkpoint { origin: origin.clone(), size, root };
        let facts = LogFacts {
            region: self.region.to_owned(),
            shard: "a".to_owned(),
            vkey: signer.vkey(),
            key_by_policy: true,
            checkpoint: checkpoint.sign(&signer).expect("signed"),
            size,
            root,
            witnesses: Vec::new(),
            findings: Vec::new(),
            maps_missing: Vec::new(),
            origin,
        };
        LogInput { facts, entries: Box::new((0..).zip(self.entries).map(Ok)) }
    }
}

/// The maps of these texts.
pub(crate) fn maps(texts: &[&str]) -> Maps {
    let held = |text: &&str| {
        let signed = SignedMap { text: (*text).to_owned(), ..SignedMap::default() };
        let held = StoredMap::of(&signed, 0, None);
        held.map.as_ref().expect("a sound map");
        held
    };
    Maps::new(texts.iter().map(held), false)
}

pub(crate) fn map_ref(text: &str) -> MapRef {
    let epoch = atlas::RegionMap::parse(text).expect("a sound map").epoch();
    MapRef { epoch: epoch.number, digest: epoch.digest }
}

/// The sample map.
pub(crate) fn sample() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/evidence/map.toml");
    std::fs::read_to_string(path).expect("the sample map")
}

/// The map that follows one, with an edit.
pub(crate) fn next(before: &str, edit: impl FnOnce(String) -> String) -> String {
    let of = map_ref(before);
    let digest = hex::encode(of.digest);
    let rest = before.lines().filter(|line| !line.starts_with("predecessor"));
    let rest: String = rest.flat_map(|line| [line, "\n"]).collect();
    let more = format!("version = {}\npredecessor = \"sha256:{digest}\"\n", of.epoch + 1);
    edit(rest.replace(&format!("version = {}\n", of.epoch), &more))
}

/// The site in Moscow is stated, at that address.
pub(crate) fn with_site(map: String, address: &str) -> String {
    // A basic string of TOML.
    let address = address.replace('\\', "\\\\").replace('"', "\\\"");
    let site = format!(
        "territory = \"RU\"\n\n[regions.site]\naddress = \"{address}\"\n\
         operator = \"Made Up Hosting LLC\"\ncontract = \"no. 17 of 2025-11-03\"\n\
         register = \"entry 204\"\nattestation = \"letter of the operator\"\n\
         attestation_expires = 2026-03-31\n"
    );
    map.replacen("territory = \"RU\"\n", &site, 1)
}

/// A report of these logs for the first four months of 2026.
pub(crate) fn input(logs: Vec<Log>, maps: &Maps) -> Input<'_> {
    Input {
        deployment: "sample".to_owned(),
        number: Some("12/2026".to_owned()),
        period: minute("2026-01-01")..minute("2026-05-01"),
        generated: minute("2026-05-04") + 540,
        operator: Operator {
            name: Some("Example JSC".to_owned()),
            address: Some("Moscow, Example street 1".to_owned()),
        },
        logs: logs.into_iter().map(Log::input).collect(),
        maps,
    }
}
