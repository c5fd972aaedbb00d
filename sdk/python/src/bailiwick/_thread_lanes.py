"""The streams of lanes, for threads: each has a thread of its own that reads the answers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import grpc

from bailiwick import _lanes as lanes
from bailiwick.v1 import records_pb2, records_pb2_grpc

_Outgoing = queue.SimpleQueue[records_pb2.StreamPutRequest | None]


class ThreadLanes(lanes.Lanes):
    """Lanes whose connections ``connect`` makes."""

    def __init__(self, count: int, connect: Callable[[], grpc.Channel]) -> None:
        super().__init__(count, self._begin)
        self._connect = connect

    def close(self) -> None:
        """Ends the lanes. A put that is on one has no answer then."""
        for channel in self.end():
            channel.close()

    def _begin(self, slot: lanes.Slot, bearer: str | None) -> None:
        if slot.channel is None:
            slot.channel = self._connect()
        arguments = (slot, slot.channel, bearer)
        threading.Thread(target=self._run, args=arguments, daemon=True).start()

    def _run(self, slot: lanes.Slot, channel: grpc.Channel, bearer: str | None) -> None:
        outgoing: _Outgoing = queue.SimpleQueue()
        lane, failed, opened = lanes.Lane(bearer, outgoing.put, Future), None, False
        metadata = [("authorization", bearer)] if bearer else []
        try:
            stub = records_pb2_grpc.RecordsStub(channel)
            call = stub.StreamPut(_requests(lane, outgoing), metadata=metadata)
            patience = threading.Timer(lanes.OPEN_MAX, call.cancel)
            patience.daemon = True
            patience.start()
            # It has come when the gateway has taken the stream; and when the call has failed.
            call.initial_metadata()
            patience.cancel()
            if call.is_active():
                opened = True
                self.opened(slot, lane)
            for answer in call:
                if not lane.answered(answer):
                    call.cancel()
                    break
        except grpc.RpcError as error:
            failed = error
        except ValueError:
            pass  # The connection was closed meanwhile.
        finally:
            if not opened and (unused := self.failed(slot)) is not None:
                unused.close()
            lane.end(failed)


def _requests(lane: lanes.Lane, outgoing: _Outgoing) -> Iterator[records_pb2.StreamPutRequest]:
    while True:
        try:
            request = outgoing.get(timeout=lanes.LOOK_EVERY)
        except queue.Empty:
            lane.look()
            continue
        if request is None:
            return
        yield request
