"""The streams of lanes, for asyncio: each has a task of its own that reads the answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import grpc
import grpc.aio

from bailiwick import _lanes as lanes
from bailiwick.v1 import records_pb2, records_pb2_grpc

_Outgoing = asyncio.Queue[records_pb2.StreamPutRequest | None]


class TaskLanes(lanes.Lanes):
    """Lanes whose connections ``connect`` makes. Of one event loop."""

    def __init__(self, count: int, connect: Callable[[], grpc.aio.Channel]) -> None:
        super().__init__(count, self._begin)
        self._connect = connect
        #: A task that nothing holds may be collected.
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Ends the lanes. A put that is on one has no answer then."""
        for channel in self.end():
            await channel.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, slot: lanes.Slot, bearer: str | None) -> None:
        if slot.channel is None:
            slot.channel = self._connect()
        task = asyncio.get_running_loop().create_task(self._run(slot, slot.channel, bearer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(
        self, slot: lanes.Slot, channel: grpc.aio.Channel, bearer: str | None
    ) -> None:
        outgoing: _Outgoing = asyncio.Queue()
        future = asyncio.get_running_loop().create_future
        lane, failed, opened = lanes.Lane(bearer, outgoing.put_nowait, future), None, False
        watcher = asyncio.create_task(_look_at(lane))
        metadata = [("authorization", bearer)] if bearer else []
        try:
            stub = records_pb2_grpc.RecordsStub(channel)
            call = stub.StreamPut(_requests(outgoing), metadata=metadata)
            await asyncio.wait_for(call.initial_metadata(), lanes.OPEN_MAX)
            if not call.done():
                opened = True
                self.opened(slot, lane)
            async for answer in call:
                if not lane.answered(answer):
                    call.cancel()
                    break
        except grpc.RpcError as error:
            failed = error
        except (TimeoutError, asyncio.CancelledError, grpc.aio.UsageError):
            pass  # It did not open in time, or the connection was closed meanwhile.
        finally:
            watcher.cancel()
            lane.end(failed)
            if not opened and (unused := self.failed(slot)) is not None:
                await unused.close()


async def _requests(outgoing: _Outgoing) -> AsyncIterator[records_pb2.StreamPutRequest]:
    while (request := await outgoing.get()) is not None:
        yield request


async def _look_at(lane: lanes.Lane) -> None:
    while True:
        await asyncio.sleep(lanes.LOOK_EVERY)
        lane.look()
