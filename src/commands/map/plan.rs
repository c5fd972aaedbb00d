//! `map plan` and `map test`: what a map would do, before it is applied.

use std::path::PathBuf;
use std::time::Duration;

use atlas::{Date, Findings, Given, MapTests, Person, Plan as Planned, RegionMap, SignedMap};
use clap::Args;
use client::api;
use evidence::Sources;
use terms::{Reason, Rejection, Rounded};

use crate::arguments::{Gateway, Packs, day, mistakes};
use crate::commands::map::shared::today;
use crate::error::{Exit, Failure};
use crate::files::text;
use crate::{config, serve, terminal};

/// Time that all shards have to walk over their subjects.
const SURVEY_MAX: Duration = Duration::from_secs(65);

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// The map in force
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The new map
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Date to plan for, such as 2026-11-25 [default: today, in UTC]
    #[arg(long, value_name = "DATE", value_parser = day)]
    as_of: Option<Date>,
    /// Also count the stored subjects that would be affected, by asking the shards behind a
    /// gateway. Each shard logs the question [default gateway: http://127.0.0.1:7400]
    #[arg(long)]
    stored: bool,
    #[command(flatten)]
    gateway: Gateway,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    packs: Packs,
}

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The map
    #[arg(value_name = "MAP")]
    map: PathBuf,
    /// TOML file of people with expected answers
    #[arg(value_name = "PEOPLE")]
    people: PathBuf,
    /// Date for people without one of their own [default: today, in UTC]
    #[arg(long, value_name = "DATE", value_parser = day)]
    as_of: Option<Date>,
    /// Country database in MaxMind's format, for `ip` evidence; without it, an address gives no
    /// finding
    #[arg(long, value_name = "FILE")]
    geoip: Option<PathBuf>,
    /// Print JSON, one line for each person
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    packs: Packs,
}

/// Prints what would change, and for which people.
pub(super) fn plan(options: &Plan) -> Result<(), Failure> {
    let (old, new) = (options.packs.map(&options.old)?, options.packs.map(&options.new)?);
    let as_of = options.as_of.unwrap_or_else(today);
    let planned = atlas::plan(&old, &new, as_of);
    let stored = if options.stored {
        let stored = serve::block_on(survey(options, SignedMap::of(&new, String::new())))?;
        let held = stored.against.clone().unwrap_or_default();
        if held.epoch != old.epoch().number || *held.digest != old.epoch().digest {
            let text = format!(
                "version {} is in force, and OLD is version {}: fetch it with `bailiwick map get`",
                held.epoch,
                old.epoch().number
            );
            return Err(Failure::said(Exit::Failed, text));
        }
        Some(stored)
    } else {
        None
    };
    show(options, &planned, stored.as_ref())?;
    // What lies elsewhere than it should by the map in force, too, is no effect of this one.
    let moved = stored.as_ref().is_some_and(|stored| {
        let new = |moved: &api::PlannedMove| !moved.fate.ends_with("-already");
        !stored.unreachable.is_empty() || stored.moves.iter().any(new)
    });
    let nobody = !planned.acts() && !moved && planned.cut.is_none();
    if nobody { Ok(()) } else { Err(Failure::said(Exit::Differs, "")) }
}

/// Asks every shard.
async fn survey(options: &Plan, map: SignedMap) -> Result<api::PlanRegionMapResponse, Failure> {
    let SignedMap { text, note, packs } = map;
    let request = api::PlanRegionMapRequest {
        map: Some(api::SignedRegionMap { text, note, packs }),
        as_of: options.as_of.map(|day| day.to_string()).unwrap_or_default(),
    };
    let client = options.gateway.client(SURVEY_MAX).await?;
    client.plan_map(&request).await.map_err(|error| options.gateway.failed(&error))
}

fn show(
    options: &Plan,
    planned: &Planned,
    stored: Option<&api::PlanRegionMapResponse>,
) -> Result<(), Failure> {
    if options.json {
        let mut all: serde_json::Value = serde_json::from_str(&planned.json())
            .map_err(|error| Failure::new(Exit::Failed, error))?;
        if let (Some(stored), Some(object)) = (stored, all.as_object_mut()) {
            object.insert("stored".to_owned(), json(stored));
        }
        return terminal::say(all);
    }
    terminal::say(planned.table().trim_end())?;
    let Some(stored) = stored else { return Ok(()) };
    let mut table =
        terminal::table(&["region", "collection", "fate", "where to, or why", "rulings"]);
    for moved in &stored.moves {
        table.add_row([
            moved.region.clone(),
            moved.collection.clone(),
            moved.fate.clone(),
            moved.detail.clone(),
            range(moved.count.as_ref()).to_string(),
        ]);
    }
    let against = stored.against.as_ref().map_or(0, |map| map.epoch);
    terminal::say(format!(
        "\nstored, against version {against} in force at the gateway: {} subjects were checked\n{table}",
        range(stored.subjects.as_ref())
    ))?;
    if stored.unreachable.is_empty() {
        return Ok(());
    }
    terminal::say(format!("NOT ASKED, unreachable: {}", stored.unreachable.join(", ")))
}

/// A count as it is printed: a range, never the count itself.
fn range(told: Option<&api::CountRange>) -> Rounded {
    told.map_or_else(Rounded::default, |told| Rounded {
        at_least: told.at_least,
        at_most: told.at_most,
    })
}

fn json(stored: &api::PlanRegionMapResponse) -> serde_json::Value {
    let json = |told| {
        let Rounded { at_least, at_most } = range(told);
        serde_json::json!({ "at_least": at_least, "at_most": at_most })
    };
    let moves = stored.moves.iter().map(|moved| {
        serde_json::json!({
            "region": moved.region, "collection": moved.collection, "fate": moved.fate,
            "detail": moved.detail, "rulings": json(moved.count.as_ref()),
        })
    });
    serde_json::json!({
        "subjects": json(stored.subjects.as_ref()), "moves": moves.collect::<Vec<_>>(),
        "unreachable": stored.unreachable,
        "against": stored.against.as_ref().map(|map| map.epoch),
    })
}

/// Rules on people whose answers are known.
pub(super) fn test(options: &Test) -> Result<(), Failure> {
    let map = options.packs.map(&options.map)?;
    let text = text(&options.people)?;
    let people =
        MapTests::parse(&text).map_err(|wrong| mistakes(&options.people, &text, &wrong))?;
    let sources = config::evidence_sources(options.geoip.as_deref())?;
    let date = options.as_of.unwrap_or_else(today);
    let (all, mut failed) = (people.people().len(), 0_usize);
    for person in people.people() {
        let found = findings(person, &map, &sources);
        let verdict = person.judge(&map, found.as_ref().map_err(|fault| fault.reason), date);
        failed += usize::from(!verdict.passed());
        if options.json {
            terminal::say(serde_json::json!({
                "file": options.people.display().to_string(), "line": person.line,
                "name": person.name, "passed": verdict.passed(),
                "differences": verdict.differences, "answer": verdict.answer,
            }))?;
        }
        if options.json || verdict.passed() {
            continue;
        }
        let place = format!("{}:{}", options.people.display(), person.line);
        let differences = verdict.differences.join("\n  ");
        let answer = verdict.answer;
        terminal::say(format!("{place}: {}\n  {differences}\n  answered: {answer}", person.name))?;
    }
    if !options.json {
        terminal::say(format!("{} of {all} people as expected", all - failed))?;
    }
    if failed == 0 { Ok(()) } else { Err(Failure::said(Exit::Failed, "")) }
}

/// What a person's evidence says, under the map.
fn findings(person: &Person, map: &RegionMap, sources: &Sources) -> Result<Findings, Rejection> {
    let (mut found, mut raw) = (Findings::new(), Vec::new());
    for given in &person.evidence {
        match given {
            Given::Finding(finding) => {
                found.insert(*finding).map_err(|_| Rejection::new(Reason::TooManyItems))?;
            }
            Given::Raw { kind, value } => raw.push((*kind, value.as_str())),
        }
    }
    let more = sources.findings(map, &raw, &found)?;
    found.merge(&more).map_err(|_| Rejection::new(Reason::TooManyItems))?;
    Ok(found)
}
