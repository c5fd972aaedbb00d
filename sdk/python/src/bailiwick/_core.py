"""What both clients share: addresses, credentials, messages, and when a call is made again."""

from __future__ import annotations

import ipaddress
import os
import random
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import grpc

from bailiwick import _attributes, errors
from bailiwick._attributes import AttributeValue
from bailiwick.receipts import Entry, Expected, check_write
from bailiwick.v1 import jurisdiction_pb2, ledger_pb2, records_pb2, subjects_pb2

BACKOFF_MIN, BACKOFF_MAX = 0.05, 2.0
TOKEN_BYTES_MAX = 8 << 10
OPTIONS = [
    ("grpc.max_receive_message_length", 17 << 20),
    ("grpc.max_send_message_length", 34 << 20),
    # Calls are made again here, by one rule.
    ("grpc.enable_retries", 0),
]

#: A token, or what gives one before each call, or the file that holds it.
TokenSource = str | Path | Callable[[], str] | None


@dataclass(frozen=True)
class Tls:
    """The authorities that are trusted, and the certificate that is presented, as PEM. Without
    authorities, those of the platform are trusted."""

    authorities: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    #: The name in the gateway's certificate, if it is not the address's host.
    expected_name: str | None = None

    def __repr__(self) -> str:
        return "Tls(...)"


@dataclass(frozen=True)
class Evidence:
    """A fact about the subject, from which the rules derive the region."""

    kind: str
    value: str

    def __repr__(self) -> str:
        return f"Evidence({self.kind})"


@dataclass(frozen=True)
class Put:
    """A put. ``request_id`` is new for each new request, and the same for a retry."""

    subject: str
    collection: str
    key: str
    body: bytes
    domicile: str = ""
    evidence: tuple[Evidence, ...] = ()
    create_subject: bool = False
    if_version: int | None = None
    etag: str = ""
    validate_only: bool = False
    proof: bool = False
    request_id: str = ""
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    #: People besides the owner that the record is about: subject and domicile of each.
    participants: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return "Put(...)"


@dataclass(frozen=True)
class Written:
    """The answer to a write, checked against the request."""

    subject: str
    #: The region that holds the subject's records of the collection: later calls need it.
    domicile: str
    version: int
    etag: str
    replayed: bool
    #: The receipt as the gateway gave it; None with ``validate_only``.
    receipt: ledger_pb2.Receipt | None
    #: The receipt's entry. None: nothing shows the write but the gateway's word, since a later write
    #: has superseded it; or it was a dry run.
    entry: Entry | None

    def __repr__(self) -> str:
        return f"Written(domicile={self.domicile!r}, version={self.version})"


@dataclass(frozen=True)
class Record:
    """A record, as its region holds it."""

    subject: str
    domicile: str
    collection: str
    key: str
    body: bytes
    version: int
    etag: str
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    #: People besides the owner that the record is about: subject and domicile of each.
    participants: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"Record(domicile={self.domicile!r}, version={self.version})"


@dataclass(frozen=True)
class Settings:
    """The settings and credentials of a client."""

    url: str
    token: TokenSource = None
    tls: Tls | None = None
    #: Seconds for one call, all attempts and waits included.
    deadline: float = 10.0
    attempts: int = 5
    #: The tenant whose writes these are: a receipt that names another one is refused.
    tenant: str | None = None
    #: Streams at the most on which puts travel that are made at the same time. 0: each is a call.
    lanes: int = 0
    #: The regions to which a call about one record goes on, once, when its subject has moved there.
    homes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Settings({self.url!r})"

    def target(self) -> tuple[str, bool]:
        """Host and port, and whether the address is one of TLS."""
        parts = urlsplit(self.url)
        bare = parts.path in ("", "/") and not parts.query and not parts.fragment
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or not bare:
            raise ValueError("the gateway's address is not of the form https://host:port")
        secure = parts.scheme == "https"
        if not secure and not _is_loopback(parts.hostname):
            raise ValueError(
                "the gateway's address is plaintext to another machine: use https://, or http:// on"
                " loopback"
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"{host}:{parts.port or (443 if secure else 80)}", secure

    def channel_options(self, own: bool = False) -> list[tuple[str, object]]:
        """``own``: of a connection that is not shared with other channels."""
        name = self.tls.expected_name if self.tls else None
        options: list[tuple[str, object]] = list(OPTIONS)
        if name:
            options.append(("grpc.ssl_target_name_override", name))
        if own:
            options.append(("grpc.use_local_subchannel_pool", 1))
        return options

    def credentials(self) -> grpc.ChannelCredentials:
        tls = self.tls or Tls()
        return grpc.ssl_channel_credentials(tls.authorities, tls.key, tls.certificate)

    def bearer(self) -> str | None:
        source = self.token
        if source is None:
            return None
        if isinstance(source, Path):
            token = source.read_text(encoding="utf-8")
        else:
            token = source() if callable(source) else source
        token = token.strip()
        if not 0 < len(token) <= TOKEN_BYTES_MAX or not all("!" <= c <= "~" for c in token):
            raise ValueError("the token is empty, over 8 KiB, or no token at all")
        return f"Bearer {token}"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


#: Messages about one record of a subject.
OF_ONE_RECORD = (
    records_pb2.PutRecordRequest,
    records_pb2.GetRecordRequest,
    records_pb2.PatchRecordRequest,
    records_pb2.DeleteRecordRequest,
)


class Attempts:
    """The attempts of one call: what each sends along, and whether there is another."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.until = time.monotonic() + settings.deadline
        self.bearer = settings.bearer()
        self.left, self.backoff, self.renewed = max(settings.attempts, 1), BACKOFF_MIN, False
        self.followed = False
        #: Whether no attempt before the last may have had an effect.
        self.once = True

    def timeout(self) -> float:
        return max(self.until - time.monotonic(), 0.001)

    def metadata(self) -> list[tuple[str, str]]:
        return [("authorization", self.bearer)] if self.bearer else []

    def again(self, failed: grpc.RpcError, message: object = None) -> float:
        """How long to wait before the next attempt. Raises the error if there is none. A message about
        one record is turned to the region to which its subject has moved, if the settings list it."""
        return self.after(errors.of_rpc(failed), message)

    def after(self, error: errors.BailiwickError, message: object = None) -> float:
        """The same for an error that a put on a lane has."""
        if self._follows(error, message):
            return 0.0
        if isinstance(error, errors.Unauthenticated) and not self.renewed:
            # The token ran out on its way, and there is a new one: once.
            self.renewed = True
            bearer, self.bearer = self.bearer, self.settings.bearer()
            if bearer != self.bearer:
                return 0.0
        return self.pause(error)

    def _follows(self, error: errors.BailiwickError, message: object) -> bool:
        """Turns a message to the new home of its subject: once, and nothing was done before."""
        if self.followed or not isinstance(error, errors.Refused) or error.reason != "SUBJECT_MOVED":
            return False
        region = error.region
        if region not in self.settings.homes or not isinstance(message, OF_ONE_RECORD):
            return False
        if message.subject.domicile == region or getattr(message, "sealed_key", ""):
            return False
        message.subject.domicile, self.followed = region, True
        return True

    def pause(self, error: errors.BailiwickError) -> float:
        """The same for an error that is known."""
        self.left -= 1
        late = time.monotonic() >= self.until
        if late and not isinstance(error, errors.Refused):
            raise errors.TimedOut("the gateway did not answer in time") from None
        if error.retry_after is None or self.left <= 0:
            raise error from None
        wait = error.retry_after + self.backoff * random.uniform(0.5, 1.0)
        if wait >= self.until - time.monotonic():
            raise error from None
        self.backoff = min(self.backoff * 2, BACKOFF_MAX)
        self.once = False
        self.bearer = self.settings.bearer()
        return wait


def new_request_id() -> str:
    """A new id for a new request."""
    return str(uuid.UUID(bytes=os.urandom(16), version=4))


def evidence_of(evidence: Iterable[Evidence]) -> list[jurisdiction_pb2.Evidence]:
    return [
        jurisdiction_pb2.Evidence(kind=item.kind.upper(), value=item.value) for item in evidence
    ]


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
        receipt_view=_view(put.proof),
        attributes=_attributes.to_api(put.attributes),
        participants=participants_of(put.participants),
    )


def participants_of(people: Iterable[tuple[str, str]]) -> list[records_pb2.SubjectRef]:
    return [records_pb2.SubjectRef(id=subject, domicile=domicile) for subject, domicile in people]


def _view(proof: bool) -> ledger_pb2.ReceiptView:
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
        receipt_view=_view(proof),
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
        receipt_view=_view(proof),
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
    )


def _receipt(answer: object) -> ledger_pb2.Receipt | None:
    return answer.receipt if answer.HasField("receipt") else None  # type: ignore[attr-defined]


def _domicile(asked: records_pb2.SubjectRef, answered: records_pb2.SubjectRef) -> str:
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
    receipt, entry = _receipt(answer), None
    domicile = answer.subject.domicile
    if not request.validate_only:
        domicile = _domicile(request.subject, answer.subject)
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
        request.subject.id, domicile, answer.version, answer.etag, answer.replayed, receipt, entry
    )


def check_delete(
    request: records_pb2.DeleteRecordRequest,
    answer: records_pb2.DeleteRecordResponse,
    tenant: str | None,
    first: bool,
) -> Written:
    """The same for a delete, which has no content."""
    receipt, entry, subject = _receipt(answer), None, request.subject
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
    receipt, entry, subject = _receipt(answer), None, request.subject
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
        subject.id, subject.domicile, answer.version, answer.etag, answer.replayed, receipt, entry
    )


def check_create(
    request: subjects_pb2.CreateSubjectRequest,
    answer: subjects_pb2.CreateSubjectResponse,
    tenant: str | None,
    first: bool,
) -> Written:
    """The same for the creation of a subject, whose statement has no key and version 0."""
    receipt, domicile = _receipt(answer), _domicile(request.subject, answer.subject)
    expected = Expected(
        domicile, request.subject.id, request.collection, "", 0, b"", ("CREATE",), superseded=False
    )
    entry = check_write(receipt, answer.replayed, expected, tenant=tenant, first=first)
    return Written(request.subject.id, domicile, 0, "", answer.replayed, receipt, entry)
