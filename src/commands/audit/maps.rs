//! The region maps that mirrored logs name, fetched and compared with the digests in the entries.

use std::collections::BTreeSet;
use std::path::Path;

use audit::maps::{MAP_BYTES_MAX, MAPS};
use audit::mirror::Pulled;
use client::{Client, api};
use sha2::{Digest as _, Sha256};

use crate::commands::audit::{Exit, Failure};

/// Gets every map that the logs name and that is not there yet. What was wrong is returned: a map
/// that nobody has any more does not keep the log from being mirrored.
pub(super) async fn mirror(
    gateway: &Client,
    place: &Path,
    logs: &[Pulled],
) -> Result<Vec<String>, Failure> {
    let named = logs.iter().flat_map(|log| &log.maps).map(|map| (map.epoch, map.digest));
    let named: BTreeSet<(u64, [u8; 32])> = named.collect();
    let mut findings = Vec::new();
    for (epoch, digest) in named {
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("{epoch}-{}", hex.get(..16).unwrap_or_default());
        let path = place.join(MAPS).join(format!("{name}.toml"));
        match kept(&path, &digest) {
            Some(true) => continue,
            // What lies there is not what the log names: said once, and put right if it can be.
            Some(false) => findings.push(format!("{} is a different map now", path.display())),
            None => {}
        }
        let map = match gateway.map(&api::GetRegionMapRequest { epoch }).await {
            Ok(map) => map,
            Err(error) => {
                let failure = crate::commands::audit::shards::failed("the gateway", &error);
                findings
                    .push(format!("map {epoch} (sha256:{hex}) could not be fetched: {failure}"));
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
    let found = crate::commands::audit::bytes(path, MAP_BYTES_MAX).ok();
    let found: Option<[u8; 32]> = found.map(|bytes| Sha256::digest(bytes).into());
    Some(found.as_ref() == Some(digest))
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
