//! What was uploaded and is no attachment yet goes with the records of its subject.

use engine::Span;
use terms::Rejection;

use crate::Error;
use crate::store::attachment::{self, UploadFront};
use crate::store::keys;
use crate::write::transaction::Transaction;

/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 256;

impl Transaction<'_> {
    /// Takes away what was uploaded, and is no attachment yet.
    pub(super) fn take_uploads(&mut self, mut span: Span) -> Result<(), Rejection> {
        loop {
            let page = self.scan(&span, ROWS_AT_ONCE)?;
            let Some((last, _)) = page.rows.last() else { return Ok(()) };
            span.from = [last.as_slice(), &[0]].concat();
            for (key, row) in page.rows {
                let damaged = || Error::Damaged("uploads");
                let head = keys::uploaded_record(&key).ok_or_else(damaged)?;
                let UploadFront { tag, bytes, .. } =
                    UploadFront::read(&row).map_err(|_| damaged())?;
                attachment::discard(&mut self.batch, &head, tag, bytes);
                self.batch.delete(key);
            }
        }
    }
}
