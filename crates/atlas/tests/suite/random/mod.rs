//! Maps and people at random, for tests of what holds of all of them.

use atlas::{
    Date, EvidenceKind, Finding, Findings, Question, RegionMap, Ruling, StatutePack, decide,
};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use terms::{Collection, TenantId};

use crate::support::{PACKS, with_digests};

/// Countries that occur: those with laws, some of one group, some of none.
pub(crate) const COUNTRIES: &[&str] =
    &["AE", "BY", "DE", "FR", "GB", "IN", "KZ", "RU", "TR", "US", "UA"];
const TERRITORIES: &[&str] = &["AE", "BY", "DE", "EEA", "GB", "IN", "KZ", "RU", "TR", "US"];

/// A few of them, whose laws are in each other's way: on these, most maps and people meet.
const FEW: &[&str] = &["AE", "IN", "KZ", "RU", "US"];

/// What may be known of somebody.
pub(crate) fn findings() -> impl Strategy<Value = Vec<Finding>> {
    use EvidenceKind::{Citizenship, CollectedIn, Residence};
    prop_oneof![
        findings_of(EvidenceKind::ALL, COUNTRIES, 0..7),
        findings_of(&[Citizenship, Residence, CollectedIn], FEW, 2..4)
    ]
}

fn findings_of(
    kinds: &'static [EvidenceKind],
    countries: &'static [&'static str],
    count: std::ops::Range<usize>,
) -> impl Strategy<Value = Vec<Finding>> {
    let one = (select(kinds), select(countries), 0..12_u8).prop_map(|(kind, code, stateless)| {
        let stateless = (stateless == 0).then(|| Finding::stateless(kind)).flatten();
        stateless.unwrap_or_else(|| Finding::parse(kind, code).expect("a finding"))
    });
    prop::collection::vec(one, count)
}

fn homes(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    let lead = prop::collection::vec(any::<bool>(), of.len() + 1);
    let any_region = select(COUNTRIES);
    (subsequence(of, of.len() / 2..=of.len()), any::<bool>(), lead, any_region).prop_map(
        |(territories, any, lead, any_region)| {
            let home = |territory: &str, region: &str, lead: bool| {
                let region = region.to_lowercase();
                format!(
                    "[[homes]]\nfor = \"{territory}\"\nregion = \"r-{region}\"\nlead = {lead}\n"
                )
            };
            let own = territories.iter().zip(&lead).map(|(territory, lead)| {
                home(territory, if *territory == "EEA" { "DE" } else { territory }, *lead)
            });
            let rest = any.then(|| home("*", any_region, lead.last().copied().unwrap_or_default()));
            own.chain(rest).collect()
        },
    )
}

/// Statutes, and the exemptions that they have.
fn statutes(of: &'static [&'static str]) -> impl Strategy<Value = (String, Vec<String>)> {
    let all: Vec<&StatutePack> = PACKS
        .iter()
        .map(|pack| &**pack)
        .filter(|pack| of.contains(&pack.jurisdiction().as_str()))
        .collect();
    let settings =
        (select(&["any-hint", "territory", "never"]), select(&["attach", "ignore", "refuse"]));
    let packs = subsequence(all.clone(), 0..=all.len().min(10));
    (packs, settings, any::<bool>()).prop_map(|(packs, (unknown, abroad), strict)| {
        let statute = |pack: &StatutePack| {
            let id = pack.id();
            let citizen = pack.asks_citizenship();
            let settings = if citizen {
                format!("unknown = \"{unknown}\"\ncitizens_abroad = \"{abroad}\"\n")
            } else {
                String::new()
            };
            let reading = pack
                .readings()
                .get(usize::from(strict))
                .map_or_else(String::new, |is| format!("reading = \"{is}\"\n"));
            let data = pack.data().map_or("", |_| "collections = [\"profiles\"]\n");
            let draft = pack.draft().map_or("", |_| "accept_draft = true\n");
            let settings = format!("{settings}{reading}{data}{draft}");
            format!("[[statutes]]\nid = \"{id}\"\ndigest = \"@{id}\"\n{settings}")
        };
        let exemptions = packs.iter().flat_map(|pack| {
            let all = pack.exemptions().iter();
            all.map(|exemption| format!("\"{}/{}\"", pack.id(), exemption.id))
        });
        let exemptions = exemptions.collect();
        (packs.into_iter().map(statute).collect(), exemptions)
    })
}

fn clauses(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    let one = (select(of), select(of), select(&["2026-01-01", "2027-06-01", "2100-01-01"]));
    prop::collection::vec(one, 0..48).prop_map(|clauses| {
        let clause = |(n, (from, to, expires)): (usize, (&str, &str, &str))| {
            format!(
                "[[clauses]]\nid = \"c{n}\"\nfrom = \"{from}\"\nto = \"{to}\"\ncollections = \"*\"\n\
                 legal_basis = \"x\"\nimporter = \"x\"\nreference = \"x\"\n\
                 notified = 2019-01-01\nnot_before = 2020-01-01\nexpires = {expires}\n"
            )
        };
        clauses.into_iter().enumerate().map(clause).collect()
    })
}

/// A map, any of them.
pub(crate) fn map() -> impl Strategy<Value = RegionMap> {
    prop_oneof![map_of(TERRITORIES), map_of(FEW)]
}

fn map_of(of: &'static [&'static str]) -> impl Strategy<Value = RegionMap> {
    let sectors = subsequence(&["\"health\"", "\"payments\"", "\"telecom\""], 0..=3);
    let settings = (sectors, any::<[bool; 2]>());
    (homes(of), statutes(of), clauses(of), settings).prop_map(
        |(homes, statutes, clauses, settings)| {
            let (sectors, [ends, exempts]) = settings;
            let (statutes, exemptions) = statutes;
            let regions = COUNTRIES.iter().map(|code| {
                let name = code.to_lowercase();
                format!("[[regions]]\nname = \"r-{name}\"\nterritory = \"{code}\"\n")
            });
            let regions: String = regions.collect();
            let ends = if ends { "valid_until = 2026-06-30\n" } else { "" };
            let exempt = if exempts { exemptions.join(", ") } else { String::new() };
            let text = format!(
                "name = \"x\"\ndeployment = \"x\"\nversion = 1\n{ends}\
             [[tenants]]\nname = \"acme\"\nestablishments = [\"US\", \"TR\"]\n\
             sectors = [{}]\n\
             [[collections]]\nname = \"profiles\"\ncategory = \"x\"\nreads = \"logged\"\n\
             exempt = [{exempt}]\n\
             {regions}{homes}{statutes}{clauses}",
                sectors.join(", ")
            );
            RegionMap::parse_carrying(&with_digests(&text), &PACKS).expect("a sound map")
        },
    )
}

/// What the map rules on a person of whom that is known.
pub(crate) fn rule(map: &RegionMap, items: &[Finding], date: Date) -> Ruling {
    let mut findings = Findings::new();
    for finding in items {
        findings.insert(*finding).expect("room");
    }
    let tenant = TenantId::parse("acme").expect("a name");
    let collection = Collection::parse("profiles").expect("a name");
    let question = Question {
        tenant: &tenant,
        collection: &collection,
        findings: &findings,
        date: date.into(),
    };
    decide(map, &question).expect("a known collection")
}

/// A day before, within and after what maps and packs say.
pub(crate) fn date() -> impl Strategy<Value = Date> {
    select(&["2014-01-01", "2025-12-31", "2026-11-23", "2026-11-24", "2027-06-01", "2031-01-01"])
        .prop_map(|text| Date::parse(text).expect("a day"))
}
