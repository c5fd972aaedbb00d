//! The text of an error and of its causes.

use std::error::Error;
use std::iter::successors;

/// An error and its causes, nearest first, separated by `: `. A cause that the text before it
/// repeats already is left out.
pub fn with_causes(error: &dyn Error) -> String {
    let causes = successors(error.source(), |&cause| cause.source()).map(ToString::to_string);
    causes.fold(error.to_string(), |text, cause| {
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Self>>);

    #[test]
    fn each_cause_is_stated_once() {
        let inner = Layer("no such file", None);
        let middle = Layer("key: no such file", Some(Box::new(inner)));
        let outer = Layer("cannot start", Some(Box::new(middle)));
        assert_eq!(with_causes(&outer), "cannot start: key: no such file");
    }
}
