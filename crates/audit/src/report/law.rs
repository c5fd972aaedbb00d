//! What the region maps say: sites, laws in force, collections and transfer clauses. Each fact
//! once, with the maps in which it stands, so that a change shows as two facts.

use std::collections::BTreeMap;

use atlas::{
    Clause, CollectionRules, Date, Region, RegionMap, Site, Statute, StatutePack, Verified,
};

use super::input::MapInput;

/// Maps of one report at most. The next are left off, and the report says so.
pub const MAPS_MAX: usize = 1_024;

/// A region map that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapFacts {
    /// Its number.
    pub epoch: u64,
    /// Its digest, 64 hexadecimal digits.
    pub digest: String,
    /// Its name.
    pub name: String,
    /// The last day on which its clauses may be relied on.
    pub valid_until: Option<Date>,
    /// The digests of the maps that it follows.
    pub predecessors: Vec<String>,
    /// The names of the keys whose signatures on it were verified.
    pub signers: Vec<String>,
    /// Why it cannot be used; nothing of it stands elsewhere in the report then.
    pub unusable: Option<String>,
}

/// A fact, and the epochs of the maps in which it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated<T> {
    /// The fact.
    pub fact: T,
    /// The epochs, ascending.
    pub epochs: Vec<u64>,
}

/// Where a region stands, in its operators' words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SiteFacts {
    /// The region.
    pub region: String,
    /// Its territory.
    pub territory: String,
    /// What they attest.
    pub site: Site,
}

/// A law in force, with the map's settings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatuteFacts {
    /// Whose law.
    pub jurisdiction: String,
    /// The pack's id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Where it is written.
    pub citation: String,
    /// SHA-256 of the pack, 64 hexadecimal digits.
    pub digest: String,
    /// Its first day.
    pub from: Date,
    /// Its last day.
    pub until: Option<Date>,
    /// What it demands, by the reading that the map chose.
    pub constraint: String,
    /// The readings that are in dispute.
    pub readings: Vec<String>,
    /// The other settings, as `name = value`.
    pub settings: Vec<String>,
    /// Why the pack is a draft.
    pub draft: Option<String>,
    /// Its rules and exemptions by how well they were verified, the best first.
    pub marks: Vec<(Verified, usize)>,
}

/// A collection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CollectionFacts {
    /// Its name.
    pub name: String,
    /// What kind of data, in the operator's words.
    pub category: String,
    /// On what grounds, in the operator's words.
    pub grounds: Option<String>,
    /// How reads are noted.
    pub reads: String,
    /// Grounds on which laws do not attach.
    pub exempt: Vec<String>,
}

/// A transfer clause.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClauseFacts {
    /// Its name.
    pub id: String,
    /// Whose law it satisfies.
    pub from: String,
    /// Where records may go.
    pub to: String,
    /// The collections; none: all.
    pub collections: Option<Vec<String>>,
    /// The legal basis.
    pub legal_basis: String,
    /// Who receives.
    pub importer: String,
    /// Number of the contract, notification or decision.
    pub reference: String,
    /// The day of the notification.
    pub notified: Option<Date>,
    /// The first day on which it holds.
    pub not_before: Date,
    /// The first day on which it no longer holds.
    pub expires: Date,
}

/// What all maps say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Law {
    /// The maps, by epoch.
    pub maps: Vec<MapFacts>,
    /// Sites, by region.
    pub sites: Vec<Stated<SiteFacts>>,
    /// Laws, by jurisdiction and id.
    pub statutes: Vec<Stated<StatuteFacts>>,
    /// Collections, by name.
    pub collections: Vec<Stated<CollectionFacts>>,
    /// Clauses, by id.
    pub clauses: Vec<Stated<ClauseFacts>>,
    /// Maps that were left off.
    pub maps_cut: usize,
}

impl Law {
    /// Reads all maps.
    pub(crate) fn of(mut inputs: Vec<MapInput>) -> Self {
        inputs.sort_by_key(|input| (input.epoch, input.digest));
        inputs.dedup_by_key(|input| (input.epoch, input.digest));
        let maps_cut = inputs.len().saturating_sub(MAPS_MAX);
        inputs.truncate(MAPS_MAX);
        let (mut sites, mut statutes) = (BTreeMap::new(), BTreeMap::new());
        let (mut collections, mut clauses) = (BTreeMap::new(), BTreeMap::new());
        let mut maps = Vec::new();
        for input in inputs {
            let read = read(&input);
            if let Ok(map) = &read {
                let epoch = input.epoch;
                state(&mut sites, epoch, map.regions().iter().map(site));
                state(&mut statutes, epoch, map.statutes().iter().map(statute));
                state(&mut collections, epoch, map.collections().map(collection));
                state(&mut clauses, epoch, map.clauses().iter().map(clause));
            }
            maps.push(map_facts(input, read));
        }
        Self {
            maps,
            sites: stated(sites),
            statutes: stated(statutes),
            collections: stated(collections),
            clauses: stated(clauses),
            maps_cut,
        }
    }

    /// The territory of a region, by the newest map that has it.
    pub(crate) fn territory(&self, region: &str) -> Option<&str> {
        let sites = self.sites.iter().filter(|site| site.fact.region == region);
        let newest = sites.max_by_key(|site| site.epochs.last().copied());
        newest.map(|site| site.fact.territory.as_str())
    }
}

/// Reads one map, with the packs that came with it.
fn read(input: &MapInput) -> Result<RegionMap, String> {
    let mut carried = Vec::new();
    for text in &input.packs {
        let pack = StatutePack::parse(text).map_err(|wrong| first("statute pack", &wrong))?;
        carried.push(atlas::intern(pack).map_err(|full| full.to_string())?);
    }
    let map = RegionMap::parse_carrying(&input.text, &carried);
    let map = map.map_err(|wrong| first("map", &wrong))?;
    if map.epoch().digest != input.digest || map.epoch().number != input.epoch {
        return Err("its text is of another number or digest".to_owned());
    }
    Ok(map)
}

/// The first of what is wrong.
fn first(what: &str, wrong: &[atlas::Diagnostic]) -> String {
    let first = wrong.first().map_or("", |first| first.code);
    format!("{what}: {first}")
}

fn state<T: Ord>(all: &mut BTreeMap<T, Vec<u64>>, epoch: u64, facts: impl Iterator<Item = T>) {
    for fact in facts {
        let epochs = all.entry(fact).or_default();
        if epochs.last() != Some(&epoch) {
            epochs.push(epoch);
        }
    }
}

fn stated<T: Ord>(all: BTreeMap<T, Vec<u64>>) -> Vec<Stated<T>> {
    all.into_iter().map(|(fact, epochs)| Stated { fact, epochs }).collect()
}

fn map_facts(input: MapInput, read: Result<RegionMap, String>) -> MapFacts {
    let (map, unusable) = match read {
        Ok(map) => (Some(map), None),
        Err(why) => (None, Some(why)),
    };
    let map = map.as_ref();
    let before = map.map_or(&[][..], RegionMap::predecessors);
    MapFacts {
        epoch: input.epoch,
        digest: hex(&input.digest),
        name: map.map_or_else(String::new, |map| map.name().to_owned()),
        valid_until: map.and_then(RegionMap::valid_until),
        predecessors: before.iter().map(|digest| hex(digest)).collect(),
        signers: input.signers,
        unusable,
    }
}

fn site(region: &Region) -> SiteFacts {
    SiteFacts {
        region: region.name().to_string(),
        territory: region.territory().to_string(),
        site: region.site().clone(),
    }
}

fn statute(statute: &Statute) -> StatuteFacts {
    let pack = statute.pack();
    let mut settings = Vec::new();
    if pack.trigger() == atlas::Trigger::Citizen {
        settings.push(format!("unknown = {}", statute.unknown()));
        settings.push(format!("citizens_abroad = {}", statute.citizens_abroad()));
    }
    settings.push(format!("ingress = {}", statute.ingress()));
    if let Some(collections) = statute.collections() {
        let names: Vec<String> = collections.iter().map(ToString::to_string).collect();
        settings.push(format!("collections = {}", names.join(", ")));
    }
    let rules = pack.rules().iter().map(|rule| rule.verified);
    let grounds = pack.exemptions().iter().map(|ground| ground.verified);
    let mut marks = BTreeMap::new();
    for mark in rules.chain(grounds) {
        *marks.entry(mark).or_insert(0) += 1;
    }
    StatuteFacts {
        jurisdiction: pack.jurisdiction().to_string(),
        id: pack.id().to_string(),
        title: pack.title().to_owned(),
        citation: pack.citation().to_owned(),
        digest: hex(pack.digest()),
        from: pack.from(),
        until: pack.until(),
        constraint: statute.constraint().to_string(),
        readings: pack.readings().iter().map(ToString::to_string).collect(),
        settings,
        draft: pack.draft().map(str::to_owned),
        marks: marks.into_iter().collect(),
    }
}

fn collection(rules: &CollectionRules) -> CollectionFacts {
    CollectionFacts {
        name: rules.name().to_string(),
        category: rules.category().to_owned(),
        grounds: rules.grounds().map(str::to_owned),
        reads: rules.reads().as_str().to_owned(),
        exempt: rules.exempt().iter().map(ToString::to_string).collect(),
    }
}

fn clause(clause: &Clause) -> ClauseFacts {
    ClauseFacts {
        id: clause.id().to_string(),
        from: clause.from().to_string(),
        to: clause.to().to_string(),
        collections: clause
            .collections()
            .map(|names| names.iter().map(ToString::to_string).collect()),
        legal_basis: clause.legal_basis().to_owned(),
        importer: clause.importer().to_owned(),
        reference: clause.reference().to_owned(),
        notified: clause.notified(),
        not_before: clause.not_before(),
        expires: clause.expires(),
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('?'));
        }
        text
    })
}
