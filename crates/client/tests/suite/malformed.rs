//! Peers whose answers end with a status that cannot be decoded, at each point of each call; that
//! never end their answer; and that never begin it. The client gets an error, and goes on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use client::{Access, Client, Error, Ledger, Settings, api};
use http::{HeaderMap, HeaderValue};
use terms::{Entropy, EntropyFailed};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status, Streaming};
use wire::v1::ledger_server::{self, LedgerServer};
use wire::v1::records_server::{self, RecordsServer};
use wire::v1::region_maps_server::{self, RegionMapsServer};
use wire::v1::subjects_server::{self, SubjectsServer};

/// What a peer does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// Ends each call with this header: in the headers of an answer that has none else, and in the
    /// trailers of a stream after its first message.
    Ends(&'static str, &'static str),
    /// Sends messages for ever, where the call has several; else it is silent.
    Endless,
    Silent,
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Peer {
    fn status(self) -> Status {
        let mut headers = HeaderMap::new();
        if let Self::Ends(name, value) = self {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Status::with_metadata(Code::Unavailable, "away", MetadataMap::from_headers(headers))
    }

    async fn one<T>(self) -> Result<Response<T>, Status> {
        match self {
            Self::Ends(..) => Err(self.status()),
            Self::Endless | Self::Silent => std::future::pending().await,
        }
    }

    fn many<T: Clone + Default + Send + Sync + 'static>(
        self,
    ) -> Result<Response<Messages<T>>, Status> {
        let first = tokio_stream::once(Ok(T::default()));
        Ok(Response::new(match self {
            Self::Ends(..) => Box::pin(first.chain(tokio_stream::once(Err(self.status())))),
            Self::Endless => {
                Box::pin(tokio_stream::iter(std::iter::repeat_with(|| Ok(T::default()))))
            }
            Self::Silent => Box::pin(tokio_stream::pending()),
        }))
    }
}

macro_rules! service {
    ($of:path { $($name:ident $request:ident -> $answer:ident;)* } $($streams:tt)*) => {
        #[tonic::async_trait]
        impl $of for Peer {
            $(
                async fn $name(
                    &self,
                    _: Request<api::$request>,
                ) -> Result<Response<api::$answer>, Status> {
                    self.one().await
                }
            )*
            $($streams)*
        }
    };
}

service! {
    records_server::Records {
        put PutRecordRequest -> PutRecordResponse;
        get GetRecordRequest -> Record;
        list ListRecordsRequest -> ListRecordsResponse;
        count CountRecordsRequest -> CountRecordsResponse;
        delete DeleteRecordRequest -> DeleteRecordResponse;
        touch TouchRecordRequest -> TouchRecordResponse;
        patch PatchRecordRequest -> PatchRecordResponse;
        batch_get BatchGetRecordsRequest -> BatchGetRecordsResponse;
        batch_put BatchPutRecordsRequest -> BatchPutRecordsResponse;
        batch_delete BatchDeleteRecordsRequest -> BatchDeleteRecordsResponse;
    }

    type ScanStream = Messages<api::ScanRecordsResponse>;

    async fn scan(
        &self,
        _: Request<api::ScanRecordsRequest>,
    ) -> Result<Response<Self::ScanStream>, Status> {
        self.many()
    }

    type WatchStream = Messages<api::WatchRecordsResponse>;

    async fn watch(
        &self,
        _: Request<api::WatchRecordsRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.many()
    }

    type StreamPutStream = Messages<api::StreamPutResponse>;

    async fn stream_put(
        &self,
        _: Request<Streaming<api::StreamPutRequest>>,
    ) -> Result<Response<Self::StreamPutStream>, Status> {
        self.many()
    }
}

service! {
    subjects_server::Subjects {
        create CreateSubjectRequest -> CreateSubjectResponse;
        resolve_placement ResolvePlacementRequest -> Ruling;
        locate LocateSubjectRequest -> LocateSubjectResponse;
        reassess ReassessSubjectRequest -> ReassessSubjectResponse;
        adjudicate AdjudicateSubjectRequest -> AdjudicateSubjectResponse;
        confirm_adjudication AdjudicateSubjectRequest -> AdjudicateSubjectResponse;
        relocate RelocateSubjectRequest -> Operation;
        get GetSubjectRequest -> Subject;
        erase EraseSubjectRequest -> EraseSubjectResponse;
        rotate_key RotateSubjectKeyRequest -> RotateSubjectKeyResponse;
        block BlockSubjectRequest -> BlockSubjectResponse;
        unblock UnblockSubjectRequest -> UnblockSubjectResponse;
    }

    type ExportStream = Messages<api::ExportSubjectResponse>;

    async fn export(
        &self,
        _: Request<api::ExportSubjectRequest>,
    ) -> Result<Response<Self::ExportStream>, Status> {
        self.many()
    }
}

service! {
    region_maps_server::RegionMaps {
        get GetRegionMapRequest -> SignedRegionMap;
        check CheckRegionMapRequest -> CheckRegionMapResponse;
        plan PlanRegionMapRequest -> PlanRegionMapResponse;
        apply ApplyRegionMapRequest -> ApplyRegionMapResponse;
        status RegionMapStatusRequest -> RegionMapStatus;
        history RegionMapHistoryRequest -> RegionMapHistory;
    }
}

service! {
    ledger_server::Ledger {
        checkpoint LedgerCheckpointRequest -> LedgerCheckpoint;
        proof LedgerProofRequest -> LedgerProof;
        consistency LedgerConsistencyRequest -> LedgerConsistency;
        reconcile LedgerReconcileRequest -> LedgerReconcile;
    }

    type EntriesStream = Messages<api::LedgerEntries>;

    async fn entries(
        &self,
        _: Request<api::LedgerEntriesRequest>,
    ) -> Result<Response<Self::EntriesStream>, Status> {
        self.many()
    }

    type TailStream = Messages<api::LedgerTail>;

    async fn tail(
        &self,
        _: Request<api::LedgerTailRequest>,
    ) -> Result<Response<Self::TailStream>, Status> {
        self.many()
    }
}

/// The address of a server that does so.
async fn start(peer: Peer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let router = Server::builder()
        .add_service(RecordsServer::new(peer))
        .add_service(SubjectsServer::new(peer))
        .add_service(RegionMapsServer::new(peer))
        .add_service(LedgerServer::new(peer));
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    format!("http://{address}")
}

fn client(url: &str, deadline: Duration, attempts_max: u32) -> Client {
    Client::lazy(url, Settings { deadline, attempts_max, ..Settings::DEFAULT }).unwrap()
}

/// What every call of a client and of an auditor ends with.
async fn all(url: &str) -> Vec<(&'static str, Option<Error>)> {
    let client = client(url, Duration::from_secs(20), 1);
    let ledger = Ledger::lazy(url, &Access::default()).unwrap();
    let mut ends = vec![
        ("put", client.put(&Default::default()).await.err()),
        ("get", client.get(&Default::default()).await.err()),
        ("delete", client.delete(&Default::default()).await.err()),
        ("batch_get", client.batch_get(&[]).await.err()),
        ("batch_put", client.batch_put(&[]).await.err()),
        ("batch_delete", client.batch_delete(&[]).await.err()),
        ("create", client.create_subject(&Default::default()).await.err()),
        ("resolve", client.resolve(&Default::default()).await.err()),
        ("subject", client.subject(&Default::default()).await.err()),
        ("locate_subject", client.locate_subject(&Default::default()).await.err()),
        ("erase_subject", client.erase_subject(&Default::default()).await.err()),
        ("rotate_subject_key", client.rotate_subject_key(&Default::default()).await.err()),
        ("block_subject", client.block_subject(&Default::default()).await.err()),
        ("unblock_subject", client.unblock_subject(&Default::default()).await.err()),
        ("map", client.map(&Default::default()).await.err()),
        ("map_status", client.map_status(&Default::default()).await.err()),
        ("checkpoint", ledger.checkpoint("").await.err()),
        ("proof", ledger.proof("", 0).await.err()),
        ("consistency", ledger.consistency("", 0, 0).await.err()),
        ("reconcile", ledger.reconcile(Default::default()).await.err()),
    ];
    let mut entries = ledger.entries("", 0..1, None).await.unwrap();
    assert!(entries.next().await.unwrap().is_some());
    ends.push(("entries", entries.next().await.err()));
    let mut tail = ledger.tail(0).await.unwrap();
    assert!(tail.next().await.unwrap().is_some());
    ends.push(("tail", tail.next().await.err()));
    let (puts, mut answers) = client.stream_put(8).await.unwrap();
    // The peer may have ended the stream already.
    puts.send(api::PutRecordRequest::default()).await.ok();
    // An answer that says nothing comes first.
    drop(answers.next().await);
    ends.push(("stream_put", answers.next().await.err()));
    ends
}

#[tokio::test]
async fn a_status_that_cannot_be_decoded_is_an_error_of_every_call() {
    for value in ["%%%", "a", "===="] {
        let url = start(Peer::Ends("grpc-status-details-bin", value)).await;
        for (call, end) in Box::pin(all(&url)).await {
            assert!(matches!(end, Some(Error::MalformedStatus)), "{value}: {call}: {end:?}");
        }
    }
}

#[tokio::test]
async fn other_odd_trailers_are_errors_too() {
    for (name, value) in [
        // Base64, and no message.
        ("grpc-status-details-bin", "////"),
        ("grpc-encoding", "br"),
        ("x-odd-bin", "%%%"),
        ("grpc-retry-pushback-ms", "18446744073709551616"),
        ("content-encoding", "gzip"),
    ] {
        let url = start(Peer::Ends(name, value)).await;
        for (call, end) in Box::pin(all(&url)).await {
            assert!(end.is_some_and(|e| !matches!(e, Error::MalformedStatus)), "{name}: {call}");
        }
    }
}

#[tokio::test]
async fn a_deadline_that_passes_is_said_to_be_one() {
    let url = start(Peer::Silent).await;
    let client = client(&url, Duration::from_millis(150), 5);
    for _ in 0..10 {
        let end = client.get(&Default::default()).await.err();
        assert!(matches!(end, Some(Error::TimedOut)), "{end:?}");
        let end = client.put(&Default::default()).await.err();
        assert!(matches!(end, Some(Error::TimedOut)), "{end:?}");
    }
}

#[tokio::test]
async fn a_stream_that_never_ends_is_read_or_cut_and_never_piles_up() {
    let url = start(Peer::Endless).await;
    // HTTP/2 closes a connection on which too many small frames lie unread: an error, no more.
    let cut = |end: &Error| matches!(end, Error::NotBailiwick(_) | Error::Broken);
    let mut entries =
        Ledger::lazy(&url, &Access::default()).unwrap().entries("", 0..1, None).await.unwrap();
    let mut tail = Ledger::lazy(&url, &Access::default()).unwrap().tail(0).await.unwrap();
    for n in 0..20_000 {
        match entries.next().await {
            Ok(one) => assert!(one.is_some()),
            Err(end) => {
                assert!(n > 0 && cut(&end), "{n}: {end:?}");
                break;
            }
        }
    }
    for n in 0..20_000 {
        match tail.next().await {
            Ok(one) => assert!(one.is_some()),
            Err(end) => {
                assert!(n > 0 && cut(&end), "{n}: {end:?}");
                break;
            }
        }
    }
    // Nobody has asked for any of these.
    let client = client(&url, Duration::from_secs(20), 1);
    let (_puts, mut answers) = client.stream_put(8).await.unwrap();
    assert!(matches!(answers.next().await, Err(Error::Unproven(_))));
}

#[tokio::test]
async fn no_more_is_sent_on_a_stream_than_a_gateway_works_on_at_once() {
    let url = start(Peer::Silent).await;
    let client = client(&url, Duration::from_secs(20), 1);
    let (puts, answers) = client.stream_put(usize::from(u16::MAX)).await.unwrap();
    for _ in 0..terms::limits::STREAM_IN_FLIGHT_MAX {
        puts.send(api::PutRecordRequest::default()).await.unwrap();
    }
    let one_more = puts.send(api::PutRecordRequest::default());
    assert!(tokio::time::timeout(Duration::from_millis(200), one_more).await.is_err());
    // Whoever waits for room is told when the stream ends.
    let one_more = puts.send(api::PutRecordRequest::default());
    let (end, ()) = tokio::join!(one_more, async { drop(answers) });
    assert_eq!(end, Err(client::NotSent::Ended));
}

/// Counts how often it is asked.
#[derive(Default)]
struct Counting(AtomicU32);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyFailed> {
        self.0.fetch_add(1, Ordering::Relaxed);
        buffer.fill(0);
        Ok(())
    }
}

#[tokio::test]
async fn every_wait_between_two_attempts_is_drawn() {
    let url = start(Peer::Ends("x-nothing", "odd")).await;
    let entropy = Arc::new(Counting::default());
    let client = client(&url, Duration::from_secs(60), 4).with_entropy(entropy.clone());
    assert!(matches!(client.get(&Default::default()).await, Err(Error::Broken)));
    assert_eq!(entropy.0.load(Ordering::Relaxed), 3);
}
