//! Part 11: what is missing or weak, and what no log can show.

use super::law::mark;
use super::{Block, Label, Part, Sentence, Speaker};
use crate::report::words::GapKind;

/// What no placement log can show.
const LIMITS: [Sentence; 8] = [
    Sentence::LimitEvidence,
    Sentence::LimitSite,
    Sentence::LimitDisk,
    Sentence::LimitCopies,
    Sentence::LimitGiven,
    Sentence::LimitCrypto,
    Sentence::LimitTime,
    Sentence::LimitCounts,
];

pub(super) fn part(speaker: Speaker<'_>) -> Part {
    let mut blocks = Vec::new();
    if speaker.report.gaps.is_empty() {
        blocks.push(speaker.text(Sentence::NoGaps));
    } else {
        blocks.push(speaker.text(Sentence::GapsSay));
        let gaps = speaker.report.gaps.iter().map(|gap| {
            let about: Vec<String> =
                gap.about.iter().map(|about| worded(speaker, gap.kind, about)).collect();
            let about: Vec<&str> = about.iter().map(String::as_str).collect();
            speaker.say(gap.kind, &about)
        });
        blocks.push(Block::List(gaps.collect()));
    }
    blocks.push(speaker.text(Sentence::CannotShow));
    blocks.push(Block::List(LIMITS.iter().map(|limit| speaker.say(*limit, &[])).collect()));
    speaker.part("gaps", Label::Gaps, blocks)
}

/// What a gap is about, where it is a list of our own words: in words of the language.
fn worded(speaker: Speaker<'_>, kind: GapKind, about: &str) -> String {
    let word = |word: &str| {
        if kind == GapKind::SiteBare {
            return site(speaker, word);
        }
        let (name, count) = word.split_once('=').filter(|_| kind == GapKind::StatuteWeak)?;
        Some(format!("{}: {count}", mark(speaker, atlas::Verified::parse(name)?)))
    };
    let words: Option<Vec<String>> = about.split(' ').map(word).collect();
    words.map_or_else(|| about.to_owned(), |words| words.join(", "))
}

/// The name of a member of a site, as a map has it, as a column's title has it.
fn site(speaker: Speaker<'_>, member: &str) -> Option<String> {
    let label = match member {
        "address" => Label::Address,
        "operator" => Label::Operator,
        "contract" => Label::Contract,
        "register" => Label::Register,
        "attestation" => Label::Attestation,
        _ => return None,
    };
    Some(speaker.label(label).to_lowercase())
}
