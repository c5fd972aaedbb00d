//! Invisible characters that change how others are read: in texts that people sign, and
//! on terminals.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether nobody sees that character, and it is no space, tab or line feed: controls, marks that
/// turn the direction of writing, and what takes no room or is blank.
pub const fn is_hidden(c: char) -> bool {
    match c {
        '\t' | '\n' => false,
        '\u{0}'..='\u{1f}'
        | '\u{7f}'..='\u{9f}'
        | '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{2800}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{13430}'..='\u{1345f}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    }
}

/// A text with its hidden characters written as `\u202e`, as JSON writes them: what is JSON stays
/// the same JSON.
pub fn escape_hidden(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _infallible = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// The same, with line feeds and tabs escaped too: the text starts no line of its own.
pub fn one_line(text: &str) -> String {
    escape_hidden(text).replace('\n', "\\u000a").replace('\t', "\\u0009")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_written_out() {
        let plain = "a\tb\nПример ё 日本 🙂 \"\\u202e\"";
        assert!(matches!(escape_hidden(plain), Cow::Borrowed(same) if same == plain));
        assert_eq!(escape_hidden("a\u{1b}[2J\rb\u{202e}c"), "a\\u001b[2J\\u000db\\u202ec");
        assert_eq!(one_line("a\nb\tc\u{1b}"), "a\\u000ab\\u0009c\\u001b");
        assert_eq!(escape_hidden("\u{e0041}\u{9b}\u{2066}"), "\\udb40\\udc41\\u009b\\u2066");
    }

    #[test]
    fn every_control_and_every_turn_is_hidden() {
        for c in ('\0'..=char::MAX).filter(|c| c.is_control()) {
            assert_eq!(is_hidden(c), c != '\t' && c != '\n', "{c:?}");
        }
        for c in "\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{feff}".chars() {
            assert!(is_hidden(c), "{c:?}");
        }
    }
}
