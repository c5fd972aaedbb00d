//! `Export`: everything that a region holds of a subject, as a stream. Its records come in pages, each
//! asked for when the one before has left, so an export of any size takes the room of one page.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use terms::limits::{LIST_PAGE_BYTES_MAX, LIST_PAGE_MAX};
use terms::{Collection, Reason, Rejection};
use tokio::time::Instant;
use tokio_stream::Stream;
use tonic::Status;
use wire::session::{self as proto, call::Op, reply::Outcome};
use wire::v1;
use wire::v1::export_subject_response::Part;

use crate::api::context::{Call, CallContext};
use crate::api::get_request::SealedQuestion;
use crate::api::held;
use crate::api::list;
use crate::api::pinned_map::PinnedMap;
use crate::api::response;
use crate::api::subject_request::About;
use crate::shards::in_flight::Effect;

/// An export on its way.
struct Export {
    call: Call,
    pinned: PinnedMap,
    about: About,
    /// What bodies are answered sealed to. None: they are plain.
    question: Option<SealedQuestion>,
    /// Collections whose records are still to come; the first has begun.
    collections: VecDeque<String>,
    /// Where the first of them goes on.
    cursor: Bytes,
    /// What has been read and not given yet.
    ready: VecDeque<v1::ExportSubjectResponse>,
    records: i64,
    ended: bool,
}

/// Begins an export: what is refused is refused before anything is given.
pub(crate) async fn export(
    ctx: &Arc<CallContext>,
    mut call: Call,
    request: v1::ExportSubjectRequest,
) -> Result<impl Stream<Item = Result<v1::ExportSubjectResponse, Status>> + Send + 'static, Status>
{
    let pinned = ctx.pin();
    let begun = begin(&call, &pinned, request).await;
    let Begun { about, question, subject, seal } = match begun {
        Ok(begun) => begun,
        Err(rejection) => return Err(call.refuse(&rejection)),
    };
    let collections = subject.collections.iter().map(|it| it.collection.clone()).collect();
    let part = Some(Part::Subject(subject));
    let export = Export {
        call,
        pinned,
        about,
        question,
        collections,
        cursor: Bytes::new(),
        ready: VecDeque::from([v1::ExportSubjectResponse { part, seal }]),
        records: 0,
        ended: false,
    };
    Ok(stream::unfold(export, Export::next))
}

/// An export of which the shard has told what it will have.
struct Begun {
    about: About,
    question: Option<SealedQuestion>,
    subject: v1::Subject,
    /// Of a sealed export; empty otherwise.
    seal: Bytes,
}

async fn begin(
    call: &Call,
    pinned: &PinnedMap,
    request: v1::ExportSubjectRequest,
) -> Result<Begun, Rejection> {
    let reader = pinned.reader(&call.admitted.acting.caller);
    let about = reader.about(request.subject, request.purpose)?;
    if about.purpose.trim().is_empty() {
        return Err(Rejection::new(Reason::FieldMissing).field("purpose"));
    }
    let field = "sealed_question";
    let question = request.sealed_question;
    let question = question.map(|it| SealedQuestion::of_region(it, &about.of.region, field));
    let question = question.transpose()?;
    call.admitted.permit.has_room()?;
    let (subject, seal) = held::ask(call, pinned, &about, true, question.as_ref()).await?;
    if question.is_none() {
        // An export is whole or refused. The shard has asked the same before it wrote the entry; its map
        // may be older than this one.
        for held in &subject.collections {
            let name = Collection::parse(&held.collection).map_err(|_| Reason::Internal)?;
            pinned.routing.map().admit_plain(&name, field)?;
        }
    }
    Ok(Begun { about, question, subject, seal })
}

impl Export {
    /// The next part. A stream that fails has no end, and so is not whole.
    async fn next(mut self) -> Option<(Result<v1::ExportSubjectResponse, Status>, Self)> {
        if self.ended {
            return None;
        }
        while self.ready.is_empty() {
            if let Err(rejection) = self.read().await {
                self.ended = true;
                let status = self.call.refuse(&rejection);
                return Some((Err(status), self));
            }
        }
        let next = self.ready.pop_front().unwrap_or_default();
        if matches!(next.part, Some(Part::End(_))) {
            self.ended = true;
            self.call.done();
        }
        Some((Ok(next), self))
    }

    /// Reads the next page, or the end.
    async fn read(&mut self) -> Result<(), Rejection> {
        let Some(collection) = self.collections.front().cloned() else {
            self.add(Part::End(v1::ExportEnd { record_count: self.records }), Bytes::new());
            return Ok(());
        };
        self.call.still_identified()?;
        let listed = self.page(&collection).await?;
        if listed.withheld > 0 {
            return Err(Reason::ExportWithheld.into());
        }
        self.cursor = listed.next;
        if self.cursor.is_empty() {
            self.collections.pop_front();
        }
        let mut bytes = 0;
        for record in listed.records {
            bytes += record.body.len() + record.attributes.len();
            self.records += 1;
            let record = self.record(&collection, record)?;
            self.add(Part::Record(record), Bytes::new());
        }
        if self.question.is_some() {
            self.add(Part::Page(v1::ExportPage { next: self.cursor.clone() }), listed.seal);
        }
        self.call.admitted.permit.hold(bytes)
    }

    fn add(&mut self, part: Part, seal: Bytes) {
        self.ready.push_back(v1::ExportSubjectResponse { part: Some(part), seal });
    }

    async fn page(&self, collection: &str) -> Result<proto::Listed, Rejection> {
        let Self { call, pinned, about, .. } = self;
        let of = &about.of;
        let (sealed_key, sealed_question) = list::sealed(self.question.as_ref());
        let op = Op::List(proto::List {
            collection: collection.to_owned(),
            subject: of.subject.expose().to_owned(),
            view: v1::RecordView::Whole.into(),
            page_size: u32::try_from(LIST_PAGE_MAX).unwrap_or(u32::MAX),
            bytes_max: u32::try_from(LIST_PAGE_BYTES_MAX).unwrap_or(u32::MAX),
            cursor: self.cursor.clone(),
            purpose: about.purpose.clone(),
            export: self.question.is_some(),
            sealed_key,
            sealed_question,
            ..Default::default()
        });
        let tenant = &call.admitted.acting.caller.tenant;
        let route = pinned.routing.domicile(&of.region, tenant, &of.subject)?;
        // Each page may take as long as a call.
        let deadline = call.deadline.of_item(Instant::now(), None);
        let sent = call.admitted.shard_call(route.region(), deadline, Effect::Read, 0, op)?;
        let Outcome::Listed(listed) = route.send(sent).await?.outcome else {
            return Err(Reason::Internal.into());
        };
        Ok(listed)
    }

    fn record(
        &self,
        collection: &str,
        record: proto::ListedRecord,
    ) -> Result<v1::Record, Rejection> {
        let of = &self.about.of;
        list::record_of(response::subject(&of.subject, &of.region), collection, record)
    }
}
