//! `map check`, `map fmt`, `map schema` and `map laws`: for authors of maps.

use std::path::{Path, PathBuf};

use atlas::{Date, Severity};
use clap::{Args, ValueEnum};

use crate::arguments::{Packs, day, mistakes};
use crate::commands::map::shared::today;
use crate::config::maps::{self, AnnexFiles, of_another_map};
use crate::error::{Exit, Failure};
use crate::files::{text, write};
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The map
    #[arg(value_name = "FILE")]
    map: PathBuf,
    /// Annex of a region, or a folder of annexes; may be repeated
    #[arg(long = "annex", value_name = "PATH")]
    annexes: Vec<PathBuf>,
    /// Date to check for, such as 2026-11-25 [default: today, in UTC]
    #[arg(long, value_name = "DATE", value_parser = day)]
    as_of: Option<Date>,
    /// The map in force; reports in which respects the new one widens what is allowed
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
    /// Print JSON, one line for each finding
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    packs: Packs,
}

#[derive(Debug, Args)]
pub(crate) struct Format {
    /// The map
    #[arg(value_name = "FILE")]
    map: PathBuf,
    /// Write nothing; fail if the file is not in the canonical format
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// Kind of file
    #[arg(value_enum, default_value = "map")]
    of: Of,
}

#[derive(Debug, Args)]
pub(crate) struct Laws {
    /// The id of a pack: print its page
    #[arg(value_name = "ID", conflicts_with = "to")]
    id: Option<String>,
    /// Write the table and every page into this folder
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Of {
    /// A region map
    Map,
    /// A region's annex
    Annex,
    /// A statute pack
    Pack,
    /// A file of people for `map test`
    People,
    /// gateway.toml
    Gateway,
    /// shard.toml
    Shard,
}

/// Says everything at once.
pub(super) fn check(options: &Check) -> Result<(), Failure> {
    let map_text = text(&options.map)?;
    let as_of = options.as_of.unwrap_or_else(today);
    let mut annexes = Vec::new();
    for path in AnnexFiles(options.annexes.clone()).files() {
        annexes.push((path.display().to_string(), text(&path)?));
    }
    let given: Vec<(&str, &str)> = annexes.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let checked = atlas::check(&map_text, &given, as_of, &options.packs.read()?);
    let name = options.map.display().to_string();
    for found in &checked.diagnostics {
        show(options.json, &name, &map_text, found)?;
    }
    let (mut passed_over, mut unvouched) = (0, 0);
    for (annex, (path, annex_text)) in checked.annexes.iter().zip(&annexes) {
        // In a folder there may be annexes of regions that a later map has, as for a gateway.
        let named = options.annexes.iter().any(|given| given.as_os_str() == path.as_str());
        if !named && of_another_map(&annex.diagnostics) {
            passed_over += 1;
            continue;
        }
        for found in &annex.diagnostics {
            show(options.json, &annex.name, annex_text, found)?;
        }
        // What only the note beside it shows.
        if let (Some(map), true) = (&checked.map, annex.diagnostics.is_empty())
            && let Err(unsigned) = maps::annex(Path::new(path), annex_text, map)
        {
            for found in &unsigned {
                show(options.json, &annex.name, annex_text, found)?;
            }
            unvouched += unsigned.len();
        }
    }
    if let (Some(against), Some(map)) = (&options.against, &checked.map) {
        let old = options.packs.map(against)?;
        if let Err(fault) = atlas::succeeds(Some(&old), map, atlas::SIGNERS_TO_WIDEN) {
            say(
                options.json,
                "follows",
                &format!("it would not be accepted: {}", fault.message()),
            )?;
        }
        for widening in atlas::widening(Some(&old), map) {
            say(options.json, "widens", &widening.to_string())?;
        }
    }
    let errors = checked.count(Severity::Error) - passed_over + unvouched;
    let warnings = checked.count(Severity::Warning);
    if !options.json {
        terminal::say(format!("{name}: {errors} errors, {warnings} warnings, as of {as_of}"))?;
    }
    let failed = errors > 0 || checked.map.is_none() || (options.strict && warnings > 0);
    if failed { Err(Failure::said(Exit::Failed, "")) } else { Ok(()) }
}

fn show(json: bool, name: &str, text: &str, found: &atlas::Diagnostic) -> Result<(), Failure> {
    if !json {
        return terminal::say(found.render(name, text));
    }
    terminal::say(serde_json::json!({
        "file": name, "line": found.line, "column": found.column, "code": found.code,
        "severity": found.severity.as_str(), "problem": found.problem, "cure": found.help,
    }))
}

/// Says how a map compares with the one in force.
fn say(json: bool, what: &'static str, text: &str) -> Result<(), Failure> {
    if json {
        terminal::say(serde_json::json!({ what: text }))
    } else {
        terminal::say(format!("{what}: {text}"))
    }
}

/// Refuses to sign a map that has errors on that day.
pub(super) fn refuse_errors(
    path: &Path,
    map_text: &str,
    day: Date,
    packs: &Packs,
) -> Result<(), Failure> {
    let checked = atlas::check(map_text, &[], day, &packs.read()?);
    let errors: Vec<atlas::Diagnostic> =
        checked.all().filter(|found| found.severity == Severity::Error).cloned().collect();
    if errors.is_empty() { Ok(()) } else { Err(mistakes(path, map_text, &errors)) }
}

/// Writes a map in one form.
pub(super) fn format(options: &Format) -> Result<(), Failure> {
    let before = text(&options.map)?;
    let after = atlas::format(&before).map_err(|wrong| mistakes(&options.map, &before, &wrong))?;
    if before == after {
        return Ok(());
    }
    if options.check {
        let text = format!("{}: `bailiwick map fmt` would change it", options.map.display());
        return Err(Failure::said(Exit::Failed, text));
    }
    write(&options.map, &after)
}

/// Prints a JSON Schema.
pub(super) fn schema(options: &Schema) -> Result<(), Failure> {
    let schema = match options.of {
        Of::Map => &atlas::schema::MAP,
        Of::Annex => &atlas::schema::ANNEX,
        Of::Pack => &atlas::schema::PACK,
        Of::People => &atlas::schema::PEOPLE,
        Of::Gateway => &crate::config::schema::GATEWAY,
        Of::Shard => &crate::config::schema::SHARD,
    };
    terminal::say(atlas::toml::json_schema(schema).trim_end())
}

/// Prints or writes what the built-in packs say, in Markdown.
pub(super) fn laws(options: &Laws) -> Result<(), Failure> {
    let index = atlas::statute_index(atlas::packs());
    if let Some(folder) = &options.to {
        write(&folder.join("README.md"), &index)?;
        let mut pages = atlas::packs().iter();
        return pages
            .try_for_each(|pack| write(&folder.join(format!("{}.md", pack.id())), &pack.page()));
    }
    let Some(id) = &options.id else { return terminal::say(index.trim_end()) };
    let pack = atlas::packs().iter().find(|pack| pack.id().as_str() == id).ok_or_else(|| {
        let text = format!("there is no built-in pack `{id}`: `bailiwick map laws` lists them");
        Failure::said(Exit::Config, text)
    })?;
    terminal::say(pack.page().trim_end())
}
