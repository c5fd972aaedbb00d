//! How rows lie in an embedded store: one first byte that says what a row is, and the head's row.

use crate::{Head, Key, Span};

/// First byte of the head's key.
const HEAD: u8 = 0;
/// First byte of a caller's row.
const ROW: u8 = 1;
/// First byte of a chunk of a large value. Past every row: no scan meets one.
const CHUNK: u8 = 2;

/// Version of the layout, in the head's row.
const VERSION: u8 = 1;

/// The key of the head's row.
pub(crate) const HEAD_KEY: &[u8] = &[HEAD];

/// The stored key of a caller's key.
pub(crate) fn row_key(key: &[u8]) -> Key {
    let mut stored = Key::with_capacity(1 + key.len());
    stored.push(ROW);
    stored.extend_from_slice(key);
    stored
}

/// The caller's key of a stored key.
pub(crate) fn caller_key(stored: &[u8]) -> Option<&[u8]> {
    match stored.split_first() {
        Some((&ROW, key)) => Some(key),
        _ => None,
    }
}

/// The stored key of chunk `index` of the value under `key`. The index has a fixed width, so no
/// two keys share a chunk key.
pub(crate) fn chunk_key(key: &[u8], index: u32) -> Key {
    let mut stored = Key::with_capacity(5 + key.len());
    stored.push(CHUNK);
    stored.extend_from_slice(key);
    stored.extend_from_slice(&index.to_be_bytes());
    stored
}

/// The stored keys of a caller's span, as an inclusive start and an exclusive end.
pub(crate) fn stored_span(span: &Span) -> (Key, Key) {
    let until = if span.until.is_empty() { vec![CHUNK] } else { row_key(&span.until) };
    (row_key(&span.from), until)
}

/// The head as its row's value.
pub(crate) fn encode_head(head: Head) -> [u8; 17] {
    let mut row = [VERSION; 17];
    let (_, numbers) = row.split_at_mut(1);
    let (term, size) = numbers.split_at_mut(8);
    term.copy_from_slice(&head.term.to_be_bytes());
    size.copy_from_slice(&head.size.to_be_bytes());
    row
}

/// The head in its row's value, if it is one of this version.
pub(crate) fn decode_head(row: &[u8]) -> Option<Head> {
    let (&VERSION, numbers) = row.split_first()? else { return None };
    let (term, size) = numbers.split_first_chunk::<8>()?;
    Some(Head { term: u64::from_be_bytes(*term), size: u64::from_be_bytes(size.try_into().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_reads_back_and_nothing_else_does() {
        let head = Head { term: 3, size: 1 << 40 };
        let row = encode_head(head);
        assert_eq!(row, [1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(decode_head(&row), Some(head));
        for len in 0..row.len() {
            assert_eq!(decode_head(&row[..len]), None);
        }
        let mut other = row;
        other[0] = 2;
        assert_eq!(decode_head(&other), None);
    }

    #[test]
    fn no_span_holds_a_chunk_or_the_head() {
        let (from, until) = stored_span(&Span::all());
        for other in [HEAD_KEY.to_vec(), chunk_key(b"", 0), chunk_key(b"\xff", u32::MAX)] {
            assert!(other < from || other >= until);
        }
        let key = row_key(&[0xff; 20]);
        assert!(key >= from && key < until);
        assert_eq!(caller_key(&key), Some(&[0xff; 20][..]));
        assert_eq!(caller_key(&chunk_key(b"a", 1)), None);
    }
}
