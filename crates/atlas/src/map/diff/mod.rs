//! Every respect in which two maps differ, each judged: whether it opens anything.
//!
//! **Architecture invariant:** every part of a map is taken apart here by all of its fields. A
//! field that is added does not build until this module says what a change of it opens.

mod laws;
mod parties;
mod places;

use std::collections::BTreeMap;
use std::fmt;

use terms::Collection;

use crate::Date;
use crate::map::{Exclusions, RegionMap};

/// What part of a map something is said of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The map itself.
    Map,
    /// A tenant.
    Tenant,
    /// A collection.
    Collection,
    /// A region.
    Region,
    /// A home.
    Home,
    /// A statute in force.
    Statute,
    /// A transfer clause.
    Clause,
    /// A disputed area.
    Disputed,
}

impl Part {
    /// Its word in maps, in the singular.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Tenant => "tenant",
            Self::Collection => "collection",
            Self::Region => "region",
            Self::Home => "home",
            Self::Statute => "statute",
            Self::Clause => "clause",
            Self::Disputed => "disputed area",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One respect in which a map says something else than the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of what.
    pub part: Part,
    /// Of which one: its name, id, or the territory of a home.
    pub name: String,
    /// The key under which it is said. None: the whole of it was added or taken away.
    pub key: Option<&'static str>,
    /// What was said before; of the whole, what matters most. None: nothing.
    pub before: Option<String>,
    /// What is said now; of the whole, what matters most. None: nothing.
    pub after: Option<String>,
    /// What it opens, in words. None: nothing.
    pub widens: Option<&'static str>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, name, key, before, after, widens: _ } = self;
        write!(f, "{part} `{name}`")?;
        let said = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
        match (key, before) {
            (None, None) => write!(f, " is added: {}", said(after)),
            (None, Some(gone)) => write!(f, " is taken away: {gone}"),
            (Some(key), _) => write!(f, ": {key} was {}, is {}", said(before), said(after)),
        }
    }
}

/// What a change opens, in words; nothing: none.
type Opens = Option<&'static str>;

/// A thing of a map, while what is said of it before and now is held side by side.
struct Thing<'a> {
    changes: &'a mut Vec<Change>,
    part: Part,
    name: &'a str,
}

impl Thing<'_> {
    /// Holds side by side what one key says, as it was and as it is.
    fn key<T: PartialEq>(
        &mut self,
        key: &'static str,
        before: &T,
        after: &T,
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
    fn words(
        &mut self,
        key: &'static str,
        before: Option<&str>,
        after: Option<&str>,
        why: &'static str,
    ) {
        // As Rust writes a text: invisible characters are escaped, and it stays one line.
        let show = |text: &Option<&str>| text.map(|text| format!("{text:?}"));
        self.key(key, &before, &after, show, |_, _| Some(why));
    }
}

/// Two maps, side by side.
struct Pair<'a> {
    old: &'a RegionMap,
    new: &'a RegionMap,
    changes: Vec<Change>,
}

impl<'a> Pair<'a> {
    /// Goes through the things of one part by name. `whole` judges one that is there on one side
    /// only (the second is whether it is new) and says it all, `each` holds one side by side with
    /// itself.
    fn part<T>(
        &mut self,
        part: Part,
        old: BTreeMap<String, &'a T>,
        new: BTreeMap<String, &'a T>,
        whole: impl Fn(&T, bool) -> (Opens, String),
        each: impl Fn(&mut Thing<'_>, &'a T, &'a T),
    ) {
        let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let (thing, added) = match (old.get(name), new.get(name)) {
                (Some(before), Some(after)) => {
                    let mut thing = Thing { changes: &mut self.changes, part, name };
                    each(&mut thing, before, after);
                    continue;
                }
                (Some(gone), None) => (*gone, false),
                (None, Some(added)) => (*added, true),
                (None, None) => continue,
            };
            let (widens, all) = whole(thing, added);
            let (before, after) = if added { (None, Some(all)) } else { (Some(all), None) };
            let name = name.clone();
            self.changes.push(Change { part, name, key: None, before, after, widens });
        }
    }
}

/// The things of a part by name.
fn by<'a, T>(
    all: impl IntoIterator<Item = &'a T>,
    name: impl Fn(&T) -> &str,
) -> BTreeMap<String, &'a T> {
    all.into_iter().map(|thing| (name(thing).to_owned(), thing)).collect()
}

/// Every respect in which the new map differs from the old one.
pub(crate) fn changes(old: &RegionMap, new: &RegionMap) -> Vec<Change> {
    let mut pair = Pair { old, new, changes: Vec::new() };
    whole(&mut pair);
    parties::tenants(&mut pair);
    parties::collections(&mut pair);
    places::regions(&mut pair);
    places::homes(&mut pair);
    laws::statutes(&mut pair);
    laws::clauses(&mut pair);
    places::disputed(&mut pair);
    pair.changes
}

/// What is said of the map as a whole.
fn whole(pair: &mut Pair<'_>) {
    let RegionMap {
        // Which map it is and which one it follows: `succeeds` judges that.
        epoch: _,
        // What it says is what is compared.
        text: _,
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
    thing.key("valid_until", valid_until, &now.valid_until, day, |was, is| {
        let longer = is.is_none() || was.is_some_and(|was| is.is_some_and(|is| is > was));
        longer.then_some("its clauses may be relied on for longer")
    });
}

/// A day, if there is one.
fn day(date: &Option<Date>) -> Option<String> {
    date.map(|date| date.to_string())
}

/// Names, with commas between them, in brackets.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", names.collect::<Vec<_>>().join(", "))
}

/// The same of anything that has a text.
fn texts<T: ToString>(all: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = all.into_iter().map(|one| one.to_string()).collect();
    list(all.iter().map(String::as_str))
}

/// The collections of a law or clause. None: all.
fn collections_of(all: &Option<Vec<Collection>>) -> Option<String> {
    let listed = |all: &Vec<Collection>| list(all.iter().map(Collection::as_str));
    Some(all.as_ref().map_or_else(|| "*".to_owned(), listed))
}

/// Exclusions, if there are any.
fn shown(exclude: &Exclusions) -> Option<String> {
    (!exclude.is_empty()).then(|| exclude.to_string())
}

/// Whether the second leaves out a collection that the first covers and that the map has. A list is
/// less than `*`, even if it names all that there are now.
fn leaves_out(
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
