//! What somebody else has sent, as it may be printed.

use terms::is_hidden;

/// Characters of such a text at the most.
const SHOWN_CHARS_MAX: usize = 600;

/// A text from the wire without what steers a terminal or turns the direction of a line: such
/// characters are escaped, and the text is cut if it is long.
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(SHOWN_CHARS_MAX));
    for (number, c) in text.chars().enumerate() {
        if number >= SHOWN_CHARS_MAX {
            out.push('…');
            break;
        }
        if c.is_control() || is_hidden(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(shown("test/ru-msk/a/1"), "test/ru-msk/a/1");
        assert_eq!(shown("a\u{1b}[2J\nb\u{202e}c"), "a\\u{1b}[2J\\u{a}b\\u{202e}c");
        assert_eq!(shown(&"я".repeat(1000)).chars().count(), SHOWN_CHARS_MAX + 1);
    }
}
