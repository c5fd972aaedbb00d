//! Made logs of three regions and four months, under two maps.

use std::path::Path;

use audit::report::{Input, Language, LogInput, MapInput, Verification};
use ledger::entry::{Caller, Detail, EvidenceKind, MapRef, Role};
use ledger::note::Signer;
use ledger::{Checkpoint, Entry, Hash, Kind};

/// Minutes of a day.
pub(crate) const DAY: u32 = 1_440;

/// The first minute of a day.
pub(crate) fn minute(day: &str) -> u32 {
    atlas::Date::parse(day).expect("a day").day() * DAY
}

/// A log on its way.
pub(crate) struct Log {
    pub(crate) region: &'static str,
    pub(crate) period: u32,
    pub(crate) now: u32,
    pub(crate) map: Option<MapRef>,
    pub(crate) entries: Vec<Entry>,
}

impl Log {
    pub(crate) fn new(region: &'static str, period: u32, day: &str) -> Self {
        Self { region, period, now: minute(day), map: None, entries: Vec::new() }
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

    /// Appends an entry, and gives its index.
    pub(crate) fn add(&mut self, kind: Kind, with: impl FnOnce(&mut Entry)) -> u64 {
        let mut entry = Entry::new(kind, self.now);
        entry.map = self.map;
        with(&mut entry);
        let entry = entry.in_order();
        entry.encode().expect("an entry that a shard could write");
        self.entries.push(entry);
        number(self.entries.len() - 1)
    }

    /// GENESIS and the first map.
    pub(crate) fn begin(&mut self, map: MapRef, details: Vec<Detail>) {
        let vkey = self.signer().vkey();
        self.add(Kind::Genesis, |entry| {
            entry.details = details;
            entry.details.push(Detail::LogKey(vkey));
        });
        self.take(map);
    }

    pub(crate) fn take(&mut self, map: MapRef) {
        self.map = Some(map);
        self.add(Kind::Map, |entry| {
            entry.details = vec![Detail::Signers("anna,boris".to_owned())];
        });
    }

    /// Places `count` records of these jurisdictions; gives the index of the first.
    pub(crate) fn place(&mut self, count: u64, jurisdictions: &[&str], clauses: &[&str]) -> u64 {
        let first = number(self.entries.len());
        for _ in 0..count {
            self.add(Kind::Place, |entry| {
                write(entry, "profiles", jurisdictions);
                entry.clauses = owned(clauses);
            });
        }
        first
    }

    /// One entry of that kind about each of the entries from `first` on.
    pub(crate) fn about(&mut self, kind: Kind, first: u64, count: u64) {
        for earlier in first..first + count {
            self.add(kind, |entry| {
                entry.collection = Some("profiles".to_owned());
                entry.caller = caller(Role::Writer, Some("RU"));
                entry.earlier = Some(earlier);
            });
        }
    }

    pub(crate) fn read(&mut self, purpose: &str, territory: Option<&str>) {
        self.add(Kind::Read, |entry| {
            entry.collection = Some("payments".to_owned());
            entry.caller = caller(Role::Reader, territory);
            if !purpose.is_empty() {
                entry.details = vec![Detail::Reason(purpose.to_owned())];
            }
        });
    }

    pub(crate) fn count(&mut self, role: Role, reads: u64, territory: &str) {
        self.add(Kind::Count, |entry| {
            entry.caller = caller(role, Some(territory));
            entry.details = vec![Detail::Count(reads)];
        });
    }

    pub(crate) fn refuse(&mut self, reason: &str, count: u64) {
        for _ in 0..count {
            self.add(Kind::Refuse, |entry| {
                entry.caller = caller(Role::Writer, Some("RU"));
                entry.details = vec![Detail::Reason(reason.to_owned())];
            });
        }
    }

    pub(crate) fn erase(
        &mut self,
        earlier: u64,
        (reason, records): (&str, u64),
        deadline: Option<&str>,
    ) {
        self.add(Kind::Erase, |entry| {
            entry.caller = caller(Role::Eraser, Some("RU"));
            entry.earlier = Some(earlier);
            entry.details = vec![Detail::Count(records), Detail::Reason(reason.to_owned())];
            entry.details.extend(deadline.map(|day| Detail::Deadline(minute(day))));
        });
    }

    /// A copy or move to or from another log.
    pub(crate) fn across(
        &mut self,
        kind: Kind,
        (origin, index): (&str, u64),
        earlier: Option<u64>,
    ) {
        self.add(kind, |entry| {
            write(entry, "profiles", &["RU"]);
            entry.clauses = owned(&["ru-kz"]);
            entry.earlier = earlier;
            entry.caller = caller(Role::Shard, Some("RU"));
            entry.details = vec![Detail::Peer { origin: origin.to_owned(), index }];
        });
    }

    pub(crate) fn input(self, verified: Verification) -> LogInput<'static> {
        let (origin, signer) = (self.origin(), self.signer());
        let size = number(self.entries.len());
        let root = Hash([u8::try_from(self.period).expect("small"); 32]);
        let checkpoint = Checkpoint { origin: origin.clone(), size, root };
        LogInput {
            region: self.region.to_owned(),
            shard: "a".to_owned(),
            vkey: signer.vkey(),
            checkpoint: checkpoint.sign(&signer).expect("signed"),
            size,
            root,
            verified,
            entries: Box::new((0..).zip(self.entries).map(Ok)),
            origin,
        }
    }
}

fn number(n: usize) -> u64 {
    u64::try_from(n).expect("small")
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn write(entry: &mut Entry, collection: &str, jurisdictions: &[&str]) {
    entry.tenant_tag = Some([7; 16]);
    entry.collection = Some(collection.to_owned());
    entry.jurisdictions = owned(jurisdictions);
    entry.evidence_kinds = [EvidenceKind::Citizenship].into_iter().collect();
    entry.caller = caller(Role::Writer, Some("RU"));
    entry.commitment = Some([9; 32]);
}

fn caller(role: Role, territory: Option<&str>) -> Option<Caller> {
    Some(Caller { role, tag: [3; 16], territory: territory.map(str::to_owned) })
}

/// Whole, by the auditor's tool.
pub(crate) fn whole() -> Verification {
    Verification::Whole { by: "bailiwick audit verify".to_owned() }
}

/// A map of that text.
pub(crate) fn map(text: &str) -> MapInput {
    let epoch = atlas::RegionMap::parse(text).expect("a sound map").epoch();
    MapInput {
        epoch: epoch.number,
        digest: epoch.digest,
        text: text.to_owned(),
        packs: Vec::new(),
        signers: vec!["anna".to_owned(), "boris".to_owned()],
    }
}

/// The sample map.
pub(crate) fn sample() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/sample/map.toml");
    std::fs::read_to_string(path).expect("the sample map")
}

/// Its next version: the site in Moscow is stated, and a clause has a notification.
pub(crate) fn next(address: &str) -> String {
    let sample = sample();
    let before = hex(&map(&sample).digest);
    let site = format!(
        "territory = \"RU\"\n\n[regions.site]\naddress = {}\noperator = \"Made Up Hosting LLC\"\n\
         contract = \"no. 17 of 2025-11-03\"\nregister = \"entry 204 of the hosting register\"\n\
         attestation = \"letter of the operator\"\nattestation_expires = 2026-03-31\n",
        toml_text(address)
    );
    sample
        .replace("version = 1\n", &format!("version = 2\npredecessor = \"sha256:{before}\"\n"))
        .replacen("territory = \"RU\"\n", &site, 1)
        .replacen("to = \"KZ\"\n", "to = \"KZ\"\nnotified = 2026-01-12\n", 1)
}

/// A basic string of TOML.
fn toml_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn map_ref(map: &MapInput) -> MapRef {
    MapRef { epoch: map.epoch, digest: map.digest }
}

/// Moscow: everything that can happen, before the period and in it.
fn moscow(first: MapRef, second: MapRef) -> Log {
    let mut log = Log::new("ru-msk", 1, "2025-12-20");
    log.begin(first, Vec::new());
    let old = log.place(20, &["RU"], &[]);
    log.day("2026-01-05");
    let new = log.place(40, &["RU"], &[]);
    log.place(12, &["EEA", "RU"], &["eea-ru"]);
    log.place(3, &["KZ"], &[]);
    log.add(Kind::Create, |entry| write(entry, "messages", &["RU"]));
    log.about(Kind::Delete, old, 2);
    log.refuse("TRANSFER_NOT_COVERED", 3);
    log.count(Role::Reader, 200, "RU");
    log.across(Kind::CopyOut, ("sample/kz-ala/a/1", 0), Some(new));
    log.across(Kind::CopyOut, ("sample/kz-ala/a/1", 0), Some(new + 1));
    log.day("2026-02-01").take(second);
    log.place(30, &["RU"], &[]);
    for at in 0..11 {
        log.add(Kind::Replace, |entry| {
            write(entry, "profiles", &["EEA", "RU"]);
            entry.clauses = vec!["eea-ru".to_owned()];
            entry.earlier = Some(new + 10 + at);
        });
    }
    log.erase(new + 2, ("request of the person", 4), Some("2026-02-10"));
    log.erase(new + 3, ("purpose reached", 2), None);
    log.read("support case", Some("RU"));
    log.read("support case", Some("DE"));
    log.read("", None);
    log.day("2026-02-20").erase(new + 4, ("request of the person", 1), Some("2026-02-18"));
    log.day("2026-03-03").about(Kind::Expire, old + 3, 12);
    log.add(Kind::Key, |entry| {
        entry.details = vec![Detail::Reason("generation 2 made".to_owned())]
    });
    log.add(Kind::Backup, |_| {});
    log.add(Kind::Export, |entry| entry.caller = caller(Role::Operator, Some("RU")));
    log.refuse("JURISDICTION_UNDETERMINED", 5);
    log.count(Role::Operator, 4_000, "RU");
    log.day("2026-04-29").place(15, &["RU"], &[]);
    log.count(Role::Reader, 90, "RU");
    // After the period: not in the report.
    log.day("2026-05-02").place(500, &["RU"], &[]);
    log
}

/// Frankfurt: a log, and the next one after an accepted loss.
fn frankfurt(map: MapRef) -> [Log; 2] {
    let mut first = Log::new("eu-fra", 1, "2026-01-02");
    first.begin(map, Vec::new());
    let placed = first.place(100, &["EEA"], &[]);
    first.place(25, &[], &[]);
    first.count(Role::Reader, 1_000, "DE");
    first.day("2026-02-14").place(28, &["EEA"], &[]);
    let mut second = Log::new("eu-fra", 2, "2026-03-01");
    let old = Detail::OldHead { origin: first.origin(), size: 150, root: Hash([5; 32]) };
    second.begin(map, vec![old, Detail::Reason("loss accepted".to_owned())]);
    let origin = first.origin();
    for index in placed..placed + 14 {
        second.add(Kind::Delete, |entry| {
            entry.details = vec![Detail::Peer { origin: origin.clone(), index }];
        });
    }
    second.day("2026-04-30").place(60, &["EEA"], &[]);
    second.refuse("UNSATISFIABLE", 1);
    [first, second]
}

/// Almaty: copies and moves that came in, and a map that nobody gave.
fn almaty(map: MapRef, moscow: &Log) -> Log {
    let mut log = Log::new("kz-ala", 1, "2026-01-01");
    log.begin(map, Vec::new());
    log.day("2026-01-06");
    let home = moscow.entries.iter().rposition(|entry| entry.kind == Kind::Place);
    log.across(Kind::CopyIn, (&moscow.origin(), 25), None);
    let home = number(home.expect("a write"));
    log.across(Kind::CopyIn, (&moscow.origin(), home), None);
    log.across(Kind::CopyIn, ("sample/us-iad/a/1", 3), None);
    log.day("2026-02-03").across(Kind::MoveIn, (&moscow.origin(), 30), None);
    log.map = Some(MapRef { epoch: 3, digest: [0xcc; 32] });
    log.place(50, &["KZ"], &[]);
    log.add(Kind::Seal, |_| {});
    log
}

/// Everything, with the address of the second map's site in Moscow.
pub(crate) fn input(address: &str) -> Input<'static> {
    let maps = vec![map(&sample()), map(&next(address))];
    let (first, second) = (map_ref(&maps[0]), map_ref(&maps[1]));
    let moscow = moscow(first, second);
    let almaty = almaty(first, &moscow);
    let [before, after] = frankfurt(first);
    let not = Verification::Not { why: "its operators gave entries without tiles".to_owned() };
    Input {
        deployment: "sample".to_owned(),
        period: minute("2026-01-01")..minute("2026-05-01"),
        generated: minute("2026-05-04") + 540,
        language: Language::En,
        logs: vec![
            almaty.input(not),
            after.input(whole()),
            moscow.input(whole()),
            before.input(whole()),
        ],
        maps,
    }
}
