//! Frames of a session: calls or replies that travel together.

use std::pin::Pin;
use std::task::{Context, Poll};

use prost::Message;
use terms::limits::{FRAME_BYTES_TARGET, FRAME_CALLS_MAX};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::Stream;
use wire::session as proto;

use crate::session::fault::{TEXT_BYTES_MAX, to_wire};

/// Fields of one call or reply without what it lists.
const PART_FIELDS: usize = 32;
/// Fields of a frame that are none of its calls or replies.
const FIELDS_BESIDE: usize = 64;

/// What can be put into a frame with others of its kind.
pub trait Part: Send + Unpin + 'static {
    /// The frame.
    type Frame: Default + Send + Unpin;

    /// Fields of one frame at which it is not filled further, so that the other end decodes it.
    const FIELDS_TARGET: usize;

    /// Bytes that it takes up in a frame, roughly.
    fn wire_bytes(&self) -> usize;

    /// Fields that it takes up in a frame, at most.
    fn wire_fields(&self) -> usize;

    /// Adds it to a frame.
    fn put(self, frame: &mut Self::Frame);
}

impl Part for proto::Call {
    type Frame = proto::ToShard;
    const FIELDS_TARGET: usize = wire::bounded::FIELDS_MAX - FIELDS_BESIDE;

    fn wire_bytes(&self) -> usize {
        self.encoded_len()
    }

    fn wire_fields(&self) -> usize {
        let map = match &self.op {
            Some(proto::call::Op::MapOffer(offer)) => offer.map.as_ref(),
            Some(proto::call::Op::Survey(survey)) => survey.map.as_ref(),
            _ => None,
        };
        let puts = match &self.op {
            Some(proto::call::Op::PutAll(all)) => all.puts.len(),
            _ => 0,
        };
        PART_FIELDS + PART_FIELDS * puts + map.map_or(0, |map| map.packs.len())
    }

    fn put(self, frame: &mut Self::Frame) {
        frame.calls.push(self);
    }
}

/// What a shard says on a session after its welcome.
#[expect(missing_debug_implementations, reason = "a reply holds a record")]
#[expect(clippy::large_enum_variant, reason = "nearly all are replies")]
pub enum FromShard {
    /// The answer to one call, and its part of the room for answers, if it takes any. The room is
    /// given back when the answer leaves its queue, or is dropped.
    Reply(proto::Reply, Option<OwnedSemaphorePermit>),
    /// That it has a new certificate, and the session should move to a new connection.
    DialAgain,
    /// That it has taken another map.
    Map(proto::MapRef),
    /// That it serves these slots from now on, as a welcome has them.
    Slots(bytes::Bytes),
    /// That it takes nothing more. Replies to what is in flight may follow.
    Goodbye(terms::Rejection),
}

impl Part for FromShard {
    type Frame = proto::ToGateway;
    const FIELDS_TARGET: usize = wire::bounded::LIST_FIELDS_MAX - FIELDS_BESIDE;

    fn wire_bytes(&self) -> usize {
        match self {
            Self::Reply(reply, _) => reply.encoded_len(),
            Self::DialAgain => 2,
            Self::Map(map) => map.encoded_len(),
            Self::Slots(slots) => slots.len(),
            Self::Goodbye(_) => TEXT_BYTES_MAX,
        }
    }

    fn wire_fields(&self) -> usize {
        let Self::Reply(reply, _) = self else { return FIELDS_BESIDE };
        let listed = match &reply.outcome {
            Some(proto::reply::Outcome::Fault(fault)) => 3 * fault.details.len(),
            Some(proto::reply::Outcome::Map(map)) => map.packs.len(),
            Some(proto::reply::Outcome::Surveyed(surveyed)) => 5 * surveyed.counts.len(),
            Some(proto::reply::Outcome::Listed(listed)) => 11 * listed.records.len(),
            Some(proto::reply::Outcome::Moves(found)) => 10 * found.moves.len(),
            Some(proto::reply::Outcome::History(history)) => {
                history.maps.iter().map(|taken| 5 + taken.signers.len()).sum()
            }
            _ => 0,
        };
        PART_FIELDS + listed
    }

    fn put(self, frame: &mut Self::Frame) {
        match self {
            Self::Reply(reply, _room) => frame.replies.push(reply),
            Self::DialAgain => frame.dial_again = true,
            Self::Map(map) => frame.map = Some(map),
            Self::Slots(slots) => frame.slots = slots,
            Self::Goodbye(fault) => frame.goodbye = Some(to_wire(&fault)),
        }
    }
}

/// The outgoing half of a session: a stream of frames, made of what is queued at the moment when
/// the connection can take one. There is no timer: the busier the connection, the fuller the
/// frames, and a lone part leaves at once.
///
/// A frame holds at most [`FRAME_CALLS_MAX`] parts, and is not filled further once it would pass
/// [`FRAME_BYTES_TARGET`] or [`Part::FIELDS_TARGET`]; a part that is larger than that has a frame
/// of its own. The stream ends
/// when every sender of the queue is gone and the queue is empty.
///
/// `K` is asked about each part at the moment it leaves the queue: a part to which it says no is
/// dropped (its caller has gone), and one to which it says yes may have reached the other end from
/// then on.
pub struct Frames<P: Part, K = fn(&P) -> bool> {
    first: Option<P::Frame>,
    queue: mpsc::Receiver<P>,
    /// Taken from the queue, and too large for the frame before.
    held: Option<P>,
    keep: K,
}

impl<P: Part> Frames<P> {
    /// Frames that hold all parts; `first` goes ahead of them.
    pub fn new(first: P::Frame, queue: mpsc::Receiver<P>) -> Self {
        Self::filtered(first, queue, |_| true)
    }
}

impl<P: Part, K: FnMut(&P) -> bool> Frames<P, K> {
    /// Frames that hold the parts that `keep` says yes to; `first` goes ahead of them.
    pub const fn filtered(first: P::Frame, queue: mpsc::Receiver<P>, keep: K) -> Self {
        Self { first: Some(first), queue, held: None, keep }
    }

    /// The next part that is wanted.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<P>> {
        loop {
            match std::task::ready!(self.queue.poll_recv(cx)) {
                Some(part) if (self.keep)(&part) => return Poll::Ready(Some(part)),
                Some(_) => {}
                None => return Poll::Ready(None),
            }
        }
    }
}

impl<P: Part, K: FnMut(&P) -> bool + Unpin> Stream for Frames<P, K> {
    type Item = P::Frame;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<P::Frame>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        let mut part = match self.held.take() {
            Some(held) => held,
            None => match std::task::ready!(self.poll_part(cx)) {
                Some(part) => part,
                None => return Poll::Ready(None),
            },
        };
        let mut frame = P::Frame::default();
        let (mut bytes, mut fields) = (part.wire_bytes(), part.wire_fields());
        for _ in 1..FRAME_CALLS_MAX {
            // Pending has arranged for a wake-up; a queue that has ended says so again next time.
            let Poll::Ready(Some(next)) = self.poll_part(cx) else { break };
            bytes = bytes.saturating_add(next.wire_bytes());
            fields = fields.saturating_add(next.wire_fields());
            let full = bytes > FRAME_BYTES_TARGET || fields > P::FIELDS_TARGET;
            std::mem::replace(&mut part, next).put(&mut frame);
            if full {
                self.held = Some(part);
                return Poll::Ready(Some(frame));
            }
        }
        part.put(&mut frame);
        Poll::Ready(Some(frame))
    }
}

impl<P: Part, K> std::fmt::Debug for Frames<P, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frames").field("queued", &self.queue.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use terms::Reason;
    use tokio_stream::StreamExt;

    use super::*;
    use crate::session::{MESSAGE_BYTES_MAX, PROTOCOL};

    fn call(id: u64, body: usize) -> proto::Call {
        let put = proto::Put { body: vec![0; body].into(), ..Default::default() };
        proto::Call { id, op: Some(proto::call::Op::Put(put)), ..Default::default() }
    }

    fn ids(frame: &proto::ToShard) -> Vec<u64> {
        frame.calls.iter().map(|call| call.id).collect()
    }

    #[tokio::test]
    async fn what_is_queued_goes_in_one_frame_in_order() {
        let (queue, receiver) = mpsc::channel(16);
        let hello = proto::Hello { protocol: PROTOCOL, ..Default::default() };
        let first = proto::ToShard { hello: Some(hello), calls: Vec::new() };
        let mut frames = Frames::new(first, receiver);
        for id in 0..10 {
            assert!(queue.send(call(id, 10)).await.is_ok());
        }
        drop(queue);
        assert!(frames.next().await.unwrap().hello.is_some());
        let frame = frames.next().await.unwrap();
        assert!(frame.hello.is_none());
        assert_eq!(ids(&frame), (0..10).collect::<Vec<_>>());
        assert!(frames.next().await.is_none());
    }

    #[tokio::test]
    async fn frames_are_bounded_in_parts_and_bytes() {
        let (queue, receiver) = mpsc::channel(2000);
        let mut sent = Vec::new();
        for id in 0..1000 {
            let body = match id {
                700 => terms::limits::BODY_BYTES_MAX,
                701 => FRAME_BYTES_TARGET,
                _ if id > 800 => 100_000,
                _ => 8,
            };
            sent.push(id);
            assert!(queue.send(call(id, body)).await.is_ok());
        }
        drop(queue);
        let mut got = Vec::new();
        let mut frames = Frames::new(proto::ToShard::default(), receiver);
        frames.next().await.unwrap();
        let mut most = 0;
        while let Some(frame) = frames.next().await {
            let bytes = frame.encoded_len();
            assert!(frame.calls.len() <= FRAME_CALLS_MAX && bytes <= MESSAGE_BYTES_MAX);
            let one = frame.calls.len() == 1;
            assert!(one || bytes <= FRAME_BYTES_TARGET + 5 * frame.calls.len(), "{bytes}");
            most = most.max(frame.calls.len());
            got.extend(ids(&frame));
        }
        assert_eq!(got, sent);
        assert!(most > 50, "{most}");
    }

    #[tokio::test]
    async fn a_lone_part_does_not_wait_for_company() {
        let (queue, receiver) = mpsc::channel(16);
        let mut frames = Frames::new(proto::ToShard::default(), receiver);
        frames.next().await.unwrap();
        assert!(queue.send(call(1, 0)).await.is_ok());
        let wait = tokio::time::timeout(Duration::from_secs(60), frames.next());
        assert_eq!(ids(&wait.await.unwrap().unwrap()), [1]);
    }

    #[tokio::test]
    async fn a_part_whose_caller_has_gone_is_not_sent() {
        let (queue, receiver) = mpsc::channel(16);
        let odd = |call: &proto::Call| call.id % 2 == 1;
        let mut frames = Frames::filtered(proto::ToShard::default(), receiver, odd);
        frames.next().await.unwrap();
        for id in 0..6 {
            assert!(queue.send(call(id, 0)).await.is_ok());
        }
        drop(queue);
        assert_eq!(ids(&frames.next().await.unwrap()), [1, 3, 5]);
        assert!(frames.next().await.is_none());
    }

    #[tokio::test]
    async fn a_goodbye_keeps_its_place_among_the_replies() {
        let (queue, receiver) = mpsc::channel(16);
        let mut frames = Frames::new(proto::ToGateway::default(), receiver);
        frames.next().await.unwrap();
        let reply = |id| FromShard::Reply(proto::Reply { id, outcome: None }, None);
        assert!(queue.send(reply(1)).await.is_ok());
        let fault = terms::Rejection::new(Reason::ShuttingDown);
        assert!(queue.send(FromShard::Goodbye(fault)).await.is_ok());
        assert!(queue.send(reply(2)).await.is_ok());
        let frame = frames.next().await.unwrap();
        assert_eq!(frame.replies.len(), 2);
        assert_eq!(frame.goodbye.map(|fault| fault.reason).as_deref(), Some("SHUTTING_DOWN"));
    }

    #[tokio::test]
    async fn room_comes_back_when_a_reply_leaves_or_is_dropped() {
        let room = std::sync::Arc::new(tokio::sync::Semaphore::new(100));
        let (queue, receiver) = mpsc::channel(16);
        let mut frames = Frames::new(proto::ToGateway::default(), receiver);
        frames.next().await.unwrap();
        let reply = |id, of: u32| {
            let permit = std::sync::Arc::clone(&room).try_acquire_many_owned(of).unwrap();
            // An answer of another size than its permit: the size is not computed again.
            let fault = to_wire(&terms::Rejection::new(Reason::ShardBusy));
            let outcome = Some(proto::reply::Outcome::Fault(fault));
            FromShard::Reply(proto::Reply { id, outcome }, Some(permit))
        };
        assert!(queue.send(reply(1, 7)).await.is_ok());
        assert!(queue.send(reply(2, 40)).await.is_ok());
        assert_eq!(room.available_permits(), 53);
        assert_eq!(frames.next().await.unwrap().replies.len(), 2);
        assert_eq!(room.available_permits(), 100);
        assert!(queue.send(reply(3, 9)).await.is_ok());
        drop(frames);
        drop(queue);
        assert_eq!(room.available_permits(), 100);
    }

    /// The frames that are made of parts; each must be decoded at the other end.
    async fn framed<P: Part>(parts: Vec<P>) -> Vec<P::Frame>
    where
        P::Frame: wire::bounded::Bounded,
    {
        let (queue, receiver) = mpsc::channel(parts.len());
        for part in parts {
            assert!(queue.send(part).await.is_ok());
        }
        drop(queue);
        let frames: Vec<_> = Frames::new(P::Frame::default(), receiver).collect().await;
        for frame in &frames {
            assert_eq!(wire::bounded::check::<P::Frame>(&frame.encode_to_vec()), Ok(()));
        }
        frames
    }

    #[tokio::test]
    async fn what_grows_never_makes_a_frame_that_is_not_decoded() {
        let text = || "text".to_owned();
        let range = |n| Some(proto::CountRange { at_least: n, at_most: n + 9 });
        let count = |n| proto::SurveyCount {
            collection: text(),
            fate: text(),
            detail: text(),
            count: range(n),
        };
        let surveyed = || {
            proto::reply::Outcome::Surveyed(proto::Surveyed {
                counts: (1..=4_097).map(count).collect(),
                subjects: range(1),
            })
        };
        let map = proto::MapRef { epoch: 1, digest: vec![1; 32].into() };
        let taken = proto::MapTaken { map: Some(map), minute: 1, signers: vec![text(); 100] };
        let history = || {
            proto::reply::Outcome::History(proto::MapsTaken {
                maps: vec![taken.clone(); 512],
                more: true,
            })
        };
        let packs = vec![String::new(); 256];
        let signed = || proto::SignedMap { text: text(), note: text(), packs: packs.clone() };
        let mut replies = Vec::new();
        for id in 1..=60 {
            let outcome = match id % 3 {
                0 => surveyed(),
                1 => history(),
                _ => proto::reply::Outcome::Map(signed()),
            };
            replies.push(FromShard::Reply(proto::Reply { id, outcome: Some(outcome) }, None));
        }
        let frames = framed(replies).await;
        let replies = frames.iter().map(|frame| frame.replies.len());
        assert_eq!(replies.sum::<usize>(), 60);
        let offer = |id| {
            let op = proto::call::Op::MapOffer(proto::MapOffer { map: Some(signed()) });
            proto::Call { id, op: Some(op), ..Default::default() }
        };
        let frames = framed((1..=256).map(offer).collect()).await;
        assert_eq!(frames.iter().map(|frame| frame.calls.len()).sum::<usize>(), 256);
    }
}
