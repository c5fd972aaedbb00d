//! The row of an upload in a group: whether it is there, how far it is, and its end.

use std::collections::HashMap;

use engine::{Batch, Engine, Key, Order, Value};
use terms::{Detail, Reason, Rejection, limits};

use crate::Error;
use crate::reply::Outcome;
use crate::store::attachment::{ALL_UPLOADS, UploadFront};
use crate::store::keys;
use crate::store::types::{AttachmentTag, Minute, SubjectTag, TenantRows};
use crate::write::command::Uploaded;

/// Uploads of a shard that are in progress, counted: those that are stored, and those that the group
/// has begun since.
#[derive(Default)]
pub(crate) struct OpenUploads {
    all: usize,
    /// Those that are stored, as they are there.
    stored: Vec<Open>,
    of_subject: HashMap<SubjectTag, usize>,
    of_tenant: HashMap<TenantRows, OfTenant>,
}

/// An upload, by its row and what can be read of it.
pub(crate) type Open = (Key, UploadFront);

/// What there is no room for.
struct Full {
    limit: usize,
    /// Whether it is the subject that has too many.
    of_subject: bool,
}

/// Uploads of one tenant.
#[derive(Default)]
struct OfTenant {
    uploads: usize,
    bytes: usize,
}

impl OpenUploads {
    /// Those of a group: they are counted in the store once.
    pub(crate) fn of_group<'a>(
        counted: &'a mut Option<Self>,
        engine: &dyn Engine,
    ) -> Result<&'a mut Self, Rejection> {
        if counted.is_none() {
            let mut open = Self::default();
            let page = engine.scan(&keys::uploads(), Order::Ascending, ALL_UPLOADS);
            for (row, stored) in page.map_err(Error::from)?.rows {
                let front = UploadFront::read(&stored).ok();
                open.add(&row, front.as_ref())?;
                open.stored.extend(front.map(|front| (row, front)));
            }
            *counted = Some(open);
        }
        Ok(counted.get_or_insert_default())
    }

    /// Takes room for one more, or answers that there is none: a tenant never has all of it. Gives the
    /// uploads that give way to it, which are to be discarded: of the same subject or tenant, and those to
    /// which nothing was added for longest, since before that minute. `rows`: uploads as the group has
    /// left them.
    pub(crate) fn take(
        &mut self,
        row: &[u8],
        front: &UploadFront,
        idle_since: Minute,
        rows: &HashMap<Key, Option<Value>>,
    ) -> Result<Vec<Open>, Rejection> {
        let subject = subject_of(row)?;
        let mut give_way: Vec<Open> = Vec::new();
        while let Some(Full { limit, of_subject }) = self.full(subject, front) {
            let may = |(row, one): &Open| {
                one.tenant == front.tenant
                    && (!of_subject || subject_of(row).is_ok_and(|own| own == subject))
            };
            let Some(open) = self.take_idle(may, idle_since, rows) else {
                // None is discarded for one that does not begin.
                for (row, front) in give_way {
                    self.add(&row, Some(&front))?;
                    self.stored.push((row, front));
                }
                return Err(Rejection::new(Reason::UploadsFull).with(Detail::Limit, limit));
            };
            give_way.push(open);
        }
        self.add(row, Some(front))?;
        Ok(give_way)
    }

    fn full(&self, subject: SubjectTag, front: &UploadFront) -> Option<Full> {
        let full = |limit, of_subject| Some(Full { limit, of_subject });
        let own = self.of_subject.get(&subject).copied().unwrap_or_default();
        if own >= limits::UPLOADS_OF_SUBJECT_MAX {
            return full(limits::UPLOADS_OF_SUBJECT_MAX, true);
        }
        if self.all >= limits::UPLOADS_MAX {
            return full(limits::UPLOADS_MAX, false);
        }
        let own = self.of_tenant.get(&front.tenant)?;
        if own.uploads >= limits::UPLOADS_OF_TENANT_MAX {
            return full(limits::UPLOADS_OF_TENANT_MAX, false);
        }
        let bytes = own.bytes.saturating_add(bytes_of(front));
        let fits = bytes <= limits::UPLOAD_BYTES_OF_TENANT_MAX;
        (!fits).then_some(Full { limit: limits::UPLOAD_BYTES_OF_TENANT_MAX, of_subject: false })
    }

    /// Takes out the stored upload to which nothing was added for longest.
    fn take_idle(
        &mut self,
        may: impl Fn(&Open) -> bool,
        idle_since: Minute,
        rows: &HashMap<Key, Option<Value>>,
    ) -> Option<Open> {
        // What the group has changed goes on, or is gone.
        let idle =
            |(row, front): &Open| front.minute < idle_since && is_as_stored(rows, row, front);
        let found = self.stored.iter().enumerate().filter(|(_, open)| may(open) && idle(open));
        let (at, _) = found.min_by_key(|(_, (_, front))| front.minute)?;
        let (row, front) = self.stored.swap_remove(at);
        self.all = self.all.saturating_sub(1);
        if let Ok(subject) = subject_of(&row)
            && let Some(own) = self.of_subject.get_mut(&subject)
        {
            *own = own.saturating_sub(1);
        }
        if let Some(own) = self.of_tenant.get_mut(&front.tenant) {
            own.uploads = own.uploads.saturating_sub(1);
            own.bytes = own.bytes.saturating_sub(bytes_of(&front));
        }
        Some((row, front))
    }

    /// Counts one. One whose front cannot be read counts for its subject and in all: it keeps no other
    /// from being begun.
    fn add(&mut self, row: &[u8], front: Option<&UploadFront>) -> Result<(), Rejection> {
        self.all += 1;
        *self.of_subject.entry(subject_of(row)?).or_default() += 1;
        let Some(front) = front else { return Ok(()) };
        let own = self.of_tenant.entry(front.tenant).or_default();
        own.uploads += 1;
        own.bytes = own.bytes.saturating_add(bytes_of(front));
        Ok(())
    }
}

/// Whether the group has left the row of an upload as it is stored.
fn is_as_stored(rows: &HashMap<Key, Option<Value>>, row: &Key, front: &UploadFront) -> bool {
    match rows.get(row) {
        None => true,
        Some(None) => false,
        Some(Some(left)) => UploadFront::read(left).is_ok_and(|left| left == *front),
    }
}

/// Whose upload it is.
fn subject_of(row: &[u8]) -> Result<SubjectTag, Rejection> {
    let (_, tag) = keys::of_subject(row).ok_or(Error::Damaged("uploads"))?;
    Ok(tag)
}

fn bytes_of(front: &UploadFront) -> usize {
    usize::try_from(front.bytes).unwrap_or(usize::MAX)
}

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
