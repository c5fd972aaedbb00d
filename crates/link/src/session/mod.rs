//! The session between a gateway and a shard, or between two shards: the settings of both ends, frames,
//! and rejections.

mod dial;
mod fault;
mod frames;
mod locate;

use std::time::Duration;

use terms::limits::{FRAME_BYTES_MAX, FRAME_CALLS_MAX};
use tonic::transport::{Endpoint, Server};
use tower::layer::util::{Identity, Stack};

use crate::net::grpc_only::GrpcOnlyLayer;
use crate::ops::metrics::Counter;

pub use dial::{DialError, Dialled, dial};
pub use fault::{from_wire, to_wire};
pub use frames::{Frames, FromShard, Part};
pub use locate::{LOCATE_BYTES, LocateKey, Question};

/// The version of the protocol. Both ends refuse another.
pub const PROTOCOL: u32 = 1;
/// Bytes of one message on a session, for both directions of both ends.
pub const MESSAGE_BYTES_MAX: usize = FRAME_BYTES_MAX;
/// Bytes that one end may send on a session before the other has read them.
const WINDOW_BYTES: u32 = 4 << 20;
/// Bytes of one HTTP/2 frame: a full session frame needs few of them.
const HTTP2_FRAME_BYTES: u32 = 128 << 10;
/// Time without a byte after which one end asks whether the other is still there.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
/// Time in which the other end must answer that.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time in which a connection must come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
// h2 closes a connection on which small DATA frames pile up unread, by a budget of half the
// connection's window, of which each takes at most 256 bytes. No more frames are unread than calls
// are in flight, so it is never used up, however slowly either end reads.
const _: () = assert!(terms::limits::SESSION_IN_FLIGHT_MAX * 256 <= WINDOW_BYTES as usize);
// What is counted before a frame is decoded is what frames are made to.
const _: () = assert!(wire::bounded::FRAME_PARTS_MAX == FRAME_CALLS_MAX);
/// Streams of one connection to a shard: its session, and what comes while another one ends. Each
/// may hold one message that lacks its end.
const STREAMS_MAX: u32 = 2;

/// The settings of a gateway's end.
pub fn endpoint(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(2 * WINDOW_BYTES)
        .max_frame_size(HTTP2_FRAME_BYTES)
        .http2_keep_alive_interval(KEEPALIVE_EVERY)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
}

/// The settings of a shard's end. It serves gRPC and nothing else.
pub fn server(server: Server, not_grpc: Counter) -> Server<Stack<GrpcOnlyLayer, Identity>> {
    server
        .layer(GrpcOnlyLayer::counting(not_grpc))
        .tcp_nodelay(true)
        .max_concurrent_streams(Some(STREAMS_MAX))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(2 * WINDOW_BYTES)
        .max_frame_size(HTTP2_FRAME_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}
