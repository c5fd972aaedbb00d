"""Lists and counts: what both clients share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bailiwick import errors
from bailiwick._core import Record
from bailiwick._messages import missing_of, record_of
from bailiwick._sealing import Bodies, Secrets
from bailiwick.v1 import records_pb2

#: How much of each record a list gives: its names, its attributes too, or its body too.
View = Literal["names", "attributes", "whole"]

#: A person that records name: the subject, and the domicile or nothing.
Person = tuple[str, str]


@dataclass(frozen=True)
class Count:
    """How many records there are."""

    count: int
    #: Records that may not leave for the caller, and are not counted.
    withheld: int
    #: Regions out of reach, whose records are not counted.
    unreachable: frozenset[str]
    #: Why each region is missing that was not counted: a reason of docs/errors.md.
    missing: Mapping[str, str] = field(default_factory=dict)


class Listing:
    """The pages of one list. After the last one, ``unreachable`` names the regions that are missing,
    ``missing`` why they are, and ``withheld`` says how many records may not leave for the caller. To go
    through it once more is to list once more."""

    def __init__(self, message: records_pb2.ListRecordsRequest, bodies: Bodies) -> None:
        self._whole, self._bodies = message.view == records_pb2.RECORD_VIEW_WHOLE, bodies
        self._first = message
        self.unreachable: set[str] = set()
        self.missing: dict[str, str] = {}
        self.withheld = 0

    def _begin(self) -> records_pb2.ListRecordsRequest:
        """The request for the first page."""
        self.unreachable, self.missing, self.withheld = set(), {}, 0
        asked = records_pb2.ListRecordsRequest()
        asked.CopyFrom(self._first)
        return asked

    def _answered(
        self,
        asked: records_pb2.ListRecordsRequest,
        page: records_pb2.ListRecordsResponse,
        secrets: Secrets,
    ) -> list[Record]:
        """The records of a page. The request becomes the one for the next page; it has no token after
        the last."""
        self.unreachable.update(page.unreachable)
        self.missing.update(missing_of(page.missing))
        self.withheld += page.withheld
        asked.page_token = page.next_page_token
        opened = (self._bodies.opened_of_many(record, secrets) for record in page.records)
        return [record_of(self._decrypted(record)) for record in opened]

    def _decrypted(self, record: records_pb2.Record) -> records_pb2.Record:
        has_body = self._whole and not record.attachment_bytes
        return self._bodies.decrypted(record) if has_body else record


class Scanning:
    """The records of a scan. After the last one, ``withheld`` says how many records may not leave for the
    caller."""

    def __init__(self, message: records_pb2.ScanRecordsRequest, bodies: Bodies) -> None:
        self._whole, self._bodies = message.view == records_pb2.RECORD_VIEW_WHOLE, bodies
        self._message = message
        self.withheld = 0

    def _answered(
        self, page: records_pb2.ScanRecordsResponse, secrets: Secrets
    ) -> Iterator[Record]:
        self.withheld += page.withheld
        for record in page.records:
            record = self._bodies.opened_of_many(record, secrets)
            whole = self._whole and not record.attachment_bytes
            yield record_of(self._bodies.decrypted(record) if whole else record)

    def _refused(self, failed: Any) -> errors.BailiwickError:
        """Why a scan ended. A key from before is forgotten, so the next scan has that of now."""
        refused = errors.of_rpc(failed)
        self._bodies.unknown(refused)
        return refused


def list_message(
    of: dict[str, Any], order_by: str, view: View, page_size: int
) -> records_pb2.ListRecordsRequest:
    name = f"RECORD_VIEW_{view.upper()}"
    return records_pb2.ListRecordsRequest(**of, order_by=order_by, view=name, page_size=page_size)


def count_message(of: dict[str, Any]) -> records_pb2.CountRecordsRequest:
    return records_pb2.CountRecordsRequest(**of)


def choice(
    collection: str,
    regions: Sequence[str],
    subject: str,
    domicile: str,
    participant: Person | None,
    filter: str,
    purpose: str,
) -> dict[str, Any]:
    """The fields that lists and counts have."""
    if isinstance(regions, str):
        raise TypeError("regions is a sequence of names")
    of: dict[str, Any] = {
        "collection": collection, "regions": regions, "filter": filter, "purpose": purpose,
    }
    if subject:
        of["subject"] = records_pb2.SubjectRef(id=subject, domicile=domicile)
    if participant is not None:
        of["participant"] = records_pb2.SubjectRef(id=participant[0], domicile=participant[1])
    return of


def count_of(answer: records_pb2.CountRecordsResponse) -> Count:
    missing = missing_of(answer.missing)
    return Count(answer.count, answer.withheld, frozenset(answer.unreachable), missing)
