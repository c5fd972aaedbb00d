//! `bailiwick explain`: where records would go, and why. Nothing is stored, and no server is called.

use std::path::PathBuf;

use atlas::{Date, Findings, Moment, Outcome, Question, RegionMap, Ruling, choices, decide};
use clap::Args;
use evidence::{Evidence, JsonLine, Sources};
use link::host::clock::SystemClock;
use serde_json::{Map, Value, json};
use terms::{Clock as _, RegionId, Rejection, TenantId};

use crate::arguments::{Packs, day};
use crate::config;
use crate::error::{Exit, Failure};
use crate::terminal;
use crate::terminal::Output;
use crate::terminal::rows::for_each_line;
use crate::terminal::table::Table;

const HEADINGS: [&str; 6] = ["id", "jurisdictions", "region", "mirrors", "findings", "why"];
/// Rows of one table. What is laid out is held in memory, and a file may have any length.
const ROWS_MAX: usize = 500;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The region map
    #[arg(long, value_name = "FILE")]
    map: PathBuf,
    /// Country database in MaxMind's format, for `ip` evidence; without it, an address gives no
    /// finding
    #[arg(long, value_name = "FILE")]
    geoip: Option<PathBuf>,
    /// Date to decide for, such as 2026-11-23 [default: today, in UTC]
    #[arg(long, value_name = "DATE", value_parser = day)]
    as_of: Option<Date>,
    /// Tenant of these users [default: the map's only tenant]
    #[arg(long, value_name = "NAME", value_parser = |text: &str| TenantId::parse(text))]
    tenant: Option<TenantId>,
    /// Print JSON, one line for each
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    packs: Packs,
    /// JSON lines with `id`, `collection` and `evidence`; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    rows: PathBuf,
}

/// Answers every line, and fails at the end if one could not be read.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let map = options.packs.map(&options.map)?;
    let rules = Rules {
        tenant: config::tenant(&map, options.tenant.as_ref())?,
        sources: config::evidence_sources(options.geoip.as_deref())?,
        date: options.as_of.map_or_else(|| Moment::of(SystemClock.now()), Moment::from),
        map,
    };
    let mut answers = Answers {
        output: Output::new(),
        table: (!options.json).then(|| terminal::table(&HEADINGS)),
    };
    let mut bad = 0_usize;
    for_each_line(&options.rows, |number, line| {
        let answer = line.and_then(|line| {
            let row = JsonLine::read(line)?;
            Ok((rules.rule(&row)?, row))
        });
        if let Err(fault) = &answer {
            bad += 1;
            let text = format!("{}:{number}", options.rows.display());
            terminal::warn(format!("{text}: {}: {fault}", fault.reason));
        }
        answers.show(
            number,
            answer.as_ref().map(|(ruled, row)| Answer {
                row,
                findings: &ruled.findings,
                ruling: &ruled.ruling,
                open: &ruled.open,
            }),
        )
    })?;
    answers.end()?;
    match bad {
        0 => Ok(()),
        _ => Err(Failure::said(Exit::Failed, format!("{bad} lines could not be decided"))),
    }
}

/// Under what the rows are ruled upon.
struct Rules {
    map: RegionMap,
    sources: Sources,
    tenant: TenantId,
    date: Moment,
}

/// What is ruled of one row.
struct Ruled {
    findings: Findings,
    ruling: Ruling,
    /// The regions among which the rules leave a choice.
    open: Vec<RegionId>,
}

impl Rules {
    fn rule(&self, row: &JsonLine<'_>) -> Result<Ruled, Rejection> {
        let items: Vec<_> = row.evidence.iter().map(Evidence::as_item).collect();
        let findings = self.sources.findings(&self.map, &items, &Findings::new())?;
        let question = Question {
            tenant: &self.tenant,
            collection: &row.collection,
            findings: &findings,
            date: self.date,
        };
        let (ruling, open) = (decide(&self.map, &question)?, choices(&self.map, &question)?);
        Ok(Ruled { findings, ruling, open })
    }
}

/// What is said of one row.
struct Answer<'a> {
    row: &'a JsonLine<'a>,
    findings: &'a Findings,
    ruling: &'a Ruling,
    open: &'a [RegionId],
}

/// Where answers go: each as it comes in JSON, or some hundred at once in a table.
struct Answers {
    output: Output,
    /// None: in JSON.
    table: Option<Table>,
}

impl Answers {
    fn show(
        &mut self,
        number: usize,
        answer: Result<Answer<'_>, &Rejection>,
    ) -> Result<(), Failure> {
        let Some(table) = &mut self.table else {
            return self.output.line(match answer {
                Ok(answer) => answer.json(),
                Err(fault) => not_ruled(number, fault),
            });
        };
        table.add_row(match answer {
            Ok(answer) => answer.cells(),
            Err(fault) => {
                let region = fault.reason.to_string();
                let [id, none] = [format!("line {number}"), String::new()];
                [id, none.clone(), region, none.clone(), none, fault.message()]
            }
        });
        if table.len() < ROWS_MAX {
            return Ok(());
        }
        let full = std::mem::replace(table, terminal::table(&HEADINGS));
        self.output.line(full)
    }

    fn end(mut self) -> Result<(), Failure> {
        if let Some(table) = self.table.filter(|table| table.len() > 0) {
            self.output.line(table)?;
        }
        self.output.flush()
    }
}

/// The answer to a line that could not be ruled upon.
fn not_ruled(number: usize, fault: &Rejection) -> Value {
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
                    placement.mirrors().iter().map(RegionId::as_str).collect();
                mirrors.sort_unstable();
                object.insert("region".to_owned(), placement.region().as_str().into());
                object.insert("mirrors".to_owned(), mirrors.into());
            }
            Outcome::Refused(refusal) => {
                object.insert("refuse".to_owned(), refusal.reason().as_str().into());
                object.insert("cure".to_owned(), refusal.cure().into());
            }
        }
        if !self.open.is_empty() {
            let open: Vec<&str> = self.open.iter().map(RegionId::as_str).collect();
            object.insert("open".to_owned(), open.into());
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
                    placement.mirrors().iter().map(RegionId::as_str).collect();
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
