//! Verifies a log in a folder: every file that belongs to it is read once, every entry hashed once.
//!
//! The root over the entries decides what is to blame. If it is the signed one, the entries are
//! right, and a tile that differs from what they hash to is wrong. If not, some entry is wrong, and
//! its tile tells which.
//!
//! What entries say is compared with the rules of a log and with the region maps that they name.

use std::collections::BTreeMap;

use ledger::bundle;
use ledger::entry::{Entry, Kind, MapRef};
use ledger::hash::{HASH_BYTES, Hash, leaf_hash};
use ledger::note::Verifier;
use ledger::tile::{BundleId, TILE_WIDTH, TileId};
use ledger::{Checkpoint, Edge};
use terms::with_causes;

use crate::copies::Copies;
use crate::finding::{FINDINGS_MAX, Finding};
use crate::folder::{self, CHECKPOINT, Folder, VKEY};
use crate::maps::{ByMaps, Maps};
use crate::policy::Policy;
use crate::rules::{Rules, State};

/// A log that is as its key has signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Its origin, size and root.
    pub checkpoint: Checkpoint,
    /// Its key, as text.
    pub vkey: String,
    /// Entries by kind.
    pub counts: BTreeMap<Kind, u64>,
    /// The minutes of its first and its last entry; none if it is empty.
    pub minutes: Option<(u32, u32)>,
    /// Whether it has ended.
    pub sealed: bool,
    /// What its first entry says of the log before it.
    pub old_head: Option<Checkpoint>,
    /// The witnesses of the policy that have cosigned it.
    pub witnesses: Vec<String>,
    /// When a whole quorum of the policy's witnesses last cosigned it, in seconds since 1970.
    pub cosigned_at: Option<u64>,
    /// The maps of its MAP entries, in order.
    pub maps: Vec<MapRef>,
    /// Entries that name a map which was not given, by the map: what they say of the law was not
    /// compared with anything.
    pub maps_missing: Vec<(MapRef, u64)>,
    /// The entries that break a rule, the first [`FINDINGS_MAX`]: they are signed all the same.
    pub broken: Vec<Finding>,
    /// Entries beyond those that break one.
    pub broken_more: u64,
    /// Whether its key was never compared, as is kept beside it, and no policy names it now.
    pub on_trust: bool,
    /// Whether the policy names its key. If not, the key is the one that lies beside it.
    pub key_by_policy: bool,
}

/// What a log is verified against.
#[derive(Debug, Clone, Copy, Default)]
pub struct Against<'a> {
    /// The keys of logs and witnesses.
    pub policy: Option<&'a Policy>,
    /// The region maps. None: what entries say of the law is compared with no map.
    pub maps: Option<&'a Maps>,
}

/// Verifies the log in a folder. `progress` gets the number of entries done, and of all.
///
/// What entries say is no matter of integrity: [`Verified::broken`] has what breaks a rule.
///
/// # Errors
/// The first thing that is wrong: the signature, then hashes.
pub fn verify(
    folder: &Folder,
    against: Against<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verified, Finding> {
    let (policy, _held) = (against.policy, folder.hold());
    let key = folder.key().map_err(|error| unreadable(VKEY, &error))?;
    let note = folder.note().map_err(|error| unreadable(CHECKPOINT, &error))?;
    let checkpoint = Checkpoint::open(&note, &key).map_err(|error| {
        Finding::new(CHECKPOINT, format!("{CHECKPOINT}: {}", with_causes(&error)))
    })?;
    let (key_by_policy, witnesses) = trusted(policy, &key, &note)?;
    let no_maps = Maps::default();
    let by_maps = ByMaps::new(against.maps.unwrap_or(&no_maps), key.name());
    let Walk { rules, by_maps, broken, more, .. } =
        walk(folder, &key, by_maps, &checkpoint, progress)?;
    Ok(Verified {
        // `trusted` has read them already: none of them is bad.
        cosigned_at: policy.and_then(|policy| policy.cosigned_at(&note).ok().flatten()),
        broken,
        broken_more: more,
        maps: rules.state().maps.clone(),
        maps_missing: by_maps.missing.into_iter().collect(),
        on_trust: !key_by_policy && folder.is_on_trust(),
        vkey: key.vkey(),
        counts: rules.counts().clone(),
        minutes: rules.minutes(),
        sealed: rules.is_sealed(),
        old_head: rules.old_head().cloned(),
        checkpoint,
        witnesses,
        key_by_policy,
    })
}

/// What the policy says of a key, and who of its witnesses has cosigned.
fn trusted(
    policy: Option<&Policy>,
    key: &Verifier,
    note: &str,
) -> Result<(bool, Vec<String>), Finding> {
    let Some(policy) = policy else { return Ok((false, Vec::new())) };
    match policy.log(key.name()) {
        Some(known) if known.same_key(key) => {}
        Some(_) => {
            return Err(Finding::new(VKEY, "vkey: is another key than the policy's for this log"));
        }
        None => return Err(Finding::new(VKEY, "vkey: the policy does not name this log")),
    }
    let witnesses = policy.cosigned(note);
    let witnesses =
        witnesses.map_err(|error| Finding::new(CHECKPOINT, format!("{CHECKPOINT}: {error}")))?;
    Ok((true, witnesses))
}

/// Hashes every entry, and compares with every tile.
fn walk<'a>(
    folder: &'a Folder,
    key: &Verifier,
    by_maps: ByMaps<'a>,
    checkpoint: &Checkpoint,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Walk<'a>, Finding> {
    let Checkpoint { size, root, .. } = checkpoint;
    let mut walk = Walk {
        folder,
        edge: Edge::new(),
        finished: Vec::new(),
        rules: Rules::new(&key.vkey(), State::default()),
        copies: Copies::new(key.name()),
        by_maps,
        unlike: None,
        broken: Vec::new(),
        more: 0,
    };
    for index in 0.. {
        let Some(bundle) = BundleId::of_size(index, *size) else { break };
        walk.bundle(bundle)?;
        progress(walk.edge.size(), *size);
    }
    for (tile, bytes) in walk.edge.partial_tiles() {
        if tile.level > 0 {
            walk.compare(tile, &bytes)?;
        }
    }
    let right = walk.edge.root() == *root;
    match (right, walk.unlike.take()) {
        (true, None) => {}
        (true, Some(unlike)) => return Err(unlike.of_tile(*size)),
        (false, Some(unlike)) => return Err(unlike.of_what_is_below()),
        (false, None) => {
            let text = format!("{CHECKPOINT}: its root is not the one that the entries hash to");
            return Err(Finding::new(CHECKPOINT, text));
        }
    }
    Ok(walk)
}

/// Where on its way through the log a verification is.
struct Walk<'a> {
    folder: &'a Folder,
    edge: Edge,
    finished: Vec<(TileId, Vec<u8>)>,
    rules: Rules,
    copies: Copies,
    by_maps: ByMaps<'a>,
    /// The first hash in a tile that is not the one that the entries give.
    unlike: Option<Unlike>,
    /// The first rule that an entry breaks.
    broken: Vec<Finding>,
    more: u64,
}

impl Walk<'_> {
    /// One bundle, its tile of level 0, and the tiles that end with it.
    fn bundle(&mut self, id: BundleId) -> Result<(), Finding> {
        let path = id.path();
        let bytes = self.folder.bundle(id).map_err(|error| unreadable(&path, &error))?;
        let entries = bundle::decode(&bytes, id.width)
            .map_err(|error| Finding::new(path.clone(), format!("{path}: {error}")))?;
        let tile = TileId { level: 0, index: id.index, width: id.width };
        let hashes = self.tile(tile)?;
        let (hashes, _) = hashes.as_chunks::<HASH_BYTES>();
        for (place, (entry, hash)) in (0_u64..).zip(entries.into_iter().zip(hashes)) {
            let leaf = leaf_hash(entry);
            // A leaf says more than a hash above it: it goes before one.
            if leaf != Hash(*hash) && self.unlike.as_ref().is_none_or(|u| u.tile.level > 0) {
                self.unlike = Some(Unlike { tile, place });
            }
            let index = self.edge.size();
            self.edge.append(leaf, &mut self.finished);
            if let Err(broken) = self.says(index, entry) {
                if self.broken.len() < FINDINGS_MAX {
                    self.broken.push(Finding::of(&path, format!("entry {index} {broken}")));
                } else {
                    self.more += 1;
                }
            }
        }
        for (tile, bytes) in std::mem::take(&mut self.finished) {
            if tile.level > 0 {
                self.compare(tile, &bytes)?;
            }
        }
        Ok(())
    }

    /// What an entry says, against rules, copies and maps.
    fn says(&mut self, index: u64, bytes: &[u8]) -> Result<(), String> {
        let entry = match self.rules.take(bytes) {
            Ok(entry) => entry,
            Err(broken) => {
                // It is in the log all the same, and later ones may name it.
                let entry = Entry::decode(bytes).ok();
                entry.into_iter().for_each(|entry| drop(self.copies.take(index, &entry)));
                return Err(broken.to_string());
            }
        };
        self.copies.take(index, &entry)?;
        self.by_maps.take(&entry)
    }

    fn tile(&self, tile: TileId) -> Result<Vec<u8>, Finding> {
        self.folder.tile(tile).map_err(|error| unreadable(&tile.path(), &error))
    }

    /// Compares a tile of a higher level with what the entries give.
    fn compare(&mut self, tile: TileId, wanted: &[u8]) -> Result<(), Finding> {
        let found = self.tile(tile)?;
        let (found, _) = found.as_chunks::<HASH_BYTES>();
        let (wanted, _) = wanted.as_chunks::<HASH_BYTES>();
        let differs = (0_u64..).zip(found.iter().zip(wanted)).find(|(_, (a, b))| a != b);
        if let (Some((place, _)), None) = (differs, &self.unlike) {
            self.unlike = Some(Unlike { tile, place });
        }
        Ok(())
    }
}

/// A hash in a tile that is not the one that the entries give.
struct Unlike {
    tile: TileId,
    place: u64,
}

impl Unlike {
    /// The entries are right: so the tile is not.
    fn of_tile(&self, size: u64) -> Finding {
        let path = self.tile.path();
        let what = match (self.tile.is_full(), self.tile.level) {
            (true, _) => "does not match the tile above it".to_owned(),
            (false, 0) => {
                let index = self.tile.index * u64::from(TILE_WIDTH) + self.place;
                format!("does not match the checkpoint: it has another hash for entry {index}")
            }
            (false, _) => format!("does not match the checkpoint of {size} entries"),
        };
        Finding::of(&path, what)
    }

    /// Some entry is wrong: this hash stands for what is below it.
    fn of_what_is_below(&self) -> Finding {
        let below = self.tile.index * u64::from(TILE_WIDTH) + self.place;
        match self.tile.level.checked_sub(1) {
            None => {
                let bundle = BundleId { index: self.tile.index, width: self.tile.width };
                let what = format!("entry {below} does not match its level 0 tile");
                Finding::of(&bundle.path(), what)
            }
            Some(level) => {
                let path = TileId::full(level, below).path();
                Finding::of(&path, "does not match the tile above it")
            }
        }
    }
}

/// What cannot be read is wrong, too.
fn unreadable(file: &str, error: &folder::Error) -> Finding {
    Finding::new(file, with_causes(error))
}
