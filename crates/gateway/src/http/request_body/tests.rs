//! No caller keeps a permit or memory by sending slowly.

use std::future::poll_fn;

use terms::TenantId;
use terms::limits::REQUEST_BYTES_MAX;
use tokio::sync::mpsc;
use tonic_types::StatusExt as _;
use tower::{Layer as _, Service as _};

use super::*;
use crate::auth::authenticate::Callers;
use crate::http::CallLayer;
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

const BODY: Duration = Duration::from_millis(600);
const IDLE: Duration = Duration::from_millis(1_200);
const TIMES: Times = Times { body: BODY, idle: IDLE, check: Duration::from_millis(200) };
/// How long before a limit a test comes. Its clock is paused, so no machine is too slow for it.
const TURN: Duration = Duration::from_millis(300);

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

async fn call(ctx: &Arc<CallContext>, method: Method, named: Option<Duration>) -> Call {
    call_of(ctx, method, named, "sample").await
}

async fn call_of(
    ctx: &Arc<CallContext>,
    method: Method,
    named: Option<Duration>,
    tenant: &str,
) -> Call {
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut request = Request::new(Body::new(Sent(receiver)));
    let info = ctx.begin(method);
    request.extensions_mut().insert(Deadline::new(info.started, named));
    request.extensions_mut().insert(ctx.limits.admit(&TenantId::parse(tenant).unwrap()).unwrap());
    let body = bounded(request, ctx, info, TIMES).into_body();
    Call { body, sender: Some(sender) }
}

/// A message of that length, prefix included.
fn message(length: usize) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
    bytes.resize(PREFIX_BYTES + length, 7);
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_ends_at_the_deadline() {
    let ctx = rig::context();
    for (named, most) in [(None, BODY), (Some(200), BODY / 3), (Some(600_000), BODY)] {
        let start = Instant::now();
        let mut call = call(&ctx, Method::Put, named.map(Duration::from_millis)).await;
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
        assert!(took >= most && took < most + TURN, "{took:?}");
        assert!(call.next().await.is_none(), "nothing is read after the end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_complete_and_does_not_end_holds_no_permit() {
    let ctx = rig::context();
    let mut call = call(&ctx, Method::Get, None).await;
    call.send(message(20));
    assert_eq!(call.next().await, Some(Ok(25)));
    assert_eq!(call.next().await, Some(Err(Reason::DeadlinePassed)));
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_wait_between_messages_but_not_within_one() {
    let ctx = rig::context();
    let mut call = call(&ctx, Method::StreamPut, None).await;
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

#[tokio::test(start_paused = true)]
async fn a_stream_on_which_nothing_comes_ends() {
    let ctx = rig::context();
    let start = Instant::now();
    let mut call = call(&ctx, Method::StreamPut, None).await;
    call.send(message(1));
    assert!(call.next().await.unwrap().is_ok());
    assert_eq!(call.next().await, Some(Err(Reason::DeadlinePassed)));
    assert!(start.elapsed() >= IDLE);
}

#[tokio::test]
async fn all_that_comes_in_has_a_limit_and_small_calls_go_on() {
    const MOST: usize = REQUEST_BYTES_MAX;
    let map = Arc::new(rig::map_with(rig::TWO_TENANTS));
    let ctx = rig::context_with(map, Callers::Fixed(rig::caller()));
    let taken = || ctx.limits.bytes_taken();
    let mut large = call(&ctx, Method::Put, None).await;
    large.send(vec![0; MOST + FREE_BYTES]);
    assert!(large.next().await.unwrap().is_ok());
    assert_eq!(taken(), MOST);
    let mut other = call(&ctx, Method::StreamPut, None).await;
    other.send(message(FREE_BYTES * 2)[..FREE_BYTES + 1].to_vec());
    assert_eq!(other.next().await, Some(Err(Reason::TenantBusy)));
    // A tenant of several has two calls here.
    drop(other);
    // Another tenant has bytes of its own.
    let mut foreign = call_of(&ctx, Method::Put, None, "other").await;
    foreign.send(vec![0; 64 << 10]);
    assert!(foreign.next().await.unwrap().is_ok());
    drop(foreign);
    let mut small = call(&ctx, Method::Put, None).await;
    small.send(vec![0; FREE_BYTES]);
    small.sender = None;
    assert!(small.next().await.unwrap().is_ok());
    assert!(small.next().await.is_none());
    drop(large);
    assert_eq!(taken(), 0);
    // Complete messages of a stream no longer count here.
    let mut stream = call(&ctx, Method::StreamPut, None).await;
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

#[tokio::test(start_paused = true)]
async fn a_health_check_is_one_short_message_in_a_short_time() {
    let ctx = rig::context();
    let check = || {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut request = Request::new(Body::new(Sent(receiver)));
        *request.uri_mut() = "/grpc.health.v1.Health/Check".parse().unwrap();
        let body = bounded(request, &ctx, ctx.begin(Method::Other), TIMES).into_body();
        Call { body, sender: Some(sender) }
    };
    let start = Instant::now();
    let mut slow = check();
    slow.send(message(20)[..24].to_vec());
    assert_eq!(slow.next().await, Some(Ok(24)));
    assert_eq!(slow.next().await, Some(Err(Reason::DeadlinePassed)));
    assert!(start.elapsed() < BODY, "it has no more time than that");
    for (bytes, want) in [(CHECK_BYTES_MAX, true), (CHECK_BYTES_MAX + 1, false)] {
        let mut large = check();
        large.send(message(bytes));
        assert_eq!(large.next().await.unwrap().is_ok(), want, "{bytes}");
    }
    // Reflection holds nothing large either: no limit counts it.
    let (sender, receiver) = mpsc::unbounded_channel();
    let request = Request::new(Body::new(Sent(receiver)));
    let body = bounded(request, &ctx, ctx.begin(Method::Other), TIMES).into_body();
    let mut large = Call { body, sender: Some(sender) };
    large.send(message(FREE_BYTES * 2)[..FREE_BYTES + 1].to_vec());
    assert_eq!(large.next().await, Some(Err(Reason::GatewayBusy)));
}

#[tokio::test]
async fn a_unary_call_keeps_its_bytes_until_it_is_answered() {
    let ctx = rig::context();
    let never = tower::service_fn(|request: Request| {
        Box::pin(async {
            let mut body = request.into_body();
            let next = poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut body), cx));
            assert!(next.await.unwrap().is_ok());
            drop(body);
            std::future::pending::<Result<http::Response<Body>, std::convert::Infallible>>().await
        })
    });
    let (sender, receiver) = mpsc::unbounded_channel();
    sender.send(vec![0; 1 << 20].into()).unwrap();
    let mut request = Request::new(Body::new(Sent(receiver)));
    *request.uri_mut() = "/bailiwick.v1.Records/Put".parse().unwrap();
    let mut answer = CallLayer::new(&ctx).layer(never).call(request);
    poll_fn(|cx| {
        assert!(Pin::new(&mut answer).poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    assert_eq!(ctx.limits.bytes_taken(), (1 << 20) - FREE_BYTES);
    drop(answer);
    assert_eq!(ctx.limits.bytes_taken(), 0);
}
