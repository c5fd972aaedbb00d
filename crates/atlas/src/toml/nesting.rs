//! How deep a file is nested, told before anybody reads it as TOML: whoever does goes down as deep.

use crate::limits::NESTING_MAX;

/// Where one stands while passing over a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Plain,
    Comment,
    /// In a text: its quote, and whether it is one of three, which may pass over lines.
    Text(u8, bool),
}

/// The place at which brackets, or the parts of a key, stand in one another more than
/// [`NESTING_MAX`] deep. In a file that is no TOML it may be told as well; that file is of no use
/// either way.
pub(crate) fn too_deep(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut state, mut brackets, mut dots) = (State::Plain, 0_usize, 0_usize);
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let (next, passed) = step(state, rest);
        if state == State::Plain && next == State::Plain {
            match rest.first() {
                Some(b'[' | b'{') => (brackets, dots) = (brackets + 1, 0),
                Some(b']' | b'}') => (brackets, dots) = (brackets.saturating_sub(1), 0),
                Some(b'.') => dots += 1,
                Some(b'=' | b',' | b'\n') => dots = 0,
                Some(_) | None => {}
            }
            if brackets > NESTING_MAX || dots > NESTING_MAX {
                return Some(at);
            }
        }
        state = next;
        at += passed;
    }
    None
}

/// What follows the first byte, or the first few, and how many they are.
fn step(state: State, rest: &[u8]) -> (State, usize) {
    match (state, rest) {
        (State::Plain, [a @ (b'"' | b'\''), b, c, ..]) if a == b && b == c => {
            (State::Text(*a, true), 3)
        }
        (State::Plain, [quote @ (b'"' | b'\''), ..]) => (State::Text(*quote, false), 1),
        (State::Plain, [b'#', ..]) => (State::Comment, 1),
        (State::Comment | State::Text(_, false), [b'\n', ..]) => (State::Plain, 1),
        (State::Text(b'"', _), [b'\\', c, ..]) if *c != b'\n' => (state, 2),
        (State::Text(quote, true), [a, b, c, ..]) if [*a, *b, *c] == [quote; 3] => {
            (State::Plain, 3)
        }
        (State::Text(quote, false), [a, ..]) if *a == quote => (State::Plain, 1),
        (_, _) => (state, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nests_is_counted() {
        let many = "[".repeat(NESTING_MAX + 1);
        let dots = "a.".repeat(NESTING_MAX + 1);
        for good in [
            format!("a = \"{many}\"\n"),
            format!("a = '{many}' # {many}\n# {dots}\n"),
            format!("a = \"\"\"\n{many} \\\"\"\"\n{many}\"\"\"\n"),
            format!("a = \"\\\"{many}\"\nb = ''\nc = '''{many}'''\n"),
            "[[a]]\nb = [[1], [2]]\nc.d = 1.5\n".repeat(NESTING_MAX + 1),
            "a = [1.1, 1.1]\n".repeat(NESTING_MAX + 1),
        ] {
            assert_eq!(too_deep(&good), None, "{good}");
        }
        assert_eq!(too_deep(&format!("a = {many}")), Some(4 + NESTING_MAX));
        assert_eq!(too_deep(&format!("{dots}a = 1")), Some(2 * NESTING_MAX + 1));
        assert_eq!(too_deep(&format!("a = \"\n{many}")), Some(6 + NESTING_MAX));
    }
}
