//! The region map: which regions there are, whose home each is, which laws are in force, and
//! which transfers have a legal basis.

pub(crate) mod annex;
mod check;
mod clause;
pub(crate) mod diff;
mod disputed;
mod endings;
mod index;
mod law;
mod parts;
pub(crate) mod reader;
pub(crate) mod renumber;
mod statute;
mod vkey;

pub(crate) use crate::map::diff::changes;
pub use clause::Clause;
pub use disputed::{Disputed, client_address};
pub use endings::{MapEnding, MapPart};
pub(crate) use index::Places;
pub(crate) use law::Packs;
pub use parts::{CollectionRules, Exempt, Home, HomeFor, Reads, Region, Site, Tenant};
pub use statute::{Review, Statute};

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use terms::{Collection, RegionId, TenantId};

use crate::law::vocabulary::id;
use crate::toml::file::File;
use crate::{Country, Date, Diagnostic, Jurisdiction, StatuteId, StatutePack, packs};

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

/// The text of a map. Whoever prints a map does not want it twice.
#[derive(Clone)]
struct Source(Arc<str>);

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source(…)")
    }
}

/// The region map: read once, checked as a whole, never changed. A change is another map.
#[derive(Debug, Clone)]
pub struct RegionMap {
    epoch: Epoch,
    text: Source,
    name: String,
    deployment: String,
    trust_domain: String,
    predecessors: Vec<[u8; 32]>,
    valid_until: Option<Date>,
    tenants: BTreeMap<TenantId, Tenant>,
    collections: BTreeMap<Collection, CollectionRules>,
    regions: Vec<Region>,
    homes: Vec<Home>,
    statutes: Vec<Statute>,
    clauses: Vec<Clause>,
    disputed: disputed::Areas,
    /// For each country by its index, the place in `homes` of the home that may lead for it.
    leads: Vec<Option<usize>>,
    clauses_from: BTreeMap<Jurisdiction, ClausesFrom>,
}

/// The places in `clauses` of those that lead from one jurisdiction.
#[derive(Debug, Clone, Default)]
struct ClausesFrom {
    /// Those for all collections.
    of_all: Vec<usize>,
    /// Those that list their collections.
    of: BTreeMap<Collection, Vec<usize>>,
}

impl RegionMap {
    /// How many maps one can replace at once: one, or the heads of a fork that it heals.
    pub const PREDECESSORS_MAX: usize = 8;

    /// Reads and checks a map.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the file.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        Self::parse_with(text, packs())
    }

    /// Reads and checks a map whose statutes are among these packs.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the file.
    pub fn parse_with(text: &str, packs: &'static [StatutePack]) -> Result<Self, Vec<Diagnostic>> {
        reader::map(text, &Packs::new(packs))
    }

    /// Reads and checks a map that came with these packs: its statutes are among them and those
    /// that this program has. Where two have the same id, the digest that the map states decides,
    /// so that a map goes on working with a program that has a newer text of a law.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the file.
    pub fn parse_carrying(
        text: &str,
        carried: &[&'static StatutePack],
    ) -> Result<Self, Vec<Diagnostic>> {
        reader::map(text, &Packs::new(packs().iter().chain(carried.iter().copied())))
    }

    /// Reads a map, leaves what is found in the file, and says where each part stood.
    pub(crate) fn placed(file: &File<'_>, text: &str, packs: &Packs) -> Option<(Self, Places)> {
        reader::placed(file, text, packs)
    }

    /// Which map this is.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Its text, byte for byte as it was read.
    pub fn text(&self) -> &str {
        &self.text.0
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the deployment, with which the origins of its placement logs begin.
    pub fn deployment(&self) -> &str {
        &self.deployment
    }

    /// The SPIFFE trust domain of the deployment's processes, with which the names in their
    /// certificates begin. A map that names none takes the deployment's name.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The digests of the maps that it replaces, as in the file: one, or the heads of a fork that
    /// it heals. None: it is the first of its deployment.
    pub fn predecessors(&self) -> &[[u8; 32]] {
        &self.predecessors
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

    /// The tenant of that name; without a name the map's only one.
    ///
    /// # Errors
    /// Why there is none, with the tenants that there are.
    pub fn tenant_or_only(&self, name: Option<&TenantId>) -> Result<&Tenant, String> {
        let mut all = self.tenants();
        let problem = match (name, all.next(), all.next()) {
            (Some(name), ..) => match self.tenant(name) {
                Some(tenant) => return Ok(tenant),
                None => format!("has no tenant `{name}`"),
            },
            (None, Some(only), None) => return Ok(only),
            (None, ..) => "does not have one tenant alone".to_owned(),
        };
        let all: Vec<&str> = self.tenants().map(|tenant| tenant.name().as_str()).collect();
        Err(format!("the map {problem}; its tenants are: {}", all.join(", ")))
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

    /// The disputed areas, as in the file.
    pub fn disputed(&self) -> &[Disputed] {
        &self.disputed.all
    }

    /// The disputed area in which an address lies, by its longest prefix.
    pub fn disputed_address(&self, address: IpAddr) -> Option<&Disputed> {
        self.disputed.address(address)
    }

    /// The disputed area to which a number belongs, by its longest prefix. The number is the one
    /// that was parsed, written as E.164: a text may hold digits that nobody dials.
    pub fn disputed_number(&self, e164: &str) -> Option<&Disputed> {
        self.disputed.number(e164)
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

    /// Whether the map has any clause from there to there for that collection, whatever its days:
    /// then records of `from` may lie there, from a time when it was in force.
    pub(crate) fn ever_covers(
        &self,
        from: Jurisdiction,
        to: Country,
        collection: &Collection,
    ) -> bool {
        self.clauses_of(from, collection).any(|clause| clause.to.contains(to))
    }

    /// The clause, first by id, under which records of `from` may lie in a region of `to`.
    pub(crate) fn cover(
        &self,
        from: Jurisdiction,
        to: Country,
        collection: &Collection,
        date: Date,
    ) -> Option<&Clause> {
        let mut clauses = self.clauses_of(from, collection);
        clauses.find(|clause| clause.to.contains(to) && clause.in_force(date))
    }

    /// The clauses from a jurisdiction for a collection, by id.
    fn clauses_of(
        &self,
        from: Jurisdiction,
        collection: &Collection,
    ) -> impl Iterator<Item = &Clause> {
        let from = self.clauses_from.get(&from);
        let places = from.into_iter().flat_map(|from| from.places(collection));
        places.filter_map(|place| self.clauses.get(place))
    }
}
