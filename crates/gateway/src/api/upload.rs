//! `Upload`: an attachment in chunks, each sent to its region when the one before is on stable
//! storage. So an upload holds one chunk in memory, however large the attachment is, and HTTP/2's
//! windows keep the caller from sending more.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::unfold;
use terms::limits::{ATTACHMENT_BYTES_MAX, ATTACHMENT_CHUNK_BYTES};
use terms::{Detail, Reason, Rejection};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_stream::Stream;
use tonic::Status;
use wire::session::reply::Outcome as Reply;
use wire::session::upload::Step;
use wire::session::{self as proto, call::Op};
use wire::v1;
use wire::v1::upload_attachment_request::Part;
use wire::v1::upload_attachment_response::Outcome;

use crate::api::context::{Admitted, Call, CallContext};
use crate::api::pinned_map::PinnedMap;
use crate::api::put_stream::unreadable;
use crate::api::request::{Put, Target};
use crate::api::{put, response};
use crate::shards::in_flight::Effect;

/// Bytes that an upload holds: a chunk that is not full yet, and one message.
const HELD_BYTES: usize = 2 * ATTACHMENT_CHUNK_BYTES;
/// Bytes of a SHA-256.
const SHA256_BYTES: usize = 32;

/// The answers to an upload.
pub(crate) fn upload(
    ctx: Arc<CallContext>,
    call: Call,
    requests: impl Stream<Item = Result<v1::UploadAttachmentRequest, Status>>
    + Send
    + Sync
    + Unpin
    + 'static,
) -> impl Stream<Item = Result<v1::UploadAttachmentResponse, Status>> + Send + 'static {
    let stopping = ctx.stopping.clone();
    let uploading = Uploading { ctx, call, requests, stopping, begun: None };
    unfold(Some(uploading), |uploading| async move {
        let mut uploading = uploading?;
        match uploading.next().await {
            Ok(outcome) => {
                let done = matches!(outcome, Outcome::Done(_));
                if done {
                    uploading.call.done();
                }
                let answer = v1::UploadAttachmentResponse { outcome: Some(outcome) };
                Some((Ok(answer), (!done).then_some(uploading)))
            }
            Err(rejection) => Some((Err(uploading.call.refuse(&rejection)), None)),
        }
    })
}

/// An upload in progress.
struct Uploading<S> {
    ctx: Arc<CallContext>,
    call: Call,
    requests: S,
    stopping: watch::Receiver<bool>,
    begun: Option<Box<Begun>>,
}

/// One whose first message was read.
struct Begun {
    /// Its permit holds the bytes of this upload against its tenant's.
    admitted: Admitted,
    target: Target,
    put: proto::Put,
    size: u64,
    sha256: Bytes,
    /// Bytes that the region has.
    stored: u64,
    /// Bytes behind them that it does not have yet.
    chunk: BytesMut,
}

impl<S> Uploading<S>
where
    S: Stream<Item = Result<v1::UploadAttachmentRequest, Status>> + Unpin,
{
    /// The next answer.
    async fn next(&mut self) -> Result<Outcome, Rejection> {
        let mut begun = match self.begun.take() {
            Some(begun) => begun,
            None => return self.first().await,
        };
        while !begun.is_due() {
            match self.read().await? {
                Some(Part::Data(data)) => begun.take(&data)?,
                Some(Part::Spec(_)) => {
                    let twice = Rejection::new(Reason::FieldInvalid).field("spec");
                    return Err(twice.problem("comes in the first message alone"));
                }
                None => return Err(begun.out_of_step("the stream ended before all was sent")),
            }
        }
        self.call.still_identified()?;
        let outcome = if begun.stored < begun.size {
            let number = begun.stored / ATTACHMENT_CHUNK_BYTES as u64;
            let number = u32::try_from(number).map_err(|_| Reason::Internal)?;
            let data = begun.chunk.split().freeze();
            let step = Step::Chunk(proto::UploadChunk { number, data });
            self.step(&mut begun, step).await?
        } else {
            self.finish(&mut begun).await?
        };
        self.begun = Some(begun);
        Ok(outcome)
    }

    async fn first(&mut self) -> Result<Outcome, Rejection> {
        let Some(Part::Spec(spec)) = self.read().await? else {
            return Err(Rejection::new(Reason::FieldMissing).field("spec"));
        };
        let admitted = self.call.admit_item(HELD_BYTES)?;
        let mut begun = Box::new(Begun::new(&self.ctx.pin(), admitted, spec)?);
        let outcome = self.step(&mut begun, Step::Begin(true)).await?;
        self.begun = Some(begun);
        Ok(outcome)
    }

    /// The next message. `None`: the caller has ended the stream.
    async fn read(&mut self) -> Result<Option<Part>, Rejection> {
        let message = tokio::select! {
            message = self.requests.next() => message,
            _ = self.stopping.wait_for(|stop| *stop) => {
                return Err(Reason::ShuttingDown.into());
            }
        };
        match message {
            Some(Ok(message)) => match message.part {
                Some(part) => Ok(Some(part)),
                None => Err(Rejection::new(Reason::FieldMissing).field("part")),
            },
            Some(Err(status)) => Err(unreadable(&status)),
            None => Ok(None),
        }
    }

    /// Has the shard check what it has, and make it the record's version.
    async fn finish(&self, begun: &mut Begun) -> Result<Outcome, Rejection> {
        loop {
            let outcome = self.step(begun, Step::Finish(true)).await?;
            if matches!(outcome, Outcome::Done(_)) {
                return Ok(outcome);
            }
        }
    }

    /// Sends one step to the region, and gives what the caller reads of the answer.
    async fn step(&self, begun: &mut Begun, step: Step) -> Result<Outcome, Rejection> {
        let (bytes, effect) = match &step {
            Step::Chunk(chunk) => (chunk.data.len(), Effect::Read),
            Step::Finish(_) => (0, Effect::Write),
            Step::Begin(_) => (0, Effect::Read),
        };
        let pinned = self.ctx.pin();
        let admitted = &begun.admitted;
        let route = pinned.domicile(&admitted.acting.caller, &begun.target)?;
        let subject = response::subject(&begun.target.subject, route.region());
        let (put, sha256) = (Some(begun.put.clone()), begun.sha256.clone());
        let op = Op::Upload(proto::Upload { put, size: begun.size, sha256, step: Some(step) });
        let deadline = self.call.deadline.of_item(Instant::now(), None);
        let sent = admitted.shard_call(route.region(), deadline, effect, bytes, op)?;
        let answer = route.send(sent).await?;
        if let Reply::Upload(state) = &answer.outcome {
            begun.stored = state.stored;
            let committed = i64::try_from(state.stored).unwrap_or(i64::MAX);
            return Ok(Outcome::CommittedBytes(committed));
        }
        Ok(Outcome::Done(put::answer(&pinned, subject, false, answer, false)?))
    }
}

impl Begun {
    fn new(
        pinned: &PinnedMap,
        admitted: Admitted,
        spec: v1::UploadSpec,
    ) -> Result<Self, Rejection> {
        let request = v1::PutRecordRequest {
            subject: spec.subject,
            collection: spec.collection,
            key: spec.key,
            attributes: spec.attributes,
            request_id: spec.request_id,
            if_version: spec.if_version,
            etag: spec.etag,
            expire_time: spec.expire_time,
            receipt_view: spec.receipt_view,
            ..v1::PutRecordRequest::default()
        };
        let Put { target, attributes, request_id, condition, prove, expire_ms, .. } =
            pinned.reader(&admitted.acting.caller).put(request)?;
        let invalid = |field| Rejection::new(Reason::FieldInvalid).field(field);
        let size = u64::try_from(spec.size).ok().filter(|size| *size > 0);
        let size = size.ok_or_else(|| invalid("spec.size").problem("is not above 0"))?;
        if size > ATTACHMENT_BYTES_MAX as u64 {
            let fault = Rejection::new(Reason::AttachmentTooLarge).field("spec.size");
            return Err(fault.with(Detail::Limit, ATTACHMENT_BYTES_MAX));
        }
        if spec.sha256.len() != SHA256_BYTES {
            return Err(invalid("spec.sha256").problem("is not 32 bytes"));
        }
        let put = proto::Put {
            subject: target.subject.expose().to_owned(),
            collection: target.collection.as_str().to_owned(),
            key: target.key.clone(),
            request_id: Bytes::copy_from_slice(request_id.bytes()),
            if_version: condition.if_version,
            etag: condition.etag,
            attributes: attributes.encode().into(),
            prove,
            expire_ms,
            ..proto::Put::default()
        };
        let (sha256, chunk) = (spec.sha256, BytesMut::new());
        Ok(Self { admitted, target, put, size, sha256, stored: 0, chunk })
    }

    /// Whether there is something to do for the region.
    fn is_due(&self) -> bool {
        let there = self.stored + self.chunk.len() as u64;
        self.chunk.len() == ATTACHMENT_CHUNK_BYTES || there == self.size
    }

    /// Takes data that follows on what is there.
    fn take(&mut self, data: &v1::UploadData) -> Result<(), Rejection> {
        let there = self.stored + self.chunk.len() as u64;
        if u64::try_from(data.offset) != Ok(there) {
            return Err(self.out_of_step("does not begin where the last data ended"));
        }
        let invalid =
            |problem| Err(Rejection::new(Reason::FieldInvalid).field("data.data").problem(problem));
        if data.data.is_empty() {
            return invalid("is empty");
        }
        if data.data.len() as u64 > self.size - there {
            return invalid("is more than was announced");
        }
        if self.chunk.len() + data.data.len() > ATTACHMENT_CHUNK_BYTES {
            return invalid("goes past the end of a MiB: send no message across it");
        }
        self.chunk.extend_from_slice(&data.data);
        Ok(())
    }

    fn out_of_step(&self, problem: &'static str) -> Rejection {
        let fault = Rejection::new(Reason::UploadOutOfStep).field("data.offset");
        fault.problem(problem).with(Detail::Offset, self.stored)
    }
}
