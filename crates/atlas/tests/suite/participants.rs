//! Records that name other people: what atlas decides, and a second reading of the same rules.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

use std::sync::atomic::{AtomicU32, Ordering};

use crate::small::ask::{collections, days, people, tenants};
use crate::small::{COUNTRIES, Small, steps};
use atlas::{
    Constraint, Country, Exclusions, Jurisdiction, Moment, Question, Region, RegionMap, Ruling,
    decide, demands_on_participant, egress_of_participant, together,
};
use proptest::prelude::*;
use terms::{Collection, TenantId};

static PLACED: AtomicU32 = AtomicU32::new(0);
static REFUSED: AtomicU32 = AtomicU32::new(0);

/// What one participant's laws say of a place, in plain words: each law on its own.
struct Naive<'a> {
    map: &'a RegionMap,
    tenant: &'a TenantId,
    collection: &'a Collection,
    date: Moment,
}

impl Naive<'_> {
    fn clause(&self, from: Jurisdiction, to: &Region) -> bool {
        let day = self.date.date();
        let valid = !self.map.expired(day);
        valid
            && self.map.clauses().iter().any(|clause| {
                clause.from() == from
                    && clause.to().contains(to.territory())
                    && !excludes(clause.exclude(), to)
                    && clause.covers(self.collection)
                    && clause.in_force(day)
            })
    }

    /// Whether laws of that person forbid a record, or a copy of it, to lie there.
    fn forbids(&self, of: &[Jurisdiction], region: &Region) -> bool {
        let there = region.territory();
        let demands = |from: &Jurisdiction| {
            let (map, tenant, collection) = (self.map, self.tenant, self.collection);
            let all: Vec<_> =
                demands_on_participant(map, *from, tenant, collection, self.date).collect();
            all.into_iter().any(|(pack, constraint)| {
                let home = from.contains(there);
                pack.denies(there)
                    || match constraint {
                        Constraint::Exclusive => !home,
                        Constraint::PrimaryFirst | Constraint::ConditionalTransfer => {
                            !home && !self.clause(*from, region)
                        }
                        Constraint::Mirror | Constraint::None => false,
                    }
            })
        };
        of.iter().any(demands)
    }

    /// Whether a law of that person wants a copy at home, and there is none among these.
    fn misses_copy(&self, of: &[Jurisdiction], places: &[&Region]) -> bool {
        let wants = |from: &&Jurisdiction| {
            demands_on_participant(self.map, **from, self.tenant, self.collection, self.date)
                .any(|(_, constraint)| constraint == Constraint::Mirror)
        };
        let is_home =
            |from: &Jurisdiction| places.iter().any(|place| from.contains(place.territory()));
        of.iter().filter(wants).any(|from| !is_home(from))
    }
}

/// Whether exclusions name the site of a region, or ask what it does not state.
fn excludes(exclude: &Exclusions, region: &Region) -> bool {
    let site = region.site();
    let operator = site.operator.as_deref().map(str::to_lowercase);
    let is_own = |one: &String| operator.as_ref().is_none_or(|own| *own == one.to_lowercase());
    let from = &site.controlled_from;
    exclude.regions().contains(region.name())
        || exclude.operators().iter().any(is_own)
        || exclude.controlled_from().iter().any(|one| from.is_empty() || from.contains(one))
}

fn region<'a>(map: &'a RegionMap, name: &terms::RegionId) -> &'a Region {
    map.region(name).expect("a region of the map")
}

/// Checks one record: its owner's ruling, and the rulings of those that it names.
fn checked(naive: &Naive<'_>, owner: &Ruling, question: &Question<'_>, others: &[&Ruling]) {
    let Some(placement) = owner.placement() else { return };
    let named: Vec<&[Jurisdiction]> = others.iter().map(|other| other.jurisdictions()).collect();
    let done = together(naive.map, question, placement, &named);
    let mut places = vec![region(naive.map, placement.region())];
    places.extend(placement.mirrors().iter().map(|name| region(naive.map, name)));
    let lies = |of: &&[Jurisdiction]| {
        !places.iter().any(|place| naive.forbids(of, place)) && !naive.misses_copy(of, &places)
    };
    let first = named.iter().position(|of| !lies(of));
    match done {
        Ok(union) => {
            PLACED.fetch_add(u32::from(!others.is_empty()), Ordering::Relaxed);
            assert_eq!(first, None, "a law of that participant is broken");
            assert_eq!(union.region(), placement.region());
            assert_eq!(union.mirrors(), placement.mirrors());
            let all = named.iter().copied().flatten().chain(placement.jurisdictions());
            assert!(all.into_iter().all(|one| union.jurisdictions().contains(one)));
            assert!(union.jurisdictions().is_sorted());
        }
        Err(conflict) => {
            REFUSED.fetch_add(1, Ordering::Relaxed);
            let at = conflict.participant();
            assert_eq!(Some(at), first, "nothing is in the way of that participant");
            let pair = conflict.refusal().conflicting();
            assert_eq!(pair.len(), 2);
            assert!(named[at].contains(&pair[0]), "the pair names a law of the participant");
        }
    }
}

#[test]
fn a_record_with_participants_lies_only_where_the_laws_of_each_allow_it() {
    let countries: Vec<Country> = COUNTRIES.iter().filter_map(|c| Country::parse(c)).collect();
    let (people, tenants, collections, days) =
        (people(&countries), tenants(), collections(), days());
    let chosen = || 0..usize::MAX;
    let strategy = (steps(0..14), prop::array::uniform8(chosen()));
    proptest!(ProptestConfig::with_cases(4096), |((base, chosen) in strategy)| {
        let Some(map) = Small::after(&base).map() else { return Ok(()) };
        let [tenant, collection, day, ..] = chosen;
        let tenant = &tenants[tenant % tenants.len()];
        let collection = &collections[collection % collections.len()];
        let date = Moment::from(days[day % days.len()]);
        let question = |n: usize| {
            Question { tenant, collection, findings: &people[chosen[n] % people.len()], date }
        };
        let rulings: Option<Vec<Ruling>> = (3..7).map(|n| decide(&map, &question(n)).ok()).collect();
        let Some(rulings) = rulings else { return Ok(()) };
        let naive = Naive { map: &map, tenant, collection, date };
        for many in 0..=3 {
            let others: Vec<&Ruling> = rulings[1..=many].iter().collect();
            checked(&naive, &rulings[0], &question(3), &others);
        }
    });
    let counts = [&PLACED, &REFUSED].map(|count| count.load(Ordering::Relaxed));
    println!("placed, refused: {counts:?}");
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
}

const SAMPLE: &str = include_str!("../../../../deploy/sample/map.toml");

/// A message of the sample's tenant whose owner lives in one country, and its participant in the other.
fn message(map: &str, owner: &str, participant: &str) -> Result<String, String> {
    let map = RegionMap::parse(map).expect("a map");
    let tenant = TenantId::parse("sample").expect("a name");
    let collection = Collection::parse("messages").expect("a name");
    let date = Moment::from(atlas::Date::parse("2026-11-30").expect("a day"));
    let of = |country: &str| {
        let mut findings = atlas::Findings::new();
        for kind in [atlas::EvidenceKind::Residence, atlas::EvidenceKind::Citizenship] {
            findings
                .insert(atlas::Finding::parse(kind, country).expect("a finding"))
                .expect("room");
        }
        findings
    };
    let (owner, participant) = (of(owner), of(participant));
    let question = Question { tenant: &tenant, collection: &collection, findings: &owner, date };
    let other = Question { findings: &participant, ..question };
    let ruled = decide(&map, &question).expect("the collection is declared");
    let other = decide(&map, &other).expect("the collection is declared");
    let placement = ruled.placement().expect("a place");
    match together(&map, &question, placement, &[other.jurisdictions()]) {
        Ok(union) => {
            let readers = [Some(union.territory())];
            let read = egress_of_participant(
                &map,
                other.jurisdictions(),
                &tenant,
                &collection,
                date,
                &readers,
            );
            assert!(read.is_ok(), "who may store it may read it there");
            Ok(union.region().to_string())
        }
        Err(conflict) => {
            assert_eq!(conflict.participant(), 0);
            let pair = conflict.refusal().conflicting();
            let pair: Vec<&str> = pair.iter().map(|one| one.as_str()).collect();
            Err(format!("{} {}", conflict.refusal().reason(), pair.join(",")))
        }
    }
}

#[test]
fn a_russians_text_enters_a_germans_inbox_under_a_clause_alone() {
    let bare: String = {
        // Every clause of the sample is cut.
        let mut parts = SAMPLE.split("[[clauses]]");
        parts.next().unwrap_or_default().to_owned()
    };
    assert_eq!(message(&bare, "DE", "RU"), Err("TRANSFER_NOT_COVERED RU,DE".to_owned()));
    assert_eq!(message(&bare, "DE", "DE"), Ok("eu-fra".to_owned()));
    assert_eq!(message(&bare, "RU", "RU"), Ok("ru-msk".to_owned()));
    assert_eq!(message(&bare, "RU", "DE"), Err("TRANSFER_NOT_COVERED EEA,RU".to_owned()));
    let clause = |id: &str, from: &str, to: &str| {
        format!(
            "\n[[clauses]]\nid = \"{id}\"\nfrom = \"{from}\"\nto = \"{to}\"\ncollections = [\"messages\"]\n\
             legal_basis = \"made up\"\nimporter = \"made up\"\nreference = \"made up\"\n\
             not_before = 2020-01-01\nexpires = 2100-01-01\n"
        )
    };
    let one = format!("{bare}{}", clause("ru-de", "RU", "DE"));
    assert_eq!(message(&one, "DE", "RU"), Ok("eu-fra".to_owned()));
    assert_eq!(message(&one, "RU", "DE"), Err("TRANSFER_NOT_COVERED EEA,RU".to_owned()));
    let both = format!("{one}{}", clause("de-ru", "EEA", "RU"));
    assert_eq!(message(&both, "RU", "DE"), Ok("ru-msk".to_owned()));
}

#[test]
fn a_law_that_wants_its_own_gateways_wants_them_for_participants() {
    let wants = "id = \"ru-152fz\"\ningress = \"in-territory\"\n";
    let map = SAMPLE.replacen("id = \"ru-152fz\"\n", wants, 1);
    let collection = Collection::parse("messages").expect("a name");
    let date = atlas::Date::parse("2026-11-30").expect("a day");
    let enters = |map: &str, of: &str, gateway: Option<&str>| {
        let map = RegionMap::parse(map).expect("a map");
        let of = [Jurisdiction::parse(of).expect("a code")];
        let gateway = gateway.and_then(Country::parse);
        atlas::ingress_of_participant(&map, &of, &collection, date, gateway).is_ok()
    };
    for (of, gateway, may) in [
        ("RU", Some("RU"), true),
        ("RU", Some("DE"), false),
        ("RU", None, false),
        ("EEA", Some("RU"), true),
    ] {
        assert_eq!(enters(&map, of, gateway), may, "{of} through {gateway:?}");
        assert!(enters(SAMPLE, of, gateway), "the sample lets any gateway");
    }
}
