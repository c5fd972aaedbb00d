"""What is shown of a sealed export: a chain of seals from its collections to the end of the last one. So no
gateway can leave a record out of it."""

from __future__ import annotations

import hashlib
from typing import Any

from bailiwick.sealed import AnswerSecret, NotOpened, listed, parts


def opened(record: Any, secret: AnswerSecret) -> Any:
    """A record of an answer of many, with its body as the caller reads it."""
    bound = listed(
        record.subject.id, record.collection, record.key, record.version, record.etag,
        record.attachment_bytes,
    )
    if not record.sealed:
        raise NotOpened("the answer's body is not sealed to this question")
    record.body = secret.open_bound(bound, record.body)
    record.sealed = False
    return record


class Seals:
    """Those of one export. Each method raises :class:`bailiwick.NotOpened` where a part is not what the
    region gave in this place."""

    def __init__(self, secret: AnswerSecret, subject: str) -> None:
        self._secret, self._subject = secret, subject
        #: Collections that have not ended. None: the first part has not come.
        self._left: list[str] | None = None
        #: Where the page begins that comes now, and its records so far.
        self._from, self._records = b"", hashlib.sha256()

    def begin(self, subject: Any, seal: bytes) -> None:
        """Takes the first part."""
        names = [held.collection for held in subject.collections]
        bound = parts("bailiwick sealed export v1", *(name.encode() for name in names))
        self._secret.open_bound(bound, seal)
        if self._left is not None:
            raise NotOpened("the export has two first parts")
        self._left = names

    def record(self, record: Any) -> Any:
        """Opens a record of the page that comes now."""
        if record.collection != self._now() or record.subject.id != self._subject:
            raise NotOpened("the record is not of the page that comes now")
        self._records.update(parts("", record.body))
        return opened(record, self._secret)

    def page(self, following: bytes, seal: bytes) -> None:
        """Ends that page."""
        digest, self._records = self._records.digest(), hashlib.sha256()
        bound = parts(
            "bailiwick sealed page v1", self._now().encode(), self._from, following, digest
        )
        self._secret.open_bound(bound, seal)
        self._from = following
        if not following and self._left:
            self._left.pop(0)

    def end(self) -> None:
        """Whether all collections have ended."""
        if self._left is None or self._left:
            raise NotOpened("the export ended before it was whole")

    def _now(self) -> str:
        if not self._left:
            raise NotOpened("the export has more than its collections")
        return self._left[0]
