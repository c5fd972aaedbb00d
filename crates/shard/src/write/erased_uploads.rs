//! What was uploaded and is no attachment yet goes with the records of its subject.

use engine::{Batch, Engine, Key, Order, Span};
use terms::Rejection;

use crate::Error;
use crate::store::attachment::{self, ALL_UPLOADS, UploadFront};
use crate::store::keys;
use crate::write::command::Erase;
use crate::write::transaction::Transaction;

/// Takes away the uploads of a subject that is not stored: there are few.
pub(super) fn discard_all(
    engine: &dyn Engine,
    uploads: &Span,
    batch: &mut Batch,
) -> Result<(), Error> {
    for (key, row) in engine.scan(uploads, Order::Ascending, ALL_UPLOADS)?.rows {
        discard(batch, key, &row)?;
    }
    Ok(())
}

/// Takes away one upload. Its chunks go later. Of one whose row cannot be read, the chunks stay: nothing
/// opens them, for their key was in that row. It keeps no person from being erased.
fn discard(batch: &mut Batch, key: Key, row: &[u8]) -> Result<(), Error> {
    let head = keys::uploaded_record(&key).ok_or(Error::Damaged("uploads"))?;
    if let Ok(UploadFront { tag, bytes, .. }) = UploadFront::read(row) {
        attachment::discard(batch, &head, tag, bytes);
    }
    batch.delete(key);
    Ok(())
}

/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 256;

impl Transaction<'_> {
    /// Takes away what was uploaded of a subject, or a collection of it, of which nothing is stored yet.
    /// That is done even if the answer is that there is none.
    pub(super) fn take_first_uploads(
        &mut self,
        erase: &Erase,
        uploads: Span,
    ) -> Result<(), Rejection> {
        if !erase.validate_only {
            self.take_uploads(uploads)?;
            self.keep_done();
        }
        Ok(())
    }

    /// Takes away what was uploaded, and is no attachment yet.
    pub(super) fn take_uploads(&mut self, mut span: Span) -> Result<(), Rejection> {
        loop {
            let page = self.scan(&span, ROWS_AT_ONCE)?;
            let Some((last, _)) = page.rows.last() else { return Ok(()) };
            span.from = [last.as_slice(), &[0]].concat();
            for (key, row) in page.rows {
                discard(&mut self.batch, key, &row)?;
            }
        }
    }
}
