//! What an operator asks of a running shard about the region's keys: a file in the folder of checkpoints,
//! and the answer beside it, as for the end of a period. Neither holds a key, or names a person.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::store::directories;
use crate::{Error, Settings};

/// Time between two looks for the answer.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is asked about the region's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyRequest {
    /// How many subjects each generation wraps.
    Status,
    /// One generation more, which is the current one then.
    Rotate,
    /// Take over the newer generations of the keyring that was put next to this shard's
    /// ([`Settings::give_keyring`]).
    Take,
    /// Destroy that generation, once it wraps nothing.
    Destroy(u32),
}

/// One generation of the region's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its number.
    pub number: u32,
    /// Whether new subjects are wrapped under it.
    pub current: bool,
    /// Subjects of this shard whose keys it wraps.
    pub subjects: u64,
}

/// A request, and what tells its answer from another's.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeysAsked {
    pub(crate) id: String,
    pub(crate) request: KeyRequest,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    id: String,
    error: Option<String>,
    generations: Vec<Generation>,
}

impl Settings {
    fn keys_request(&self) -> PathBuf {
        self.checkpoint_path().with_extension("keys")
    }

    fn keys_answer(&self) -> PathBuf {
        self.checkpoint_path().with_extension("keys-answer")
    }

    /// Takes what an operator asks, if it is anything. It is gone before it is carried out: one that
    /// cannot be answered must not be found, and carried out, again.
    pub(crate) fn take_keys_asked(&self) -> Result<Option<KeysAsked>, Error> {
        let path = self.keys_request();
        let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
        let gone = fs::remove_file(&path);
        gone.map_err(|source| Error::Io { path: path.clone(), source })?;
        directories::sync_parent(&path)?;
        // If it is not one of ours, no one waits for an answer.
        Ok(toml::from_str(&text).ok())
    }

    /// Answers it.
    pub(crate) fn answer_keys(
        &self,
        asked: &KeysAsked,
        answer: Result<&[Generation], &Error>,
    ) -> Result<(), Error> {
        let answer = Answer {
            id: asked.id.clone(),
            error: answer.err().map(ToString::to_string),
            generations: answer.unwrap_or_default().to_vec(),
        };
        write(self.keys_answer(), &toml::to_string(&answer).expect("an answer is plain TOML"))
    }

    /// Asks the shard that runs with these settings, and waits for its answer. `None`: there is none
    /// within that time. The request stays until the shard takes it, which is once.
    ///
    /// # Errors
    /// [`Error::KeysRefused`] with what the shard says; [`Error::Io`].
    pub async fn ask_about_keys(
        &self,
        id: String,
        request: KeyRequest,
        within: Duration,
    ) -> Result<Option<Vec<Generation>>, Error> {
        let asked = KeysAsked { id, request };
        let until = Instant::now() + within;
        write(self.keys_request(), &toml::to_string(&asked).expect("a request is plain TOML"))?;
        while Instant::now() < until {
            sleep(LOOK_EVERY).await;
            let answer = fs::read_to_string(self.keys_answer()).ok();
            let answer = answer.and_then(|text| toml::from_str::<Answer>(&text).ok());
            if let Some(Answer { id, error, generations }) = answer
                && id == asked.id
            {
                return error.map_or(Ok(Some(generations)), |error| Err(Error::KeysRefused(error)));
            }
        }
        Ok(None)
    }
}

/// Writes a file whole under its name.
pub(super) fn write(path: PathBuf, text: &str) -> Result<(), Error> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
    written.map_err(|source| Error::Io { path, source })
}
