"""Subjects as a whole, their moves, and what else both clients ask in one way: each question with its
message, and how its answer is checked."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeVar

import grpc

from bailiwick import errors
from bailiwick._core import Evidence, Record, Settings, Written, new_request_id
from bailiwick._messages import check_touch, evidence_of, record_of, time_of, view_of
from bailiwick._sealing import Bodies
from bailiwick.receipts import Entry, Expected, check_write
from bailiwick.sealed import TransitKey
from bailiwick.v1 import operations_pb2, records_pb2, subjects_pb2

A = TypeVar("A")
P = ParamSpec("P")

#: Why a person's data must go.
Ground = Literal["", "unlawful", "purpose_reached", "consent_withdrawn", "demand"]


@dataclass(frozen=True)
class Changed(Generic[A]):
    """The answer to a change of a subject, checked against the request."""

    #: The message of the API.
    answer: A
    #: The receipt's entry. None: nothing was changed now, or the receipt was given once before.
    entry: Entry | None

    def __repr__(self) -> str:
        return f"Changed({self.entry.kind if self.entry else None})"


@dataclass(frozen=True)
class Question(Generic[A]):
    """A call: of which service, and what its answer says for this tenant; ``first``: no attempt before
    the last may have had an effect."""

    service: str
    method: str
    message: Any
    read: Callable[[Any, str | None, bool], A]


def _plain(service: str, method: str, message: Any) -> Question[Any]:
    return Question(service, method, message, lambda answer, *_: answer)


def _ref(subject: str, domicile: str) -> records_pb2.SubjectRef:
    return records_pb2.SubjectRef(id=subject, domicile=domicile)


def _entry(
    message: Any, answer: Any, kind: str, tenant: str | None, first: bool, collection: str = ""
) -> Entry | None:
    """The entry of a change of a subject: its statement has no key, and no collection but that of an
    erasure of one."""
    expected = Expected(
        message.subject.domicile, message.subject.id, collection, "", 0, b"", (kind,),
    )
    receipt = answer.receipt if answer.HasField("receipt") else None
    return check_write(receipt, answer.replayed, expected, tenant=tenant, first=first)


def _change(method: str, message: Any, kind: str) -> Question[Any]:
    """A change that is known by what it leaves: where nothing was changed there is no receipt."""

    def read(answer: Any, tenant: str | None, _: bool) -> Changed[Any]:
        stands = getattr(answer, "stands", True)
        changes = stands and not answer.replayed and not message.validate_only
        return Changed(answer, _entry(message, answer, kind, tenant, False) if changes else None)

    return Question("subjects", method, message, read)


def _once(method: str, message: Any, kind: str, drawn: bool, collection: str) -> Question[Any]:
    """A change that is known by its request id."""

    def read(answer: Any, tenant: str | None, first: bool) -> Changed[Any]:
        if message.validate_only:
            return Changed(answer, None)
        first = first and drawn
        return Changed(answer, _entry(message, answer, kind, tenant, first, collection))

    return Question("subjects", method, message, read)


def subject(
    subject: str, *, domicile: str, purpose: str = ""
) -> Question[subjects_pb2.Subject]:
    """What a region holds of a subject, without its records: for the person who asks."""
    message = subjects_pb2.GetSubjectRequest(subject=_ref(subject, domicile), purpose=purpose)
    return _plain("subjects", "Get", message)


def locate(subject: str) -> Question[subjects_pb2.LocateSubjectResponse]:
    """Finds the regions that hold a subject. An answer that is not complete may lack some."""
    message = subjects_pb2.LocateSubjectRequest(subject_id=subject)
    return _plain("subjects", "Locate", message)


def reassess(
    subject: str,
    *,
    domicile: str,
    reason: str,
    evidence: Iterable[Evidence] = (),
    validate_only: bool = False,
    proof: bool = False,
) -> Question[Changed[subjects_pb2.ReassessSubjectResponse]]:
    """Makes the rulings of a subject again, with this evidence in the place of what is known. ``reason``
    is for the placement log, and names no person."""
    message = subjects_pb2.ReassessSubjectRequest(
        subject=_ref(subject, domicile), evidence=evidence_of(evidence), reason=reason,
        validate_only=validate_only, receipt_view=view_of(proof),
    )
    return _change("Reassess", message, "REASSESS")


def _choice(
    subject: str, domicile: str, region: str, reason: str, validate_only: bool, proof: bool,
    request_id: str,
) -> subjects_pb2.AdjudicateSubjectRequest:
    return subjects_pb2.AdjudicateSubjectRequest(
        subject=_ref(subject, domicile), region=region, reason=reason, validate_only=validate_only,
        request_id=request_id or new_request_id(), receipt_view=view_of(proof),
    )


def adjudicate(
    subject: str,
    region: str = "",
    *,
    domicile: str,
    reason: str,
    validate_only: bool = False,
    proof: bool = False,
    request_id: str = "",
) -> Question[Changed[subjects_pb2.AdjudicateSubjectResponse]]:
    """Proposes the region of a subject where the rules leave a choice; a dry run without a region lists
    those that are open. It counts once another caller has confirmed it."""
    message = _choice(subject, domicile, region, reason, validate_only, proof, request_id)
    return _change("Adjudicate", message, "ADJUDICATE")


def confirm(
    subject: str,
    region: str,
    *,
    domicile: str,
    reason: str,
    validate_only: bool = False,
    proof: bool = False,
    request_id: str = "",
) -> Question[Changed[subjects_pb2.AdjudicateSubjectResponse]]:
    """Confirms the region that another caller has proposed for a subject."""
    message = _choice(subject, domicile, region, reason, validate_only, proof, request_id)
    return _change("ConfirmAdjudication", message, "ADJUDICATE")


def relocate(
    subject: str,
    region: str,
    *,
    domicile: str,
    reason: str,
    evidence: Iterable[Evidence] = (),
    validate_only: bool = False,
    request_id: str = "",
) -> Question[operations_pb2.Operation]:
    """Orders the move of a subject with all of its records. It goes on by itself: see
    :meth:`operation`."""
    message = subjects_pb2.RelocateSubjectRequest(
        subject=_ref(subject, domicile), region=region, reason=reason,
        evidence=evidence_of(evidence), validate_only=validate_only,
        request_id=request_id or new_request_id(),
    )
    return _plain("subjects", "Relocate", message)


def operation(subject: str, *, domicile: str) -> Question[operations_pb2.Operation]:
    """The move of a subject from this domicile: the one that goes on, or else the last one."""
    message = operations_pb2.GetOperationRequest(subject=_ref(subject, domicile))
    return _plain("operations", "Get", message)


def operations(*, domicile: str = "") -> Question[operations_pb2.ListOperationsResponse]:
    """The moves from a region, or from all, that have not ended."""
    message = operations_pb2.ListOperationsRequest(domicile=domicile)
    return _plain("operations", "List", message)


def cancel_operation(
    subject: str, *, domicile: str, reason: str, request_id: str = ""
) -> Question[operations_pb2.Operation]:
    """Gives up the move of a subject; with ``request_id`` only the one that it ordered."""
    message = operations_pb2.CancelOperationRequest(
        subject=_ref(subject, domicile), reason=reason, request_id=request_id
    )
    return _plain("operations", "Cancel", message)


def erase(
    subject: str,
    *,
    domicile: str,
    reason: str,
    collection: str = "",
    deadline: datetime | None = None,
    ground: Ground = "",
    ground_time: datetime | None = None,
    validate_only: bool = False,
    proof: bool = False,
    request_id: str = "",
) -> Question[Changed[subjects_pb2.EraseSubjectResponse]]:
    """Erases a subject in one region, or one collection of it. The receipt is given once: keep it."""
    name = f"ERASURE_GROUND_{ground.upper() or 'UNSPECIFIED'}"
    message = subjects_pb2.EraseSubjectRequest(
        subject=_ref(subject, domicile), reason=reason, collection=collection, ground=name,
        deadline=time_of(deadline), ground_time=time_of(ground_time),
        validate_only=validate_only, receipt_view=view_of(proof),
        request_id=request_id or new_request_id(),
    )
    return _once("Erase", message, "ERASE", not request_id, collection)


def rotate_key(
    subject: str,
    *,
    domicile: str,
    reason: str,
    validate_only: bool = False,
    proof: bool = False,
    request_id: str = "",
) -> Question[Changed[subjects_pb2.RotateSubjectKeyResponse]]:
    """Replaces the keys of a subject in one region."""
    message = subjects_pb2.RotateSubjectKeyRequest(
        subject=_ref(subject, domicile), reason=reason, validate_only=validate_only,
        receipt_view=view_of(proof), request_id=request_id or new_request_id(),
    )
    return _once("RotateKey", message, "KEY", not request_id, "")


def block(
    subject: str,
    end_time: datetime,
    *,
    domicile: str,
    reason: str,
    then_erase: bool = False,
    validate_only: bool = False,
    proof: bool = False,
) -> Question[Changed[subjects_pb2.BlockSubjectResponse]]:
    """Blocks a subject: its records are kept, and neither read, written nor erased until then."""
    message = subjects_pb2.BlockSubjectRequest(
        subject=_ref(subject, domicile), end_time=time_of(end_time), then_erase=then_erase,
        reason=reason, validate_only=validate_only, receipt_view=view_of(proof),
    )
    return _change("Block", message, "BLOCK")


def unblock(
    subject: str,
    *,
    domicile: str,
    reason: str,
    validate_only: bool = False,
    proof: bool = False,
) -> Question[Changed[subjects_pb2.UnblockSubjectResponse]]:
    """Lifts the block on a subject."""
    message = subjects_pb2.UnblockSubjectRequest(
        subject=_ref(subject, domicile), reason=reason, validate_only=validate_only,
        receipt_view=view_of(proof),
    )
    return _change("Unblock", message, "UNBLOCK")


def touch(
    subject: str,
    collection: str,
    key: str,
    *,
    domicile: str,
    expire_time: datetime | None = None,
    if_version: int | None = None,
    etag: str = "",
    validate_only: bool = False,
    proof: bool = False,
    request_id: str = "",
) -> Question[Written]:
    """Sets when a record expires; without a time it lives on, or as long as the region map allows. The
    content stays, and the version grows."""
    message = records_pb2.TouchRecordRequest(
        subject=_ref(subject, domicile), collection=collection, key=key, etag=etag,
        if_version=if_version, expire_time=time_of(expire_time), validate_only=validate_only,
        receipt_view=view_of(proof), request_id=request_id or new_request_id(),
    )

    def read(answer: Any, tenant: str | None, first: bool) -> Written:
        return check_touch(message, answer, tenant, first and not request_id)

    return Question("records", "Touch", message, read)


class Export:
    """What an export has given so far: it is whole once its end has come, with its number of records."""

    def __init__(
        self, bodies: Bodies, subject: str, domicile: str, purpose: str, key: TransitKey | None
    ) -> None:
        self._bodies, self._count, self._whole = bodies, 0, False
        message = subjects_pb2.ExportSubjectRequest(
            subject=_ref(subject, domicile), purpose=purpose
        )
        self.message, self._seals = bodies.seal_export(message, key)

    def part(self, answer: Any) -> subjects_pb2.Subject | Record | None:
        """The subject or a record; None at the end."""
        which, seals = answer.WhichOneof("part"), self._seals
        if which == "subject":
            if seals is not None:
                seals.begin(answer.subject, answer.seal)
            return answer.subject
        if which == "record":
            self._count += 1
            record = answer.record
            record = self._bodies.opened_of_many(record, None) if seals is None else seals.record(record)
            return record_of(record if record.attachment_bytes else self._bodies.decrypted(record))
        if which == "page" and seals is not None:
            seals.page(answer.page.next, answer.seal)
            return None
        self._whole = which == "end" and answer.end.record_count == self._count
        if self._whole and seals is not None:
            seals.end()
        return None

    def refused(self, failed: Any) -> errors.BailiwickError:
        """Why the export ended. A key from before is forgotten, so the next export has that of now."""
        refused = errors.of_rpc(failed)
        self._bodies.unknown(refused)
        return refused

    def ended(self) -> None:
        """The stream has ended: raises unless it was whole."""
        if not self._whole:
            raise errors.ConnectionBroken("the export ended before it was whole: begin it again")


def for_threads(
    make: Callable[P, Question[A]],
) -> Callable[Concatenate[SubjectCalls, P], A]:
    """A method that asks that question, and waits for the answer."""

    @functools.wraps(make)
    def method(self: SubjectCalls, *args: P.args, **kwargs: P.kwargs) -> A:
        asked = make(*args, **kwargs)
        stub = getattr(self, f"_{asked.service}")
        answer, once = self._call(getattr(stub, asked.method), asked.message)
        return asked.read(answer, self._settings.tenant, once)

    return method


def for_tasks(
    make: Callable[P, Question[A]],
) -> Callable[Concatenate[AsyncSubjectCalls, P], Awaitable[A]]:
    """The same for asyncio."""

    @functools.wraps(make)
    async def method(self: AsyncSubjectCalls, *args: P.args, **kwargs: P.kwargs) -> A:
        asked = make(*args, **kwargs)
        stub = getattr(self, f"_{asked.service}")
        answer, once = await self._call(getattr(stub, asked.method), asked.message)
        return asked.read(answer, self._settings.tenant, once)

    return method


class SubjectCalls:
    """What :class:`bailiwick.Client` has of it."""

    _settings: Settings
    _bodies: Bodies
    _subjects: Any
    _call: Callable[..., tuple[Any, bool]]
    _key_of: Callable[[str], TransitKey]

    subject = for_threads(subject)
    locate = for_threads(locate)
    reassess_subject = for_threads(reassess)
    adjudicate_subject = for_threads(adjudicate)
    confirm_adjudication = for_threads(confirm)
    relocate_subject = for_threads(relocate)
    operation = for_threads(operation)
    operations = for_threads(operations)
    cancel_operation = for_threads(cancel_operation)
    erase_subject = for_threads(erase)
    rotate_subject_key = for_threads(rotate_key)
    block_subject = for_threads(block)
    unblock_subject = for_threads(unblock)
    touch = for_threads(touch)

    def export_subject(
        self, subject: str, *, domicile: str, purpose: str
    ) -> Iterator[subjects_pb2.Subject | Record]:
        """Everything that a region holds of a subject: first what is known of it, then each record; of an
        attachment all but the body. Each export has an entry in the placement log, with the purpose. It
        ends without an error only if it is whole; one that breaks is not begun again by itself."""
        key = self._key_of(domicile) if self._bodies.seals else None
        export = Export(self._bodies, subject, domicile, purpose, key)
        call = self._subjects.Export(export.message, metadata=self._settings.metadata())
        try:
            for answer in call:
                if (part := export.part(answer)) is not None:
                    yield part
            export.ended()
        except grpc.RpcError as failed:
            raise export.refused(failed) from None
        finally:
            call.cancel()


class AsyncSubjectCalls:
    """What :class:`bailiwick.aio.AsyncClient` has of it."""

    _settings: Settings
    _bodies: Bodies
    _subjects: Any
    _call: Callable[..., Awaitable[tuple[Any, bool]]]
    _key_of: Callable[[str], Awaitable[TransitKey]]

    subject = for_tasks(subject)
    locate = for_tasks(locate)
    reassess_subject = for_tasks(reassess)
    adjudicate_subject = for_tasks(adjudicate)
    confirm_adjudication = for_tasks(confirm)
    relocate_subject = for_tasks(relocate)
    operation = for_tasks(operation)
    operations = for_tasks(operations)
    cancel_operation = for_tasks(cancel_operation)
    erase_subject = for_tasks(erase)
    rotate_subject_key = for_tasks(rotate_key)
    block_subject = for_tasks(block)
    unblock_subject = for_tasks(unblock)
    touch = for_tasks(touch)

    async def export_subject(
        self, subject: str, *, domicile: str, purpose: str
    ) -> AsyncIterator[subjects_pb2.Subject | Record]:
        """See :meth:`bailiwick.Client.export_subject`."""
        key = await self._key_of(domicile) if self._bodies.seals else None
        export = Export(self._bodies, subject, domicile, purpose, key)
        call = self._subjects.Export(export.message, metadata=self._settings.metadata())
        try:
            async for answer in call:
                if (part := export.part(answer)) is not None:
                    yield part
            export.ended()
        except grpc.RpcError as failed:
            raise export.refused(failed) from None
        finally:
            call.cancel()
