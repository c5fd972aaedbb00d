//! The region maps beside a mirror, and what they say of the log's entries: whether each map was
//! signed as it must be, whether it follows the one before it, and whether an entry's laws and
//! clauses are in its map and in force in its minute.

mod copy;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atlas::{
    Clause, ClauseId, Date, Moment, Region, RegionMap, SIGNERS_TO_WIDEN, SignedMap, StatuteId,
};
use ledger::Signers;
use ledger::entry::{Entry, Kind, MapRef};
use terms::{Collection, Reason, RegionId, Rejection, UnixMillis};

use crate::folder::Folder;
use crate::origin::Origin;
use crate::rules::{Named, is_of_oversight};

/// The folder of maps, below that of the mirrors.
pub const MAPS: &str = "maps";
/// Bytes of a map, a pack or a note.
pub const MAP_BYTES_MAX: usize = 16 << 20;
/// What entries said that was found right under one map and on one day, and is not asked again.
const REMEMBERED_MAX: usize = 4096;
/// Minutes of a day.
const DAY: u32 = 1_440;

/// A map that was given.
#[derive(Debug, Clone)]
pub struct StoredMap {
    /// Its number and digest.
    pub map_ref: MapRef,
    /// The map, or why it cannot be read.
    pub map: Result<Arc<RegionMap>, String>,
    /// The names of the given keys that have signed it.
    pub signed_by: Vec<String>,
}

/// The maps that were given.
#[derive(Debug, Clone, Default)]
pub struct Maps {
    held: BTreeMap<MapRef, StoredMap>,
    /// Whether keys of signers were given.
    with_keys: bool,
}

// === impl StoredMap ===

impl StoredMap {
    /// A map with its note and its packs. `epoch` is its number if its text does not say one.
    pub fn of(signed: &SignedMap, epoch: u64, signers: Option<&Signers>) -> Self {
        // The whole of what is signed is compared: deployment, number and digest.
        let sealed = signers.map(|signers| signed.open(|note| signers.signed_by(note)));
        let (map, signed_by) = match sealed {
            Some(Ok(sealed)) => (Ok(sealed.map), sealed.by),
            _ => (signed.read().map(Arc::new), Vec::new()),
        };
        let map = map.map_err(|fault| worded(&fault));
        let epoch = map.as_ref().map_or(epoch, |map| map.epoch().number);
        Self { map_ref: MapRef { epoch, digest: signed.digest() }, map, signed_by }
    }
}

// === impl Maps ===

impl Maps {
    /// These maps. `with_keys`: whether keys of signers were given, so that signatures count.
    pub fn new(held: impl IntoIterator<Item = StoredMap>, with_keys: bool) -> Self {
        let by_ref = |held: StoredMap| (held.map_ref, held);
        Self { held: held.into_iter().map(by_ref).collect(), with_keys }
    }

    /// The maps beside the logs of a folder of mirrors, or beside the folder of one log.
    ///
    /// # Errors
    /// What the system says of a file, with its path.
    pub fn beside(place: &Path, signers: Option<&Signers>) -> Result<Self, (PathBuf, io::Error)> {
        let own = place.canonicalize().unwrap_or_else(|_| place.to_owned());
        let beside = own.parent().filter(|_| Folder::at(place).is_log());
        let folder = beside.unwrap_or(place).join(MAPS);
        let mut held = Vec::new();
        for path in stored(&folder)? {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let epoch = stem.split('-').next().and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
            let packs = listed(&folder, |name| {
                name.strip_prefix(&stem)
                    .is_some_and(|rest| rest.starts_with('.') && rest.ends_with(".pack.toml"))
            })?;
            let note = path.with_extension("note");
            let signed = SignedMap {
                text: text(&path)?,
                note: if note.exists() { text(&note)? } else { String::new() },
                packs: packs.iter().map(|path| text(path)).collect::<Result<_, _>>()?,
            };
            held.push(StoredMap::of(&signed, epoch, signers));
        }
        Ok(Self::new(held, signers.is_some()))
    }

    /// All of them, by number and digest.
    pub fn all(&self) -> impl Iterator<Item = &StoredMap> {
        self.held.values()
    }

    /// Whether keys of signers were given.
    pub const fn with_keys(&self) -> bool {
        self.with_keys
    }

    fn get(&self, map: MapRef) -> Option<&StoredMap> {
        self.held.get(&map)
    }

    /// Whether `next` may follow `before` in a log, taken with so many signatures.
    fn follows(
        &self,
        before: &RegionMap,
        next: &RegionMap,
        signed_by: usize,
    ) -> Result<(), Rejection> {
        match atlas::succeeds(Some(before), next, signed_by) {
            // Without signatures maps are rolled out as files, and numbers may be left out.
            Err(fault) if fault.reason == Reason::MapGap && !self.with_keys => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// What is wrong where one log goes on from another: the last map of the one and the first of
    /// the other.
    pub fn across(&self, before: MapRef, next: MapRef) -> Option<String> {
        if before == next {
            return None;
        }
        let (old, new) = (self.get(before)?, self.get(next)?);
        let (old_map, new_map) = (old.map.as_ref().ok()?, new.map.as_ref().ok()?);
        let signed_by = if self.with_keys { new.signed_by.len() } else { SIGNERS_TO_WIDEN };
        let fault = self.follows(old_map, new_map, signed_by).err()?;
        Some(format!("{} does not follow {}: {}", Named(next), Named(before), worded(&fault)))
    }
}

/// The entries of one log against the maps that they name.
#[derive(Debug)]
pub(crate) struct ByMaps<'a> {
    maps: &'a Maps,
    deployment: String,
    region: Option<RegionId>,
    /// Whether the log begins its shard's history: its first map is the first of all then.
    is_first: bool,
    /// The map of the last MAP entry.
    last: Option<MapRef>,
    /// What was found right, under one map and on one day.
    right: ((MapRef, u32), HashSet<Claims>),
    /// Entries by the map that they name and that was not given.
    pub(crate) missing: BTreeMap<MapRef, u64>,
}

/// What an entry says of the law, and whether it stores a record under it.
type Claims = (Option<String>, [Vec<String>; 3], bool, Option<CopyClaims>);

/// What an entry about a copy says besides: which of its kinds it is, the region at the other end, and the
/// references of its clauses.
type CopyClaims = (Kind, [Option<String>; 2]);

// === impl ByMaps ===

impl<'a> ByMaps<'a> {
    pub(crate) fn new(maps: &'a Maps, origin: &str) -> Self {
        let name = Origin::parse(origin);
        Self {
            maps,
            deployment: name.map_or_else(String::new, |name| name.deployment.to_owned()),
            region: name.and_then(|name| RegionId::parse(name.region).ok()),
            is_first: name.is_none_or(|name| name.period == 1),
            last: None,
            right: ((MapRef { epoch: 0, digest: [0; 32] }, 0), HashSet::new()),
            missing: BTreeMap::new(),
        }
    }

    /// Compares the next entry with its map.
    ///
    /// # Errors
    /// What is wrong, in words that follow the entry's number.
    pub(crate) fn take(&mut self, entry: &Entry) -> Result<(), String> {
        // A plan names a map that may never come into force.
        let Some(named) = entry.map.filter(|_| !is_of_oversight(entry)) else { return Ok(()) };
        let maps = self.maps;
        let Some(held) = maps.get(named) else {
            *self.missing.entry(named).or_default() += 1;
            if entry.kind == Kind::Map {
                self.last = Some(named);
            }
            return Ok(());
        };
        if entry.kind == Kind::Map {
            return self.taken(entry, held);
        }
        let Ok(map) = &held.map else { return Ok(()) };
        let lists = [&entry.jurisdictions, &entry.statutes, &entry.clauses].map(Vec::clone);
        let copy = matches!(entry.kind, Kind::CopyOut | Kind::CopyIn).then(|| {
            let stated = [entry.region(), entry.references()].map(|it| it.map(str::to_owned));
            (entry.kind, stated)
        });
        let said = (entry.collection.clone(), lists, stores(entry), copy);
        let when = (named, entry.minute / DAY);
        if self.right.0 != when || self.right.1.len() >= REMEMBERED_MAX {
            self.right = (when, HashSet::new());
        }
        if !self.right.1.contains(&said) {
            let right = lawful(entry, map, self.region.as_ref()).and_then(|()| {
                match (&said.3, &self.region) {
                    (Some(_), Some(own)) => copy::lawful(entry, map, own),
                    _ => Ok(()),
                }
            });
            right.map_err(|wrong| format!("{wrong} (region map {})", Named(named)))?;
            self.right.1.insert(said);
        }
        Ok(())
    }

    /// A MAP entry.
    fn taken(&mut self, entry: &Entry, held: &StoredMap) -> Result<(), String> {
        let before = self.last.replace(held.map_ref);
        let named = Named(held.map_ref);
        let map = held.map.as_ref();
        let map =
            map.map_err(|why| format!("takes region map {named}, which is unusable: {why}"))?;
        if map.deployment() != self.deployment {
            return Err(format!("takes region map {named}, which is of another deployment"));
        }
        if self.region.as_ref().is_none_or(|region| map.region(region).is_none()) {
            return Err(format!("takes region map {named}, which does not have the log's region"));
        }
        let mut signed_by = SIGNERS_TO_WIDEN;
        if self.maps.with_keys {
            if held.signed_by.is_empty() {
                return Err(format!(
                    "takes region map {named}, whose note no given key has signed"
                ));
            }
            // The shard took it with the signatures that it noted; the note must have as many.
            signed_by = signers_noted(entry).min(held.signed_by.len());
            if signed_by == 0 {
                return Err(format!("takes region map {named} without a signature"));
            }
        }
        let follows = match before {
            Some(before) if before == held.map_ref => Ok(()),
            Some(before) => match self.maps.get(before).and_then(|held| held.map.as_ref().ok()) {
                Some(before) => self.maps.follows(before, map, signed_by),
                // Reported already: it is missing, or unusable.
                None => Ok(()),
            },
            None if self.is_first => atlas::succeeds(None, map, signed_by).map(|_| ()),
            None => Ok(()),
        };
        follows.map_err(|fault| {
            let after = before.map(|before| format!(" after {}", Named(before)));
            format!("takes region map {named}{}: {}", after.unwrap_or_default(), worded(&fault))
        })
    }
}

/// How many signers a MAP entry names.
fn signers_noted(entry: &Entry) -> usize {
    entry.signers().map_or(0, |names| names.split(',').count())
}

/// Whether an entry stores a record in the log's region, or makes the ruling for it.
fn stores(entry: &Entry) -> bool {
    let moved_in = entry.kind == Kind::MoveIn && entry.collection.is_some();
    moved_in || [Kind::Create, Kind::Place, Kind::Replace].contains(&entry.kind)
}

/// Whether an entry's collection, laws and clauses are in the map and in force on its day, and the
/// collection may lie in the log's region.
fn lawful(entry: &Entry, map: &RegionMap, region: Option<&RegionId>) -> Result<(), String> {
    let day = Date::from_day(u64::from(entry.minute / DAY));
    // A law's day begins where midnight is earliest: the shard ruled by the time, not by the day.
    let at = Moment::of(UnixMillis(u64::from(entry.minute) * 60_000));
    let name = entry.collection.as_deref();
    let collection = name.and_then(|name| Collection::parse(name).ok());
    let collection = collection.filter(|name| map.collection(name).is_some());
    // What is stored is of a collection of the map. What is deleted may be of one that went, and
    // what is refused of one that never was.
    let stores = stores(entry);
    if let (true, None) = (stores, &collection) {
        return Err(format!(
            "is of collection {}, which its map does not have",
            name.unwrap_or("")
        ));
    }
    if let (true, Some(collection), Some(region)) = (stores, &collection, region)
        && map.excludes(collection, region)
    {
        return Err(format!("is of collection {collection}, which its map excludes from {region}"));
    }
    let mut jurisdictions = Vec::new();
    for id in &entry.statutes {
        let statute = StatuteId::parse(id).and_then(|id| map.statute(&id));
        let Some(statute) = statute else {
            return Err(format!("names statute {id}, which its map does not have"));
        };
        if !statute.pack().in_force(at) {
            return Err(format!("names statute {id}, which is not in force on {day}"));
        }
        if collection.as_ref().is_some_and(|collection| !statute.covers(collection)) {
            return Err(format!("names statute {id}, which does not cover its collection"));
        }
        jurisdictions.push(statute.jurisdiction().to_string());
    }
    for jurisdiction in &entry.jurisdictions {
        if !jurisdictions.contains(jurisdiction) {
            return Err(format!("names jurisdiction {jurisdiction}, and no statute of it"));
        }
    }
    if let Some(silent) = jurisdictions.iter().find(|of| !entry.jurisdictions.contains(of)) {
        return Err(format!("names a statute of {silent}, and not that jurisdiction"));
    }
    for id in &entry.clauses {
        let Some(clause) = ClauseId::parse(id).and_then(|id| map.clause(&id)) else {
            return Err(format!("relies on clause {id}, which its map does not have"));
        };
        if !clause.in_force(day) {
            return Err(format!("relies on clause {id}, which is not in force on {day}"));
        }
        if map.expired(day) {
            return Err(format!("relies on clause {id} on {day}, when its map had expired"));
        }
        if collection.as_ref().is_some_and(|collection| !clause.covers(collection)) {
            return Err(format!("relies on clause {id}, which does not cover its collection"));
        }
    }
    match region.filter(|_| stores) {
        Some(region) => leads_here(entry, map, region),
        None => Ok(()),
    }
}

/// Whether, of each jurisdiction from which the clauses of an entry lead to the log's region, one of them
/// does not exclude its site. One that does may be there for a copy in another region.
fn leads_here(entry: &Entry, map: &RegionMap, region: &RegionId) -> Result<(), String> {
    let Some(here) = map.region(region).map(Region::territory) else { return Ok(()) };
    let named = || entry.clauses.iter().filter_map(|id| map.clause(&ClauseId::parse(id)?));
    let leads = |clause: &&Clause| clause.to().contains(here) && !clause.from().contains(here);
    for clause in named().filter(leads) {
        let mut same = named().filter(leads).filter(|other| other.from() == clause.from());
        if same.all(|other| map.clause_excludes(other, region)) {
            return Err(format!("relies on clause {}, which excludes {region}", clause.id()));
        }
    }
    Ok(())
}

/// A refusal in words.
fn worded(fault: &Rejection) -> String {
    let problem = fault.problem.as_ref().map(|problem| format!(": {problem}"));
    format!("{}{}", fault.reason, problem.unwrap_or_default())
}

/// The maps in a folder.
fn stored(folder: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    listed(folder, |name| name.ends_with(".toml") && !name.ends_with(".pack.toml"))
}

fn listed(
    folder: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| (folder.to_owned(), error))?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| (folder.to_owned(), error))?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(&wanted) {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

fn text(path: &Path) -> Result<String, (PathBuf, io::Error)> {
    let lost = |error| (path.to_owned(), error);
    let length = std::fs::metadata(path).map_err(lost)?.len();
    if usize::try_from(length).is_ok_and(|length| length <= MAP_BYTES_MAX) {
        return std::fs::read_to_string(path).map_err(lost);
    }
    Err(lost(io::ErrorKind::FileTooLarge.into()))
}
