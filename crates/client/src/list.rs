//! Lists and counts of records.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::gateway::Gateway;
use crate::sealed_reads::read;
use crate::{Client, Error, api};

impl Client {
    /// Reads one page of a list.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn list_page(
        &self,
        request: &api::ListRecordsRequest,
    ) -> Result<api::ListRecordsResponse, Error> {
        let bodies = request.view == i32::from(api::RecordView::Whole);
        let list = |mut to: Gateway, request| async move { to.records.list(request).await };
        let (route, mut fetched) = (self.question(), false);
        let (mut page, secrets) = loop {
            let (sealed, secrets) = Box::pin(self.sealed_list(request, route.until)).await?;
            match self.attempts(&*sealed, route.clone(), list).await {
                Err(error) if self.forgets_keys(&error) && !fetched => fetched = true,
                page => break (page?.0, secrets),
            }
        };
        let opened = |record| read(record, secrets.as_ref());
        page.records = page.records.into_iter().map(opened).collect::<Result<_, _>>()?;
        // An attachment has no body in a list.
        if bodies && self.own_keys.is_some() {
            let decrypted = |record: api::Record| {
                if record.attachment_bytes > 0 { Ok(record) } else { self.decrypted(record) }
            };
            page.records = page.records.into_iter().map(decrypted).collect::<Result<_, _>>()?;
        }
        Ok(page)
    }

    /// All records of a list, page after page. The next page is asked for when it is needed.
    pub fn list(&self, request: api::ListRecordsRequest) -> Records {
        Records {
            client: self.clone(),
            next: Some(request),
            page: VecDeque::new(),
            unreachable: BTreeSet::new(),
            missing: BTreeMap::new(),
            withheld: 0,
        }
    }

    /// Counts records.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn count(
        &self,
        request: &api::CountRecordsRequest,
    ) -> Result<api::CountRecordsResponse, Error> {
        let count = |mut to: Gateway, request| async move { to.records.count(request).await };
        self.attempts(request, self.question(), count).await.map(|(answer, _)| answer)
    }
}

/// The records of a list, one after the other.
#[expect(missing_debug_implementations, reason = "it holds persons' records")]
pub struct Records {
    client: Client,
    /// The request for the next page; none: there is no other.
    next: Option<api::ListRecordsRequest>,
    page: VecDeque<api::Record>,
    unreachable: BTreeSet<String>,
    missing: BTreeMap<String, String>,
    withheld: i64,
}

impl Records {
    /// The next record; none: that was the last.
    ///
    /// # Errors
    /// [`Error`]. Called again, it asks for the same page again.
    pub async fn next(&mut self) -> Result<Option<api::Record>, Error> {
        loop {
            if let Some(record) = self.page.pop_front() {
                return Ok(Some(record));
            }
            match self.next_page().await? {
                Some(page) => self.page = page.into(),
                None => return Ok(None),
            }
        }
    }

    /// The next page, perhaps an empty one; none: that was the last. Records that [`Records::next`]
    /// has not given yet come first.
    ///
    /// # Errors
    /// As [`Records::next`].
    pub async fn next_page(&mut self) -> Result<Option<Vec<api::Record>>, Error> {
        if !self.page.is_empty() {
            return Ok(Some(std::mem::take(&mut self.page).into()));
        }
        let Some(request) = &mut self.next else { return Ok(None) };
        let page = self.client.list_page(request).await?;
        self.withheld += page.withheld;
        self.unreachable.extend(page.unreachable);
        self.missing.extend(page.missing.into_iter().map(|one| (one.region, one.reason)));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            self.next = None;
        }
        Ok(Some(page.records))
    }

    /// Regions that were out of reach so far: what they hold is missing, or part of it.
    pub fn unreachable(&self) -> impl Iterator<Item = &str> {
        self.unreachable.iter().map(String::as_str)
    }

    /// Why regions are missing, by region: the reason of the refusal.
    pub fn missing(&self) -> impl Iterator<Item = (&str, &str)> {
        self.missing.iter().map(|(region, reason)| (region.as_str(), reason.as_str()))
    }

    /// Records that might not leave, so far.
    pub const fn withheld(&self) -> i64 {
        self.withheld
    }
}
