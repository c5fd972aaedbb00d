//! Fetches the region maps that mirrored logs name: an entry states which map ruled, and the map
//! states the rules.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use atlas::{SignedMap, StatutePack};
use client::{Client, api};
use ledger::entry::MapRef;

use super::{Pulled, not_answered};
use crate::file::replace_in_folder;
use crate::maps::MAPS;

/// Fetches from a gateway every map that the logs name and that is missing below `place`. A map
/// that the gateway does not give is a finding, and stops nothing.
///
/// # Errors
/// A file that cannot be written, and why.
pub async fn fetch_maps(
    gateway: &Client,
    place: &Path,
    logs: &[Pulled],
) -> Result<Vec<String>, (PathBuf, io::Error)> {
    let named: BTreeSet<MapRef> = logs.iter().flat_map(|log| &log.maps).copied().collect();
    let mut findings = Vec::new();
    for MapRef { epoch, digest } in named {
        let hex = hex::encode(digest);
        let path = place.join(MAPS).join(format!("{epoch}-{hex:.16}.toml"));
        if path.exists() {
            if fs::read_to_string(&path).is_ok_and(|text| digest_of(&text) == digest) {
                continue;
            }
            findings.push(format!("{} is a different map now", path.display()));
        }
        match gateway.map(&api::GetRegionMapRequest { epoch }).await {
            Ok(map) if digest_of(&map.text) == digest => store(&path, &map)?,
            Ok(_) => findings.push(format!(
                "map {epoch}: the log names sha256:{hex}, and the gateway has another map of that \
                 number"
            )),
            Err(error) => findings.push(format!(
                "map {epoch} (sha256:{hex}) could not be fetched: the gateway: {}",
                not_answered(&error)
            )),
        }
    }
    Ok(findings)
}

fn digest_of(text: &str) -> [u8; 32] {
    SignedMap { text: text.to_owned(), ..SignedMap::default() }.digest()
}

/// Writes a map. Its text is last, so that where it is, its signatures and packs are too.
fn store(path: &Path, map: &api::SignedRegionMap) -> Result<(), (PathBuf, io::Error)> {
    let mut files = Vec::new();
    for text in &map.packs {
        let Ok(pack) = StatutePack::parse(text) else { continue };
        files.push((path.with_extension(format!("{}.pack.toml", pack.id())), text));
    }
    if !map.note.is_empty() {
        files.push((path.with_extension("note"), &map.note));
    }
    files.push((path.to_owned(), &map.text));
    for (path, text) in files {
        replace_in_folder(&path, text.as_bytes(), true).map_err(|error| (path, error))?;
    }
    Ok(())
}
