//! The form in which sled keeps a value: whole in one row, or its length there and the bytes in
//! chunks.

/// Bytes of a value that are kept in one row of sled. See `sled.rs`.
pub(super) const CHUNK_BYTES: usize = 4096;

/// First byte of a stored row: the value follows.
const WHOLE: u8 = 0;
/// First byte of a stored row: the value's length (four bytes, big-endian) follows, and it lies in
/// chunks.
const CHUNKED: u8 = 1;

/// A row as it is stored.
pub(super) enum Stored<'a> {
    Whole(&'a [u8]),
    Chunked(u32),
}

impl<'a> Stored<'a> {
    /// `None` when it is no stored row.
    pub(super) fn parse(row: &'a [u8]) -> Option<Self> {
        match row.split_first()? {
            (&WHOLE, value) => Some(Self::Whole(value)),
            (&CHUNKED, bytes) => Some(Self::Chunked(u32::from_be_bytes(bytes.try_into().ok()?))),
            _ => None,
        }
    }

    /// What is stored.
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Whole(value) => with_first(WHOLE, value),
            Self::Chunked(bytes) => with_first(CHUNKED, &bytes.to_be_bytes()),
        }
    }

    /// The length of the value.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Whole(value) => value.len(),
            Self::Chunked(bytes) => usize::try_from(*bytes).unwrap_or(usize::MAX),
        }
    }
}

/// How many chunks a value of `bytes` bytes has.
pub(super) fn chunks(bytes: u32) -> u32 {
    bytes.div_ceil(CHUNK_BYTES_U32)
}
const CHUNK_BYTES_U32: u32 = 4096;
const _: () = assert!(CHUNK_BYTES_U32 as usize == CHUNK_BYTES, "one size of chunk");

fn with_first(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(1 + rest.len());
    row.push(first);
    row.extend_from_slice(rest);
    row
}
