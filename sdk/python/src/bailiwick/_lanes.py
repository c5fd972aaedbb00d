"""Lanes: puts of one client that are made at the same time travel on a few streams, instead of as a call
each. A caller sees no difference: each put has its own outcome, deadline and attempts. The rules are those
of the Rust client (``crates/client/src/lanes``):

- Alone: a put that meets no other goes as a call. Nothing waits for company.
- Together: puts that meet others have a lane opened, and go as calls until it is open. More puts open
  more lanes, each on a connection of its own.
- Room: a lane has room for so many puts and bytes. A put waits for room, within its deadline.
- In doubt: a lane whose stream breaks, or brings an answer that cannot be matched, ends. Each put on it
  that is not answered may have been done or not, and is sent again as a call.
- Identity: a lane carries only puts with the token that it was opened with. It is replaced after a while,
  and as soon as the token changes.

Nothing here waits or sends: that is done by what opens the streams, for threads and for asyncio.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from bailiwick import errors
from bailiwick.v1 import records_pb2

#: Puts on one lane: as many as a gateway works on at once. Bytes: half of what it works on at once.
CALLS_MAX, BYTES_MAX = 1_024, 8 << 20
#: Bytes of a put that may go on a lane, and those besides its body. A larger one would hold up those
#: behind it; one that a gateway cannot read would end the lane of others.
PUT_BYTES_MAX, BESIDE_BODY_BYTES_MAX = 64 << 10, 16 << 10
#: Puts under way at which a lane is opened, and for each lane before there is another.
LANES_FROM, PUTS_PER_LANE = 2, 128
#: Seconds: how long a lane is used before another takes its place, how long it stays open with nothing
#: on it, in which time it must be open, how often it is looked at.
LIFE, IDLE_MAX, OPEN_MAX, LOOK_EVERY = 120.0, 10.0, 5.0, 1.0
#: The shortest time between two attempts to open the same lane, doubled after each failure; the longest.
OPEN_EVERY, OPEN_EVERY_MAX = 0.5, 60.0


class NotSent(Exception):
    """The lane took no more puts before this one was sent. It goes as a call."""


class Sent:
    """A put on a lane, from when it waits for room until it is answered."""

    def __init__(
        self, lane: Lane, put: records_pb2.PutRecordRequest, until: float, answer: Any
    ) -> None:
        self.put, self.size, self.until = put, put.ByteSize(), until
        #: The future of the answer, or of why there is none.
        self.answer = answer
        #: The lane has ended without an answer to it: it is sent again as a call.
        self.lost = False
        self._lane = lane

    def late(self) -> None:
        """Its deadline passed. A gateway answers each put in its time: one lane may be stuck."""
        self._lane.late(self)

    def give(self, answer: records_pb2.StreamPutResponse) -> None:
        # Unless its caller is gone.
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        self.lost = not isinstance(error, NotSent)
        if not self.answer.done():
            self.answer.set_exception(error)


class Lane:
    """One stream of puts. A caller waits for the answer to each. ``send`` takes what goes on the stream,
    in order; None says that there is no more. ``future`` makes what a caller waits for."""

    def __init__(
        self,
        bearer: str | None,
        send: Callable[[records_pb2.StreamPutRequest | None], None],
        future: Callable[[], Any],
    ) -> None:
        self.bearer, self._send, self._future = bearer, send, future
        self._lock = threading.Lock()
        #: The next put's place in the stream. No place is used twice, so a late answer cannot reach
        #: another put.
        self._next, self._bytes = 0, 0
        #: What was sent and is not answered, whether its caller still waits or not: the gateway still
        #: works on it. And what waits for room.
        self._waiting: dict[int, Sent] = {}
        self._pending: deque[Sent] = deque()
        self._closed = False
        self._last = time.monotonic()
        self._old_at = self._last + LIFE

    def carries(self, bearer: str | None) -> bool:
        """Whether it takes puts with that token."""
        return self.bearer == bearer and not self._closed

    def is_old(self) -> bool:
        return time.monotonic() >= self._old_at

    def free(self) -> int:
        """Puts that it has room for."""
        return CALLS_MAX - len(self._waiting) - len(self._pending)

    def put(self, put: records_pb2.PutRecordRequest, until: float) -> Sent | None:
        """Takes a put. None: the lane takes no more."""
        sent = Sent(self, put, until, self._future())
        with self._lock:
            if self._closed:
                return None
            self._pending.append(sent)
            self._fill()
        return sent

    def _fill(self) -> None:
        """Sends what there is room for. Under the lock: places are those of the order of sending."""
        while self._pending:
            sent = self._pending[0]
            if len(self._waiting) >= CALLS_MAX or self._bytes + sent.size > BYTES_MAX:
                return
            self._pending.popleft()
            if sent.answer.done():
                continue
            now = time.monotonic()
            request = records_pb2.StreamPutRequest(put=sent.put)
            request.timeout.FromMilliseconds(max(int((sent.until - now) * 1_000), 1))
            self._waiting[self._next] = sent
            self._next += 1
            self._bytes += sent.size
            self._last = now
            self._send(request)

    def answered(self, answer: records_pb2.StreamPutResponse) -> bool:
        """Hands an answer to the put that it is for. False: it is for none, or says nothing. Then no
        answer of this stream can be believed."""
        with self._lock:
            sent = self._waiting.get(answer.index)
            ours = sent is not None and sent.put.request_id == answer.request_id
            if sent is None or not ours or answer.WhichOneof("outcome") is None:
                return False
            del self._waiting[answer.index]
            self._bytes -= sent.size
            self._fill()
        sent.give(answer)
        return True

    def late(self, sent: Sent) -> None:
        with self._lock:
            if sent in self._pending:
                self._pending.remove(sent)
                return
        self.retire()

    def retire(self) -> None:
        """Takes no more puts. Those on it are still answered."""
        with self._lock:
            closed, self._closed = self._closed, True
            pending, self._pending = self._pending, deque()
            if not closed:
                self._send(None)
        for sent in pending:
            sent.fail(NotSent())

    def look(self) -> None:
        """One that was idle for long takes no more."""
        with self._lock:
            busy = self._waiting or self._pending
            idle = not busy and time.monotonic() - self._last >= IDLE_MAX
        if idle:
            self.retire()

    def end(self, failed: grpc.RpcError | None) -> None:
        """The stream has ended. What was not answered may have been done or not."""
        self.retire()
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for sent in waiting.values():
            sent.fail(_lost(failed))


def _lost(failed: grpc.RpcError | None) -> errors.BailiwickError:
    """What the end of a stream says of a put that is not answered. A refusal counts if it is about the
    caller or the gateway, which answers all that it has read first; of another, it is not known whose put
    it is about."""
    error = errors.of_rpc(failed) if failed is not None else None
    if isinstance(error, errors.Refused):
        if error.retry_after is not None or error.reason == "IDENTITY_INVALID":
            return error
    return errors.OutcomeUnknown(
        "WRITE_OUTCOME_UNKNOWN", "the stream of the put ended without an answer", retry_after=0.0
    )


def outcome(answer: records_pb2.StreamPutResponse) -> records_pb2.PutRecordResponse:
    """What became of a put on a lane. Raises the error that it would have had as a call."""
    match answer.WhichOneof("outcome"):
        case "done":
            return answer.done
        case "error":
            raise errors.of_status(answer.error)
    raise errors.Unproven("the answer to a put is that of another write")


class Slot:
    """One lane, open or not."""

    def __init__(self) -> None:
        self.lane: Lane | None = None
        self.opening = False
        #: The connection, kept while lanes open on it.
        self.channel: Any = None
        #: When the next may be opened, and how long to wait after that one if it fails.
        self.next, self.wait = 0.0, OPEN_EVERY


class Lanes:
    """The lanes of one client. ``open`` opens one in the background, and calls :meth:`opened` or
    :meth:`failed`."""

    def __init__(self, lanes: int, open: Callable[[Slot, str | None], None]) -> None:
        self._slots, self._open = [Slot() for _ in range(lanes)], open
        self._lock = threading.Lock()
        self._under_way, self._ended = 0, False

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Counts a put while it is under way, on a lane or as a call."""
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def put(
        self, put: records_pb2.PutRecordRequest, until: float, bearer: str | None
    ) -> Sent | None:
        """Puts on the lane that has the most room. None: it goes as a call."""
        size = put.ByteSize()
        if size > PUT_BYTES_MAX or size - len(put.body) > BESIDE_BODY_BYTES_MAX:
            return None
        with self._lock:
            wanted = -(-self._under_way // PUTS_PER_LANE)
            open = [self._lane(slot, bearer) for slot in self._slots[:wanted]]
        lane = max((lane for lane in open if lane), key=Lane.free, default=None)
        return lane.put(put, until) if lane else None

    def _lane(self, slot: Slot, bearer: str | None) -> Lane | None:
        """The lane of a slot, if it is open for puts with that token. Has one opened where it is worth
        it."""
        if slot.lane is not None and not slot.lane.carries(bearer):
            slot.lane.retire()
            slot.lane = None
        now = time.monotonic()
        # The next one is open before the last one is left.
        wanted = slot.lane.is_old() if slot.lane else self._under_way >= LANES_FROM
        if wanted and not slot.opening and now >= slot.next and not self._ended:
            slot.opening, slot.next = True, now + slot.wait
            self._open(slot, bearer)
        return slot.lane

    def opened(self, slot: Slot, lane: Lane) -> None:
        with self._lock:
            slot.opening, slot.wait = False, OPEN_EVERY
            old, slot.lane = slot.lane, None if self._ended else lane
        for one in (old, lane if self._ended else None):
            if one is not None:
                one.retire()

    def failed(self, slot: Slot) -> Any:
        """Gives the connection on which no lane opens: it is not used again."""
        with self._lock:
            slot.opening, slot.wait = False, min(slot.wait * 2, OPEN_EVERY_MAX)
            channel, slot.channel = slot.channel, None
        return channel

    def end(self) -> list[Any]:
        """Opens no more lanes, and gives the connections of those that were open."""
        with self._lock:
            self._ended = True
            lanes = [slot.lane for slot in self._slots if slot.lane]
            channels = [slot.channel for slot in self._slots if slot.channel]
        for lane in lanes:
            lane.retire()
        return channels
