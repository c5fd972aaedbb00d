//! Tenants and collections of two maps side by side.

use crate::geo::country::Countries;
use crate::map::diff::{Pair, Part, Thing, by, shown, texts};
use crate::map::{
    AttributeRules, CollectionRules, Exclusions, Lifetime, Reads, RegionMap, Tenant, Unique,
};
use crate::{Exempt, Index, Scope, Sector, Transit, Trigger};

pub(super) fn tenants(pair: &mut Pair<'_>) {
    let (old, new) = (pair.old, pair.new);
    let by_operator = |scope: &Scope| scope.trigger() == Trigger::Operator;
    let operators = new.statutes.iter().filter(|law| law.pack.scopes().iter().any(by_operator));
    let asked = operators.map(|law| law.jurisdiction().members());
    let asked = asked.fold(Countries::EMPTY, Countries::or);
    let sectors = |sector: Option<&Sector>| {
        let mut asked = new.statutes.iter().flat_map(|law| law.pack.sectors());
        asked.any(|own| sector.is_none_or(|sector| own == sector))
    };
    let whole = |tenant: &Tenant, added| {
        let (established, works) = (texts(tenant.established.iter()), texts(&tenant.sectors));
        let mut all = format!("established in {established}, sectors {works}");
        if tenant.locate {
            all.push_str(", found by id alone");
        }
        if tenant.unique == Unique::Reachable {
            all.push_str(", ids are unique");
        }
        // Of a tenant that is not declared, every law of operators and of sectors is taken to hold.
        let gone = (!asked.is_empty() || sectors(None))
            .then_some("laws of its establishment are taken to attach: people may be moved");
        (if added { Some("people of one more platform may be stored") } else { gone }, all)
    };
    let (was, is) = (by(old.tenants.values(), named), by(new.tenants.values(), named));
    pair.part(Part::Tenant, was, is, whole, |thing, was, is| {
        let Tenant { name: _, established, sectors: works, locate, unique } = was;
        thing.key(
            "locate",
            locate,
            &is.locate,
            |flag| Some(flag.to_string()),
            |_, is| is.then_some("regions tell other regions that they hold a person"),
        );
        let show = |unique: &Unique| Some(unique.as_str().to_owned());
        thing.key("unique", unique, &is.unique, show, |_, is| {
            Some(match is {
                Unique::Reachable => "a region tells other regions that it holds an id",
                Unique::No => "one id may become several people",
            })
        });
        let show = |all: &Countries| Some(texts(all.iter()));
        thing.key("establishments", established, &is.established, show, |was, is| {
            if was.and(*is) != *was {
                return Some("laws of an establishment no longer attach");
            }
            let more = is.iter().filter(|country| !was.contains(*country));
            let more = more.fold(Countries::EMPTY, Countries::with);
            (!more.and(asked).is_empty())
                .then_some("a law of an establishment attaches: people may be moved to its home")
        });
        let show = |all: &Vec<Sector>| Some(texts(all));
        thing.key("sectors", works, &is.sectors, show, |was, is| {
            if was.iter().any(|sector| !is.contains(sector)) {
                return Some("laws of a sector no longer attach");
            }
            let more = is.iter().any(|sector| !was.contains(sector) && sectors(Some(sector)));
            more.then_some("a law of a sector attaches: people may be moved to its home")
        });
    });

    fn named(tenant: &Tenant) -> &str {
        tenant.name.as_str()
    }
}

/// What a change of how bodies pass gateways widens.
pub(super) fn opens_transit(_: &Transit, is: &Transit) -> Option<&'static str> {
    match is {
        Transit::Sealed => None,
        Transit::Any => Some("gateways may read bodies that they could not"),
    }
}

pub(super) fn collections(pair: &mut Pair<'_>) {
    let (old, new) = (pair.old, pair.new);
    let (was, is) = (
        by(pair.old.collections.values(), |rules| rules.name.as_str()),
        by(pair.new.collections.values(), |rules| rules.name.as_str()),
    );
    let whole = |rules: &CollectionRules, added: bool| {
        let CollectionRules { category, reads, body_bytes_max, exempt, .. } = rules;
        let (reads, exempt) = (reads.as_str(), texts(exempt));
        let all =
            format!("{category:?}, reads {reads}, up to {body_bytes_max} bytes, exempt {exempt}");
        (added.then_some("one more kind of data"), all)
    };
    pair.part(Part::Collection, was, is, whole, |thing, was, is| {
        let CollectionRules {
            name: _,
            category,
            grounds,
            reads,
            body_bytes_max,
            exempt,
            life_max,
            feed,
            listed,
            transit,
            // Judged apart.
            attributes: _,
            exclude: _,
        } = was;
        let other = "other data than before, under the same laws and clauses";
        thing.words("category", Some(category), Some(&is.category), other);
        let other = "other grounds than those that signers know";
        thing.words("grounds", grounds.as_deref(), is.grounds.as_deref(), other);
        let show = |reads: &Reads| Some(reads.as_str().to_owned());
        thing.key("reads", reads, &is.reads, show, |_, is| match is {
            Reads::Logged => None,
            Reads::Counted => Some("a read leaves no entry of its own"),
        });
        thing.key(
            "body_bytes_max",
            body_bytes_max,
            &is.body_bytes_max,
            |n| Some(n.to_string()),
            |was, is| (is > was).then_some("more data per record than before"),
        );
        let show = |all: &Vec<Exempt>| Some(texts(all));
        thing.key("exempt", exempt, &is.exempt, show, |was, is| {
            if is.iter().any(|exempt| !was.contains(exempt)) {
                return Some("a law no longer attaches where it did");
            }
            let fewer = was.iter().any(|exempt| !is.contains(exempt));
            fewer.then_some("a law attaches where it did not: people may be moved to its home")
        });
        let show = |life: &Option<Lifetime>| life.map(|life| life.to_string());
        thing.key("life_max", life_max, &is.life_max, show, |was, is| {
            let longer = was.is_some_and(|was| is.is_none_or(|is| is > was));
            longer.then_some("records may be kept for longer than before")
        });
        let show = |feed: &Option<Lifetime>| feed.map(|feed| feed.to_string());
        thing.key("feed", feed, &is.feed, show, |was, is| {
            // Who changed what, and when, is told for longer than before.
            (is > was).then_some("the changes of its records are kept, or for longer")
        });
        thing.key("list", listed, &is.listed, |flag| Some(flag.to_string()), |_, _| None);
        thing.key("transit", transit, &is.transit, |word| Some(word.to_string()), opens_transit);
        attributes(thing, was, is);
        excluded(thing, was, is, old, new);
    });
}

fn attributes(thing: &mut Thing<'_>, was: &CollectionRules, is: &CollectionRules) {
    let show = |all: &Vec<AttributeRules>| Some(texts(all));
    thing.key("attributes", &was.attributes, &is.attributes, show, |_, is| {
        let ordered = |own: &AttributeRules| own.index() == Index::Range;
        let was = |own: &AttributeRules| was.attribute(own.name()).is_some_and(ordered);
        let more = is.iter().any(|own| ordered(own) && !was(own));
        more.then_some("the disk shows the values of one more attribute in their order")
    });
}

/// Exclusions. A home that is passed over sends people to another one. What else changes of its site is
/// judged there.
fn excluded(
    thing: &mut Thing<'_>,
    was: &CollectionRules,
    is: &CollectionRules,
    old: &RegionMap,
    new: &RegionMap,
) {
    let passed_over = |was: &Exclusions, is: &Exclusions| {
        let mut leading = new.homes.iter().filter(|home| home.lead);
        leading.any(|home| {
            let region = old.region(&home.region);
            region.is_some_and(|own| own.is_excluded(is) && !own.is_excluded(was))
        })
    };
    thing.key("exclude", &was.exclude, &is.exclude, shown, |was, is| {
        if !is.hold_all_of(was) {
            return Some("data may lie at a site where they might not");
        }
        let moved = "people without a law that places them are placed elsewhere";
        passed_over(was, is).then_some(moved)
    });
}
