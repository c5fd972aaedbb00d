//! Regions, homes and disputed areas of two maps side by side.

use terms::RegionId;

use crate::Country;
use crate::map::diff::{Pair, Part, Thing, by, day, texts};
use crate::map::disputed::Prefix;
use crate::map::{
    Disputed, Endpoint, Exclusions, Home, HomeFor, Region, RegionMap, Site, digest_text,
};

pub(super) fn regions(pair: &mut Pair<'_>) {
    let new = pair.new;
    let (was, is) = (
        by(&pair.old.regions, |region| region.name.as_str()),
        by(&pair.new.regions, |region| region.name.as_str()),
    );
    let whole = |region: &Region, added: bool| {
        let authorities = texts(region.authorities.iter().map(digest_text));
        let signers = texts(region.annex_signers.iter().cloned());
        let mut all =
            format!("in {}, authorities {authorities}, annex by {signers}", region.territory);
        if !region.backup_endpoints.is_empty() {
            all.push_str(", backups to ");
            all.push_str(&texts(&region.backup_endpoints));
        }
        (added.then_some("data may lie in one more place"), all)
    };
    pair.part(Part::Region, was, is, whole, |thing, was, is| {
        let Region { name: _, territory, authorities, annex_signers, backup_endpoints, site } = was;
        let show = |country: &Country| Some(country.to_string());
        let other = "data stand in another country than the same name did";
        thing.key("territory", territory, &is.territory, show, |_, _| Some(other));
        let show =
            |all: &Vec<[u8; 32]>| (!all.is_empty()).then(|| texts(all.iter().map(digest_text)));
        thing.key("authorities", authorities, &is.authorities, show, |was, is| {
            if is.iter().any(|authority| !was.contains(authority)) {
                Some("one more authority may let processes in")
            } else {
                is.is_empty().then_some("no certificate is required any longer")
            }
        });
        let show = |all: &Vec<String>| (!all.is_empty()).then(|| texts(all.iter().cloned()));
        thing.key("annex_signers", annex_signers, &is.annex_signers, show, |was, is| {
            if was.is_empty() {
                // Until now any text in a gateway's folder counted.
                None
            } else if is.is_empty() {
                Some("the annex is no longer signed")
            } else {
                let more = is.iter().any(|key| !was.contains(key));
                more.then_some("one more key may sign the annex")
            }
        });
        let show = |all: &Vec<Endpoint>| (!all.is_empty()).then(|| texts(all));
        thing.key("backup_endpoints", backup_endpoints, &is.backup_endpoints, show, |was, is| {
            let more = is.iter().any(|endpoint| !was.contains(endpoint));
            more.then_some("backups may be sent to one more address")
        });
        crate::map::diff::places::site(thing, site, &is.site);
        let (was_from, is_from) = (&site.controlled_from, &is.site.controlled_from);
        let show = |all: &Vec<Country>| (!all.is_empty()).then(|| texts(all));
        thing.key("site.controlled_from", was_from, is_from, show, |before, after| {
            let gone = before.iter().any(|country| !after.contains(country));
            if gone || exclusions(new).any(|by| was.is_excluded(by) && !is.is_excluded(by)) {
                return Some("data may lie at this site where they might not");
            }
            let leads = new.homes.iter().any(|home| home.lead && home.region == is.name);
            let passed_over =
                leads && exclusions(new).any(|by| is.is_excluded(by) && !was.is_excluded(by));
            passed_over.then_some("people without a law that places them are placed elsewhere")
        });
    });
}

/// All exclusions of a map.
fn exclusions(map: &RegionMap) -> impl Iterator<Item = &Exclusions> {
    let of_collections = map.collections.values().map(|rules| &rules.exclude);
    of_collections.chain(map.clauses.iter().map(|clause| &clause.exclude))
}

/// What is attested of a site. Any other word may mean another place or other hands.
fn site(thing: &mut Thing<'_>, was: &Site, is: &Site) {
    let Site {
        address,
        operator,
        // With the region, whose homes it may concern.
        controlled_from: _,
        contract,
        register,
        attestation,
        attestation_expires,
    } = was;
    for (key, was, is, why) in [
        ("site.address", address, &is.address, "data may stand in another place"),
        ("site.operator", operator, &is.operator, "data may be in other hands"),
        ("site.contract", contract, &is.contract, "the place is shown by something else"),
        ("site.register", register, &is.register, "the place is shown by something else"),
        ("site.attestation", attestation, &is.attestation, "the place is attested otherwise"),
    ] {
        thing.words(key, was.as_deref(), is.as_deref(), why);
    }
    thing.key(
        "site.attestation_expires",
        attestation_expires,
        &is.attestation_expires,
        day,
        |was, is| {
            let longer = is.is_none_or(|is| was.is_some_and(|was| is > was));
            longer.then_some("the attestation is relied on for longer")
        },
    );
}

pub(super) fn homes(pair: &mut Pair<'_>) {
    let (old, new) = (pair.old, pair.new);
    let (was, is) = (
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
    let whole = |home: &Home, added| {
        let opens = match added {
            true => Some("people may be placed where they were not"),
            false => moved(home).then_some("its people may be placed elsewhere"),
        };
        (opens, format!("{}, lead {}", home.region, home.lead))
    };
    pair.part(Part::Home, was, is, whole, |thing, was, is| {
        // The place follows from the region's name.
        let Home { home_for: _, region, place: _, lead } = was;
        let show = |region: &RegionId| Some(region.to_string());
        let other = "people are placed in another region";
        thing.key("region", region, &is.region, show, |_, _| Some(other));
        let why = if is.lead {
            "people may be placed there without a law that requires it"
        } else {
            "people without a law that places them are placed elsewhere"
        };
        thing.key("lead", lead, &is.lead, |lead| Some(lead.to_string()), |_, _| Some(why));
    });
}

/// The region for people of a country to whom no law gives a place.
fn leads(map: &RegionMap, country: Country) -> Option<&RegionId> {
    map.lead(country).map(|home| &home.region)
}

/// Evidence from there is read otherwise. Only a decision that is withdrawn is sure to open nothing.
pub(super) fn disputed(pair: &mut Pair<'_>) {
    let (was, is) = (
        by(&pair.old.disputed.all, |area| area.name.as_str()),
        by(&pair.new.disputed.all, |area| area.name.as_str()),
    );
    let read = "evidence from there points elsewhere than before";
    let whole = |area: &Disputed, _| {
        let prefixes = texts(area.addresses().chain(area.numbers.iter().cloned()));
        let (claims, decided) = (texts(&area.claims), texts(&area.decided));
        (Some(read), format!("{prefixes}, claims {claims}, decided {decided}"))
    };
    pair.part(Part::Disputed, was, is, whole, |thing, was, is| {
        let Disputed { name: _, addresses, numbers, claims, decided } = was;
        let show = |all: &Vec<Prefix>| Some(texts(all.iter().map(Prefix::text)));
        thing.key("addresses", addresses, &is.addresses, show, |_, _| Some(read));
        let show = |all: &Vec<String>| Some(texts(all));
        thing.key("numbers", numbers, &is.numbers, show, |_, _| Some(read));
        let show = |all: &Vec<Country>| (!all.is_empty()).then(|| texts(all));
        thing.key("claims", claims, &is.claims, show, |_, _| Some("others claim it"));
        thing.key("decided", decided, &is.decided, show, |_, is| (!is.is_empty()).then_some(read));
    });
}
