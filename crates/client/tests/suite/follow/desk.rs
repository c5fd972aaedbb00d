//! A gateway of a few lines, over TLS or plaintext: it notes what it is asked and answers by a
//! script. It keeps nothing.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{Access, Client, Ingress, Settings, Tls, api};
use ledger::entry::{Entry, Kind};
use ledger::statement::{Statement, commitment, content_digest};
use prost::Message as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _, pb};
use wire::v1::attachments_server::AttachmentsServer;
use wire::v1::records_server::{Records, RecordsServer};
use wire::v1::subjects_server::{Subjects, SubjectsServer};
use wire::v1::transit_server::TransitServer;

/// What a desk says to one call.
pub(crate) enum Say {
    /// The write is done, or the record is there.
    Done,
    /// The same, and a liar changes the answer before it leaves.
    Forged(fn(&mut api::PutRecordResponse)),
    /// An answer to a request of a stream that was never sent.
    Stray,
    /// Not now, but after so many seconds and nanoseconds.
    Wait(i64, i32),
    /// A refusal: code, reason, metadata, in which `field` is the field at fault.
    No(Code, &'static str, Vec<(&'static str, String)>),
    /// A placement: region, ingress, and whether it is required.
    Placed(&'static str, String, bool),
    /// No placement.
    NotPlaced(&'static str),
    /// A region's transit key: its note.
    Key(String),
}

/// What a desk was asked: the call, its request id and body, and the token that came along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) call: &'static str,
    pub(crate) request_id: String,
    pub(crate) body: usize,
    pub(crate) token: Option<String>,
}

#[derive(Default)]
struct Book {
    script: Mutex<VecDeque<Say>>,
    asked: Mutex<Vec<Asked>>,
}

/// A gateway that runs until the test ends.
#[derive(Clone)]
pub(crate) struct Desk {
    book: Arc<Book>,
    pub(crate) url: String,
}

/// An authority, and what it has signed: a chain and a key for this machine.
pub(crate) struct Authority {
    pub(crate) pem: String,
    chain: String,
    key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let own = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
        Self { pem: ca.pem(), chain: own.pem(), key: key.serialize_pem() }
    }
}

impl Desk {
    pub(crate) async fn start(authority: Option<&Authority>, script: Vec<Say>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let book = Arc::new(Book { script: Mutex::new(script.into()), ..Book::default() });
        let scheme = if authority.is_some() { "https" } else { "http" };
        let desk = Self { book, url: format!("{scheme}://{address}") };
        let mut server = Server::builder();
        if let Some(authority) = authority {
            let identity = Identity::from_pem(&authority.chain, &authority.key);
            server = server.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
        }
        let router = server
            .add_service(RecordsServer::new(desk.clone()))
            .add_service(SubjectsServer::new(desk.clone()))
            .add_service(AttachmentsServer::new(desk.clone()))
            .add_service(TransitServer::new(desk.clone()));
        tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        desk
    }

    /// Adds a line to the script.
    pub(crate) fn say(&self, say: Say) {
        self.book.script.lock().unwrap().push_back(say);
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.book.asked.lock().unwrap().clone()
    }

    /// The same, by the names of the calls.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.asked().iter().map(|asked| asked.call).collect()
    }

    /// The answer to one request of a stream.
    fn item(&self, index: u64, put: api::PutRecordRequest) -> api::StreamPutResponse {
        use api::stream_put_response::Outcome;
        let request = Request::new(());
        let said = self.note("item", &request, &put.request_id, put.body.len());
        let mut answer = stored(&put);
        let index = if matches!(said, Ok(Say::Stray)) { index + 1_000 } else { index };
        let outcome = match said {
            Err(status) => Outcome::Error(pb::Status::decode(status.details()).unwrap()),
            Ok(Say::Forged(change)) => {
                change(&mut answer);
                Outcome::Done(answer)
            }
            Ok(_) => Outcome::Done(answer),
        };
        api::StreamPutResponse { index, request_id: put.request_id, outcome: Some(outcome) }
    }

    /// Notes a call. A script that has ended says so, as a gateway that fails would.
    pub(crate) fn note<M>(
        &self,
        call: &'static str,
        request: &Request<M>,
        id: &str,
        body: usize,
    ) -> Result<Say, Status> {
        let token = request.metadata().get("authorization");
        let token = token.map(|token| token.to_str().unwrap().to_owned());
        let asked = Asked { call, request_id: id.to_owned(), body, token };
        self.book.asked.lock().unwrap().push(asked);
        let next = self.book.script.lock().unwrap().pop_front();
        match next.expect("the script has an answer for every call") {
            Say::No(code, reason, metadata) => {
                let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value));
                let mut metadata: HashMap<String, String> = metadata.collect();
                let mut details = ErrorDetails::new();
                if let Some(field) = metadata.remove("field") {
                    details.add_bad_request_violation(field, "no");
                }
                details.set_error_info(reason, "bailiwick.v1", metadata);
                Err(Status::with_error_details(code, "no", details))
            }
            Say::Wait(seconds, nanos) => Err(wait(seconds, nanos)),
            say @ (Say::Done
            | Say::Forged(_)
            | Say::Stray
            | Say::Placed(..)
            | Say::NotPlaced(_)
            | Say::Key(_)) => Ok(say),
        }
    }
}

/// UNAVAILABLE, with a delay as it stands on the wire: `RetryInfo` itself would correct it.
fn wait(seconds: i64, nanos: i32) -> Status {
    let mut info = pb::RetryInfo::default();
    let delay = info.retry_delay.get_or_insert_default();
    (delay.seconds, delay.nanos) = (seconds, nanos);
    let ours = ErrorDetails::with_error_info("SHARD_BUSY", "bailiwick.v1", HashMap::new());
    let ours = Status::with_error_details(Code::Unavailable, "no", ours);
    let mut status = pb::Status::decode(ours.details()).unwrap();
    status.details.push(Default::default());
    let any = status.details.last_mut().unwrap();
    any.type_url.push_str("type.googleapis.com/google.rpc.RetryInfo");
    any.value = info.encode_to_vec();
    Status::with_details(Code::Unavailable, "no", status.encode_to_vec().into())
}

/// A put of a body of ten bytes, with evidence if it is asked for.
pub(crate) fn put(evidence: bool) -> api::PutRecordRequest {
    let findings =
        [api::Finding { kind: api::EvidenceKind::Residence.into(), country: "RU".to_owned() }];
    api::PutRecordRequest {
        subject: Some(api::SubjectRef { id: "p-1".to_owned(), domicile: "ru-msk".to_owned() }),
        collection: "profiles".to_owned(),
        key: "main".to_owned(),
        body: "0123456789".into(),
        request_id: "7f5cd1b8-3f6a-4b62-9d1f-0c5f8a1f5a11".to_owned(),
        findings: if evidence { findings.to_vec() } else { Vec::new() },
        ..Default::default()
    }
}

/// A client of `desk`.
pub(crate) fn client(desk: &Desk, access: Access) -> Client {
    let settings =
        Settings { deadline: Duration::from_secs(10), attempts_max: 4, ..Settings::DEFAULT };
    Client::lazy_with(&desk.url, settings, access).unwrap()
}

/// Access for those who trust an authority, with `desks` as ingresses of ru-msk.
pub(crate) fn access(authority: &Authority, listed: &[&Desk]) -> Access {
    let ingress = |desk: &&Desk| Ingress {
        region: "ru-msk".to_owned(),
        url: desk.url.clone(),
        authorities: None,
    };
    Access {
        tls: Tls::trusting(authority.pem.as_str()).unwrap(),
        ingresses: listed.iter().map(ingress).collect(),
        ..Default::default()
    }
}

/// The put of a stream's request.
pub(crate) fn put_of(request: api::StreamPutRequest) -> api::PutRecordRequest {
    match request.write.expect("a write") {
        api::stream_put_request::Write::Put(put) => put,
        api::stream_put_request::Write::Delete(_) => panic!("a delete"),
        api::stream_put_request::Write::Patch(_) => panic!("a patch"),
    }
}

/// The answer of an honest shard.
pub(crate) fn stored(request: &api::PutRecordRequest) -> api::PutRecordResponse {
    let opening = [7; 32];
    let statement = Statement {
        tenant: "sample",
        subject: &request.subject.as_ref().unwrap().id,
        collection: &request.collection,
        key: &request.key,
        version: 1,
        digest: content_digest(&opening, &request.body),
    }
    .encode();
    let mut entry = Entry::new(Kind::Place, 1);
    entry.collection = Some(request.collection.clone());
    entry.commitment = Some(commitment(&opening, &statement));
    let receipt = api::Receipt {
        origin: "sample/ru-msk/s1/1".to_owned(),
        index: 4,
        entry: entry.encode().unwrap().into(),
        opening: opening.to_vec().into(),
        statement: statement.into(),
        tlog_proof: String::new(),
    };
    let subject = request.subject.clone();
    let subject = subject.map(|s| api::SubjectRef { domicile: "ru-msk".to_owned(), ..s });
    api::PutRecordResponse { subject, version: 1, receipt: Some(receipt), ..Default::default() }
}

#[tonic::async_trait]
impl Records for Desk {
    type StreamPutStream = ReceiverStream<Result<api::StreamPutResponse, Status>>;

    async fn put(
        &self,
        request: Request<api::PutRecordRequest>,
    ) -> Result<Response<api::PutRecordResponse>, Status> {
        let put = request.get_ref();
        let say = self.note("put", &request, &put.request_id, put.body.len())?;
        let mut answer = stored(put);
        if let Say::Forged(change) = say {
            change(&mut answer);
        }
        Ok(Response::new(answer))
    }

    async fn get(
        &self,
        request: Request<api::GetRecordRequest>,
    ) -> Result<Response<api::Record>, Status> {
        self.note("get", &request, "", 0)?;
        Ok(Response::new(api::Record { body: "found".into(), ..Default::default() }))
    }

    async fn list(
        &self,
        request: Request<api::ListRecordsRequest>,
    ) -> Result<Response<api::ListRecordsResponse>, Status> {
        self.note("list", &request, "", 0)?;
        Ok(Response::new(api::ListRecordsResponse::default()))
    }

    async fn count(
        &self,
        request: Request<api::CountRecordsRequest>,
    ) -> Result<Response<api::CountRecordsResponse>, Status> {
        self.note("count", &request, "", 0)?;
        Ok(Response::new(api::CountRecordsResponse::default()))
    }

    async fn delete(
        &self,
        request: Request<api::DeleteRecordRequest>,
    ) -> Result<Response<api::DeleteRecordResponse>, Status> {
        self.note("delete", &request, &request.get_ref().request_id, 0)?;
        Ok(Response::new(api::DeleteRecordResponse::default()))
    }

    async fn touch(
        &self,
        request: Request<api::TouchRecordRequest>,
    ) -> Result<Response<api::TouchRecordResponse>, Status> {
        self.note("touch", &request, &request.get_ref().request_id, 0)?;
        Ok(Response::new(api::TouchRecordResponse::default()))
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
        request: Request<api::PatchRecordRequest>,
    ) -> Result<Response<api::PatchRecordResponse>, Status> {
        let bytes = request.get_ref().body.as_ref().map_or(0, |body| body.len());
        self.note("patch", &request, &request.get_ref().request_id, bytes)?;
        Ok(Response::new(api::PatchRecordResponse::default()))
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
        self.note("stream_put", &request, "", 0)?;
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let (desk, mut requests) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            let mut index = 0;
            while let Ok(Some(request)) = requests.message().await {
                let put = put_of(request);
                if sender.send(Ok(desk.item(index, put))).await.is_err() {
                    return;
                }
                index += 1;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

#[tonic::async_trait]
impl Subjects for Desk {
    async fn create(
        &self,
        request: Request<api::CreateSubjectRequest>,
    ) -> Result<Response<api::CreateSubjectResponse>, Status> {
        self.note("create", &request, &request.get_ref().request_id, 0)?;
        Ok(Response::new(api::CreateSubjectResponse::default()))
    }

    async fn resolve_placement(
        &self,
        request: Request<api::ResolvePlacementRequest>,
    ) -> Result<Response<api::Ruling>, Status> {
        let outcome = match self.note("resolve", &request, "", 0)? {
            Say::Placed(region, ingress, ingress_required) => {
                let region = region.to_owned();
                let placement =
                    api::Placement { region, ingress, ingress_required, ..Default::default() };
                Some(api::ruling::Outcome::Placement(placement))
            }
            Say::NotPlaced(reason) => Some(api::ruling::Outcome::Refusal(api::Refusal {
                reason: reason.to_owned(),
                conflicting: vec!["RU".to_owned(), "EEA".to_owned()],
                cure: "look again".to_owned(),
            })),
            Say::Done | Say::Forged(_) | Say::Stray | Say::Key(_) | Say::Wait(..) | Say::No(..) => {
                None
            }
        };
        Ok(Response::new(api::Ruling { outcome, ..Default::default() }))
    }

    async fn get(
        &self,
        _: Request<api::GetSubjectRequest>,
    ) -> Result<Response<api::Subject>, Status> {
        Err(Status::unimplemented("no test asks"))
    }

    async fn locate(
        &self,
        _: Request<api::LocateSubjectRequest>,
    ) -> Result<Response<api::LocateSubjectResponse>, Status> {
        Err(Status::unimplemented("no test asks"))
    }

    async fn reassess(
        &self,
        _: Request<api::ReassessSubjectRequest>,
    ) -> Result<Response<api::ReassessSubjectResponse>, Status> {
        Err(Status::unimplemented("no test asks"))
    }

    async fn adjudicate(
        &self,
        _: Request<api::AdjudicateSubjectRequest>,
    ) -> Result<Response<api::AdjudicateSubjectResponse>, Status> {
        Err(Status::unimplemented("no test asks"))
    }

    async fn confirm_adjudication(
        &self,
        _: Request<api::AdjudicateSubjectRequest>,
    ) -> Result<Response<api::AdjudicateSubjectResponse>, Status> {
        Err(Status::unimplemented("no test asks"))
    }

    async fn relocate(
        &self,
        _: Request<api::RelocateSubjectRequest>,
    ) -> Result<Response<api::Operation>, Status> {
        Err(Status::unimplemented("no test asks"))
    }

    type ExportStream = tokio_stream::Empty<Result<api::ExportSubjectResponse, Status>>;

    async fn export(
        &self,
        request: Request<api::ExportSubjectRequest>,
    ) -> Result<Response<Self::ExportStream>, Status> {
        self.note("export", &request, "", 0)?;
        Err(Status::unimplemented("no test asks"))
    }

    async fn erase(
        &self,
        _: Request<api::EraseSubjectRequest>,
    ) -> Result<Response<api::EraseSubjectResponse>, Status> {
        Err(Status::unimplemented("no test asks"))
    }

    async fn rotate_key(
        &self,
        _: Request<api::RotateSubjectKeyRequest>,
    ) -> Result<Response<api::RotateSubjectKeyResponse>, Status> {
        Err(Status::unimplemented("no test asks"))
    }

    async fn block(
        &self,
        _: Request<api::BlockSubjectRequest>,
    ) -> Result<Response<api::BlockSubjectResponse>, Status> {
        Err(Status::unimplemented("no test asks"))
    }

    async fn unblock(
        &self,
        _: Request<api::UnblockSubjectRequest>,
    ) -> Result<Response<api::UnblockSubjectResponse>, Status> {
        Err(Status::unimplemented("no test asks"))
    }
}
