//! What a region map is made of.

use terms::{Collection, RegionId, TenantId};

use super::ClauseId;
use crate::country::Countries;
use crate::{
    CitizensAbroad, Constraint, Country, Date, Ingress, Jurisdiction, StatuteId, StatutePack,
    Territory, UnknownCitizenship,
};

/// A platform whose users these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    pub(super) name: TenantId,
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
    pub(super) name: Collection,
    pub(super) category: String,
    pub(super) grounds: Option<String>,
    pub(super) reads: Reads,
    pub(super) body_bytes_max: usize,
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
    pub(super) name: RegionId,
    pub(super) territory: Country,
    pub(super) authorities: Vec<[u8; 32]>,
    pub(super) site: Site,
}

impl Region {
    /// How many authorities a region may have at once: the old and the new one of each kind, while
    /// they change.
    pub const AUTHORITIES_MAX: usize = 4;

    /// Its name.
    pub fn name(&self) -> &RegionId {
        &self.name
    }

    /// The country in which it stands.
    pub fn territory(&self) -> Country {
        self.territory
    }

    /// The SHA-256 digests of the certificates (DER) of the authorities that may issue for this
    /// region's processes: at most [`Region::AUTHORITIES_MAX`], one or none unless the authority
    /// is being changed. None: processes of this region are met on loopback only.
    pub fn authorities(&self) -> &[[u8; 32]] {
        &self.authorities
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
    pub(super) home_for: HomeFor,
    pub(super) region: RegionId,
    pub(super) place: usize,
    pub(super) lead: bool,
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
    pub(super) pack: &'static StatutePack,
    pub(super) unknown: UnknownCitizenship,
    pub(super) citizens_abroad: CitizensAbroad,
    pub(super) ingress: Ingress,
    pub(super) collections: Option<Vec<Collection>>,
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

    /// Through which gateways records may come in to which it attaches.
    pub fn ingress(&self) -> Ingress {
        self.ingress
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
    pub(super) id: ClauseId,
    pub(super) from: Jurisdiction,
    pub(super) to: Territory,
    pub(super) collections: Option<Vec<Collection>>,
    pub(super) legal_basis: String,
    pub(super) importer: String,
    pub(super) reference: String,
    pub(super) not_before: Date,
    pub(super) expires: Date,
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
