//! Every respect in which two maps differ, each judged: whether it opens anything.
//!
//! **Architecture invariant:** every part of a map is taken apart here by all of its fields. A
//! field that is added does not build until somebody has said here what a change of it opens.

use std::collections::BTreeMap;

use terms::{Collection, RegionId};

use super::disputed::Prefix;
use super::{
    CollectionRules, Disputed, Exempt, Home, HomeFor, Reads, Region, RegionMap, Site, Tenant,
};
use super::{digest_text, laws};
use crate::country::Countries;
use crate::widening::{Change, Part};
use crate::{Country, Date, Sector, Trigger};

/// What a change opens, in words; nothing: none.
pub(super) type Opens = Option<&'static str>;

/// A thing of a map, while what is said of it before and now is held side by side.
pub(super) struct Thing<'a> {
    changes: &'a mut Vec<Change>,
    part: Part,
    name: &'a str,
}

impl Thing<'_> {
    /// Holds side by side what one key says, as it was and as it is.
    pub(super) fn key<T: PartialEq>(
        &mut self,
        key: &'static str,
        (before, after): (&T, &T),
        show: impl Fn(&T) -> Option<String>,
        opens: impl Fn(&T, &T) -> Opens,
    ) {
        if before != after {
            self.changes.push(Change {
                part: self.part,
                name: self.name.to_owned(),
                key: Some(key),
                before: show(before),
                after: show(after),
                widens: opens(before, after),
            });
        }
    }

    /// The same for words, any change of which opens something.
    pub(super) fn words(
        &mut self,
        key: &'static str,
        before: Option<&str>,
        after: Option<&str>,
        why: &'static str,
    ) {
        let show = |text: &Option<&str>| text.map(|text| format!("\"{text}\""));
        self.key(key, (&before, &after), show, |_, _| Some(why));
    }

    /// The same for a yes or no, with what each turn opens.
    pub(super) fn flag(&mut self, key: &'static str, (before, after): (bool, bool), why: Opens) {
        self.key(key, (&before, &after), |is| Some(is.to_string()), |_, _| why);
    }
}

/// Two maps, side by side.
pub(super) struct Pair<'a> {
    pub(super) old: &'a RegionMap,
    pub(super) new: &'a RegionMap,
    changes: Vec<Change>,
}

impl<'a> Pair<'a> {
    /// Goes through the things of one part by name. `whole` judges one that is there on one side
    /// only (the second is whether it is new), `each` holds one side by side with itself.
    pub(super) fn part<T>(
        &mut self,
        part: Part,
        (old, new): (BTreeMap<String, &'a T>, BTreeMap<String, &'a T>),
        whole: impl Fn(&T, bool) -> Opens,
        each: impl Fn(&mut Thing<'_>, &'a T, &'a T),
    ) {
        let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let (widens, added) = match (old.get(name), new.get(name)) {
                (Some(before), Some(after)) => {
                    let mut thing = Thing { changes: &mut self.changes, part, name };
                    each(&mut thing, before, after);
                    continue;
                }
                (Some(gone), None) => (whole(gone, false), false),
                (None, Some(added)) => (whole(added, true), true),
                (None, None) => continue,
            };
            let there = |is: bool| is.then(|| "there".to_owned());
            let (before, after) = (there(!added), there(added));
            let name = name.clone();
            self.changes.push(Change { part, name, key: None, before, after, widens });
        }
    }
}

/// The things of a part by name.
pub(super) fn by<'a, T>(
    all: impl IntoIterator<Item = &'a T>,
    name: impl Fn(&T) -> &str,
) -> BTreeMap<String, &'a T> {
    all.into_iter().map(|thing| (name(thing).to_owned(), thing)).collect()
}

/// Every respect in which the new map differs from the old one.
pub(crate) fn changes(old: &RegionMap, new: &RegionMap) -> Vec<Change> {
    let mut pair = Pair { old, new, changes: Vec::new() };
    whole(&mut pair);
    tenants(&mut pair);
    collections(&mut pair);
    regions(&mut pair);
    homes(&mut pair);
    laws::statutes(&mut pair);
    laws::clauses(&mut pair);
    disputed(&mut pair);
    pair.changes
}

/// What is said of the map as a whole.
fn whole(pair: &mut Pair<'_>) {
    let RegionMap {
        // Which map it is and which one it follows: whoever accepts a map judges that.
        epoch: _,
        predecessors: _,
        name,
        deployment,
        trust_domain,
        valid_until,
        tenants: _,
        collections: _,
        regions: _,
        homes: _,
        statutes: _,
        clauses: _,
        disputed: _,
        // Worked out from the others.
        leads: _,
        clauses_from: _,
    } = pair.old;
    let now = pair.new;
    let mut thing = Thing { changes: &mut pair.changes, part: Part::Map, name: &now.name };
    let other = "it may be another map than the one that signers know";
    thing.words("name", Some(name), Some(&now.name), other);
    let other = "it is for another deployment: a running one must refuse it";
    thing.words("deployment", Some(deployment), Some(&now.deployment), other);
    let other = "processes of another trust domain are let in: a running deployment must refuse it";
    thing.words("trust_domain", Some(trust_domain), Some(&now.trust_domain), other);
    thing.key("valid_until", (valid_until, &now.valid_until), day, |was, is| {
        let longer = is.is_none() || was.is_some_and(|was| is.is_some_and(|is| is > was));
        longer.then_some("its clauses may be relied on for longer")
    });
}

/// A day, if there is one.
pub(super) fn day(date: &Option<Date>) -> Option<String> {
    date.map(|date| date.to_string())
}

fn tenants(pair: &mut Pair<'_>) {
    let (old, new) = (pair.old, pair.new);
    let operators = new.statutes.iter().filter(|law| law.pack.trigger() == Trigger::Operator);
    let asked = operators.map(|law| law.jurisdiction().members());
    let asked = asked.fold(Countries::EMPTY, Countries::or);
    let sectors = |sector: Option<&Sector>| {
        let mut asked = new.statutes.iter().flat_map(|law| law.pack.sectors());
        asked.any(|own| sector.is_none_or(|sector| own == sector))
    };
    let whole = |_: &Tenant, added| match added {
        true => Some("people of one more platform may be stored"),
        // Of a tenant that is not declared, every law of operators and of sectors is taken to hold.
        false => (!asked.is_empty() || sectors(None))
            .then_some("laws of its establishment are taken to attach: people may be moved"),
    };
    let both = (by(old.tenants.values(), named), by(new.tenants.values(), named));
    pair.part(Part::Tenant, both, whole, |thing, was, is| {
        let Tenant { name: _, established, sectors: works } = was;
        let show = |all: &Countries| Some(list(all.iter().map(Country::as_str)));
        thing.key("establishments", (established, &is.established), show, |was, is| {
            if was.and(*is) != *was {
                return Some("laws of an establishment attach no more");
            }
            let more = is.iter().filter(|country| !was.contains(*country));
            let more = more.fold(Countries::EMPTY, Countries::with);
            (!more.and(asked).is_empty())
                .then_some("a law of an establishment attaches: people may be moved to its home")
        });
        let show = |all: &Vec<Sector>| Some(list(all.iter().map(Sector::as_str)));
        thing.key("sectors", (works, &is.sectors), show, |was, is| {
            if was.iter().any(|sector| !is.contains(sector)) {
                return Some("laws of a sector attach no more");
            }
            let more = is.iter().any(|sector| !was.contains(sector) && sectors(Some(sector)));
            more.then_some("a law of a sector attaches: people may be moved to its home")
        });
    });

    fn named(tenant: &Tenant) -> &str {
        tenant.name.as_str()
    }
}

fn collections(pair: &mut Pair<'_>) {
    let both = (
        by(pair.old.collections.values(), |rules| rules.name.as_str()),
        by(pair.new.collections.values(), |rules| rules.name.as_str()),
    );
    let whole = |_: &CollectionRules, added: bool| added.then_some("one more kind of data");
    pair.part(Part::Collection, both, whole, |thing, was, is| {
        let CollectionRules { name: _, category, grounds, reads, body_bytes_max, exempt } = was;
        let other = "other data than before, under the same laws and clauses";
        thing.words("category", Some(category), Some(&is.category), other);
        let other = "other grounds than those that signers know";
        thing.words("grounds", grounds.as_deref(), is.grounds.as_deref(), other);
        let show = |reads: &Reads| Some(reads.as_str().to_owned());
        thing.key("reads", (reads, &is.reads), show, |_, is| match is {
            Reads::Logged => None,
            Reads::Counted => Some("a read leaves no entry of its own"),
        });
        let sizes = (body_bytes_max, &is.body_bytes_max);
        thing.key(
            "body_bytes_max",
            sizes,
            |n| Some(n.to_string()),
            |was, is| (is > was).then_some("more data per record than before"),
        );
        let show = |all: &Vec<Exempt>| {
            let all: Vec<String> = all.iter().map(Exempt::to_string).collect();
            Some(list(all.iter().map(String::as_str)))
        };
        thing.key("exempt", (exempt, &is.exempt), show, |was, is| {
            if is.iter().any(|exempt| !was.contains(exempt)) {
                return Some("a law attaches no more where it did");
            }
            let fewer = was.iter().any(|exempt| !is.contains(exempt));
            fewer.then_some("a law attaches where it did not: people may be moved to its home")
        });
    });
}

fn regions(pair: &mut Pair<'_>) {
    let both = (
        by(&pair.old.regions, |region| region.name.as_str()),
        by(&pair.new.regions, |region| region.name.as_str()),
    );
    let whole = |_: &Region, added: bool| added.then_some("data may lie in one more place");
    pair.part(Part::Region, both, whole, |thing, was, is| {
        let Region { name: _, territory, authorities, site } = was;
        let show = |country: &Country| Some(country.to_string());
        let other = "data stand in another country than the same name did";
        thing.key("territory", (territory, &is.territory), show, |_, _| Some(other));
        let show = |all: &Vec<[u8; 32]>| {
            let all: Vec<String> = all.iter().map(digest_text).collect();
            (!all.is_empty()).then(|| list(all.iter().map(String::as_str)))
        };
        thing.key("authorities", (authorities, &is.authorities), show, |was, is| {
            if is.iter().any(|authority| !was.contains(authority)) {
                Some("one more authority may let processes in")
            } else {
                is.is_empty().then_some("no certificate is asked for any more")
            }
        });
        self::site(thing, site, &is.site);
    });
}

/// What is attested of a site. Any other word may mean another place or other hands.
fn site(thing: &mut Thing<'_>, was: &Site, is: &Site) {
    let Site { address, operator, contract, register, attestation, attestation_expires } = was;
    for (key, was, is, why) in [
        ("site.address", address, &is.address, "data may stand in another place"),
        ("site.operator", operator, &is.operator, "data may be in other hands"),
        ("site.contract", contract, &is.contract, "the place is shown by something else"),
        ("site.register", register, &is.register, "the place is shown by something else"),
        ("site.attestation", attestation, &is.attestation, "the place is attested otherwise"),
    ] {
        thing.words(key, was.as_deref(), is.as_deref(), why);
    }
    let days = (attestation_expires, &is.attestation_expires);
    thing.key("site.attestation_expires", days, day, |was, is| {
        let longer = is.is_none_or(|is| was.is_some_and(|was| is > was));
        longer.then_some("the attestation is relied on for longer")
    });
}

fn homes(pair: &mut Pair<'_>) {
    let (old, new) = (pair.old, pair.new);
    let both = (
        by(&old.homes, |home| home.home_for.as_str()),
        by(&new.homes, |home| home.home_for.as_str()),
    );
    // Without a home of their own, people go to the home of their group or of `*`.
    let moved = |home: &Home| {
        let mut of = Country::all().filter(|country| match home.home_for {
            HomeFor::Territory(territory) => territory.contains(*country),
            HomeFor::Any => true,
        });
        of.any(|country| leads(old, country) != leads(new, country))
    };
    let whole = |home: &Home, added| match added {
        true => Some("people may be placed where they were not"),
        false => moved(home).then_some("its people may be placed elsewhere"),
    };
    pair.part(Part::Home, both, whole, |thing, was, is| {
        // The place follows from the region's name.
        let Home { home_for: _, region, place: _, lead } = was;
        let show = |region: &RegionId| Some(region.to_string());
        let other = "people are placed in another region";
        thing.key("region", (region, &is.region), show, |_, _| Some(other));
        let why = if is.lead {
            "it takes people whom no law puts there"
        } else {
            "people whom no law puts there are placed elsewhere"
        };
        thing.flag("lead", (*lead, is.lead), Some(why));
    });
}

/// The region that takes people of a country whom no law puts anywhere.
fn leads(map: &RegionMap, country: Country) -> Option<&RegionId> {
    map.lead(country).map(|home| &home.region)
}

/// Evidence from there is read otherwise. Only a decision that is withdrawn is sure to open nothing.
fn disputed(pair: &mut Pair<'_>) {
    let both = (
        by(&pair.old.disputed.all, |area| area.name.as_str()),
        by(&pair.new.disputed.all, |area| area.name.as_str()),
    );
    let read = "evidence from there points elsewhere than before";
    pair.part(
        Part::Disputed,
        both,
        |_, _| Some(read),
        |thing, was, is| {
            let Disputed { name: _, addresses, numbers, claims, decided } = was;
            let show = |all: &Vec<Prefix>| {
                let all: Vec<String> = all.iter().map(Prefix::text).collect();
                Some(list(all.iter().map(String::as_str)))
            };
            thing.key("addresses", (addresses, &is.addresses), show, |_, _| Some(read));
            let show = |all: &Vec<String>| Some(list(all.iter().map(String::as_str)));
            thing.key("numbers", (numbers, &is.numbers), show, |_, _| Some(read));
            let show = |all: &Vec<Country>| {
                (!all.is_empty()).then(|| list(all.iter().map(|country| country.as_str())))
            };
            thing.key("claims", (claims, &is.claims), show, |_, _| Some("others claim it"));
            thing.key("decided", (decided, &is.decided), show, |_, is| {
                (!is.is_empty()).then_some(read)
            });
        },
    );
}

/// Names, with commas between them, in brackets.
pub(super) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", names.collect::<Vec<_>>().join(", "))
}

/// The collections of a law or clause. None: all.
pub(super) fn collections_of(all: &Option<Vec<Collection>>) -> Option<String> {
    let listed = |all: &Vec<Collection>| list(all.iter().map(Collection::as_str));
    Some(all.as_ref().map_or_else(|| "*".to_owned(), listed))
}

/// Whether the second leaves out a collection that the first covers and that the map has. A list is
/// less than `*`, even if it names all that there are now.
pub(super) fn leaves_out(
    was: &Option<Vec<Collection>>,
    is: &Option<Vec<Collection>>,
    map: &RegionMap,
) -> bool {
    match (was, is) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(was), Some(is)) => {
            was.iter().any(|name| !is.contains(name) && map.collections.contains_key(name))
        }
    }
}
