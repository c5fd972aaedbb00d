//! Parts 9 and 10: the history of the map, and what happened to keys, stores and logs.

use ledger::entry::Minute;

use super::acts::role;
use super::pivot::{Shape, place, tables};
use super::{Block, Cell, Label, Part, Section, Sentence, Speaker, Table, text};
use crate::report::figure::Figure;
use crate::report::fold::history::Event;
use crate::report::law::hex;
use crate::rules::OldHead;

/// Part 9.
pub(super) fn maps(speaker: Speaker<'_>) -> Part {
    let report = speaker.report;
    let mut blocks = vec![speaker.text(Sentence::MapsSay)];
    if report.law.maps.is_empty() {
        blocks.push(speaker.text(Sentence::NoMaps));
    } else {
        let rows = report.law.maps.iter().map(|map| {
            vec![
                text(map.epoch),
                text(&map.name),
                speaker.or_none(map.valid_until.map(|date| date.to_string()).as_deref()),
                speaker.or_none(Some(map.signers.join(", ").as_str())),
                Cell::Code(map.digest.clone()),
                Cell::Code(map.predecessors.join(", ")),
            ]
        });
        blocks.push(Block::Table(Table {
            caption: speaker.label(Label::MapsGiven),
            columns: speaker.labels(&[
                Label::Epoch,
                Label::Name,
                Label::Until,
                Label::Signers,
                Label::Digest,
                Label::Predecessors,
            ]),
            heads: 1,
            rows: rows.collect(),
        }));
    }
    if report.taken.is_empty() {
        blocks.push(speaker.text(Sentence::NoTaken));
    } else {
        blocks.push(Block::Table(taken(speaker)));
    }
    speaker.part("maps", Label::Maps, blocks)
}

fn taken(speaker: Speaker<'_>) -> Table {
    let rows = speaker.report.taken.iter().map(|taken| {
        vec![
            Cell::Logs(vec![taken.log]),
            text(taken.epoch),
            text(speaker.log(taken.log).map_or("", |log| &log.region)),
            text(Minute(taken.minute)),
            speaker.or_none(Some(&taken.signers)),
            Cell::Number(taken.index.to_string()),
            Cell::Code(hex(&taken.digest)),
        ]
    });
    Table {
        caption: speaker.label(Label::MapsTaken),
        columns: speaker.labels(&[
            Label::Log,
            Label::Epoch,
            Label::Region,
            Label::Time,
            Label::Signers,
            Label::Index,
            Label::Digest,
        ]),
        heads: 2,
        rows: rows.collect(),
    }
}

/// Part 10.
pub(super) fn events(speaker: Speaker<'_>) -> Part {
    let mut blocks = Vec::new();
    if speaker.report.events.is_empty() {
        blocks.push(speaker.text(Sentence::NoEvents));
    } else {
        let rows = speaker.report.events.iter().map(|event| {
            vec![
                Cell::Logs(vec![event.log]),
                Cell::Number(event.index.to_string()),
                text(Minute(event.minute)),
                text(event.kind),
                Cell::Text(said(speaker, event)),
            ]
        });
        blocks.push(Block::Table(Table {
            caption: speaker.label(Label::EventsListed),
            columns: speaker.labels(&[
                Label::Log,
                Label::Index,
                Label::Time,
                Label::Kind,
                Label::Said,
            ]),
            heads: 2,
            rows: rows.collect(),
        }));
    }
    let exports = speaker.figures(Section::Events);
    if !exports.is_empty() {
        let names = |figure: &Figure| {
            let by = figure.key.first().map_or("", String::as_str);
            vec![place(figure), role(speaker, by)]
        };
        let shape = Shape {
            caption: Label::Exports,
            heads: &[Label::Region, Label::Role],
            names: &names,
            keep_empty: &|_| false,
        };
        blocks.push(speaker.text(Sentence::ExportsSay));
        blocks.extend(tables(speaker, &exports, &shape));
    }
    speaker.part("events", Label::Events, blocks)
}

/// What the entry of an event says.
fn said(speaker: Speaker<'_>, event: &Event) -> String {
    let mut parts = Vec::new();
    if !event.reason.is_empty() {
        parts.push(event.reason.clone());
    }
    if let Some(count) = event.count {
        parts.push(speaker.say(Sentence::CountSay, &[&count.to_string()]));
    }
    if let Some(OldHead { origin, size, root }) = &event.old_head {
        let values = [origin.as_str(), &size.to_string(), &root.to_string()];
        parts.push(speaker.say(Sentence::OldHeadSay, &values));
    }
    if let Some(key) = &event.log_key {
        parts.push(speaker.say(Sentence::LogKeySay, &[key]));
    }
    parts.join("; ")
}
