//! Every code that a finding about a map, an annex or a pack can have.
//!
//! A code keeps its meaning for ever, and has one severity: whether it is a mistake does not depend
//! on the map. `docs/map-reference.md` lists them all, and a test asks each example for its code.

mod apart;
mod mistakes;
mod warnings;

use crate::Severity;

/// What a kind of finding means.
#[derive(Debug, Clone, Copy)]
pub struct Code {
    /// Its stable name.
    pub name: &'static str,
    /// Whether the file can be used in spite of it.
    pub severity: Severity,
    /// What it means.
    pub means: &'static str,
    /// What to do about it.
    pub cure: &'static str,
    /// Something that has it.
    pub example: Example,
}

/// Something that has a code.
#[derive(Debug, Clone, Copy)]
pub enum Example {
    /// Tables at the end of a map that is otherwise sound.
    Map(&'static str),
    /// Keys at the top of such a map.
    Top(&'static str),
    /// An annex of such a map.
    Annex(&'static str),
    /// A pack.
    Pack(&'static str),
    /// What annexes are given with such a map, in words.
    Annexes(&'static str),
    /// Something too large to be shown, in words.
    None(&'static str),
}

/// The severity of a code. What is not listed is a mistake: other files than maps have codes of
/// their own.
pub(crate) fn severity(name: &str) -> Severity {
    Code::parse(name).map_or(Severity::Error, |code| code.severity)
}

/// All codes: the errors, then the warnings.
pub fn codes() -> impl Iterator<Item = &'static Code> {
    mistakes::MISTAKES.iter().chain(apart::APART).chain(warnings::WARNINGS)
}

impl Code {
    /// The code of that name.
    pub fn parse(name: &str) -> Option<&'static Self> {
        codes().find(|code| code.name == name)
    }
}

const fn code(
    name: &'static str,
    severity: Severity,
    means: &'static str,
    cure: &'static str,
    example: Example,
) -> Code {
    Code { name, severity, means, cure, example }
}
