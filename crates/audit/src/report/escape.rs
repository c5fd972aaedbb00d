//! Makes texts of others harmless where they are shown. Map texts are operators' words, and
//! purposes are callers': none of them may become markup, or a formula in somebody's spreadsheet.

/// A text inside HTML or SVG, as content or between double quotes.
pub(crate) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if hidden(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A cell of CSV: always between quotes where it needs them, and never a formula.
pub(crate) fn csv(text: &str) -> String {
    // Some programs look past spaces before a formula, and some take the wide signs for the others.
    let formula = text.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
        || text.starts_with(['\t', '\r', '\n']);
    let text: String = text.chars().map(|c| if hidden(c) { '\u{fffd}' } else { c }).collect();
    let text = if formula { format!("'{text}") } else { text };
    if text.contains(['"', ',', '\n', '\r', ';', '\'']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

/// Characters that change how others are read without being seen: controls, and marks that turn
/// the direction of writing.
fn hidden(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    #[test]
    fn markup_is_text() {
        assert_eq!(
            super::html("<a href=\"x\">'&\u{202e}\u{1}"),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\u{fffd}\u{fffd}"
        );
    }

    #[test]
    fn a_cell_is_no_formula() {
        for (text, cell) in [
            ("=1+1", "\"'=1+1\""),
            ("  =1", "\"'  =1\""),
            ("-", "\"'-\""),
            ("@x", "\"'@x\""),
            ("\tx", "\"'\tx\""),
            ("＝1", "\"'＝1\""),
            ("a\"b", "\"a\"\"b\""),
            ("a,b", "\"a,b\""),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(super::csv(text), cell, "{text:?}");
        }
    }
}
