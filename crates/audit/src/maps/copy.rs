//! What the region map in force says of a copy: whether a law asks for it there, and whether every law that
//! attached lets it go there.
//!
//! An entry names laws, and not which of a law's demands attached. So a copy is wrong if no reading of its
//! laws allows it: what a law demands of some people only is not held against it.

use atlas::{ClauseId, Constraint, Date, HomeFor, Moment, Region, RegionMap, Statute, StatuteId};
use ledger::entry::{Entry, Kind, references};
use terms::{Collection, RegionId};

/// The two ends of a copy.
struct Ends<'a> {
    home: &'a Region,
    mirror: &'a Region,
}

/// Whether COPY_OUT or COPY_IN of the log of region `own` is as its map allows. Whether its laws and clauses
/// are in the map and in force was asked before.
///
/// # Errors
/// What is wrong, in words that follow the entry's number.
pub(super) fn lawful(entry: &Entry, map: &RegionMap, own: &RegionId) -> Result<(), String> {
    let ends = ends(entry, map, own)?;
    let collection = entry.collection.as_deref().and_then(|name| Collection::parse(name).ok());
    let collection = collection.filter(|name| map.collection(name).is_some());
    let collection = collection.ok_or("copies a collection that its map does not have")?;
    let at = Moment::of(terms::UnixMillis(u64::from(entry.minute) * 60_000));
    let statutes: Vec<&Statute> = entry
        .statutes
        .iter()
        .filter_map(|id| StatuteId::parse(id).and_then(|id| map.statute(&id)))
        .collect();
    if !statutes.iter().any(|law| asks(law, map, &ends, at)) {
        return Err(format!(
            "copies to {}, and no law that it names asks for that",
            ends.mirror.name()
        ));
    }
    let day = Date::from_day(u64::from(entry.minute / super::DAY));
    for law in &statutes {
        let to = ends.mirror.territory();
        let (from, inside) = (law.jurisdiction(), law.jurisdiction().contains(to));
        if law.pack().denies(to) {
            return Err(format!("copies to {}, which {} denies", ends.mirror.name(), law.id()));
        }
        let demands: Vec<Constraint> = law.demands_at(at).map(|(_, demand)| demand).collect();
        if inside || demands.is_empty() {
            continue;
        }
        if demands.iter().all(|demand| *demand == Constraint::Exclusive) {
            return Err(format!("copies what {} allows no copy of outside of {from}", law.id()));
        }
        let needs = |demand: &Constraint| match demand {
            Constraint::Exclusive | Constraint::PrimaryFirst | Constraint::ConditionalTransfer => {
                true
            }
            Constraint::Mirror | Constraint::None => false,
        };
        let covered = entry
            .clauses
            .iter()
            .filter_map(|id| ClauseId::parse(id).and_then(|id| map.clause(&id)))
            .any(|clause| {
                clause.from() == from
                    && clause.to().contains(to)
                    && clause.covers(&collection)
                    && clause.in_force(day)
            });
        if demands.iter().all(needs) && !covered {
            return Err(format!(
                "copies to {}, and no clause that it names covers a transfer from {from}",
                ends.mirror.name()
            ));
        }
    }
    stated(entry, map)
}

/// The regions of both ends, by the map.
fn ends<'a>(entry: &Entry, map: &'a RegionMap, own: &RegionId) -> Result<Ends<'a>, String> {
    let named = entry.region().unwrap_or_default();
    let other = RegionId::parse(named).ok().and_then(|name| map.region(&name));
    let (Some(own), Some(other)) = (map.region(own), other) else {
        return Err(format!("names region {named}, which its map does not have"));
    };
    let sent = entry.kind == Kind::CopyOut;
    let (home, mirror) = if sent { (own, other) } else { (other, own) };
    Ok(Ends { home, mirror })
}

/// Whether a law asks for a copy in its own territory, which is then at its home, because the first one lies
/// elsewhere.
fn asks(law: &Statute, map: &RegionMap, ends: &Ends<'_>, at: Moment) -> bool {
    let territory = law.jurisdiction();
    let home = map.home(HomeFor::Territory(territory));
    law.demands_at(at).any(|(_, demand)| demand == Constraint::Mirror)
        && territory.contains(ends.mirror.territory())
        && !territory.contains(ends.home.territory())
        && home.is_some_and(|home| home.region() == ends.mirror.name())
}

/// The references are those that the map states of the clauses.
fn stated(entry: &Entry, map: &RegionMap) -> Result<(), String> {
    let clauses = entry.clauses.iter().filter_map(|id| map.clause(&ClauseId::parse(id)?));
    let all: Vec<&str> = clauses.map(atlas::Clause::reference).collect();
    if entry.references() == references(all).as_deref() {
        Ok(())
    } else {
        Err("states other references than its clauses have in its map".to_owned())
    }
}
