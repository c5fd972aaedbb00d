//! How an attachment is cut into chunks.

use std::ops::Range;

use terms::limits::ATTACHMENT_CHUNK_BYTES;
use zeroize::Zeroizing;

use crate::store::aead::KEY_BYTES;

/// An attachment's own key: the body's key in its record's head.
pub(crate) type AttachmentKey = Zeroizing<[u8; KEY_BYTES]>;

/// How many chunks so many bytes have.
pub(crate) fn chunks(bytes: u32) -> u32 {
    bytes.div_ceil(chunk_bytes())
}

/// Bytes of one of its chunks: all but the last are full.
pub(crate) fn bytes_of(bytes: u32, number: u32) -> u32 {
    bytes.saturating_sub(number.saturating_mul(chunk_bytes())).min(chunk_bytes())
}

fn chunk_bytes() -> u32 {
    u32::try_from(ATTACHMENT_CHUNK_BYTES).expect("a chunk is small")
}

/// The chunks that hold a part of an attachment.
pub(crate) fn holding(part: &Range<u32>) -> Range<u32> {
    if part.is_empty() { 0..0 } else { part.start / chunk_bytes()..chunks(part.end) }
}
