"""Watches: what both clients share."""

from __future__ import annotations

import random
from dataclasses import dataclass

import grpc

from bailiwick import errors
from bailiwick._core import BACKOFF_MAX, BACKOFF_MIN, Record, Settings
from bailiwick._messages import record_of
from bailiwick.v1 import records_pb2

#: Seconds without an answer after which a stream is taken for broken: several are overdue.
SILENCE = 45.0


@dataclass(frozen=True)
class Change:
    """What became of a record. It has no body; one that is deleted has its names and the version of
    the deletion."""

    #: ``written``, ``deleted`` or ``expired``.
    kind: str
    record: Record

    def __repr__(self) -> str:
        return f"Change({self.kind})"


@dataclass(frozen=True)
class Changes:
    """One answer of a watch: some changes, or none and a newer cursor."""

    changes: tuple[Change, ...]
    #: A watch that begins with it goes on after these changes.
    cursor: str
    #: Changes of records that may not leave their region for this caller.
    withheld: int

    def __repr__(self) -> str:
        return f"Changes({len(self.changes)})"


def _changes_of(answer: records_pb2.WatchRecordsResponse) -> Changes:
    kinds = {
        records_pb2.CHANGE_KIND_WRITTEN: "written",
        records_pb2.CHANGE_KIND_DELETED: "deleted",
        records_pb2.CHANGE_KIND_EXPIRED: "expired",
    }
    changes = (
        Change(kinds.get(change.kind, "written"), record_of(change.record))
        for change in answer.changes
    )
    return Changes(tuple(changes), answer.cursor, answer.withheld)


class Watching:
    """One watch: what it asks for, and when it is opened again."""

    def __init__(
        self, settings: Settings, collection: str, region: str, subject: str, domicile: str,
        cursor: str, purpose: str,
    ) -> None:
        self._settings = settings
        reference = records_pb2.SubjectRef(id=subject, domicile=domicile) if subject else None
        self.message = records_pb2.WatchRecordsRequest(
            collection=collection, region=region, subject=reference, cursor=cursor, purpose=purpose
        )
        self._failed, self._backoff, self._renewed = 0, BACKOFF_MIN, False

    def metadata(self) -> list[tuple[str, str]]:
        return self._settings.metadata()

    def answered(self, answer: records_pb2.WatchRecordsResponse) -> Changes:
        self._failed, self._backoff, self._renewed = 0, BACKOFF_MIN, False
        self.message.cursor = answer.cursor
        return _changes_of(answer)

    def again(self, failed: grpc.RpcError) -> float:
        """How long to wait before it is opened again. Raises the error if it is not."""
        error = errors.of_rpc(failed)
        if isinstance(error, errors.Unauthenticated) and not self._renewed:
            # A token that ran out while the stream was open: the next may be another.
            self._renewed = True
            return 0.0
        return self.pause(error)

    def pause(self, error: errors.BailiwickError) -> float:
        """The same for an error that is known."""
        self._failed += 1
        if error.retry_after is None or self._failed >= max(self._settings.attempts, 1):
            raise error from None
        wait = error.retry_after + self._backoff * random.uniform(0.5, 1.0)
        self._backoff = min(self._backoff * 2, BACKOFF_MAX)
        return wait
