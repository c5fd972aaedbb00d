//! The maps that race: each a text that atlas reads, and what atlas rules under it.

use atlas::{
    Date, EvidenceKind, Finding, Findings, Outcome, Question, RegionMap, StatutePack, decide, packs,
};
use terms::{Collection, TenantId};

/// The regions, by their number in the model: one in the law's territory, one abroad.
pub(crate) const REGIONS: [&str; 2] = ["de-a", "us-b"];
/// The maps, by their number in the model. Two versions have a second map: a fork.
pub(crate) const MAPS: usize = 5;
/// The writes, each of another person: a resident of Germany, and one of Brazil.
pub(crate) const WRITES: usize = 2;
const RESIDENCES: [&str; WRITES] = ["DE", "BR"];

/// One map as the model needs it.
#[derive(Debug, Clone)]
pub(crate) struct Map {
    pub(crate) version: u64,
    pub(crate) digest: [u8; 32],
    /// The maps whose place it may take.
    pub(crate) follows: Vec<[u8; 32]>,
    /// For each write the region that the rules give.
    pub(crate) gives: [usize; WRITES],
}

/// What one map says: version, predecessors by their place in the list, the home of the EEA, the
/// home of every other country, and whether a clause lets records of the EEA lie abroad.
struct Draft {
    version: u64,
    after: &'static [usize],
    eea: usize,
    rest: usize,
    clause: bool,
}

/// Version 1 lets the German's records lie abroad, under a clause. Version 2 withdraws the clause;
/// its fork keeps it, and moves the home of all others. Version 3 names both heads, so it heals the
/// fork, and moves that home too; its own fork goes on from the fork alone.
const DRAFTS: [Draft; MAPS] = [
    Draft { version: 1, after: &[], eea: 1, rest: 0, clause: true },
    Draft { version: 2, after: &[0], eea: 0, rest: 0, clause: false },
    Draft { version: 2, after: &[0], eea: 1, rest: 1, clause: true },
    Draft { version: 3, after: &[1, 2], eea: 0, rest: 1, clause: false },
    Draft { version: 3, after: &[2], eea: 0, rest: 0, clause: false },
];
/// By their place in that list: the map that heals, and the fork that it heals.
pub(crate) const HEALING: usize = 3;
pub(crate) const FORK: usize = 2;

/// Reads the maps and rules on every write under each of them.
pub(crate) fn maps() -> Vec<Map> {
    let mut maps: Vec<Map> = Vec::new();
    for draft in &DRAFTS {
        let after: Vec<[u8; 32]> = draft.after.iter().map(|place| maps[*place].digest).collect();
        let text = text(draft, &after);
        let map = RegionMap::parse(&text).unwrap_or_else(|wrong| panic!("{wrong:#?}\n{text}"));
        let follows = map.predecessors().to_vec();
        assert_eq!(follows, after, "atlas reads which maps it follows");
        let gives = RESIDENCES.map(|code| region(&map, code));
        assert_eq!(gives, [draft.eea, draft.rest], "atlas gives the homes");
        let epoch = map.epoch();
        let (version, digest) = (epoch.number, epoch.digest);
        maps.push(Map { version, digest, follows, gives });
    }
    maps
}

fn text(draft: &Draft, after: &[[u8; 32]]) -> String {
    let law = packs().iter().find(|pack| pack.id().as_str() == "eu-gdpr").expect("a pack");
    let law = hex(StatutePack::digest(law));
    let after: Vec<String> = after.iter().map(|map| format!("\"sha256:{}\"", hex(map))).collect();
    let predecessor = match after.as_slice() {
        [] => String::new(),
        after => format!("predecessor = [{}]", after.join(", ")),
    };
    let (eea, rest, version) = (REGIONS[draft.eea], REGIONS[draft.rest], draft.version);
    let clause = if draft.clause {
        "[[clauses]]\nid = \"eea-us\"\nfrom = \"EEA\"\nto = \"US\"\ncollections = \"*\"\n\
         legal_basis = \"made up\"\nimporter = \"made up\"\nreference = \"made up\"\n\
         not_before = 2020-01-01\nexpires = 2099-01-01\n"
    } else {
        ""
    };
    let [inside, abroad] = REGIONS;
    format!(
        "name = \"race\"\ndeployment = \"race\"\nversion = {version}\n{predecessor}\n\
         [[tenants]]\nname = \"acme\"\n\
         [[collections]]\nname = \"notes\"\ncategory = \"test\"\nreads = \"counted\"\n\
         [[regions]]\nname = \"{inside}\"\nterritory = \"DE\"\n\
         [[regions]]\nname = \"{abroad}\"\nterritory = \"US\"\n\
         [[homes]]\nfor = \"EEA\"\nregion = \"{eea}\"\n\
         [[homes]]\nfor = \"*\"\nregion = \"{rest}\"\n\
         [[statutes]]\nid = \"eu-gdpr\"\ndigest = \"sha256:{law}\"\n{clause}"
    )
}

fn hex(bytes: &[u8; 32]) -> String {
    hex::encode(bytes)
}

/// The region that atlas gives a resident of that country.
fn region(map: &RegionMap, code: &str) -> usize {
    let mut findings = Findings::new();
    findings
        .insert(Finding::parse(EvidenceKind::Residence, code).expect("a finding"))
        .expect("room");
    let tenant = TenantId::parse("acme").expect("a name");
    let collection = Collection::parse("notes").expect("a name");
    let date = Date::parse("2026-11-23").expect("a day");
    let question = Question {
        tenant: &tenant,
        collection: &collection,
        findings: &findings,
        date: date.into(),
    };
    match decide(map, &question).expect("a known collection").outcome() {
        Outcome::Placed(placement) => {
            let name = placement.region().as_str();
            REGIONS.iter().position(|region| *region == name).expect("a region of the model")
        }
        Outcome::Refused(refusal) => panic!("{}", refusal.problem()),
    }
}
