//! The service `Attachments`: each method from its request to its answer.

use std::pin::Pin;
use std::sync::Arc;

use terms::Rejection;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};
use wire::session as proto;
use wire::v1;
use wire::v1::attachments_server::Attachments;

use crate::api::body_part::part;
use crate::api::context::{Call, CallContext};
use crate::api::{download, upload};

/// The service. Clones share everything.
#[derive(Clone)]
pub(crate) struct AttachmentsService(pub(crate) Arc<CallContext>);

#[tonic::async_trait]
impl Attachments for AttachmentsService {
    type UploadStream =
        Pin<Box<dyn Stream<Item = Result<v1::UploadAttachmentResponse, Status>> + Send + 'static>>;
    type DownloadStream = Pin<
        Box<dyn Stream<Item = Result<v1::DownloadAttachmentResponse, Status>> + Send + 'static>,
    >;

    async fn upload(
        &self,
        request: Request<Streaming<v1::UploadAttachmentRequest>>,
    ) -> Result<Response<Self::UploadStream>, Status> {
        let (call, requests) = Call::open(&self.0, request)?;
        Ok(Response::new(Box::pin(upload::upload(Arc::clone(&self.0), call, requests))))
    }

    async fn download(
        &self,
        request: Request<v1::DownloadAttachmentRequest>,
    ) -> Result<Response<Self::DownloadStream>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        Ok(Response::new(Box::pin(download::download(Arc::clone(&self.0), call, request))))
    }

    async fn stat(
        &self,
        request: Request<v1::StatAttachmentRequest>,
    ) -> Result<Response<v1::AttachmentInfo>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = stat(&self.0, &call, request).await;
        call.answer(answer)
    }
}

async fn stat(
    ctx: &CallContext,
    call: &Call,
    request: v1::StatAttachmentRequest,
) -> Result<v1::AttachmentInfo, Rejection> {
    let names = v1::GetRecordRequest {
        subject: request.subject,
        collection: request.collection,
        key: request.key,
        purpose: request.purpose,
        ..Default::default()
    };
    let get = ctx.pin().reader(&call.admitted.acting.caller).get_attachment(names)?;
    let nothing = proto::BodyRange::default();
    let part = part(ctx, &call.admitted, call.deadline.of_call(), &get, nothing).await?;
    part.attachment(&get.target)
}
