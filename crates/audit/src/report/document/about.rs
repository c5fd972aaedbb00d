//! What the report is, how to verify it, and where its figures come from.

use super::{Block, Cell, Label, Part, Sentence, Speaker, Table, text};
use crate::report::fold::Log;
use crate::report::input::Verification;
use crate::report::period::date_of;

/// How the auditor's tool checks a copy of a log.
const OURS: &str = "bailiwick audit verify DIR";
/// How a tool of others does.
const THEIRS: &str =
    "aics-tlog verify-checkpoint --tiles DIR --vkey-file KEYS --policy-file POLICY";

/// Part 1.
pub(super) fn part(speaker: Speaker<'_>) -> Part {
    let mut blocks = vec![
        speaker.text(Sentence::WhatItIs),
        speaker.text(Sentence::NoPeople),
        speaker.text(Sentence::WhoseWords),
        speaker.text(Sentence::HowToVerify),
        Block::Code(OURS.to_owned()),
        speaker.text(Sentence::ForeignTools),
        Block::Code(THEIRS.to_owned()),
        speaker.text(Sentence::KeysElsewhere),
    ];
    if speaker.report.logs.is_empty() {
        blocks.push(speaker.text(Sentence::NoLogs));
    } else {
        blocks.push(Block::Table(logs(speaker)));
    }
    for (number, log) in speaker.report.logs.iter().enumerate() {
        let checkpoint = speaker.label(Label::Checkpoint);
        blocks.push(Block::Text(format!("{checkpoint} [L{}], {}:", number + 1, log.origin)));
        blocks.push(Block::Code(log.checkpoint.clone()));
    }
    speaker.part("about", Label::About, blocks)
}

/// The logs, how far each was verified and how much of it was read.
fn logs(speaker: Speaker<'_>) -> Table {
    let rows = speaker.report.logs.iter().enumerate().map(|(number, log)| {
        let span = log.span.map_or_else(String::new, |(first, last)| {
            format!("{} – {}", date_of(first), date_of(last))
        });
        vec![
            Cell::Logs(vec![number]),
            text(&log.region),
            text(&log.shard),
            Cell::Text(verified(speaker, log)),
            Cell::Number(log.read.to_string()),
            Cell::Number(log.in_period.to_string()),
            text(span),
            Cell::Code(log.vkey.clone()),
        ]
    });
    Table {
        caption: speaker.label(Label::LogsGiven),
        columns: speaker.labels(&[
            Label::Source,
            Label::Region,
            Label::Shard,
            Label::Verified,
            Label::Size,
            Label::InPeriod,
            Label::Span,
            Label::Vkey,
        ]),
        heads: 1,
        rows: rows.collect(),
    }
}

fn verified(speaker: Speaker<'_>, log: &Log) -> String {
    match &log.verified {
        Verification::Whole { by } => speaker.say(Label::Whole, &[by]),
        Verification::Partly { by, why } => speaker.say(Label::Partly, &[by, why]),
        Verification::Not { why } => speaker.say(Label::Not, &[why]),
    }
}

/// Part 12: what the keys of the figures stand for.
pub(super) fn sources(speaker: Speaker<'_>) -> Part {
    let rows = speaker.report.logs.iter().enumerate().map(|(number, log)| {
        vec![
            Cell::Text(format!("[L{}]", number + 1)),
            text(&log.origin),
            Cell::Number(log.size.to_string()),
            Cell::Code(log.root.to_string()),
        ]
    });
    let table = Table {
        caption: speaker.label(Label::Sources),
        columns: speaker.labels(&[Label::Source, Label::Origin, Label::Size, Label::Root]),
        heads: 1,
        rows: rows.collect(),
    };
    let blocks = if speaker.report.logs.is_empty() {
        vec![speaker.text(Sentence::NoLogs)]
    } else {
        vec![Block::Text(speaker.say(Sentence::SourcesSay, &["1"])), Block::Table(table)]
    };
    speaker.part("sources", Label::Sources, blocks)
}
