//! `Download`: an attachment in parts, each read from its region when the one before has been taken.
//! So a download holds one part in memory, however large the attachment is.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::unfold;
use terms::limits::ATTACHMENT_READ_BYTES_MAX;
use terms::{Reason, Rejection};
use tokio::time::Instant;
use tokio_stream::Stream;
use tonic::Status;
use wire::session as proto;
use wire::v1;
use wire::v1::download_attachment_response::Part as Message;

use crate::api::body_part::part;
use crate::api::context::{Call, CallContext};
use crate::api::get_request::Get;

/// Bytes of one message: every client library takes it.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The answers to a download.
pub(crate) fn download(
    ctx: Arc<CallContext>,
    call: Call,
    request: v1::DownloadAttachmentRequest,
) -> impl Stream<Item = Result<v1::DownloadAttachmentResponse, Status>> + Send + 'static {
    let reading = Reading { ctx, call, next: Next::First(Box::new(request)) };
    unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        match reading.next().await {
            Ok(Some(part)) => {
                Some((Ok(v1::DownloadAttachmentResponse { part: Some(part) }), Some(reading)))
            }
            Ok(None) => {
                reading.call.done();
                None
            }
            Err(rejection) => Some((Err(reading.call.refuse(&rejection)), None)),
        }
    })
}

/// A download in progress.
struct Reading {
    ctx: Arc<CallContext>,
    call: Call,
    next: Next,
}

/// What comes next.
enum Next {
    First(Box<v1::DownloadAttachmentRequest>),
    Data(Box<Data>),
}

/// What has been read and not given yet, and where it goes on.
struct Data {
    get: Get,
    etag: String,
    rest: Bytes,
    offset: u64,
    /// The first byte that is not wanted.
    end: u64,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Message>, Rejection> {
        let data = match &mut self.next {
            Next::First(request) => {
                let request = std::mem::take(&mut **request);
                return self.first(request).await.map(Some);
            }
            Next::Data(data) => data,
        };
        if data.rest.is_empty() {
            if data.offset >= data.end {
                return Ok(None);
            }
            self.call.still_identified()?;
            let range = proto::BodyRange {
                offset: data.offset,
                length: length(data.end - data.offset),
                etag: data.etag.clone(),
            };
            let deadline = self.call.deadline.of_item(Instant::now(), None);
            let admitted = &self.call.admitted;
            let read = part(&self.ctx, admitted, deadline, &data.get, range).await?;
            data.rest = read.found.body;
            if data.rest.is_empty() {
                return Err(Reason::Internal.into());
            }
            data.offset += data.rest.len() as u64;
        }
        let bytes = data.rest.len().min(MESSAGE_BYTES_MAX);
        Ok(Some(Message::Data(data.rest.split_to(bytes))))
    }

    async fn first(
        &mut self,
        request: v1::DownloadAttachmentRequest,
    ) -> Result<Message, Rejection> {
        let offset = natural(request.offset, "offset")?;
        let wanted = natural(request.length, "length")?;
        let names = v1::GetRecordRequest {
            subject: request.subject,
            collection: request.collection,
            key: request.key,
            purpose: request.purpose,
            ..Default::default()
        };
        let caller = &*self.call.admitted.acting.caller;
        let get = self.ctx.pin().reader(caller).get_attachment(names)?;
        let wanted = if wanted == 0 { u64::MAX } else { wanted };
        let range = proto::BodyRange { offset, length: length(wanted), etag: request.etag };
        let deadline = self.call.deadline.of_call();
        let read = part(&self.ctx, &self.call.admitted, deadline, &get, range).await?;
        let attachment = read.attachment(&get.target)?;
        let (rest, etag) = (read.found.body, read.found.etag);
        let end = offset.saturating_add(wanted).min(read.found.size);
        let offset = offset + rest.len() as u64;
        self.next = Next::Data(Box::new(Data { get, etag, rest, offset, end }));
        Ok(Message::Attachment(attachment))
    }
}

/// As much as is read at once.
fn length(wanted: u64) -> u32 {
    let most = u32::try_from(ATTACHMENT_READ_BYTES_MAX).unwrap_or(u32::MAX);
    u32::try_from(wanted).map_or(most, |wanted| wanted.min(most))
}

fn natural(number: i64, field: &'static str) -> Result<u64, Rejection> {
    let below = |_| Rejection::new(Reason::FieldInvalid).field(field).problem("is below 0");
    u64::try_from(number).map_err(below)
}
