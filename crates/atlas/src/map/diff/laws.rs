//! Laws and clauses of two maps side by side.

use std::sync::Arc;

use crate::map::diff::parties::opens_transit;
use crate::map::diff::{Pair, Part, Thing, by, collections_of, day, leaves_out, shown};
use crate::map::{Clause, Review, Statute, digest_text};
use crate::{
    CitizensAbroad, Constraint, Date, Ingress, RegionMap, StatutePack, Territory,
    UnknownCitizenship,
};

const MOVED: &str = "it attaches where it did not: people may be moved to its home";
const GONE: &str = "it no longer attaches where it did";

pub(super) fn statutes(pair: &mut Pair<'_>) {
    let (was, is) = (
        by(&pair.old.statutes, |statute| statute.id().as_str()),
        by(&pair.new.statutes, |statute| statute.id().as_str()),
    );
    let new = pair.new;
    let whole = |law: &Statute, added| {
        let of = collections_of(&law.collections).unwrap_or_default();
        let (place, digest) = (law.jurisdiction(), digest_text(law.pack.digest()));
        let all: Vec<String> = law.constraints().iter().map(ToString::to_string).collect();
        let all = format!("{} of {place} for {of}, {digest}", all.join(", "));
        (Some(if added { MOVED } else { GONE }), all)
    };
    pair.part(Part::Statute, was, is, whole, |thing, was, is| statute(thing, was, is, new));
}

fn statute(thing: &mut Thing<'_>, was: &Statute, is: &Statute, new: &RegionMap) {
    // Exemptions follow from what collections declare: they are judged there.
    let Statute {
        pack,
        constraint,
        unknown,
        citizens_abroad,
        ingress,
        transit,
        collections,
        exempt: _,
        reviewed,
    } = was;
    let show = |pack: &Arc<StatutePack>| Some(digest_text(pack.digest()));
    if pack.digest() != is.pack.digest() {
        thing.key("digest", pack, &is.pack, show, |_, _| Some("the law is read otherwise"));
    }
    let show = |word: &Constraint| Some(word.to_string());
    thing.key("reading", constraint, &is.constraint, show, |was, is| match (was, is) {
        // Both put the first copy there; the second allows no copy and no reader abroad.
        (Constraint::PrimaryFirst, Constraint::Exclusive) => None,
        _ => Some("it is read otherwise"),
    });
    let show = |word: &UnknownCitizenship| Some(word.to_string());
    // From the widest to the narrowest, as they are declared.
    thing.key("unknown", unknown, &is.unknown, show, |was, is| {
        Some(if is > was { GONE } else { MOVED })
    });
    let show = |word: &CitizensAbroad| Some(word.to_string());
    thing.key("citizens_abroad", citizens_abroad, &is.citizens_abroad, show, |_, is| match is {
        // Nothing of them is stored: nothing is stricter.
        CitizensAbroad::Refuse => None,
        CitizensAbroad::Attach => Some("citizens abroad are stored where this law puts them"),
        CitizensAbroad::Ignore => Some(GONE),
    });
    let show = |word: &Ingress| Some(word.to_string());
    thing.key("ingress", ingress, &is.ingress, show, |_, is| match is {
        Ingress::InTerritory => None,
        Ingress::Anywhere => Some("records may come in through gateways outside of its territory"),
    });
    thing.key("transit", transit, &is.transit, |word| Some(word.to_string()), opens_transit);
    // A review changes no ruling.
    let show = |review: &Option<Review>| {
        review.as_ref().map(|Review { by, on, digest }| {
            format!("by {by:?} on {on}, of {}", digest_text(digest))
        })
    };
    thing.key("reviewed", reviewed, &is.reviewed, show, |_, _| None);
    thing.key("collections", collections, &is.collections, collections_of, |was, is| {
        let gained = || leaves_out(is, was, new).then_some(MOVED);
        if leaves_out(was, is, new) { Some(GONE) } else { gained() }
    });
}

pub(super) fn clauses(pair: &mut Pair<'_>) {
    let (was, is) = (
        by(&pair.old.clauses, |clause| clause.id.as_str()),
        by(&pair.new.clauses, |clause| clause.id.as_str()),
    );
    let new = pair.new;
    let whole = |clause: &Clause, added: bool| {
        let Clause { from, to, not_before, expires, legal_basis, importer, reference, .. } = clause;
        let exclude = if clause.exclude.is_empty() {
            String::new()
        } else {
            format!(", exclude {}", clause.exclude)
        };
        let of = collections_of(&clause.collections).unwrap_or_default();
        let all = format!(
            "{of} from {from} to {to}, from {not_before} until before {expires}, \
             {legal_basis:?}, {importer:?}, {reference:?}{exclude}"
        );
        (added.then_some("data may go where they might not"), all)
    };
    pair.part(Part::Clause, was, is, whole, |thing, was, is| clause(thing, was, is, new));
}

/// A clause may end earlier, begin later or be for fewer collections. Any other change makes it
/// another clause.
fn clause(thing: &mut Thing<'_>, was: &Clause, is: &Clause, new: &RegionMap) {
    let Clause {
        id: _,
        from,
        to,
        collections,
        legal_basis,
        importer,
        reference,
        not_before,
        expires,
        notified,
        exclude,
    } = was;
    let show = |territory: &Territory| Some(territory.to_string());
    for (key, was, is) in [("from", from, &is.from), ("to", to, &is.to)] {
        thing.key(key, was, is, show, |_, _| Some("data may go another way"));
    }
    thing.key("collections", collections, &is.collections, collections_of, |was, is| {
        leaves_out(is, was, new).then_some("other data may go")
    });
    let why = "it rests on something else than signers know";
    for (key, was, is) in [
        ("legal_basis", legal_basis, &is.legal_basis),
        ("importer", importer, &is.importer),
        ("reference", reference, &is.reference),
    ] {
        thing.words(key, Some(was), Some(is), why);
    }
    // The check of the map compares `not_before` with it. A different day is a different statement.
    thing.key("notified", notified, &is.notified, day, |_, _| Some(why));
    let show = |date: &Date| Some(date.to_string());
    thing.key("not_before", not_before, &is.not_before, show, |was, is| {
        (is < was).then_some("data may go earlier")
    });
    thing.key("expires", expires, &is.expires, show, |was, is| {
        (is > was).then_some("data may go for longer")
    });
    thing.key("exclude", exclude, &is.exclude, shown, |was, is| {
        (!is.hold_all_of(was)).then_some("data may lie at a site where they might not")
    });
}
