"""Batches: many requests in one call, each with an outcome of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bailiwick import errors
from bailiwick._core import Attempts, Delete, Put, Record, Settings, Written
from bailiwick._messages import check_delete, check_put
from bailiwick.v1 import records_pb2

#: What became of an item: answer or error, whether it is an answer, and whether no attempt before
#: the last may have had an effect.
End = tuple[Any, bool, bool]
Ends = list[End]
#: One outcome for each item, in their order.
PutEnds = list[Written | errors.BailiwickError]
GetEnds = list[Record | errors.BailiwickError]


class Batch:
    """The attempts of a batch: what is still to be sent, and what became of the rest."""

    def __init__(self, settings: Settings, messages: Sequence[Any]) -> None:
        self.messages = messages
        self.ends: list[End] = [(None, False, False)] * len(messages)
        self.waiting, self.first = list(range(len(messages))), True
        self.attempts = Attempts(settings)

    def pending(self) -> list[Any]:
        return [self.messages[at] for at in self.waiting]

    def failed(self, error: errors.BailiwickError) -> list[End]:
        """The batch as a whole has no answer."""
        if self.first:
            raise error
        for at, message in zip(self.waiting, self.pending()):
            # What was refused before may have been done since; a read has nothing to do.
            if not isinstance(message, records_pb2.GetRecordRequest):
                error = errors.OutcomeUnknown("WRITE_OUTCOME_UNKNOWN", "the batch was not answered")
            self.ends[at] = (error, False, False)
        return self.ends

    def answered(self, results: Sequence[Any], once: bool) -> float | None:
        """Takes the results. Gives how long to wait before the next attempt, if there is one."""
        if len(results) != len(self.waiting):
            raise errors.NotBailiwick("the answer to a batch has another number of results")
        again, busiest = [], None
        for at, result in zip(self.waiting, results):
            which = result.WhichOneof("outcome")
            if which is None:
                raise errors.NotBailiwick("a result of a batch is empty")
            if which != "error":
                self.ends[at] = (getattr(result, which), True, once and self.first)
                continue
            error = errors.of_status(result.error)
            self.ends[at] = (error, False, False)
            if error.retry_after is not None:
                again.append(at)
                if busiest is None or error.retry_after > (busiest.retry_after or 0.0):
                    busiest = error
        if busiest is None:
            return None
        try:
            wait = self.attempts.pause(busiest)
        except errors.BailiwickError:
            return None
        self.waiting, self.first = again, False
        return wait


def put_batch(messages: list[Any]) -> records_pb2.BatchPutRecordsRequest:
    return records_pb2.BatchPutRecordsRequest(requests=messages)


def atomic_batch(messages: list[Any]) -> records_pb2.BatchPutRecordsRequest:
    return records_pb2.BatchPutRecordsRequest(requests=messages, atomic=True)


def delete_batch(messages: list[Any]) -> records_pb2.BatchDeleteRecordsRequest:
    return records_pb2.BatchDeleteRecordsRequest(requests=messages)


def get_batch(messages: list[Any]) -> records_pb2.BatchGetRecordsRequest:
    return records_pb2.BatchGetRecordsRequest(requests=messages)


def check_batch(
    asked: Sequence[Put | Delete], messages: Sequence[Any], ends: Sequence[End], tenant: str | None
) -> PutEnds:
    results: PutEnds = []
    for one, message, (end, ok, once) in zip(asked, messages, ends):
        check: Any = check_put if isinstance(one, Put) else check_delete
        try:
            first = once and not one.request_id
            results.append(check(message, end, tenant, first) if ok else end)
        except errors.Unproven as error:
            results.append(error)
    return results
