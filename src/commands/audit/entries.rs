//! `audit entries`: prints the entries of a mirrored log.

use std::path::PathBuf;

use audit::Folder;
use audit::entries::{Filter, HEADINGS, json, row};
use clap::Args;
use ledger::entry::{Entry, Kind};
use terms::with_causes;

use crate::arguments::minute;
use crate::error::{Exit, Failure};
use crate::terminal::{Output, table};

/// Rows of a table at the most: it is held in memory until it is printed.
const ROWS_MAX: usize = 10_000;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Only entries of this kind, such as PLACE; may be repeated
    #[arg(long = "kind", value_name = "KIND", value_parser = kind)]
    kinds: Vec<Kind>,
    /// Only entries from this time on: a day such as 2026-11-25, or a minute such as
    /// 2026-11-25T14:30Z
    #[arg(long, value_name = "TIME", value_parser = minute)]
    from: Option<u64>,
    /// Only entries before this time
    #[arg(long, value_name = "TIME", value_parser = minute)]
    until: Option<u64>,
    /// Only entries to which this jurisdiction applied
    #[arg(long, value_name = "CODE")]
    jurisdiction: Option<String>,
    /// Only entries of this collection
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// First entry
    #[arg(long, value_name = "N", default_value_t = 0)]
    start: u64,
    /// End of the range, exclusive
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    end: u64,
    /// Print JSON, one object on each line, with everything that an entry says
    #[arg(long)]
    json: bool,
    /// Folder of a log
    #[arg(value_name = "DIR")]
    log: PathBuf,
}

fn kind(text: &str) -> Result<Kind, String> {
    Kind::parse(&text.to_ascii_uppercase()).ok_or_else(|| {
        let all: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("is none of {}", all.join(", "))
    })
}

/// Prints what fits.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let folder = Folder::at(&options.log);
    let failed = |error: &audit::folder::Error| {
        let said = with_causes(error);
        Failure::said(Exit::Data, format!("{}/{said}", options.log.display()))
    };
    // No other process writes to it while it is read.
    let _held = folder.hold();
    let key = folder.key().map_err(|error| failed(&error))?;
    let size = folder.checkpoint(&key).map_err(|error| failed(&error))?.size;
    let filter = Filter {
        kinds: options.kinds.clone(),
        minutes: options.from.unwrap_or(0)..options.until.unwrap_or(u64::MAX),
        jurisdiction: options.jurisdiction.clone(),
        collection: options.collection.clone(),
        indexes: options.start..options.end,
    };
    let mut output = Output::new();
    let (mut rows, mut count) = (table(&HEADINGS), 0_usize);
    for entry in folder.entries(size, options.start, options.end) {
        let (index, bytes) = entry.map_err(|error| failed(&error))?;
        let entry = Entry::decode(&bytes)
            .map_err(|error| Failure::said(Exit::Data, format!("entry {index}: {error}")))?;
        if !filter.fits(index, &entry) {
            continue;
        }
        count += 1;
        if options.json {
            output.line(json(index, &entry))?;
        } else if count <= ROWS_MAX {
            rows.add_row(row(index, &entry));
        }
    }
    if !options.json {
        output.line(rows)?;
        let shown = count.min(ROWS_MAX);
        output.line(format!("{shown} of {count} matching entries, of {size}"))?;
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_in_any_case() {
        assert_eq!(kind("place"), Ok(Kind::Place));
        assert!(kind("nothing").is_err());
    }
}
