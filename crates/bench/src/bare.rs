//! The measure of what gRPC alone costs: one tonic process that answers a put at once, and one
//! that forwards each to it. No ruling, no sealing, no log, nothing on disk.

use std::pin::Pin;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use wire::v1::records_client::RecordsClient;
use wire::v1::records_server::{Records, RecordsServer};
use wire::v1::{
    DeleteRecordRequest, DeleteRecordResponse, GetRecordRequest, PutRecordRequest,
    PutRecordResponse, Record, StreamPutResponse, TouchRecordRequest, TouchRecordResponse,
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
}

type Client = RecordsClient<tonic::transport::Channel>;
type Answers = Pin<Box<dyn Stream<Item = Result<StreamPutResponse, Status>> + Send>>;

struct Bare {
    next: Option<Client>,
}

/// Serves until the process is killed.
pub(crate) async fn serve(options: Options) -> Result<()> {
    let next = match options.to {
        Some(url) => Some(Client::connect(url).await.context("the other half does not answer")?),
        None => None,
    };
    let listener = TcpListener::bind(options.listen).await?;
    // Not by `link::net::listener`: that one closes connections that do not authenticate within 30
    // seconds.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .add_service(RecordsServer::new(Bare { next }))
        .serve_with_incoming(incoming)
        .await
        .context("the server failed")
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

    async fn delete(
        &self,
        _: Request<DeleteRecordRequest>,
    ) -> Result<Response<DeleteRecordResponse>, Status> {
        Ok(Response::new(DeleteRecordResponse::default()))
    }

    async fn touch(
        &self,
        _: Request<TouchRecordRequest>,
    ) -> Result<Response<TouchRecordResponse>, Status> {
        Ok(Response::new(TouchRecordResponse::default()))
    }

    async fn stream_put(
        &self,
        request: Request<Streaming<PutRecordRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let puts = request.into_inner();
        if let Some(next) = &self.next {
            let answers = next.clone().stream_put(puts.filter_map(Result::ok)).await?;
            return Ok(Response::new(Box::pin(answers.into_inner())));
        }
        let mut index = 0;
        let answers = puts.map(move |put| {
            let request_id = put?.request_id;
            index += 1;
            let outcome = Some(Outcome::Done(PutRecordResponse::default()));
            Ok(StreamPutResponse { index: index - 1, request_id, outcome })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
