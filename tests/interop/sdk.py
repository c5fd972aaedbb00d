"""The Python client against a real deployment with TLS: sync and asyncio, receipts and proofs, errors,
retries.

Usage: sdk.py GATEWAY AUTHORITIES TOKEN_FILE LOG_KEY
"""

import asyncio
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import bailiwick
from bailiwick import AsyncClient, Client, Evidence, Put, Tls, verify_receipt

GATEWAY, AUTHORITIES, TOKEN, LOG_KEY = sys.argv[1:]
TLS = Tls(authorities=Path(AUTHORITIES).read_bytes())
GERMAN = [Evidence("residence", "DE"), Evidence("citizenship", "DE")]


def refused(kind, call, reason):
    try:
        call()
    except kind as error:
        assert getattr(error, "reason", None) == reason, error
        return error
    raise AssertionError(f"{reason}: it was done")


def client(**other):
    settings = {"token": Path(TOKEN), "tls": TLS, "tenant": "sample"} | other
    return Client(GATEWAY, **settings)


def writes_and_receipts():
    with client() as own:
        assert own.resolve("profiles", GERMAN).placement.region == "eu-fra"
        created = own.create_subject("sdk-1", "profiles", GERMAN)
        assert (created.domicile, created.entry.kind) == ("eu-fra", "CREATE")
        request_id = bailiwick.new_request_id()
        first = own.put("sdk-1", "profiles", "main", b"one", domicile="eu-fra", proof=True,
                        request_id=request_id)
        assert (first.version, first.entry.kind, first.replayed) == (1, "PLACE", False)
        entry, checkpoint = verify_receipt(first.receipt, LOG_KEY, b"one")
        assert entry == first.entry and checkpoint.size > first.receipt.index
        for body, key in ((b"two", LOG_KEY), (b"one", LOG_KEY.replace("eu-fra", "ru-msk"))):
            try:
                verify_receipt(first.receipt, key, body)
                raise AssertionError("it verifies")
            except bailiwick.Unproven:
                pass
        again = own.put("sdk-1", "profiles", "main", b"one", domicile="eu-fra",
                        request_id=request_id)
        assert (again.version, again.replayed) == (1, True)
        second = own.put("sdk-1", "profiles", "main", b"two", domicile="eu-fra", etag=first.etag)
        assert (second.version, second.entry.kind) == (2, "REPLACE")
        late = own.put("sdk-1", "profiles", "main", b"one", domicile="eu-fra",
                       request_id=request_id)
        assert (late.replayed, late.entry) == (True, None)
        record = own.get("sdk-1", "profiles", "main", domicile="eu-fra")
        assert (record.body, record.version, record.etag) == (b"two", 2, second.etag)
        dry = own.put("sdk-1", "profiles", "main", b"?", domicile="eu-fra", validate_only=True)
        assert dry.receipt is None and dry.entry is None
        gone = own.delete("sdk-1", "profiles", "main", domicile="eu-fra")
        assert (gone.version, gone.entry.kind) == (3, "DELETE")


def participants():
    """Of one country and of two: by subject and domicile, kept by later versions, found by the list of
    their records; refused with the path and the pair."""
    russian = [Evidence("residence", "RU"), Evidence("citizenship", "RU")]
    with client() as own:
        for subject, evidence in (("sdk-6", GERMAN), ("sdk-7", GERMAN), ("sdk-8", russian)):
            own.put(subject, "messages", "m", b"x", evidence=evidence, create_subject=True)
        names = ("sdk-6", "messages", "to")
        people = [("sdk-7", "eu-fra")]
        first = own.put(*names, b"hello", domicile="eu-fra", participants=people)
        assert first.entry.kind == "PLACE"
        record = own.get(*names, domicile="eu-fra")
        assert record.participants == (("sdk-7", "eu-fra"),), record.participants
        # Those of a version stay with the next one that names none.
        own.put(*names, b"again", domicile="eu-fra")
        assert own.get(*names, domicile="eu-fra").participants == (("sdk-7", "eu-fra"),)
        batch = own.batch_put([Put(*names[:2], "both", b"x", domicile="eu-fra",
                                   participants=(("sdk-7", "eu-fra"),))])
        assert batch[0].entry.kind == "PLACE", batch[0]
        for wrong, kind, reason, field in (
            (("nobody", "eu-fra"), bailiwick.NotFound, "SUBJECT_UNKNOWN", "participants[0].id"),
            (("sdk-7", "mars"), bailiwick.InvalidRequest, "DOMICILE_UNKNOWN",
             "participants[0].domicile"),
            (("sdk-6", "eu-fra"), bailiwick.InvalidRequest, "FIELD_INVALID", "participants[0]"),
        ):
            error = refused(kind, lambda: own.put(
                *names, b"x", domicile="eu-fra", participants=[wrong]), reason)
            assert error.field == field, error.field
        # A Russian's text in a German's inbox, which no clause of the map allows; nothing is stored.
        for write in (
            lambda: own.put(*names, b"x", domicile="eu-fra", participants=[("sdk-8", "ru-msk")]),
            lambda: own.upload(*names[:2], "film", b"x", domicile="eu-fra",
                               participants=[("sdk-8", "ru-msk")]),
        ):
            error = refused(bailiwick.NotAllowedNow, write, "TRANSFER_NOT_COVERED")
            assert (error.field, error.metadata["conflicting"]) == ("participants[0]", "RU,DE")
        assert own.get(*names, domicile="eu-fra").version == 2
        film = own.upload("sdk-9", "messages", "film", b"a film", evidence=GERMAN,
                          create_subject=True, participants=people)
        assert (film.domicile, film.version, film.entry.kind) == ("eu-fra", 1, "PLACE")


def lanes():
    """Puts of many threads: on streams once there are any, each with its own receipt or refusal."""
    with client(lanes=2) as own, ThreadPoolExecutor(32) as pool:
        def put(n):
            return own.put(f"lane-{n}", "profiles", "main", b"%d" % n, evidence=GERMAN,
                           create_subject=True)

        first, opened = 0, []
        while not opened:
            list(pool.map(put, range(first, first + 64)))
            first += 64
            opened = [slot.lane for slot in own._lanes._slots if slot.lane]
        done = list(pool.map(put, range(first, first + 200)))
        assert [one.subject for one in done] == [f"lane-{n}" for n in range(first, first + 200)]
        assert {one.entry.kind for one in done} == {"PLACE"}
        assert sum(lane._next for lane in opened) > 0, "no put was on a lane"

        def refused_on_a_lane(n):
            return refused(bailiwick.Conflict, lambda: own.put(
                f"lane-{n}", "profiles", "main", b"", domicile="eu-fra", if_version=9),
                "VERSION_MISMATCH")

        list(pool.map(refused_on_a_lane, range(100)))


def patches():
    sent = datetime(2026, 11, 30, 6, 45, tzinfo=UTC)
    with client() as own:
        first = own.put("sdk-2", "profiles", "m", b"one", create_subject=True, evidence=GERMAN,
                        attributes={"thread": "t-1", "sent_time": sent})
        patch = {"domicile": first.domicile, "attributes": {"thread": "t-2"}}
        dry = own.patch("sdk-2", "profiles", "m", validate_only=True, **patch)
        assert (dry.version, dry.receipt) == (2, None)
        request_id = bailiwick.new_request_id()
        done = own.patch("sdk-2", "profiles", "m", etag=first.etag, request_id=request_id,
                         proof=True, **patch)
        assert (done.version, done.entry.kind, done.replayed) == (2, "REPLACE", False)
        verify_receipt(done.receipt, LOG_KEY, b"one")
        again = own.patch("sdk-2", "profiles", "m", etag=first.etag, request_id=request_id, **patch)
        assert (again.version, again.replayed) == (2, True)
        record = own.get("sdk-2", "profiles", "m", domicile="eu-fra")
        assert (record.body, record.attributes) == (b"one", {"thread": "t-2", "sent_time": sent})
        done = own.patch("sdk-2", "profiles", "m", domicile="eu-fra", body=b"",
                         remove_attributes=["thread"], if_version=2)
        assert (done.version, done.entry.kind) == (3, "REPLACE")
        record = own.get("sdk-2", "profiles", "m", domicile="eu-fra")
        assert (record.body, record.attributes) == (b"", {"sent_time": sent})
        refused(bailiwick.Conflict, lambda: own.patch(
            "sdk-2", "profiles", "m", domicile="eu-fra", body=b"x", if_version=2),
            "VERSION_MISMATCH")
        refused(bailiwick.InvalidRequest, lambda: own.patch(
            "sdk-2", "profiles", "m", domicile="eu-fra", attributes={"thread": 1}),
            "ATTRIBUTE_INVALID")
        refused(bailiwick.InvalidRequest, lambda: own.patch(
            "sdk-2", "profiles", "m", domicile="eu-fra"), "FIELD_MISSING")


def watches():
    with client() as own:
        watch = own.watch("profiles", region="eu-fra", purpose="a test")
        first = next(watch)
        assert first.changes == () and first.cursor
        own.put("sdk-3", "profiles", "w", b"x", create_subject=True, evidence=GERMAN,
                attributes={"thread": "t"})
        own.delete("sdk-3", "profiles", "w", domicile="eu-fra")
        changes = []
        for answer in watch:
            changes += answer.changes
            if any(change.kind == "deleted" for change in changes):
                break
        last = changes[-1]
        assert (last.record.key, last.record.version, last.record.subject) == ("w", 2, "sdk-3")
        watch.close()
        again = own.watch("profiles", region="eu-fra", cursor=first.cursor)
        told = next(again)
        assert [change.kind for change in told.changes] == ["deleted"], told.changes
        again.close()
        refused(bailiwick.NotAllowedNow, lambda: next(own.watch("messages", region="eu-fra")),
                "FEED_REQUIRED")
        refused(bailiwick.InvalidRequest, lambda: next(own.watch(
            "profiles", subject="sdk-3", domicile="eu-fra", cursor=first.cursor)),
            "PAGE_TOKEN_INVALID")


def scans():
    with client() as own:
        found = list(own.scan("profiles", region="eu-fra", purpose="a test"))
        assert [one.body for one in found if one.subject == "sdk-2"] == [b""]
        refused(bailiwick.InvalidRequest, lambda: list(own.scan(
            "profiles", region="eu-fra", purpose="")), "FIELD_MISSING")


async def watched():
    async with AsyncClient(GATEWAY, token=Path(TOKEN), tls=TLS, tenant="sample") as own:
        watch = own.watch("profiles", subject="sdk-3", domicile="eu-fra")
        assert (await anext(watch)).changes == ()
        await own.put("sdk-3", "profiles", "x", b"x", domicile="eu-fra")
        async for answer in watch:
            if answer.changes:
                break
        assert [change.record.key for change in answer.changes] == ["x"]
        await watch.aclose()
        scan = own.scan("profiles", region="eu-fra", purpose="a test", bodies=False)
        assert ("sdk-3", "x") in [(record.subject, record.key) async for record in scan]


class Cut:
    """A file whose end seems to be at a place some times, once it was read whole: the stream that sends
    it is refused, and the next goes on there."""

    def __init__(self, content, at, times):
        self.content, self.at, self.times = content, at, times
        self.place, self.whole = 0, False

    def seek(self, place):
        self.place = place

    def read(self, length):
        if self.whole and self.place >= self.at and self.times > 0:
            self.times -= 1
            return b""
        data = self.content[self.place:self.place + length]
        self.whole = self.whole or not data
        return data


def attachments(folder):
    content = bytes(range(256)) * 14_000            # 3.4 MiB
    path = Path(folder) / "attachment"
    path.write_bytes(content)
    with client() as own:
        own.create_subject("sdk-4", "profiles", GERMAN)
        names = {"domicile": "eu-fra"}
        request_id = bailiwick.new_request_id()
        done = own.upload("sdk-4", "profiles", "a", path, attributes={"thread": "t"}, proof=True,
                          request_id=request_id, **names)
        assert (done.version, done.entry.kind, done.replayed) == (1, "PLACE", False)
        verify_receipt(done.receipt, LOG_KEY, content)
        again = own.upload("sdk-4", "profiles", "a", content, attributes={"thread": "t"},
                           request_id=request_id, proof=True, **names)
        assert (again.version, again.replayed) == (1, True)
        info = own.stat("sdk-4", "profiles", "a", **names)
        assert (info.size, info.version, info.etag) == (len(content), 1, done.etag)
        assert (info.attributes, info.expire_time) == ({"thread": "t"}, None)
        assert b"".join(own.download("sdk-4", "profiles", "a", **names)) == content
        for offset, length in ((0, 1), (5, 0), (1_048_570, 20), (len(content) - 3, 100)):
            part = b"".join(own.download("sdk-4", "profiles", "a", offset=offset, length=length,
                                         etag=done.etag, **names))
            end = offset + length if length else len(content)
            assert part == content[offset:end], (offset, length)
        # Cut twice on the way: each time the next stream goes on where the last was.
        twice = Cut(content, 2 << 20, 2)
        cut = own.upload("sdk-4", "profiles", "a", twice, if_version=1, **names)
        assert twice.times == 0
        assert (cut.version, cut.entry.kind) == (2, "REPLACE")
        refused(bailiwick.Conflict, lambda: own.upload(
            "sdk-4", "profiles", "a", b"x", if_version=1, **names), "VERSION_MISMATCH")
        refused(bailiwick.Conflict, lambda: list(own.download(
            "sdk-4", "profiles", "a", etag=done.etag, **names)), "VERSION_MISMATCH")
        refused(bailiwick.NotFound, lambda: own.upload(
            "sdk-none", "profiles", "a", b"x", **names), "SUBJECT_UNKNOWN")
        refused(bailiwick.NotFound, lambda: own.stat("sdk-4", "profiles", "b", **names),
                "RECORD_NOT_FOUND")


async def attached():
    content = b"async" * 300_000
    async with AsyncClient(GATEWAY, token=Path(TOKEN), tls=TLS, tenant="sample") as own:
        names = {"domicile": "eu-fra"}
        uploads = (own.upload("sdk-4", "profiles", f"b{n}", content, **names) for n in range(4))
        assert [done.entry.kind for done in await asyncio.gather(*uploads)] == ["PLACE"] * 4
        cut = await own.upload("sdk-4", "profiles", "b0", Cut(content, 1 << 20, 1), **names)
        assert cut.version == 2
        found = [data async for data in own.download("sdk-4", "profiles", "b0", **names)]
        assert b"".join(found) == content
        part = [data async for data in own.download(
            "sdk-4", "profiles", "b1", offset=7, length=9, **names)]
        assert b"".join(part) == content[7:16]
        assert (await own.stat("sdk-4", "profiles", "b1", **names)).size == len(content)
        try:
            await own.upload("sdk-none", "profiles", "a", b"x", **names)
            raise AssertionError("it has no subject")
        except bailiwick.NotFound as error:
            assert error.reason == "SUBJECT_UNKNOWN"


def errors():
    with client() as own:
        def get(collection="profiles", domicile="eu-fra"):
            return own.get("sdk-1", collection, "main", domicile=domicile)

        refused(bailiwick.NotFound, get, "RECORD_NOT_FOUND")
        error = refused(bailiwick.InvalidRequest, lambda: get("nothing"), "COLLECTION_UNKNOWN")
        assert error.field == "collection" and "profiles" in error.help and len(error.call_id) == 32
        refused(bailiwick.InvalidRequest, lambda: get(domicile=""), "DOMICILE_REQUIRED")
        refused(bailiwick.Conflict, lambda: own.put(
            "sdk-1", "profiles", "main", b"", domicile="eu-fra", if_version=7), "VERSION_MISMATCH")
        # No shard of that region runs: asked again, until the attempts are used up.
        error = refused(bailiwick.Unavailable, lambda: own.put(
            "sdk-kz", "profiles", "main", b"", create_subject=True,
            evidence=[Evidence("residence", "KZ")]), "REGION_UNAVAILABLE")
        assert error.region == "kz-ala" and error.retry_after is not None
        assert "sdk-kz" not in repr(error)
    with client(token="not.a.token") as stranger:
        refused(bailiwick.Unauthenticated, lambda: stranger.resolve("profiles", GERMAN),
                "IDENTITY_INVALID")
    with client(token=None) as stranger:
        refused(bailiwick.Unauthenticated, lambda: stranger.resolve("profiles", GERMAN),
                "IDENTITY_MISSING")
    # A token that ran out, and a new one beside it: asked once more.
    tokens = iter(["not.a.token", Path(TOKEN).read_text()])
    with client(token=lambda: next(tokens), attempts=1) as renewed:
        assert renewed.resolve("profiles", GERMAN).placement.region == "eu-fra"
    with client(tenant="other") as wrong:
        refused(bailiwick.Unproven, lambda: wrong.put(
            "sdk-1", "profiles", "other", b"x", domicile="eu-fra"), None)
    started = time.monotonic()
    with Client("http://127.0.0.1:1", deadline=1.0, attempts=100) as nobody:
        refused(bailiwick.BailiwickError, lambda: nobody.resolve("profiles", GERMAN), None)
    assert time.monotonic() - started < 30
    # Another authority's gateway gets neither token nor body.
    with Client(GATEWAY, token=Path(TOKEN), deadline=1.0, attempts=1) as other:
        refused(bailiwick.BailiwickError, lambda: other.resolve("profiles", GERMAN), None)
    for url in ("http://192.0.2.1:7400", "gateway", "https://a@b"):
        try:
            Client(url)
            raise AssertionError(f"{url} is taken")
        except ValueError:
            pass


async def tasks():
    async with AsyncClient(GATEWAY, token=Path(TOKEN), tls=TLS, tenant="sample") as own:
        def put(n):
            return own.put(f"task-{n}", "profiles", "main", b"%d" % n, evidence=GERMAN,
                           create_subject=True)

        done = await asyncio.gather(*(put(n) for n in range(200)))
        assert {one.domicile for one in done} == {"eu-fra"}
        names = [(f"task-{n}", "eu-fra", "profiles", "main") for n in range(200)]
        found = await own.batch_get(names + [("task-x", "eu-fra", "profiles", "main")])
        assert [one.body for one in found[:200]] == [b"%d" % n for n in range(200)]
        assert isinstance(found[200], bailiwick.NotFound), found[200]
        puts = [Put(f"batch-{n}", "profiles", "main", b"x", evidence=tuple(GERMAN),
                    create_subject=True) for n in range(50)]
        puts.append(Put("batch-bad", "nothing", "main", b"x", domicile="eu-fra"))
        ends = await own.batch_put(puts)
        assert all(end.entry.kind == "PLACE" for end in ends[:50])
        assert isinstance(ends[50], bailiwick.InvalidRequest)
        patched = await own.patch("task-0", "profiles", "main", domicile="eu-fra", body=b"new")
        assert (patched.version, patched.entry.kind) == (2, "REPLACE")
        deleted = await own.delete("task-0", "profiles", "main", domicile="eu-fra")
        assert deleted.version == 3
        try:
            await own.get("task-0", "profiles", "main", domicile="eu-fra")
            raise AssertionError("a deleted record was found")
        except bailiwick.NotFound as error:
            assert error.reason == "RECORD_NOT_FOUND"


writes_and_receipts()
participants()
lanes()
patches()
errors()
watches()
scans()
asyncio.run(watched())
asyncio.run(tasks())
with tempfile.TemporaryDirectory() as folder:
    attachments(folder)
asyncio.run(attached())
print("python sdk: as documented")
