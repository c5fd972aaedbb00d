//! All records of a collection in one region.

use std::collections::VecDeque;

use tokio::time::timeout;
use tonic::{Request, Streaming};

use crate::sealed_reads::{Secrets, read};
use crate::{Client, Error, api};

impl Client {
    /// Begins to read all records of a collection in one region. It is not begun again by itself:
    /// every scan has an entry in the placement log.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn scan(&self, request: &api::ScanRecordsRequest) -> Result<Scan, Error> {
        let bodies = request.view == i32::from(api::RecordView::Whole);
        let (client, own) = (self.clone(), bodies && self.own_keys.is_some());
        let route = self.question();
        let (sealed, secrets) = Box::pin(self.sealed_scan(request, route.until)).await?;
        let mut to = route.gateway;
        let mut request = Request::new(sealed);
        if let Some(bearer) = self.bearer().await? {
            request.metadata_mut().insert("authorization", bearer);
        }
        let opened = timeout(self.deadline(), to.records.scan(request)).await;
        let stream =
            opened.map_err(|_| Error::TimedOut)?.map_err(|no| client.scanned(no.into()))?;
        Ok(Scan {
            stream: stream.into_inner(),
            client,
            own,
            secrets,
            page: VecDeque::new(),
            withheld: 0,
        })
    }

    /// Why a scan ended. A key from before is forgotten, so that the next scan has that of now.
    fn scanned(&self, error: Error) -> Error {
        self.forget_keys(&error);
        error
    }
}

/// The records of a scan, one after the other.
#[expect(missing_debug_implementations, reason = "it holds persons' records")]
pub struct Scan {
    stream: Streaming<api::ScanRecordsResponse>,
    client: Client,
    /// Whether bodies are decrypted by the caller's own keys.
    own: bool,
    /// What opens bodies. None: they are plain, or there are none.
    secrets: Option<Secrets>,
    page: VecDeque<api::Record>,
    withheld: i64,
}

impl Scan {
    /// The next record; none: that was the last.
    ///
    /// # Errors
    /// [`Error`]: what came so far is not all.
    pub async fn next(&mut self) -> Result<Option<api::Record>, Error> {
        loop {
            if let Some(record) = self.page.pop_front() {
                let record = read(record, self.secrets.as_ref())?;
                if self.own && record.attachment_bytes == 0 {
                    return self.client.decrypted(record).map(Some);
                }
                return Ok(Some(record));
            }
            let page = self.stream.message().await;
            let page = page.map_err(|no| self.client.scanned(no.into()))?;
            let Some(page) = page else { return Ok(None) };
            self.withheld += page.withheld;
            self.page = page.records.into();
        }
    }

    /// Records that might not leave, so far.
    pub const fn withheld(&self) -> i64 {
        self.withheld
    }
}
