//! The region map: which regions there are, whose home each is, which laws are in force, and
//! which transfers have a legal basis.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use terms::{Collection, Reason, RegionId, Rejection, TenantId};

use crate::map::disputed::Areas;
use crate::map::names::digest_text;
use crate::map::{
    Clause, ClauseId, CollectionRules, Disputed, Home, HomeFor, Region, Statute, Tenant,
};
use crate::{Country, Date, Jurisdiction, StatuteId, Transit};

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

/// The text of a map. `Debug` of a map leaves it out.
#[derive(Clone)]
pub(super) struct Source(pub(super) Arc<str>);

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source(…)")
    }
}

/// The region map: read once, checked as a whole, never changed. A change is another map.
#[derive(Debug, Clone)]
pub struct RegionMap {
    pub(super) epoch: Epoch,
    pub(super) text: Source,
    pub(super) name: String,
    pub(super) deployment: String,
    pub(super) trust_domain: String,
    pub(super) predecessors: Vec<[u8; 32]>,
    pub(super) valid_until: Option<Date>,
    pub(super) tenants: BTreeMap<TenantId, Tenant>,
    pub(super) collections: BTreeMap<Collection, CollectionRules>,
    pub(super) regions: Vec<Region>,
    pub(super) homes: Vec<Home>,
    pub(super) statutes: Vec<Statute>,
    pub(super) clauses: Vec<Clause>,
    pub(super) disputed: Areas,
    /// For each country by its index, the place in `homes` of the home that may lead for it.
    pub(super) leads: Vec<Option<usize>>,
    pub(super) clauses_from: BTreeMap<Jurisdiction, ClausesFrom>,
}

/// The places in `clauses` of those that lead from one jurisdiction.
#[derive(Debug, Clone, Default)]
pub(super) struct ClausesFrom {
    /// Those for all collections.
    pub(super) of_all: Vec<usize>,
    /// Those that list their collections.
    pub(super) of: BTreeMap<Collection, Vec<usize>>,
}

impl RegionMap {
    /// How many maps one can replace at once: one, or the heads of a fork that it heals.
    pub const PREDECESSORS_MAX: usize = 8;

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

    /// Lets in a call that brings or answers bodies of that collection as they are: refused where the
    /// collection or a law that covers it wants them sealed. `field` is what the call would have to change.
    ///
    /// # Errors
    /// `TRANSIT_NOT_SEALED`.
    pub fn admit_plain(
        &self,
        collection: &Collection,
        field: &'static str,
    ) -> Result<(), Rejection> {
        let own = self.collection(collection).map_or(Transit::Any, CollectionRules::transit);
        let mut laws = self.statutes.iter().filter(|law| law.transit() == Transit::Sealed);
        if own == Transit::Any && !laws.any(|law| law.covers(collection)) {
            return Ok(());
        }
        let fault = Rejection::new(Reason::TransitNotSealed).field(field);
        Err(fault
            .problem("is not sealed, and the region map wants bodies of this collection sealed"))
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

    /// Whether records of a collection must not lie in a region, by what the collection excludes.
    pub fn excludes(&self, collection: &Collection, region: &RegionId) -> bool {
        let (rules, region) = (self.collection(collection), self.region(region));
        rules.zip(region).is_some_and(|(rules, region)| region.is_excluded(rules.exclude()))
    }

    /// Whether a clause leads to no site of a region, by what the clause excludes.
    pub fn clause_excludes(&self, clause: &Clause, region: &RegionId) -> bool {
        self.region(region).is_some_and(|region| region.is_excluded(&clause.exclude))
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
    /// that was parsed, written as E.164: a text may hold digits that are not part of it.
    pub fn disputed_number(&self, e164: &str) -> Option<&Disputed> {
        self.disputed.number(e164)
    }

    /// Whether subjects may move from one region to another: the map has both, and some home leads
    /// people to the other.
    pub fn may_move(&self, from: &RegionId, to: &RegionId) -> bool {
        let leads = |home: &Home| self.region_of(home).name() == to;
        from != to && self.region(from).is_some() && self.homes.iter().any(leads)
    }

    /// The region of a home.
    pub(crate) fn region_of(&self, home: &Home) -> &Region {
        self.regions.get(home.place).expect("a home names a region of its map")
    }

    /// The home for people of that country to whom no law gives a place, if it may lead.
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

    /// The clause, first by id, under which records of `from` may lie in that region: one that does not
    /// exclude it.
    pub(crate) fn cover_at(
        &self,
        from: Jurisdiction,
        region: &Region,
        collection: &Collection,
        date: Date,
    ) -> Option<&Clause> {
        let mut clauses = self.clauses_of(from, collection);
        clauses.find(|clause| {
            clause.to.contains(region.territory)
                && clause.in_force(date)
                && !region.is_excluded(&clause.exclude)
        })
    }

    /// The clause, first by id, under which records of `from` may be read in `to`, and lie at some site
    /// there.
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

impl ClausesFrom {
    /// The places of the clauses for a collection, in the order of their ids.
    pub(super) fn places(&self, collection: &Collection) -> impl Iterator<Item = usize> {
        let listed = self.of.get(collection).map(Vec::as_slice).unwrap_or_default();
        let (mut one, mut other) = (listed.iter().peekable(), self.of_all.iter().peekable());
        std::iter::from_fn(move || match (one.peek(), other.peek()) {
            (Some(a), Some(b)) if a < b => one.next(),
            (Some(_), None) => one.next(),
            (_, _) => other.next(),
        })
        .copied()
    }
}
