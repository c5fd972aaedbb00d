//! What an operator asks of a running shard about moves of its slots: a file in the folder of checkpoints,
//! and the answer beside it, as for the region's keys.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::log::key_request::write;
use crate::store::directories;
use crate::{Error, Settings};

/// Time between two looks for the answer.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is asked about moves of slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotsRequest {
    /// How far they are.
    Status,
    /// Move slots to another shard of the region.
    Move {
        /// The name of that shard.
        to: String,
        /// Which, as ranges such as `0-511,600`. None: those that the shard serves and the annex gives to
        /// the other one.
        slots: Option<String>,
    },
    /// Give up the moves of all slots that were not given away yet.
    Cancel,
}

/// How far moves of slots are, as ranges of slots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotsStatus {
    /// Slots that the shard serves.
    pub serves: String,
    /// Slots that are to go to another shard, and are served as ever.
    pub ordered: String,
    /// Slots that are copied to another shard, and are read and not written.
    pub frozen: String,
    /// Slots that were given away: the other shard serves them, or is about to.
    pub left: String,
    /// Slots whose move was given up, and of which the other shard is to discard what it has.
    pub given_up: String,
    /// Slots that come from another shard.
    pub coming: String,
    /// Why slots do not go on for now, a sentence each.
    pub halted: Vec<String>,
}

impl SlotsStatus {
    /// Whether nothing is left to be done by this shard.
    pub fn is_done(&self) -> bool {
        let Self { ordered, frozen, left, given_up, .. } = self;
        [ordered, frozen, left, given_up].into_iter().all(String::is_empty)
    }
}

/// A request, and what tells its answer from another's.
#[derive(Serialize, Deserialize)]
pub(crate) struct SlotsAsked {
    pub(crate) id: String,
    pub(crate) request: SlotsRequest,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    id: String,
    error: Option<String>,
    status: SlotsStatus,
}

impl Settings {
    fn slots_request(&self) -> PathBuf {
        self.checkpoint_path().with_extension("slots")
    }

    fn slots_answer(&self) -> PathBuf {
        self.checkpoint_path().with_extension("slots-answer")
    }

    /// Takes what an operator asks, if it is anything. It is gone before it is carried out: one that
    /// cannot be answered must not be found, and carried out, again.
    pub(crate) fn take_slots_asked(&self) -> Result<Option<SlotsAsked>, Error> {
        let path = self.slots_request();
        let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
        let gone = fs::remove_file(&path);
        gone.map_err(|source| Error::Io { path: path.clone(), source })?;
        directories::sync_parent(&path)?;
        // If it is not one of ours, no one waits for an answer.
        Ok(toml::from_str(&text).ok())
    }

    /// Answers it.
    pub(crate) fn answer_slots(
        &self,
        asked: &SlotsAsked,
        answer: Result<SlotsStatus, String>,
    ) -> Result<(), Error> {
        let (id, error) = (asked.id.clone(), answer.as_ref().err().cloned());
        let answer = Answer { id, error, status: answer.unwrap_or_default() };
        write(self.slots_answer(), &toml::to_string(&answer).expect("an answer is plain TOML"))
    }

    /// Asks the shard that runs with these settings, and waits for its answer. `None`: there is none
    /// within that time. The request stays until the shard takes it, which is once.
    ///
    /// # Errors
    /// [`Error::SlotsRefused`] with what the shard says; [`Error::Io`].
    pub async fn ask_about_slots(
        &self,
        id: String,
        request: SlotsRequest,
        within: Duration,
    ) -> Result<Option<SlotsStatus>, Error> {
        let asked = SlotsAsked { id, request };
        let until = Instant::now() + within;
        write(self.slots_request(), &toml::to_string(&asked).expect("a request is plain TOML"))?;
        while Instant::now() < until {
            sleep(LOOK_EVERY).await;
            let answer = fs::read_to_string(self.slots_answer()).ok();
            let answer = answer.and_then(|text| toml::from_str::<Answer>(&text).ok());
            if let Some(Answer { id, error, status }) = answer
                && id == asked.id
            {
                return error.map_or(Ok(Some(status)), |error| Err(Error::SlotsRefused(error)));
            }
        }
        Ok(None)
    }
}
