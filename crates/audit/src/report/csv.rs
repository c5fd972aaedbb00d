//! One long table: a fact or figure in each line. Keys are the same in all languages.

use super::escape;
use super::fold::Log;
use super::period::date_of;
use super::{Figure, Report};

const COLUMNS: [&str; 8] =
    ["section", "region", "shard", "month", "dimension", "key", "value", "checkpoint"];

/// What the parts of a key stand between.
const BETWEEN: &str = " | ";

/// The table, in UTF-8, lines ended as RFC 4180 has it.
pub(crate) fn table(report: &Report) -> String {
    let mut table = Table(String::new());
    table.line(COLUMNS.map(str::to_owned));
    for (number, log) in report.logs.iter().enumerate() {
        let key = format!("L{}", number + 1);
        let place = [log.region.clone(), log.shard.clone(), String::new()];
        for (dimension, value) in [
            ("origin", log.origin.clone()),
            ("vkey", log.vkey.clone()),
            ("read", log.read.to_string()),
        ] {
            table.fact("logs", &place, (dimension, &key), (&value, &checkpoint(log)));
        }
    }
    table.sites(report);
    table.laws(report);
    for figure in &report.figures {
        table.figure(figure, &report.logs);
    }
    table.history(report);
    for gap in &report.gaps {
        let kind = format!("{:?}", gap.kind);
        table.fact("gaps", &none(), ("gap", &kind), (&gap.about.join(BETWEEN), ""));
    }
    table.0
}

/// No region, shard or month.
fn none() -> [String; 3] {
    [String::new(), String::new(), String::new()]
}

/// A checkpoint in one cell: origin, size and root.
fn checkpoint(log: &Log) -> String {
    format!("{}@{}:{}", log.origin, log.size, log.root)
}

/// Epochs in one cell.
fn epochs(epochs: &[u64]) -> String {
    let all: Vec<String> = epochs.iter().map(ToString::to_string).collect();
    all.join(" ")
}

struct Table(String);

impl Table {
    fn line(&mut self, cells: [String; COLUMNS.len()]) {
        let cells = cells.map(|cell| escape::csv(&cell));
        self.0.push_str(&cells.join(","));
        self.0.push_str("\r\n");
    }

    fn fact(
        &mut self,
        section: &str,
        [region, shard, month]: &[String; 3],
        (dimension, key): (&str, &str),
        (value, checkpoint): (&str, &str),
    ) {
        self.line([
            section.to_owned(),
            region.clone(),
            shard.clone(),
            month.clone(),
            dimension.to_owned(),
            key.to_owned(),
            value.to_owned(),
            checkpoint.to_owned(),
        ]);
    }

    fn figure(&mut self, figure: &Figure, logs: &[Log]) {
        let from: Vec<String> =
            figure.logs.iter().filter_map(|log| logs.get(*log)).map(checkpoint).collect();
        let month = figure.month.map_or_else(String::new, |month| month.to_string());
        let place = [figure.region.clone(), figure.shard.clone(), month];
        let key = figure.key.join(BETWEEN);
        let value = figure.value.to_string();
        let about = (figure.dimension, key.as_str());
        self.fact(figure.section.as_str(), &place, about, (&value, &from.join(" ")));
    }

    fn sites(&mut self, report: &Report) {
        for site in &report.law.sites {
            let (fact, key) = (&site.fact, format!("maps {}", epochs(&site.epochs)));
            let place = [fact.region.clone(), String::new(), String::new()];
            let expires = fact.site.attestation_expires.map(|date| date.to_string());
            let territory = Some(fact.territory.clone());
            for (dimension, value) in [
                ("territory", &territory),
                ("address", &fact.site.address),
                ("operator", &fact.site.operator),
                ("contract", &fact.site.contract),
                ("register", &fact.site.register),
                ("attestation", &fact.site.attestation),
                ("attestation_expires", &expires),
            ] {
                if let Some(value) = value {
                    self.fact("sites", &place, (dimension, &key), (value, ""));
                }
            }
        }
    }

    fn laws(&mut self, report: &Report) {
        for statute in &report.law.statutes {
            let (fact, in_maps) = (&statute.fact, epochs(&statute.epochs));
            let until = fact.until.map_or_else(String::new, |date| date.to_string());
            for (dimension, value) in [
                ("in_maps", in_maps.as_str()),
                ("digest", &fact.digest),
                ("in_force_from", &fact.from.to_string()),
                ("in_force_until", &until),
                ("constraint", &fact.constraint),
                ("settings", &fact.settings.join("; ")),
                ("citation", &fact.citation),
            ] {
                self.fact("statutes", &none(), (dimension, &fact.id), (value, ""));
            }
        }
        for clause in &report.law.clauses {
            let (fact, in_maps) = (&clause.fact, epochs(&clause.epochs));
            let notified = fact.notified.map_or_else(String::new, |date| date.to_string());
            for (dimension, value) in [
                ("in_maps", in_maps.as_str()),
                ("from", &fact.from),
                ("to", &fact.to),
                ("legal_basis", &fact.legal_basis),
                ("importer", &fact.importer),
                ("reference", &fact.reference),
                ("notified", &notified),
                ("not_before", &fact.not_before.to_string()),
                ("expires", &fact.expires.to_string()),
            ] {
                self.fact("clauses", &none(), (dimension, &fact.id), (value, ""));
            }
        }
    }

    fn history(&mut self, report: &Report) {
        let of = |number: usize, minute: u32| {
            let log = report.logs.get(number)?;
            let month = super::Month::of(minute).to_string();
            Some(([log.region.clone(), log.shard.clone(), month], checkpoint(log)))
        };
        for taken in &report.taken {
            let Some((place, from)) = of(taken.log, taken.minute) else { continue };
            let key = format!("{}:{}", taken.epoch, super::law::hex(&taken.digest));
            let value = date_of(taken.minute).to_string();
            self.fact("maps", &place, ("taken", &key), (&value, &from));
        }
        for event in &report.events {
            let Some((place, from)) = of(event.log, event.minute) else { continue };
            let value = date_of(event.minute).to_string();
            let key = format!("{} {}", event.index, event.reason);
            self.fact("events", &place, (event.kind.as_str(), key.trim()), (&value, &from));
        }
        for late in &report.late {
            let Some((place, from)) = of(late.log, late.minute) else { continue };
            let value = ledger::entry::Minute(late.minute).to_string();
            let key = format!("{} due {}", late.index, ledger::entry::Minute(late.deadline));
            self.fact("erasures", &place, ("late", &key), (&value, &from));
        }
    }
}
