//! `bailiwick explain`: where records would go, and why. Nothing is stored and nobody is asked.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use atlas::{Date, Findings, Outcome, Question, RegionMap, Ruling, decide};
use clap::Args;
use comfy_table::Table;
use evidence::Sources;
use link::system::SystemClock;
use serde_json::{Map, Value, json};
use terms::{Clock as _, Fault, TenantId};

use super::rows::{Row, is_blank};
use super::terminal::{self, Output};
use super::{Exit, Failure};
use crate::config;

/// Bytes of one line at the most.
const LINE_BYTES_MAX: u64 = terms::limits::BODY_BYTES_MAX as u64;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The region map
    #[arg(long, value_name = "FILE")]
    map: PathBuf,
    /// A database in MaxMind's format for `ip` evidence; without one, an address says nothing
    #[arg(long, value_name = "FILE")]
    geoip: Option<PathBuf>,
    /// The day for which to rule, as 2026-11-23 [default: today, in UTC]
    #[arg(long, value_name = "DATE", value_parser = day)]
    as_of: Option<Date>,
    /// The tenant whose users these are [default: the first of the map]
    #[arg(long, value_name = "NAME", value_parser = tenant)]
    tenant: Option<TenantId>,
    /// Answer in JSON, one line for each
    #[arg(long)]
    json: bool,
    /// JSON lines with `id`, `collection` and `evidence`; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    rows: PathBuf,
}

fn day(text: &str) -> Result<Date, &'static str> {
    Date::parse(text).ok_or("is not a day such as 2026-11-23")
}

fn tenant(text: &str) -> Result<TenantId, terms::InvalidId> {
    TenantId::parse(text)
}

/// Answers every line, and fails at the end if one could not be read.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let map = config::map(&options.map)?;
    let rules = Rules {
        tenant: chosen(&map, options.tenant.as_ref())?,
        sources: config::evidence_sources(options.geoip.as_deref())?,
        date: options.as_of.unwrap_or_else(|| Date::of(SystemClock.now())),
        map,
    };
    let mut shape = if options.json {
        Shape::Json(Output::new())
    } else {
        let headings = ["id", "jurisdictions", "region", "mirrors", "findings", "why"];
        Shape::Table(Box::new(terminal::table(&headings)))
    };
    let mut bad = 0_usize;
    for_each_line(&options.rows, |number, line| {
        let answer = line.and_then(|line| {
            let row = Row::read(line)?;
            Ok((rules.rule(&row)?, row))
        });
        if let Err(fault) = &answer {
            bad += 1;
            let text = format!("{}:{number}", options.rows.display());
            terminal::warn(format!("{text}: {}: {fault}", fault.reason));
        }
        shape.show(
            number,
            answer.as_ref().map(|((findings, ruling), row)| Answer { row, findings, ruling }),
        )
    })?;
    shape.end()?;
    match bad {
        0 => Ok(()),
        _ => Err(Failure::said(Exit::Failed, format!("{bad} lines were not ruled upon"))),
    }
}

/// The tenant of that name, or the first.
fn chosen(map: &RegionMap, name: Option<&TenantId>) -> Result<TenantId, Failure> {
    let all: Vec<&str> = map.tenants().map(|tenant| tenant.name().as_str()).collect();
    let found = match name {
        Some(name) => map.tenant(name),
        None => map.tenants().next(),
    };
    found.map(|tenant| tenant.name().clone()).ok_or_else(|| {
        let text = format!("the map has no such tenant; --tenant takes one of: {}", all.join(", "));
        Failure::said(Exit::Config, text)
    })
}

/// Calls `each` with every line that is not blank and its number from 1. A line over the limit is
/// an error to `each`, and is passed over.
pub(super) fn for_each_line(
    path: &Path,
    mut each: impl FnMut(usize, Result<&[u8], Fault>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let unread = |error: io::Error| {
        let text = format!("{} cannot be read ({error})", path.display());
        Failure::said(Exit::Failed, text)
    };
    let mut reader: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(unread)?))
    };
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let mut start = reader.by_ref().take(LINE_BYTES_MAX);
        if start.read_until(b'\n', &mut line).map_err(unread)? == 0 {
            break;
        }
        if start.limit() == 0 && !line.ends_with(b"\n") {
            reader.skip_until(b'\n').map_err(unread)?;
            each(number, Err(terms::Reason::BodyTooLarge.into()))?;
        } else if !is_blank(&line) {
            each(number, Ok(&line))?;
        }
    }
    Ok(())
}

/// Under what the rows are ruled upon.
struct Rules {
    map: RegionMap,
    sources: Sources,
    tenant: TenantId,
    date: Date,
}

impl Rules {
    fn rule(&self, row: &Row) -> Result<(Findings, Ruling), Fault> {
        let items: Vec<_> = row.evidence.iter().map(super::Item::as_pair).collect();
        let findings = self.sources.findings(&self.map, &items, &Findings::new())?;
        let question = Question {
            tenant: &self.tenant,
            collection: &row.collection,
            findings: &findings,
            date: self.date,
        };
        let ruling = decide(&self.map, &question)?;
        Ok((findings, ruling))
    }
}

/// What is said of one row.
struct Answer<'a> {
    row: &'a Row,
    findings: &'a Findings,
    ruling: &'a Ruling,
}

/// How answers look.
enum Shape {
    Json(Output),
    Table(Box<Table>),
}

impl Shape {
    fn show(&mut self, number: usize, answer: Result<Answer<'_>, &Fault>) -> Result<(), Failure> {
        match self {
            Self::Json(output) => output.line(match answer {
                Ok(answer) => answer.json(),
                Err(fault) => not_ruled(number, fault),
            }),
            Self::Table(table) => {
                table.add_row(match answer {
                    Ok(answer) => answer.cells(),
                    Err(fault) => {
                        let region = fault.reason.to_string();
                        let [id, none] = [format!("line {number}"), String::new()];
                        [id, none.clone(), region, none.clone(), none, fault.message()]
                    }
                });
                Ok(())
            }
        }
    }

    fn end(self) -> Result<(), Failure> {
        match self {
            Self::Json(mut output) => output.flush(),
            Self::Table(table) => terminal::say(table),
        }
    }
}

/// The answer to a line that could not be ruled upon.
fn not_ruled(number: usize, fault: &Fault) -> Value {
    let message = fault.message();
    json!({"line": number, "error": {
        "reason": fault.reason.as_str(), "field": fault.field, "message": message,
    }})
}

impl Answer<'_> {
    fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("id".to_owned(), self.row.id.expose().into());
        let jurisdictions: Vec<&str> = self.jurisdictions().collect();
        object.insert("jurisdictions".to_owned(), jurisdictions.into());
        match self.ruling.outcome() {
            Outcome::Placed(placement) => {
                let mut mirrors: Vec<&str> =
                    placement.mirrors().iter().map(terms::RegionId::as_str).collect();
                mirrors.sort_unstable();
                object.insert("region".to_owned(), placement.region().as_str().into());
                object.insert("mirrors".to_owned(), mirrors.into());
            }
            Outcome::Refused(refusal) => {
                object.insert("refuse".to_owned(), refusal.reason().as_str().into());
                object.insert("cure".to_owned(), refusal.cure().into());
            }
        }
        let finding = |finding: &atlas::Finding| json!({"kind": finding.kind().as_str(), "country": finding.code()});
        object.insert("findings".to_owned(), self.findings.iter().map(finding).collect());
        object.insert("reasons".to_owned(), self.reasons().into());
        Value::Object(object)
    }

    fn cells(&self) -> [String; 6] {
        let (region, mirrors) = match self.ruling.outcome() {
            Outcome::Placed(placement) => {
                let mut mirrors: Vec<&str> =
                    placement.mirrors().iter().map(terms::RegionId::as_str).collect();
                mirrors.sort_unstable();
                (placement.region().to_string(), mirrors.join(", "))
            }
            Outcome::Refused(refusal) => (refusal.reason().to_string(), String::new()),
        };
        let finding = |finding: &atlas::Finding| format!("{} {}", finding.kind(), finding.code());
        let findings: Vec<String> = self.findings.iter().map(finding).collect();
        [
            self.row.id.expose().to_owned(),
            self.jurisdictions().collect::<Vec<_>>().join(", "),
            region,
            mirrors,
            findings.join("\n"),
            self.reasons().join("\n"),
        ]
    }

    fn jurisdictions(&self) -> impl Iterator<Item = &'static str> {
        self.ruling.jurisdictions().iter().map(|jurisdiction| jurisdiction.as_str())
    }

    /// A sentence for each law that attaches, and one for what follows.
    fn reasons(&self) -> Vec<String> {
        let attachment = |attachment: &atlas::Attachment| {
            format!("{} attaches: {}", attachment.statute(), attachment.reason())
        };
        let attachments = self.ruling.attachments().iter().map(attachment);
        attachments.chain([self.ruling.reason()]).collect()
    }
}
