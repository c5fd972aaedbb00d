//! Small maps as data, that can be changed at random one step at a time, and the people who are
//! asked about under them.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

pub(crate) mod ask;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use atlas::{RegionMap, StatutePack};
use proptest::prelude::*;

use crate::support::{self, with_digests};

/// Countries that occur: those with laws, two of one group, one without a law.
pub(crate) const COUNTRIES: &[&str] = &["AE", "DE", "FR", "KZ", "RU", "TR", "UA", "US"];
const TERRITORIES: &[&str] = &["AE", "DE", "EEA", "KZ", "RU", "TR", "US", "*", "FR", "UA"];
pub(crate) const COLLECTIONS: &[&str] = &["one", "two", "three"];
const LAWS: &[&str] = &[
    "eu-gdpr", "kz-94v", "made-ae", "made-by", "made-de", "made-kz", "made-tr", "made-us",
    "ru-152fz", "uk-gdpr",
];
const DAYS: &[&str] = &["2020-01-01", "2026-01-01", "2026-06-01", "2027-06-01", "2031-01-01"];
const UNKNOWN: &[&str] = &["any-hint", "territory", "never"];
const ABROAD: &[&str] = &["attach", "ignore", "refuse"];
/// What may be excluded: countries of control, regions, and an operator.
const EXCLUDED: &[&str] = &["US", "DE", "r-de", "r-kz", "r-us", "they"];

/// A law for one sector, with a deny-list.
const DE: &str = r#"
id = "made-de"
jurisdiction = "DE"
title = "Made up: conditional-transfer in DE, for banks, nothing to AE"
citation = "none: made up for tests"
source = "none: made up for tests"
trigger = "located"
constraint = "conditional-transfer"
sectors = ["bank"]
deny = ["AE"]
from = 2020-01-01
[[rules]]
says = "made up for tests"
citation = "none"
verified = "inference"
"#;

/// The packs of small maps.
static PACKS: LazyLock<Vec<Arc<StatutePack>>> = LazyLock::new(|| {
    let made = Arc::new(StatutePack::parse(DE).expect("a sound pack"));
    support::PACKS.iter().cloned().chain([made]).collect()
});

/// One step of change: what, of which, and how.
pub(crate) type Step = [u8; 4];

#[derive(Debug, Clone)]
struct Law {
    unknown: &'static str,
    abroad: &'static str,
    inside: bool,
    exclusive: bool,
    collections: Vec<&'static str>,
}

#[derive(Debug, Clone)]
struct Clause {
    from: &'static str,
    to: &'static str,
    basis: u8,
    days: (&'static str, &'static str),
    collections: Vec<&'static str>,
    exclude: Vec<&'static str>,
}

/// A small map.
#[derive(Debug, Clone)]
pub(crate) struct Small {
    valid_until: Option<&'static str>,
    tenants: BTreeMap<&'static str, Vec<&'static str>>,
    collections: BTreeMap<&'static str, (bool, usize)>,
    regions: BTreeMap<String, (&'static str, Vec<u8>, u8)>,
    homes: BTreeMap<&'static str, (String, bool)>,
    laws: BTreeMap<&'static str, Law>,
    clauses: BTreeMap<u8, Clause>,
    /// Collections that declare a ground to be outside of `ru-152fz`.
    exempt: Vec<&'static str>,
    /// What collections exclude.
    excludes: BTreeMap<&'static str, Vec<&'static str>>,
    /// From where the operators of sites are controlled, by the name of the region.
    control: BTreeMap<String, Vec<&'static str>>,
}

/// One of some, by a number.
fn pick<T: Copy>(all: &[T], n: u8) -> T {
    all[usize::from(n) % all.len()]
}

/// Turns one of a list in or out.
fn turn<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if list.contains(&item) {
        list.retain(|own| *own != item);
    } else {
        list.push(item);
    }
}

impl Small {
    /// One region for each country and one more in each of two, a home for most, six laws, and
    /// clauses.
    pub(crate) fn first() -> Self {
        let region =
            |code: &&'static str| (format!("r-{}", code.to_lowercase()), (*code, vec![1], 0));
        let more =
            [("q-ru".to_owned(), ("RU", vec![1], 0)), ("q-fr".to_owned(), ("FR", vec![], 0))];
        let home = |(code, region): (&'static str, &str)| (code, (region.to_owned(), code != "RU"));
        let homes =
            [("EEA", "r-de"), ("KZ", "r-kz"), ("RU", "r-ru"), ("AE", "r-ae"), ("*", "r-us")];
        let law = |id: &'static str| {
            let law = Law {
                unknown: "any-hint",
                abroad: "attach",
                inside: false,
                exclusive: false,
                collections: vec![],
            };
            (id, law)
        };
        let clause = |(n, (from, to)): (u8, (&'static str, &'static str))| {
            let days = ("2026-01-01", "2027-06-01");
            (n, Clause { from, to, basis: 0, days, collections: vec![], exclude: vec![] })
        };
        let ways = [("EEA", "RU"), ("RU", "KZ"), ("KZ", "US"), ("EEA", "KZ"), ("RU", "EEA")];
        Self {
            valid_until: None,
            tenants: BTreeMap::from([("acme", vec!["TR"]), ("beta", vec![])]),
            collections: BTreeMap::from([("one", (true, 1000)), ("two", (false, 1000))]),
            regions: COUNTRIES.iter().map(region).chain(more).collect(),
            homes: homes.into_iter().map(home).collect(),
            laws: ["eu-gdpr", "kz-94v", "made-de", "made-tr", "made-us", "ru-152fz"]
                .into_iter()
                .map(law)
                .collect(),
            clauses: (1..).zip(ways).map(clause).collect(),
            exempt: vec![],
            excludes: BTreeMap::new(),
            control: BTreeMap::new(),
        }
    }

    /// The first map, changed by these steps.
    pub(crate) fn after(steps: &[Step]) -> Self {
        let mut map = Self::first();
        steps.iter().for_each(|step| map.step(*step));
        map
    }

    /// Changes one thing.
    pub(crate) fn step(&mut self, [what, which, how, more]: Step) {
        match what % 23 {
            0 => self.valid_until = Some(pick(DAYS, which)).filter(|_| how % 3 > 0),
            1 => {
                let tenant = pick(&["acme", "beta", "gamma"], which);
                if self.tenants.contains_key(tenant)
                    && how.is_multiple_of(4)
                    && self.tenants.len() > 1
                {
                    self.tenants.remove(tenant);
                } else {
                    turn(self.tenants.entry(tenant).or_default(), pick(COUNTRIES, more));
                }
            }
            2 => self.collection(pick(COLLECTIONS, which), how, more),
            3 => {
                let name =
                    format!("{}-{}", pick(&["r", "q"], how), pick(COUNTRIES, which).to_lowercase());
                if let Some(region) = self.regions.get_mut(&name) {
                    match more % 3 {
                        0 => turn(&mut region.1, how % 3),
                        1 => region.2 = how % 3,
                        _ => region.0 = pick(COUNTRIES, how),
                    }
                } else {
                    self.regions.insert(name, (pick(COUNTRIES, which), vec![], 0));
                }
            }
            16 | 17 => {
                let own = self.laws.get_mut(pick(&["ru-152fz", "made-by"], which));
                match own {
                    Some(law) if what % 23 == 16 => law.unknown = pick(UNKNOWN, more),
                    Some(law) => law.abroad = pick(ABROAD, more),
                    None => {}
                }
            }
            18 => {
                if let Some(law) = self.laws.get_mut("ru-152fz") {
                    law.exclusive = !law.exclusive;
                }
            }
            19 if how > 127 => turn(&mut self.exempt, pick(COLLECTIONS, which)),
            19 => {
                if let Some(words) = self.tenants.get_mut(pick(&["acme", "beta"], which)) {
                    turn(words, "bank");
                }
            }
            20 => turn(
                self.excludes.entry(pick(COLLECTIONS, which)).or_default(),
                pick(EXCLUDED, more),
            ),
            21 => {
                if let Some(clause) = self.clauses.get_mut(&(which % 8)) {
                    turn(&mut clause.exclude, pick(EXCLUDED, more));
                }
            }
            22 => {
                let region = format!("r-{}", pick(COUNTRIES, which).to_lowercase());
                turn(self.control.entry(region).or_default(), pick(&["US", "DE", "FR"], more));
            }
            4..=6 => self.home(pick(TERRITORIES, which), how, more),
            7..=10 => self.law(pick(LAWS, which), how, more),
            _ => self.clause(which % 8, how, more),
        }
    }

    fn collection(&mut self, name: &'static str, how: u8, more: u8) {
        if how.is_multiple_of(5)
            && self.collections.len() > 1
            && self.collections.contains_key(name)
        {
            self.collections.remove(name);
            let law = |law: &Law| law.collections == [name];
            self.laws.retain(|_, own| !law(own));
            self.laws.values_mut().for_each(|law| law.collections.retain(|own| *own != name));
            self.clauses.retain(|_, clause| clause.collections != [name]);
            self.clauses.values_mut().for_each(|c| c.collections.retain(|own| *own != name));
            return;
        }
        let rules = self.collections.entry(name).or_insert((true, 1000));
        if how.is_multiple_of(2) {
            rules.0 = !rules.0
        } else {
            rules.1 = 500 * usize::from(more % 3 + 1)
        }
    }

    fn home(&mut self, of: &'static str, how: u8, more: u8) {
        let names: Vec<&String> = self.regions.keys().collect();
        let region = names[usize::from(more) % names.len()].clone();
        match self.homes.get_mut(of) {
            Some(_) if how.is_multiple_of(3) => drop(self.homes.remove(of)),
            Some(home) if how % 3 == 1 => home.1 = !home.1,
            Some(home) => home.0 = region,
            None => drop(self.homes.insert(of, (region, how.is_multiple_of(2)))),
        }
    }

    fn law(&mut self, id: &'static str, how: u8, more: u8) {
        let collection = self.collections.keys().nth(usize::from(more) % self.collections.len());
        let collection = *collection.expect("a collection");
        let Some(law) = self.laws.get_mut(id) else {
            let (unknown, abroad) = (pick(UNKNOWN, how), pick(ABROAD, more));
            let law = Law {
                unknown,
                abroad,
                inside: how.is_multiple_of(5),
                exclusive: more > 127,
                collections: vec![],
            };
            self.laws.insert(id, law);
            return;
        };
        match how % 6 {
            0 => drop(self.laws.remove(id)),
            1 => law.unknown = pick(UNKNOWN, more),
            2 | 3 => law.abroad = pick(ABROAD, more),
            4 => law.inside = !law.inside,
            _ => turn(&mut law.collections, collection),
        }
    }

    fn clause(&mut self, n: u8, how: u8, more: u8) {
        let collection = self.collections.keys().nth(usize::from(more) % self.collections.len());
        let collection = *collection.expect("a collection");
        let ways: Vec<&str> = TERRITORIES.iter().copied().filter(|code| *code != "*").collect();
        let Some(clause) = self.clauses.get_mut(&n) else {
            let (from, to) = (pick(&ways, how), pick(&ways, more));
            let days = ("2020-01-01", pick(&DAYS[1..], more));
            let (collections, exclude) = (vec![], vec![]);
            self.clauses.insert(n, Clause { from, to, basis: 0, days, collections, exclude });
            return;
        };
        match how % 8 {
            0 | 1 => drop(self.clauses.remove(&n)),
            2 => clause.to = pick(&ways, more),
            3 => clause.from = pick(&ways, more),
            4 => clause.basis = more % 3,
            5 => clause.days.0 = pick(&DAYS[..4], more),
            6 => clause.days.1 = pick(&DAYS[1..], more),
            _ => turn(&mut clause.collections, collection),
        }
        self.clauses.retain(|_, clause| clause.days.0 < clause.days.1);
    }

    /// The map's file.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from("name = \"x\"\ndeployment = \"x\"\nversion = 1\n");
        let mut add = |line: String| text.push_str(&line);
        if let Some(day) = self.valid_until {
            add(format!("valid_until = {day}\n"));
        }
        for (name, words) in &self.tenants {
            let (sectors, established): (Vec<&str>, Vec<&str>) =
                words.iter().partition(|word| **word == "bank");
            add(format!(
                "[[tenants]]\nname = \"{name}\"\nestablishments = {established:?}\n\
                 sectors = {sectors:?}\n"
            ));
        }
        for (name, (logged, bytes)) in &self.collections {
            let reads = if *logged { "logged" } else { "counted" };
            add(format!(
                "[[collections]]\nname = \"{name}\"\ncategory = \"x\"\nreads = \"{reads}\"\n\
                 body_bytes_max = {bytes}\n"
            ));
            if self.exempt.contains(name) && self.laws.contains_key("ru-152fz") {
                add("exempt = [\"ru-152fz/6-1-2\"]\n".to_owned());
            }
            add(excluded(self.excludes.get(name).map(Vec::as_slice).unwrap_or_default()));
        }
        for (name, (territory, authorities, site)) in &self.regions {
            let own_name: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
            let digests: Vec<String> =
                authorities.iter().map(|own| format!("sha256:{own_name:0>62}{own:02x}")).collect();
            add(format!(
                "[[regions]]\nname = \"{name}\"\nterritory = \"{territory}\"\n\
                 authorities = {digests:?}\nsite.address = \"{site}\"\n"
            ));
            if *site == 1 {
                add("site.operator = \"They\"\n".to_owned());
            }
            if let Some(from) = self.control.get(name).filter(|from| !from.is_empty()) {
                add(format!("site.controlled_from = {from:?}\n"));
            }
        }
        for (of, (region, lead)) in &self.homes {
            add(format!("[[homes]]\nfor = \"{of}\"\nregion = \"{region}\"\nlead = {lead}\n"));
        }
        for (id, law) in &self.laws {
            add(law.text(id));
        }
        for (n, clause) in &self.clauses {
            add(clause.text(*n));
        }
        text
    }

    /// The map, if it is sound.
    pub(crate) fn map(&self) -> Option<RegionMap> {
        let own = PACKS.last().expect("a pack").digest();
        let own = hex::encode(own);
        let text = with_digests(&self.text()).replace("@made-de", &format!("sha256:{own}"));
        RegionMap::parse_carrying(&text, &PACKS).ok()
    }
}

/// A list of collections; if it is empty, all.
fn listed(collections: &[&str]) -> String {
    if collections.is_empty() { "\"*\"".to_owned() } else { format!("{collections:?}") }
}

/// Exclusions, each under its key.
fn excluded(words: &[&str]) -> String {
    type IsKey = fn(&str) -> bool;
    let mut text = String::new();
    let keys: [(&str, IsKey); 3] = [
        ("regions", |word| word.starts_with("r-")),
        ("operators", |word| word == "they"),
        ("controlled_from", |word| word.len() == 2),
    ];
    for (key, is) in keys {
        let own: Vec<&str> = words.iter().copied().filter(|word| is(word)).collect();
        if !own.is_empty() {
            writeln!(text, "exclude.{key} = {own:?}").expect("text");
        }
    }
    text
}

impl Law {
    fn text(&self, id: &str) -> String {
        let pack = PACKS.iter().find(|pack| pack.id().as_str() == id).expect("a pack");
        let Self { unknown, abroad, inside, exclusive, collections } = self;
        // The strict reading leaves no choice.
        let inside = *inside || (*exclusive && !pack.inside().is_empty());
        let ingress = if inside { "in-territory" } else { "anywhere" };
        let collections = listed(collections);
        let mut text = format!(
            "[[statutes]]\nid = \"{id}\"\ndigest = \"@{id}\"\ningress = \"{ingress}\"\n\
             collections = {collections}\n"
        );
        if pack.asks_citizenship() {
            write!(text, "unknown = \"{unknown}\"\ncitizens_abroad = \"{abroad}\"\n")
                .expect("text");
        }
        if !pack.readings().is_empty() {
            let reading = if *exclusive { "exclusive" } else { "primary-first" };
            writeln!(text, "reading = \"{reading}\"").expect("text");
        }
        text
    }
}

impl Clause {
    fn text(&self, n: u8) -> String {
        let Self { from, to, basis, days: (from_day, to_day), collections, exclude } = self;
        let (collections, exclude) = (listed(collections), excluded(exclude));
        format!(
            "[[clauses]]\nid = \"c{n}\"\nfrom = \"{from}\"\nto = \"{to}\"\n\
             collections = {collections}\nlegal_basis = \"{basis}\"\nimporter = \"x\"\n\
             reference = \"x\"\nnot_before = {from_day}\nexpires = {to_day}\n\
             {exclude}"
        )
    }
}

/// Steps of change.
pub(crate) fn steps(number: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<Step>(), number)
}
