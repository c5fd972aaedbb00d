//! Whether an answer holds what it takes until it is taken, and no longer than it may.

use std::convert::Infallible;
use std::future::poll_fn;

use link::ops::metrics::{Gauge, Registry};
use tokio::sync::mpsc;

use super::*;
use crate::api::context::Seats;
use crate::limits::{Shares, Sizes, TenantLimits};
use crate::metrics::Metrics;
use crate::tests::rig;

/// A message that knows when nobody has it any more.
struct Large {
    bytes: Vec<u8>,
    _had: Arc<()>,
}

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body of what a test makes an answer of.
struct Made(mpsc::UnboundedReceiver<Bytes>);

impl http_body::Body for Made {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.poll_recv(cx).map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
    }
}

struct Rig {
    line: Arc<Line>,
    shares: Shares,
    seats: Arc<Seats>,
    in_flight: Gauge,
}

struct Answer {
    body: Body,
    sender: Option<mpsc::UnboundedSender<Bytes>>,
}

impl Rig {
    fn new() -> Self {
        let metrics = Metrics::new(&mut Registry::default());
        let in_flight = metrics.in_flight().clone();
        let sizes = Sizes { outgoing: 1 << 20, ..Sizes::OF_A_GATEWAY };
        let shares = Shares::sized(&rig::map(), &TenantLimits::default(), 100, sizes);
        let seats = Arc::new(Seats::new(100, in_flight.clone()));
        Self { line: Arc::default(), shares, seats, in_flight }
    }

    /// A call that holds a seat, a share, and all the room for answers if it is `large`.
    async fn call(&self, large: bool) -> Answer {
        let (sender, made) = mpsc::unbounded_channel();
        let share = self.shares.take(&rig::caller().tenant).unwrap();
        let kept = share.keep(if large { 1 << 20 } else { 0 }).unwrap();
        let mut answer = Some(http::Response::new(Body::new(Made(made))));
        answer.as_mut().unwrap().extensions_mut().insert(Arc::new(kept));
        let inner = tower::service_fn(move |_: Request| {
            std::future::ready(Ok::<_, Infallible>(answer.take().unwrap()))
        });
        let mut request = Request::new(Body::empty());
        let beside = request.extensions_mut();
        beside.insert(Arc::new(self.seats.take().unwrap()));
        beside.insert(share);
        beside.insert(Arc::clone(&self.line));
        let body = DeliveryLayer.layer(inner).call(request).await.unwrap().into_body();
        Answer { body, sender: Some(sender) }
    }

    fn ticks(&self, number: u32) {
        (0..number).for_each(|_| self.line.tick());
    }

    /// Seats taken, and whether there is room for another large answer.
    fn held(&self) -> (i64, bool) {
        let share = self.shares.take(&rig::caller().tenant).unwrap();
        (self.in_flight.get(), share.keep(1 << 20).is_ok())
    }
}

impl Answer {
    fn send(&self, bytes: impl Into<Bytes>) {
        self.sender.as_ref().unwrap().send(bytes.into()).unwrap();
    }

    /// What HTTP/2 would read next, and keep until it is sent.
    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        let next = poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut self.body), cx)).await?;
        Some(next.map(|frame| frame.into_data().unwrap()))
    }
}

#[tokio::test]
async fn an_answer_holds_what_it_takes_until_its_last_part_is_gone() {
    let rig = Rig::new();
    let mut answer = rig.call(true).await;
    let sent: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
    let message = Arc::new(());
    answer.send(Bytes::from_owner(Large { bytes: sent.clone(), _had: Arc::clone(&message) }));
    answer.sender = None;
    let (mut parts, mut read) = (Vec::new(), Vec::new());
    while let Some(part) = answer.next().await {
        let part = part.unwrap();
        assert!(part.len() <= PART_BYTES_MAX);
        read.extend_from_slice(&part);
        parts.push(part);
    }
    assert!(read == sent, "an answer that was changed");
    assert!(parts.len() > 10);
    assert_eq!(rig.held(), (1, false));
    // HTTP/2 reads no more of it, and has parts that it could not send yet.
    drop(answer);
    let last = parts.pop().unwrap();
    drop(parts);
    assert_eq!(rig.held(), (1, false));
    assert_eq!(Arc::strong_count(&message), 1, "a part keeps the whole");
    drop(last);
    assert_eq!(rig.held(), (0, true));
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up() {
    let rig = Rig::new();
    let mut answer = rig.call(true).await;
    let message = Arc::new(());
    answer.send(Bytes::from_owner(Large { bytes: vec![7; 1 << 20], _had: Arc::clone(&message) }));
    let part = answer.next().await.unwrap().unwrap();
    rig.ticks(UNREAD_TICKS_MAX);
    assert_eq!(rig.held(), (1, false));
    // One is read in time, so there is time for the next.
    drop(part);
    let part = answer.next().await.unwrap().unwrap();
    rig.ticks(UNREAD_TICKS_MAX);
    assert_eq!((rig.held(), Arc::strong_count(&message)), ((1, false), 2));
    rig.ticks(1);
    assert_eq!(rig.held(), (0, true));
    assert_eq!(Arc::strong_count(&message), 1, "the part that is kept keeps the whole");
    assert!(answer.sender.as_ref().unwrap().is_closed(), "somebody works on it still");
    // Whoever reads on sees a call that is cut off.
    drop(part);
    assert!(!http_body::Body::is_end_stream(&answer.body));
    assert_eq!(answer.next().await.unwrap().unwrap_err().code(), tonic::Code::Cancelled);
    assert!(!rig.line.is_closed());
}

#[tokio::test]
async fn a_stream_with_nothing_to_say_is_not_given_up() {
    let rig = Rig::new();
    let mut answer = rig.call(false).await;
    rig.ticks(UNREAD_TICKS_MAX * 3);
    answer.send(vec![1]);
    drop(answer.next().await.unwrap().unwrap());
    rig.ticks(UNREAD_TICKS_MAX * 3);
    answer.send(vec![2]);
    assert_eq!(answer.next().await.unwrap().unwrap(), [2][..]);
    assert_eq!(rig.held(), (1, true));
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_read_is_closed() {
    let rig = Rig::new();
    let mut kept = Vec::new();
    for n in 0..9 {
        assert!(!rig.line.is_closed(), "after {n}");
        let mut answer = rig.call(false).await;
        answer.send(vec![7; 100]);
        answer.sender = None;
        let part = answer.next().await.unwrap().unwrap();
        assert!(answer.next().await.is_none());
        // All of it is HTTP/2's; half of these calls have ended for us.
        let body = (n % 2 == 0).then_some(answer);
        kept.push((part, body));
        // Many that were read do not count.
        for _ in 0..100 {
            drop(rig.call(false).await);
        }
        rig.ticks(UNREAD_TICKS_MAX + 1);
    }
    assert!(rig.line.is_closed());
    assert_eq!(rig.held(), (0, true));
}
