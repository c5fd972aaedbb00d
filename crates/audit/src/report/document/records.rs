//! Part 4: records by jurisdiction, region and month.

use super::pivot::{Shape, place, tables};
use super::{Block, Label, Part, Section, Sentence, Speaker};
use crate::report::figure::{Figure, SMALL, Value};
use crate::report::fold::links::{NO_LAW, NOT_STATED};
use crate::report::fold::people::{ALL_CLASSES, Measure};
use crate::report::svg::{Chart, ChartKind, SERIES_MAX};

pub(super) fn part(speaker: Speaker<'_>) -> Part {
    let figures = speaker.figures(Section::Records);
    let rule = [(SMALL - 1).to_string(), SMALL.to_string()];
    let rule = [rule[0].as_str(), rule[1].as_str()];
    let mut blocks = vec![
        speaker.text(Sentence::RecordsSay),
        speaker.text(Sentence::NoSubjectCount),
        Block::Text(speaker.say(Sentence::SmallRule, &rule)),
        speaker.text(Sentence::WholeCounts),
    ];
    if figures.is_empty() {
        blocks.push(speaker.text(Sentence::NoRecords));
    } else {
        blocks.push(Block::Chart(chart(speaker, &figures)));
        blocks.push(speaker.text(Sentence::ChartGap));
        let names = |figure: &Figure| {
            let class = figure.key.first().map_or("", String::as_str);
            vec![place(figure), jurisdictions(speaker, class), measure(speaker, figure.dimension)]
        };
        let keep = |figure: &Figure| figure.dimension == Measure::Live.as_str();
        let shape = Shape {
            caption: Label::Records,
            heads: &[Label::Region, Label::Jurisdiction, Label::Measure],
            names: &names,
            keep_empty: &keep,
        };
        blocks.extend(tables(speaker, &figures, &shape));
    }
    speaker.part("records", Label::Records, blocks)
}

/// The set of jurisdictions that a row is about.
fn jurisdictions(speaker: Speaker<'_>, class: &str) -> String {
    match class {
        ALL_CLASSES => speaker.label(Label::AllClasses),
        NO_LAW => speaker.label(Label::NoLaw),
        NOT_STATED => speaker.label(Label::NotStated),
        set => set.to_owned(),
    }
}

fn measure(speaker: Speaker<'_>, dimension: &str) -> String {
    let measure = Measure::ALL.into_iter().find(|measure| measure.as_str() == dimension);
    measure.map_or_else(
        || dimension.to_owned(),
        |measure| {
            speaker.label(match measure {
                Measure::Created => Label::Created,
                Measure::Placed => Label::Placed,
                Measure::Replaced => Label::Replaced,
                Measure::Deleted => Label::Deleted,
                Measure::Expired => Label::Expired,
                Measure::Erased => Label::Erased,
                Measure::MovedIn => Label::MovedIn,
                Measure::MovedOut => Label::MovedOut,
                Measure::Live => Label::Live,
            })
        },
    )
}

/// A line for each region: what lives, whatever law claims it.
fn chart(speaker: Speaker<'_>, figures: &[&Figure]) -> Chart {
    let months = speaker.report.period.months();
    let mut series: Vec<(String, Vec<Option<u64>>)> = Vec::new();
    let all = figures.iter().filter(|figure| {
        let of_all = figure.key.first().is_some_and(|class| class == ALL_CLASSES);
        of_all && figure.dimension == Measure::Live.as_str()
    });
    for figure in all {
        let value = figure.value.count().filter(|_| figure.value != Value::Small);
        match series.last_mut().filter(|(region, _)| *region == figure.region) {
            Some((_, values)) => values.push(value),
            None => series.push((figure.region.clone(), vec![value])),
        }
    }
    series.truncate(SERIES_MAX);
    let labels = months.iter().map(ToString::to_string).collect();
    Chart { kind: ChartKind::Lines, title: speaker.label(Label::LiveChart), labels, series }
}
