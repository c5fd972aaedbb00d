//! Part 11: what is missing or weak, and what no log can show.

use super::{Block, Label, Part, Sentence, Speaker};

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
            let about: Vec<&str> = gap.about.iter().map(String::as_str).collect();
            speaker.say(gap.kind, &about)
        });
        blocks.push(Block::List(gaps.collect()));
    }
    blocks.push(speaker.text(Sentence::CannotShow));
    blocks.push(Block::List(LIMITS.iter().map(|limit| speaker.say(*limit, &[])).collect()));
    speaker.part("gaps", Label::Gaps, blocks)
}
