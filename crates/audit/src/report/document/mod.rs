//! The report as a document in one language: parts, each of texts, tables and charts. How they
//! look is `html.rs`'s.

mod about;
mod acts;
mod gaps;
mod history;
mod law;
mod order;
mod pivot;
mod records;

use super::fold::Log;
use super::input::Language;
use super::svg::Chart;
use super::words::{Label, Message, Sentence, say};
use super::{Figure, Report, Section};

/// The whole document.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) title: String,
    pub(crate) contents: String,
    /// Lines under the title.
    pub(crate) head: Vec<String>,
    pub(crate) parts: Vec<Part>,
}

/// A numbered part.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) id: &'static str,
    pub(crate) title: String,
    pub(crate) blocks: Vec<Block>,
}

/// What a part is made of.
#[derive(Debug)]
pub(crate) enum Block {
    Text(String),
    List(Vec<String>),
    Code(String),
    Table(Table),
    Chart(Chart),
}

/// A table. Its first columns name what a row is about.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) caption: String,
    pub(crate) columns: Vec<String>,
    pub(crate) heads: usize,
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// A cell.
#[derive(Debug)]
pub(crate) enum Cell {
    Text(String),
    Number(String),
    /// Digests, keys and the like.
    Code(String),
    /// Keys of logs.
    Logs(Vec<usize>),
}

/// Who speaks: a language, and what is spoken of.
#[derive(Clone, Copy)]
pub(super) struct Speaker<'a> {
    language: Language,
    report: &'a Report,
}

/// The document of a report.
pub(crate) fn of(report: &Report) -> Document {
    let speaker = Speaker { language: report.language, report };
    let (from, last) = report.period.days();
    let made = ledger::entry::Minute(report.generated);
    Document {
        title: speaker.label(Label::Title),
        contents: speaker.label(Label::Contents),
        head: vec![
            speaker.say(Sentence::Deployment, &[&report.deployment]),
            speaker.say(Sentence::Period, &[&from.to_string(), &last.to_string()]),
            format!("{}: {made}.", speaker.label(Label::Generated)),
            speaker.say(Sentence::NotAdvice, &[]),
        ],
        parts: vec![
            about::part(speaker),
            law::sites(speaker),
            law::statutes(speaker),
            records::part(speaker),
            order::part(speaker),
            acts::refusals(speaker),
            acts::erasures(speaker),
            acts::accesses(speaker),
            history::maps(speaker),
            history::events(speaker),
            gaps::part(speaker),
            about::sources(speaker),
        ],
    }
}

// === impl Speaker ===

impl<'a> Speaker<'a> {
    fn label(self, label: Label) -> String {
        say(label, self.language, &[])
    }

    fn labels(self, labels: &[Label]) -> Vec<String> {
        labels.iter().map(|label| self.label(*label)).collect()
    }

    fn say(self, message: impl Message, values: &[&str]) -> String {
        say(message, self.language, values)
    }

    fn text(self, sentence: Sentence) -> Block {
        Block::Text(self.say(sentence, &[]))
    }

    fn part(self, id: &'static str, title: Label, blocks: Vec<Block>) -> Part {
        Part { id, title: self.label(title), blocks }
    }

    /// The figures of one section.
    fn figures(self, section: Section) -> Vec<&'a Figure> {
        self.report.figures.iter().filter(|figure| figure.section == section).collect()
    }

    fn log(self, number: usize) -> Option<&'a Log> {
        self.report.logs.get(number)
    }

    /// What was not said.
    fn or_none(self, said: Option<&str>) -> Cell {
        match said.filter(|said| !said.is_empty()) {
            Some(said) => Cell::Text(said.to_owned()),
            None => Cell::Text(self.label(Label::NoneSaid)),
        }
    }
}

/// Epochs in one cell.
fn epochs(epochs: &[u64]) -> Cell {
    let all: Vec<String> = epochs.iter().map(ToString::to_string).collect();
    Cell::Text(all.join(", "))
}

fn text(text: impl ToString) -> Cell {
    Cell::Text(text.to_string())
}
