"""Receipts: whether an answer proves the write that was asked for, and, offline and with the public
key of a log, that the log has its entry.

The formats are in ``crates/ledger`` of the repository, whose golden vectors are the tests of this
file. Everything is read strictly: what does not have exactly one form is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bailiwick.errors import Unproven
from bailiwick.v1 import ledger_pb2

KINDS = (
    "GENESIS MAP PLACE REPLACE DELETE EXPIRE ERASE READ COUNT REFUSE MOVE_OUT MOVE_IN COPY_OUT "
    "COPY_IN EXPORT KEY BACKUP RESTORE SEAL CREATE BLOCK UNBLOCK REASSESS COPY_DROP ADJUDICATE"
).split()
ROLES = "writer reader eraser operator auditor shard adjudicator approver".split()
EVIDENCE = "citizenship document residence collected_in ip phone sim".split()
ENTRY_BYTES_MAX = 32_768
NOTE_BYTES_MAX = 1_000_000
EXTRA_BYTES_MAX = 1 << 17
SIGNATURES_MAX = 100
PATH_MAX = 64
HEADER = "c2sp.org/tlog-proof@v1\n"
#: Public keys of small order: they accept signatures that were not made (both encodings of y where
#: there are two; the sign bit is ignored).
_WEAK = {
    int(y, 16)
    for y in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000001",
        "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffec",
        "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed",
        "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffee",
        "05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826",
        "7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd83d3d706a17c7",
    )
}


@dataclass(frozen=True)
class Entry:
    """An entry of a placement log. It has no content and no direct identifier."""

    kind: str
    #: Whole minutes since 1970-01-01T00:00Z.
    minute: int
    collection: str | None
    jurisdictions: tuple[str, ...]
    statutes: tuple[str, ...]
    clauses: tuple[str, ...]
    #: Number and digest of the region map that ruled.
    map: tuple[int, bytes] | None
    evidence_kinds: tuple[str, ...]
    #: The role in which the caller acted, and its territory if that is known.
    caller: tuple[str, str | None] | None
    commitment: bytes | None


@dataclass(frozen=True)
class Statement:
    """What an entry commits to. All of it may be personal data."""

    tenant: str
    subject: str
    collection: str
    key: str
    version: int
    digest: bytes

    def __repr__(self) -> str:
        return "Statement(...)"


@dataclass(frozen=True)
class Checkpoint:
    """What a log was at some size, as its key has signed it."""

    origin: str
    size: int
    root: bytes


class _Reader:
    def __init__(self, data: bytes, what: str) -> None:
        self.data, self.at, self.what = data, 0, what

    def take(self, length: int) -> bytes:
        part = self.data[self.at : self.at + length]
        if len(part) != length:
            raise self.wrong()
        self.at += length
        return part

    def number(self, form: str) -> int:
        (number,) = struct.unpack(">" + form, self.take(struct.calcsize(form)))
        return number

    def end(self) -> None:
        if self.at != len(self.data):
            raise self.wrong()

    def wrong(self) -> Unproven:
        return Unproven(f"the receipt's {self.what} is malformed")

    def name(self) -> str:
        name = self.take(self.number("B"))
        if not 1 <= len(name) <= 127 or not all(0x21 <= c <= 0x7E and c != 0x2C for c in name):
            raise self.wrong()
        return name.decode("ascii")

    def names(self) -> tuple[str, ...]:
        count = self.number("B")
        names = tuple(self.name() for _ in range(count))
        if not 1 <= count <= 64 or any(a >= b for a, b in zip(names, names[1:])):
            raise self.wrong()
        return names

    def text(self) -> str:
        text = self.take(self.number("H"))
        if not 1 <= len(text) <= 512 or not all(0x20 <= c <= 0x7E for c in text):
            raise self.wrong()
        return text.decode("ascii")

    def details(self) -> None:
        """The details of an entry: checked, and not kept, since no receipt needs them."""
        count, last = self.number("B"), 0
        if count == 0:
            raise self.wrong()
        for _ in range(count):
            code = self.number("B")
            if code <= last:
                raise self.wrong()
            last = code
            match code:
                case 1:
                    self.take(8)
                case 3:
                    self.text()
                    self.take(40)
                case 4:
                    self.text()
                    self.take(8)
                case 5:
                    self.take(4)
                case 2 | 6 | 7 | 8 | 9 | 10 | 11:
                    self.text()
                case _:
                    raise self.wrong()


def decode_entry(data: bytes) -> Entry:
    """The entry of these bytes. Raises :class:`Unproven`."""
    reader = _Reader(data, "entry")
    if len(data) > ENTRY_BYTES_MAX or reader.number("B") != 1:
        raise reader.wrong()
    kind, minute, present = reader.number("B"), reader.number("I"), reader.number("H")
    if not 1 <= kind <= len(KINDS) or present >= 1 << 11:
        raise reader.wrong()

    def has(bit: int) -> bool:
        return bool(present & (1 << bit))

    if has(0):
        reader.take(16)
    collection = reader.name() if has(1) else None
    jurisdictions, statutes, clauses = (reader.names() if has(bit) else () for bit in (2, 3, 4))
    ruled = (reader.number("Q"), reader.take(32)) if has(5) else None
    bits = reader.number("B") if has(6) else 0
    if (has(6) and bits == 0) or bits > 0x7F:
        raise reader.wrong()
    caller = None
    if has(7):
        role = reader.number("B")
        if not 1 <= role <= len(ROLES):
            raise reader.wrong()
        reader.take(16)
        known = reader.data[reader.at : reader.at + 1] != b"\0"
        territory = reader.name() if known else None
        if not known:
            reader.take(1)
        caller = (ROLES[role - 1], territory)
    if has(8):
        reader.take(8)
    if has(9):
        reader.details()
    commitment = reader.take(32) if has(10) else None
    reader.end()
    kinds = tuple(name for bit, name in enumerate(EVIDENCE) if bits & (1 << bit))
    return Entry(
        KINDS[kind - 1], minute, collection, jurisdictions, statutes, clauses, ruled, kinds, caller,
        commitment,
    )


def decode_statement(data: bytes) -> Statement:
    """The statement of these bytes. Raises :class:`Unproven`."""
    reader = _Reader(data, "statement")
    if reader.number("B") != 1:
        raise reader.wrong()
    try:
        tenant, subject, collection, key = (
            reader.take(reader.number("I")).decode("utf-8") for _ in range(4)
        )
    except UnicodeDecodeError:
        raise reader.wrong() from None
    version, digest = reader.number("Q"), reader.take(32)
    reader.end()
    return Statement(tenant, subject, collection, key, version, digest)


def check_receipt(receipt: ledger_pb2.Receipt, body: bytes | None) -> tuple[Entry, Statement]:
    """What can be checked without the log: that the entry commits to the statement, and the
    statement to the body, if one is given. Raises :class:`Unproven`."""
    entry, statement = decode_entry(receipt.entry), decode_statement(receipt.statement)
    if len(receipt.opening) != 32:
        raise Unproven("the receipt's opening is malformed")
    commitment = hmac.new(
        b"bailiwick placement v1", receipt.opening + receipt.statement, hashlib.sha256
    ).digest()
    if entry.commitment is None or not hmac.compare_digest(entry.commitment, commitment):
        raise Unproven("the receipt's entry commits to another statement")
    if entry.collection is not None and entry.collection != statement.collection:
        raise Unproven("the receipt's entry is of another collection than the statement")
    if body is not None:
        digest = hashlib.sha256(receipt.opening + body).digest()
        if not hmac.compare_digest(digest, statement.digest):
            raise Unproven("the receipt's statement is about another content")
    return entry, statement


def verify_receipt(
    receipt: ledger_pb2.Receipt, log_key: str, body: bytes | None = None
) -> tuple[Entry, Checkpoint]:
    """Checks a receipt offline, with its proof (``receipt_view=FULL``) and the public key of its log,
    which came by another way: that the log has this entry, and that the entry commits to the
    statement and, if one is given, to the body. Raises :class:`Unproven`."""
    if not receipt.tlog_proof:
        raise Unproven("the receipt has no proof: ask for receipt_view=FULL")
    entry, _ = check_receipt(receipt, body)
    index, path, note = _parse_proof(receipt.tlog_proof)
    checkpoint = _open_checkpoint(note, log_key)
    _verify_inclusion(index, checkpoint, hashlib.sha256(b"\0" + receipt.entry).digest(), path)
    if index != receipt.index or checkpoint.origin != receipt.origin:
        raise Unproven("the proof is of another entry than the receipt")
    return entry, checkpoint


def _strict_base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unproven("malformed base64") from None
    if base64.b64encode(data).decode() != text:
        raise Unproven("malformed base64")
    return data


def _decimal(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else -1
    if number < 0 or number >= 1 << 64 or str(number) != text:
        raise Unproven("malformed number")
    return number


def _is_key_name(name: str) -> bool:
    bad = any(c.isspace() or c == "+" or ord(c) < 0x20 or 0x7F <= ord(c) <= 0x9F for c in name)
    return 1 <= len(name.encode()) <= 255 and not bad


def _key_id(name: str, typed: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + typed).digest()[:4]


def _parse_key(vkey: str) -> tuple[str, bytes, Ed25519PublicKey]:
    parts = vkey.split("+", 2)
    if len(parts) != 3 or not _is_key_name(parts[0]):
        raise Unproven("the log's key is not a verifier key")
    name, key_id, typed = parts[0], parts[1], _strict_base64(parts[2])
    own = _key_id(name, typed)
    if own.hex() != key_id or len(typed) != 33 or typed[0] != 1:
        raise Unproven("the log's key is not a verifier key for Ed25519")
    y = int.from_bytes(typed[1:], "little") & ((1 << 255) - 1)
    if y in _WEAK:
        raise Unproven("the log's key is of small order")
    return name, own, Ed25519PublicKey.from_public_bytes(typed[1:])


def _parse_proof(text: str) -> tuple[int, list[bytes], str]:
    wrong = Unproven("the receipt's proof is malformed")
    if len(text.encode()) > NOTE_BYTES_MAX + 2 * EXTRA_BYTES_MAX or not text.startswith(HEADER):
        raise wrong
    head, blank, note = text[len(HEADER) :].partition("\n\n")
    lines = head.split("\n")
    if not blank or not note:
        raise wrong
    if lines[0].startswith("extra "):
        if len(_strict_base64(lines.pop(0)[len("extra ") :])) > EXTRA_BYTES_MAX:
            raise wrong
    if not lines or not lines[0].startswith("index ") or len(lines) > 1 + PATH_MAX:
        raise wrong
    path = [_strict_base64(line) for line in lines[1:]]
    if any(len(node) != 32 for node in path):
        raise wrong
    return _decimal(lines[0][len("index ") :]), path, note


def open_note(note: str, vkey: str) -> tuple[str, list[str]]:
    """The name of a verifier key, and the lines of the note that it has signed. Raises
    :class:`Unproven`."""
    name, key_id, key = _parse_key(vkey)
    wrong = Unproven("the signed note is malformed")
    clean = all(c == "\n" or ord(c) >= 0x20 for c in note)
    text, blank, rest = note.rpartition("\n\n")
    if len(note.encode()) > NOTE_BYTES_MAX or not clean or not blank or not rest.endswith("\n"):
        raise wrong
    text += "\n"
    lines, signed = rest[:-1].split("\n"), False
    if len(lines) > SIGNATURES_MAX:
        raise wrong
    for line in lines:
        mark, _, rest = line.partition(" ")
        signer, space, payload = rest.partition(" ")
        if mark != "\u2014" or not space or not _is_key_name(signer):
            raise wrong
        data = _strict_base64(payload)
        if len(data) < 5:
            raise wrong
        if signer == name and data[:4] == key_id:
            try:
                key.verify(data[4:], text.encode())
            except InvalidSignature:
                raise Unproven("a signature by the known key is not valid") from None
            signed = True
    if not signed:
        raise Unproven("the note is not signed by the known key")
    return name, text[:-1].split("\n")


def _open_checkpoint(note: str, log_key: str) -> Checkpoint:
    """The checkpoint of a note, if the log's key has signed it."""
    name, lines = open_note(note, log_key)
    if len(lines) != 3 or lines[0] != name:
        raise Unproven("the checkpoint is of another log than the key")
    root = _strict_base64(lines[2])
    if len(root) != 32:
        raise Unproven("the proof's checkpoint is malformed")
    return Checkpoint(lines[0], _decimal(lines[1]), root)


def _verify_inclusion(index: int, checkpoint: Checkpoint, leaf: bytes, path: list[bytes]) -> None:
    """RFC 9162, section 2.1.3.2."""
    if index >= checkpoint.size:
        raise Unproven("the proof's entry is outside the tree")
    node, last, value = index, checkpoint.size - 1, leaf
    for sibling in path:
        if last == 0:
            raise Unproven("the proof has not as many hashes as it should")
        if node & 1 or node == last:
            value = hashlib.sha256(b"\1" + sibling + value).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            value = hashlib.sha256(b"\1" + value + sibling).digest()
        node, last = node >> 1, last >> 1
    if last != 0:
        raise Unproven("the proof has not as many hashes as it should")
    if not hmac.compare_digest(value, checkpoint.root):
        raise Unproven("the proof leads to another root")


@dataclass(frozen=True)
class Expected:
    """What answer and receipt of a write must say."""

    domicile: str
    subject: str
    collection: str
    key: str
    version: int
    #: None: it is not known here.
    body: bytes | None
    kinds: tuple[str, ...]
    #: Whether a later write destroys the opening.
    superseded: bool = True


def check_write(
    receipt: ledger_pb2.Receipt | None,
    replayed: bool,
    expected: Expected,
    *,
    tenant: str | None,
    first: bool,
) -> Entry | None:
    """The entry of a write's receipt. None: the write is said to have been done before, and to be
    superseded since, so that its opening is gone; reading the record settles that. Raises
    :class:`Unproven`."""
    if replayed and first:
        raise Unproven("a write that was sent for the first time is answered as done before")
    if receipt is None:
        raise Unproven("the answer to a write has no receipt")
    parts = receipt.origin.split("/")
    if len(parts) != 4 or "" in parts or not (parts[3].isascii() and parts[3].isdigit()):
        raise Unproven("the receipt's origin is malformed")
    if parts[1] != expected.domicile:
        raise Unproven("the receipt is of another region than the domicile")
    if not receipt.entry and not receipt.opening and not receipt.statement:
        if replayed and expected.superseded:
            return None
        raise Unproven("the answer to a write has no receipt")
    entry, said = check_receipt(receipt, expected.body)
    # An entry about a whole subject has no collection.
    of = entry.collection or ""
    names = (said.subject, said.collection, of, said.key, said.version)
    collection = expected.collection
    wanted = (expected.subject, collection, collection, expected.key, expected.version)
    if names != wanted:
        raise Unproven("the answer or its receipt is about another write")
    if tenant is not None and said.tenant != tenant:
        raise Unproven("the receipt is about another tenant's write")
    if entry.kind not in expected.kinds:
        raise Unproven("the receipt's entry is of another kind than the write")
    return entry
