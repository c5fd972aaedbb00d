//! From TOML to a map.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use terms::{Collection, RegionId, TenantId, limits};

use crate::geo::country::Countries;
use crate::law::pack::{NAME, names};
use crate::limits::MAP_BYTES_MAX;
use crate::map::index::Places;
use crate::map::law::Packs;
use crate::map::{
    Clause, CollectionRules, Disputed, Epoch, Exempt, Home, HomeFor, Reads, Region, RegionMap,
    Site, Statute, Tenant, check, clause, disputed, index, law, statute, vkey,
};
use crate::toml::file::MAP_TOO_LARGE;
use crate::toml::reader::{At, File, Section};
use crate::toml::schema::MAP;
use crate::{Country, Diagnostic, Sector};

/// What a ground is, in messages.
const EXEMPT: &str = "the name of a statute and of one of its exemptions, such as ru-152fz/6-1-3";
/// What a trust domain is, in messages.
const TRUST_DOMAIN: &str = "a trust domain of a-z, 0-9, '.', '-' and '_', at most 255 bytes";
/// Bytes of a trust domain, by the SPIFFE specification.
const DOMAIN_BYTES_MAX: usize = 255;

/// What was read, each with where it stood. What could not be read is missing from it.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) tenants: Vec<At<Tenant>>,
    pub(super) collections: Vec<At<CollectionRules>>,
    pub(super) regions: Vec<At<Region>>,
    pub(super) homes: Vec<At<Home>>,
    pub(super) statutes: Vec<At<Statute>>,
    pub(super) clauses: Vec<At<Clause>>,
    pub(super) disputed: Vec<At<Disputed>>,
    /// The names of all regions and collections, also of those that could not be read.
    pub(super) known_regions: BTreeSet<String>,
    pub(super) known_collections: BTreeSet<String>,
    /// Every text that names a region or a collection.
    pub(super) region_names: Vec<At<RegionId>>,
    pub(super) collection_names: Vec<At<Collection>>,
    /// Every ground on which a law does not attach to a collection.
    pub(super) exempts: Vec<At<Exempt>>,
}

/// Reads and checks a map.
pub(super) fn map(text: &str, packs: &Packs) -> Result<RegionMap, Vec<Diagnostic>> {
    let file = File::new(text);
    let map = placed(&file, text, packs);
    match (map, file.into_findings()) {
        (Some((map, _)), wrong) if wrong.is_empty() => Ok(map),
        (_, wrong) => Err(wrong),
    }
}

/// The same, with where each of its parts stood. Its findings are left in the file.
pub(super) fn placed(file: &File<'_>, text: &str, packs: &Packs) -> Option<(RegionMap, Places)> {
    let document = file.document((MAP_TOO_LARGE, MAP_BYTES_MAX))?;
    read(file, &Section::root(file, &document, &MAP), text, packs)
}

fn read(
    file: &File<'_>,
    root: &Section<'_>,
    text: &str,
    packs: &Packs,
) -> Option<(RegionMap, Places)> {
    let name = root.needed_text("name");
    let deployment = root.needed("deployment", "NAME_INVALID", NAME, |text| {
        RegionId::parse(text).ok().map(|name| name.as_str().to_owned())
    });
    let trust_domain = root
        .text("trust_domain")
        .and_then(|text| file.parsed(text, "NAME_INVALID", TRUST_DOMAIN, domain));
    let number = root.needed_number("version");
    let predecessors = predecessors(file, root);
    let valid_until = root.date("valid_until");
    let mut draft = draft(file, root, packs);
    check::draft(file, &draft);
    let places = index::sorted(&mut draft, valid_until.map(|date| date.at));
    let epoch = Epoch { number: number?.it, digest: Sha256::digest(text).into() };
    let deployment = deployment?.it;
    let mut map = RegionMap {
        epoch,
        text: crate::map::Source(text.into()),
        name: name?.it.to_owned(),
        trust_domain: trust_domain.map_or_else(|| deployment.clone(), |domain| domain.it),
        deployment,
        predecessors,
        valid_until: valid_until.map(|date| date.it),
        tenants: draft.tenants.into_iter().map(|t| (t.it.name.clone(), t.it)).collect(),
        collections: draft.collections.into_iter().map(|c| (c.it.name.clone(), c.it)).collect(),
        regions: draft.regions.into_iter().map(|region| region.it).collect(),
        homes: draft.homes.into_iter().map(|home| home.it).collect(),
        statutes: draft.statutes.into_iter().map(|statute| statute.it).collect(),
        clauses: draft.clauses.into_iter().map(|clause| clause.it).collect(),
        disputed: disputed::Areas::new(file, draft.disputed),
        leads: Vec::new(),
        clauses_from: BTreeMap::new(),
    };
    index::make(&mut map);
    Some((map, places))
}

fn draft(file: &File<'_>, root: &Section<'_>, packs: &Packs) -> Draft {
    let limits = root.section("limits");
    let body_bytes_max = limits.and_then(|limits| body_limit(file, &limits));
    let body_bytes_max = body_bytes_max.unwrap_or(limits::BODY_BYTES_DEFAULT);
    let mut names = Names::default();
    let tenants = root.sections("tenants");
    let collections = root.sections("collections");
    let regions = root.sections("regions");
    for (key, none) in [
        ("tenants", tenants.is_empty()),
        ("collections", collections.is_empty()),
        ("regions", regions.is_empty()),
    ] {
        if none {
            let problem = format!("the map has no {key}");
            file.wrong(0, "KEY_MISSING", problem, format!("add at least one under [[{key}]]"));
        }
    }
    let homes = root.sections("homes");
    let statutes = root.sections("statutes");
    let clauses = root.sections("clauses");
    let disputed = root.sections("disputed");
    let known = |sections: &[Section<'_>]| {
        let names = sections.iter().filter_map(|section| section.text("name"));
        names.map(|name| name.it.to_owned()).collect()
    };
    Draft {
        known_regions: known(&regions),
        known_collections: known(&collections),
        tenants: tenants.iter().filter_map(|s| tenant(file, s)).collect(),
        collections: collections
            .iter()
            .filter_map(|s| collection(file, s, &mut names, body_bytes_max))
            .collect(),
        regions: regions.iter().filter_map(|s| region(file, s)).collect(),
        homes: homes.iter().filter_map(|s| home(s, &mut names)).collect(),
        statutes: statutes
            .iter()
            .filter_map(|s| statute::read(file, s, &mut names, packs))
            .collect(),
        clauses: clauses.iter().filter_map(|s| clause::read(file, s, &mut names)).collect(),
        disputed: disputed.iter().filter_map(|s| disputed::read(file, s)).collect(),
        region_names: names.regions,
        collection_names: names.collections,
        exempts: names.exempts,
    }
}

/// Names that must be of something the map has.
#[derive(Debug, Default)]
pub(super) struct Names {
    regions: Vec<At<RegionId>>,
    pub(super) collections: Vec<At<Collection>>,
    exempts: Vec<At<Exempt>>,
}

/// The digests of the maps that it replaces: several where it heals a fork.
fn predecessors(file: &File<'_>, root: &Section<'_>) -> Vec<[u8; 32]> {
    let mut digests = Vec::new();
    for text in root.texts("predecessor").unwrap_or_default() {
        let Some(digest) = file.parsed(text, "VALUE_INVALID", law::DIGEST, law::digest) else {
            continue;
        };
        if digests.contains(&digest.it) {
            let problem = "this predecessor is listed already";
            file.wrong(digest.at, "NAME_DUPLICATE", problem, "remove one of them");
        }
        if digests.len() == RegionMap::PREDECESSORS_MAX {
            let problem = format!("a map has at most {} predecessors", RegionMap::PREDECESSORS_MAX);
            file.wrong(digest.at, "LIMIT_RANGE", problem, "heal a few at a time");
            break;
        }
        digests.push(digest.it);
    }
    digests
}

fn tenant(file: &File<'_>, section: &Section<'_>) -> Option<At<Tenant>> {
    let name = section.needed("name", "NAME_INVALID", NAME, |t| TenantId::parse(t).ok());
    let mut established = Countries::EMPTY;
    for text in section.texts("establishments").unwrap_or_default() {
        let wanted = "an ISO 3166-1 alpha-2 code";
        if let Some(country) = file.parsed(text, "COUNTRY_UNKNOWN", wanted, Country::parse) {
            established = established.with(country.it);
        }
    }
    let sectors = names(file, section, "sectors", Sector::parse);
    let name = name?;
    Some(At { at: name.at, it: Tenant { name: name.it, established, sectors } })
}

fn body_limit(file: &File<'_>, section: &Section<'_>) -> Option<usize> {
    let number = section.number("body_bytes_max")?;
    let bytes = usize::try_from(number.it).ok().filter(|n| *n <= limits::BODY_BYTES_MAX);
    if bytes.is_none() {
        let problem = "`body_bytes_max` is over 16 MiB";
        file.wrong(number.at, "LIMIT_RANGE", problem, "give 16777216 or less");
    }
    bytes
}

fn collection(
    file: &File<'_>,
    section: &Section<'_>,
    names: &mut Names,
    body_bytes_max: usize,
) -> Option<At<CollectionRules>> {
    let name = section.needed("name", "NAME_INVALID", NAME, |t| Collection::parse(t).ok());
    let category = section.needed_text("category");
    let reads = section.needed("reads", "VALUE_INVALID", "logged or counted", Reads::parse);
    let grounds = section.text("grounds").map(|text| text.it.to_owned());
    let body_bytes_max = body_limit(file, section).unwrap_or(body_bytes_max);
    let exempts = section.texts("exempt").unwrap_or_default().into_iter();
    let exempts =
        exempts.filter_map(|text| file.parsed(text, "NAME_INVALID", EXEMPT, Exempt::parse));
    let exempts: Vec<At<Exempt>> = exempts.collect();
    let exempt = exempts.iter().map(|exempt| exempt.it.clone()).collect();
    names.exempts.extend(exempts);
    let (name, category, reads) = (name?, category?.it.to_owned(), reads?.it);
    let rules = CollectionRules { name: name.it, category, grounds, reads, body_bytes_max, exempt };
    Some(At { at: name.at, it: rules })
}

fn region(file: &File<'_>, section: &Section<'_>) -> Option<At<Region>> {
    let name = section.needed("name", "NAME_INVALID", NAME, |t| RegionId::parse(t).ok());
    let wanted = "an ISO 3166-1 alpha-2 code: a site stands in one country";
    let territory = section.needed("territory", "COUNTRY_UNKNOWN", wanted, Country::parse);
    let authorities = authorities(file, section);
    let annex_signers = annex_signers(file, section);
    let site = section.section("site").map(|site| {
        let text = |key| site.text(key).map(|text| text.it.to_owned());
        Site {
            address: text("address"),
            operator: text("operator"),
            contract: text("contract"),
            register: text("register"),
            attestation: text("attestation"),
            attestation_expires: site.date("attestation_expires").map(|date| date.it),
        }
    });
    let (name, territory) = (name?, territory?.it);
    let site = site.unwrap_or_default();
    let region = Region { name: name.it, territory, authorities, annex_signers, site };
    Some(At { at: name.at, it: region })
}

/// The authorities that may issue for a region's processes, each by its certificate's digest.
fn authorities(file: &File<'_>, section: &Section<'_>) -> Vec<[u8; 32]> {
    let mut authorities = Vec::new();
    for text in section.texts("authorities").unwrap_or_default() {
        let Some(digest) = file.parsed(text, "VALUE_INVALID", law::DIGEST, law::digest) else {
            continue;
        };
        if authorities.contains(&digest.it) {
            let problem = "this authority is listed already";
            file.wrong(digest.at, "AUTHORITY_DUPLICATE", problem, "remove one of them");
        }
        if authorities.len() == Region::AUTHORITIES_MAX {
            let problem = format!("a region has at most {} authorities", Region::AUTHORITIES_MAX);
            file.wrong(section.at, "LIMIT_RANGE", problem, "remove those that issue no more");
            break;
        }
        authorities.push(digest.it);
    }
    authorities
}

/// The keys that may sign a region's annex.
fn annex_signers(file: &File<'_>, section: &Section<'_>) -> Vec<String> {
    let mut signers: Vec<String> = Vec::new();
    for text in section.texts("annex_signers").unwrap_or_default() {
        let Some(key) = file.parsed(text, "VALUE_INVALID", vkey::FORM, vkey::parse) else {
            continue;
        };
        if signers.contains(&key.it) {
            let problem = "this key is listed already";
            file.wrong(key.at, "ANNEX_SIGNER_DUPLICATE", problem, "remove one of them");
        }
        if signers.len() == Region::ANNEX_SIGNERS_MAX {
            let most = Region::ANNEX_SIGNERS_MAX;
            let problem = format!("the annex of a region has at most {most} signers");
            file.wrong(section.at, "LIMIT_RANGE", problem, "remove those who sign no more");
            break;
        }
        signers.push(key.it);
    }
    signers
}

/// A SPIFFE trust domain: its specification's characters and length.
fn domain(text: &str) -> Option<String> {
    let form = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    let good = (1..=DOMAIN_BYTES_MAX).contains(&text.len()) && text.bytes().all(form);
    good.then(|| text.to_owned())
}

fn home(section: &Section<'_>, names: &mut Names) -> Option<At<Home>> {
    let home_for =
        section.needed("for", "TERRITORY_UNKNOWN", "a country, EEA or *", HomeFor::parse);
    let region = section.needed("region", "NAME_INVALID", NAME, |t| RegionId::parse(t).ok());
    let lead = section.flag("lead").unwrap_or(true);
    names.regions.extend(region.clone());
    let (home_for, region) = (home_for?, region?.it);
    Some(At { at: home_for.at, it: Home { home_for: home_for.it, region, place: 0, lead } })
}
