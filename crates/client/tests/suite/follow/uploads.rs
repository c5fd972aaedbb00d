//! Uploads go where a law wants the body taken: nothing of it leaves before.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that goes astray may panic")]

use std::io::Cursor;

use client::{Error, NotFollowed, api, measure};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wire::v1::attachments_server::Attachments;
use wire::v1::download_attachment_response::Part as Downloaded;
use wire::v1::upload_attachment_request::Part;
use wire::v1::upload_attachment_response::Outcome;

use super::desk::{Authority, Desk, Say, access, client, put, stored};
use super::{not_followed, wrong_ingress};

/// An attachment.
const BODY: &[u8] = b"twenty bytes of a body";
/// More than a chunk.
const BYTES: usize = (1 << 20) + 5;

type Answers = ReceiverStream<Result<api::UploadAttachmentResponse, Status>>;
type Download = ReceiverStream<Result<api::DownloadAttachmentResponse, Status>>;

#[tonic::async_trait]
impl Attachments for Desk {
    type UploadStream = Answers;
    type DownloadStream = Download;

    async fn upload(
        &self,
        request: Request<Streaming<api::UploadAttachmentRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let (metadata, extensions, mut parts) = request.into_parts();
        let Some(Part::Spec(spec)) = parts.message().await?.and_then(|message| message.part) else {
            panic!("the first message says what it is");
        };
        let request = Request::from_parts(metadata, extensions, ());
        self.note("upload", &request, &spec.request_id, 0)?;
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let size = usize::try_from(spec.size).unwrap();
        tokio::spawn(async move {
            let answer = |outcome| Ok(api::UploadAttachmentResponse { outcome: Some(outcome) });
            sender.send(answer(Outcome::CommittedBytes(0))).await.ok();
            let mut body = Vec::new();
            while body.len() < size {
                let message = parts.message().await.unwrap().unwrap();
                let Some(Part::Data(data)) = message.part else { panic!("data follow") };
                body.extend_from_slice(&data.data);
            }
            let put = api::PutRecordRequest {
                subject: spec.subject,
                collection: spec.collection,
                key: spec.key,
                body: body.into(),
                ..Default::default()
            };
            sender.send(answer(Outcome::Done(stored(&put)))).await.ok();
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    /// Gives what was asked for of [`BODY`], and is cut before the end of the stream.
    async fn download(
        &self,
        request: Request<api::DownloadAttachmentRequest>,
    ) -> Result<Response<Download>, Status> {
        self.note("download", &request, "", 0)?;
        let api::DownloadAttachmentRequest { offset, length, .. } = request.into_inner();
        let [from, length] = [offset, length].map(|n| usize::try_from(n).unwrap());
        let until = if length == 0 { BODY.len() } else { from + length };
        let size = i64::try_from(BODY.len()).unwrap();
        let info = api::AttachmentInfo { size, etag: "e".to_owned(), ..Default::default() };
        let data = BODY.get(from..until).unwrap().to_vec().into();
        let answer = |part| Ok(api::DownloadAttachmentResponse { part: Some(part) });
        let (sender, receiver) = tokio::sync::mpsc::channel(3);
        sender.send(answer(Downloaded::Attachment(info))).await.unwrap();
        sender.send(answer(Downloaded::Data(data))).await.unwrap();
        sender.send(Err(Status::unavailable("cut"))).await.unwrap();
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn stat(
        &self,
        _: Request<api::StatAttachmentRequest>,
    ) -> Result<Response<api::AttachmentInfo>, Status> {
        Ok(Response::new(api::AttachmentInfo::default()))
    }
}

async fn spec(source: &mut Cursor<Vec<u8>>) -> api::UploadSpec {
    let put = put(false);
    let (size, sha256) = measure(source).await.unwrap();
    api::UploadSpec {
        subject: put.subject,
        collection: put.collection,
        key: put.key,
        request_id: put.request_id,
        size: i64::try_from(size).unwrap(),
        sha256: sha256.to_vec().into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn an_upload_follows_to_the_listed_gateway_and_its_receipt_is_checked_there() {
    let authority = Authority::new();
    let inside = Desk::start(Some(&authority), vec![Say::Done]).await;
    let script = vec![wrong_ingress("ru-msk", &inside.url)];
    let outside = Desk::start(Some(&authority), script).await;
    let mut source = Cursor::new(vec![7; BYTES]);
    let spec = spec(&mut source).await;
    let client = client(&outside, access(&authority, &[&inside]));
    let done = client.upload(&spec, &mut source, |_| {}).await.unwrap();
    assert_eq!(done.answer.version, 1);
    assert_eq!((outside.calls(), inside.calls()), (vec!["upload"], vec!["upload"]));
    assert_eq!(outside.asked()[0], inside.asked()[0], "the same request");
}

#[tokio::test]
async fn an_upload_goes_nowhere_that_the_caller_does_not_list() {
    let authority = Authority::new();
    let other = Desk::start(Some(&authority), Vec::new()).await;
    let outside = Desk::start(Some(&authority), vec![wrong_ingress("ru-msk", &other.url)]).await;
    let mut source = Cursor::new(vec![7; BYTES]);
    let spec = spec(&mut source).await;
    let client = client(&outside, access(&authority, &[]));
    let error: Error = client.upload(&spec, &mut source, |_| {}).await.err().unwrap();
    assert_eq!(not_followed(&error), NotFollowed::Unlisted);
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn a_download_that_is_cut_right_at_its_end_asks_for_nothing_more() {
    let authority = Authority::new();
    for (offset, length, expected) in [(7, 5, &b"bytes"[..]), (0, 0, BODY)] {
        let desk = Desk::start(Some(&authority), vec![Say::Done]).await;
        let client = client(&desk, access(&authority, &[]));
        let request = api::DownloadAttachmentRequest { offset, length, ..Default::default() };
        let mut target = Vec::new();
        client.download_to(request, &mut target, |_, _| ()).await.unwrap();
        assert_eq!(target, expected);
        assert_eq!(desk.calls(), ["download"]);
    }
}
