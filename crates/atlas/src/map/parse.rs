//! From TOML to a map.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use terms::{Collection, RegionId, TenantId, limits};

use super::{
    Clause, ClauseId, CollectionRules, Epoch, Home, HomeFor, Reads, Region, RegionMap, Site,
    Statute, Tenant, check, digest_text,
};
use crate::country::{COUNT, Countries};
use crate::read::{At, File, Section};
use crate::{
    CitizensAbroad, Country, Diagnostic, StatuteId, Territory, Trigger, UnknownCitizenship, packs,
};

/// What a name is, in messages.
pub(crate) const NAME: &str = "a name of a-z, 0-9 and inner '-', at most 63 bytes";

/// What was read, each with where it stood. What could not be read is missing from it.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) tenants: Vec<At<Tenant>>,
    pub(super) collections: Vec<At<CollectionRules>>,
    pub(super) regions: Vec<At<Region>>,
    pub(super) homes: Vec<At<Home>>,
    pub(super) statutes: Vec<At<Statute>>,
    pub(super) clauses: Vec<At<Clause>>,
    /// The names of all regions and collections, also of those that could not be read.
    pub(super) known_regions: BTreeSet<String>,
    pub(super) known_collections: BTreeSet<String>,
    /// Every text that names a region or a collection.
    pub(super) region_names: Vec<At<RegionId>>,
    pub(super) collection_names: Vec<At<Collection>>,
}

/// Reads and checks a map.
pub(super) fn map(text: &str) -> Result<RegionMap, Vec<Diagnostic>> {
    let file = File::new(text);
    let map = file
        .document()
        .and_then(|document| read(&file, &Section::root(&file, &document, "region map"), text));
    match (map, file.into_wrong()) {
        (Some(map), wrong) if wrong.is_empty() => Ok(map),
        (_, wrong) => Err(wrong),
    }
}

fn read(file: &File<'_>, root: &Section<'_>, text: &str) -> Option<RegionMap> {
    root.only(&[
        "name",
        "deployment",
        "version",
        "predecessor",
        "valid_until",
        "tenants",
        "collections",
        "regions",
        "homes",
        "statutes",
        "clauses",
        "limits",
    ]);
    let name = root.needed_text("name");
    let deployment = root.needed("deployment", "NAME_INVALID", NAME, |text| {
        RegionId::parse(text).ok().map(|name| name.as_str().to_owned())
    });
    let number = root.needed_number("version");
    let predecessor = root.text("predecessor").and_then(|text| {
        file.parsed(text, "VALUE_INVALID", "sha256: and 64 hexadecimal digits", digest)
    });
    let valid_until = root.date("valid_until").map(|date| date.it);
    let draft = draft(file, root);
    check::draft(file, &draft);
    let epoch = Epoch { number: number?.it, digest: Sha256::digest(text).into() };
    let mut map = RegionMap {
        epoch,
        name: name?.it.to_owned(),
        deployment: deployment?.it,
        predecessor: predecessor.map(|digest| digest.it),
        valid_until,
        tenants: draft.tenants.into_iter().map(|t| (t.it.name.clone(), t.it)).collect(),
        collections: draft.collections.into_iter().map(|c| (c.it.name.clone(), c.it)).collect(),
        regions: draft.regions.into_iter().map(|region| region.it).collect(),
        homes: draft.homes.into_iter().map(|home| home.it).collect(),
        statutes: draft.statutes.into_iter().map(|statute| statute.it).collect(),
        clauses: draft.clauses.into_iter().map(|clause| clause.it).collect(),
        leads: Vec::new(),
        clauses_from: BTreeMap::new(),
    };
    index(&mut map);
    Some(map)
}

/// Sorts what a ruling looks up, and works out what does not depend on a person.
fn index(map: &mut RegionMap) {
    map.regions.sort_by(|a, b| a.name.cmp(&b.name));
    map.homes.sort_by_key(|home| home.home_for);
    map.statutes.sort_by_key(|statute| (statute.jurisdiction(), statute.id()));
    map.clauses.sort_by(|a, b| a.id.cmp(&b.id));
    for home in &mut map.homes {
        let place = map.regions.binary_search_by(|region| region.name.cmp(&home.region));
        home.place = place.unwrap_or(usize::MAX);
    }
    map.leads = Country::all().map(|country| lead(&map.homes, country)).collect();
    assert_eq!(map.leads.len(), COUNT, "one lead for each country");
    for (place, clause) in map.clauses.iter().enumerate() {
        let from = map.clauses_from.entry(clause.from).or_default();
        for collection in map.collections.keys().filter(|name| clause.covers(name)) {
            from.entry(collection.clone()).or_default().push(place);
        }
    }
}

/// The home for a country: its own, else its first group's, else that of `*`; none if the one
/// that is found first may not lead.
fn lead(homes: &[Home], country: Country) -> Option<usize> {
    let rank = |home: &Home| match home.home_for {
        HomeFor::Territory(Territory::Country(own)) => (own == country).then_some(0),
        HomeFor::Territory(group @ Territory::Group(_)) => group.contains(country).then_some(1),
        HomeFor::Any => Some(2),
    };
    let ranked = homes.iter().enumerate().filter_map(|(n, home)| Some((rank(home)?, n, home.lead)));
    ranked.min().and_then(|(_, n, lead)| lead.then_some(n))
}

fn draft(file: &File<'_>, root: &Section<'_>) -> Draft {
    let limits = root.section("limits", "table of limits");
    let body_bytes_max = limits.and_then(|limits| {
        limits.only(&["body_bytes_max"]);
        body_limit(file, &limits)
    });
    let body_bytes_max = body_bytes_max.unwrap_or(limits::BODY_BYTES_DEFAULT);
    let mut names = Names { regions: Vec::new(), collections: Vec::new() };
    let tenants = root.sections("tenants", "tenant");
    let collections = root.sections("collections", "collection");
    let regions = root.sections("regions", "region");
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
    let homes = root.sections("homes", "home");
    let statutes = root.sections("statutes", "statute");
    let clauses = root.sections("clauses", "clause");
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
            .filter_map(|s| collection(file, s, body_bytes_max))
            .collect(),
        regions: regions.iter().filter_map(|s| region(s)).collect(),
        homes: homes.iter().filter_map(|s| home(s, &mut names)).collect(),
        statutes: statutes.iter().filter_map(|s| statute(file, s, &mut names)).collect(),
        clauses: clauses.iter().filter_map(|s| clause(file, s, &mut names)).collect(),
        region_names: names.regions,
        collection_names: names.collections,
    }
}

/// Names that must be of something the map has.
struct Names {
    regions: Vec<At<RegionId>>,
    collections: Vec<At<Collection>>,
}

fn tenant(file: &File<'_>, section: &Section<'_>) -> Option<At<Tenant>> {
    section.only(&["name", "establishments"]);
    let name = section.needed("name", "NAME_INVALID", NAME, |t| TenantId::parse(t).ok());
    let mut established = Countries::EMPTY;
    for text in section.texts("establishments").unwrap_or_default() {
        let wanted = "an ISO 3166-1 alpha-2 code";
        if let Some(country) = file.parsed(text, "COUNTRY_UNKNOWN", wanted, Country::parse) {
            established = established.with(country.it);
        }
    }
    let name = name?;
    Some(At { at: name.at, it: Tenant { name: name.it, established } })
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
    body_bytes_max: usize,
) -> Option<At<CollectionRules>> {
    section.only(&["name", "category", "grounds", "reads", "body_bytes_max"]);
    let name = section.needed("name", "NAME_INVALID", NAME, |t| Collection::parse(t).ok());
    let category = section.needed_text("category");
    let reads = section.needed("reads", "VALUE_INVALID", "logged or counted", Reads::parse);
    let grounds = section.text("grounds").map(|text| text.it.to_owned());
    let body_bytes_max = body_limit(file, section).unwrap_or(body_bytes_max);
    let (name, category, reads) = (name?, category?.it.to_owned(), reads?.it);
    let rules = CollectionRules { name: name.it, category, grounds, reads, body_bytes_max };
    Some(At { at: name.at, it: rules })
}

fn region(section: &Section<'_>) -> Option<At<Region>> {
    section.only(&["name", "territory", "site"]);
    let name = section.needed("name", "NAME_INVALID", NAME, |t| RegionId::parse(t).ok());
    let wanted = "an ISO 3166-1 alpha-2 code: a site stands in one country";
    let territory = section.needed("territory", "COUNTRY_UNKNOWN", wanted, Country::parse);
    let site = section.section("site", "site").map(|site| {
        site.only(&["address", "operator", "contract", "attestation", "attestation_expires"]);
        let text = |key| site.text(key).map(|text| text.it.to_owned());
        Site {
            address: text("address"),
            operator: text("operator"),
            contract: text("contract"),
            attestation: text("attestation"),
            attestation_expires: site.date("attestation_expires").map(|date| date.it),
        }
    });
    let (name, territory) = (name?, territory?.it);
    Some(At {
        at: name.at,
        it: Region { name: name.it, territory, site: site.unwrap_or_default() },
    })
}

fn home(section: &Section<'_>, names: &mut Names) -> Option<At<Home>> {
    section.only(&["for", "region", "lead"]);
    let home_for =
        section.needed("for", "TERRITORY_UNKNOWN", "a country, EEA or *", HomeFor::parse);
    let region = section.needed("region", "NAME_INVALID", NAME, |t| RegionId::parse(t).ok());
    let lead = section.flag("lead").unwrap_or(true);
    names.regions.extend(region.clone());
    let (home_for, region) = (home_for?, region?.it);
    Some(At { at: home_for.at, it: Home { home_for: home_for.it, region, place: 0, lead } })
}

fn statute(file: &File<'_>, section: &Section<'_>, names: &mut Names) -> Option<At<Statute>> {
    section.only(&["id", "digest", "unknown", "citizens_abroad", "collections"]);
    let id = section.needed("id", "NAME_INVALID", NAME, StatuteId::parse);
    let stated =
        section.needed("digest", "VALUE_INVALID", "sha256: and 64 hexadecimal digits", digest);
    let collections = collections(file, section, names);
    let setting = |key, wanted| {
        let text = section.text(key)?;
        Some((text, wanted))
    };
    let unknown = setting("unknown", "any-hint, territory or never");
    let abroad = setting("citizens_abroad", "attach, ignore or refuse");
    let id = id?;
    let Some(pack) = packs().iter().find(|pack| *pack.id() == id.it) else {
        let all: Vec<&str> = packs().iter().map(|pack| pack.id().as_str()).collect();
        let problem = format!("this program has no statute pack `{}`", id.it);
        file.wrong(id.at, "STATUTE_UNKNOWN", problem, format!("use one of: {}", all.join(", ")));
        return None;
    };
    if let Some(stated) = stated
        && stated.it != *pack.digest()
    {
        let problem = format!("the digest is not that of the pack `{}`", id.it);
        let cure = format!("read the pack, then write {}", digest_text(pack.digest()));
        file.wrong(stated.at, "STATUTE_DIGEST", problem, cure);
    }
    if pack.trigger() == Trigger::Citizen && abroad.is_none() {
        let problem = format!("`{}` attaches to citizens and has no `citizens_abroad`", id.it);
        let cure = "decide it: attach, ignore or refuse; there is no default";
        file.wrong(section.at, "SETTING_MISSING", problem, cure);
    }
    for (text, _) in unknown.iter().chain(&abroad) {
        if pack.trigger() != Trigger::Citizen {
            let problem = format!("`{}` does not ask for citizenship", id.it);
            file.wrong(text.at, "SETTING_UNUSED", problem, "leave this setting out");
        }
    }
    let unknown = unknown
        .and_then(|(text, wanted)| {
            file.parsed(text, "VALUE_INVALID", wanted, UnknownCitizenship::parse)
        })
        .map_or_else(|| pack.unknown(), |unknown| unknown.it);
    let citizens_abroad = abroad
        .and_then(|(text, wanted)| {
            file.parsed(text, "VALUE_INVALID", wanted, CitizensAbroad::parse)
        })
        .map_or(CitizensAbroad::Refuse, |abroad| abroad.it);
    Some(id.with(Statute { pack, unknown, citizens_abroad, collections }))
}

/// The collections that are listed. None: the key is left out, or it says `*`.
fn collections(
    file: &File<'_>,
    section: &Section<'_>,
    names: &mut Names,
) -> Option<Vec<Collection>> {
    let texts = section.texts("collections")?;
    if let [only] = texts.as_slice()
        && only.it == "*"
    {
        return None;
    }
    if texts.is_empty() {
        let cure = "list collections, or write \"*\"";
        file.wrong(section.at, "VALUE_INVALID", "the list of collections is empty", cure);
    }
    let parse = |text| file.parsed(text, "NAME_INVALID", NAME, |t| Collection::parse(t).ok());
    let listed: Vec<At<Collection>> = texts.into_iter().filter_map(parse).collect();
    let collections = listed.iter().map(|name| name.it.clone()).collect();
    names.collections.extend(listed);
    Some(collections)
}

fn clause(file: &File<'_>, section: &Section<'_>, names: &mut Names) -> Option<At<Clause>> {
    section.only(&[
        "id",
        "from",
        "to",
        "collections",
        "legal_basis",
        "importer",
        "reference",
        "not_before",
        "expires",
    ]);
    let id = section.needed("id", "NAME_INVALID", NAME, ClauseId::parse);
    let wanted = "a country or EEA";
    let from = section.needed("from", "TERRITORY_UNKNOWN", wanted, Territory::parse);
    let to = section.needed("to", "TERRITORY_UNKNOWN", wanted, Territory::parse);
    let listed = section.needed_list("collections");
    let collections = collections(file, section, names);
    let legal_basis = section.needed_text("legal_basis");
    let importer = section.needed_text("importer");
    let reference = section.needed_text("reference");
    let not_before = section.needed_date("not_before");
    let expires = section.needed_date("expires");
    if let (Some(from), Some(to)) = (not_before, expires)
        && to.it <= from.it
    {
        let problem = "this clause ends before it begins";
        file.wrong(to.at, "DATE_ORDER", problem, "let `expires` be later than `not_before`");
    }
    if !listed {
        return None;
    }
    let id = id?;
    Some(At {
        at: id.at,
        it: Clause {
            id: id.it,
            from: from?.it,
            to: to?.it,
            collections,
            legal_basis: legal_basis?.it.to_owned(),
            importer: importer?.it.to_owned(),
            reference: reference?.it.to_owned(),
            not_before: not_before?.it,
            expires: expires?.it,
        },
    })
}

/// The digest that `sha256:` and 64 lower-case hexadecimal digits write.
fn digest(text: &str) -> Option<[u8; 32]> {
    let (pairs, left) = text.strip_prefix("sha256:")?.as_bytes().as_chunks::<2>();
    if !left.is_empty() || pairs.len() != 32 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        if pair.iter().any(|c| !matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
