//! One bucket of an S3-compatible server: objects are stored in parts, and read as a stream. One part is
//! in memory at a time.
//!
//! `rusty-s3` signs the requests (AWS Signature Version 4, in the query) and reads the answers. The
//! connections are those of [`https_client`](super::https_client), one for each request, and nothing is
//! sent to any other address: redirects are not followed.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, ETAG, HOST, HeaderMap};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rusty_s3::actions::{
    AbortMultipartUpload, CompleteMultipartUpload, CompleteMultipartUploadResponse,
    CreateMultipartUpload, DeleteObject, GetObject, HeadObject, UploadPart,
};
use rusty_s3::{Credentials, Method, S3Action, UrlStyle};
use terms::Clock;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use crate::net::https_client::{self, Address, connect, driven};

/// Bytes of a part, unless the object needs larger ones.
const PART_BYTES: u64 = 16 << 20;
/// Parts of an object at the most, by the protocol.
const PARTS_MAX: u64 = 10_000;
/// Times that a part is sent at the most, and the pause after the first.
const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Time in which a connection must be there.
const CONNECTS_WITHIN: Duration = Duration::from_secs(30);
/// Time in which a request must be answered, the sending of its part included.
const ANSWERS_WITHIN: Duration = Duration::from_secs(600);
/// Time in which an answer must go on.
const GOES_ON_WITHIN: Duration = Duration::from_secs(60);
/// Bytes of an answer that must come in each second, on average.
const BYTES_A_SECOND_MIN: u64 = 64 << 10;
/// Time from its signature in which a request must arrive.
const SIGNED_FOR: Duration = Duration::from_secs(120);
/// Bytes of an answer that is no object.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Bytes of what identifies a part or an upload.
const NAME_BYTES_MAX: usize = 2_048;
/// Letters of the code with which a server refuses.
const CODE_BYTES_MAX: usize = 64;

/// Why an object was not stored or not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address or the name of the bucket is malformed.
    #[error("the server's address or the bucket's name is malformed")]
    Address,
    /// The credentials are not two lines of printable characters.
    #[error("the credentials are not two lines, the access key's id and its secret")]
    Credentials,
    /// There is no connection.
    #[error(transparent)]
    Net(#[from] https_client::Error),
    /// The connection broke off.
    #[error("the connection broke off while the server was asked to {0}")]
    Cut(&'static str),
    /// The server does not go on.
    #[error("the server was too slow when it was asked to {0}")]
    Slow(&'static str),
    /// The server refuses.
    #[error("the server did not {what}: {status}{code}")]
    Refused {
        /// What it was asked for.
        what: &'static str,
        /// Its answer.
        status: StatusCode,
        /// With which code, and before it a space; empty: with none.
        code: String,
    },
    /// The answer has not what it should have.
    #[error("the server's answer is not understood: it was asked to {0}")]
    Answer(&'static str),
    /// An object of that name is there.
    #[error("an object of that name is there already")]
    Exists,
    /// No object of that name is there.
    #[error("there is no object of that name")]
    Missing,
    /// What was read back differs.
    #[error("the object that was read back is not the one that was sent")]
    Differs,
    /// The caller wants it no more.
    #[error("{0}")]
    Stopped(String),
    /// What is to be stored cannot be read, or what was read cannot be kept.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What takes the bytes of an object.
pub type Sink<'a> = dyn FnMut(&[u8]) -> io::Result<()> + Send + 'a;

/// A bucket, and who asks for its objects.
pub struct Bucket {
    address: Address,
    bucket: rusty_s3::Bucket,
    credentials: Credentials,
    authorities: Option<Vec<u8>>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Bucket {
    /// Without the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.bucket.name(), self.address)
    }
}

/// Where a bucket is.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The server: `https://host:port`, or `http://` on this machine.
    pub endpoint: &'a str,
    /// The bucket's name. It is part of the path, not of the host.
    pub bucket: &'a str,
    /// The region that signatures name.
    pub signing_region: &'a str,
}

/// Whether what should be part of an object has come, and what came instead.
enum Taking<'s, 'a> {
    /// An answer that is read whole.
    Answer(Vec<u8>),
    /// An object; an answer that refuses it is read whole.
    Object(&'s mut Sink<'a>, Vec<u8>),
}

impl Taking<'_, '_> {
    fn take(&mut self, status: StatusCode, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Object(sink, _) if status == StatusCode::OK => sink(bytes),
            Self::Answer(answer) | Self::Object(_, answer) => {
                if answer.len() + bytes.len() > ANSWER_BYTES_MAX {
                    return Err(io::Error::other("the server's answer is too large"));
                }
                answer.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn answer(&self) -> &[u8] {
        let (Self::Answer(answer) | Self::Object(_, answer)) = self;
        answer
    }
}

impl Bucket {
    /// A bucket. `credentials` is the text of a file: the access key's id, and its secret on the next line.
    /// `authorities` is a PEM bundle by which the server is verified; without one, the system's. Nothing
    /// is sent yet.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Credentials`].
    pub fn new(
        place: Place<'_>,
        credentials: &str,
        authorities: Option<Vec<u8>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let Place { endpoint, bucket, signing_region } = place;
        let address = Address::parse_or_local(endpoint)?;
        let url: Url = endpoint.parse().map_err(|_| Error::Address)?;
        let (bucket, region) = (bucket.to_owned(), signing_region.to_owned());
        let bucket = rusty_s3::Bucket::new(url, UrlStyle::Path, bucket, region);
        let bucket = bucket.map_err(|_| Error::Address)?;
        let mut lines = credentials.lines().map(str::trim);
        let (Some(id), Some(secret), None) = (lines.next(), lines.next(), lines.next()) else {
            return Err(Error::Credentials);
        };
        let printable = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if !printable(id) || !printable(secret) {
            return Err(Error::Credentials);
        }
        let credentials = Credentials::new(id, secret);
        Ok(Self { address, bucket, credentials, authorities, clock })
    }

    /// Stores an object of exactly so many bytes under a name that no object has. It is seen only once all
    /// parts are there, and is read back whole before this says so. Whatever was stored of one that
    /// failed is removed, as far as the server can be reached and allows it.
    ///
    /// `may` is asked whether it is still wanted, and why not if not: with true before anything is sent and
    /// before the object is seen, with false before each part.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn store(
        &self,
        name: &str,
        from: &mut (impl AsyncRead + Unpin + Send),
        bytes: u64,
        may: &mut impl AsyncFnMut(bool) -> Result<(), String>,
    ) -> Result<(), Error> {
        may(true).await.map_err(Error::Stopped)?;
        if self.exists(name).await? {
            return Err(Error::Exists);
        }
        let upload = self.begin(name).await?;
        let mut may_be_seen = false;
        let stored = self.fill(name, &upload, from, bytes, may, &mut may_be_seen).await;
        if stored.is_err() {
            // First the upload: nothing can complete it after that.
            let abort =
                AbortMultipartUpload::new(&self.bucket, Some(&self.credentials), name, &upload);
            drop(self.ask(&abort, "abort an upload", Bytes::new()).await);
            if may_be_seen {
                let delete = DeleteObject::new(&self.bucket, Some(&self.credentials), name);
                drop(self.ask(&delete, "delete an object", Bytes::new()).await);
            }
        }
        stored
    }

    /// Gives all bytes of an object to `sink`. What was given counts only if this ends well.
    ///
    /// # Errors
    /// [`Error`]; what `sink` says.
    pub async fn read(&self, name: &str, sink: &mut Sink<'_>) -> Result<(), Error> {
        const WHAT: &str = "give an object";
        let get = GetObject::new(&self.bucket, Some(&self.credentials), name);
        let mut taking = Taking::Object(sink, Vec::new());
        let (status, _) = self.send(&get, WHAT, Bytes::new(), &mut taking).await?;
        match status {
            StatusCode::OK => Ok(()),
            StatusCode::NOT_FOUND => Err(Error::Missing),
            status => Err(refused(WHAT, status, taking.answer())),
        }
    }

    async fn exists(&self, name: &str) -> Result<bool, Error> {
        const WHAT: &str = "say whether an object is there";
        let head = HeadObject::new(&self.bucket, Some(&self.credentials), name);
        let mut taking = Taking::Answer(Vec::new());
        match self.send(&head, WHAT, Bytes::new(), &mut taking).await?.0 {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => Err(refused(WHAT, status, &[])),
        }
    }

    /// Begins an upload: its number.
    async fn begin(&self, name: &str) -> Result<String, Error> {
        const WHAT: &str = "begin an upload";
        let create = CreateMultipartUpload::new(&self.bucket, Some(&self.credentials), name);
        let (_, answer) = self.ask(&create, WHAT, Bytes::new()).await?;
        let parsed = CreateMultipartUpload::parse_response(&answer);
        let upload = parsed.map_err(|_| Error::Answer(WHAT))?.upload_id().to_owned();
        if upload.is_empty() || upload.len() > NAME_BYTES_MAX {
            return Err(Error::Answer(WHAT));
        }
        Ok(upload)
    }

    /// Sends all parts, puts them together, and reads the object back. `may_be_seen`: it may be there now.
    async fn fill(
        &self,
        name: &str,
        upload: &str,
        from: &mut (impl AsyncRead + Unpin + Send),
        bytes: u64,
        may: &mut impl AsyncFnMut(bool) -> Result<(), String>,
        may_be_seen: &mut bool,
    ) -> Result<(), Error> {
        let (mut sent, mut tags, mut left) = (Context::new(&SHA256), Vec::new(), bytes);
        let most = part_bytes(bytes);
        while left > 0 || tags.is_empty() {
            may(false).await.map_err(Error::Stopped)?;
            let size = left.min(most);
            let mut part = vec![0; usize::try_from(size).map_err(io::Error::other)?];
            from.read_exact(&mut part).await?;
            sent.update(&part);
            left -= size;
            tags.push(self.part(name, upload, tags.len() + 1, part.into()).await?);
        }
        may(true).await.map_err(Error::Stopped)?;
        *may_be_seen = true;
        self.complete(name, upload, &tags).await?;
        let mut found = ReadBack { hash: Context::new(&SHA256), left: Some(bytes) };
        let read = self.read(name, &mut |bytes: &[u8]| found.take(bytes)).await;
        if found.left.is_none() {
            return Err(Error::Differs);
        }
        read?;
        let same = found.left == Some(0) && sent.finish().as_ref() == found.hash.finish().as_ref();
        if same { Ok(()) } else { Err(Error::Differs) }
    }

    /// Sends one part, again if the server cannot be reached or has a fault: its tag.
    async fn part(
        &self,
        name: &str,
        upload: &str,
        number: usize,
        part: Bytes,
    ) -> Result<String, Error> {
        const WHAT: &str = "take a part of an upload";
        let number = u16::try_from(number).map_err(|_| Error::Answer(WHAT))?;
        let credentials = Some(&self.credentials);
        let action = UploadPart::new(&self.bucket, credentials, name, number, upload);
        let (mut tries, mut pause) = (1, FIRST_PAUSE);
        loop {
            match self.ask(&action, WHAT, part.clone()).await {
                Ok((headers, _)) => {
                    let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok());
                    let tag = tag.filter(|tag| (1..=NAME_BYTES_MAX).contains(&tag.len()));
                    return tag.map(str::to_owned).ok_or(Error::Answer(WHAT));
                }
                Err(error) if tries == TRIES || !passes(&error) => return Err(error),
                Err(_) => {}
            }
            sleep(pause).await;
            (tries, pause) = (tries + 1, pause * 2);
        }
    }

    async fn complete(&self, name: &str, upload: &str, tags: &[String]) -> Result<(), Error> {
        const WHAT: &str = "complete an upload";
        let of = |tags| {
            let credentials = Some(&self.credentials);
            CompleteMultipartUpload::new(&self.bucket, credentials, name, upload, tags)
        };
        let body = of(tags.iter().map(String::as_str)).body();
        let (_, answer) = self.ask(&of(tags.iter().map(String::as_str)), WHAT, body.into()).await?;
        // A server may answer 200 before it knows: an error then stands in the place of the result.
        match CompleteMultipartUploadResponse::parse(&answer) {
            Ok(_) => Ok(()),
            Err(_) => Err(refused(WHAT, StatusCode::OK, answer.as_bytes())),
        }
    }

    /// Sends a request whose answer is short: its headers and text, if the server does what it is asked.
    async fn ask<'a>(
        &self,
        action: &impl S3Action<'a>,
        what: &'static str,
        body: Bytes,
    ) -> Result<(HeaderMap, String), Error> {
        let mut taking = Taking::Answer(Vec::new());
        let (status, headers) = self.send(action, what, body, &mut taking).await?;
        if !status.is_success() {
            return Err(refused(what, status, taking.answer()));
        }
        let text = str::from_utf8(taking.answer()).map_err(|_| Error::Answer(what))?;
        Ok((headers, text.to_owned()))
    }

    /// A request, signed.
    fn signed<'a, A: S3Action<'a>>(
        &self,
        action: &A,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let now = i64::try_from(self.clock.now().0).ok();
        let now = now.and_then(|now| Timestamp::from_millisecond(now).ok());
        let now = now.ok_or_else(|| io::Error::other("the machine's clock is wrong"))?;
        let url = action.sign_with_time(SIGNED_FOR, &now);
        let host = url.host_str().ok_or(Error::Address)?;
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let target = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        let mut request =
            Request::builder().method(A::METHOD.to_str()).uri(target).header(HOST, host);
        // Some servers want it of an empty body too.
        if matches!(A::METHOD, Method::Post | Method::Put) {
            request = request.header(CONTENT_LENGTH, body.len());
        }
        request.body(Full::new(body)).map_err(|_| Error::Address)
    }

    /// Sends a request over a connection of its own.
    async fn send<'a>(
        &self,
        action: &impl S3Action<'a>,
        what: &'static str,
        body: Bytes,
        taking: &mut Taking<'_, '_>,
    ) -> Result<(StatusCode, HeaderMap), Error> {
        let request = self.signed(action, body)?;
        let connecting =
            timeout(CONNECTS_WITHIN, connect(&self.address, self.authorities.as_deref()));
        let stream = connecting.await.map_err(|_| Error::Slow(what))??;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|_| Error::Cut(what))?;
        let answering = async {
            let answer = timeout(ANSWERS_WITHIN, sender.send_request(request)).await;
            let answer = answer.map_err(|_| Error::Slow(what))?.map_err(|_| Error::Cut(what))?;
            let (parts, mut body) = answer.into_parts();
            let (began, mut received) = (Instant::now(), 0_u64);
            loop {
                let frame = timeout(GOES_ON_WITHIN, body.frame()).await;
                let Some(frame) = frame.map_err(|_| Error::Slow(what))? else { break };
                if let Ok(bytes) = frame.map_err(|_| Error::Cut(what))?.into_data() {
                    taking.take(parts.status, &bytes)?;
                    received += bytes.len() as u64;
                }
                if began.elapsed() > time_for(received) {
                    return Err(Error::Slow(what));
                }
            }
            Ok((parts.status, parts.headers))
        };
        driven(connection, answering).await
    }
}

/// Bytes of each part but the last.
const fn part_bytes(object: u64) -> u64 {
    const MIB: u64 = 1 << 20;
    let even = object.div_ceil(PARTS_MAX).div_ceil(MIB) * MIB;
    if even > PART_BYTES { even } else { PART_BYTES }
}

/// Time in which so many bytes of an answer must have come.
const fn time_for(received: u64) -> Duration {
    GOES_ON_WITHIN.saturating_add(Duration::from_secs(received / BYTES_A_SECOND_MIN))
}

/// An object that is read back, and how many bytes of it must still come. `None`: it has more.
struct ReadBack {
    hash: Context,
    left: Option<u64>,
}

impl ReadBack {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left = self.left.and_then(|left| left.checked_sub(bytes.len() as u64));
        if self.left.is_none() {
            return Err(io::Error::other("the object is longer than what was sent"));
        }
        self.hash.update(bytes);
        Ok(())
    }
}

/// Whether the same request may be answered otherwise a moment later.
fn passes(error: &Error) -> bool {
    match error {
        Error::Net(_) | Error::Cut(_) | Error::Slow(_) => true,
        Error::Refused { status, .. } => {
            status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
        }
        Error::Address
        | Error::Credentials
        | Error::Answer(_)
        | Error::Exists
        | Error::Missing
        | Error::Differs
        | Error::Stopped(_)
        | Error::Io(_) => false,
    }
}

/// What a server says when it refuses. Of its text only the code is shown: the rest is the server's own.
fn refused(what: &'static str, status: StatusCode, answer: &[u8]) -> Error {
    let text = str::from_utf8(answer).unwrap_or_default();
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let code = code.map_or("", |(code, _)| code);
    let word = code.len() <= CODE_BYTES_MAX && code.bytes().all(|b| b.is_ascii_alphanumeric());
    let code = if word && !code.is_empty() { format!(" {code}") } else { String::new() };
    Error::Refused { what, status, code }
}

#[cfg(test)]
mod tests;
