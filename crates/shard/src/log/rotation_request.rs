//! An operator's request to a running shard to end the period of its log: a file beside that of
//! checkpoints, as for a clock that is confirmed. It names the log that is to end, so that a request
//! that comes late, or twice, ends no other.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::log::verifier_keys::LogKey;
use crate::{Error, Settings};

/// A period that has ended, and the one that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The origin of the sealed log.
    pub sealed: String,
    /// Its entries.
    pub size: u64,
    /// The origin of the log that grows now.
    pub origin: String,
    /// Its public key: give it to your auditors, and keep the old one.
    pub vkey: String,
}

/// Time between two looks whether the shard has done it.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Settings {
    fn rotation_request(&self) -> PathBuf {
        self.checkpoint_path().with_extension("rotate")
    }

    /// Whether an operator asks for the end of that log. A request about another is dropped.
    pub(crate) fn rotation_requested(&self, origin: &str) -> bool {
        let path = self.rotation_request();
        let Ok(asked) = fs::read_to_string(&path) else { return false };
        let asks = asked.trim() == origin;
        if !asks && let Err(error) = fs::remove_file(&path) {
            let path = path.display();
            tracing::warn!(%path, %error, "a request to end a log that has ended is not removed");
        }
        asks
    }

    /// Asks the shard that runs with these settings to end the period of its log, and waits for it.
    /// `None`: it has not done so within that time, and will do it as soon as it can.
    ///
    /// # Errors
    /// [`Error::CheckpointFile`] and [`Error::Keys`] as of [`Settings::log_keys`]; [`Error::Io`].
    pub async fn ask_to_rotate(
        &self,
        deployment: &str,
        within: Duration,
    ) -> Result<Option<LogKey>, Error> {
        let newest = || {
            let missing =
                Error::CheckpointFile { path: self.checkpoint_path(), why: "it is empty" };
            self.log_keys(deployment)?.pop().ok_or(missing)
        };
        let ends = newest()?.origin;
        let (path, until) = (self.rotation_request(), Instant::now() + within);
        let io = |source| Error::Io { path: path.clone(), source };
        // Whole under its name: a running shard may look at any moment.
        let new = path.with_extension("rotate.new");
        fs::write(&new, format!("{ends}\n")).and_then(|()| fs::rename(&new, &path)).map_err(io)?;
        while Instant::now() < until {
            sleep(LOOK_EVERY).await;
            let key = newest()?;
            if key.origin != ends {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }
}
