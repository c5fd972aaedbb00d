//! Serving: sessions, listener, health, reflection, and an orderly end.

use std::sync::Arc;
use std::time::Duration;

use link::host::supervise::supervise;
use link::net::grpc_only::GrpcOnlyLayer;
use link::net::listener::Entrance;
use terms::limits::{FRAME_BYTES_MAX, REQUEST_BYTES_MAX};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_stream::StreamExt as _;
use tonic::transport::Server;
use tonic_reflection::server::{Builder, v1, v1alpha};
use wire::v1::records_server::RecordsServer;
use wire::v1::region_maps_server::RegionMapsServer;
use wire::v1::subjects_server::SubjectsServer;

use crate::api::health::Regions;
use crate::api::{records, region_maps, subjects};
use crate::http::connection::Watched;
use crate::http::request_body::{CHECK_BYTES_MAX, IntakeLayer};
use crate::http::response_body::DeliveryLayer;
use crate::map::sync;
use crate::shards::connect;
use crate::{Error, Gateway, http};

/// Bytes of an answer: a body of the largest size, and room for what goes with it.
const ANSWER_BYTES_MAX: usize = FRAME_BYTES_MAX;
/// Bytes of a request to the reflection services, which are names.
const NAMES_BYTES_MAX: usize = 16 << 10;
/// Calls in flight on one connection.
const STREAMS_MAX: u32 = 4_096;
/// Bytes of one call that are taken before they are read.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;
/// Bytes of one connection that are taken before they are read.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Streams of puts on one connection that may all stand still with their windows full.
const STANDING_STREAMS: u32 = 16;
/// Bytes that the smallest put takes up on the wire.
const PUT_BYTES_MIN: u32 = 64;
// h2 closes a connection on which small DATA frames pile up unread. Its budget is half of the
// connection's window, of which a frame takes what it lacks of 256 bytes. A caller's library may
// send each put in a frame of its own, and a stream is not read while enough of it is in flight:
// so a stream's window is small enough that many of them can stand still.
const _: () = assert!(
    STANDING_STREAMS * (STREAM_WINDOW_BYTES / PUT_BYTES_MIN) * (256 - PUT_BYTES_MIN)
        <= CONNECTION_WINDOW_BYTES / 2
);
/// Bytes of the headers of one call.
const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// Calls that a peer may reset before we have taken them ("rapid reset").
const PENDING_RESETS_MAX: usize = 32;
/// Time without a byte after which a connection is asked whether it is still there.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);
/// Time in which it must answer that.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that calls in flight have to end once the gateway is told to.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

impl Gateway {
    /// Serves until `shutdown` is done: starts the sessions, answers calls, then says that it does
    /// not serve, takes nothing new, and lets what is in flight end, for 20 seconds at most.
    /// Sessions end after the calls.
    ///
    /// # Errors
    /// When the listener fails for good.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), Error> {
        let (reporter, grpc_health) = tonic_health::server::health_reporter();
        let regions = Arc::new(Regions::new(reporter, self.health.clone()));
        let mut sessions = self.dial(Arc::clone(&regions));
        let grpc_health = grpc_health.max_decoding_message_size(CHECK_BYTES_MAX);
        let (reflection, reflection_old) = reflection()?;
        let mut keeping = self.keep();
        let records = RecordsServer::new(records::Service(Arc::clone(&self.shared)))
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(ANSWER_BYTES_MAX);
        let subjects = SubjectsServer::new(subjects::Service(Arc::clone(&self.shared)))
            .max_decoding_message_size(REQUEST_BYTES_MAX);
        let region_maps = RegionMapsServer::new(region_maps::Service(Arc::clone(&self.shared)))
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(ANSWER_BYTES_MAX);
        let server = Server::builder()
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_max_header_list_size(HEADERS_BYTES_MAX)
            .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
            .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            // A request that is no gRPC call has no call id, and costs nothing.
            .layer(GrpcOnlyLayer::counting(self.metrics.not_grpc().clone()))
            .layer(http::layers(&self.shared.desk, &self.shared.charts))
            // What a call has taken above it keeps until its answer has gone out.
            .layer(DeliveryLayer)
            // Inside of the rest: only a call with a seat and a caller has its body read.
            .layer(IntakeLayer::new(&self.shared.desk))
            .add_service(grpc_health)
            .add_service(reflection)
            .add_service(reflection_old)
            .add_service(records)
            .add_service(subjects)
            .add_service(region_maps);
        regions.open(true).await;
        let stop = async {
            shutdown.await;
            regions.open(false).await;
            self.stop.send_replace(true);
        };
        let stopping = self.stop.subscribe();
        let entrance = self.settings.listener.clone();
        let entrance = entrance.map_or(Entrance::Plaintext, Entrance::Callers);
        let incoming = link::net::listener::incoming_by(listener, entrance);
        let incoming = incoming.map(|connection| connection.map(Watched::new));
        let ended = tokio::select! {
            served = server.serve_with_incoming_shutdown(incoming, stop) => {
                served.map_err(Error::Listener)
            }
            () = overtime(stopping) => {
                tracing::warn!("calls were still in flight at the end of the time to drain");
                Ok(())
            }
        };
        regions.open(false).await;
        sessions.shutdown().await;
        keeping.shutdown().await;
        ended
    }

    /// Starts what keeps the keys of issuers up to date.
    fn keep(&self) -> JoinSet<()> {
        let mut keeping = JoinSet::new();
        if let Some(keeper) = self.keeper.clone() {
            keeping.spawn(async move {
                let nothing = || std::future::ready(());
                supervise("issuer", || keeper.clone().keep(), nothing).await;
            });
        }
        keeping
    }

    /// Starts what keeps up the sessions with all shards, and carries maps.
    fn dial(&self, regions: Arc<Regions>) -> JoinSet<()> {
        let map = Arc::clone(self.shared.charts.pin().map());
        let outside = Arc::new(connect::Environment {
            gateway: self.settings.name.clone(),
            deployment: map.deployment().to_owned(),
            trust_domain: map.trust_domain().to_owned(),
            charts: Arc::clone(&self.shared.charts),
            tls: self.settings.tls.clone(),
            entropy: Arc::clone(&self.entropy),
            metrics: Arc::clone(&self.metrics),
            regions,
        });
        let mut sessions = JoinSet::new();
        sessions.spawn(sync::keep(outside));
        sessions
    }
}

/// Done when the time to drain is over.
async fn overtime(mut stopping: watch::Receiver<bool>) {
    // The sender outlives this future: it is held by the gateway that awaits it.
    if stopping.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
    sleep(DRAIN_TIMEOUT).await;
}

/// Reflection in both versions that clients speak, of the public services only.
fn reflection() -> Result<
    (
        v1::ServerReflectionServer<impl v1::ServerReflection>,
        v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection>,
    ),
    Error,
> {
    let builder = || {
        let names = [
            "bailiwick.v1.Records",
            "bailiwick.v1.Subjects",
            "bailiwick.v1.RegionMaps",
            "grpc.health.v1.Health",
        ];
        let builder = Builder::configure()
            .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
            // What errors carry, so that a caller's tools can show it.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        names.iter().fold(builder, |builder, name| builder.with_service_name(*name))
    };
    Ok((
        builder().build_v1().map_err(Error::Reflection)?.max_decoding_message_size(NAMES_BYTES_MAX),
        builder()
            .build_v1alpha()
            .map_err(Error::Reflection)?
            .max_decoding_message_size(NAMES_BYTES_MAX),
    ))
}
