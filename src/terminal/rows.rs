//! Reads a file of people, line by line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use terms::Rejection;

use crate::error::{Exit, Failure};

/// Bytes of one line at the most.
const LINE_BYTES_MAX: u64 = terms::limits::BODY_BYTES_MAX as u64;
/// What some programs write before the first line of a file in UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Calls `each` with every line that is not blank and its number from 1. A byte order mark at the
/// start of the file is passed over. A line over the limit is an error to `each`, and is passed
/// over.
pub(crate) fn for_each_line(
    path: &Path,
    mut each: impl FnMut(usize, Result<&[u8], Rejection>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let unread = |error: io::Error| {
        let text = format!("{} cannot be read ({error})", path.display());
        Failure::said(Exit::Failed, text)
    };
    let mut reader: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(unread)?))
    };
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let mut start = reader.by_ref().take(LINE_BYTES_MAX);
        if start.read_until(b'\n', &mut line).map_err(unread)? == 0 {
            break;
        }
        if start.limit() == 0 && !line.ends_with(b"\n") {
            reader.skip_until(b'\n').map_err(unread)?;
            each(number, Err(terms::Reason::BodyTooLarge.into()))?;
            continue;
        }
        let text = match line.strip_prefix(BYTE_ORDER_MARK) {
            Some(text) if number == 1 => text,
            _ => &line,
        };
        // Blank lines count in the numbers.
        if !text.iter().all(u8::is_ascii_whitespace) {
            each(number, Ok(text))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_passed_over_at_the_start_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\u{feff}a\n\n\u{feff}b\r\nc").unwrap();
        let mut seen = Vec::new();
        let read = for_each_line(file.path(), |number, line| {
            seen.push((number, String::from_utf8(line.unwrap().to_vec()).unwrap()));
            Ok(())
        });
        assert!(read.is_ok());
        let lines = [(1, "a\n"), (3, "\u{feff}b\r\n"), (4, "c")];
        assert_eq!(seen, lines.map(|(number, line)| (number, line.to_owned())));
    }
}
