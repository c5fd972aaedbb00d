//! What a region map is made of.

use std::fmt;

use terms::{Collection, RegionId, TenantId};

use crate::geo::country::Countries;
use crate::{Country, Date, ExemptionId, Sector, StatuteId, Territory};

/// A platform whose users these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    pub(super) name: TenantId,
    pub(crate) established: Countries,
    pub(super) sectors: Vec<Sector>,
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

    /// The sectors in which it works, as in the file.
    pub fn sectors(&self) -> &[Sector] {
        &self.sectors
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

/// That a law does not attach to a collection, and on what ground of that law.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exempt {
    /// The law.
    pub statute: StatuteId,
    /// The ground, one of the law's own.
    pub exemption: ExemptionId,
}

impl Exempt {
    /// Reads `<pack id>/<exemption id>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (statute, exemption) = text.split_once('/')?;
        let (statute, exemption) = (StatuteId::parse(statute)?, ExemptionId::parse(exemption)?);
        Some(Self { statute, exemption })
    }
}

impl fmt::Display for Exempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.statute, self.exemption)
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
    pub(super) exempt: Vec<Exempt>,
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

    /// The laws that do not attach to it, and on what grounds, as in the file.
    pub fn exempt(&self) -> &[Exempt] {
        &self.exempt
    }
}

/// Where a region stands, as its operators attest. Bailiwick cannot prove it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Site {
    /// The postal address of the machines.
    pub address: Option<String>,
    /// Who runs the data centre.
    pub operator: Option<String>,
    /// The contract that shows it.
    pub contract: Option<String>,
    /// The entry in a public register that shows it.
    pub register: Option<String>,
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
    pub(super) annex_signers: Vec<String>,
    pub(super) site: Site,
}

impl Region {
    /// How many authorities a region may have at once: the old and the new one of each kind, while
    /// they change.
    pub const AUTHORITIES_MAX: usize = 4;

    /// How many people may sign a region's annex.
    pub const ANNEX_SIGNERS_MAX: usize = 16;

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

    /// The keys of the region's operators, any of whom signs its annex: verifier keys of C2SP
    /// `signed-note`, each as its one text, at most [`Region::ANNEX_SIGNERS_MAX`]. None: its annex
    /// is taken unsigned.
    pub fn annex_signers(&self) -> &[String] {
        &self.annex_signers
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
