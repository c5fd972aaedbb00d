//! The measure of what gRPC alone costs: one tonic process that answers a put at once, and one
//! that forwards each to it. No ruling, no encryption, no log, nothing on disk.

use std::pin::Pin;

use anyhow::{Context as _, Result};
use hyper_util::rt::TokioIo;
use link::net::coalesce::Coalesced;
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server, Uri};
use tonic::{Request, Response, Status, Streaming};
use wire::v1::records_client::RecordsClient;
use wire::v1::records_server::{Records, RecordsServer};
use wire::v1::{
    BatchDeleteRecordsRequest, BatchDeleteRecordsResponse, BatchGetRecordsRequest,
    BatchGetRecordsResponse, BatchPutRecordsRequest, BatchPutRecordsResponse, CountRecordsRequest,
    CountRecordsResponse, DeleteRecordRequest, DeleteRecordResponse, GetRecordRequest,
    ListRecordsRequest, ListRecordsResponse, PatchRecordRequest, PatchRecordResponse,
    PutRecordRequest, PutRecordResponse, Record, ScanRecordsRequest, ScanRecordsResponse,
    StreamPutRequest, StreamPutResponse, TouchRecordRequest, TouchRecordResponse,
    WatchRecordsRequest, WatchRecordsResponse, stream_put_request::Write,
    stream_put_response::Outcome,
};

/// Which of the pair.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where to listen.
    #[arg(long)]
    listen: std::net::SocketAddr,
    /// Where to forward to; without it, calls are answered here.
    #[arg(long)]
    to: Option<String>,
    /// Be tuned as Bailiwick's processes are on two cores: one thread, small writes together.
    #[arg(long)]
    pub(crate) tuned: bool,
}

type Client = RecordsClient<tonic::transport::Channel>;
type Answers = Pin<Box<dyn Stream<Item = Result<StreamPutResponse, Status>> + Send>>;

struct Bare {
    next: Option<Client>,
}

/// Serves until the process is killed.
pub(crate) async fn serve(options: Options) -> Result<()> {
    let next = match options.to {
        Some(url) => Some(connect(url, options.tuned).await.context("the other half is silent")?),
        None => None,
    };
    let listener = TcpListener::bind(options.listen).await?;
    // Not by `link::net::listener`: that one closes connections that do not authenticate within 30
    // seconds.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = Server::builder().add_service(RecordsServer::new(Bare { next }));
    let served = if options.tuned {
        let coalesced = incoming.map(|connection| connection.map(Coalesced::new));
        server.serve_with_incoming(coalesced).await
    } else {
        server.serve_with_incoming(incoming).await
    };
    served.context("the server failed")
}

/// Connects to the other half.
async fn connect(url: String, tuned: bool) -> Result<Client> {
    if !tuned {
        return Ok(Client::connect(url).await?);
    }
    let connector = tower::service_fn(|uri: Uri| async move {
        let authority = uri.authority().map_or("", |authority| authority.as_str()).to_owned();
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        std::io::Result::Ok(TokioIo::new(Coalesced::new(stream)))
    });
    Ok(Client::new(Endpoint::from_shared(url)?.connect_with_connector(connector).await?))
}

#[tonic::async_trait]
impl Records for Bare {
    type StreamPutStream = Answers;

    async fn put(
        &self,
        request: Request<PutRecordRequest>,
    ) -> Result<Response<PutRecordResponse>, Status> {
        match &self.next {
            Some(next) => next.clone().put(request.into_inner()).await,
            None => Ok(Response::new(PutRecordResponse::default())),
        }
    }

    async fn get(&self, _: Request<GetRecordRequest>) -> Result<Response<Record>, Status> {
        Ok(Response::new(Record::default()))
    }

    async fn list(
        &self,
        _: Request<ListRecordsRequest>,
    ) -> Result<Response<ListRecordsResponse>, Status> {
        Ok(Response::new(ListRecordsResponse::default()))
    }

    async fn count(
        &self,
        _: Request<CountRecordsRequest>,
    ) -> Result<Response<CountRecordsResponse>, Status> {
        Ok(Response::new(CountRecordsResponse::default()))
    }

    async fn delete(
        &self,
        _: Request<DeleteRecordRequest>,
    ) -> Result<Response<DeleteRecordResponse>, Status> {
        Ok(Response::new(DeleteRecordResponse::default()))
    }

    type WatchStream = tokio_stream::Empty<Result<WatchRecordsResponse, Status>>;

    async fn watch(
        &self,
        _: Request<WatchRecordsRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }

    type ScanStream = tokio_stream::Empty<Result<ScanRecordsResponse, Status>>;

    async fn scan(
        &self,
        _: Request<ScanRecordsRequest>,
    ) -> Result<Response<Self::ScanStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }

    async fn patch(
        &self,
        _: Request<PatchRecordRequest>,
    ) -> Result<Response<PatchRecordResponse>, Status> {
        Ok(Response::new(PatchRecordResponse::default()))
    }

    async fn touch(
        &self,
        _: Request<TouchRecordRequest>,
    ) -> Result<Response<TouchRecordResponse>, Status> {
        Ok(Response::new(TouchRecordResponse::default()))
    }

    async fn batch_get(
        &self,
        _: Request<BatchGetRecordsRequest>,
    ) -> Result<Response<BatchGetRecordsResponse>, Status> {
        Ok(Response::new(BatchGetRecordsResponse::default()))
    }

    async fn batch_put(
        &self,
        _: Request<BatchPutRecordsRequest>,
    ) -> Result<Response<BatchPutRecordsResponse>, Status> {
        Ok(Response::new(BatchPutRecordsResponse::default()))
    }

    async fn batch_delete(
        &self,
        _: Request<BatchDeleteRecordsRequest>,
    ) -> Result<Response<BatchDeleteRecordsResponse>, Status> {
        Ok(Response::new(BatchDeleteRecordsResponse::default()))
    }

    async fn stream_put(
        &self,
        request: Request<Streaming<StreamPutRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let puts = request.into_inner();
        if let Some(next) = &self.next {
            let answers = next.clone().stream_put(puts.filter_map(Result::ok)).await?;
            return Ok(Response::new(Box::pin(answers.into_inner())));
        }
        let mut index = 0;
        let answers = puts.map(move |put| {
            let request_id = match put?.write {
                Some(Write::Put(put)) => put.request_id,
                Some(Write::Delete(delete)) => delete.request_id,
                Some(Write::Patch(patch)) => patch.request_id,
                None => String::new(),
            };
            index += 1;
            let outcome = Some(Outcome::Done(PutRecordResponse::default()));
            Ok(StreamPutResponse { index: index - 1, request_id, outcome })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
