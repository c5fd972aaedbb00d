//! All erasures that files name, for a restore or a recovery.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use terms::Entropy;

use crate::log::erasure_file::{ErasureFile, ErasureKey, Found, KnownErasure, What, each_record};
use crate::store::keyring::Keyring;
use crate::{Error, Settings};

/// Where it stands who was erased after what a restore or a recovery goes on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erasures {
    /// In the file next to the checkpoint, and in these.
    Known(Vec<PathBuf>),
    /// The same, where the file next to the checkpoint is lost: it is accepted that these copies may be
    /// older, and that people come back who were erased since, or have moved to another region.
    Copies(Vec<PathBuf>),
    /// Nowhere, unless the file next to the checkpoint says it: it is accepted that people come back
    /// who were erased, or have moved to another region.
    Unknown,
}

/// All erasures that are known, each once, in the order of their entries. The file next to the
/// checkpoint is never left out. It may be missing if another file is given, or if `may_lack` it.
pub(crate) fn all_known(
    settings: &Settings,
    keyring: &dyn Keyring,
    erasures: &Erasures,
    may_lack: bool,
) -> Result<Vec<KnownErasure>, Error> {
    let (key, own) = (ErasureKey::new(settings, keyring), settings.erasures_path());
    let mut all = Vec::new();
    let found = read(&own, &key, &mut all);
    // Of `Unknown`, what can be read of that file is so much the better.
    if let Erasures::Known(files) | Erasures::Copies(files) = erasures {
        if !found? && files.is_empty() && !may_lack {
            return Err(missing(&own));
        }
        for file in files {
            if !read(file, &key, &mut all)? {
                return Err(missing(file));
            }
        }
    }
    all.sort_by(|one, two| (one.entry, &one.row).cmp(&(two.entry, &two.row)));
    all.dedup_by(|one, two| (one.entry, &one.row) == (two.entry, &two.row));
    Ok(all)
}

/// Refuses to go on with copies of the file of erasures alone, where the file next to the checkpoint is
/// lost. No map is asked whether people could move: an earlier or a later one may have let them.
pub(crate) fn refuse_copies_alone(settings: &Settings, erasures: &Erasures) -> Result<(), Error> {
    if !matches!(erasures, Erasures::Known(_)) {
        return Ok(());
    }
    let path = settings.erasures_path();
    let why = "it was lost, or a first attempt did without it, and a copy does not say who was erased, or has moved to another region, since \
               it was made. Such people would come back here, and two regions would take writes of those \
               who moved. Put the newest file in its place, or accept that with `--accept-old-copies`";
    Err(Error::Erasures { path, why: why.to_owned() })
}

/// Those that still count: a subject that moved away, and came back after that, is here.
pub(crate) fn that_count(known: &[KnownErasure]) -> impl Iterator<Item = &KnownErasure> {
    let mut returned = HashMap::new();
    let returns = |one: &&KnownErasure| match &one.what {
        What::Returned => true,
        What::Taken(taken) => taken.returned,
        What::Subject(_) | What::Collection(..) => false,
    };
    for one in known.iter().filter(returns) {
        // They are in order: the last one is kept.
        returned.insert(&one.row, one.entry);
    }
    known.iter().filter(move |one| {
        // One that was erased never comes back: what it came back from was a move.
        let departed = matches!(one.what, What::Subject(_));
        !departed || returned.get(&one.row).is_none_or(|back| one.entry > *back)
    })
}

/// Writes all of these into the file next to the checkpoint, which may lack some, and syncs it.
pub(crate) fn keep_all(
    settings: &Settings,
    keyring: &dyn Keyring,
    known: &[KnownErasure],
    entropy: &dyn Entropy,
) -> Result<(), Error> {
    let mut named = BTreeSet::new();
    let mut file = ErasureFile::opened(settings, keyring, entropy, &mut |known| {
        named.insert(known.name());
        Ok(())
    })?;
    file.add(known.iter().filter(|known| !named.contains(&known.name())), entropy)
}

/// Refuses to begin a log where the file next to the checkpoint has erasures of another one: it would
/// go on with the numbers of that one.
pub(crate) fn refuse_left_over(settings: &Settings, keyring: &dyn Keyring) -> Result<(), Error> {
    let (path, mut all) = (settings.erasures_path(), Vec::new());
    // One that does not open is of another keyring, and the first start sets it aside.
    read(&path, &ErasureKey::new(settings, keyring), &mut all).ok();
    if all.is_empty() {
        return Ok(());
    }
    let why =
        "it names erasures of a store that this shard had: restore that, or move the file away";
    Err(Error::Erasures { path, why: why.to_owned() })
}

/// Adds all erasures that a file names. False: there is no such file.
///
/// A record that is cut short at the end was never acknowledged. Any other that does not open is
/// refused: what it names cannot be read.
fn read(path: &Path, key: &ErasureKey, all: &mut Vec<KnownErasure>) -> Result<bool, Error> {
    let refused = |why| Err(Error::Erasures { path: path.to_owned(), why });
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(Error::Io { path: path.to_owned(), source }),
    };
    let found = each_record(path, &file, key, &mut |known| {
        all.push(known);
        Ok(())
    })?;
    let Found { records, failed, blank_end } = found;
    match failed {
        _ if records == 0 => refused("it is empty".to_owned()),
        Some(place) if place == 0 || place + 1 < records || !blank_end => refused(format!(
            "record {place} does not open: it is another shard's, or was changed. Move it away, and \
             give a copy with `--erasures FILE`"
        )),
        _ => Ok(true),
    }
}

fn missing(path: &Path) -> Error {
    let why = "it is missing: without it nothing says who was erased after the backup or the copy. \
               Give a copy with `--erasures FILE`, or accept that people may come back who were \
               erased, with `--accept-erasures-unknown`";
    Error::Erasures { path: path.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::moving::Taken;
    use crate::store::types::{CommitAt, Period};
    use terms::RegionId;

    fn taken(returned: bool) -> What {
        let from = RegionId::parse("ru-msk").unwrap();
        What::Taken(Taken { from, move_id: [1; 16], live: 2, commitment: [3; 32], returned })
    }

    fn known(index: u64, row: u8, what: What) -> KnownErasure {
        KnownErasure { entry: CommitAt { period: Period(1), index }, row: vec![row], what }
    }

    #[test]
    fn a_departure_before_the_last_return_counts_no_more() {
        let away = || What::Subject(vec![1]);
        let all = [
            known(1, 1, away()),
            known(2, 2, away()),
            known(3, 1, What::Returned),
            known(4, 1, away()),
            known(5, 2, What::Returned),
            known(6, 3, away()),
            known(7, 4, away()),
            known(8, 4, taken(true)),
            known(9, 5, away()),
            known(10, 5, taken(false)),
        ];
        let left: Vec<u64> = that_count(&all).map(|one| one.entry.index).collect();
        // A return is no erasure: what erases again passes over it.
        assert_eq!(left, [3, 4, 5, 6, 8, 9, 10]);
    }
}
