//! Sites, laws and collections, as the maps state them.

use atlas::Verified;

use super::{Block, Cell, Label, Part, Sentence, Speaker, Table, epochs, text};
use crate::report::law::{SiteFacts, Stated, StatuteFacts};
use crate::report::period::date_of;

/// Part 2.
pub(super) fn sites(speaker: Speaker<'_>) -> Part {
    if speaker.report.law.sites.is_empty() {
        return speaker.part("sites", Label::Sites, vec![speaker.text(Sentence::NoMaps)]);
    }
    let rows = speaker.report.law.sites.iter().map(|site| {
        let SiteFacts { region, territory, site: place } = &site.fact;
        let expires = place.attestation_expires.map(|date| date.to_string());
        vec![
            text(region),
            text(territory),
            speaker.or_none(place.address.as_deref()),
            speaker.or_none(place.operator.as_deref()),
            speaker.or_none(place.contract.as_deref()),
            speaker.or_none(place.register.as_deref()),
            speaker.or_none(place.attestation.as_deref()),
            speaker.or_none(expires.as_deref()),
            epochs(&site.epochs),
            Cell::Text(since(speaker, site)),
        ]
    });
    let table = Table {
        caption: speaker.label(Label::Sites),
        columns: speaker.labels(&[
            Label::Region,
            Label::Territory,
            Label::Address,
            Label::Operator,
            Label::Contract,
            Label::Register,
            Label::Attestation,
            Label::Until,
            Label::InMaps,
            Label::Since,
        ]),
        heads: 1,
        rows: rows.collect(),
    };
    let blocks = vec![speaker.text(Sentence::SitesSay), Block::Table(table)];
    speaker.part("sites", Label::Sites, blocks)
}

/// The day on which a log of the region first took a map that states this.
fn since(speaker: Speaker<'_>, site: &Stated<SiteFacts>) -> String {
    let taken = speaker.report.taken.iter().filter(|taken| {
        let log = speaker.log(taken.log);
        log.is_some_and(|log| log.region == site.fact.region) && site.epochs.contains(&taken.epoch)
    });
    let first = taken.map(|taken| taken.minute).min();
    first.map_or_else(|| speaker.label(Label::NotStated), |minute| date_of(minute).to_string())
}

/// Part 3.
pub(super) fn statutes(speaker: Speaker<'_>) -> Part {
    let law = &speaker.report.law;
    if law.maps.iter().all(|map| map.unusable.is_some()) {
        return speaker.part("statutes", Label::Statutes, vec![speaker.text(Sentence::NoMaps)]);
    }
    let rows = law.statutes.iter().map(|statute| row(speaker, statute));
    let table = Table {
        caption: speaker.label(Label::Statutes),
        columns: speaker.labels(&[
            Label::Jurisdiction,
            Label::Statute,
            Label::LawTitle,
            Label::Citation,
            Label::InForce,
            Label::Reading,
            Label::Settings,
            Label::Marks,
            Label::InMaps,
            Label::Digest,
        ]),
        heads: 2,
        rows: rows.collect(),
    };
    let blocks = vec![
        speaker.text(Sentence::StatutesSay),
        Block::Table(table),
        speaker.text(Sentence::CollectionsSay),
        Block::Table(collections(speaker)),
    ];
    speaker.part("statutes", Label::Statutes, blocks)
}

fn row(speaker: Speaker<'_>, statute: &Stated<StatuteFacts>) -> Vec<Cell> {
    let fact = &statute.fact;
    let until = fact.until.map_or_else(|| "…".to_owned(), |until| until.to_string());
    let mut reading = fact.constraint.clone();
    if !fact.readings.is_empty() {
        reading = format!("{reading} ({})", fact.readings.join(" / "));
    }
    let marks = fact.marks.iter();
    let marks = marks.map(|(verified, count)| format!("{}: {count}", mark(speaker, *verified)));
    let mut marks: Vec<String> = marks.collect();
    marks.extend(fact.draft.as_ref().map(|why| format!("{}: {why}", speaker.label(Label::Draft))));
    vec![
        text(&fact.jurisdiction),
        text(&fact.id),
        text(&fact.title),
        text(&fact.citation),
        Cell::Text(format!("{} – {until}", fact.from)),
        text(reading),
        Cell::Text(fact.settings.join("; ")),
        Cell::Text(marks.join("; ")),
        epochs(&statute.epochs),
        Cell::Code(fact.digest.clone()),
    ]
}

/// How well a fact was verified, in words.
pub(super) fn mark(speaker: Speaker<'_>, verified: Verified) -> String {
    speaker.label(match verified {
        Verified::Seen => Label::Seen,
        Verified::Weak => Label::Weak,
        Verified::Memory => Label::Memory,
        Verified::Inference => Label::Inference,
    })
}

fn collections(speaker: Speaker<'_>) -> Table {
    let rows = speaker.report.law.collections.iter().map(|collection| {
        let fact = &collection.fact;
        // The word of the map beside ours: it is what the map's readers look for.
        let reads = if fact.reads == "logged" { Label::Logged } else { Label::Counted };
        vec![
            text(&fact.name),
            text(&fact.category),
            speaker.or_none(fact.grounds.as_deref()),
            Cell::Text(format!("{} ({})", speaker.label(reads), fact.reads)),
            Cell::Text(fact.exempt.join(", ")),
            epochs(&collection.epochs),
        ]
    });
    Table {
        caption: speaker.label(Label::Collections),
        columns: speaker.labels(&[
            Label::Collection,
            Label::Category,
            Label::Grounds,
            Label::Reads,
            Label::Exempt,
            Label::InMaps,
        ]),
        heads: 1,
        rows: rows.collect(),
    }
}
