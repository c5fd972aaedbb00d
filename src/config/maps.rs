//! The region map of a process, and whose signatures on maps it accepts: `map`, `map_packs`,
//! `map_note`, `map_signers`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use atlas::{Annex, Diagnostic, RegionMap, SignedMap, StatutePack};
use ledger::Signers;

use super::reading::Section;

/// Where the annexes are. A folder stands for all of its `.toml` files: so a region that comes with
/// a later map needs no change of the configuration.
#[derive(Debug, Clone)]
pub(crate) struct AnnexFiles(pub(crate) Vec<PathBuf>);

/// Whose signatures on maps a process accepts.
#[derive(Debug, Default)]
pub(super) struct Trust {
    pub(super) signers: Option<Signers>,
    pub(super) note: String,
}

/// The map that the configuration names, with the packs that it names.
pub(super) fn named_map(root: &Section<'_>) -> Option<RegionMap> {
    let packs = named_packs(root);
    let map = root.path("map")?;
    let text = root.read(&map)?;
    root.reading.noted(&map.it, &text, RegionMap::parse_carrying(&text, &packs))
}

/// The packs of `map_packs`, in addition to the built-in ones.
fn named_packs(root: &Section<'_>) -> Vec<Arc<StatutePack>> {
    let read = |named| {
        let text = root.read(&named)?;
        root.reading.noted(&named.it, &text, StatutePack::parse(&text)).map(Arc::new)
    };
    root.paths("map_packs").into_iter().filter_map(read).collect()
}

/// Whether the map of the file is the first that a process sees, so that two must have signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// A gateway keeps no earlier map.
    Always,
    /// A shard's store has the one before.
    JudgedByStore,
}

/// Who signs maps, and the signatures of the one that the configuration names. `any` of the signers
/// must have signed it; a shard asks for more where there is need.
pub(super) fn trust(root: &Section<'_>, map: Option<&RegionMap>, first: First) -> Trust {
    let named = root.path("map_note");
    let note = named.as_ref().and_then(|note| root.read(note));
    let vkeys = root.texts("map_signers").unwrap_or_default();
    let Some(first_key) = vkeys.first() else {
        if let Some(note) = &named {
            let problem = "`map_note` has signatures, and no `map_signers` say whose count";
            let help = "list the keys of your signers: `bailiwick map key` printed them";
            root.wrong(note.at, "MAP_SIGNERS_MISSING", problem, help);
        }
        return Trust::default();
    };
    let signers = match Signers::parse(vkeys.iter().map(|vkey| vkey.it)) {
        Ok(signers) => signers,
        Err(refused) => {
            let help = "list at least two keys, each once, as `bailiwick map key` printed them";
            root.wrong(first_key.at, "MAP_SIGNERS", refused.to_string(), help);
            return Trust::default();
        }
    };
    let Some(note) = note else {
        if named.is_none() {
            let problem = "there are `map_signers`, and no `map_note` with the map's signatures";
            let help = "name the file that `bailiwick map sign` wrote";
            root.wrong(first_key.at, "MAP_NOTE_MISSING", problem, help);
        }
        return Trust::default();
    };
    if let Some(map) = map {
        let signed = SignedMap::of(map, note.clone());
        let opened = signed.open(|note| signers.signed_by(note));
        let opened = opened.and_then(|sealed| match first {
            First::JudgedByStore => Ok(()),
            First::Always => atlas::succeeds(None, map, sealed.by.len()).map(drop),
        });
        if let Err(fault) = opened {
            let at = named.map_or(first_key.at, |note| note.at);
            root.wrong(at, "MAP_UNSIGNED", fault.message(), fault.cure_text());
        }
    }
    Trust { signers: Some(signers), note }
}

/// Whether the only diagnostic about an annex is that the map does not have its region.
pub(crate) fn of_another_map(wrong: &[Diagnostic]) -> bool {
    matches!(wrong, [only] if only.code == "REGION_UNKNOWN")
}

/// Where the signatures of an annex are: next to it.
pub(crate) fn note_of_annex(annex: &Path) -> PathBuf {
    annex.with_extension("note")
}

/// Reads the annex of that text, with the note next to its file.
///
/// # Errors
/// Every diagnostic; `ANNEX_UNSIGNED` when no key that the map names for its region has signed it.
pub(crate) fn annex(path: &Path, text: &str, map: &RegionMap) -> Result<Annex, Vec<Diagnostic>> {
    let annex = Annex::parse(text, map)?;
    // Where the map names signers, a note that cannot be read counts as none.
    let note = std::fs::read_to_string(note_of_annex(path)).unwrap_or_default();
    let annex = annex.with_note(note);
    annex.vouched(map, ledger::said_by).map_err(|unsigned| vec![unsigned])?;
    Ok(annex)
}

/// Whether an annex is older than the signed one in use, which then stays: a replayed file must not
/// lead a gateway back to an old address. An annex in use whose signer the map has dropped does not
/// count.
fn falls_behind(annex: &Annex, in_use: &[Annex], map: &RegionMap) -> bool {
    let signed = map.region(annex.region()).is_some_and(|r| !r.annex_signers().is_empty());
    let used = in_use.iter().find(|used| used.region() == annex.region());
    let newer = |used: &Annex| annex.behind(used) && used.vouched(map, ledger::said_by).is_ok();
    signed && used.is_some_and(newer)
}

impl AnnexFiles {
    /// The files of now: folders are looked through again each time.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for path in &self.0 {
            match std::fs::read_dir(path) {
                Ok(entries) => {
                    let within = entries.filter_map(|entry| Some(entry.ok()?.path()));
                    // Whatever else lies there, and could keep a reader waiting, is no annex.
                    let named = |path: &PathBuf| path.extension().is_some_and(|e| e == "toml");
                    all.extend(within.filter(|path| named(path) && path.is_file()));
                }
                Err(_) => all.push(path.clone()),
            }
        }
        all.sort();
        all
    }

    /// The annexes of a running gateway, for a map, and how many files could not be used. For a
    /// region whose file is away or cannot be used, the one that is in use stays: a slip takes no
    /// region away.
    pub(crate) fn read(&self, map: &RegionMap, in_use: Vec<Annex>) -> (Vec<Annex>, usize) {
        let mut annexes: Vec<Annex> = Vec::new();
        let mut unusable = 0;
        for path in self.files() {
            let file = path.display().to_string();
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) => {
                    tracing::error!(file, %error, "an annex cannot be read: the one in use stays");
                    unusable += 1;
                    continue;
                }
            };
            match annex(&path, &text, map) {
                Ok(annex) if falls_behind(&annex, &in_use, map) => {
                    let (region, version) = (annex.region(), annex.version());
                    tracing::error!(
                        file, %region, version,
                        "an annex is behind the one in use, which stays: give it a higher version"
                    );
                    unusable += 1;
                }
                Ok(annex) if annexes.iter().any(|other| other.region() == annex.region()) => {
                    tracing::error!(file, region = %annex.region(), "an annex is there twice");
                    unusable += 1;
                }
                Ok(annex) => annexes.push(annex),
                Err(wrong) if of_another_map(&wrong) => {
                    tracing::info!(file, "an annex of a region that the map does not have");
                }
                Err(wrong) => {
                    let first = wrong.first().map(ToString::to_string).unwrap_or_default();
                    tracing::error!(
                        file,
                        problem = first,
                        "an annex cannot be used: the one in use stays"
                    );
                    unusable += 1;
                }
            }
        }
        for annex in in_use {
            let region = annex.region();
            let there = annexes.iter().any(|other| other.region() == region);
            if map.region(region).is_some() && !there {
                // Which region a file was for that cannot be used is not known: what was said of
                // that file is enough.
                if unusable == 0 {
                    tracing::error!(%region, "a region's annex is missing: the one in use stays");
                }
                annexes.push(annex);
            }
        }
        (annexes, unusable)
    }
}
