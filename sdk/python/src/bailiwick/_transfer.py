"""Attachments: what both clients share. An upload goes on where it was cut, a download too; neither holds
more than a few messages, however large the attachment is."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import grpc

from bailiwick import _attributes, errors
from bailiwick._attributes import AttributeValue
from bailiwick._core import Attempts, Evidence, Settings, Written, new_request_id
from bailiwick._messages import (
    domicile_of,
    evidence_of,
    missing_of,
    participants_of,
    receipt_of,
    ruling_of,
    time_of,
    view_of,
)
from bailiwick.receipts import Expected, check_write, decode_statement
from bailiwick.v1 import attachments_pb2, records_pb2

#: Bytes of one message, and of a chunk, which no message crosses.
MESSAGE_BYTES, CHUNK_BYTES = 256 << 10, 1 << 20
#: What passes when an upload is taken up again: what is stored is where it goes on.
_TAKEN_UP_AGAIN = ("UPLOAD_OUT_OF_STEP", "UPLOAD_UNKNOWN", "WRITE_OUTCOME_UNKNOWN")

#: What can be uploaded: bytes, a file's path, or an open binary file that can be read again.
Uploadable = bytes | Path | BinaryIO


@dataclass(frozen=True)
class Attachment:
    """What an attachment is, without its body."""

    subject: str
    domicile: str
    collection: str
    key: str
    #: Bytes of the whole.
    size: int
    #: SHA-256 of the whole; empty if the record was stored by a put.
    sha256: bytes
    version: int
    etag: str
    #: None: it does not expire.
    expire_time: datetime | None = None
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Attachment(domicile={self.domicile!r}, version={self.version}, size={self.size})"


class Source:
    """What is uploaded, as bytes at a place."""

    def __init__(self, content: Uploadable) -> None:
        self._opened = content.open("rb") if isinstance(content, Path) else None
        self._file: BinaryIO | None = self._opened
        self._bytes = content if isinstance(content, bytes) else b""
        if not isinstance(content, (bytes, Path)):
            self._file = content
        #: A stream that was cut may still read when the next one begins.
        self._lock = threading.Lock()

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def read(self, at: int, length: int) -> bytes:
        if self._file is None:
            return self._bytes[at : at + length]
        with self._lock:
            self._file.seek(at)
            return self._file.read(length)

    def hashed(self, prefix: bytes = b"") -> tuple[int, bytes]:
        """How many bytes it has, and the SHA-256 of a prefix and them."""
        digest, size = hashlib.sha256(prefix), 0
        while data := self.read(size, MESSAGE_BYTES):
            digest.update(data)
            size += len(data)
        return size, digest.digest()


class _Transfer:
    """The attempts of a transfer: as many as the settings allow without a byte in between."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._attempts: Attempts | None = None
        #: Whether no attempt before this one may have had an effect.
        self.once = True
        #: What is sent cannot be read.
        self._failed: Exception | None = None

    def metadata(self) -> list[tuple[str, str]]:
        return self._since().metadata()

    def _since(self) -> Attempts:
        if self._attempts is None:
            self._attempts = Attempts(self.settings)
        return self._attempts

    def _moved(self) -> None:
        self._attempts = None

    def _unread(self) -> None:
        self.once = False
        if self._failed is not None:
            raise self._failed

    def again(self, failed: grpc.RpcError) -> float:
        """How long to wait before the next attempt. Raises the error if there is none."""
        self._unread()
        error = errors.of_rpc(failed)
        if isinstance(error, errors.Refused) and error.reason in _TAKEN_UP_AGAIN:
            error.retry_after = 0.0
            return self._since().pause(error)
        return self._since().again(failed)

    def cut(self) -> float:
        """The same where the stream ended without an answer, or was silent."""
        self._unread()
        return self._since().pause(errors.ConnectionBroken("the stream ended before its end"))


class Uploading(_Transfer):
    """One upload."""

    def __init__(
        self, settings: Settings, source: Source, subject: str, domicile: str, collection: str,
        key: str, attributes: Mapping[str, AttributeValue], if_version: int | None, etag: str,
        expire_time: datetime | None, proof: bool, request_id: str, create_subject: bool,
        evidence: Iterable[Evidence], participants: Iterable[tuple[str, str]],
    ) -> None:
        super().__init__(settings)
        self._source, self._new = source, not request_id
        self.size, sha256 = source.hashed()
        self.spec = attachments_pb2.UploadSpec(
            subject=records_pb2.SubjectRef(id=subject, domicile=domicile),
            collection=collection,
            key=key,
            request_id=request_id or new_request_id(),
            size=self.size,
            sha256=sha256,
            attributes=_attributes.to_api(attributes),
            if_version=if_version,
            etag=etag,
            receipt_view=view_of(proof),
            create_subject=create_subject,
            evidence=evidence_of(evidence),
            participants=participants_of(participants),
            expire_time=time_of(expire_time),
        )
        self.stored = 0

    def first(self) -> attachments_pb2.UploadAttachmentRequest:
        return attachments_pb2.UploadAttachmentRequest(spec=self.spec)

    def rest(self, at: int) -> Iterator[attachments_pb2.UploadAttachmentRequest]:
        """The messages from that byte on."""
        while at < self.size:
            end = min(self.size, (at // CHUNK_BYTES + 1) * CHUNK_BYTES, at + MESSAGE_BYTES)
            try:
                data = self._source.read(at, end - at)
            except (OSError, ValueError) as error:
                self._failed = error
                return
            if not data:
                # It has become shorter: the gateway refuses what ends early.
                return
            part = attachments_pb2.UploadData(offset=at, data=data)
            yield attachments_pb2.UploadAttachmentRequest(data=part)
            at += len(data)

    def answered(
        self, answer: attachments_pb2.UploadAttachmentResponse
    ) -> records_pb2.PutRecordResponse | None:
        """Takes an answer. Gives the last one, which is that of the write."""
        if answer.WhichOneof("outcome") == "done":
            return answer.done
        if answer.committed_bytes > self.stored:
            self._moved()
        self.stored = answer.committed_bytes
        return None

    def check(self, answer: records_pb2.PutRecordResponse) -> Written:
        """Checks answer and receipt against what was sent, which is read once more for that."""
        spec, receipt = self.spec, receipt_of(answer)
        domicile = domicile_of(spec.subject, answer.subject)
        if answer.version < 1:
            raise errors.Unproven("the answer has no version")
        only_new = spec.HasField("if_version") and spec.if_version == 0
        kinds = ("PLACE", "REPLACE") if answer.version > 1 and not only_new else ("PLACE",)
        expected = Expected(
            domicile, spec.subject.id, spec.collection, spec.key, answer.version, None, kinds
        )
        first = self.once and self._new
        entry = check_write(
            receipt, answer.replayed, expected, tenant=self.settings.tenant, first=first
        )
        if entry is not None and receipt is not None:
            digest = decode_statement(receipt.statement).digest
            if not hmac.compare_digest(self._source.hashed(receipt.opening)[1], digest):
                raise errors.Unproven("the receipt's statement is about another content")
        return Written(
            spec.subject.id, domicile, answer.version, answer.etag, answer.replayed, receipt, entry,
            ruling_of(answer), missing_of(answer.unreachable),
        )


class Downloading(_Transfer):
    """One download. It never mixes two versions."""

    def __init__(
        self, settings: Settings, subject: str, domicile: str, collection: str, key: str,
        offset: int, length: int, etag: str, purpose: str,
    ) -> None:
        super().__init__(settings)
        self.request = attachments_pb2.DownloadAttachmentRequest(
            subject=records_pb2.SubjectRef(id=subject, domicile=domicile),
            collection=collection,
            key=key,
            offset=offset,
            length=length,
            etag=etag,
            purpose=purpose,
        )
        self._whole = offset == 0 and length == 0
        self._first, self._wanted = offset, length
        self._hash, self._come, self._total, self._sha256 = hashlib.sha256(), 0, 0, b""

    def answered(self, answer: attachments_pb2.DownloadAttachmentResponse) -> bytes:
        """Takes an answer: its bytes, of which the first has none."""
        if answer.WhichOneof("part") == "attachment":
            info = answer.attachment
            self.request.etag, self._sha256 = info.etag, info.sha256
            rest = max(info.size - self._first, 0)
            self._total = min(self._wanted, rest) if self._wanted else rest
            return b""
        self._hash.update(answer.data)
        self._come += len(answer.data)
        self.request.offset = self._first + self._come
        if self._wanted:
            self.request.length = self._wanted - self._come
        self._moved()
        return answer.data

    def ended(self) -> bool:
        """Whether all of it has come, at the end of a stream. Raises :class:`Altered`."""
        if not self.request.etag or self._come < self._total:
            return False
        if self._whole and self._sha256 and self._hash.digest() != self._sha256:
            raise errors.Altered("the bytes do not have the hash that the region states")
        return True

    def complete(self) -> bool:
        """Whether nothing is left to ask for, after a stream that was cut right at its end."""
        return bool(self.request.etag) and 0 < self._total <= self._come


def stat_message(
    subject: str, domicile: str, collection: str, key: str, purpose: str
) -> attachments_pb2.StatAttachmentRequest:
    reference = records_pb2.SubjectRef(id=subject, domicile=domicile)
    return attachments_pb2.StatAttachmentRequest(
        subject=reference, collection=collection, key=key, purpose=purpose
    )


def attachment_of(info: attachments_pb2.AttachmentInfo) -> Attachment:
    expires = info.expire_time.ToDatetime(tzinfo=UTC) if info.HasField("expire_time") else None
    return Attachment(
        info.subject.id, info.subject.domicile, info.collection, info.key, info.size, info.sha256,
        info.version, info.etag, expires, _attributes.of_api(info.attributes),
    )
