//! The server: the listener, its limits, and the services.

use std::sync::Arc;
use std::time::Duration;

use link::net::coalesce::Coalesced;
use link::net::listener::{Entrance, incoming_by};
use link::tls::CallerTls;
use terms::limits::{FRAME_BYTES_MAX, REQUEST_BYTES_MAX};
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tonic::transport::Server;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_reflection::server::{Builder, v1, v1alpha};
use wire::v1::attachments_server::AttachmentsServer;
use wire::v1::operations_server::OperationsServer;
use wire::v1::records_server::RecordsServer;
use wire::v1::region_maps_server::RegionMapsServer;
use wire::v1::subjects_server::SubjectsServer;
use wire::v1::transit_server::TransitServer;

use crate::api::attachments::AttachmentsService;
use crate::api::context::CallContext;
use crate::api::operations::OperationsService;
use crate::api::records::RecordsService;
use crate::api::region_maps::RegionMapsService;
use crate::api::subjects::SubjectsService;
use crate::api::transit::TransitService;
use crate::http::CallLayer;
use crate::http::connection::StallGuard;
use crate::http::direct::DirectLayer;
use crate::http::json::JsonLayer;
use crate::http::protocols::{HEADERS_BYTES_MAX, HttpApis, ProtocolLayer};
use crate::http::request_body::CHECK_BYTES_MAX;
use crate::method::SERVICES;

/// Bytes of an answer: a body of the largest size, and room for what goes with it.
const ANSWER_BYTES_MAX: usize = FRAME_BYTES_MAX;
/// Bytes of one message of an upload: a MiB, and what goes with it.
const UPLOAD_BYTES_MAX: usize = (1 << 20) + (64 << 10);
/// Bytes of a request to the reflection services, which are names.
const NAMES_BYTES_MAX: usize = 4 << 10;
/// Calls in flight on one connection.
const STREAMS_MAX: u32 = 256;
/// Bytes of one call that are received before they are read.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;
/// Bytes of one connection that are received before they are read.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Streams of puts on one connection that may all be stalled with their windows full.
const STALLED_STREAMS: u32 = 16;
/// Bytes that the smallest put takes on the wire.
const PUT_BYTES_MIN: u32 = 64;
// h2 closes a connection on which small DATA frames pile up unread. Its budget is half of the
// connection's window, of which a frame takes what it lacks of 256 bytes. A caller's library may
// send each put in a frame of its own, and a stream is not read while enough of it is in flight:
// so a stream's window is small enough that many streams can be stalled.
const _: () = assert!(
    STALLED_STREAMS * (STREAM_WINDOW_BYTES / PUT_BYTES_MIN) * (256 - PUT_BYTES_MIN)
        <= CONNECTION_WINDOW_BYTES / 2
);
/// Calls that a peer may reset before they are accepted ("rapid reset").
const PENDING_RESETS_MAX: usize = 32;
/// Time without a byte after which a connection is pinged.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);
/// Time in which it must answer that.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the server could not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Our own descriptors are not what reflection needs.
    #[error("the descriptors for reflection cannot be used")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The listener failed for good.
    #[error("the listener failed")]
    Listener(#[from] tonic::transport::Error),
}

/// Answers calls until `stop` is done, and then until those in flight have ended.
pub(crate) async fn serve(
    ctx: &Arc<CallContext>,
    health: HealthServer<impl Health>,
    listener: TcpListener,
    tls: Option<CallerTls>,
    apis: HttpApis,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let (reflection, reflection_old) = reflection()?;
    let records = RecordsServer::new(RecordsService(Arc::clone(ctx)))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let direct = DirectLayer::new(records.clone());
    let attachments = AttachmentsServer::new(AttachmentsService(Arc::clone(ctx)))
        .max_decoding_message_size(UPLOAD_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let subjects = SubjectsServer::new(SubjectsService(Arc::clone(ctx)))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let operations = OperationsServer::new(OperationsService(Arc::clone(ctx)))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let region_maps = RegionMapsServer::new(RegionMapsService(Arc::clone(ctx)))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let transit = TransitServer::new(TransitService(Arc::clone(ctx)))
        .max_decoding_message_size(CHECK_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let entrance = tls.map_or(Entrance::Plaintext, Entrance::Callers);
    let incoming = incoming_by(listener, entrance);
    let incoming =
        incoming.map(|connection| connection.map(|made| Coalesced::new(StallGuard::new(made))));
    Server::builder()
        // Its headers have 30 seconds, which is hyper's default, and their length is checked by
        // the outermost layer.
        .accept_http1(apis.any())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        // A request of a protocol that is not spoken gets no call id, and costs nothing.
        .layer(ProtocolLayer::new(apis, ctx.metrics.not_grpc.clone()))
        .layer(CallLayer::new(ctx))
        .layer(JsonLayer::new(ctx))
        .layer(direct)
        .add_service(health.max_decoding_message_size(CHECK_BYTES_MAX))
        .add_service(reflection)
        .add_service(reflection_old)
        .add_service(records)
        .add_service(attachments)
        .add_service(subjects)
        .add_service(operations)
        .add_service(region_maps)
        .add_service(transit)
        .serve_with_incoming_shutdown(incoming, stop)
        .await?;
    Ok(())
}

/// Reflection in both versions that clients speak, of the public services only.
fn reflection() -> Result<
    (
        v1::ServerReflectionServer<impl v1::ServerReflection>,
        v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection>,
    ),
    tonic_reflection::server::Error,
> {
    let builder = || {
        let builder = Builder::configure()
            .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
            // The details of errors, so that a caller's tools can show them.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        let names = SERVICES.into_iter().chain(["grpc.health.v1.Health"]);
        names.fold(builder, |builder, name| builder.with_service_name(name))
    };
    Ok((
        builder().build_v1()?.max_decoding_message_size(NAMES_BYTES_MAX),
        builder().build_v1alpha()?.max_decoding_message_size(NAMES_BYTES_MAX),
    ))
}
