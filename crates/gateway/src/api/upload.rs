//! `Upload`: an attachment in chunks, each sent to its region when the one before is on stable
//! storage. So an upload holds one chunk in memory, however large the attachment is, and HTTP/2's
//! windows keep the caller from sending more.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::unfold;
use terms::limits::{ATTACHMENT_BYTES_MAX, ATTACHMENT_CHUNK_BYTES};
use terms::{Detail, Reason, RegionId, Rejection, SubjectId};
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
use crate::api::participants::Participant;
use crate::api::pinned_map::PinnedMap;
use crate::api::put::Prepared;
use crate::api::put_stream::unreadable;
use crate::api::unique::{Creation, Unreachable};
use crate::api::{binding, put, response};
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
    subject: SubjectId,
    /// Where the rules placed it when it began. Its shard rules again at each step.
    region: RegionId,
    put: proto::Put,
    /// Whether evidence or findings came with it.
    given: bool,
    /// What binds them is asked for, and added to the put.
    participants: Vec<Participant>,
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
        // What binds the participants may have changed since the upload began.
        begun.put.participants_epoch = 0;
        loop {
            let outcome = self.step(begun, Step::Finish(true)).await?;
            if matches!(outcome, Outcome::Done(_)) {
                return Ok(outcome);
            }
        }
    }

    /// Sends one step to the region, and gives what the caller reads of the answer.
    async fn step(&self, begun: &mut Begun, step: Step) -> Result<Outcome, Rejection> {
        let (data, effect) = match &step {
            Step::Chunk(chunk) => (chunk.data.len(), Effect::Read),
            Step::Finish(_) => (0, Effect::Write),
            Step::Begin(_) => (0, Effect::Read),
        };
        // A chunk creates no subject, so no other region is asked for it.
        let creates = begun.put.create_subject && !matches!(step, Step::Chunk(_));
        let pinned = self.ctx.pin();
        let deadline = self.call.deadline.of_item(Instant::now(), None);
        let unbound = begun.bind(&pinned, deadline).await.err();
        let (admitted, subject) = (&begun.admitted, &begun.subject);
        let tenant = &admitted.acting.caller.tenant;
        let route = pinned.routing.domicile(&begun.region, tenant, subject)?;
        let reference = response::subject(subject, route.region());
        let (put, sha256) = (Some(begun.put.clone()), begun.sha256.clone());
        let bytes = data + begun.put.attributes.len() + begun.put.participants.len();
        let op = Op::Upload(proto::Upload { put, size: begun.size, sha256, step: Some(step) });
        let (answer, unreachable) = if creates && unbound.is_none() {
            let (ctx, pinned, validate_only) = (&*self.ctx, &pinned, effect == Effect::Read);
            let creation = Creation { ctx, pinned, admitted, subject, deadline, validate_only };
            creation.send(route, op, bytes).await?
        } else {
            let call = admitted.shard_call(route.region(), deadline, effect, bytes, op)?;
            (binding::answered(unbound, route.send(call).await)?, Unreachable::new())
        };
        if let Reply::Upload(state) = &answer.outcome {
            begun.stored = state.stored;
            let committed = i64::try_from(state.stored).unwrap_or(i64::MAX);
            return Ok(Outcome::CommittedBytes(committed));
        }
        let done = put::answer(&pinned, reference, begun.given, answer, false)?;
        Ok(Outcome::Done(v1::PutRecordResponse { unreachable, ..done }))
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
            create_subject: spec.create_subject,
            evidence: spec.evidence,
            findings: spec.findings,
            participants: spec.participants,
            receipt_view: spec.receipt_view,
            ..v1::PutRecordRequest::default()
        };
        let Prepared { route, put, participants, subject, given } =
            put::prepare(pinned, &admitted.acting.caller, request)?;
        let region = route.region().clone();
        let invalid = |field| Rejection::new(Reason::FieldInvalid).field(field);
        let size = u64::try_from(spec.size).ok().filter(|size| *size > 0);
        let size = size.ok_or_else(|| invalid("size").problem("is not above 0"))?;
        if size > ATTACHMENT_BYTES_MAX as u64 {
            let fault = Rejection::new(Reason::AttachmentTooLarge).field("size");
            return Err(fault.with(Detail::Limit, ATTACHMENT_BYTES_MAX));
        }
        if spec.sha256.len() != SHA256_BYTES {
            return Err(invalid("sha256").problem("is not 32 bytes"));
        }
        let (sha256, chunk) = (spec.sha256, BytesMut::new());
        Ok(Self {
            admitted,
            subject,
            region,
            put,
            given,
            participants,
            size,
            sha256,
            stored: 0,
            chunk,
        })
    }

    /// Has what binds the participants told by their regions, unless it was under the map in force.
    async fn bind(&mut self, pinned: &PinnedMap, deadline: Instant) -> Result<(), Rejection> {
        if self.put.participants_epoch == pinned.routing.map().epoch().number {
            return Ok(());
        }
        let Self { admitted, participants, put, .. } = self;
        binding::bind(pinned, admitted, deadline, participants, put).await
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
