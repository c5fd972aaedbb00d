//! All records of a collection in one region.

use std::collections::VecDeque;

use tokio::time::timeout;
use tonic::{Request, Streaming};

use crate::{Client, Error, api};

impl Client {
    /// Begins to read all records of a collection in one region. It is not begun again by itself:
    /// every scan has an entry in the placement log.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn scan(&self, request: &api::ScanRecordsRequest) -> Result<Scan, Error> {
        let bodies = request.view == i32::from(api::RecordView::Whole);
        if bodies {
            self.reads_plain()?;
        }
        let own = (bodies && self.own_keys.is_some()).then(|| self.clone());
        let mut to = self.question().gateway;
        let mut request = Request::new(request.clone());
        if let Some(bearer) = self.bearer().await? {
            request.metadata_mut().insert("authorization", bearer);
        }
        let opened = timeout(self.deadline(), to.records.scan(request)).await;
        let stream = opened.map_err(|_| Error::TimedOut)??.into_inner();
        Ok(Scan { stream, own, page: VecDeque::new(), withheld: 0 })
    }
}

/// The records of a scan, one after the other.
#[expect(missing_debug_implementations, reason = "it holds persons' records")]
pub struct Scan {
    stream: Streaming<api::ScanRecordsResponse>,
    /// By whose keys bodies are decrypted. None: they are not.
    own: Option<Client>,
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
                let own = self.own.as_ref().filter(|_| record.attachment_bytes == 0);
                return match own {
                    Some(own) => own.decrypted(record).map(Some),
                    None => Ok(Some(record)),
                };
            }
            let Some(page) = self.stream.message().await? else { return Ok(None) };
            self.withheld += page.withheld;
            self.page = page.records.into();
        }
    }

    /// Records that might not leave, so far.
    pub const fn withheld(&self) -> i64 {
        self.withheld
    }
}
