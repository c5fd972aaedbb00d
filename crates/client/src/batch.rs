//! Batches: many records in one call, each with an outcome of its own.

use std::borrow::Cow;

use prost::Message;
use tokio::time::{Instant, sleep};
use tonic::{Code, Request, Response, Status};
use tonic_types::pb;

use crate::call::Route;
use crate::gateway::Gateway;
use crate::receipt::{Written, check_delete, check_put};
use crate::stream::refused_alone;
use crate::{Client, Error, Refused, api};

/// What became of one item, and whether no attempt before the last may have had an effect.
type Ended<A> = (Result<A, Error>, bool);

impl Client {
    /// Reads up to 1,000 records, of any regions: one outcome for each request, in their order. What
    /// may succeed later is asked for again.
    ///
    /// # Errors
    /// [`Error`], when the batch as a whole has no answer.
    pub async fn batch_get(
        &self,
        requests: &[api::GetRecordRequest],
    ) -> Result<Vec<Result<api::Record, Error>>, Error> {
        use api::batch_get_result::Outcome;
        let message = |requests| api::BatchGetRecordsRequest { requests };
        let call = |mut to: Gateway, request| async move { to.records.batch_get(request).await };
        let results = |answer: api::BatchGetRecordsResponse| {
            let result = |item: api::BatchGetResult| match item.outcome? {
                Outcome::Record(record) => Some(Ok(record)),
                Outcome::Error(status) => Some(Err(status)),
            };
            answer.results.into_iter().map(result).collect()
        };
        let until = self.question().until;
        let (mut sent, mut secrets) = (Vec::new(), Vec::new());
        for request in requests {
            let (sealed, secret) = Box::pin(self.sealed_get(request, until)).await?;
            sent.push(sealed.into_owned());
            secrets.push(secret);
        }
        let ends = self.each(&sent, message, call, results).await?;
        let forget = |error: &Error| self.forget_keys(error);
        let read = |((request, (end, _)), secret): ((_, Ended<api::Record>), Option<_>)| {
            let record = end.inspect_err(forget)?;
            self.decrypted_of(request, self.opened(record, secret.as_ref())?)
        };
        Ok(requests.iter().zip(ends).zip(secrets).map(read).collect())
    }

    /// Puts up to 1,000 records, of any subjects and regions: one outcome for each request, in their
    /// order, its receipt checked as [`Client::put`] does. What may succeed later is sent again, with
    /// the same `request_id`. Like a stream, a batch has one gateway: see [`crate::Answer::outcome`].
    ///
    /// # Errors
    /// [`Error`], when the batch as a whole has no answer: each of it may have been done or not.
    pub async fn batch_put(
        &self,
        requests: &[api::PutRecordRequest],
    ) -> Result<Vec<Result<Written<api::PutRecordResponse>, Error>>, Error> {
        use api::batch_put_result::Outcome;
        let message = |requests| api::BatchPutRecordsRequest { requests, atomic: false };
        let call = |mut to: Gateway, request| async move { to.records.batch_put(request).await };
        let results = |answer: api::BatchPutRecordsResponse| {
            let result = |item: api::BatchPutResult| match item.outcome? {
                Outcome::Done(done) => Some(Ok(done)),
                Outcome::Error(status) => Some(Err(status)),
            };
            answer.results.into_iter().map(result).collect()
        };
        let (own, sent) = self.sealed_puts(requests).await?;
        let ends = self.each(&sent, message, call, results).await?;
        let forget = |error: &Error| self.forget_keys(error);
        let check = |(request, (end, once)): (
            &Cow<'_, api::PutRecordRequest>,
            Ended<api::PutRecordResponse>,
        )| {
            let answer = end.inspect_err(forget)?;
            let proof = check_put(request, &answer, self.known(once))?;
            Ok(Written { answer, proof })
        };
        Ok(own.iter().zip(ends).map(check).collect())
    }

    /// Puts as the region gets them, of which receipts speak, and as they leave.
    async fn sealed_puts<'a>(
        &self,
        requests: &'a [api::PutRecordRequest],
    ) -> Result<(Vec<Cow<'a, api::PutRecordRequest>>, Vec<api::PutRecordRequest>), Error> {
        let until = self.question().until;
        let (mut own, mut sent) = (Vec::new(), Vec::new());
        for request in requests {
            let encrypted = self.encrypted(request)?;
            sent.push(Box::pin(self.sealed_put(&encrypted, until)).await?.into_owned());
            own.push(encrypted);
        }
        Ok((own, sent))
    }

    /// Puts up to 100 different records of one subject in one region: all of them, in one commit, or
    /// none. Each receipt is checked as [`Client::put`] does. If a law wants the bodies taken by
    /// another gateway, they go there like those of [`Client::put`].
    ///
    /// # Errors
    /// [`Error`]. If it is a refusal, nothing is stored, and its field begins with `requests[n]`.
    pub async fn put_atomic(
        &self,
        requests: &[api::PutRecordRequest],
    ) -> Result<Vec<Written<api::PutRecordResponse>>, Error> {
        use api::batch_put_result::Outcome;
        let (own, sent) = self.sealed_puts(requests).await?;
        let message = api::BatchPutRecordsRequest { requests: sent, atomic: true };
        let call = |mut to: Gateway, request| async move { to.records.batch_put(request).await };
        let answer = self.attempts(&message, self.write(), call).await;
        let (answer, once) = answer.inspect_err(|error| self.forget_keys(error))?;
        if answer.results.len() != requests.len() {
            return Err(Error::NotBailiwick(Code::Ok));
        }
        let check = |(request, item): (&Cow<'_, api::PutRecordRequest>, api::BatchPutResult)| {
            let Some(Outcome::Done(answer)) = item.outcome else {
                return Err(Error::NotBailiwick(Code::Ok));
            };
            let proof = check_put(request, &answer, self.known(once))?;
            Ok(Written { answer, proof })
        };
        own.iter().zip(answer.results).map(check).collect()
    }

    /// Deletes up to 1,000 records, like [`Client::batch_put`].
    ///
    /// # Errors
    /// The same.
    pub async fn batch_delete(
        &self,
        requests: &[api::DeleteRecordRequest],
    ) -> Result<Vec<Result<Written<api::DeleteRecordResponse>, Error>>, Error> {
        use api::batch_delete_result::Outcome;
        let message = |requests| api::BatchDeleteRecordsRequest { requests };
        let call = |mut to: Gateway, request| async move { to.records.batch_delete(request).await };
        let results = |answer: api::BatchDeleteRecordsResponse| {
            let result = |item: api::BatchDeleteResult| match item.outcome? {
                Outcome::Done(done) => Some(Ok(done)),
                Outcome::Error(status) => Some(Err(status)),
            };
            answer.results.into_iter().map(result).collect()
        };
        let ends = self.each(requests, message, call, results).await?;
        let check = |(request, (end, once)): (_, Ended<api::DeleteRecordResponse>)| {
            let answer = end?;
            let proof = check_delete(request, &answer, self.known(once))?;
            Ok(Written { answer, proof })
        };
        Ok(requests.iter().zip(ends).map(check).collect())
    }

    /// Makes a call for all items, and again for those that may succeed later, as often and as long
    /// as the settings allow.
    async fn each<Q, M, R, A, F>(
        &self,
        requests: &[Q],
        message: impl Fn(Vec<Q>) -> M,
        call: impl Fn(Gateway, Request<M>) -> F,
        results: impl Fn(R) -> Option<Vec<Result<A, pb::Status>>>,
    ) -> Result<Vec<Ended<A>>, Error>
    where
        Q: Clone,
        M: Message + Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let Route { gateway, until, .. } = self.question();
        let mut pause = self.pause();
        let mut ends: Vec<Option<Ended<A>>> = Vec::new();
        ends.resize_with(requests.len(), || None);
        let mut pending: Vec<(usize, &Q)> = requests.iter().enumerate().collect();
        let (mut left, mut first) = (self.attempts_max(), true);
        loop {
            let batch = message(pending.iter().map(|(_, request)| (*request).clone()).collect());
            let route = Route { gateway: gateway.clone(), until, follow: false, named: false };
            let answer = match self.attempts(&batch, route, &call).await {
                Ok(answer) => answer,
                Err(error) if first => return Err(error),
                // What was refused before may have been done since.
                Err(_) => return Ok(settle(ends, &pending)),
            };
            let (answer, once) = answer;
            let results = results(answer).filter(|results| results.len() == pending.len());
            let results = results.ok_or(Error::NotBailiwick(Code::Ok))?;
            let (mut again, mut wait) = (Vec::new(), None);
            for ((at, request), result) in pending.into_iter().zip(results) {
                let result = result.map_err(|status| refused(&status));
                if let Some(asked) = result.as_ref().err().and_then(Error::again_after) {
                    wait = wait.max(Some(asked));
                    again.push((at, request));
                }
                if let Some(end) = ends.get_mut(at) {
                    *end = Some((result, first && once));
                }
            }
            left = left.saturating_sub(1);
            let wait = wait.map(|asked| asked + pause.next());
            let wait = wait.filter(|wait| left > 0 && Instant::now() + *wait < until);
            let Some(wait) = wait else { return Ok(ends.into_iter().flatten().collect()) };
            sleep(wait).await;
            (pending, first) = (again, false);
        }
    }
}

/// The outcomes after a further attempt that has no answer.
fn settle<Q, A>(mut ends: Vec<Option<Ended<A>>>, pending: &[(usize, &Q)]) -> Vec<Ended<A>> {
    for (at, _) in pending {
        if let Some(end) = ends.get_mut(*at) {
            *end = Some((Err(Error::Refused(Box::new(Refused::unknown_outcome()))), false));
        }
    }
    ends.into_iter().flatten().collect()
}

/// What an item's status says.
fn refused(status: &pb::Status) -> Error {
    match Refused::of_item(status) {
        Some(refused) => refused_alone(Box::new(refused)),
        None => Error::NotBailiwick(Code::from(status.code)),
    }
}
