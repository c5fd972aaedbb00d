//! `map apply`, `status`, `history`, `get`, `revert`: maps of a running deployment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use client::api;
use link::host::clock::SystemClock;
use terms::Clock as _;
use tokio::time::{Instant, sleep};

use crate::arguments::{Gateway, Packs, mistakes};
use crate::commands::map::shared::{digest, note_of, signed};
use crate::error::{Exit, Failure};
use crate::files::{require_absent, write};
use crate::terminal::slots;
use crate::terminal::table::Table;
use crate::{serve, terminal};

/// Time for one call: a map is read by every shard.
const CALL_MAX: Duration = Duration::from_secs(30);
/// Time between two looks at who has taken a map.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    gateway: Gateway,
    /// The map
    #[arg(value_name = "FILE")]
    map: PathBuf,
    /// File of the signatures [default: the map's name, ending .note]
    #[arg(long, value_name = "FILE")]
    note: Option<PathBuf>,
    /// Version that must be in force now
    #[arg(long, value_name = "N")]
    expect_epoch: u64,
    /// Dry run: check everything, change nothing
    #[arg(long)]
    validate_only: bool,
    /// Seconds to wait until every reachable process uses it
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    wait: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    packs: Packs,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    gateway: Gateway,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    #[command(flatten)]
    gateway: Gateway,
    /// Region whose maps to list [default: any reachable region]
    #[arg(long, value_name = "REGION", default_value = "", hide_default_value = true)]
    region: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    gateway: Gateway,
    /// Version of the map [default: the one in force]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    epoch: u64,
    /// File for the map; its signatures are written next to it [default: standard output, without
    /// signatures]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Revert {
    #[command(flatten)]
    gateway: Gateway,
    /// Version to go back to
    #[arg(long, value_name = "N")]
    to: u64,
    /// File for the new map
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Gives a map to all shards, and waits until all within reach have it.
pub(super) fn apply(options: &Apply) -> Result<(), Failure> {
    let signed = signed(&options.packs, &options.map, options.note.as_ref())?;
    let map =
        Some(api::SignedRegionMap { text: signed.text, note: signed.note, packs: signed.packs });
    let request = api::ApplyRegionMapRequest {
        map,
        expect_epoch: options.expect_epoch,
        validate_only: options.validate_only,
    };
    serve::block_on(async {
        let client = options.gateway.client(CALL_MAX).await?;
        let answer = client.apply_map(&request).await;
        let answer = answer.map_err(|error| options.gateway.failed(&error))?;
        let applied = answer.map.unwrap_or_default();
        if options.validate_only && options.json {
            return terminal::say(serde_json::json!({"would_be_applied": json(Some(&applied))}));
        }
        if options.validate_only {
            return terminal::say(format!("{} would be applied", name(Some(&applied))));
        }
        let refused = refusals(&answer.shards);
        if !refused.is_empty() {
            let text = format!("a shard does not accept the map:\n{}", refused.join("\n"));
            return Err(Failure::said(Exit::Failed, text));
        }
        let until = Instant::now() + Duration::from_secs(options.wait);
        loop {
            let status = client.map_status(&api::RegionMapStatusRequest {}).await;
            let status = status.map_err(|error| options.gateway.failed(&error))?;
            let behind = |shard: &&api::ShardMap| {
                shard.reachable && shard.map.as_ref().is_none_or(|map| *map != applied)
            };
            let waiting = status.shards.iter().find(behind);
            if waiting.is_none() || Instant::now() >= until {
                show(&status, None, options.json)?;
                return match waiting {
                    None => Ok(()),
                    Some(shard) => Err(Failure::said(
                        Exit::Failed,
                        format!("{}/{} does not have it yet", shard.region, shard.shard),
                    )),
                };
            }
            sleep(LOOK_EVERY).await;
        }
    })
}

/// Shards that said no. Those that were not reached take it later, from any gateway.
fn refusals(shards: &[api::ShardMap]) -> Vec<String> {
    let away = terms::Reason::RegionUnavailable.as_str();
    let refused = shards.iter().filter(|shard| !shard.reason.is_empty() && shard.reason != away);
    refused.map(|s| format!("  {}/{}: {}: {}", s.region, s.shard, s.reason, s.problem)).collect()
}

/// Says who holds which map, and what of it ends soon.
pub(super) fn status(options: &Status) -> Result<(), Failure> {
    serve::block_on(async {
        let client = options.gateway.client(CALL_MAX).await?;
        let status = client.map_status(&api::RegionMapStatusRequest {}).await;
        let status = status.map_err(|error| options.gateway.failed(&error))?;
        let map = client.map(&api::GetRegionMapRequest { epoch: 0 }).await;
        let map = map.map_err(|error| options.gateway.failed(&error))?;
        let signed = atlas::SignedMap { text: map.text, note: map.note, packs: map.packs };
        let map = signed.read().map_err(|fault| Failure::new(Exit::Data, fault))?;
        show(&status, Some(&map), options.json)
    })
}

fn show(
    status: &api::RegionMapStatus,
    map: Option<&atlas::RegionMap>,
    in_json: bool,
) -> Result<(), Failure> {
    if !in_json {
        terminal::say(table(status))?;
        for shard in &status.shards {
            if let Some(build) = &shard.index_build {
                let (region, name) = (&shard.region, &shard.shard);
                terminal::say(format!("{region}/{name} {}", builds(build)))?;
            }
        }
        for unserved in status.unserved.iter().flat_map(slots::said) {
            terminal::say(unserved)?;
        }
        return map.map_or(Ok(()), |map| terminal::say(ends(map)));
    }
    let shards = status.shards.iter().map(|shard| {
        let mut object = serde_json::json!({
            "region": shard.region, "shard": shard.shard, "reachable": shard.reachable,
            "map": json(shard.map.as_ref()), "slots": slots::ranges(&shard.slots),
        });
        // Only where there is something to wait for.
        if let (Some(build), Some(object)) = (&shard.index_build, object.as_object_mut()) {
            let indexes: Vec<_> = build.indexes.iter().map(index_name).collect();
            let building = if build.unknown {
                serde_json::json!({ "unknown": true })
            } else {
                serde_json::json!({ "percent": build.percent, "indexes": indexes })
            };
            object.insert("indexes_building".to_owned(), building);
        }
        object
    });
    let ends = map.map(|map| {
        let one = |ending: atlas::MapEnding| {
            serde_json::json!({ "what": ending.what, "over": ending.over.to_string() })
        };
        map.endings().into_iter().map(one).collect::<Vec<_>>()
    });
    terminal::say(serde_json::json!({
        "gateway": json(status.gateway.as_ref()), "shards": shards.collect::<Vec<_>>(),
        "ends": ends, "unserved_slots": status.unserved.iter().map(slots::json).collect::<Vec<_>>(),
    }))
}

/// What of a map ends within 30 days or has ended; or what ends first.
fn ends(map: &atlas::RegionMap) -> String {
    let now = SystemClock.now();
    let all = serve::endings::of_map(map);
    let soon: Vec<String> =
        all.iter().filter_map(|ending| serve::endings::said(ending, now)).collect();
    if !soon.is_empty() {
        return soon.join("\n");
    }
    match map.endings().first() {
        Some(first) => format!("{} ends first, on {}", first.what, first.over),
        None => "nothing in the map ends".to_owned(),
    }
}

/// What a shard says of its indexes.
fn builds(build: &api::IndexBuild) -> String {
    if build.unknown {
        return "did not say in time whether it builds indexes: ask again".to_owned();
    }
    let names: Vec<_> = build.indexes.iter().map(index_name).collect();
    format!("builds indexes, {} %: {}", build.percent, names.join(", "))
}

/// An index as people name it: collection and attribute.
fn index_name(index: &api::BuildingIndex) -> String {
    let api::BuildingIndex { collection, attribute } = index;
    if attribute.is_empty() {
        return format!("{collection} (list)");
    }
    format!("{collection}.{attribute}")
}

fn json(map: Option<&api::RegionMapRef>) -> serde_json::Value {
    map.map_or(
        serde_json::Value::Null,
        |map| serde_json::json!({"epoch": map.epoch, "digest": digest(&map.digest)}),
    )
}

fn table(status: &api::RegionMapStatus) -> Table {
    let mut table = terminal::table(&["process", "version", "digest", "reached", "slots"]);
    let mut row = |process: String, map: Option<&api::RegionMapRef>, reached: &str, slots: &str| {
        let (version, digest) = match map {
            Some(map) => (map.epoch.to_string(), digest(&map.digest)),
            None => ("not heard yet".to_owned(), String::new()),
        };
        table.add_row([process, version, digest, reached.to_owned(), slots.to_owned()]);
    };
    row("this gateway".to_owned(), status.gateway.as_ref(), "yes", "");
    for shard in &status.shards {
        let reached = if shard.reachable { "yes" } else { "no" };
        let slots = slots::ranges(&shard.slots);
        row(format!("{}/{}", shard.region, shard.shard), shard.map.as_ref(), reached, &slots);
    }
    table
}

fn name(map: Option<&api::RegionMapRef>) -> String {
    map.map_or_else(String::new, |map| format!("version {} ({})", map.epoch, digest(&map.digest)))
}

/// Lists the maps that a region has taken.
pub(super) fn history(options: &History) -> Result<(), Failure> {
    let region = options.region.clone();
    let mut request = api::RegionMapHistoryRequest { region, page_token: String::new() };
    serve::block_on(async {
        let client = options.gateway.client(CALL_MAX).await?;
        let failed = |error| options.gateway.failed(&error);
        let mut history = client.map_history(&request).await.map_err(failed)?;
        while !history.next_page_token.is_empty() {
            request.page_token = std::mem::take(&mut history.next_page_token);
            let page = client.map_history(&request).await.map_err(failed)?;
            history.maps.extend(page.maps);
            history.next_page_token = page.next_page_token;
        }
        if options.json {
            let maps = history.maps.iter().map(|taken| {
                serde_json::json!({
                    "map": json(taken.map.as_ref()), "signers": taken.signers,
                    "taken": taken.take_time.as_ref().map(|time| time.seconds),
                })
            });
            let maps: Vec<_> = maps.collect();
            return terminal::say(serde_json::json!({"region": history.region, "maps": maps}));
        }
        let mut table = terminal::table(&["version", "digest", "taken (UTC)", "signed by"]);
        for taken in &history.maps {
            let map = taken.map.clone().unwrap_or_default();
            let minute = taken.take_time.as_ref().map_or(0, |time| time.seconds / 60);
            let when = ledger::entry::Minute(u32::try_from(minute).unwrap_or(0)).to_string();
            let signers = taken.signers.join(", ");
            table.add_row([map.epoch.to_string(), digest(&map.digest), when, signers]);
        }
        terminal::say(format!("{table}\nas {}/{} has them", history.region, history.shard))
    })
}

async fn fetched(gateway: &Gateway, epoch: u64) -> Result<api::SignedRegionMap, Failure> {
    let client = gateway.client(CALL_MAX).await?;
    let map = client.map(&api::GetRegionMapRequest { epoch }).await;
    map.map_err(|error| gateway.failed(&error))
}

/// Prints a map, or writes it with its signatures.
pub(super) fn get(options: &Get) -> Result<(), Failure> {
    let map = serve::block_on(fetched(&options.gateway, options.epoch))?;
    // Byte for byte: the digest is that of the whole text.
    let Some(out) = &options.out else { return terminal::print(map.text.as_bytes()) };
    let note = note_of(out, None);
    require_absent(&[out, &note])?;
    write(out, &map.text)?;
    terminal::say(format!("{} was written", out.display()))?;
    if !map.note.is_empty() {
        write(&note, &map.note)?;
        terminal::say(format!("{} was written: its signatures", note.display()))?;
    }
    write_packs(out, &map.packs)
}

/// Writes the packs of a map that this program does not have, beside the map.
fn write_packs(map: &Path, packs: &[String]) -> Result<(), Failure> {
    for text in packs {
        let Ok(pack) = atlas::StatutePack::parse(text) else { continue };
        if atlas::packs().iter().any(|ours| ours.digest() == pack.digest()) {
            continue;
        }
        let path = map.with_extension(format!("{}.pack.toml", pack.id()));
        require_absent(&[&path])?;
        write(&path, text)?;
        terminal::say(format!(
            "{} was written: pass it with --pack, and name it in `map_packs` of each process",
            path.display()
        ))?;
    }
    Ok(())
}

/// Writes an earlier map as the next one.
pub(super) fn revert(options: &Revert) -> Result<(), Failure> {
    let (earlier, status) = serve::block_on(async {
        let earlier = fetched(&options.gateway, options.to).await?;
        let client = options.gateway.client(CALL_MAX).await?;
        let status = client.map_status(&api::RegionMapStatusRequest {}).await;
        Ok::<_, Failure>((earlier, status.map_err(|error| options.gateway.failed(&error))?))
    })?;
    let held = status.gateway.unwrap_or_default();
    let next = atlas::renumber(&earlier.text, held.epoch + 1, &digest(&held.digest));
    let next = next.map_err(|wrong| mistakes(&options.out, &earlier.text, &wrong))?;
    require_absent(&[&options.out])?;
    write(&options.out, &next)?;
    write_packs(&options.out, &earlier.packs)?;
    terminal::say(format!(
        "{} is version {} as version {}: check it, plan it against the map in force, have it \
         signed, and apply it with --expect-epoch {}",
        options.out.display(),
        options.to,
        held.epoch + 1,
        held.epoch
    ))
}
