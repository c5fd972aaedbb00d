"""What both clients do to bodies: encrypt them under the caller's own keys, seal them to their region, and open
what comes back."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import Any

from bailiwick import errors
from bailiwick._export import Seals, opened
from bailiwick.sealed import (
    SKEW_SECONDS,
    AnswerSecret,
    Binding,
    CallerKeys,
    NotOpened,
    NotSealed,
    TransitKey,
)
from bailiwick.v1 import records_pb2, subjects_pb2, transit_pb2

#: What opens the bodies of a list or scan, by region. None: they are plain.
Secrets = dict[str, AnswerSecret] | None


class Bodies:
    """The keys of one client, its own and those of regions that it has fetched."""

    def __init__(
        self, tenant: str | None, identities: Iterable[str], own_keys: CallerKeys | None
    ) -> None:
        self._identities: dict[str, str] = {}
        self._known: dict[str, TransitKey] = {}
        self._own, self._tenant = own_keys, tenant or ""
        for identity in identities:
            parts = identity.partition("+")[0].split("/")
            if len(parts) != 3 or parts[2] != "transit" or parts[1] in self._identities:
                raise ValueError("an identity is <deployment>/<region>/transit+..., one for a region")
            self._identities[parts[1]] = identity
        if self._identities and not tenant:
            raise ValueError("a client that seals bodies needs its tenant's name")

    @property
    def seals(self) -> bool:
        return bool(self._identities)

    def refuse_plain(self) -> None:
        """Refuses a call whose bodies could not be sealed or encrypted."""
        if self.seals or self._own is not None:
            raise NotSealed("this call cannot seal the bodies that it carries")

    # The caller's own keys.

    def encrypted(self, message: Any) -> Any:
        """A put or a patch with its body under the caller's own key."""
        if self._own is None or not message.HasField("subject"):
            return message
        if isinstance(message, records_pb2.PatchRecordRequest) and not message.HasField("body"):
            return message
        own = type(message)()
        own.CopyFrom(message)
        own.body = self._own.current.seal(
            message.subject.id, message.collection, message.key, message.request_id, message.body
        )
        return own

    def decrypted(self, record: Any, asked: Any = None) -> Any:
        """A record with its body decrypted: that which was asked for, if one was."""
        if self._own is None:
            return record
        names = (record.subject.id, record.collection, record.key)
        if asked is not None and names != (asked.subject.id, asked.collection, asked.key):
            raise NotOpened("the answer is another record")
        record.body = self._own.open(*names, record.body)
        return record

    # Sealed transit.

    def known(self, region: str) -> TransitKey | None:
        if region not in self._identities:
            raise NotSealed("no identity key is known for the body's region")
        key = self._known.get(region)
        # Though this clock be ahead: one that was just fetched is not fetched for each call.
        return key if key is not None and time.time() < key.until + SKEW_SECONDS else None

    def keep(self, region: str, note: str) -> TransitKey:
        key = TransitKey.verify(note, self._identities[region], region, time.time())
        self._known[region] = key
        return key

    def forget(self) -> None:
        self._known.clear()

    def seal(self, message: Any, key: TransitKey | None) -> tuple[Any, AnswerSecret | None]:
        """A message as it leaves, and what opens its answer. Without a key it leaves as it is."""
        call = _CALLS[type(message)]
        if key is None or (call == "patch" and not message.HasField("body")):
            return message, None
        try:
            request_id = b"" if call == "get" else uuid.UUID(message.request_id).bytes
        except ValueError:
            raise NotSealed("the request id is not a version 4 UUID") from None
        conditions = call != "get" and message.HasField("if_version")
        binding = Binding(
            call, self._tenant, message.subject.id, message.collection, message.key, request_id,
            message.if_version if conditions else None, "" if call == "get" else message.etag,
            (message.subject.domicile,) if call == "get" and message.copy_in else (),
        )
        sealed, secret = key.seal(binding, b"" if call == "get" else message.body)
        sent = type(message)()
        sent.CopyFrom(message)
        sent.sealed_key = key.id
        if not region_of(message):
            sent.subject.domicile = key.region
        if call != "get":
            sent.body = sealed
            return sent, None
        sent.sealed_question = sealed
        return sent, secret

    def seal_many(self, message: Any, keys: Iterable[TransitKey]) -> tuple[Any, Secrets]:
        """A list or scan as it leaves, with a question to each key, and what opens its bodies."""
        if not self.seals or message.view != records_pb2.RECORD_VIEW_WHOLE:
            return message, None
        scan = isinstance(message, records_pb2.ScanRecordsRequest)
        named = ("", "", "")
        if not scan:
            named = message.order_by, message.participant.id, message.participant.domicile
        subject = "" if scan else message.subject.id
        binding = Binding(
            "scan" if scan else "list", self._tenant, subject, message.collection, "",
            asks=(message.filter, *named, message.purpose),
        )
        sent = type(message)()
        sent.CopyFrom(message)
        secrets: dict[str, AnswerSecret] = {}
        for key in keys:
            question, secrets[key.region] = key.seal(binding, b"")
            asked = transit_pb2.SealedQuestion(region=key.region, key=key.id, question=question)
            if scan:
                sent.sealed_question.CopyFrom(asked)
            else:
                sent.sealed_questions.append(asked)
        return sent, secrets

    def opened_of_many(self, record: Any, secrets: Secrets) -> Any:
        """A record of a list or scan of this client."""
        secret = None if secrets is None else secrets.get(record.subject.domicile)
        if record.sealed != (secrets is not None) or (secret is None) != (secrets is None):
            raise NotOpened("the answer's body is not what the region sealed to this question")
        return record if secret is None else opened(record, secret)

    def seal_export(self, message: Any, key: TransitKey | None) -> tuple[Any, Seals | None]:
        """An export as it leaves, and what shows that it is whole. Without a key it leaves as it is."""
        if key is None:
            return message, None
        subject = message.subject.id
        binding = Binding("export", self._tenant, subject, "", "", asks=(message.purpose,))
        question, secret = key.seal(binding, b"")
        sent = type(message)()
        sent.CopyFrom(message)
        asked = transit_pb2.SealedQuestion(region=key.region, key=key.id, question=question)
        sent.sealed_question.CopyFrom(asked)
        return sent, Seals(secret, subject)

    def unknown(self, refused: errors.BailiwickError) -> bool:
        """Whether keys are to be fetched again. They are forgotten then."""
        is_unknown = isinstance(refused, errors.Refused) and refused.reason == "TRANSIT_KEY_UNKNOWN"
        if is_unknown:
            self.forget()
        return is_unknown

    def opened(self, record: Any, secret: AnswerSecret | None) -> Any:
        """A record that answers a question of this client."""
        if record.sealed != (secret is not None):
            raise NotOpened("the answer's body is not what the region sealed to this question")
        if secret is not None:
            record.body = secret.open(record.version, record.etag, record.body)
            record.sealed = False
        return record


_CALLS: dict[type, str] = {
    records_pb2.PutRecordRequest: "put",
    records_pb2.PatchRecordRequest: "patch",
    records_pb2.GetRecordRequest: "get",
}


def regions_of(message: Any) -> list[str]:
    """The regions whose bodies a list or scan reads."""
    if message.view != records_pb2.RECORD_VIEW_WHOLE:
        return []
    if isinstance(message, records_pb2.ScanRecordsRequest):
        return [message.region]
    return [message.subject.domicile] if message.HasField("subject") else sorted(set(message.regions))


def region_of(message: Any) -> str:
    """The region in which a body opens: that of the copy that is asked for, or the domicile."""
    return getattr(message, "copy_in", "") or str(message.subject.domicile)


def resolve_of(message: Any) -> subjects_pb2.ResolvePlacementRequest:
    """The question for the region of a put without a domicile."""
    if not isinstance(message, records_pb2.PutRecordRequest) or not (
        message.evidence or message.findings
    ):
        raise NotSealed("neither a domicile nor evidence says for which region the body is")
    return subjects_pb2.ResolvePlacementRequest(
        collection=message.collection, evidence=message.evidence, findings=message.findings
    )


def placed(ruling: Any) -> str:
    """The region of a ruling. A placement that is refused keeps the body here."""
    if ruling.WhichOneof("outcome") != "placement":
        refusal = ruling.refusal
        raise errors.NotAllowedNow(refusal.reason, "no placement", help=refusal.cure or None)
    return str(ruling.placement.region)


class Tries:
    """Whether a sealed message is sealed and sent once more."""

    def __init__(self, bodies: Bodies, homes: Iterable[str]) -> None:
        self._bodies, self._homes = bodies, tuple(homes)
        self._fetched = self._followed = False

    @property
    def first(self) -> bool:
        """Whether the message was sealed once only. A second one may find the first one stored."""
        return not self._fetched

    def again(self, refused: errors.Refused, message: Any) -> None:
        """Raises the refusal if it is not: its key was one from before, or its subject has moved to a
        region that the client lists."""
        if not self._bodies.seals:
            raise refused
        if refused.reason == "TRANSIT_KEY_UNKNOWN" and not self._fetched:
            self._fetched = True
            self._bodies.forget()
            return
        region = refused.region
        moved = refused.reason == "SUBJECT_MOVED" and region in self._homes
        if not moved or self._followed or message.subject.domicile == region:
            raise refused
        message.subject.domicile, self._followed = region, True
