"""What both clients share: addresses, credentials, what goes in and comes out, and when a call is made
again."""

from __future__ import annotations

import ipaddress
import os
import random
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import Message

from bailiwick import errors
from bailiwick._attributes import AttributeValue
from bailiwick.receipts import Entry
from bailiwick.v1 import jurisdiction_pb2, ledger_pb2, records_pb2

BACKOFF_MIN, BACKOFF_MAX = 0.05, 2.0
TOKEN_BYTES_MAX = 8 << 10
#: Bytes of the largest request that a gateway takes.
REQUEST_BYTES_MAX = 34 << 20
OPTIONS = [
    ("grpc.max_receive_message_length", 17 << 20),
    ("grpc.max_send_message_length", REQUEST_BYTES_MAX),
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
    #: From then on the record is not read any more. None: as the region map says, or never.
    expire_time: datetime | None = None

    def __repr__(self) -> str:
        return "Put(...)"


@dataclass(frozen=True)
class Delete:
    """A deletion, as an item of a batch."""

    subject: str
    collection: str
    key: str
    domicile: str
    if_version: int | None = None
    etag: str = ""
    validate_only: bool = False
    proof: bool = False
    request_id: str = ""

    def __repr__(self) -> str:
        return "Delete(...)"


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
    #: The ruling that stands, of a put or a patch or a creation: which laws apply, and why.
    ruling: jurisdiction_pb2.Ruling | None = None
    #: Regions that may hold the id too, with the reason why they were not asked: only where the write
    #: has created a subject of a tenant whose ids are unique.
    unreachable: Mapping[str, str] = field(default_factory=dict)

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
    #: When it expires. None: it does not.
    expire_time: datetime | None = None
    #: In a list, the bytes of its body if it is an attachment, whose body no list gives.
    attachment_bytes: int = 0

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

    def metadata(self) -> list[tuple[str, str]]:
        """What a call sends along."""
        bearer = self.bearer()
        return [("authorization", bearer)] if bearer else []


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
    records_pb2.TouchRecordRequest,
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
        unknown = isinstance(error, errors.NotBailiwick) and isinstance(message, Message)
        if unknown and message.ByteSize() > REQUEST_BYTES_MAX:
            # It was not sent: no peer has answered.
            raise errors.TooLarge("the request has more than 34 MiB, and was not sent") from None
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
