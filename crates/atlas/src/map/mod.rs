//! The region map: which regions there are, whose home each is, which laws are in force, and
//! which transfers have a legal basis.

mod check;
mod parse;

pub(crate) use parse::NAME;

use std::collections::BTreeMap;
use std::fmt;

use terms::{Collection, RegionId, TenantId};

use crate::country::Countries;
use crate::statute::id;
use crate::{
    CitizensAbroad, Constraint, Country, Date, Diagnostic, Jurisdiction, StatuteId, StatutePack,
    Territory, UnknownCitizenship,
};

id! {
    /// The name of a transfer clause.
    ClauseId
}

/// Which map it is: its number, and the digest of its file.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch {
    /// The version number, as the map gives it.
    pub number: u64,
    /// SHA-256 of the map's file, byte for byte.
    pub digest: [u8; 32],
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({}, {})", self.number, digest_text(&self.digest))
    }
}

/// A digest as maps write it: `sha256:` and 64 hexadecimal digits.
pub(crate) fn digest_text(digest: &[u8; 32]) -> String {
    let mut text = String::from("sha256:");
    for byte in digest {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('?'));
        }
    }
    text
}

/// A platform whose users these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    name: TenantId,
    pub(crate) established: Countries,
}

impl Tenant {
    /// Its name.
    pub fn name(&self) -> &TenantId {
        &self.name
    }

    /// The countries in which it is established, by code.
    pub fn establishments(&self) -> impl Iterator<Item = Country> {
        self.established.iter()
    }
}

impl fmt::Debug for Countries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// How reads of a collection are noted. There is no way of not noting them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reads {
    /// An entry for each, durable before the body is answered.
    Logged,
    /// An entry with a count per caller and minute.
    Counted,
}

impl Reads {
    /// Its word in maps.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logged => "logged",
            Self::Counted => "counted",
        }
    }

    /// What that word stands for.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Logged, Self::Counted].into_iter().find(|reads| reads.as_str() == text)
    }
}

/// What the map says of one collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionRules {
    name: Collection,
    category: String,
    grounds: Option<String>,
    reads: Reads,
    body_bytes_max: usize,
}

impl CollectionRules {
    /// Its name.
    pub fn name(&self) -> &Collection {
        &self.name
    }

    /// What kind of data it holds, in the operator's words.
    pub fn category(&self) -> &str {
        &self.category
    }

    /// On what grounds it is processed, in the operator's words.
    pub fn grounds(&self) -> Option<&str> {
        self.grounds.as_deref()
    }

    /// How reads of it are noted.
    pub fn reads(&self) -> Reads {
        self.reads
    }

    /// The largest body of a record, in bytes; never above `terms::limits::BODY_BYTES_MAX`.
    pub fn body_bytes_max(&self) -> usize {
        self.body_bytes_max
    }
}

/// Where a region stands, as its operators attest. Bailiwick cannot prove it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Site {
    /// The postal address of the machines.
    pub address: Option<String>,
    /// Who runs the data centre.
    pub operator: Option<String>,
    /// The contract or register entry that shows it.
    pub contract: Option<String>,
    /// What attests the location.
    pub attestation: Option<String>,
    /// The last day on which that attestation holds.
    pub attestation_expires: Option<Date>,
}

/// A site in one country.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    name: RegionId,
    territory: Country,
    site: Site,
}

impl Region {
    /// Its name.
    pub fn name(&self) -> &RegionId {
        &self.name
    }

    /// The country in which it stands.
    pub fn territory(&self) -> Country {
        self.territory
    }

    /// What is known of the site.
    pub fn site(&self) -> &Site {
        &self.site
    }
}

/// Whose home a region is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HomeFor {
    /// Of one territory.
    Territory(Territory),
    /// `*`: of every country that has no other.
    Any,
}

impl HomeFor {
    /// Its text in maps.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Territory(territory) => territory.as_str(),
            Self::Any => "*",
        }
    }

    /// Reads a territory or `*`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" { Some(Self::Any) } else { Territory::parse(text).map(Self::Territory) }
    }
}

/// That a region is the home of a territory, or of all that have no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    home_for: HomeFor,
    region: RegionId,
    place: usize,
    lead: bool,
}

impl Home {
    /// Whose home.
    pub fn home_for(&self) -> HomeFor {
        self.home_for
    }

    /// In which region.
    pub fn region(&self) -> &RegionId {
        &self.region
    }

    /// Whether it takes people whom no law puts there.
    pub fn lead(&self) -> bool {
        self.lead
    }
}

/// A statute pack in force, with the map's settings for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statute {
    pack: &'static StatutePack,
    unknown: UnknownCitizenship,
    citizens_abroad: CitizensAbroad,
    collections: Option<Vec<Collection>>,
}

impl Statute {
    /// The law.
    pub fn pack(&self) -> &'static StatutePack {
        self.pack
    }

    /// Its id.
    pub fn id(&self) -> &'static StatuteId {
        self.pack.id()
    }

    /// Whose law it is.
    pub fn jurisdiction(&self) -> Jurisdiction {
        self.pack.jurisdiction()
    }

    /// What it demands.
    pub fn constraint(&self) -> Constraint {
        self.pack.constraint()
    }

    /// When it attaches to those of unknown citizenship; of no effect unless its trigger is
    /// citizenship.
    pub fn unknown(&self) -> UnknownCitizenship {
        self.unknown
    }

    /// What happens to citizens who live elsewhere; of no effect unless its trigger is citizenship.
    pub fn citizens_abroad(&self) -> CitizensAbroad {
        self.citizens_abroad
    }

    /// The collections to which it applies. None: all of them.
    pub fn collections(&self) -> Option<&[Collection]> {
        self.collections.as_deref()
    }

    /// Whether it applies to that collection.
    pub fn covers(&self, collection: &Collection) -> bool {
        self.collections.as_ref().is_none_or(|all| all.contains(collection))
    }
}

/// A transfer clause: that records of a jurisdiction may go to a territory, and on what basis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    id: ClauseId,
    from: Jurisdiction,
    to: Territory,
    collections: Option<Vec<Collection>>,
    legal_basis: String,
    importer: String,
    reference: String,
    not_before: Date,
    expires: Date,
}

impl Clause {
    /// Its name.
    pub fn id(&self) -> &ClauseId {
        &self.id
    }

    /// The jurisdiction whose law it satisfies: exactly that one.
    pub fn from(&self) -> Jurisdiction {
        self.from
    }

    /// Where records may go: to regions in this territory.
    pub fn to(&self) -> Territory {
        self.to
    }

    /// The collections that it is for. None: all of them.
    pub fn collections(&self) -> Option<&[Collection]> {
        self.collections.as_deref()
    }

    /// The legal basis, in the operator's words.
    pub fn legal_basis(&self) -> &str {
        &self.legal_basis
    }

    /// Who receives the records.
    pub fn importer(&self) -> &str {
        &self.importer
    }

    /// The number of the contract, notification or decision, with its date.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The first day on which it holds.
    pub fn not_before(&self) -> Date {
        self.not_before
    }

    /// The first day on which it no longer holds.
    pub fn expires(&self) -> Date {
        self.expires
    }

    /// Whether it is for that collection.
    pub fn covers(&self, collection: &Collection) -> bool {
        self.collections.as_ref().is_none_or(|all| all.contains(collection))
    }

    /// Whether it holds on that day: from `not_before` on, and before `expires`.
    pub fn in_force(&self, date: Date) -> bool {
        self.not_before <= date && date < self.expires
    }
}

/// The region map: read once, checked as a whole, never changed. A change is another map.
#[derive(Debug, Clone)]
pub struct RegionMap {
    epoch: Epoch,
    name: String,
    deployment: String,
    predecessor: Option<[u8; 32]>,
    valid_until: Option<Date>,
    tenants: BTreeMap<TenantId, Tenant>,
    collections: BTreeMap<Collection, CollectionRules>,
    regions: Vec<Region>,
    homes: Vec<Home>,
    statutes: Vec<Statute>,
    clauses: Vec<Clause>,
    /// For each country by its index, the place in `homes` of the home that may lead for it.
    leads: Vec<Option<usize>>,
    /// The places in `clauses` by the jurisdiction from which they lead and the collection.
    clauses_from: BTreeMap<Jurisdiction, BTreeMap<Collection, Vec<usize>>>,
}

impl RegionMap {
    /// Reads and checks a map.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the file.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        parse::map(text)
    }

    /// Which map this is.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the deployment, with which the origins of its placement logs begin.
    pub fn deployment(&self) -> &str {
        &self.deployment
    }

    /// The digest of the map that it replaces.
    pub fn predecessor(&self) -> Option<&[u8; 32]> {
        self.predecessor.as_ref()
    }

    /// The last day on which its transfer clauses may be relied on.
    pub fn valid_until(&self) -> Option<Date> {
        self.valid_until
    }

    /// Whether its transfer clauses may no longer be relied on. Placements that need none go on.
    pub fn expired(&self, date: Date) -> bool {
        self.valid_until.is_some_and(|until| until < date)
    }

    /// The tenants, by name.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.tenants.values()
    }

    /// The tenant of that name.
    pub fn tenant(&self, name: &TenantId) -> Option<&Tenant> {
        self.tenants.get(name)
    }

    /// The collections, by name.
    pub fn collections(&self) -> impl Iterator<Item = &CollectionRules> {
        self.collections.values()
    }

    /// What the map says of that collection.
    pub fn collection(&self, name: &Collection) -> Option<&CollectionRules> {
        self.collections.get(name)
    }

    /// The regions, by name.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The region of that name.
    pub fn region(&self, name: &RegionId) -> Option<&Region> {
        let place = self.regions.binary_search_by(|region| region.name.cmp(name)).ok()?;
        self.regions.get(place)
    }

    /// The homes, by code, the one of `*` last.
    pub fn homes(&self) -> &[Home] {
        &self.homes
    }

    /// The home that the map names for exactly that territory, or for exactly `*`.
    pub fn home(&self, home_for: HomeFor) -> Option<&Home> {
        let place = self.homes.binary_search_by(|home| home.home_for.cmp(&home_for)).ok()?;
        self.homes.get(place)
    }

    /// The statutes, by jurisdiction and id.
    pub fn statutes(&self) -> &[Statute] {
        &self.statutes
    }

    /// The statute of that id.
    pub fn statute(&self, id: &StatuteId) -> Option<&Statute> {
        self.statutes.iter().find(|statute| statute.id() == id)
    }

    /// The transfer clauses, by id.
    pub fn clauses(&self) -> &[Clause] {
        &self.clauses
    }

    /// The clause of that id.
    pub fn clause(&self, id: &ClauseId) -> Option<&Clause> {
        let place = self.clauses.binary_search_by(|clause| clause.id.cmp(id)).ok()?;
        self.clauses.get(place)
    }

    /// The region of a home.
    pub(crate) fn region_of(&self, home: &Home) -> &Region {
        self.regions.get(home.place).expect("a home names a region of its map")
    }

    /// The home that takes people of that country whom no law puts anywhere, if it may lead.
    pub(crate) fn lead(&self, country: Country) -> Option<&Home> {
        let place = self.leads.get(country.index()).copied().flatten()?;
        self.homes.get(place)
    }

    /// The clause, first by id, under which records of `from` may lie in a region of `to`.
    pub(crate) fn cover(
        &self,
        from: Jurisdiction,
        to: Country,
        collection: &Collection,
        date: Date,
    ) -> Option<&Clause> {
        let places = self.clauses_from.get(&from)?.get(collection)?;
        let mut clauses = places.iter().filter_map(|place| self.clauses.get(*place));
        clauses.find(|clause| clause.to.contains(to) && clause.in_force(date))
    }
}
