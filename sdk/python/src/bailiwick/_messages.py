"""The messages of both clients, and what their answers say, checked against them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from bailiwick import _attributes, errors
from bailiwick._attributes import AttributeValue
from bailiwick._core import Delete, Evidence, Put, Record, Written, new_request_id
from bailiwick.receipts import EVIDENCE, Expected, check_write
from bailiwick.v1 import jurisdiction_pb2, ledger_pb2, records_pb2, subjects_pb2


def evidence_of(evidence: Iterable[Evidence]) -> list[jurisdiction_pb2.Evidence]:
    return [
        jurisdiction_pb2.Evidence(kind=_kind(item.kind), value=item.value) for item in evidence
    ]


def _kind(name: str) -> str:
    if name.lower() not in EVIDENCE:
        raise ValueError(f"the kind of evidence is one of {', '.join(EVIDENCE)}")
    return name.upper()


def put_message(put: Put) -> records_pb2.PutRecordRequest:
    return records_pb2.PutRecordRequest(
        subject=records_pb2.SubjectRef(id=put.subject, domicile=put.domicile),
        collection=put.collection,
        key=put.key,
        body=put.body,
        request_id=put.request_id or new_request_id(),
        if_version=put.if_version,
        etag=put.etag,
        create_subject=put.create_subject,
        evidence=evidence_of(put.evidence),
        validate_only=put.validate_only,
        receipt_view=view_of(put.proof),
        attributes=_attributes.to_api(put.attributes),
        participants=participants_of(put.participants),
        expire_time=time_of(put.expire_time),
    )


def time_of(moment: datetime | None) -> Timestamp | None:
    """A moment as the API has it."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    time = Timestamp()
    time.FromDatetime(moment)
    return time


def participants_of(people: Iterable[tuple[str, str]]) -> list[records_pb2.SubjectRef]:
    return [records_pb2.SubjectRef(id=subject, domicile=domicile) for subject, domicile in people]


def view_of(proof: bool) -> ledger_pb2.ReceiptView:
    return ledger_pb2.RECEIPT_VIEW_FULL if proof else ledger_pb2.RECEIPT_VIEW_BASIC


def get_message(
    subject: str, domicile: str, collection: str, key: str, purpose: str
) -> records_pb2.GetRecordRequest:
    reference = records_pb2.SubjectRef(id=subject, domicile=domicile)
    return records_pb2.GetRecordRequest(
        subject=reference, collection=collection, key=key, purpose=purpose
    )


def scan_message(
    collection: str, region: str, purpose: str, filter: str, bodies: bool
) -> records_pb2.ScanRecordsRequest:
    view = records_pb2.RECORD_VIEW_WHOLE if bodies else records_pb2.RECORD_VIEW_ATTRIBUTES
    return records_pb2.ScanRecordsRequest(
        collection=collection, region=region, purpose=purpose, filter=filter, view=view
    )


def delete_message(
    subject: str,
    domicile: str,
    collection: str,
    key: str,
    if_version: int | None,
    etag: str,
    validate_only: bool,
    proof: bool,
    request_id: str,
) -> records_pb2.DeleteRecordRequest:
    return records_pb2.DeleteRecordRequest(
        subject=records_pb2.SubjectRef(id=subject, domicile=domicile),
        collection=collection,
        key=key,
        request_id=request_id or new_request_id(),
        if_version=if_version,
        etag=etag,
        validate_only=validate_only,
        receipt_view=view_of(proof),
    )


def batch_delete_message(one: Delete) -> records_pb2.DeleteRecordRequest:
    return delete_message(
        one.subject, one.domicile, one.collection, one.key, one.if_version, one.etag,
        one.validate_only, one.proof, one.request_id,
    )


def patch_message(
    subject: str,
    domicile: str,
    collection: str,
    key: str,
    body: bytes | None,
    attributes: Mapping[str, AttributeValue],
    remove_attributes: Sequence[str],
    if_version: int | None,
    etag: str,
    validate_only: bool,
    proof: bool,
    request_id: str,
) -> records_pb2.PatchRecordRequest:
    return records_pb2.PatchRecordRequest(
        subject=records_pb2.SubjectRef(id=subject, domicile=domicile),
        collection=collection,
        key=key,
        request_id=request_id or new_request_id(),
        if_version=if_version,
        etag=etag,
        validate_only=validate_only,
        receipt_view=view_of(proof),
        body=body,
        attributes=_attributes.to_api(attributes),
        remove_attributes=remove_attributes,
    )


def create_message(
    subject: str, collection: str, domicile: str, evidence: Iterable[Evidence], request_id: str
) -> subjects_pb2.CreateSubjectRequest:
    return subjects_pb2.CreateSubjectRequest(
        subject=records_pb2.SubjectRef(id=subject, domicile=domicile),
        collection=collection,
        evidence=evidence_of(evidence),
        request_id=request_id or new_request_id(),
    )


def resolve_message(
    collection: str, evidence: Iterable[Evidence]
) -> subjects_pb2.ResolvePlacementRequest:
    return subjects_pb2.ResolvePlacementRequest(
        collection=collection, evidence=evidence_of(evidence)
    )


def record_of(record: records_pb2.Record) -> Record:
    return Record(
        record.subject.id, record.subject.domicile, record.collection, record.key, record.body,
        record.version, record.etag, _attributes.of_api(record.attributes),
        tuple((one.id, one.domicile) for one in record.participants),
        record.expire_time.ToDatetime(tzinfo=UTC) if record.HasField("expire_time") else None,
        record.attachment_bytes,
    )


def receipt_of(answer: object) -> ledger_pb2.Receipt | None:
    return answer.receipt if answer.HasField("receipt") else None  # type: ignore[attr-defined]


def ruling_of(answer: object) -> jurisdiction_pb2.Ruling | None:
    return answer.ruling if answer.HasField("ruling") else None  # type: ignore[attr-defined]


def missing_of(regions: Iterable[jurisdiction_pb2.RegionMissing]) -> dict[str, str]:
    """Regions that are missing in an answer, with the reason of each."""
    return {one.region: one.reason for one in regions}


def domicile_of(asked: records_pb2.SubjectRef, answered: records_pb2.SubjectRef) -> str:
    if answered.id != asked.id:
        raise errors.Unproven("the answer is about another subject")
    if not answered.domicile or asked.domicile not in ("", answered.domicile):
        raise errors.Unproven("the answer is of another region than the one that was asked for")
    return answered.domicile


def check_put(
    request: records_pb2.PutRecordRequest,
    answer: records_pb2.PutRecordResponse,
    tenant: str | None,
    first: bool,
) -> Written:
    """Checks a put's answer: that its receipt speaks of this very write, in a log of the region."""
    receipt, entry = receipt_of(answer), None
    domicile = answer.subject.domicile
    if not request.validate_only:
        domicile = domicile_of(request.subject, answer.subject)
        if answer.version < 1:
            raise errors.Unproven("the answer has no version")
        only_new = request.HasField("if_version") and request.if_version == 0
        kinds = ("PLACE", "REPLACE") if answer.version > 1 and not only_new else ("PLACE",)
        expected = Expected(
            domicile, request.subject.id, request.collection, request.key, answer.version,
            request.body, kinds,
        )
        entry = check_write(receipt, answer.replayed, expected, tenant=tenant, first=first)
    return Written(
        request.subject.id, domicile, answer.version, answer.etag, answer.replayed, receipt, entry,
        ruling_of(answer), missing_of(answer.unreachable),
    )


def check_delete(
    request: records_pb2.DeleteRecordRequest,
    answer: records_pb2.DeleteRecordResponse,
    tenant: str | None,
    first: bool,
) -> Written:
    """The same for a delete, which has no content."""
    receipt, entry, subject = receipt_of(answer), None, request.subject
    if not request.validate_only:
        if answer.version < 1:
            raise errors.Unproven("the answer has no version")
        expected = Expected(
            subject.domicile, subject.id, request.collection, request.key, answer.version, b"",
            ("DELETE",),
        )
        entry = check_write(receipt, answer.replayed, expected, tenant=tenant, first=first)
    return Written(
        subject.id, subject.domicile, answer.version, "", answer.replayed, receipt, entry
    )


def check_patch(
    request: records_pb2.PatchRecordRequest,
    answer: records_pb2.PatchRecordResponse,
    tenant: str | None,
    first: bool,
) -> Written:
    """The same for a patch. Where it leaves the body as it is, the content is not known here."""
    receipt, entry, subject = receipt_of(answer), None, request.subject
    if not request.validate_only:
        if answer.version < 1:
            raise errors.Unproven("the answer has no version")
        body = request.body if request.HasField("body") else None
        expected = Expected(
            subject.domicile, subject.id, request.collection, request.key, answer.version, body,
            ("REPLACE",),
        )
        entry = check_write(receipt, answer.replayed, expected, tenant=tenant, first=first)
    return Written(
        subject.id, subject.domicile, answer.version, answer.etag, answer.replayed, receipt, entry,
        ruling_of(answer),
    )


def check_touch(
    request: records_pb2.TouchRecordRequest,
    answer: records_pb2.TouchRecordResponse,
    tenant: str | None,
    first: bool,
) -> Written:
    """The same for a touch, which does not know the content."""
    receipt, entry, subject = receipt_of(answer), None, request.subject
    if not request.validate_only:
        if answer.version < 1:
            raise errors.Unproven("the answer has no version")
        expected = Expected(
            subject.domicile, subject.id, request.collection, request.key, answer.version, None,
            ("REPLACE",),
        )
        entry = check_write(receipt, answer.replayed, expected, tenant=tenant, first=first)
    return Written(
        subject.id, subject.domicile, answer.version, answer.etag, answer.replayed, receipt, entry
    )


def check_create(
    request: subjects_pb2.CreateSubjectRequest,
    answer: subjects_pb2.CreateSubjectResponse,
    tenant: str | None,
    first: bool,
) -> Written:
    """The same for the creation of a subject, whose statement has no key and version 0."""
    receipt, domicile = receipt_of(answer), domicile_of(request.subject, answer.subject)
    expected = Expected(
        domicile, request.subject.id, request.collection, "", 0, b"", ("CREATE",), superseded=False
    )
    entry = check_write(receipt, answer.replayed, expected, tenant=tenant, first=first)
    return Written(
        request.subject.id, domicile, 0, "", answer.replayed, receipt, entry, ruling_of(answer),
        missing_of(answer.unreachable),
    )
