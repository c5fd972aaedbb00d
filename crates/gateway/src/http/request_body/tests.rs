//! Whether nobody holds a seat or memory by sending slowly.

use std::future::poll_fn;

use arc_swap::ArcSwap;
use atlas::RegionMap;
use link::host::clock::{SystemClock, SystemEntropy};
use link::ops::metrics::Registry;
use terms::TenantId;
use tokio::sync::mpsc;
use tonic_types::StatusExt as _;

use super::*;
use crate::api::context::{Ids, Seats};
use crate::auth::authenticate::{Callers, Identity};
use crate::http::refusal_log::Log;
use crate::limits::{FREE_BYTES, INTAKE_BYTES_MAX, Shares, Sizes, TenantLimits};
use crate::metrics::Metrics;
use crate::tests::rig;

/// A body of what a test sends.
struct Sent(mpsc::UnboundedReceiver<Bytes>);

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.poll_recv(cx).map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Of two tenants, with so many bytes for all.
fn desk(bytes: usize) -> Arc<Desk> {
    let metrics = Arc::new(Metrics::new(&mut Registry::default()));
    let seats = Arc::new(Seats::new(8, metrics.in_flight().clone()));
    let ids = Ids::new(&SystemEntropy).unwrap();
    let two = "[[tenants]]\nname = \"other\"\n\n[[tenants]]\nname = \"sample\"\n";
    let text = rig::MAP.replace("[[tenants]]\nname = \"sample\"\n", two);
    let sizes = Sizes { intake: bytes, ..Sizes::OF_A_GATEWAY };
    let map = RegionMap::parse(&text).unwrap();
    let shares = ArcSwap::from_pointee(Shares::sized(&map, &TenantLimits::default(), 80, sizes));
    let callers = Callers::Everybody(rig::caller());
    let identity = Identity::new(callers, None, Arc::new(SystemClock));
    let log = Log::new(Arc::new(SystemClock));
    Arc::new(Desk { ids, seats, shares, identity, log, metrics })
}

const BODY: Duration = Duration::from_millis(600);
const IDLE: Duration = Duration::from_millis(1_200);
/// What a test may lose by waiting for its turn.
const TURN: Duration = Duration::from_millis(300);

fn layer(bytes: usize) -> IntakeLayer {
    IntakeLayer::with(&desk(bytes), Times { body: BODY, idle: IDLE, check: BODY / 3 })
}

/// Gives the body that the service would read, and stays under way while it is held.
#[derive(Clone)]
struct Inner;

impl Service<Request> for Inner {
    type Response = Body;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Body, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        std::future::ready(Ok(request.into_body()))
    }
}

struct Call {
    body: Body,
    sender: Option<mpsc::UnboundedSender<Bytes>>,
}

impl Call {
    fn send(&self, bytes: impl Into<Bytes>) {
        self.sender.as_ref().unwrap().send(bytes.into()).unwrap();
    }

    /// The next part of the body: its length, or the reason why there is none.
    async fn next(&mut self) -> Option<Result<usize, Reason>> {
        let next = poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut self.body), cx)).await?;
        Some(match next {
            Ok(frame) => Ok(frame.into_data().unwrap().len()),
            Err(status) => {
                let info = status.get_details_error_info().unwrap();
                Err(Reason::parse(&info.reason).unwrap())
            }
        })
    }
}

async fn call(layer: &IntakeLayer, method: Method, named: Option<Duration>) -> Call {
    call_of(layer, method, named, "sample").await
}

fn share(layer: &IntakeLayer, tenant: &str) -> Arc<Share> {
    layer.desk.shares.load().take(&TenantId::parse(tenant).unwrap()).unwrap()
}

async fn call_of(
    layer: &IntakeLayer,
    method: Method,
    named: Option<Duration>,
    tenant: &str,
) -> Call {
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut request = Request::new(Body::new(Sent(receiver)));
    let at = Instant::now();
    request.extensions_mut().insert(Entered { id: layer.desk.ids.next(), method, at });
    request.extensions_mut().insert(Deadline::new(at, named));
    request.extensions_mut().insert(share(layer, tenant));
    let body = layer.layer(Inner).call(request).await.unwrap();
    Call { body, sender: Some(sender) }
}

/// A message of that length, prefix included.
fn message(length: usize) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
    bytes.resize(PREFIX_BYTES + length, 7);
    bytes
}

#[tokio::test]
async fn a_body_that_trickles_ends_at_the_deadline() {
    let layer = layer(INTAKE_BYTES_MAX);
    for (named, most) in [(None, BODY), (Some(200), BODY / 3), (Some(600_000), BODY)] {
        let start = Instant::now();
        let mut call = call(&layer, Method::Put, named.map(Duration::from_millis)).await;
        let end = loop {
            call.send(vec![0]);
            match call.next().await.unwrap() {
                Ok(bytes) => assert_eq!(bytes, 1),
                Err(reason) => break reason,
            }
            tokio::select! {
                next = call.next() => match next.unwrap() {
                    Ok(bytes) => assert_eq!(bytes, 1),
                    Err(reason) => break reason,
                },
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
        };
        assert_eq!(end, Reason::DeadlinePassed);
        let took = start.elapsed();
        assert!(took >= most && took < most + 10 * TURN, "{took:?}");
        assert!(call.next().await.is_none(), "nothing is read after the end");
    }
}

#[tokio::test]
async fn a_body_that_is_whole_and_not_ended_does_not_hold_its_seat() {
    let layer = layer(INTAKE_BYTES_MAX);
    let mut call = call(&layer, Method::Get, None).await;
    call.send(message(20));
    assert_eq!(call.next().await, Some(Ok(25)));
    assert_eq!(call.next().await, Some(Err(Reason::DeadlinePassed)));
}

#[tokio::test]
async fn a_stream_may_wait_between_messages_but_not_within_one() {
    let layer = layer(INTAKE_BYTES_MAX);
    let mut call = call(&layer, Method::StreamPut, None).await;
    for _ in 0..3 {
        tokio::time::sleep(IDLE - TURN).await;
        // Two and a half messages, cut where it hurts: within a prefix.
        let mut bytes = [message(3), message(0), message(4)].concat();
        let rest = bytes.split_off(PREFIX_BYTES * 2 + 3 + 2);
        call.send(bytes);
        assert!(call.next().await.unwrap().is_ok());
        tokio::time::sleep(BODY - TURN).await;
        call.send(rest);
        assert!(call.next().await.unwrap().is_ok());
    }
    let start = Instant::now();
    call.send(message(100)[..50].to_vec());
    assert_eq!(call.next().await, Some(Ok(50)));
    assert_eq!(call.next().await, Some(Err(Reason::DeadlinePassed)));
    let took = start.elapsed();
    assert!(took >= BODY && took < IDLE, "{took:?}");
}

#[tokio::test]
async fn a_stream_on_which_nothing_comes_ends() {
    let layer = layer(INTAKE_BYTES_MAX);
    let start = Instant::now();
    let mut call = call(&layer, Method::StreamPut, None).await;
    call.send(message(1));
    assert!(call.next().await.unwrap().is_ok());
    assert_eq!(call.next().await, Some(Err(Reason::DeadlinePassed)));
    assert!(start.elapsed() >= IDLE);
}

#[tokio::test]
async fn all_that_is_on_its_way_in_has_a_limit_and_small_calls_go_on() {
    let layer = layer(4 << 20);
    let taken = || layer.desk.shares.load().intake_taken();
    let mut large = call(&layer, Method::Put, None).await;
    large.send(vec![0; (1 << 20) + FREE_BYTES]);
    assert!(large.next().await.unwrap().is_ok());
    assert_eq!(taken(), 1 << 20);
    let mut other = call(&layer, Method::StreamPut, None).await;
    other.send(message(FREE_BYTES * 2)[..FREE_BYTES + 1].to_vec());
    assert_eq!(other.next().await, Some(Err(Reason::TenantBusy)));
    // Another tenant has a part of its own.
    let mut foreign = call_of(&layer, Method::Put, None, "other").await;
    foreign.send(vec![0; 64 << 10]);
    assert!(foreign.next().await.unwrap().is_ok());
    drop(foreign);
    let mut small = call(&layer, Method::Put, None).await;
    small.send(vec![0; FREE_BYTES]);
    small.sender = None;
    assert!(small.next().await.unwrap().is_ok());
    assert!(small.next().await.is_none());
    drop(large);
    assert_eq!(taken(), 0);
    // Of a stream, what is complete is counted no more.
    let mut stream = call(&layer, Method::StreamPut, None).await;
    for _ in 0..4 {
        stream.send(message(1 << 19));
        assert!(stream.next().await.unwrap().is_ok());
        assert_eq!(taken(), 0);
    }
    stream.send(message(1 << 19)[..1 << 18].to_vec());
    assert!(stream.next().await.unwrap().is_ok());
    assert_eq!(taken(), (1 << 18) - FREE_BYTES);
    drop(stream);
    assert_eq!(taken(), 0);
}

#[tokio::test]
async fn a_look_at_health_is_one_short_message_in_a_short_time() {
    let layer = layer(INTAKE_BYTES_MAX);
    let look = async || {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut request = Request::new(Body::new(Sent(receiver)));
        *request.uri_mut() = "/grpc.health.v1.Health/Check".parse().unwrap();
        let id = layer.desk.ids.next();
        let entered = Entered { id, method: Method::Other, at: Instant::now() };
        request.extensions_mut().insert(entered);
        let body = layer.layer(Inner).call(request).await.unwrap();
        Call { body, sender: Some(sender) }
    };
    let start = Instant::now();
    let mut slow = look().await;
    slow.send(message(20)[..24].to_vec());
    assert_eq!(slow.next().await, Some(Ok(24)));
    assert_eq!(slow.next().await, Some(Err(Reason::DeadlinePassed)));
    assert!(start.elapsed() < BODY, "it has no more time than that");
    for (bytes, want) in [(CHECK_BYTES_MAX, true), (CHECK_BYTES_MAX + 1, false)] {
        let mut large = look().await;
        large.send(message(bytes));
        assert_eq!(large.next().await.unwrap().is_ok(), want, "{bytes}");
    }
}

#[tokio::test]
async fn a_unary_call_keeps_its_share_until_it_is_answered() {
    #[derive(Clone)]
    struct Never;
    impl Service<Request> for Never {
        type Response = ();
        type Error = std::convert::Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<(), Self::Error>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request) -> Self::Future {
            Box::pin(async {
                let mut body = request.into_body();
                let next = poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut body), cx));
                assert!(next.await.unwrap().is_ok());
                drop(body);
                std::future::pending().await
            })
        }
    }
    let layer = layer(4 << 20);
    let (sender, receiver) = mpsc::unbounded_channel();
    sender.send(vec![0; 1 << 20].into()).unwrap();
    let mut request = Request::new(Body::new(Sent(receiver)));
    let entered = Entered { id: layer.desk.ids.next(), method: Method::Put, at: Instant::now() };
    request.extensions_mut().insert(entered);
    request.extensions_mut().insert(share(&layer, "sample"));
    let mut service = layer.layer(Never);
    let mut answer = service.call(request);
    poll_fn(|cx| {
        assert!(Pin::new(&mut answer).poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    assert_eq!(layer.desk.shares.load().intake_taken(), (1 << 20) - FREE_BYTES);
    drop(answer);
    assert_eq!(layer.desk.shares.load().intake_taken(), 0);
}
