//! The chunks of an attachment that arrives with a subject from another region. They come one by one
//! before their record, each in a commit of its own, and how far they are is in the subject's row. So a
//! crash of either shard costs one chunk.

use terms::{Reason, Rejection};

use crate::policy::asker::Asker;
use crate::store::attachment;
use crate::store::keys::Owner;
use crate::store::moving::{Arriving, ArrivingChunks};
use crate::store::subject::{Status, Subject};
use crate::write::move_command::{ArrivingChunk, ArrivingRecord};
use crate::write::transaction::{Done, Transaction};

/// An arrival that has begun.
pub(super) struct Arrival<'a> {
    pub(super) asker: &'a Asker,
    pub(super) owner: &'a Owner,
    pub(super) subject: &'a Subject,
    pub(super) here: Arriving,
}

impl Transaction<'_> {
    /// Stores the next chunk.
    pub(super) fn stage_chunk(
        &mut self,
        of: Arrival<'_>,
        chunk: ArrivingChunk,
    ) -> Result<Done, Rejection> {
        let Arrival { asker, owner, subject, mut here } = of;
        let ArrivingChunk { after, collection, number, chunks, at, sealed } = chunk;
        let known = here.attachment.as_ref().filter(|known| known.row == chunks.row);
        let follows = match known {
            Some(known) => known.next == number && known.key == chunks.key,
            None => number == 0,
        };
        if here.after != after || !follows {
            // A late one: the source goes on from where this is.
            return self.staging(&here);
        }
        let standing = subject.standing(&collection).ok_or(Reason::PlacementNotAdmitted)?;
        let chosen = subject.choice.chosen.as_ref();
        self.placed_here(asker, owner, &collection, &standing.basis, chosen)?;
        if known.is_none()
            && let Some(other) = here.attachment.take()
        {
            self.discard_chunks(&other);
        }
        self.batch.put(at, sealed);
        here.attachment = Some(chunks);
        let mut after = Subject::clone(subject);
        after.status = Status::Arriving(Box::new(here.clone()));
        let done = self.staging(&here)?;
        self.keep(owner, after)?;
        Ok(done)
    }

    /// Discards chunks whose record does not come.
    pub(super) fn discard_chunks(&mut self, chunks: &ArrivingChunks) {
        let tag = self.node.namer.attachment(&chunks.key);
        attachment::discard(&mut self.batch, &chunks.row, tag, chunks.bytes);
    }
}

/// The chunks that are left when these records have come. None: there are none, or their record is
/// among these.
pub(super) fn left(
    chunks: Option<ArrivingChunks>,
    records: &[ArrivingRecord],
) -> Option<ArrivingChunks> {
    chunks.filter(|chunks| records.iter().all(|record| record.address.row != chunks.row))
}
