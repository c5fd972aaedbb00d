//! Compares two mirrors of one log: one extends the other, or the log has a split view.

use ledger::note::Verifier;
use ledger::tile::{BundleId, TILE_WIDTH, TileId};
use ledger::{Checkpoint, bundle, tree};
use terms::with_causes;

use crate::Finding;
use crate::folder::{CHECKPOINT, Error, Folder, VKEY};

/// How two mirrors of one log stand to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Diff {
    /// They hold the same.
    Same(Checkpoint),
    /// One begins with all that is in the other.
    Extends {
        /// Whether the second one is the longer.
        second_is_longer: bool,
        /// Entries of the shorter one.
        from: u64,
        /// Entries of the longer one.
        to: u64,
    },
    /// The log's key has signed two checkpoints that contradict each other.
    SplitView(Box<SplitView>),
}

/// The evidence of a split view: anyone with the log's key can check it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitView {
    /// The first entry that differs. None: one of the mirrors does not hold what it should, and has
    /// to be verified first.
    pub first: Option<u64>,
    /// Both signed notes.
    pub notes: [String; 2],
}

/// Compares two mirrors of one log. Verify each of them as well: this reads no more than it needs.
///
/// # Errors
/// When they are not of one log, or a file cannot be read or is not signed. The sentence says in
/// which of the two.
pub fn diff(first: &Folder, second: &Folder) -> Result<Diff, Finding> {
    let sides = [Side::open(first)?, Side::open(second)?];
    let [a, b] = &sides;
    if a.key != b.key {
        let text = format!(
            "they are of two logs: {} under the key {:08x}, and {} under {:08x}",
            a.key.name(),
            a.key.key().id,
            b.key.name(),
            b.key.key().id
        );
        return Err(Finding::new(VKEY, text));
    }
    let [short, long] = if a.at.size <= b.at.size { [a, b] } else { [b, a] };
    let mut tiles = long.folder.tiles(long.at.size);
    let root = tree::root_at(short.at.size, &mut tiles).map_err(|error| long.wrong(&error))?;
    if root != short.at.root {
        let notes = [a.note.clone(), b.note.clone()];
        let first = first_other(short, long)?;
        return Ok(Diff::SplitView(Box::new(SplitView { first, notes })));
    }
    if short.at.size == long.at.size {
        return Ok(Diff::Same(long.at.clone()));
    }
    let second_is_longer = b.at.size > a.at.size;
    Ok(Diff::Extends { second_is_longer, from: short.at.size, to: long.at.size })
}

/// One mirror, as far as its key vouches for it.
struct Side<'f> {
    folder: &'f Folder,
    key: Verifier,
    note: String,
    at: Checkpoint,
}

impl<'f> Side<'f> {
    fn open(folder: &'f Folder) -> Result<Self, Finding> {
        let wrong = |error: Error| wrong(folder, &error);
        let key = folder.key().map_err(wrong)?;
        let note = folder.note().map_err(wrong)?;
        let at = Checkpoint::open(&note, &key).map_err(|error| wrong(Error::Checkpoint(error)))?;
        Ok(Self { folder, key, note, at })
    }

    fn wrong(&self, error: &(dyn std::error::Error + 'static)) -> Finding {
        wrong(self.folder, error)
    }
}

fn wrong(folder: &Folder, error: &dyn std::error::Error) -> Finding {
    Finding::new(CHECKPOINT, format!("{}: {}", folder.path().display(), with_causes(error)))
}

/// The first of the shorter one's entries that is another in the longer one.
fn first_other(short: &Side<'_>, long: &Side<'_>) -> Result<Option<u64>, Finding> {
    let width = u64::from(TILE_WIDTH);
    for index in 0.. {
        let Some(id) = BundleId::of_size(index, short.at.size) else { return Ok(None) };
        let of = |side: &Side<'_>| -> Result<_, Finding> {
            // The tile is enough to see that nothing differs, and it is a fraction of the bundle.
            let tile = TileId::of_size(0, index, side.at.size);
            let tile = tile.unwrap_or(TileId { level: 0, index, width: id.width });
            let mut bytes = side.folder.tile(tile).map_err(|error| side.wrong(&error))?;
            bytes.truncate(usize::from(id.width) * 32);
            Ok(bytes)
        };
        if of(short)? == of(long)? {
            continue;
        }
        let leaves = |side: &Side<'_>| -> Result<_, Finding> {
            let id = BundleId::of_size(index, side.at.size).unwrap_or(id);
            let bytes = side.folder.bundle(id).map_err(|error| side.wrong(&error))?;
            bundle::leaves(&bytes, id.width)
                .map_err(|error| side.wrong(&Error::Bundle { path: id.path(), error }))
        };
        let (a, b) = (leaves(short)?, leaves(long)?);
        let other = (index * width..).zip(a.iter().zip(&b)).find(|(_, (a, b))| a != b);
        if let Some((entry, _)) = other {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}
