"""Sealed bodies and bodies under the caller's own keys, against the vectors of the repository. `python -m
unittest` runs it, with the package installed."""

import hashlib
import json
import os
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bailiwick import CallerKey, CallerKeys, NotOpened, NotSealed, Unproven, sealed
from bailiwick._export import Seals
from bailiwick._sealed_calls import SealedCalls
from bailiwick._sealing import Bodies, Tries, regions_of
from bailiwick._subjects import Export
from bailiwick.errors import ConnectionBroken, Refused
from bailiwick.sealed import Binding, TransitKey, listed
from bailiwick.v1 import records_pb2, subjects_pb2, transit_pb2

VECTORS = json.loads(
    (Path(__file__).resolve().parents[3] / "crates/sealed/tests/vectors.json").read_text()
)
NOW = 1_500_000


def region_key() -> TransitKey:
    return TransitKey.verify(VECTORS["note"], VECTORS["identity"], VECTORS["region"], NOW)


def held(names):
    collections = [subjects_pb2.SubjectCollection(collection=name) for name in names]
    return subjects_pb2.Subject(collections=collections)


def response(seal=b"", **part):
    return subjects_pb2.ExportSubjectResponse(seal=seal, **part)


def seal(secret, bound, body=b""):
    nonce = os.urandom(32)
    key = sealed._hmac(secret.secret, b"bailiwick sealed answer key v1" + nonce)
    return nonce + sealed._seal(key, bound, body)


def honest(secret):
    """What a region answers to an export: two pages of messages, one without records, and one of profiles."""
    names = ["messages", "payments", "profiles"]
    bound = sealed.parts("bailiwick sealed export v1", *(name.encode() for name in names))
    answers = [response(seal(secret, bound), subject=held(names))]
    for name, since, following, keys in (
        ("messages", b"", b"then", "ab"), ("messages", b"then", b"", "c"),
        ("payments", b"", b"", ""), ("profiles", b"", b"", ["main"]),
    ):
        digest = hashlib.sha256()
        for key in keys:
            body = seal(secret, listed("p-1", name, key, 3, "e", 0), b"of " + key.encode())
            digest.update(sealed.parts("", body))
            subject = records_pb2.SubjectRef(id="p-1", domicile="ru-msk")
            answers.append(response(record=records_pb2.Record(
                subject=subject, collection=name, key=key, version=3, etag="e", body=body,
                sealed=True,
            )))
        bound = sealed.parts(
            "bailiwick sealed page v1", name.encode(), since, following, digest.digest()
        )
        page = subjects_pb2.ExportPage(next=following)
        answers.append(response(seal(secret, bound), page=page))
    return [*answers, response(end=subjects_pb2.ExportEnd(record_count=4))]


def exported(secret, answers):
    """The bodies of an export, with the count that a gateway would give."""
    export = Export(Bodies(None, [], None), "p-1", "ru-msk", "asked", None)
    export._seals, bodies = Seals(secret, "p-1"), []
    for answer in answers:
        sent = subjects_pb2.ExportSubjectResponse()
        sent.CopyFrom(answer)
        if sent.HasField("end"):
            sent.end.record_count = sum(one.HasField("record") for one in answers)
        part = export.part(sent)
        if part is not None and not isinstance(part, subjects_pb2.Subject):
            bodies.append(part.body)
    export.ended()
    return bodies


class Formats(unittest.TestCase):
    def test_sealed_bodies(self):
        key = region_key()
        self.assertEqual(key.id, VECTORS["id"])
        self.assertGreater(len(VECTORS["sealed"]), 3)
        for one in VECTORS["sealed"]:
            binding = Binding(
                one["call"], one["tenant"], one["subject"], one["collection"], one["key"],
                bytes.fromhex(one["request_id"]), one["if_version"], one["etag"],
                tuple(one["asks"]),
            )
            ephemeral = X25519PrivateKey.from_private_bytes(bytes.fromhex(one["ephemeral"]))
            sealed, secret = key.seal(binding, bytes.fromhex(one["body"]), ephemeral)
            self.assertEqual(sealed.hex(), one["sealed"])
            answer, etag = bytes.fromhex(one["answer"]), one["answer_etag"]
            opened = secret.open(one["answer_version"], etag, answer)
            self.assertEqual(opened.hex(), one["answer_body"])
            wrong = (
                (one["answer_version"] + 1, etag, answer),
                (one["answer_version"], etag + "x", answer),
                (one["answer_version"], etag, answer[:-1] + bytes([answer[-1] ^ 1])),
                (one["answer_version"], etag, b""),
            )
            for version, tag, body in wrong:
                with self.assertRaises(NotOpened):
                    secret.open(version, tag, body)

    def test_records_of_an_answer(self):
        asked = VECTORS["sealed"][-1]
        binding = Binding(
            asked["call"], asked["tenant"], asked["subject"], "", "", asks=tuple(asked["asks"])
        )
        ephemeral = X25519PrivateKey.from_private_bytes(bytes.fromhex(asked["ephemeral"]))
        _, secret = region_key().seal(binding, b"", ephemeral)
        records = [one for one in VECTORS["parts"] if one["kind"] == "record"]
        self.assertEqual(len(records), 2)
        for one in records:
            names = (
                one["subject"], one["collection"], one["key"], one["version"], one["etag"],
                one["attachment_bytes"],
            )
            answer = bytes.fromhex(one["answer"])
            self.assertEqual(secret.open_bound(listed(*names), answer).hex(), one["body"])
            for at in range(len(names)):
                other = list(names)
                other[at] = other[at] + 1 if isinstance(other[at], int) else other[at] + "x"
                with self.assertRaises(NotOpened):
                    secret.open_bound(listed(*other), answer)

    def test_seals_of_an_export(self):
        asked = VECTORS["sealed"][-1]
        binding = Binding(
            asked["call"], asked["tenant"], asked["subject"], "", "", asks=tuple(asked["asks"])
        )
        ephemeral = X25519PrivateKey.from_private_bytes(bytes.fromhex(asked["ephemeral"]))
        _, secret = region_key().seal(binding, b"", ephemeral)
        seals = Seals(secret, "p-1")
        all_of = {kind: [] for kind in ("record", "collections", "page")}
        for one in VECTORS["parts"]:
            all_of[one["kind"]].append(one)
        first, empty = all_of["collections"]
        seals.begin(held(first["names"]), bytes.fromhex(first["answer"]))
        with self.assertRaises(NotOpened):
            Seals(secret, "p-1").begin(held(first["names"]), bytes.fromhex(empty["answer"]))
        # The vectors have the pages of its second collection alone.
        seals._left.pop(0)
        for one in all_of["record"]:
            record = records_pb2.Record(
                subject=records_pb2.SubjectRef(id="p-1"), body=bytes.fromhex(one["answer"]),
                sealed=True, **{name: one[name] for name in (
                    "collection", "key", "version", "etag", "attachment_bytes")},
            )
            self.assertEqual(seals.record(record).body.hex(), one["body"])
        with self.assertRaises(NotOpened):
            seals.end()
        for one in all_of["page"]:
            seals.page(bytes.fromhex(one["next"]), bytes.fromhex(one["answer"]))
        seals.end()

    def test_an_export_that_a_gateway_has_changed_has_no_end(self):
        def question():
            binding = Binding("export", "sample", "p-1", "", "", asks=("asked",))
            return region_key().seal(binding, b"")[1]

        secret, another = question(), question()
        whole, other = honest(secret), honest(another)
        self.assertEqual(exported(secret, whole), [b"of a", b"of b", b"of c", b"of main"])

        def changed(at, **fields):
            record = records_pb2.Record()
            record.CopyFrom(whole[at].record)
            for name, value in fields.items():
                setattr(record, name, value)
            return whole[:at] + [response(record=record)] + whole[at + 1:]

        lies = {
            "no record": whole[:2] + whole[3:],
            "no page": whole[:4] + whole[6:],
            "no empty page": whole[:6] + whole[7:],
            "no collection": whole[:7] + whole[9:],
            "an end at once": whole[:1] + whole[9:],
            "no end": whole[:9],
            "no first part": whole[1:],
            "two first parts": whole[:6] + whole[:1] + whole[6:],
            "another order": [whole[0], whole[2], whole[1], *whole[3:]],
            "a page again": whole[:4] + whole[1:],
            "a record twice": whole[:2] + whole[1:],
            "another body": changed(1, body=whole[2].record.body),
            "a plain body": changed(1, body=b"plain", sealed=False),
            "no mark": changed(1, sealed=False),
            "another version": changed(1, version=4),
            "another key": changed(1, key="b"),
            "an attachment": changed(1, attachment_bytes=9),
            "another collection": changed(1, collection="profiles"),
            "another answer's record": [whole[0], other[1], *whole[2:]],
            "another answer's page": whole[:4] + other[4:6] + whole[6:],
            "another answer's first part": other[:1] + whole[1:],
            "another answer": other,
        }
        for what, answers in lies.items():
            with self.subTest(what), self.assertRaises((NotOpened, ConnectionBroken)):
                exported(secret, answers)

    def test_notes(self):
        note, identity, region = VECTORS["note"], VECTORS["identity"], VECTORS["region"]
        forged = note.replace(VECTORS["public"], "ab" * 32)
        self.assertNotEqual(forged, note)
        for bad in (
            (forged, identity, region, NOW),
            ("", identity, region, NOW),
            (note, identity, "eu-fra", NOW),
            (note, identity, region, VECTORS["note_until"] + 86_400),
            (note, identity, region, VECTORS["note_from"] - 86_401),
        ):
            with self.assertRaises(Unproven):
                TransitKey.verify(*bad)

    def test_caller_held_bodies(self):
        for one in VECTORS["caller"]:
            key = CallerKey(one["key_id"], bytes.fromhex(one["caller_key"]))
            names = one["subject"], one["collection"], one["key"]
            body = bytes.fromhex(one["body"])
            sealed = key.seal(*names, one["request_id"], body)
            self.assertEqual(sealed.hex(), one["sealed"])
            self.assertEqual(CallerKeys(key).open(*names, sealed), body)
            newer = CallerKey("newer", bytes(32))
            self.assertEqual(CallerKeys(newer, {key.id: key}.get).open(*names, sealed), body)
            for keys, wrong in (
                (CallerKeys(newer), sealed),
                (CallerKeys(CallerKey(key.id, bytes(32))), sealed),
                (CallerKeys(key), sealed[:-1]),
                (CallerKeys(key), b"a plain body"),
            ):
                with self.assertRaises(NotOpened):
                    keys.open(*names, wrong)
            with self.assertRaises(NotOpened):
                key.open("another", *names[1:], sealed)


class Messages(unittest.TestCase):
    def put(self) -> records_pb2.PutRecordRequest:
        return records_pb2.PutRecordRequest(
            subject=records_pb2.SubjectRef(id="p-1", domicile="ru-msk"),
            collection="profiles", key="main", body=b"a marker",
            request_id="01234567-89ab-4def-8123-456789abcdef",
        )

    def test_a_sealed_message_has_nothing_of_the_body(self):
        bodies = Bodies("sample", [VECTORS["identity"]], None)
        sent, secret = bodies.seal(self.put(), region_key())
        self.assertIsNone(secret)
        self.assertNotIn(b"marker", sent.SerializeToString())
        self.assertEqual((sent.sealed_key, len(sent.body)), (VECTORS["id"], len(b"a marker") + 48))
        get = records_pb2.GetRecordRequest(subject=self.put().subject, collection="profiles")
        sent, secret = bodies.seal(get, region_key())
        self.assertEqual(len(sent.sealed_question), 48)
        # A gateway that answers as it likes.
        for answer in (records_pb2.Record(body=b"x"), records_pb2.Record(body=b"x", sealed=True)):
            with self.assertRaises(NotOpened):
                bodies.opened(answer, secret)

    def test_what_cannot_be_sealed_is_not_sent(self):
        with self.assertRaises(ValueError):
            Bodies(None, [VECTORS["identity"]], None)
        with self.assertRaises(ValueError):
            Bodies("sample", ["sample/ru-msk/one/1+00000000+AA=="], None)
        bodies = Bodies("sample", [VECTORS["identity"]], None)
        with self.assertRaises(NotSealed):
            bodies.known("eu-fra")
        own = Bodies(None, [], CallerKeys(CallerKey("1", bytes(32))))
        for refuses in (bodies, own):
            with self.assertRaises(NotSealed):
                refuses.refuse_plain()
        Bodies(None, [], None).refuse_plain()

    def test_a_list_has_a_question_for_each_region_and_believes_no_other_answer(self):
        bodies = Bodies("sample", [VECTORS["identity"]], None)
        whole = records_pb2.RECORD_VIEW_WHOLE
        asked = records_pb2.ListRecordsRequest(
            collection="profiles", regions=["ru-msk", "ru-msk"], view=whole
        )
        self.assertEqual(regions_of(asked), ["ru-msk"])
        sent, secrets = bodies.seal_many(asked, [region_key()])
        self.assertEqual([one.region for one in sent.sealed_questions], ["ru-msk"])
        self.assertEqual(len(sent.sealed_questions[0].question), 48)
        self.assertFalse(asked.sealed_questions)
        subject = records_pb2.SubjectRef(id="p-1", domicile="ru-msk")
        foreign = records_pb2.SubjectRef(id="p-1", domicile="eu-fra")
        for answer in (
            records_pb2.Record(subject=subject, body=b"plain"),
            records_pb2.Record(subject=subject, body=b"x" * 60, sealed=True),
            records_pb2.Record(subject=foreign, body=b"plain"),
            records_pb2.Record(subject=foreign, body=b"x" * 60, sealed=True),
        ):
            with self.assertRaises(NotOpened):
                bodies.opened_of_many(answer, secrets)
        # Names carry no body, and a client that does not seal takes nothing sealed.
        names = records_pb2.ListRecordsRequest(collection="profiles", regions=["ru-msk"])
        self.assertEqual(regions_of(names), [])
        self.assertEqual(bodies.seal_many(names, []), (names, None))
        plain = records_pb2.Record(subject=subject, body=b"plain")
        self.assertIs(Bodies(None, [], None).opened_of_many(plain, None), plain)
        with self.assertRaises(NotOpened):
            bodies.opened_of_many(records_pb2.Record(subject=subject, sealed=True), None)
        scan = records_pb2.ScanRecordsRequest(collection="profiles", region="ru-msk", view=whole)
        self.assertEqual(regions_of(scan), ["ru-msk"])
        sent, _ = bodies.seal_many(scan, [region_key()])
        self.assertEqual(sent.sealed_question.region, "ru-msk")

    def test_a_clock_that_is_ahead_does_not_fetch_the_key_for_each_call(self):
        bodies = Bodies("sample", [VECTORS["identity"]], None)
        region, until = VECTORS["region"], VECTORS["note_until"]
        with mock.patch("bailiwick._sealing.time.time") as now:
            now.return_value = until + 86_399
            kept = bodies.keep(region, VECTORS["note"])
            self.assertIs(bodies.known(region), kept)
            now.return_value = until + 86_400
            self.assertIsNone(bodies.known(region))

    def test_a_key_that_is_not_known_is_fetched_once(self):
        bodies = Bodies("sample", [VECTORS["identity"]], None)
        with mock.patch("bailiwick._sealing.time.time", return_value=NOW):
            bodies.keep(VECTORS["region"], VECTORS["note"])
            tries = Tries(bodies, [])
            refused = Refused("TRANSIT_KEY_UNKNOWN", "no")
            tries.again(refused, self.put())
            self.assertIsNone(bodies.known(VECTORS["region"]))
            with self.assertRaises(Refused):
                tries.again(refused, self.put())
            with self.assertRaises(Refused):
                Tries(Bodies(None, [], None), []).again(refused, self.put())

    def test_a_put_that_is_sealed_again_is_the_same_request_and_not_sent_once(self):
        note = transit_pb2.TransitKey(note=VECTORS["note"])
        for refusals, first in ((0, True), (1, False)):
            calls = SealedCalls()
            calls._bodies = Bodies("sample", [VECTORS["identity"]], None)
            calls._settings = SimpleNamespace(homes=[])
            calls._transit = SimpleNamespace(GetKey="key")
            fetched, sent = [], []

            def call(_, request):
                fetched.append(request.region)
                return note, True

            def send(message):
                sent.append(message)
                if len(sent) <= refusals:
                    raise Refused("TRANSIT_KEY_UNKNOWN", "no")
                return "done", True

            calls._call = call
            with mock.patch("bailiwick._sealing.time.time", return_value=NOW):
                answer, once, _ = calls._sealed(send, self.put())
            self.assertEqual((answer, once, len(fetched)), ("done", first, 1 + refusals))
            self.assertEqual({one.request_id for one in sent}, {self.put().request_id})
            self.assertEqual(len({one.body for one in sent}), 1 + refusals)

    def test_own_keys_read_what_was_asked_for(self):
        own = Bodies(None, [], CallerKeys(CallerKey("1", bytes(32))))
        sent = own.encrypted(self.put())
        self.assertNotIn(b"marker", sent.SerializeToString())
        self.assertEqual(own.encrypted(self.put()).body, sent.body)

        def record() -> records_pb2.Record:
            return records_pb2.Record(
                subject=sent.subject, collection=sent.collection, key=sent.key, body=sent.body
            )

        asked = records_pb2.GetRecordRequest(
            subject=sent.subject, collection=sent.collection, key=sent.key
        )
        self.assertEqual(own.decrypted(record(), asked).body, b"a marker")
        asked.key = "other"
        with self.assertRaises(NotOpened):
            own.decrypted(record(), asked)


if __name__ == "__main__":
    unittest.main()
