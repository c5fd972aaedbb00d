//! Changes of records, as a region's shards tell them.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tonic::{Request, Streaming};

use crate::{Client, Error, api};

/// Time without an answer after which a stream is taken for broken: several answers are overdue.
const SILENCE_MAX: Duration = Duration::from_secs(45);

impl Client {
    /// Watches a collection in one region, or the records of a subject. Where the stream breaks or
    /// the gateway is busy, it is opened again with the last cursor, as often in a row as the
    /// settings allow.
    pub fn watch(&self, request: api::WatchRecordsRequest) -> Watch {
        Watch { client: self.clone(), request, stream: None, failed: 0 }
    }
}

/// A watch.
#[expect(missing_debug_implementations, reason = "it holds persons' records")]
pub struct Watch {
    client: Client,
    /// With the last cursor.
    request: api::WatchRecordsRequest,
    stream: Option<Streaming<api::WatchRecordsResponse>>,
    /// Attempts in a row without an answer.
    failed: u32,
}

impl Watch {
    /// The next answer: changes, or none and a newer cursor, which comes every ten seconds. A change
    /// may come twice.
    ///
    /// # Errors
    /// [`Error`]: `CURSOR_EXPIRED` among them, and what does not pass by itself. Called again, it
    /// goes on with the last cursor.
    pub async fn next(&mut self) -> Result<api::WatchRecordsResponse, Error> {
        let client = self.client.clone();
        let mut pause = client.pause();
        let mut longest = pause.next();
        loop {
            match self.attempt().await {
                Ok(answer) => {
                    self.failed = 0;
                    self.request.cursor.clone_from(&answer.cursor);
                    return Ok(answer);
                }
                Err(error) => {
                    self.stream = None;
                    self.failed += 1;
                    let again = error.again_after();
                    let Some(asked) = again.filter(|_| self.failed < client.attempts_max()) else {
                        self.failed = 0;
                        return Err(error);
                    };
                    sleep(asked + longest).await;
                    longest = pause.next();
                }
            }
        }
    }

    /// The cursor of the last answer: a watch that begins with it goes on after that.
    pub fn cursor(&self) -> &str {
        &self.request.cursor
    }

    async fn attempt(&mut self) -> Result<api::WatchRecordsResponse, Error> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let opened = self.client.open_watch(&self.request).await?;
                self.stream.insert(opened)
            }
        };
        let answer = timeout(SILENCE_MAX, stream.message()).await;
        // A stream that ends without an error is one that a gateway has left.
        answer.map_err(|_| Error::Broken)??.ok_or(Error::Broken)
    }
}

impl Client {
    async fn open_watch(
        &self,
        request: &api::WatchRecordsRequest,
    ) -> Result<Streaming<api::WatchRecordsResponse>, Error> {
        let mut to = self.question().gateway;
        let mut request = Request::new(request.clone());
        if let Some(bearer) = self.bearer().await? {
            request.metadata_mut().insert("authorization", bearer);
        }
        let opened = timeout(self.deadline(), to.records.watch(request)).await;
        Ok(opened.map_err(|_| Error::TimedOut)??.into_inner())
    }
}
