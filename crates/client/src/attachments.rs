//! Attachments: uploads that are taken up again where they were cut, downloads in parts. Neither
//! holds more than a few MiB, however large the attachment is.

use std::io::SeekFrom;
use std::time::Duration;

use prost::bytes::Bytes;
use sha2::{Digest as _, Sha256};
use terms::Reason;
use terms::limits::ATTACHMENT_CHUNK_BYTES;
use tokio::io::AsyncWriteExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeek, AsyncSeekExt as _, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming};
use wire::v1::download_attachment_response::Part as Downloaded;
use wire::v1::upload_attachment_request::Part;
use wire::v1::upload_attachment_response::Outcome;

use crate::call::Pause;
use crate::gateway::Gateway;
use crate::receipt::{Written, check_upload};
use crate::{Client, Error, api};

/// Bytes of one message of an upload.
const MESSAGE_BYTES: usize = 256 << 10;
/// Bytes that are sent and not stored yet.
const AHEAD_BYTES: u64 = 2 * ATTACHMENT_CHUNK_BYTES as u64;
/// Messages that wait to be sent.
const MESSAGES_AHEAD: usize = 4;

/// What is uploaded: bytes that can be read again from any place.
pub trait Source: AsyncRead + AsyncSeek + Send + Unpin {}

impl<S: AsyncRead + AsyncSeek + Send + Unpin> Source for S {}

/// How many bytes a source has, and their SHA-256: what an [`api::UploadSpec`] states.
///
/// # Errors
/// [`Error::Local`].
pub async fn measure(source: &mut impl Source) -> Result<(u64, [u8; 32]), Error> {
    hashed(source, Sha256::new()).await
}

/// The bytes of a source from its beginning, and what a hash becomes of them.
async fn hashed(source: &mut impl Source, mut hash: Sha256) -> Result<(u64, [u8; 32]), Error> {
    source.seek(SeekFrom::Start(0)).await.map_err(local)?;
    let (mut buffer, mut bytes) = (vec![0; MESSAGE_BYTES], 0);
    loop {
        match source.read(&mut buffer).await.map_err(local)? {
            0 => return Ok((bytes, hash.finalize().into())),
            read => {
                hash.update(buffer.get(..read).unwrap_or_default());
                bytes += read as u64;
            }
        }
    }
}

fn local(error: std::io::Error) -> Error {
    Error::Local(error.kind())
}

// === uploads ===

impl Client {
    /// Uploads an attachment, and checks the answer and its receipt against what was sent: the source
    /// is read once more for that. An upload that is cut is taken up again, as often as the settings
    /// allow without a byte in between. `progress` is told how many bytes the region has.
    ///
    /// The deadline of the settings is the time for each step, not for the whole. Where a law wants the
    /// body taken inside its territory, the upload goes to the gateway there, as [`Client::put`] does;
    /// nothing of the body has left then.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn upload(
        &self,
        spec: &api::UploadSpec,
        source: &mut impl Source,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<Written<api::PutRecordResponse>, Error> {
        self.carries_plain()?;
        let (mut left, mut stored, mut once) = (self.attempts_max(), 0, true);
        let (mut pause, mut route) = (self.pause(), self.write());
        let answer = loop {
            let (before, to) = (stored, route.gateway.clone());
            let error = match self.upload_once(to, spec, source, &mut stored, &mut progress).await {
                Ok(answer) => break answer,
                Err(error) => error,
            };
            let known = error.refused().and_then(|refused| refused.known());
            if known == Some(Reason::WrongIngress) && route.follow {
                self.follow(&mut route, error)?;
                continue;
            }
            once = false;
            (left, pause) = if stored > before {
                (self.attempts_max(), self.pause())
            } else {
                (left.saturating_sub(1), pause)
            };
            wait_again(&mut pause, left, error).await?;
        };
        let proof = check_upload(spec, &answer, self.known(once))?;
        if let Some((opening, digest)) = crate::receipt::content(answer.receipt.as_ref()) {
            let content = hashed(source, Sha256::new_with_prefix(opening)).await?;
            if content.1 != digest {
                return Err(crate::Unproven::OtherWrite.into());
            }
        }
        Ok(Written { answer, proof })
    }

    async fn upload_once(
        &self,
        to: Gateway,
        spec: &api::UploadSpec,
        source: &mut impl Source,
        stored: &mut u64,
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<api::PutRecordResponse, Error> {
        let within = self.deadline();
        let (sender, receiver) = mpsc::channel(MESSAGES_AHEAD);
        let mut request = Request::new(ReceiverStream::new(receiver));
        self.authorize(&mut request).await?;
        let first = api::UploadAttachmentRequest { part: Some(Part::Spec(spec.clone())) };
        // There is room for it.
        sender.try_send(first).map_err(|_| Error::Broken)?;
        let mut attachments = to.attachments;
        let opened = timeout(within, attachments.upload(request)).await;
        let mut answers = opened.map_err(|_| Error::TimedOut)??.into_inner();
        let size = u64::try_from(spec.size).unwrap_or(0);
        let mut sent = None;
        loop {
            // The first answer says where to begin.
            if let Some(from) = sent
                && from < size
                && from - *stored < AHEAD_BYTES
            {
                sent = Some(send_chunk(source, &sender, from, size).await?);
                continue;
            }
            let answer =
                timeout(within, answers.message()).await.map_err(|_| Error::TimedOut)??;
            match answer.and_then(|answer| answer.outcome).ok_or(Error::Broken)? {
                Outcome::Done(done) => {
                    progress(size);
                    return Ok(done);
                }
                Outcome::CommittedBytes(bytes) => {
                    *stored = u64::try_from(bytes).unwrap_or(0);
                    progress(*stored);
                    if sent.is_none() {
                        source.seek(SeekFrom::Start(*stored)).await.map_err(local)?;
                        sent = Some(*stored);
                    }
                }
            }
        }
    }
}

/// Sends up to the end of a chunk. Gives where the next begins.
async fn send_chunk(
    source: &mut impl Source,
    sender: &mpsc::Sender<api::UploadAttachmentRequest>,
    from: u64,
    size: u64,
) -> Result<u64, Error> {
    let chunk = ATTACHMENT_CHUNK_BYTES as u64;
    let (mut at, end) = (from, size.min((from / chunk + 1) * chunk));
    while at < end {
        let bytes = usize::try_from(end - at).unwrap_or(MESSAGE_BYTES).min(MESSAGE_BYTES);
        let mut data = vec![0; bytes];
        source.read_exact(&mut data).await.map_err(local)?;
        let offset = i64::try_from(at).unwrap_or(i64::MAX);
        let data = api::UploadData { offset, data: data.into() };
        let message = api::UploadAttachmentRequest { part: Some(Part::Data(data)) };
        if sender.send(message).await.is_err() {
            // The stream has ended: its last answer says why.
            return Ok(size);
        }
        at += bytes as u64;
    }
    Ok(end)
}

/// Waits before the next attempt, or gives the error if there is none.
async fn wait_again(pause: &mut Pause<'_>, left: u32, error: Error) -> Result<(), Error> {
    let known = error.refused().and_then(|refused| refused.known());
    let again = match known {
        // What was sent did not arrive in order: the next stream begins with what is stored.
        // Or an earlier stream has ended the upload meanwhile: the next is told what became of it.
        Some(Reason::UploadOutOfStep | Reason::UploadUnknown | Reason::WriteOutcomeUnknown) => {
            Some(Duration::ZERO)
        }
        _ if matches!(error, Error::TimedOut) => Some(Duration::ZERO),
        _ => error.again_after(),
    };
    match again {
        Some(asked) if left > 0 => {
            sleep(asked + pause.next()).await;
            Ok(())
        }
        _ => Err(error),
    }
}

// === downloads ===

/// A download: what the attachment is, and its bytes as they come.
#[expect(missing_debug_implementations, reason = "it names a person's record")]
pub struct Download {
    /// What it is.
    pub attachment: api::AttachmentInfo,
    stream: Streaming<api::DownloadAttachmentResponse>,
    within: Duration,
}

impl Download {
    /// The next bytes; none: that was all.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match next(&mut self.stream, self.within).await? {
            None => Ok(None),
            Some(Downloaded::Data(data)) => Ok(Some(data)),
            Some(Downloaded::Attachment(_)) => Err(Error::Broken),
        }
    }
}

async fn next(
    stream: &mut Streaming<api::DownloadAttachmentResponse>,
    within: Duration,
) -> Result<Option<Downloaded>, Error> {
    let message = timeout(within, stream.message()).await.map_err(|_| Error::TimedOut)??;
    message.map(|message| message.part.ok_or(Error::Broken)).transpose()
}

impl Client {
    /// Says what an attachment is.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn stat(
        &self,
        request: &api::StatAttachmentRequest,
    ) -> Result<api::AttachmentInfo, Error> {
        let stat = |mut to: Gateway, request| async move { to.attachments.stat(request).await };
        self.attempts(request, self.question(), stat).await.map(|(answer, _)| answer)
    }

    /// Begins a download. The deadline of the settings is the time for each message.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn download(
        &self,
        request: api::DownloadAttachmentRequest,
    ) -> Result<Download, Error> {
        self.carries_plain()?;
        let within = self.deadline();
        let mut request = Request::new(request);
        self.authorize(&mut request).await?;
        let mut attachments = self.gateway().attachments;
        let opened = timeout(within, attachments.download(request)).await;
        let mut stream = opened.map_err(|_| Error::TimedOut)??.into_inner();
        match next(&mut stream, within).await? {
            Some(Downloaded::Attachment(attachment)) => Ok(Download { attachment, stream, within }),
            Some(Downloaded::Data(_)) | None => Err(Error::Broken),
        }
    }

    /// Downloads an attachment, or the part that `request` names, into `target`. A download that is
    /// cut goes on where it was, as long as the attachment is the same. The hash of a whole
    /// attachment is checked at the end. `progress` is told how many bytes have come, and of how
    /// many.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Altered`] when the bytes do not have the hash that is stated.
    pub async fn download_to(
        &self,
        mut request: api::DownloadAttachmentRequest,
        target: &mut (impl AsyncWrite + Send + Unpin),
        mut progress: impl FnMut(u64, u64) + Send,
    ) -> Result<api::AttachmentInfo, Error> {
        let whole = request.offset == 0 && request.length == 0;
        let (first, wanted) = (request.offset, request.length);
        let (mut hash, mut come, mut left) = (Sha256::new(), 0_u64, self.attempts_max());
        let mut pause = self.pause();
        let attachment = loop {
            let before = come;
            let error = match self.download(request.clone()).await {
                Ok(mut part) => {
                    request.etag.clone_from(&part.attachment.etag);
                    let size = u64::try_from(part.attachment.size).unwrap_or(0);
                    let from = u64::try_from(first).unwrap_or(0);
                    let rest = size.saturating_sub(from);
                    let total = match u64::try_from(wanted) {
                        Ok(0) | Err(_) => rest,
                        Ok(wanted) => wanted.min(rest),
                    };
                    loop {
                        match part.next().await {
                            Ok(Some(data)) => {
                                hash.update(&data);
                                target.write_all(&data).await.map_err(local)?;
                                come += data.len() as u64;
                                progress(come, total);
                            }
                            Ok(None) if come == total => break None,
                            // A stream that was cut right at its end: nothing is left to ask for.
                            Err(_) if come == total && total > 0 => break None,
                            Ok(None) => break Some(Error::Broken),
                            Err(error) => break Some(error),
                        }
                    }
                    .map_or(Ok(part.attachment), Err)
                }
                Err(error) => Err(error),
            };
            let error = match error {
                Ok(attachment) => break attachment,
                Err(error) => error,
            };
            (left, pause) = if come > before {
                (self.attempts_max(), self.pause())
            } else {
                (left.saturating_sub(1), pause)
            };
            wait_again(&mut pause, left, error).await?;
            let come = i64::try_from(come).unwrap_or(i64::MAX);
            request.offset = first.saturating_add(come);
            if wanted > 0 {
                request.length = wanted.saturating_sub(come);
            }
        };
        target.flush().await.map_err(local)?;
        let stated = &attachment.sha256[..];
        if whole && !stated.is_empty() && hash.finalize()[..] != *stated {
            return Err(Error::Altered);
        }
        Ok(attachment)
    }
}
