//! Numbers in the log's formats: ASCII decimal without sign or leading zero.

/// The number of `text`, if `text` is the one way to write it.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let leading_zero = text.len() > 1 && text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    if digits && !leading_zero { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_text() {
        for n in [0, 1, 9, 10, 70_000, u64::MAX] {
            assert_eq!(parse(&n.to_string()), Some(n));
        }
        for bad in ["", "00", "01", "+1", "-1", "1 ", " 1", "0x1", "1_000", "18446744073709551616"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse("１"), None, "a digit that is not ASCII");
    }
}
