//! Text from a shard, as it may be printed and stored.

use terms::one_line;

/// Characters of such a text at the most.
const SHOWN_CHARS_MAX: usize = 600;

/// A text from a shard on one line, without characters that steer a terminal, and cut if long.
pub fn shown(text: &str) -> String {
    let text = one_line(text);
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(shown("test/ru-msk/a/1"), "test/ru-msk/a/1");
        assert_eq!(shown("a\u{1b}[2J\nb\u{202e}c"), "a\\u001b[2J\\u000ab\\u202ec");
        assert_eq!(shown(&"я".repeat(1000)).chars().count(), SHOWN_CHARS_MAX + 1);
    }
}
