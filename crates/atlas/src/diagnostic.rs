//! What is wrong with a file, where, and what to do about it.

use std::fmt;

/// One thing that is wrong with a file that an operator wrote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What kind of mistake, by a name that stays.
    pub code: &'static str,
    /// What is wrong, in words of the file.
    pub problem: String,
    /// What to do about it.
    pub cure: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, code, problem, cure } = self;
        write!(f, "{line}:{column}: {code}: {problem}; {cure}")
    }
}
