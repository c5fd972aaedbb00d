//! What a region map is made of.

use terms::{Collection, Reason, RegionId, Rejection, TenantId, limits};

use crate::attributes::AttributeName;
use crate::geo::country::Countries;
use crate::map::attributes::{AttributeRules, attributes};
use crate::map::endpoint::Endpoint;
use crate::map::exclusions::{Exclusions, countries, exclusions, folded};
use crate::map::lifetime::Lifetime;
use crate::map::names::{Names, digest};
use crate::map::vkey;
use crate::toml::{At, Section};
use crate::{Country, Date, Exempt, Sector, Territory, Transit};

/// A platform whose users these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    pub(super) name: TenantId,
    pub(crate) established: Countries,
    pub(super) sectors: Vec<Sector>,
    pub(super) locate: bool,
    pub(super) unique: Unique,
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

    /// Whether its callers may find a subject by its id alone.
    pub fn locate(&self) -> bool {
        self.locate
    }

    /// Whether an id may begin a subject in several regions.
    pub fn unique(&self) -> Unique {
        self.unique
    }
}

/// Whether the ids of a tenant's subjects are unique among regions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Unique {
    /// One id in two regions is two subjects.
    #[default]
    No,
    /// A creation asks the other regions first, as far as they can be reached.
    Reachable,
}

impl Unique {
    pub(super) const WORDS: &'static [&'static str] = &["no", "reachable"];

    /// Its word in maps.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Reachable => "reachable",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::No, Self::Reachable].into_iter().find(|unique| unique.as_str() == text)
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
    pub(super) exempt: Vec<Exempt>,
    pub(super) life_max: Option<Lifetime>,
    pub(super) feed: Option<Lifetime>,
    pub(super) listed: bool,
    pub(super) transit: Transit,
    /// By name.
    pub(super) attributes: Vec<AttributeRules>,
    pub(super) exclude: Exclusions,
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

    /// Lets a read in that states this purpose: where reads are logged, it must not be empty.
    ///
    /// # Errors
    /// `FIELD_MISSING`.
    pub fn admit_purpose(&self, purpose: &str) -> Result<(), Rejection> {
        if self.reads == Reads::Counted || !purpose.trim().is_empty() {
            return Ok(());
        }
        let fault = Rejection::new(Reason::FieldMissing).field("purpose");
        let fault = fault.problem("is empty, and the region map logs the reads of this collection");
        Err(fault.cure("say in a few words why it is read; name no person"))
    }

    /// The largest body of a record, in bytes; never above `terms::limits::BODY_BYTES_MAX`.
    pub fn body_bytes_max(&self) -> usize {
        self.body_bytes_max
    }

    /// The laws that do not attach to it, and on what grounds, as in the file.
    pub fn exempt(&self) -> &[Exempt] {
        &self.exempt
    }

    /// The longest life of a record after its last write or touch. None: it has no end.
    pub fn life_max(&self) -> Option<Lifetime> {
        self.life_max
    }

    /// How long the feed of its changes is kept. None: there is none.
    pub fn feed(&self) -> Option<Lifetime> {
        self.feed
    }

    /// How its bodies pass gateways. A law may want more ([`crate::RegionMap::admit_plain`]).
    pub fn transit(&self) -> Transit {
        self.transit
    }

    /// Whether all of its records in a region can be listed.
    pub fn listed(&self) -> bool {
        self.listed
    }

    /// The attributes that it declares, by name.
    pub fn attributes(&self) -> &[AttributeRules] {
        &self.attributes
    }

    /// The sites with which its records must not lie.
    pub fn exclude(&self) -> &Exclusions {
        &self.exclude
    }

    /// The attribute of that name.
    pub fn attribute(&self, name: &AttributeName) -> Option<&AttributeRules> {
        let place = self.attributes.binary_search_by(|own| own.name().cmp(name)).ok()?;
        self.attributes.get(place)
    }
}

/// Where a region stands, as its operators attest. Bailiwick cannot prove it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Site {
    /// The postal address of the machines.
    pub address: Option<String>,
    /// Who runs the data centre.
    pub operator: Option<String>,
    /// The countries from which that operator is controlled, by code, each once. Empty: not stated.
    pub controlled_from: Vec<Country>,
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
    pub(super) backup_endpoints: Vec<Endpoint>,
    pub(super) site: Site,
}

impl Region {
    /// How many authorities a region may have at once: the old and the new one of each kind, while
    /// they change.
    pub const AUTHORITIES_MAX: usize = 4;

    /// How many people may sign a region's annex.
    pub const ANNEX_SIGNERS_MAX: usize = 16;

    /// How many servers of backups a region may have.
    pub const BACKUP_ENDPOINTS_MAX: usize = 16;

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

    /// The servers of objects to which its shards may send backups, at most
    /// [`Region::BACKUP_ENDPOINTS_MAX`]. None: backups go to folders alone.
    pub fn backup_endpoints(&self) -> &[Endpoint] {
        &self.backup_endpoints
    }

    /// What is known of the site.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Whether data must not lie there by these exclusions. What the site does not state is taken for
    /// what they mean.
    pub(crate) fn is_excluded(&self, by: &Exclusions) -> bool {
        let Site { operator, controlled_from, .. } = &self.site;
        let named = |own: &String| by.folded().contains(&folded(own));
        let meant = |from: &Country| by.controlled_from().contains(from);
        let controlled = || controlled_from.is_empty() || controlled_from.iter().any(meant);
        by.regions().contains(&self.name)
            || (!by.operators().is_empty() && operator.as_ref().is_none_or(named))
            || (!by.controlled_from().is_empty() && controlled())
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

/// A region is the home of a territory, or of all that have no other.
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

    /// Whether people are placed there without a law that requires it.
    pub fn lead(&self) -> bool {
        self.lead
    }
}

// === reading ===

pub(super) fn tenant(section: &Section<'_>) -> Option<At<Tenant>> {
    let name = section.parse("name", |text| TenantId::parse(text).ok());
    let establishments = section.list("establishments", Country::parse);
    let established =
        establishments.iter().map(|country| country.it).fold(Countries::EMPTY, Countries::with);
    let sectors = section.distinct("sectors", "NAME_DUPLICATE", usize::MAX, Sector::parse);
    let locate = section.flag("locate").unwrap_or(false);
    let unique = section.parse("unique", Unique::parse).map(|unique| unique.it).unwrap_or_default();
    let name = name?;
    let tenant = Tenant { name: name.it, established, sectors, locate, unique };
    Some(At { at: name.at, it: tenant })
}

/// The largest body that a collection, or the map as a whole, allows.
pub(super) fn body_limit(section: &Section<'_>) -> Option<usize> {
    section.number("body_bytes_max").and_then(|number| usize::try_from(number.it).ok())
}

pub(super) fn collection(
    section: &Section<'_>,
    names: &mut Names,
    map_limit: Option<usize>,
) -> Option<At<CollectionRules>> {
    let name = section.parse("name", |text| Collection::parse(text).ok());
    let category = section.text("category");
    let reads = section.parse("reads", Reads::parse);
    let grounds = section.text("grounds").map(|text| text.it.to_owned());
    let body_bytes_max = body_limit(section).or(map_limit).unwrap_or(limits::BODY_BYTES_DEFAULT);
    let exempts = section.list("exempt", Exempt::parse);
    let exempt = exempts.iter().map(|exempt| exempt.it.clone()).collect();
    names.exempts.extend(exempts);
    let life_max = section.parse("life_max", Lifetime::parse).map(|life| life.it);
    let feed = section.parse("feed", Lifetime::parse).map(|feed| feed.it);
    let listed = section.flag("list").unwrap_or(false);
    let transit = section.parse("transit", Transit::parse).map_or(Transit::Any, |word| word.it);
    let attributes = attributes(section);
    let exclude = exclusions(section, names);
    let (name, category, reads) = (name?, category?.it.to_owned(), reads?.it);
    let rules = CollectionRules {
        name: name.it,
        category,
        grounds,
        reads,
        body_bytes_max,
        exempt,
        life_max,
        feed,
        listed,
        transit,
        attributes,
        exclude,
    };
    Some(At { at: name.at, it: rules })
}

pub(super) fn region(section: &Section<'_>) -> Option<At<Region>> {
    let name = section.parse("name", |text| RegionId::parse(text).ok());
    let territory = section.parse("territory", Country::parse);
    let authorities =
        section.distinct("authorities", "AUTHORITY_DUPLICATE", Region::AUTHORITIES_MAX, digest);
    let most = Region::ANNEX_SIGNERS_MAX;
    let annex_signers =
        section.distinct("annex_signers", "ANNEX_SIGNER_DUPLICATE", most, vkey::parse);
    let most = Region::BACKUP_ENDPOINTS_MAX;
    let backup_endpoints =
        section.distinct("backup_endpoints", "BACKUP_ENDPOINT_DUPLICATE", most, Endpoint::parse);
    let site = section.section("site").map(|site| {
        let text = |key| site.text(key).map(|text| text.it.to_owned());
        Site {
            address: text("address"),
            operator: text("operator"),
            controlled_from: countries(&site, "controlled_from"),
            contract: text("contract"),
            register: text("register"),
            attestation: text("attestation"),
            attestation_expires: site.date("attestation_expires").map(|date| date.it),
        }
    });
    let (name, territory) = (name?, territory?.it);
    let site = site.unwrap_or_default();
    let name_at = name.at;
    let name = name.it;
    let region = Region { name, territory, authorities, annex_signers, backup_endpoints, site };
    Some(At { at: name_at, it: region })
}

pub(super) fn home(section: &Section<'_>, names: &mut Names) -> Option<At<Home>> {
    let home_for = section.parse("for", HomeFor::parse);
    let region = section.parse("region", |text| RegionId::parse(text).ok());
    let lead = section.flag("lead").unwrap_or(true);
    names.regions.extend(region.clone());
    let (home_for, region) = (home_for?, region?.it);
    Some(home_for.with(Home { home_for: home_for.it, region, place: 0, lead }))
}
