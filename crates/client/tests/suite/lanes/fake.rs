//! A gateway that stores what it is sent and answers as it is told: honestly, or by one of the
//! tricks. And a wire before it that can be cut.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::api;
use client::api::stream_put_response::Outcome;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _, pb};
use wire::v1::records_server::{Records, RecordsServer};

use crate::follow::desk::{put_of, stored};

/// What a stream does with its requests, once it has answered the first few honestly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trick {
    /// Answers each.
    Honest,
    /// Answers in groups of so many, the last first.
    Reversed(usize),
    /// Answers one twice.
    Twice,
    /// Answers a place that was never sent.
    Stray,
    /// Answers one place with the id of another put.
    OtherId,
    /// Exchanges the answers of two places, ids and all.
    Swapped,
    /// Exchanges the contents of two answers only.
    SwappedContents,
    /// Answers with nothing in it.
    Empty,
    /// Answers a put as if it were a delete.
    Deleted,
    /// Answers nothing more until it is released.
    Held,
    /// Ends the stream by an error that is none of a gateway.
    Cut,
    /// Ends the stream without an error.
    Ended,
    /// Ends the stream by a refusal.
    Refused(Code, &'static str),
    /// Refuses each put with the reason.
    No(Code, &'static str),
}

impl Trick {
    /// Whether it takes two answers.
    pub(crate) const fn is_of_two(self) -> bool {
        matches!(self, Self::OtherId | Self::Swapped | Self::SwappedContents)
    }
}

#[derive(Default)]
struct Book {
    /// For the streams to come; after that, [`Trick::Honest`].
    tricks: Mutex<VecDeque<Trick>>,
    /// How often each put was stored: by its request id, with key and body.
    stored: Mutex<BTreeMap<String, (String, prost::bytes::Bytes, usize)>>,
    /// The tokens of the streams, in the order of their opening.
    streams: Mutex<Vec<Option<String>>>,
    /// The tokens of requests on streams, as those of their streams.
    items: Mutex<Vec<Option<String>>>,
    calls: Mutex<usize>,
    /// A put with another token is refused.
    token: Mutex<Option<String>>,
}

/// The gateway.
#[derive(Clone)]
pub(crate) struct Fake {
    book: Arc<Book>,
    held: watch::Sender<bool>,
    pub(crate) address: SocketAddr,
}

/// Requests that a stream answers honestly before its trick.
const HONEST: u64 = 3;

impl Fake {
    pub(crate) async fn start(tricks: impl IntoIterator<Item = Trick>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let book =
            Arc::new(Book { tricks: Mutex::new(tricks.into_iter().collect()), ..Book::default() });
        let fake = Self { book, held: watch::channel(true).0, address };
        let router = Server::builder().add_service(RecordsServer::new(fake.clone()));
        tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        fake
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many streams there were.
    pub(crate) fn streams(&self) -> usize {
        self.book.streams.lock().unwrap().len()
    }

    /// The tokens with which requests came on streams.
    pub(crate) fn items(&self) -> Vec<Option<String>> {
        self.book.items.lock().unwrap().clone()
    }

    /// Puts that came as calls.
    pub(crate) fn calls(&self) -> usize {
        *self.book.calls.lock().unwrap()
    }

    /// Adds a trick for a stream to come.
    pub(crate) fn add(&self, trick: Trick) {
        self.book.tricks.lock().unwrap().push_back(trick);
    }

    /// Lets streams that hold answers go on, also those that hold them for further ones: none may come.
    pub(crate) fn release(&self) {
        self.held.send_replace(false);
    }

    /// From now on, only this token is good.
    pub(crate) fn accept(&self, token: &str) {
        *self.book.token.lock().unwrap() = Some(format!("Bearer {token}"));
    }

    /// Whether it stored this put, with key and body; however often.
    pub(crate) fn has(&self, put: &api::PutRecordRequest) -> bool {
        let book = self.book.stored.lock().unwrap();
        book.get(&put.request_id).is_some_and(|(key, body, _)| *key == put.key && *body == put.body)
    }

    fn store(&self, put: &api::PutRecordRequest) -> api::PutRecordResponse {
        let mut book = self.book.stored.lock().unwrap();
        let new = || (put.key.clone(), put.body.clone(), 0);
        let (key, body, times) = book.entry(put.request_id.clone()).or_insert_with(new);
        assert!(*key == put.key && *body == put.body, "an id of one put came with another");
        *times += 1;
        stored(put)
    }

    fn check(&self, token: Option<&str>) -> Result<(), Status> {
        match &*self.book.token.lock().unwrap() {
            Some(good) if token != Some(good) => {
                Err(refusal(Code::Unauthenticated, "IDENTITY_INVALID"))
            }
            _ => Ok(()),
        }
    }

    async fn serve(
        self,
        trick: Trick,
        token: Option<String>,
        mut requests: Streaming<api::StreamPutRequest>,
        answers: mpsc::Sender<Result<api::StreamPutResponse, Status>>,
    ) {
        let (mut index, mut group) = (0, Vec::new());
        let mut held = self.held.subscribe();
        loop {
            let request = tokio::select! {
                request = requests.message() => request,
                _ = released(&mut held), if !group.is_empty() => {
                    for answer in std::mem::take(&mut group) {
                        answers.send(Ok(answer)).await.ok();
                    }
                    continue;
                }
            };
            let Ok(Some(request)) = request else { break };
            // As a gateway does: for each request, and before it is worked on.
            if let Err(status) = self.check(token.as_deref()) {
                answers.send(Err(status)).await.ok();
                return;
            }
            self.book.items.lock().unwrap().push(token.clone());
            let put = put_of(request);
            let answer = response(index, &put.request_id, Outcome::Done(self.store(&put)));
            index += 1;
            let trick = if index <= HONEST { Trick::Honest } else { trick };
            let out = match self.perform(trick, answer, &mut group) {
                Ok(out) => out,
                Err(Some(status)) => {
                    answers.send(Err(status)).await.ok();
                    return;
                }
                Err(None) => return,
            };
            for answer in out {
                if answers.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        }
        // What is held is not let go by the end of the requests.
        if trick == Trick::Held {
            tokio::select! {
                _ = released(&mut held) => {}
                () = answers.closed() => {}
            }
        }
        for answer in group {
            answers.send(Ok(answer)).await.ok();
        }
    }

    /// The answers that a trick makes of one; or what the stream ends with.
    fn perform(
        &self,
        trick: Trick,
        answer: api::StreamPutResponse,
        group: &mut Vec<api::StreamPutResponse>,
    ) -> Result<Vec<api::StreamPutResponse>, Option<Status>> {
        let size = if trick == Trick::Held {
            usize::MAX
        } else if let Trick::Reversed(size) = trick {
            size
        } else if trick.is_of_two() {
            2
        } else {
            1
        };
        group.push(answer);
        if group.len() < size {
            return Ok(Vec::new());
        }
        let mut all = std::mem::take(group);
        match (trick, &mut all[..]) {
            (Trick::Reversed(_), all) => all.reverse(),
            (Trick::Twice, [one]) => return Ok(vec![one.clone(), one.clone()]),
            (Trick::Stray, [one]) => one.index += 1_000_000,
            (Trick::OtherId, [a, b]) => std::mem::swap(&mut a.request_id, &mut b.request_id),
            (Trick::Swapped, [a, b]) => {
                std::mem::swap(&mut a.request_id, &mut b.request_id);
                std::mem::swap(&mut a.outcome, &mut b.outcome);
            }
            (Trick::SwappedContents, [a, b]) => std::mem::swap(&mut a.outcome, &mut b.outcome),
            (Trick::Empty, [one]) => one.outcome = None,
            (Trick::Deleted, [one]) => one.outcome = Some(Outcome::Deleted(Default::default())),
            (Trick::Cut, _) => return Err(Some(Status::new(Code::Internal, "cut"))),
            (Trick::Ended, _) => return Err(None),
            (Trick::Refused(code, reason), _) => return Err(Some(refusal(code, reason))),
            (Trick::No(code, reason), [one]) => {
                use prost::Message as _;
                let status = refusal(code, reason);
                let status = pb::Status::decode(status.details()).unwrap();
                one.outcome = Some(Outcome::Error(status));
            }
            _ => {}
        }
        Ok(all)
    }
}

fn response(index: u64, id: &str, outcome: Outcome) -> api::StreamPutResponse {
    api::StreamPutResponse { index, request_id: id.to_owned(), outcome: Some(outcome) }
}

/// A gateway's "no", to be retried at once where it may be.
fn refusal(code: Code, reason: &str) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, "bailiwick.v1", []);
    details.set_retry_info(Some(Duration::from_millis(1)));
    Status::with_error_details(code, "no", details)
}

async fn released(held: &mut watch::Receiver<bool>) {
    held.wait_for(|held| !held).await.expect("the gateway is there");
}

fn token_of<T>(request: &Request<T>) -> Option<String> {
    request.metadata().get("authorization").map(|token| token.to_str().unwrap().to_owned())
}

#[tonic::async_trait]
impl Records for Fake {
    type StreamPutStream = ReceiverStream<Result<api::StreamPutResponse, Status>>;

    async fn put(
        &self,
        request: Request<api::PutRecordRequest>,
    ) -> Result<Response<api::PutRecordResponse>, Status> {
        self.check(token_of(&request).as_deref())?;
        *self.book.calls.lock().unwrap() += 1;
        Ok(Response::new(self.store(request.get_ref())))
    }

    async fn get(
        &self,
        _: Request<api::GetRecordRequest>,
    ) -> Result<Response<api::Record>, Status> {
        Ok(Response::new(api::Record::default()))
    }

    async fn delete(
        &self,
        _: Request<api::DeleteRecordRequest>,
    ) -> Result<Response<api::DeleteRecordResponse>, Status> {
        Ok(Response::new(api::DeleteRecordResponse::default()))
    }

    type WatchStream = tokio_stream::Empty<Result<api::WatchRecordsResponse, Status>>;

    async fn watch(
        &self,
        _: Request<api::WatchRecordsRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }

    type ScanStream = tokio_stream::Empty<Result<api::ScanRecordsResponse, Status>>;

    async fn scan(
        &self,
        _: Request<api::ScanRecordsRequest>,
    ) -> Result<Response<Self::ScanStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }

    async fn patch(
        &self,
        _: Request<api::PatchRecordRequest>,
    ) -> Result<Response<api::PatchRecordResponse>, Status> {
        Ok(Response::new(api::PatchRecordResponse::default()))
    }

    async fn touch(
        &self,
        _: Request<api::TouchRecordRequest>,
    ) -> Result<Response<api::TouchRecordResponse>, Status> {
        Ok(Response::new(api::TouchRecordResponse::default()))
    }

    async fn list(
        &self,
        _: Request<api::ListRecordsRequest>,
    ) -> Result<Response<api::ListRecordsResponse>, Status> {
        Ok(Response::new(api::ListRecordsResponse::default()))
    }

    async fn count(
        &self,
        _: Request<api::CountRecordsRequest>,
    ) -> Result<Response<api::CountRecordsResponse>, Status> {
        Ok(Response::new(api::CountRecordsResponse::default()))
    }

    async fn batch_get(
        &self,
        _: Request<api::BatchGetRecordsRequest>,
    ) -> Result<Response<api::BatchGetRecordsResponse>, Status> {
        Ok(Response::new(api::BatchGetRecordsResponse::default()))
    }

    async fn batch_put(
        &self,
        _: Request<api::BatchPutRecordsRequest>,
    ) -> Result<Response<api::BatchPutRecordsResponse>, Status> {
        Ok(Response::new(api::BatchPutRecordsResponse::default()))
    }

    async fn batch_delete(
        &self,
        _: Request<api::BatchDeleteRecordsRequest>,
    ) -> Result<Response<api::BatchDeleteRecordsResponse>, Status> {
        Ok(Response::new(api::BatchDeleteRecordsResponse::default()))
    }

    async fn stream_put(
        &self,
        request: Request<Streaming<api::StreamPutRequest>>,
    ) -> Result<Response<Self::StreamPutStream>, Status> {
        let token = token_of(&request);
        self.check(token.as_deref())?;
        self.book.streams.lock().unwrap().push(token.clone());
        let trick = self.book.tricks.lock().unwrap().pop_front().unwrap_or(Trick::Honest);
        let (sender, receiver) = mpsc::channel(64);
        tokio::spawn(self.clone().serve(trick, token, request.into_inner(), sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// A wire to a gateway. Each cut resets every connection on it.
pub(crate) struct Wire {
    pub(crate) url: String,
    cuts: watch::Sender<u64>,
}

impl Wire {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let cuts = watch::channel(0).0;
        let all = cuts.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut cut = all.subscribe();
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(address).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.changed() => {
                            near.set_zero_linger().ok();
                            far.set_zero_linger().ok();
                        }
                    }
                });
            }
        });
        Self { url, cuts }
    }

    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}
