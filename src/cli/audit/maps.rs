//! The region maps that mirrored logs name: an entry says which map ruled, and the map what it
//! said.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use audit::mirror::Pulled;
use client::{Client, api};
use ledger::entry::{Entry, Kind, MapRef};
use sha2::{Digest as _, Sha256};

use super::{Exit, Failure};

/// Below the mirror's folder.
const MAPS: &str = "maps";

/// Gets every map that the logs name and that is not there yet. What was wrong is returned: a map
/// that nobody has any more does not keep the log from being mirrored.
pub(super) async fn mirror(
    gateway: &Client,
    place: &Path,
    logs: &[Pulled],
) -> Result<Vec<String>, Failure> {
    let mut named = BTreeSet::new();
    for log in logs {
        named.extend(maps_of(log)?);
    }
    let mut findings = Vec::new();
    for (epoch, digest) in named {
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("{epoch}-{}", hex.get(..16).unwrap_or_default());
        let path = place.join(MAPS).join(format!("{name}.toml"));
        match kept(&path, &digest) {
            Some(true) => continue,
            // What lies there is not what the log names: said once, and put right if it can be.
            Some(false) => findings.push(format!("{} is another map now", path.display())),
            None => {}
        }
        let map = match gateway.map(&api::GetRegionMapRequest { epoch }).await {
            Ok(map) => map,
            Err(error) => {
                let failure = super::shards::failed("the gateway", &error);
                findings.push(format!("map {epoch} (sha256:{hex}) was not got: {failure}"));
                continue;
            }
        };
        let found: [u8; 32] = Sha256::digest(map.text.as_bytes()).into();
        if found != digest {
            findings.push(format!(
                "map {epoch}: the log names sha256:{hex}, and the gateway has another map of that \
                 number"
            ));
            continue;
        }
        store(&path, &map)?;
    }
    Ok(findings)
}

/// Whether a map lies there and is the one of that digest. None: nothing does.
fn kept(path: &Path, digest: &[u8; 32]) -> Option<bool> {
    if !path.exists() {
        return None;
    }
    let found = super::bytes(path, super::report::MAP_BYTES_MAX).ok();
    let found: Option<[u8; 32]> = found.map(|bytes| Sha256::digest(bytes).into());
    Some(found.as_ref() == Some(digest))
}

/// The maps that a log's new MAP entries name, and those of older ones if it is whole.
fn maps_of(log: &Pulled) -> Result<Vec<(u64, [u8; 32])>, Failure> {
    let size = log.checkpoint.size;
    let mut maps = Vec::new();
    for entry in log.folder.entries(size, 0, size) {
        let (_, bytes) = entry.map_err(|error| {
            Failure::said(Exit::Data, format!("{}: {error}", log.folder.path().display()))
        })?;
        // The second byte is the kind: the others need not be read.
        if bytes.get(1) != Some(&Kind::Map.code()) {
            continue;
        }
        if let Ok(Entry { map: Some(MapRef { epoch, digest }), .. }) = Entry::decode(&bytes) {
            maps.push((epoch, digest));
        }
    }
    Ok(maps)
}

/// The maps of a mirror.
pub(super) fn stored(place: &Path) -> Result<Vec<PathBuf>, Failure> {
    let is_map = |name: &str| name.ends_with(".toml") && !name.ends_with(".pack.toml");
    listed(&place.join(MAPS), is_map)
}

/// The packs that came with a map.
pub(super) fn packs(map: &Path) -> Result<Vec<PathBuf>, Failure> {
    let stem = map.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let of_map = |name: &str| {
        name.strip_prefix(&stem)
            .is_some_and(|rest| rest.starts_with('.') && rest.ends_with(".pack.toml"))
    };
    listed(map.parent().unwrap_or_else(|| Path::new(".")), of_map)
}

fn listed(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, Failure> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let text = format!("{}: cannot be read ({error})", folder.display());
            return Err(Failure::said(Exit::Config, text));
        }
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let named =
        |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(&wanted);
    let mut all: Vec<PathBuf> = paths.filter(named).collect();
    all.sort();
    Ok(all)
}

/// The map last, so that where it is, its signatures and packs are, too.
fn store(path: &Path, map: &api::SignedRegionMap) -> Result<(), Failure> {
    let write = |path: &Path, text: &str| {
        let mut beside = path.as_os_str().to_owned();
        // Nothing that is looked for ends so: a name never stands for half a file.
        beside.push(".new");
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let made = made.and_then(|()| std::fs::write(&beside, text));
        made.and_then(|()| std::fs::rename(&beside, path)).map_err(|error| {
            let text = format!("{}: cannot be written ({error})", path.display());
            Failure::said(Exit::Unavailable, text)
        })
    };
    for text in &map.packs {
        let Ok(pack) = atlas::StatutePack::parse(text) else { continue };
        write(&path.with_extension(format!("{}.pack.toml", pack.id())), text)?;
    }
    if !map.note.is_empty() {
        write(&path.with_extension("note"), &map.note)?;
    }
    write(path, &map.text)
}
