//! The findings of checks, as lines of text and of JSON.

use serde_json::json;
use terms::{UnixMillis, one_line};

/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Ok,
    /// It works, but not for long, or not as well as it should.
    Warn,
    /// It does not work, or it does not protect.
    Bad,
}

impl State {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// One finding of a check.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) state: State,
    pub(crate) check: &'static str,
    pub(crate) what: String,
    /// What to do about it; empty when there is nothing to do.
    pub(crate) cure: String,
}

impl Line {
    pub(crate) fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { state: State::Ok, check, what: what.into(), cure: String::new() }
    }

    pub(crate) fn warn(
        check: &'static str,
        what: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self { state: State::Warn, check, what: what.into(), cure: cure.into() }
    }

    pub(crate) fn bad(
        check: &'static str,
        what: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self { state: State::Bad, check, what: what.into(), cure: cure.into() }
    }

    /// Turns bad into a warning, if `soften` is set.
    pub(crate) fn softened(mut self, soften: bool) -> Self {
        if soften && self.state == State::Bad {
            self.state = State::Warn;
        }
        self
    }

    pub(crate) fn text(&self) -> String {
        let Self { state, check, what, cure } = self;
        let state = state.as_str();
        let then = if cure.is_empty() { "" } else { "; " };
        // A path or an error may hold line feeds: one finding is one line.
        one_line(&format!("{state:<4}  {check:<13} {what}{then}{cure}"))
    }

    /// State, check, finding and what to do, each on one line.
    pub(crate) fn cells(&self) -> [String; 4] {
        let Self { state, check, what, cure } = self;
        [state.as_str().to_owned(), (*check).to_owned(), one_line(what), one_line(cure)]
    }

    pub(crate) fn json(&self) -> String {
        let Self { state, check, what, cure } = self;
        json!({"check": check, "state": state.as_str(), "what": what, "cure": cure}).to_string()
    }
}

/// Whole days from one moment to a later one.
pub(crate) fn days(from: UnixMillis, to: UnixMillis) -> u64 {
    to.0.saturating_sub(from.0) / DAY_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        let line = Line::bad("disk", "no\nroom \u{1b}[31m", "make some");
        assert_eq!(line.text(), "bad   disk          no\\u000aroom \\u001b[31m; make some");
        assert_eq!(Line::ok("disk", "room").text(), "ok    disk          room");
        let json = r#"{"check":"disk","state":"ok","what":"room","cure":""}"#;
        assert_eq!(Line::ok("disk", "room").json(), json);
    }

    #[test]
    fn only_what_is_bad_is_softened() {
        assert_eq!(Line::bad("a", "b", "c").softened(true).state, State::Warn);
        assert_eq!(Line::bad("a", "b", "c").softened(false).state, State::Bad);
        assert_eq!(Line::ok("a", "b").softened(true).state, State::Ok);
    }
}
