"""Bodies that a gateway carries and cannot read, and bodies under the caller's own keys.

The formats are in ``crates/sealed`` of the repository, whose vectors are the tests of this file. HPKE is
RFC 9180 in base mode, with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bailiwick.errors import BailiwickError, Unproven
from bailiwick.receipts import open_note

SKEW_SECONDS = 86_400
KEY_NOTE_BYTES_MAX = 4_096
_KEM, _SUITE = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x02"


class NotOpened(BailiwickError):
    """A sealed body does not open: it was changed, or is of another key, record or request."""


class NotSealed(BailiwickError):
    """The client seals bodies, and cannot seal this one: nothing was sent."""


def parts(label: str, *rest: bytes) -> bytes:
    """A label, then each part with its length in front."""
    return label.encode() + b"".join(struct.pack(">I", len(part)) + part for part in rest)


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def _seal(key: bytes, bound: bytes, message: bytes) -> bytes:
    # The one message of a key: so its nonce is zeros.
    return AESGCM(key).encrypt(bytes(12), message, bound)


def _open(key: bytes, bound: bytes, sealed: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(bytes(12), sealed, bound)
    except (InvalidTag, ValueError):
        raise NotOpened("the sealed body does not open") from None


def _extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return _hmac(salt or bytes(32), b"HPKE-v1" + suite + label + ikm)


def _expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labeled = struct.pack(">H", length) + b"HPKE-v1" + suite + label + info
    # No output here is longer than one block.
    return _hmac(prk, labeled + b"\x01")[:length]


def _context(shared: bytes, info: bytes) -> tuple[bytes, bytes, bytes]:
    """Key, nonce and exporter secret (RFC 9180, section 5.1)."""
    hashes = _extract(_SUITE, b"", b"psk_id_hash", b"") + _extract(_SUITE, b"", b"info_hash", info)
    schedule = b"\x00" + hashes
    secret = _extract(_SUITE, shared, b"secret", b"")
    key = _expand(_SUITE, secret, b"key", schedule, 32)
    nonce = _expand(_SUITE, secret, b"base_nonce", schedule, 12)
    return key, nonce, _expand(_SUITE, secret, b"exp", schedule, 32)


def _encapsulated(public: bytes, ephemeral: X25519PrivateKey) -> tuple[bytes, bytes]:
    enc = ephemeral.public_key().public_bytes_raw()
    try:
        dh = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise NotSealed("nothing can be sealed to the region's key") from None
    prk = _extract(_KEM, b"", b"eae_prk", dh)
    return enc, _expand(_KEM, prk, b"shared_secret", enc + public, 32)


@dataclass(frozen=True)
class Binding:
    """The names and conditions of one request."""

    #: ``put``, ``patch``, ``get``, ``list``, ``scan`` or ``export``.
    call: str
    tenant: str
    subject: str
    collection: str
    key: str
    request_id: bytes = b""
    if_version: int | None = None
    etag: str = ""
    #: Of a list or scan: its filter, order, participant, that one's region, and purpose. Of an export: its
    #: purpose. Of the get of a copy: the record's home. Of all else: none.
    asks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "Binding(...)"

    def additional(self) -> bytes:
        version = b"\xff" * 8 if self.if_version is None else struct.pack(">q", self.if_version)
        names = (self.call, self.tenant, self.subject, self.collection, self.key)
        return parts(
            "bailiwick sealed body v1", *(name.encode() for name in names), self.request_id,
            version, self.etag.encode(), *(ask.encode() for ask in self.asks),
        )


def listed(
    subject: str, collection: str, key: str, version: int, etag: str, attachment_bytes: int
) -> bytes:
    """What the body of a record of a list, a scan or an export is bound to."""
    numbers = struct.pack(">q", version), struct.pack(">q", attachment_bytes)
    names = [text.encode() for text in (subject, collection, key)]
    return parts("bailiwick sealed listed v1", *names, numbers[0], etag.encode(), numbers[1])


@dataclass(frozen=True)
class AnswerSecret:
    """What opens the answer to a sealed question."""

    secret: bytes = field(repr=False)

    def open(self, version: int, etag: str, sealed: bytes) -> bytes:
        """Opens the body of the record that a get was for."""
        bound = parts("bailiwick sealed answer v1", struct.pack(">q", version), etag.encode())
        return self.open_bound(bound, sealed)

    def open_bound(self, bound: bytes, sealed: bytes) -> bytes:
        """Opens a part of an answer, such as :func:`listed` binds it."""
        nonce, rest = sealed[:32], sealed[32:]
        return _open(_hmac(self.secret, b"bailiwick sealed answer key v1" + nonce), bound, rest)


@dataclass(frozen=True)
class TransitKey:
    """The public key of a region, and until when to seal to it."""

    region: str
    id: str
    public: bytes
    until: int

    @staticmethod
    def verify(note: str, identity: str, region: str, now: float) -> TransitKey:
        """The key of a note that the region's identity key has signed. Raises :class:`Unproven`."""
        wrong = Unproven("the transit key is not of the form of a published key")
        if len(note.encode()) > KEY_NOTE_BYTES_MAX:
            raise wrong
        name, lines = open_note(note, identity)
        if len(lines) != 6 or lines[0] != "bailiwick transit key v1":
            raise wrong
        deployment, _, named = lines[1].partition("/")
        if named != region or name != f"{deployment}/{region}/transit":
            raise Unproven("the transit key is another region's")
        try:
            public, since, until = bytes.fromhex(lines[3]), int(lines[4]), int(lines[5])
        except ValueError:
            raise wrong from None
        if len(public) != 32 or lines[2] != hashlib.sha256(public).digest()[:8].hex():
            raise wrong
        if now + SKEW_SECONDS < since or now >= until + SKEW_SECONDS:
            raise Unproven("the transit key is out of its time: compare the clocks")
        return TransitKey(region, lines[2], public, until)

    def seal(
        self, binding: Binding, body: bytes, ephemeral: X25519PrivateKey | None = None
    ) -> tuple[bytes, AnswerSecret]:
        """Seals a body for one request. ``ephemeral`` is for test vectors alone."""
        enc, shared = _encapsulated(self.public, ephemeral or X25519PrivateKey.generate())
        info = parts("bailiwick sealed transit v1", self.region.encode(), self.id.encode())
        key, nonce, exporter = _context(shared, info)
        sealed = AESGCM(key).encrypt(nonce, body, binding.additional())
        label = b"bailiwick sealed answer secret v1"
        return enc + sealed, AnswerSecret(_expand(_SUITE, exporter, b"sec", label, 32))


@dataclass(frozen=True)
class CallerKey:
    """A key of the platform: 32 random bytes. Its id goes with each body, where anyone may read it."""

    id: str
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.id.encode()) <= 255 or len(self.key) != 32:
            raise ValueError("a key has an id of 1 to 255 bytes, and 32 bytes")

    def seal(
        self, subject: str, collection: str, key: str, request_id: str, body: bytes
    ) -> bytes:
        names = [text.encode() for text in (subject, collection, key)]
        of = parts("", *names, request_id.encode(), hashlib.sha256(body).digest())
        salt = _hmac(self.key, b"bailiwick caller-held salt v1" + of)
        own = self.id.encode()
        sealed = _seal(self._message_key(salt), self._bound(names), body)
        return b"bwk\x01" + bytes([len(own)]) + own + salt + sealed

    def open(self, subject: str, collection: str, key: str, sealed: bytes) -> bytes:
        found = _split(sealed)
        if found is None or found[0] != self.id:
            raise NotOpened("the body is not one of this key")
        names = [text.encode() for text in (subject, collection, key)]
        return _open(self._message_key(found[1]), self._bound(names), found[2])

    def _message_key(self, salt: bytes) -> bytes:
        return _hmac(self.key, b"bailiwick caller-held key v1" + salt)

    def _bound(self, names: list[bytes]) -> bytes:
        return parts("bailiwick caller-held body v1", *names, self.id.encode())


def _split(sealed: bytes) -> tuple[str, bytes, bytes] | None:
    """The key's id, the salt, and the rest. None: it is no encrypted body."""
    if sealed[:4] != b"bwk\x01" or len(sealed) < 5:
        return None
    end = 5 + sealed[4]
    own, salt, rest = sealed[5:end], sealed[end : end + 32], sealed[end + 32 :]
    if len(own) != sealed[4] or len(salt) != 32:
        return None
    try:
        return own.decode(), salt, rest
    except UnicodeDecodeError:
        return None


@dataclass(frozen=True)
class CallerKeys:
    """The caller's own keys: the one that new bodies are encrypted under, and what finds those of older
    bodies by their id."""

    current: CallerKey
    find: Callable[[str], CallerKey | None] = field(default=lambda _: None, repr=False)

    def open(self, subject: str, collection: str, key: str, sealed: bytes) -> bytes:
        found = _split(sealed)
        if found is None:
            raise NotOpened("the body is not encrypted under a key of the caller")
        own = self.current if found[0] == self.current.id else self.find(found[0])
        if own is None:
            raise NotOpened("the key of the body is not known")
        return own.open(subject, collection, key, sealed)
