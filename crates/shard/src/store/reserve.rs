//! What stays free on the disk of a store: the operator's reserve, in which erasure, expiry and
//! deletions go on while writes are refused, and beside it what the engine may take for its own work.

use std::path::PathBuf;
use std::time::Duration;

use engine::Engine;
use tokio::time::Instant;

use crate::{Error, Settings};

/// How often the engine is asked what it may need.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The reserve of a store.
pub(crate) struct Reserve {
    /// The folder whose disk is watched.
    data: PathBuf,
    /// Bytes that are kept free.
    bytes: u64,
    /// What the engine may take, and when it was asked.
    work: Option<(u64, Instant)>,
}

impl Reserve {
    /// The reserve of the settings, or twice what the engine must have for a commit if that is more:
    /// with less, deletions would be refused with the writes.
    ///
    /// # Errors
    /// [`Error::Reserve`] when the disk is too small for anything to be written; [`Error::Engine`]
    /// when it cannot be measured.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        let data = settings.data.clone();
        let bytes = settings.disk_reserve_bytes.max(2 * settings.engine.free_bytes_min());
        let total = engine::total_bytes(&data)?;
        if total <= bytes {
            return Err(Error::Reserve { path: data, total, reserve: bytes });
        }
        Ok(Self { data, bytes, work: None })
    }

    /// Bytes that are free, and below which writes are refused.
    pub(crate) fn free_and_needed(&mut self, of: &dyn Engine) -> Result<(u64, u64), engine::Error> {
        let free = engine::free_bytes(&self.data)?;
        let known = self.work.filter(|(_, asked)| asked.elapsed() < ASK_EVERY);
        let (work, _) =
            *self.work.insert(known.unwrap_or_else(|| (of.work_bytes(), Instant::now())));
        Ok((free, self.bytes.saturating_add(work)))
    }
}
