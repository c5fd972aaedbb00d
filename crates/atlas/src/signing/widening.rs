//! What one map says otherwise than the one before, and which of that opens something. A map that
//! opens anything needs two signers.

use std::fmt;

use crate::RegionMap;
use crate::map::diff::{Change, Part, changes};

/// One respect in which a map lets data go or be read where the one before did not, or lowers a
/// protection or its logging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Widening {
    /// Of what.
    pub part: Part,
    /// Of which one: its name, id, or the territory of a home.
    pub name: String,
    /// The key under which it is said. None: the whole of it was added or taken away.
    pub key: Option<&'static str>,
    /// What was said before. None: nothing.
    pub before: Option<String>,
    /// What is said now. None: nothing.
    pub after: Option<String>,
    /// What it opens, in words.
    pub why: &'static str,
}

impl fmt::Display for Widening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, name, key, before, after, why } = self.clone();
        let change = Change { part, name, key, before, after, widens: None };
        write!(f, "{change}: {why}")
    }
}

/// Every respect in which a map opens something that the one before kept shut, in the order of
/// the map's parts; none: then one signer suffices. In doubt it widens.
///
/// If there is none, this holds of every question that both maps can be asked: what the new map
/// places, the old one placed in the same region; copies lie in no further region; no further
/// reader may have it; and its reads are noted at least as closely. So a law that is added, or
/// attaches to more people, widens as well: it may send people to its home who were elsewhere.
/// A person with a chosen region is placed there, or where the rules lead without the choice.
pub fn widening(old: Option<&RegionMap>, new: &RegionMap) -> Vec<Widening> {
    let Some(old) = old else {
        return vec![Widening {
            part: Part::Map,
            name: new.name().to_owned(),
            key: None,
            before: None,
            after: Some(new.epoch().number.to_string()),
            why: "it is the first map: everything that it allows is new",
        }];
    };
    let opens = |change: Change| {
        let Change { part, name, key, before, after, widens } = change;
        widens.map(|why| Widening { part, name, key, before, after, why })
    };
    changes(old, new).into_iter().filter_map(opens).collect()
}
