//! The row of an upload in a group: whether it is there, how far it is, and its end.

use std::collections::HashMap;

use engine::{Batch, Key, Value};
use terms::{Detail, Reason, Rejection, limits};

use crate::Error;
use crate::reply::Outcome;
use crate::store::attachment::UploadFront;
use crate::store::types::AttachmentTag;
use crate::write::command::Uploaded;

/// The answer when there is no such upload.
pub(crate) fn unknown() -> Rejection {
    Rejection::new(Reason::UploadUnknown).field("request_id")
}

/// The answer to data that does not follow on what is stored.
pub(crate) fn out_of_step(stored: u32) -> Rejection {
    let bytes = u64::from(stored) * limits::ATTACHMENT_CHUNK_BYTES as u64;
    Rejection::new(Reason::UploadOutOfStep).field("data.offset").with(Detail::Offset, bytes)
}

/// How far an upload is.
pub(crate) fn state(front: &UploadFront, checked: u32) -> Outcome {
    let bytes = |chunks: u32| {
        let full = u64::from(chunks) * limits::ATTACHMENT_CHUNK_BYTES as u64;
        full.min(u64::from(front.bytes))
    };
    Outcome::Uploading { stored: bytes(front.next), checked: bytes(checked) }
}

/// The row of an upload, as the group has left it.
pub(crate) fn stored(
    rows: &HashMap<Key, Option<Value>>,
    unreadable: &HashMap<Key, Rejection>,
    row: &Key,
) -> Result<Value, Rejection> {
    if let Some(fault) = unreadable.get(row) {
        return Err(fault.clone());
    }
    rows.get(row).cloned().flatten().ok_or_else(unknown)
}

/// Whether all of an upload is there, for the put that ends it. `tag`: that of the put's content.
pub(crate) fn ends(stored: &[u8], tag: AttachmentTag) -> Result<(), Rejection> {
    let front = UploadFront::read(stored).map_err(|_| Error::Damaged("uploads"))?;
    if front.tag != tag {
        return Err(unknown());
    }
    if front.is_whole() { Ok(()) } else { Err(out_of_step(front.next)) }
}

/// The put is done that ends an upload.
pub(crate) fn ended(batch: &mut Batch, rows: &mut HashMap<Key, Option<Value>>, uploaded: Uploaded) {
    let Uploaded { row, whole: (at, sealed) } = uploaded;
    batch.put(at, sealed);
    batch.delete(row.clone());
    rows.insert(row, None);
}
