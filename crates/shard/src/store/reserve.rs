//! What stays free in the place of a store: the operator's reserve, in which erasure, expiry and
//! deletions go on while writes are refused, and what the engine may take for its own work.

use engine::Engine;

use crate::Error;

/// The reserve of a store, in bytes.
pub(crate) struct Reserve(u64);

impl Reserve {
    /// The reserve that the operator wants, or twice what the engine must have for a commit if that
    /// is more: with less, deletions would be refused with the writes.
    ///
    /// # Errors
    /// [`Error::Reserve`] when there is too little space for anything to be written;
    /// [`Error::Engine`] when it cannot be measured.
    pub(crate) fn new(wanted: u64, engine: &dyn Engine) -> Result<Self, Error> {
        let space = engine.space()?;
        let reserve = wanted.max(space.commit_min.saturating_mul(2));
        if space.total <= reserve {
            return Err(Error::Reserve { total: space.total, reserve });
        }
        Ok(Self(reserve))
    }

    /// Bytes that are free, and below which writes are refused.
    pub(crate) fn free_and_needed(&self, of: &dyn Engine) -> Result<(u64, u64), engine::Error> {
        let space = of.space()?;
        Ok((space.free, self.0.saturating_add(space.work)))
    }
}
